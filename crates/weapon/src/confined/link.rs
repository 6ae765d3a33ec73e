//! Messages over a socket pair, with open files.
//!
//! ```text
//! | u32 bytes of the text | u32 files | text, JSON |
//! ```
//!
//! Files travel with the header, the first [`FILES_AT_ONCE`], and with a byte for each that many
//! more. All that is sent or received is erased afterwards: it may hold keys.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};
use weapon_io::memory;
use zeroize::{Zeroize, Zeroizing};

/// What one call of the kernel carries (SCM_MAX_FD is 253).
const FILES_AT_ONCE: usize = 128;

const HEADER_LEN: usize = 8;

/// A message of so many bytes is about thousands of peers. What was needed for the last one is not
/// kept for the next.
const LONG: usize = 1 << 20;

/// What the other end may send.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of one message.
    pub bytes: usize,
    /// Files that come with it.
    pub files: usize,
}

/// Why nothing was received.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The other process has ended, or has let go of the link.
    #[error("the other process has ended")]
    Ended,
    /// What came is no message. The next one may be.
    #[error("a message that is none: {0}")]
    Malformed(String),
    /// More than the bounds, or an error of the socket. Nothing more can be received.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// One end.
#[derive(Debug)]
pub struct Link(UnixStream);

impl Link {
    /// Both ends.
    ///
    /// # Errors
    /// No more files.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self(one), Self(other)))
    }

    /// Whoever is asked and does not answer in this time is dead.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(time))?;
        self.0.set_write_timeout(Some(time))
    }

    /// Nothing is sent or received any more, at either end.
    pub fn close(&self) {
        // It is closed already.
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The other end has gone.
    pub fn send(&self, message: &impl Serialize, files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut text = Erased(Vec::new());
        serde_json::to_writer(&mut text, message)?;
        let mut header = [0; HEADER_LEN];
        let (len, count) = header.split_at_mut(4);
        len.copy_from_slice(&u32::try_from(text.0.len()).map_err(too_much)?.to_le_bytes());
        count.copy_from_slice(&u32::try_from(files.len()).map_err(too_much)?.to_le_bytes());
        let (first, more) = files.split_at(files.len().min(FILES_AT_ONCE));
        self.send_with(&header, first)?;
        for files in more.chunks(FILES_AT_ONCE) {
            self.send_with(&[0], files)?;
        }
        (&self.0).write_all(&text.0)?;
        let is_long = text.0.len() > LONG;
        drop(text);
        if is_long {
            memory::give_back();
        }
        Ok(())
    }

    fn send_with(&self, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::NOSIGNAL;
        let sent = rustix::io::retry_on_intr(|| {
            sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, flags)
        })?;
        (&self.0).write_all(bytes.get(sent..).unwrap_or_default())
    }

    /// Waits for the next message and the files that come with it.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub fn receive<T: DeserializeOwned>(
        &self,
        bounds: Bounds,
    ) -> Result<(T, Vec<OwnedFd>), LinkError> {
        let mut files = Vec::new();
        let mut header = [0; HEADER_LEN];
        self.receive_with(&mut header, &mut files)?;
        let [a, b, c, d, e, f, g, h] = header;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        let count = u32::from_le_bytes([e, f, g, h]) as usize;
        if len > bounds.bytes || count > bounds.files {
            return Err(too_much("more than is allowed").into());
        }
        for _ in 1..count.div_ceil(FILES_AT_ONCE) {
            self.receive_with(&mut [0], &mut files)?;
        }
        let mut text = Zeroizing::new(vec![0; len]);
        (&self.0).read_exact(&mut text).map_err(ended)?;
        if files.len() != count {
            let got = files.len();
            return Err(LinkError::Malformed(format!("{got} of {count} files")));
        }
        let message = serde_json::from_slice(&text);
        let is_long = text.len() > LONG;
        drop(text);
        if is_long {
            memory::give_back();
        }
        let message = message.map_err(|error| LinkError::Malformed(without_text(&error)))?;
        Ok((message, files))
    }

    fn receive_with(&self, bytes: &mut [u8], files: &mut Vec<OwnedFd>) -> Result<(), LinkError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = rustix::io::retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(bytes)];
            recvmsg(&self.0, &mut parts, &mut control, flags)
        });
        let received = received.map_err(|errno| ended(errno.into()))?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                files.extend(some);
            }
        }
        if received == 0 {
            return Err(LinkError::Ended);
        }
        let rest = bytes.get_mut(received..).unwrap_or_default();
        (&self.0).read_exact(rest).map_err(ended)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Link {
    fn from(file: OwnedFd) -> Self {
        Self(file.into())
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> Self {
        link.0.into()
    }
}

fn too_much(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn ended(error: io::Error) -> LinkError {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    match error.kind() {
        UnexpectedEof | ConnectionReset | BrokenPipe => LinkError::Ended,
        _ => LinkError::Broken(error),
    }
}

/// Where it is wrong, and not what stands there.
fn without_text(error: &serde_json::Error) -> String {
    format!(
        "{:?} error at line {} column {}",
        error.classify(),
        error.line(),
        error.column()
    )
}

/// Text that leaves no copy behind when it grows.
struct Erased(Vec<u8>);

impl Write for Erased {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.0.len().saturating_add(bytes.len());
        if needed > self.0.capacity() {
            let capacity = needed.max(self.0.capacity().saturating_mul(2)).max(1024);
            let mut larger = Vec::with_capacity(capacity);
            larger.extend_from_slice(&self.0);
            self.0.zeroize();
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Erased {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        bytes: 1 << 16,
        files: 300,
    };

    #[test]
    fn messages_arrive_with_their_files_in_order() {
        let (one, other) = Link::pair().unwrap();
        let paths: Vec<_> = (0..300)
            .map(|at| ["/dev/null", "/dev/zero"][at % 2])
            .collect();
        let files: Vec<File> = paths.iter().map(|path| File::open(path).unwrap()).collect();
        let all: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        one.send(&"first", &all).unwrap();
        one.send(&"second", &[]).unwrap();
        let (text, got) = other.receive::<String>(BOUNDS).unwrap();
        assert_eq!((&*text, got.len()), ("first", 300));
        for (one, other) in files.iter().zip(&got) {
            let of = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).unwrap().st_rdev;
            assert_eq!(of(one.as_fd()), of(other.as_fd()));
        }
        let (text, got) = other.receive::<String>(BOUNDS).unwrap();
        assert_eq!((&*text, got.len()), ("second", 0));
        drop(one);
        let end = other.receive::<String>(BOUNDS);
        assert!(matches!(end, Err(LinkError::Ended)), "{end:?}");
    }

    #[test]
    fn what_is_no_message_is_refused_and_the_next_one_is_heard() {
        let (one, other) = Link::pair().unwrap();
        one.send(&17, &[]).unwrap();
        one.send(&"good", &[]).unwrap();
        let bad = other.receive::<String>(BOUNDS);
        assert!(matches!(bad, Err(LinkError::Malformed(_))), "{bad:?}");
        assert_eq!(other.receive::<String>(BOUNDS).unwrap().0, "good");
    }

    #[test]
    fn more_than_the_bounds_is_not_even_read() {
        let (one, other) = Link::pair().unwrap();
        (&one.0).write_all(&[0xff; HEADER_LEN]).unwrap();
        let bad = other.receive::<String>(BOUNDS);
        assert!(matches!(bad, Err(LinkError::Broken(_))), "{bad:?}");
    }

    proptest! {
        /// Whatever comes, it is a message or an error.
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (one, other) = Link::pair().unwrap();
            (&one.0).write_all(&bytes).unwrap();
            drop(one);
            while let Ok(_) | Err(LinkError::Malformed(_)) = other.receive::<String>(BOUNDS) {}
        }
    }
}
