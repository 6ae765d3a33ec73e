//! The underlay: UDP sockets that take and give trains of datagrams.
//!
//! A train is what UDP_SEGMENT sends and UDP_GRO receives as one: up to 64 KB of datagrams of one
//! flow, one behind the other, all of the same length but the last, which may be shorter.
//! `docs/decisions/0001-own-udp-batching.md` says why the system calls are made here.

use std::{
    io,
    net::SocketAddr,
    os::fd::{BorrowedFd, OwnedFd},
};

use serde::{Deserialize, Serialize};
use weapon_wire::Endpoint;

/// Both sockets of the kernel, on one port.
pub mod socket;
pub use socket::{Udp, UdpConfig, UdpError};

/// Trains that arrive.
pub mod receive;
pub use receive::{Received, Receiver};

/// Trains that leave.
pub mod send;
pub use send::{SendReport, Sender};

/// A network without a kernel, for tests of what runs above.
pub mod memory;

/// Sockets that a gateway before us had.
pub mod adopted;
pub use adopted::NotAdopted;

/// Sockets on their way to another process.
pub mod parts;
pub use parts::{UdpFacts, mark_all};

mod address; // socket addresses as the kernel reads them
mod control; // control messages: source, TOS, segment length
mod door; // which socket of a port gets what
mod syscall; // sendmmsg, recvmmsg, socket options

/// The longest train and the longest datagram: 65,535 less the headers of IPv4 and UDP.
///
/// IPv6 would allow 20 bytes more.
pub const TRAIN_BYTES_MAX: usize = 65_507;

/// Most datagrams of a train.
///
/// The kernel's limit has been 64 (UDP_MAX_SEGMENTS; 128 since Linux 6.9), but it compares
/// the length with headers to it, so that 64 full segments are one too many.
pub const SEGMENTS_MAX: usize = 63;

/// What one train fits in when it arrives.
pub const SLOT_BYTES: usize = 65_536;

/// The version of IP below a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of `address`, which is in the normal form of [`Endpoint::new`].
    pub fn of(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }
}

/// The sockets of a gateway, all on one port.
#[derive(Debug)]
pub struct Sockets<S> {
    /// One for each lane.
    pub lanes: Vec<S>,
    /// Where handshake messages come in, apart from data and by the network that they come from. If
    /// there are none, they come to the lanes with all the rest.
    pub doors: Vec<S>,
}

impl<S> Default for Sockets<S> {
    /// None.
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<S> From<Vec<S>> for Sockets<S> {
    fn from(lanes: Vec<S>) -> Self {
        let doors = Vec::new();
        Self { lanes, doors }
    }
}

/// The files of a lane or a door, which outlive the process if somebody keeps them.
pub type Files = Vec<(Family, OwnedFd)>;

/// A train in a send buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Train {
    /// To whom, and from which of our addresses.
    pub to: Endpoint,
    /// DSCP and ECN of the outer header.
    pub tos: u8,
    /// Where in the send buffer it begins.
    pub start: usize,
    /// Its bytes.
    pub len: usize,
    /// Bytes of each datagram but the last; equal to `len` if there is one.
    pub stride: usize,
}

impl Train {
    /// How many datagrams it has; an empty datagram is one.
    pub fn datagrams(&self) -> usize {
        self.len.div_ceil(self.stride.max(1)).max(1)
    }
}

/// A train in a receive buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// From whom, and to which of our addresses.
    pub from: Endpoint,
    /// DSCP and ECN of the outer header.
    pub tos: u8,
    /// Its bytes.
    pub len: usize,
    /// Bytes of each datagram but the last; equal to `len` if there is one.
    pub stride: usize,
    /// It was longer than the buffer and is worthless.
    pub truncated: bool,
}

/// Where trains are sent to and received from: the kernel, or a test.
///
/// Never waits, except for [`Socket::wait_writable`]. May be shared by threads.
pub trait Socket: Send + Sync {
    /// The file that becomes readable when trains of `family` have arrived; `None` if the host
    /// does not know `family`.
    fn fd(&self, family: Family) -> Option<BorrowedFd<'_>>;

    /// Whether a train may have more than one datagram.
    fn gso(&self) -> bool;

    /// Marks all that is sent from now on; 0 for no mark (SO_MARK).
    ///
    /// # Errors
    ///
    /// What the kernel says; nothing where there are no marks.
    fn set_mark(&self, mark: u32) -> io::Result<()> {
        let _ = mark;
        Ok(())
    }

    /// Sends `trains`, all of the family of the first, out of `buffer`, and says how many.
    ///
    /// # Errors
    ///
    /// That of the first train. One that a later train meets ends the call early, to be met again
    /// when that train comes first.
    fn send(&self, buffer: &[u8], trains: &[Train]) -> io::Result<usize>;

    /// Waits until [`Socket::send`] can go on after [`io::ErrorKind::WouldBlock`], or `timeout_ms`
    /// have passed, and says whether it can.
    fn wait_writable(&self, family: Family, timeout_ms: u32) -> bool;

    /// Receives a train into each [`SLOT_BYTES`] of `buffer`, as long as there are trains and
    /// `arrivals`, and says how many.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when there is none.
    fn receive(
        &self,
        family: Family,
        buffer: &mut [u8],
        arrivals: &mut [Arrival],
    ) -> io::Result<usize>;
}
