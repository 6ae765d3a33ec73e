//! Tells when something happens to a file, by inotify.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::{Interest, unix::AsyncFd};

/// Tells of each change of one file, and of each that goes from its folder.
#[derive(Debug)]
pub struct FileWatch(AsyncFd<OwnedFd>);

impl FileWatch {
    /// Watches the file at `path`. Changes from after this call are told.
    ///
    /// # Errors
    /// There is no such file, or no watch to be had.
    pub fn of(path: &Path) -> io::Result<Self> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let of_file = WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        inotify::add_watch(&watch, path, of_file)?;
        if let Some(folder) = path.parent() {
            let of_folder = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
            inotify::add_watch(&watch, folder, of_folder)?;
        }
        // SAFETY: the descriptor is owned by the AsyncFd, is open as long as it lives, and is
        // always the same.
        let watch = unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) }?;
        Ok(Self(watch))
    }

    /// Waits until something has happened since the last call.
    ///
    /// # Errors
    /// The kernel tells no more.
    pub async fn changed(&self) -> io::Result<()> {
        let mut told = self.0.readable().await?;
        let mut buffer = [0; 4096];
        while rustix::io::read(self.0.get_ref(), &mut buffer).is_ok_and(|bytes| bytes > 0) {}
        told.clear_ready();
        Ok(())
    }
}
