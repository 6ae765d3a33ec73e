//! A TAP device: Ethernet frames, one by one, without any offload. The end of a cable that a
//! program holds, for tests that want a bad link.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{TunError, open::attach};

/// An open TAP device. The interface lives as long as this value.
#[derive(Debug)]
pub struct Tap(OwnedFd);

impl Tap {
    /// Creates the interface, down and without addresses, in the network namespace of this thread.
    /// Neither [`Tap::read`] nor [`Tap::write`] will wait.
    ///
    /// # Errors
    /// See [`TunError`]; no interface is left behind.
    pub fn open(name: &str) -> Result<Self, TunError> {
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
        Ok(Self(attach(name, flags)?.0))
    }

    /// Reads the next frame that the host sent.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; EIO while the interface is down.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.0, buffer)?)
    }

    /// Writes a frame, which the host receives.
    ///
    /// # Errors
    /// EIO while the interface is down.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        rustix::io::write(&self.0, frame)?;
        Ok(())
    }
}

/// Readable when a frame waits.
impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
