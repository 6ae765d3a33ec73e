//! The file that keeps the high-water mark of our timestamps over restarts and crashes.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use weapon_core::TimestampStore;
use weapon_noise::Tai64n;

/// Of the file that a new mark is written to.
const EXTENSION_NEW: &str = "timestamp.new";

/// The mark as 24 hex digits and a newline.
#[derive(Debug)]
pub struct TimestampFile(PathBuf);

/// Whether a mark can be kept at `path`: found out at the start, not at the first handshake.
///
/// # Errors
/// Why it cannot.
pub fn probe(path: &Path) -> io::Result<()> {
    let new = path.with_extension(EXTENSION_NEW);
    File::create(&new)?;
    fs::remove_file(new)
}

impl TimestampFile {
    /// The file at `path`, and the mark in it. An unreadable mark counts as none and is said: then
    /// the clock alone keeps us above what was sent.
    pub fn open(path: PathBuf) -> (Self, Option<Tai64n>) {
        let mark = match fs::read_to_string(&path) {
            Ok(text) => {
                let mark = parse(&text);
                if mark.is_none() {
                    tracing::warn!(path = %path.display(), "not a timestamp; ignored");
                }
                mark
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read the last timestamp");
                None
            }
        };
        (Self(path), mark)
    }

    /// Writes beside the file and renames, so that a crash leaves the old mark or the new one.
    fn write(&self, mark: Tai64n) -> io::Result<()> {
        let new = self.0.with_extension(EXTENSION_NEW);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        let digits: String = mark
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        writeln!(file, "{digits}")?;
        file.sync_all()?;
        fs::rename(&new, &self.0)?;
        match self.0.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl TimestampStore for TimestampFile {
    fn persist(&mut self, mark: Tai64n) -> bool {
        match self.write(mark) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(
                    path = %self.0.display(),
                    %error,
                    "cannot keep the timestamp: no handshake can be started until this works"
                );
                false
            }
        }
    }
}

/// Keeps nothing, where there is nowhere to keep it.
#[derive(Debug)]
pub struct Unkept;

impl TimestampStore for Unkept {
    fn persist(&mut self, _: Tai64n) -> bool {
        true
    }
}

fn parse(text: &str) -> Option<Tai64n> {
    let digits = text.trim_end();
    if digits.len() != 24 || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0; 12];
    for (byte, at) in bytes.iter_mut().zip((0..24).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(Tai64n::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p29_the_mark_survives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.timestamp");
        let (mut file, mark) = TimestampFile::open(path.clone());
        assert_eq!(mark, None);
        let later = Tai64n::from_unix(2_000_000_000, 500_000_000);
        assert!(file.persist(Tai64n::from_unix(1_700_000_000, 0)));
        assert!(file.persist(later));
        assert_eq!(TimestampFile::open(path.clone()).1, Some(later));
        assert_eq!(
            folder.path().read_dir().unwrap().count(),
            1,
            "nothing lies beside it"
        );

        fs::write(&path, "garbage").unwrap();
        assert_eq!(TimestampFile::open(path).1, None);
    }

    #[test]
    fn p29_a_mark_that_cannot_be_kept_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _) = TimestampFile::open(folder.path().join("missing/a.timestamp"));
        assert!(!file.persist(Tai64n::from_unix(1, 0)));
    }
}
