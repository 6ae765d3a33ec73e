//! Signals that a process does not want to hear.

use std::io;

/// SIGTERM, SIGINT and SIGHUP, by which people and service managers end things, end this process no
/// more.
///
/// # Errors
/// What the kernel says.
pub fn ignore_ends() -> io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: SIG_IGN is no function that could be called, and nobody else in this program sets
        // what these signals do in a process that calls this.
        let before = unsafe { libc::signal(signal, libc::SIG_IGN) };
        if before == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
