//! Running the commands of others, seen and checked.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A command line, run in the foreground.
#[derive(Debug)]
pub(crate) struct Step {
    line: String,
    command: Command,
}

impl Step {
    /// A command line whose words are separated by spaces; nothing is quoted or expanded.
    pub(crate) fn new(line: &str) -> Self {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(crate::root());
        Self {
            line: line.to_owned(),
            command,
        }
    }

    /// Adds one word, which may contain spaces.
    pub(crate) fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.line = format!("{} {}", self.line, word.as_ref().display());
        self.command.arg(word);
        self
    }

    /// Sets the folder it runs in.
    pub(crate) fn at(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it; its exit code, if no signal ended it.
    pub(crate) fn code(mut self) -> Result<Option<i32>> {
        eprintln!("$ {}", self.line);
        let status = self
            .command
            .status()
            .with_context(|| format!("cannot run: {}", self.line))?;
        Ok(status.code())
    }

    /// Runs it; whether it succeeded.
    pub(crate) fn succeeds(self) -> Result<bool> {
        Ok(self.code()? == Some(0))
    }

    /// Runs it; an error if it fails.
    pub(crate) fn run(self) -> Result<()> {
        let line = self.line.clone();
        if !self.succeeds()? {
            bail!("failed: {line}");
        }
        Ok(())
    }
}

/// Whether a program of that name is found.
pub(crate) fn is_installed(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program of that name is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // Tools for root live where the PATH of a plain user may not look.
    let system = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&folders)
        .chain(system)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stderr(Stdio::null()).output();
    id.is_ok_and(|id| id.stdout == b"0\n")
}
