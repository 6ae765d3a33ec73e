//! The socket at which `wg` finds an interface: `/var/run/wireguard/NAME.sock` (U13 to U17).

use std::{
    env,
    fs::{self, DirBuilder},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, MetadataExt},
            net::{UnixListener as StdListener, UnixStream as StdStream},
        },
    },
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::net::{UnixListener, UnixStream};
use weapon_io::file_watch::FileWatch;

use crate::api;

/// Where `wg` looks.
const DIRECTORY: &str = "/var/run/wireguard";

/// How often, and after which time, a socket is tried again at which somebody listens.
const LIVE_TRIES_MAX: u32 = 50;
const LIVE_RETRY: Duration = Duration::from_millis(20);

/// Where it is told to look elsewhere: many gateways with interfaces of one name, each in a network
/// namespace of its own, can't share a folder.
const DIRECTORY_VARIABLE: &str = "WEAPON_UAPI_DIRECTORY";

fn path_of(interface: &str) -> PathBuf {
    let directory = env::var_os(DIRECTORY_VARIABLE);
    let directory = directory.map_or_else(|| DIRECTORY.into(), PathBuf::from);
    directory.join(format!("{interface}.sock"))
}

/// The socket's file. Dropping it removes it, if it is still ours.
#[derive(Debug)]
pub struct UapiFile(Place);

/// Which file it is.
#[derive(Clone, Debug)]
struct Place {
    path: PathBuf,
    inode: u64,
}

/// The socket of an interface, which accepts.
#[derive(Debug)]
pub struct UapiSocket {
    listener: UnixListener,
    place: Place,
    /// Tells of each change of the file or its folder.
    watch: FileWatch,
}

impl UapiSocket {
    /// Listens for `interface`. A file that a killed process has left behind is replaced. The
    /// socket appears under its name only when it accepts: `wg` removes one that does not (U15).
    ///
    /// # Errors
    /// Somebody listens there already (U16), or the folder can't be written.
    pub fn open(interface: &str) -> anyhow::Result<(Self, UapiFile)> {
        let path = path_of(interface);
        let listener = listen(&path)?;
        Self::watched(listener, path.clone()).with_context(|| cannot_listen(&path))
    }

    /// Takes over a socket that somebody else has opened for `interface` (U03).
    ///
    /// # Errors
    /// It is not there.
    pub fn adopt(file: OwnedFd, interface: &str) -> anyhow::Result<(Self, UapiFile)> {
        let path = path_of(interface);
        Self::watched(file.into(), path.clone()).with_context(|| cannot_listen(&path))
    }

    fn watched(listener: StdListener, path: PathBuf) -> io::Result<(Self, UapiFile)> {
        let inode = fs::metadata(&path)?.ino();
        let place = Place { path, inode };
        let file = UapiFile(place.clone());
        let watch = FileWatch::of(&place.path)?;
        listener.set_nonblocking(true)?;
        let socket = Self {
            listener: UnixListener::from_std(listener)?,
            place,
            watch,
        };
        Ok((socket, file))
    }

    /// Waits for the next client.
    ///
    /// # Errors
    /// No more files.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }

    /// Waits until the file was removed: whoever did it wants the interface to go (U07).
    pub async fn removed(&self) {
        // Looked at first: it may have happened before the watch was there (U17).
        while self.place.is_there() {
            if let Err(error) = self.watch.changed().await {
                tracing::warn!(%error, "the socket is not watched any more");
                return std::future::pending().await;
            }
        }
    }
}

impl Place {
    fn is_there(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|there| there.ino() == self.inode)
    }
}

impl Drop for UapiFile {
    fn drop(&mut self) {
        let Place { path, .. } = &self.0;
        if self.0.is_there()
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove");
        }
    }
}

fn cannot_listen(path: &Path) -> String {
    format!("cannot listen at {}, where `wg` looks", path.display())
}

fn listen(path: &Path) -> anyhow::Result<StdListener> {
    // 0700, as whoever may connect may read the keys. One that is there stays as it is.
    let directory = path.parent().unwrap_or(Path::new(DIRECTORY));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make {}; run as root", directory.display()))?;
    for tries in 1..=LIVE_TRIES_MAX {
        match StdStream::connect(path) {
            // One whose interface was just deleted is about to go (U08).
            Ok(_) if tries < LIVE_TRIES_MAX => thread::sleep(LIVE_RETRY),
            Ok(_) => bail!(
                "{} is in use: another process serves an interface of this name",
                path.display()
            ),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tracing::info!(path = %path.display(), "left behind by a process that was killed");
                break;
            }
            Err(_) => break,
        }
    }
    // A name that `wg` does not look for.
    let new = path.with_extension(format!("new-{}", std::process::id()));
    api::place(&new, path).with_context(|| cannot_listen(path))
}
