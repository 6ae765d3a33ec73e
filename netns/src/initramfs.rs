//! The initial file system of a virtual machine: an archive of the form "newc" of cpio, which the
//! kernel unpacks into memory and runs `/init` of.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// `S_IFDIR`, `S_IFREG` and `S_IFLNK` of stat(2), with the permissions that all of a kind get.
const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive that is being written.
#[derive(Debug, Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Initramfs {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a folder, and those that it is in.
    pub fn folder(&mut self, path: &str) {
        if path.is_empty() || !self.folders.insert(path.to_owned()) {
            return;
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.entry(path, FOLDER, b"");
    }

    /// Adds a file that may be read and run.
    pub fn file(&mut self, path: &str, contents: &[u8]) {
        self.folder_of(path);
        self.entry(path, FILE, contents);
    }

    /// Adds a copy of a file of this machine.
    #[track_caller]
    pub fn copy(&mut self, path: &str, from: &Path) {
        let contents = fs::read(from);
        let contents = contents.unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        self.file(path, &contents);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, to: &str) {
        self.folder_of(path);
        self.entry(path, LINK, to.as_bytes());
    }

    /// The archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        self.bytes
    }

    fn folder_of(&mut self, path: &str) {
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.folder(folder);
        }
    }

    /// Documentation/driver-api/early-userspace/buffer-format.rst of Linux: a header of thirteen
    /// numbers, the name, the contents, each padded to four bytes.
    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let (len, name_len) = (contents.len() as u32, path.len() as u32 + 1);
        let numbers = [self.entries, mode, 0, 0, 1, 0, len, 0, 0, 0, 0, name_len, 0];
        self.bytes.extend(b"070701");
        for number in numbers {
            self.bytes.extend(format!("{number:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
        self.pad();
    }

    fn pad(&mut self) {
        let len = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(len, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_aligned_and_ends() {
        let mut archive = Initramfs::new();
        archive.file("a/b/c", b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let count = bytes.windows(6).filter(|it| it == b"070701").count();
        // Two folders, the file, the end.
        assert_eq!(count, 4);
        assert!(bytes.windows(5).any(|it| it == b"12345"));
    }
}
