//! A process that stays behind when the one that was typed returns: the program runs itself again,
//! and returns when the other says that all is up.

use std::{
    env,
    io::{self, Read, Write},
    process::{Command, ExitCode, Stdio},
};

use anyhow::Context;

/// Set for the process that stays behind.
const DETACHED: &str = "WEAPON_DETACHED";

/// What that process says on its standard output when all is up.
const READY: &[u8] = b"ready\n";

/// Whether this is the process that stays behind.
pub fn is_detached() -> bool {
    env::var_os(DETACHED).is_some()
}

/// Runs this program again with `arguments` and waits until it is up or has failed.
///
/// # Errors
/// It could not be started.
pub fn start(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<ExitCode> {
    let mut child = Command::new(env::current_exe().context("cannot find this program")?)
        .args(arguments)
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the gateway's process")?;
    let mut said = Vec::new();
    let mut stdout = child
        .stdout
        .take()
        .context("the gateway's process has no output")?;
    stdout.read_to_end(&mut said)?;
    if said == READY {
        return Ok(ExitCode::SUCCESS);
    }
    // It has told on standard error, which it shares with us, what went wrong.
    let status = child.wait()?;
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(ExitCode::from(code.max(1)))
}

/// A session of its own: the terminal's signals are not for the gateway.
///
/// # Errors
/// It has one already.
pub fn leave_terminal() -> anyhow::Result<()> {
    rustix::process::setsid().context("cannot leave the terminal")?;
    Ok(())
}

/// What becomes of standard error when the process that was typed returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Nobody reads it any more.
    Ends,
    /// It stays, with standard output.
    Stays,
}

/// Tells the parent that all is up, and lets go of its folder, and of its terminal if the log ends.
///
/// # Errors
/// The parent has gone.
pub fn announce(log: Log) -> anyhow::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(READY)?;
    stdout.flush()?;
    env::set_current_dir("/")?;
    // Standard output goes last: the parent returns when it is closed, and all is done then.
    match log {
        Log::Ends => {
            let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
            rustix::stdio::dup2_stderr(&nowhere)?;
            rustix::stdio::dup2_stdout(&nowhere)?;
        }
        Log::Stays => rustix::stdio::dup2_stdout(rustix::stdio::stderr())?,
    }
    Ok(())
}
