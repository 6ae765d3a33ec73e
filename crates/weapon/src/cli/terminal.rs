//! Where output goes: colours for a terminal alone, and no panic when nobody reads.

use std::env;
use std::io::{self, IsTerminal, Write};

use crate::config::Problem;

/// Whether standard error may be coloured: a terminal, and neither `NO_COLOR` nor `TERM=dumb`.
pub fn stderr_colour() -> bool {
    io::stderr().is_terminal() && colour_is_wanted()
}

/// Whether standard output may be coloured: as [`stderr_colour`].
pub fn stdout_colour() -> bool {
    io::stdout().is_terminal() && colour_is_wanted()
}

/// Columns of standard output, if it is a terminal.
pub fn stdout_width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let (columns, _) = ratatui::crossterm::terminal::size().ok()?;
    Some(usize::from(columns)).filter(|&columns| columns != 0)
}

fn colour_is_wanted() -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    !is_set("NO_COLOR") && !is_dumb
}

/// `text` in the colour with this code of ECMA-48, section 8.3.117, if there are colours.
pub fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Prints a problem of a configuration to standard error.
pub fn print_problem(problem: &Problem) {
    print_error(&problem.line(stderr_colour()));
}

/// Prints a line to standard error. That it is closed is no reason to fail.
pub fn print_error(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a line to standard output.
///
/// # Errors
/// Standard output is closed or full, which is a failure: the line was what was asked for.
pub fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}
