//! What is wrong with a configuration, where, and what would be right.
//!
//! Printed as compilers do, one line each: `site-a.toml:7:10: gateway.listen: 70000 is not a port`.
//! No message ever holds the text of a key, a secret or a value that was meant to be one.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Where something stands in a configuration file, and the key it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// Line from 1; 0 is the file as a whole.
    pub line: usize,
    /// Column from 1, in characters; 0 is the line as a whole.
    pub column: usize,
    /// `section.key`, spelled as in the file's format; may be empty.
    pub key: String,
}

impl Place {
    /// `FILE:LINE:COLUMN: KEY`, less what is not known.
    pub fn in_file(&self, file: &Path) -> String {
        let mut text = numbered(file, self.line, self.column);
        if !self.key.is_empty() {
            let _ = write!(text, ": {}", self.key);
        }
        text
    }
}

/// `FILE:LINE:COLUMN`, less what is not known.
fn numbered(file: &Path, line: usize, column: usize) -> String {
    let mut text = file.display().to_string();
    for number in [line, column].into_iter().filter(|number| *number > 0) {
        let _ = write!(text, ":{number}");
    }
    text
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub place: Place,
}

/// Whether a problem stops `up`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration holds, but probably not as meant.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The configuration file, as it was named on the command line.
    pub file: PathBuf,
    /// Line from 1; 0 is the file as a whole.
    pub line: usize,
    /// Column from 1, in characters; 0 is the line as a whole.
    pub column: usize,
    /// `section.key`; empty when it is about the file.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// Whether it stops `up`.
    pub severity: Severity,
}

impl Problem {
    /// An error about the file as a whole.
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self::at(file, &Place::default(), Severity::Error, message.into())
    }

    fn at(file: &Path, place: &Place, severity: Severity, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line: place.line,
            column: place.column,
            key: place.key.clone(),
            message,
            severity,
        }
    }

    /// The problem as one line, coloured for a terminal if asked.
    pub fn line(&self, colour: bool) -> String {
        let paint = |code: &'static str| if colour { code } else { "" };
        let (bold, red, yellow, reset) = (
            paint("\x1b[1m"),
            paint("\x1b[1;31m"),
            paint("\x1b[1;33m"),
            paint("\x1b[0m"),
        );
        let at = numbered(&self.file, self.line, self.column);
        let mut line = format!("{bold}{at}:{reset} ");
        let tint = match self.severity {
            Severity::Error => red,
            Severity::Warning => {
                let _ = write!(line, "{yellow}warning:{reset} ");
                yellow
            }
        };
        if !self.key.is_empty() {
            let _ = write!(line, "{tint}{}:{reset} ", self.key);
        }
        line.push_str(&self.message);
        line
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line(false))
    }
}

/// The problems of one file, collected while it is read.
#[derive(Debug)]
pub struct Problems {
    file: PathBuf,
    list: Vec<Problem>,
}

impl Problems {
    /// No problem yet.
    pub fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            list: Vec::new(),
        }
    }

    /// The file they are about.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Notes an error.
    pub fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.list.push(Problem::at(
            &self.file,
            place,
            Severity::Error,
            message.into(),
        ));
    }

    /// Notes a warning.
    pub fn warning(&mut self, place: &Place, message: impl Into<String>) {
        self.list.push(Problem::at(
            &self.file,
            place,
            Severity::Warning,
            message.into(),
        ));
    }

    /// Whether an error was noted.
    pub fn has_errors(&self) -> bool {
        self.list
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }

    /// All of them, in the order of the file.
    pub fn into_list(mut self) -> Vec<Problem> {
        self.list
            .sort_by_key(|problem| (problem.line, problem.column));
        self.list
    }
}

/// Why a configuration was refused: at least one error, and the warnings with it.
///
/// `main` turns it into exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{}", joined(.0))]
pub struct BadConfig(pub Vec<Problem>);

impl From<Problem> for BadConfig {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

fn joined(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
