//! A log that is only read: nothing is made, locked or changed, and it may be on another machine
//! than it was written on.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::folder::{Source, log_files};

/// The folder of a log.
#[derive(Debug)]
pub struct Reading(PathBuf);

impl Reading {
    /// The one at `path`.
    ///
    /// # Errors
    /// There is none, or it may not be read.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let reading = Self(path.to_owned());
        let names = reading.names();
        let names = names.with_context(|| format!("{}: no audit log", path.display()))?;
        anyhow::ensure!(
            !log_files(names).is_empty(),
            "{}: there is no audit log; one has files audit-NUMBER.jsonl",
            path.display()
        );
        Ok(reading)
    }
}

impl Source for Reading {
    fn names(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.0)?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn BufRead>> {
        let file = fs::File::open(self.0.join(name))?;
        Ok(Box::new(BufReader::with_capacity(64 << 10, file)))
    }
}
