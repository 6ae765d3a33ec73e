//! The overlay: a TUN device that takes and gives superpackets.

use std::{
    io::{self, IoSlice},
    os::fd::BorrowedFd,
};

use serde::{Deserialize, Serialize};
use weapon_wire::VnetHeader;

/// How the device of the kernel is opened.
pub mod open;
pub use open::{TunConfig, TunError};

/// The device of the kernel.
pub mod device;
pub use device::{Tun, TunFacts};

/// Its interface, wherever it is.
pub mod link;
pub use link::{LinkState, TunLink};

/// An Ethernet device.
pub mod ethernet;
pub use ethernet::Tap;

/// A twin without a kernel, for tests of what runs above.
pub mod memory;

/// Bytes that a buffer for [`Device::read`] needs: the header and the longest superpacket.
pub const READ_BYTES: usize = VnetHeader::LEN + 65_536;

/// Most parts that one [`Device::write`] takes: 128 segments, each with a header of its own, and
/// far below the 1024 of the kernel.
pub const PARTS_MAX: usize = 256;

/// Which superpackets cross the device whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offloads {
    /// TCP over IPv4 and IPv6 (TSO), with checksums left to us.
    pub tcp: bool,
    /// UDP over IPv4 and IPv6 (USO, Linux 6.2), only together with `tcp`.
    pub udp: bool,
}

/// Most queues of a device (MAX_TAP_QUEUES, drivers/net/tun.c).
pub const QUEUES_MAX: usize = 256;

/// Where packets of the overlay are read from and written to.
///
/// A device has one queue or more. The kernel puts a packet into the queue through which the last
/// packet of its flow was written, in either direction, or else into one by a hash of the flow.
/// One thread reads a queue; any may write.
pub trait Device: Send + Sync {
    /// How many queues there are.
    fn queues(&self) -> usize;

    /// The file that becomes readable when there is a packet in `queue`.
    ///
    /// # Panics
    ///
    /// There is no such queue; also below.
    fn queue(&self, queue: usize) -> BorrowedFd<'_>;

    /// Reads one packet behind its [`VnetHeader`] and says how many bytes both have.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when there is none; [`is_gone`] when there never will be.
    fn read(&self, queue: usize, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes one packet, the concatenation of `parts`, through `queue`.
    ///
    /// # Errors
    ///
    /// More than [`PARTS_MAX`] parts; the kernel refused the packet, or the device is down
    /// (EIO): the packet is lost. [`is_gone`]: all packets will be.
    fn write(&self, queue: usize, vnet: &VnetHeader, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Which superpackets the device gives and takes.
    fn offloads(&self) -> Offloads;
}

/// Whether an error of a [`Device`] means that its interface has been deleted.
pub fn is_gone(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EBADFD)
}
