//! What a command says that runs to its end.

use std::process::Command;

/// Exit code, output and errors of a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// What it wrote to its standard output.
    pub out: String,
    /// What it complained of.
    pub error: String,
}

impl Said {
    /// Runs `command` to its end.
    #[track_caller]
    pub fn by(command: &mut Command) -> Self {
        let output = command.output().expect("the program runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self {
            code: output.status.code().expect("an exit code"),
            out: text(output.stdout),
            error: text(output.stderr),
        }
    }
}
