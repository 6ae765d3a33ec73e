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

use serde::{Deserialize, Serialize};
use weapon_wire::{Segment, Superpacket, VnetHeader};

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
    refusals: Refusals,
}

/// What is known of a device beside its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunFacts {
    /// See [`Tun::name`].
    pub name: String,
    /// See [`Tun::ifindex`].
    pub ifindex: u32,
    /// What was granted when it was opened.
    pub offloads: Offloads,
}

/// Superpackets refused since the last that was taken.
#[derive(Debug, Default)]
struct Refusals(AtomicU32);

impl Tun {
    pub(super) fn new(
        queues: Vec<OwnedFd>,
        name: String,
        ifindex: u32,
        offloads: Offloads,
    ) -> Self {
        Self {
            queues,
            name,
            ifindex,
            offloads,
            refusals: Refusals::default(),
        }
    }

    /// The files of its queues, and what is known of it, on their way to another process.
    pub fn into_parts(self) -> (TunFacts, Vec<OwnedFd>) {
        let facts = TunFacts {
            name: self.name,
            ifindex: self.ifindex,
            offloads: self.offloads,
        };
        (facts, self.queues)
    }

    /// What another process has opened; nothing is set on it. `None` without a queue.
    pub fn of_parts(facts: TunFacts, queues: Vec<OwnedFd>) -> Option<Self> {
        let TunFacts {
            name,
            ifindex,
            offloads,
        } = facts;
        (!queues.is_empty()).then(|| Self::new(queues, name, ifindex, offloads))
    }

    /// The name the kernel gave the interface when it was created.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The index of the interface in the network namespace it was created in.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    pub(super) fn first_queue(&self) -> BorrowedFd<'_> {
        self.queues[0].as_fd()
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

    #[cold]
    fn tell_given_up(&self) {
        tracing::warn!(
            interface = self.name,
            "the kernel refuses superpackets: the TUN device gets single packets from now on"
        );
    }

