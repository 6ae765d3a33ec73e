//! Programs of the system: run, fed, and listened to.

use std::{
    io::{self, Write},
    process::{Command, Stdio},
};

/// A program that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It is not in any folder of `PATH`.
    #[error("there is no program `{program}` in PATH")]
    Missing {
        /// Its name.
        program: String,
    },
    /// It could not be started or fed.
    #[error("`{program}` could not be run")]
    NotRun {
        /// Its name.
        program: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It failed, and said why.
    #[error("`{asked}`: {said}")]
    Failed {
        /// The command line.
        asked: String,
        /// What it said.
        said: String,
    },
}

impl ProgramError {
    /// Whether there is no such program.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

/// Runs a program to its end, with `input` as its standard input, and returns what it wrote to
/// standard output. It speaks English.
///
/// # Errors
/// There is no such program, or it failed.
pub fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, ProgramError> {
    let not_run = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ProgramError::Missing {
            program: program.to_owned(),
        },
        _ => ProgramError::NotRun {
            program: program.to_owned(),
            error,
        },
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read everything says itself what is wrong.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(not_run)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let said = said.collect::<Vec<_>>().join("; ");
    Err(ProgramError::Failed {
        asked: [&[program], arguments].concat().join(" "),
        said: if said.is_empty() {
            output.status.to_string()
        } else {
            said
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_back() {
        assert_eq!(run("cat", &[], "fed").unwrap(), "fed");
        let error = run("sh", &["-c", "echo no >&2; exit 3"], "").unwrap_err();
        assert_eq!(error.to_string(), "`sh -c echo no >&2; exit 3`: no");
        let error = run("sh", &["-c", "exit 3"], "").unwrap_err();
        assert!(error.to_string().ends_with("exit status: 3"), "{error}");
        assert!(run("no-such-program", &[], "").unwrap_err().is_missing());
    }
}
