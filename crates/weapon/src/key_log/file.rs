//! The file that keys are written to: opened only where nobody else can look.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use rustix::{
    fs::{Mode, OFlags, openat},
    io::Errno,
};

use super::FILE_BYTES_MAX;
use crate::config::Config;

/// Whatever is opened: not through a link, and not for who is executed.
const FLAGS: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// A file that keys are to be written to.
#[derive(Debug)]
pub struct KeyFile {
    file: File,
    room: u64,
}

impl KeyFile {
    /// Opens what the configuration asks for, if it does.
    ///
    /// # Errors
    /// Somebody else could read it, or it cannot be written.
    pub fn open(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(path) = &config.danger_export_keys else {
            return Ok(None);
        };
        let at = || config.at(&config.written.danger_export_keys);
        let file = Self::at(path).with_context(at)?;
        tracing::warn!(
            file = %path.display(),
            "DANGER: the gateway's private key and the keys of all its sessions are written to a \
             file. Whoever gets it can read recorded traffic and pass for this gateway"
        );
        Ok(Some(file))
    }

    fn at(path: &Path) -> anyhow::Result<Self> {
        let (folder, name) = path
            .parent()
            .zip(path.file_name())
            .context("this is no path of a file")?;
        let folder_fd = open_folder(folder)?;
        let new = FLAGS | OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL;
        let file = match openat(&folder_fd, name, new, Mode::RUSR | Mode::WUSR) {
            Ok(file) => File::from(file),
            Err(Errno::EXIST) => there(&folder_fd, path)?,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        // Also of a new one: what other rights the folder hands out is not in its mode.
        let metadata = file.metadata()?;
        let shown = path.display();
        ensure!(
            metadata.is_file(),
            "{shown} is no file; remove it, or give another path"
        );
        let mode = metadata.mode() & 0o7777;
        ensure!(
            mode == 0o600,
            "{shown} has the mode {mode:04o}, and keys are for its owner alone; chmod 600 it"
        );
        ensure_ours(metadata.uid(), path)?;
        ensure!(
            metadata.nlink() == 1,
            "{shown} has other names too, where others may look; remove it"
        );
        let room = FILE_BYTES_MAX.saturating_sub(metadata.len());
        ensure!(
            room != 0,
            "{shown} is full: it has {} MB; remove it",
            FILE_BYTES_MAX >> 20
        );
        Ok(Self { file, room })
    }

    /// So many bytes may be written to it.
    pub fn room(&self) -> u64 {
        self.room
    }
}

impl AsFd for KeyFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// A file that was there before.
fn there(folder: &OwnedFd, path: &Path) -> anyhow::Result<File> {
    // A pipe that nobody reads would keep us waiting.
    let flags = FLAGS | OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK;
    let name = path.file_name().unwrap_or_default();
    let shown = path.display();
    match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => Ok(file.into()),
        Err(Errno::LOOP) => bail!("{shown} is a link; remove it, or give another path"),
        Err(Errno::ISDIR | Errno::NXIO) => {
            bail!("{shown} is no file; remove it, or give another path")
        }
        Err(error) => Err(error).with_context(|| shown.to_string()),
    }
}

/// The folder of the file, if nobody else can look into it.
fn open_folder(path: &Path) -> anyhow::Result<OwnedFd> {
    let shown = path.display();
    let flags = FLAGS | OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(folder) => File::from(folder),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            bail!("{shown} is no folder (or a link to one); give a path in a folder of its own")
        }
        Err(Errno::NOENT) => bail!("{shown} is not there; make that folder, with mode 0700"),
        Err(error) => return Err(error).with_context(|| shown.to_string()),
    };
    let metadata = folder.metadata()?;
    let mode = metadata.mode() & 0o7777;
    ensure!(
        mode == 0o700,
        "the folder {shown} has the mode {mode:04o}, and keys are for its owner alone; chmod 700 \
         it, or make one for them"
    );
    ensure_ours(metadata.uid(), path)?;
    Ok(folder.into())
}

fn ensure_ours(owner: u32, path: &Path) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    if owner == user {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} belongs to user {owner}, and the gateway is user {user}; chown it",
        path.display()
    )))
}
