//! The folder of a log: who may look into it, and what is done with its files.
//!
//! All files are opened relative to the folder, without following links, and belong to their owner
//! alone. The folder is locked as long as somebody writes.

use std::{
    fs::{DirBuilder, File},
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FlockOperation, Mode, OFlags, flock, openat, renameat, unlinkat},
    io::Errno,
};

/// The next seal's key, and what the last seal sealed.
pub const STATE: &str = "seal.key";

/// The verification key, until its operator takes it away.
pub const VERIFICATION_KEY: &str = "verification.key";

/// Bytes that are read of a small file.
const SMALL_BYTES_MAX: u64 = 64 << 10;

/// Where a log is read.
pub trait Source {
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Reads a file from its start.
    fn read(&self, name: &str) -> io::Result<Box<dyn BufRead>>;
}

/// What a writer does with a disk. Tests have some that fail.
pub trait Store: Source + Send {
    /// A file is what is appended to from here on; its length. It must be new, or else there.
    fn open(&mut self, name: &str, is_new: bool) -> io::Result<u64>;
    /// Appends to it, all or an error; then some of it may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// What was appended will be there whatever happens.
    fn sync(&mut self) -> io::Result<()>;
    /// It has this length again.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// Its length; nothing if it is in the folder no more.
    fn len(&self) -> io::Result<Option<u64>>;
    /// Makes a file that is not there yet.
    fn create(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file anew; nothing of what was in it before stays.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not as it must be, and somebody has to mend that.
    #[error("{}: {what}", path.display())]
    Wrong {
        /// The folder.
        path: PathBuf,
        /// What is wrong and what would be right.
        what: String,
    },
    /// The disk does not do what it is asked.
    #[error("{}: {error}", path.display())]
    Disk {
        /// The folder.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
}

/// A folder on a disk.
#[derive(Debug)]
pub struct Folder {
    folder: OwnedFd,
    current: Option<(String, File)>,
}

impl Folder {
    /// The folder at `path`, to write in: it is made if only it is missing, and locked.
    ///
    /// # Errors
    /// It is not there, others may look into it, or somebody else writes.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let wrong = |what: &str| FolderError::Wrong {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = path.parent().unwrap_or(path).display();
                return Err(wrong(&format!(
                    "the audit log cannot be there, as {parent} is not; make that folder, or give \
                     another one as audit.directory"
                )));
            }
            Err(error) => return Err(refused(path, error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(wrong(
                    "is no folder (or a link to one); the audit log needs a folder of its own, so \
                     give another one as audit.directory",
                ));
            }
            Err(error) => return Err(refused(path, error.into())),
        };
        let folder = File::from(folder);
        let metadata = folder.metadata().map_err(|error| refused(path, error))?;
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(wrong(&format!(
                "others may look into the folder of the audit log (mode {mode:04o}); chmod 700 it, \
                 or give another one as audit.directory"
            )));
        }
        let user = rustix::process::geteuid();
        if metadata.uid() != user.as_raw() && !user.is_root() {
            return Err(wrong(&format!(
                "the folder of the audit log belongs to user {}, and the gateway is user {}; chown \
                 it with all that is in it",
                metadata.uid(),
                user.as_raw()
            )));
        }
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(wrong(
                    "somebody else writes an audit log there; each gateway needs a folder of its \
                     own, so give another one as audit.directory",
                ));
            }
            Err(error) => return Err(refused(path, error.into())),
        }
        Ok(Self {
            folder: folder.into(),
            current: None,
        })
    }

    fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(openat(&self.folder, name, flags, mode)?.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.folder)?)
    }

    fn current(&self) -> io::Result<&(String, File)> {
        let none = || io::Error::other("no file is open");
        self.current.as_ref().ok_or_else(none)
    }
}

/// What is the machine's fault and what its owner's.
fn refused(path: &Path, error: io::Error) -> FolderError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied => FolderError::Wrong {
            path,
            what: "the gateway's user may not write there; chown the folder of the audit log with \
                   all that is in it, or give another one as audit.directory"
                .to_owned(),
        },
        io::ErrorKind::NotADirectory => FolderError::Wrong {
            path,
            what: "a part of this path is no folder; give another one as audit.directory"
                .to_owned(),
        },
        _ => FolderError::Disk { path, error },
    }
}

impl FolderError {
    /// That a file in the folder could not be used.
    pub fn of(path: &Path, error: io::Error) -> Self {
        refused(path, error)
    }
}

impl Source for Folder {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = rustix::fs::Dir::read_from(&self.folder)?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn BufRead>> {
        let file = self.file(name, OFlags::RDONLY)?;
        Ok(Box::new(BufReader::with_capacity(64 << 10, file)))
    }
}

impl Store for Folder {
    fn open(&mut self, name: &str, is_new: bool) -> io::Result<u64> {
        let mut flags = OFlags::WRONLY | OFlags::APPEND;
        if is_new {
            flags |= OFlags::CREATE | OFlags::EXCL;
        }
        let file = self.file(name, flags)?;
        let len = file.metadata()?.len();
        self.current = Some((name.to_owned(), file));
        if is_new {
            self.sync_folder()?;
        }
        Ok(len)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = &self.current()?.1;
        file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.current()?.1.sync_data()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.current()?.1.set_len(len)
    }

