//! The socket of the local API.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixListener as StdListener},
    path::Path,
};

use anyhow::Context;
use tokio::net::UnixListener;

use crate::places::Places;

/// Bytes of a socket's path at most (`sockaddr_un` without its zero byte).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Listens at the gateway's socket. It appears under its name only when it accepts, so nobody
/// meets a socket that is bound and deaf.
///
/// # Errors
/// The socket can't be made.
pub fn listen(places: &Places) -> anyhow::Result<UnixListener> {
    let path = places.socket();
    // So that the path is as long as it will be.
    let new = path.with_extension("new!");
    bind(&new, &path).with_context(|| {
        let path = path.display();
        if path.to_string().len() > SOCKET_PATH_BYTES_MAX {
            format!(
                "cannot listen at {path}: a socket's path has {SOCKET_PATH_BYTES_MAX} bytes at \
                 most; set RUNTIME_DIRECTORY to a shorter one"
            )
        } else {
            format!("cannot listen at {path}")
        }
    })
}

fn bind(new: &Path, path: &Path) -> io::Result<UnixListener> {
    let listener = place(new, path)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Listens at `new`, for the owner alone, and then gives it the name `path`.
///
/// # Errors
/// What the kernel refused; nothing is left at `new`.
pub fn place(new: &Path, path: &Path) -> io::Result<StdListener> {
    let _ = fs::remove_file(new);
    let listener = StdListener::bind(new)?;
    let placed = fs::set_permissions(new, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(new, path));
    if placed.is_err() {
        let _ = fs::remove_file(new);
    }
    placed.map(|()| listener)
}
