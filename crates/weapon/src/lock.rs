//! Locks between processes: files that only their owner may open, so that nobody else can hold up
//! who waits.
//!
//! The kernel lets go of a lock however the process ends.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// Locks the file, and makes it if need be; `None` if somebody else has it. Whoever has it may
/// remove it.
///
/// # Errors
/// It can't be made.
pub fn try_take(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // Its holder may have removed it in between.
        let held = file.metadata()?;
        if fs::metadata(path).is_ok_and(|there| there.ino() == held.ino()) {
            return Ok(Some(file));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn one_has_it_at_a_time_and_nobody_else_may_open_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = try_take(&path).unwrap().expect("free");
        let mode = first.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(try_take(&path).unwrap().is_none());
        fs::remove_file(&path).unwrap();
        drop(first);
        let second = try_take(&path).unwrap().expect("free again");
        assert!(path.exists());
        drop(second);
        assert!(try_take(&folder.path().join("not/there")).is_err());
    }
}
