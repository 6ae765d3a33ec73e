//! Where metrics are read: opened before it is used, changed while the gateway runs.

use std::{
    fs, io,
    net::TcpListener as StdTcp,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener as StdUnix, UnixStream},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{Scrape, server};
use crate::config::MetricsPlace;

/// Who may read: the user of the gateway, and its group.
const MODE: u32 = 0o660;

/// A question for metrics, and where the answer goes.
pub type Question = oneshot::Sender<Scrape>;

/// A place at which metrics can be read, as long as it is held.
#[derive(Debug)]
pub struct Metrics {
    place: MetricsPlace,
    task: JoinHandle<()>,
    _file: Option<File>,
}

impl Metrics {
    /// Opens `place`, if there is one.
    ///
    /// # Errors
    /// The system does not allow it. Nothing is left.
    pub fn open(
        place: Option<&MetricsPlace>,
        questions: &mpsc::Sender<Question>,
    ) -> anyhow::Result<Option<Self>> {
        let Some(place) = place else {
            return Ok(None);
        };
        let what = || format!("metrics cannot be read at {place}");
        let questions = questions.clone();
        let (task, file) = match place {
            MetricsPlace::Tcp(address) => {
                let listener = StdTcp::bind(address).with_context(what)?;
                listener.set_nonblocking(true)?;
                let listener = TcpListener::from_std(listener)?;
                (tokio::spawn(server::serve_tcp(listener, questions)), None)
            }
            MetricsPlace::Unix(path) => {
                let (listener, file) = listen(path).with_context(what)?;
                let listener = UnixListener::from_std(listener)?;
                let task = tokio::spawn(server::serve_unix(listener, questions));
                (task, Some(file))
            }
        };
        tracing::info!(at = %place, "metrics can be read");
        Ok(Some(Self {
            place: place.clone(),
            task,
            _file: file,
        }))
    }

    /// Where it is.
    pub fn place(&self) -> &MetricsPlace {
        &self.place
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket's file, which goes with us.
#[derive(Debug)]
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens at `path`. What a killed gateway has left there is replaced, and nothing else.
fn listen(path: &Path) -> anyhow::Result<(StdUnix, File)> {
    if let Ok(found) = fs::symlink_metadata(path) {
        ensure!(
            found.file_type().is_socket(),
            "there is something else than a socket; give another path, or remove it"
        );
        ensure!(
            UnixStream::connect(path).is_err(),
            "somebody else listens there; give each gateway a path of its own"
        );
    }
    // It appears under its name only when it has its permissions.
    let mut new = path.as_os_str().to_owned();
    new.push(".new!");
    let new = File(PathBuf::from(new));
    let _ = fs::remove_file(&new.0);
    let listener = bind(&new.0, path)?;
    std::mem::forget(new);
    Ok((listener, File(path.to_owned())))
}

fn bind(new: &Path, path: &Path) -> io::Result<StdUnix> {
    let listener = StdUnix::bind(new)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(new, fs::Permissions::from_mode(MODE))?;
    fs::rename(new, path)?;
    Ok(listener)
}
