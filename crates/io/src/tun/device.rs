//! HOT: a TUN device of the kernel: one read or write for each packet or superpacket.
//! Its queues are files of their own.
//!
//! ```text
//! | virtio_net_hdr, 10 bytes | IP packet, up to 64 KB |
//! ```

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use weapon_wire::{VnetHeader, split::Superpacket};

use super::{Device, Offloads, PARTS_MAX};

/// How many superpackets in a row the kernel may refuse before it is offered none any more.
///
/// Linux 6.6.44 and 6.10.3 refuse some that are right; a few others may be a peer's doing, who
/// must not be able to switch offloads off.
const REFUSALS_MAX: u32 = 16;

/// An open TUN device. The interface lives as long as this value.
pub struct Tun {
    /// At least one.
    queues: Vec<OwnedFd>,
    name: String,
    ifindex: u32,
    offloads: Offloads,
    /// Superpackets refused since the last that was taken.
    refusals: AtomicU32,
}

impl Tun {
    pub(super) fn new(
        queues: Vec<OwnedFd>,
        name: String,
        ifindex: u32,
        offloads: Offloads,
    ) -> Self {
        let refusals = AtomicU32::new(0);
        Self {
            queues,
            name,
            ifindex,
            offloads,
            refusals,
        }
    }

    /// The name the kernel gave the interface when it was created.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The index of the interface in the network namespace it was created in.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    fn gather<const MAX: usize>(
        &self,
        queue: usize,
        header: &[u8],
        parts: &[IoSlice<'_>],
    ) -> io::Result<()> {
        let mut all = [IoSlice::new(header); MAX];
        let Some(behind) = all.get_mut(1..=parts.len()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        behind.copy_from_slice(parts);
        rustix::io::writev(&self.queues[queue], &all[..=parts.len()])?;
        Ok(())
    }

    fn note_taken(&self) {
        // Another thread's cache keeps the line as long as there is nothing to write.
        if self.refusals.load(Relaxed) != 0 && self.offers_superpackets() {
            self.refusals.store(0, Relaxed);
        }
    }

    fn offers_superpackets(&self) -> bool {
        self.refusals.load(Relaxed) < REFUSALS_MAX
    }

    /// Writes the segments of a superpacket that the kernel has refused for `error`.
    #[cold]
    fn write_segments(
        &self,
        queue: usize,
        vnet: &VnetHeader,
        parts: &[IoSlice<'_>],
        error: io::Error,
    ) -> io::Result<()> {
        let mut packet: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        // What we cannot cut either, nobody could.
        let Ok(mut superpacket) = Superpacket::parse(vnet, &mut packet) else {
            return Err(error);
        };
        let header = VnetHeader::default().to_bytes();
        while let Some(segment) = superpacket.next() {
            self.gather::<2>(queue, &header, &[IoSlice::new(segment)])?;
        }
        let refusals = self.refusals.load(Relaxed).saturating_add(1);
        self.refusals.store(refusals, Relaxed);
        if refusals == REFUSALS_MAX {
            tracing::warn!(
                interface = self.name,
                "the kernel refuses superpackets: the TUN device gets single packets from now on"
            );
        }
        Ok(())
    }
}

impl Device for Tun {
    fn queues(&self) -> usize {
        self.queues.len()
    }

    fn queue(&self, queue: usize) -> BorrowedFd<'_> {
        self.queues[queue].as_fd()
    }

    fn read(&self, queue: usize, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.queues[queue], buffer)?)
    }

    fn write(&self, queue: usize, vnet: &VnetHeader, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let header = vnet.to_bytes();
        // Most packets are a few parts: filling a long array would cost more than the rest.
        let outcome = if parts.len() < 4 {
            self.gather::<4>(queue, &header, parts)
        } else {
            self.gather::<{ PARTS_MAX + 1 }>(queue, &header, parts)
        };
        if vnet.gso_type == VnetHeader::GSO_NONE {
            return outcome;
        }
        match outcome {
            Ok(()) => {
                self.note_taken();
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.write_segments(queue, vnet, parts, error)
            }
            Err(error) => Err(error),
        }
    }

    /// What was granted when the device was opened, or nothing any more after the kernel has
    /// refused many superpackets in a row.
    fn offloads(&self) -> Offloads {
        if self.offers_superpackets() {
            self.offloads
        } else {
            Offloads::default()
        }
    }
}

/// The first queue.
impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queues[0].as_fd()
    }
}
