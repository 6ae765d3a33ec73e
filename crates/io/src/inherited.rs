//! Files that whoever started this process gave it.

use std::{
    env, io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    sync::Mutex,
};

/// The first of the files that a service manager hands over (sd_listen_fds(3)).
const FIRST: RawFd = 3;

/// How many of them are taken at most: more than the sockets of a gateway, and fewer than a process
/// may have open.
const HANDED_OVER_MAX: usize = 512;

/// Those that were taken already.
static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// The file whose number stands in the environment variable `variable`; `None` if it is not set.
/// Closed on exec from here on.
///
/// # Errors
/// It is not a number above standard error's, not open, or was taken before.
pub fn file(variable: &str) -> io::Result<Option<OwnedFd>> {
    let Some(value) = env::var_os(variable) else {
        return Ok(None);
    };
    let number = value.to_str().and_then(|text| text.parse::<RawFd>().ok());
    let Some(fd) = number.filter(|&fd| fd > libc::STDERR_FILENO) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    take(fd).map(Some)
}

/// The files that the service manager has kept for us, with their names: `LISTEN_FDS` and
/// `LISTEN_FDNAMES`. None if they are for another process, or there is no such manager.
///
/// # Errors
/// As of [`file`].
pub fn handed_over() -> io::Result<Vec<(String, OwnedFd)>> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    if variable("LISTEN_PID").parse() != Ok(std::process::id()) {
        return Ok(Vec::new());
    }
    let count = variable("LISTEN_FDS").parse().unwrap_or(0);
    let count = HANDED_OVER_MAX.min(count) as RawFd;
    let names = variable("LISTEN_FDNAMES");
    let mut names = names.split(':');
    let files = (FIRST..FIRST + count).map(|fd| {
        let name = names.next().unwrap_or_default().to_owned();
        take(fd).map(|file| (name, file))
    });
    files.collect()
}

fn take(fd: RawFd) -> io::Result<OwnedFd> {
    let mut taken = TAKEN
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if taken.contains(&fd) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // SAFETY: F_SETFD takes a number and touches no memory of ours; a file that is not open is an
    // error.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    taken.push(fd);
    // SAFETY: the file is open, and who set the variable says that it is for us. We give it out
    // once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