    /// Writes what the kernel may refuse.
    fn write_once(&self, queue: usize, vnet: &VnetHeader, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let header = vnet.to_bytes();
        // Most packets are a few parts: filling a long array would cost more than the rest.
        if parts.len() < 4 {
            self.gather::<4>(queue, &header, parts)
        } else {
            self.gather::<{ PARTS_MAX + 1 }>(queue, &header, parts)
        }
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
        let write = |vnet: &VnetHeader, parts: &[IoSlice<'_>]| self.write_once(queue, vnet, parts);
        let given_up = self.refusals.write(vnet, parts, write)?;
        if given_up {
            self.tell_given_up();
        }
        Ok(())
    }

    /// What was granted when the device was opened, or nothing any more after the kernel has
    /// refused many superpackets in a row.
    fn offloads(&self) -> Offloads {
        if self.refusals.are_few() {
            self.offloads
        } else {
            Offloads::default()
        }
    }
}

impl Refusals {
    /// Writes a packet by `write`, and the segments of a superpacket that is refused. Says whether
    /// superpackets are given up now, for good.
    fn write(
        &self,
        vnet: &VnetHeader,
        parts: &[IoSlice<'_>],
        mut write: impl FnMut(&VnetHeader, &[IoSlice<'_>]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let outcome = write(vnet, parts);
        if vnet.gso_type == VnetHeader::GSO_NONE {
            return outcome.map(|()| false);
        }
        match outcome {
            Ok(()) => {
                // Another thread's cache keeps the line as long as there is nothing to write.
                if self.0.load(Relaxed) != 0 && self.are_few() {
                    self.0.store(0, Relaxed);
                }
                Ok(false)
            }
            Err(error) if is_refusal(&error) => self.cut(vnet, parts, error, write),
            Err(error) => Err(error),
        }
    }

    /// Writes the segments of a superpacket that the kernel has refused for `error`.
    #[cold]
    fn cut(
        &self,
        vnet: &VnetHeader,
        parts: &[IoSlice<'_>],
        error: io::Error,
        mut write: impl FnMut(&VnetHeader, &[IoSlice<'_>]) -> io::Result<()>,
    ) -> io::Result<bool> {
        let packet: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        // What we cannot cut either, nobody could.
        let Ok(superpacket) = Superpacket::parse(vnet, &packet) else {
            return Err(error);
        };
        for index in 0..superpacket.segments() {
            let mut segment = vec![0; superpacket.segment_len_max()];
            let Segment { head_len, rest } = superpacket.segment(index, &mut segment);
            segment.truncate(head_len);
            segment.extend_from_slice(rest);
            write(&VnetHeader::default(), &[IoSlice::new(&segment)])?;
        }
        let refusals = self.0.load(Relaxed).saturating_add(1);
        self.0.store(refusals, Relaxed);
        Ok(refusals == REFUSALS_MAX)
    }

    fn are_few(&self) -> bool {
        self.0.load(Relaxed) < REFUSALS_MAX
    }
}

/// Whether a smaller packet may be taken where a superpacket was not: the kernel finds it wrong,
/// too long, or has no memory for it in one piece. A device that is down (EIO) takes nothing.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EMSGSIZE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// The first queue.
impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queues[0].as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP superpacket of three datagrams, 100 bytes of payload each, and the header for it.
    fn superpacket() -> (VnetHeader, Vec<u8>) {
        let mut packet = vec![0x45, 0, 0x01, 0x48, 0, 0, 0x40, 0, 64, 17, 0, 0];
        packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        packet.extend([0x10, 0, 0x20, 0, 0x01, 0x34, 0, 0]);
        packet.extend((0..300).map(|at| (at / 100) as u8));
        let vnet = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso_type: VnetHeader::GSO_UDP_L4,
            hdr_len: 28,
            gso_size: 100,
            csum_start: 20,
            csum_offset: 6,
        };
        (vnet, packet)
    }

    #[test]
    fn whatever_a_superpacket_is_refused_for_its_segments_are_written() {
        let (vnet, packet) = superpacket();
        for errno in [libc::EINVAL, libc::EMSGSIZE, libc::ENOBUFS, libc::ENOMEM] {
            let refusals = Refusals::default();
            for round in 1..=REFUSALS_MAX + 1 {
                let mut written = Vec::new();
                let given_up = refusals
                    .write(&vnet, &[IoSlice::new(&packet)], |vnet, parts| {
                        if vnet.gso_type != VnetHeader::GSO_NONE {
                            return Err(io::Error::from_raw_os_error(errno));
                        }
                        written.push(parts[0].to_vec());
                        Ok(())
                    })
                    .unwrap();
                let payloads: Vec<_> = written.iter().map(|packet| &packet[28..]).collect();
                assert_eq!(payloads, [[0; 100], [1; 100], [2; 100]], "errno {errno}");
                assert_eq!(given_up, round == REFUSALS_MAX, "told once");
                assert_eq!(refusals.are_few(), round < REFUSALS_MAX);
            }
        }
    }

    #[test]
    fn a_device_that_is_down_or_gone_is_told_of() {
        let (vnet, packet) = superpacket();
        for errno in [libc::EIO, libc::EBADFD] {
            let refusals = Refusals::default();
            let mut calls = 0;
            let outcome = refusals.write(&vnet, &[IoSlice::new(&packet)], |_, _| {
                calls += 1;
                Err(io::Error::from_raw_os_error(errno))
            });
            assert_eq!(outcome.unwrap_err().raw_os_error(), Some(errno));
            assert_eq!((calls, refusals.are_few()), (1, true));
        }
    }

    #[test]
    fn a_superpacket_that_is_taken_forgives_those_that_were_not() {
        let (vnet, packet) = superpacket();
        let refusals = Refusals::default();
        for round in 0..4 * REFUSALS_MAX {
            let refuses = round % 2 == 0;
            let outcome = refusals.write(&vnet, &[IoSlice::new(&packet)], |vnet, _| {
                match refuses && vnet.gso_type != VnetHeader::GSO_NONE {
                    true => Err(io::Error::from_raw_os_error(libc::EINVAL)),
                    false => Ok(()),
                }
            });
            assert!(!outcome.unwrap());
            assert!(refusals.are_few());
        }
    }
}
