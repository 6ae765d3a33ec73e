//! Files that whoever started this process gave it.

use std::{
    env, io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    sync::Mutex,
};

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
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}