    fn len(&self) -> io::Result<Option<u64>> {
        let (name, file) = self.current()?;
        let ours = file.metadata()?;
        let there = rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
        let is_there = match there {
            Ok(there) => there.st_ino == ours.ino(),
            Err(Errno::NOENT) => false,
            Err(error) => return Err(error.into()),
        };
        Ok(is_there.then_some(ours.len()))
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = self.file(name, flags)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        if written.is_err() {
            let _ = self.remove(name);
        }
        written.and_then(|()| self.sync_folder())
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = format!("{name}.new");
        match self.remove(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let old = self.file(name, OFlags::WRONLY);
        self.create(&new, bytes)?;
        renameat(&self.folder, &new, &self.folder, name)?;
        self.sync_folder()?;
        // What was in the old file is overwritten in its place, as far as the file system does so.
        if let Ok(mut old) = old {
            let len = old.metadata()?.len().min(SMALL_BYTES_MAX);
            old.write_all(&vec![0; usize::try_from(len).unwrap_or_default()])?;
            old.sync_all()?;
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        Ok(unlinkat(self.folder.as_fd(), name, AtFlags::empty())?)
    }
}

/// All of a small file; nothing if it is not there.
///
/// # Errors
/// It cannot be read.
pub fn read_small(
    store: &dyn Source,
    name: &str,
) -> io::Result<Option<zeroize::Zeroizing<String>>> {
    let reader = match store.read(name) {
        Ok(reader) => reader,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(1024));
    reader.take(SMALL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(zeroize::Zeroizing::new(
        String::from_utf8_lossy(&bytes).into_owned(),
    )))
}

/// The name of the file whose first record has this number.
pub fn file_name(seq: u64) -> String {
    format!("audit-{seq:016}.jsonl")
}

/// The number in a name that [`file_name`] gives.
pub fn seq_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
    let seq = digits.parse().ok()?;
    (file_name(seq) == name).then_some(seq)
}

/// Of the names, those of the log, in its order.
pub fn log_files(names: Vec<String>) -> Vec<String> {
    let mut files: Vec<(u64, String)> = names
        .into_iter()
        .filter_map(|name| Some((seq_of(&name)?, name)))
        .collect();
    files.sort();
    files.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    fn why(path: &Path) -> String {
        let error = Folder::open(path).unwrap_err();
        assert!(matches!(error, FolderError::Wrong { .. }), "{error}");
        error.to_string()
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_said() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let folder = Folder::open(&at("new")).unwrap();
        let mode = fs::metadata(at("new")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(why(&at("new")).contains("somebody else writes an audit log there"));
        drop(folder);
        Folder::open(&at("new")).unwrap();

        assert!(why(&at("not/there")).contains("not is not; make that folder"));
        fs::write(at("file"), "").unwrap();
        assert!(why(&at("file")).contains("is no folder"));
        assert!(why(&at("file/below")).contains("a part of this path is no folder"));
        symlink(at("new"), at("link")).unwrap();
        assert!(why(&at("link")).contains("(or a link to one)"));
        fs::set_permissions(at("new"), fs::Permissions::from_mode(0o750)).unwrap();
        assert!(why(&at("new")).contains("(mode 0750); chmod 700 it"));
    }

    #[test]
    fn files_are_their_owners_and_no_link_is_followed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        let mut folder = Folder::open(&path).unwrap();
        assert_eq!(folder.open("a", true).unwrap(), 0);
        assert!(folder.open("a", true).is_err());
        folder.append(b"12345").unwrap();
        folder.sync().unwrap();
        folder.cut(3).unwrap();
        folder.append(b"x").unwrap();
        assert_eq!(folder.len().unwrap(), Some(4));
        assert_eq!(fs::read(path.join("a")).unwrap(), b"123x");
        folder.replace("key", b"one\n").unwrap();
        folder.replace("key", b"two\n").unwrap();
        assert_eq!(**read_small(&folder, "key").unwrap().unwrap(), *"two\n");
        assert_eq!(folder.names().unwrap(), ["a", "key"]);
        for name in ["a", "key"] {
            let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::rename(path.join("a"), path.join("b")).unwrap();
        assert_eq!(folder.len().unwrap(), None);
        symlink(path.join("b"), path.join("c")).unwrap();
        assert!(folder.open("c", false).is_err());
        assert!(folder.read("c").is_err());
    }

    #[test]
    fn names_are_in_the_order_of_the_log() {
        assert_eq!(file_name(17), "audit-0000000000000017.jsonl");
        let names = ["audit-0000000000000017.jsonl", "seal.key", "audit-17.jsonl"];
        let mut names: Vec<String> = names.map(str::to_owned).into();
        names.push(file_name(u64::MAX));
        names.push(file_name(2));
        assert_eq!(
            log_files(names),
            [file_name(2), file_name(17), file_name(u64::MAX)]
        );
    }
}
