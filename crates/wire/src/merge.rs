//! HOT Segments into superpackets: what was opened from one receive buffer goes to the TUN device
//! in as few writes as possible, without a copy of any payload.
//!
//! A group is a run of packets of one flow that the kernel can cut again into exactly these
//! packets. Only the newest group of a flow grows and groups leave in the order of their first
//! packets, so packets of one flow are never reordered.
//!
//! The rules are those of the kernel's GRO, made stricter where the kernel forgets something (TCP
//! window, reserved bits), because the packets are the peer's and not ours to round off.
//!
//! Transport checksums are not verified: the packets were authenticated when they were opened.
//! Whatever could have been merged leaves with NEEDS_CSUM, alone or not, which the kernel takes as
//! verified. All else leaves as it came: what is not TCP or UDP, fragments, UDP without a checksum,
//! and TCP without data, where there is next to nothing to verify.
//!
//! The price is that a packet whose checksum was wrong before it was sealed, and which is forwarded
//! behind the tunnel, gets a right one there. The kernel's own WireGuard trusts its packets as much
//! and keeps their bytes (CHECKSUM_UNNECESSARY), but a TUN device has no way to ask for that: it
//! ignores VIRTIO_NET_HDR_F_DATA_VALID (Linux 6.18: a wrong checksum is dropped under it).

mod group;

use core::{net::IpAddr, ops::Range};
use std::io::IoSlice;

use self::group::{stamp_lengths, stamp_sum};
use crate::{
    Flow, SEGMENTS_MAX, VnetHeader, checksum,
    ip::{self, be16},
    tcp, udp,
};

/// The most datagrams the kernel merges itself (`UDP_GRO_CNT_MAX`, net/ipv4/udp_offload.c), and
/// before Linux 6.9 the most it cuts.
const UDP_SEGMENTS_MAX: u8 = 64;

/// What the TUN device's offloads accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeLimits {
    /// TCP over IPv4 and IPv6 (TUN_F_TSO4 and TUN_F_TSO6).
    pub tcp: bool,
    /// UDP over IPv4 and IPv6 (TUN_F_USO4 and TUN_F_USO6).
    pub udp: bool,
}

/// Collects the packets of one buffer and writes them in superpackets. Made once and used again
/// for each buffer; it is some 12 KB and owns nothing else.
#[derive(Debug)]
pub struct Merger {
    limits: MergeLimits,
    packets: [Packet; SEGMENTS_MAX],
    packets_len: usize,
    /// A hash of each group's flow, apart from the groups so that a search stays in few cache
    /// lines.
    hashes: [u32; SEGMENTS_MAX],
    groups: [Group; SEGMENTS_MAX],
    groups_len: usize,
}

/// A packet in the buffer. Positions are far below 4 GB, so 32 bits do.
#[derive(Clone, Copy, Debug)]
struct Packet {
    start: u32,
    end: u32,
    header_len: u16,
    /// The next packet of the same group; its own index at the end.
    next: u8,
}

/// Packets of one flow that leave together.
#[derive(Clone, Copy, Debug)]
struct Group {
    flow: Flow,
    first: u8,
    last: u8,
    len: u8,
    /// Takes no more packets.
    closed: bool,
    /// All packets have the first one's IPv4 id, rather than counting up from it.
    same_id: bool,
    /// The payload of each packet but the last, in bytes.
    payload_len: u16,
    /// All payloads together.
    payload_total: u32,
    /// TCP flags FIN and PSH of the last packet.
    last_flags: u8,
}

/// What the merge rules need to know of a packet that may be merged at all.
#[derive(Clone, Copy)]
struct Candidate {
    header_len: usize,
    payload_len: usize,
    /// FIN and PSH, which no packet may follow.
    last_flags: u8,
    /// CWR, which may not follow a packet.
    is_head: bool,
}

impl Merger {
    /// A merger for a device that accepts `limits`.
    pub fn new(limits: MergeLimits) -> Self {
        let unspecified = IpAddr::from([0; 4]);
        let flow = Flow {
            source: unspecified,
            destination: unspecified,
            protocol: 0,
            ports: None,
            header_len: 0,
            total_len: 0,
            traffic_class: 0,
        };
        let group = Group {
            flow,
            first: 0,
            last: 0,
            len: 0,
            closed: true,
            same_id: false,
            payload_len: 0,
            payload_total: 0,
            last_flags: 0,
        };
        Self {
            limits,
            packets: [Packet {
                start: 0,
                end: 0,
                header_len: 0,
                next: 0,
            }; SEGMENTS_MAX],
            packets_len: 0,
            hashes: [0; SEGMENTS_MAX],
            groups: [group; SEGMENTS_MAX],
            groups_len: 0,
        }
    }

    /// Changes what the device accepts, from the next [`push`](Self::push) on.
    pub fn set_limits(&mut self, limits: MergeLimits) {
        self.limits = limits;
    }

    /// Whether [`finish`](Self::finish) must come before the next [`push`](Self::push).
    pub fn is_full(&self) -> bool {
        self.packets_len == SEGMENTS_MAX
    }

    /// Adds the packet at `packet` in `buffer`, parsed to `flow` and without padding.
    ///
    /// Returns false, and has not taken the packet, when [`SEGMENTS_MAX`] packets are pending.
    /// Until [`finish`](Self::finish) the buffer must not change, and all packets must lie in it
    /// without overlapping.
    ///
    /// # Panics
    /// When `packet` is no range of `buffer`, or is shorter than `flow` says.
    #[must_use]
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "the caller's range is his duty; counts are at most SEGMENTS_MAX"
    )]
    pub fn push(&mut self, buffer: &[u8], packet: Range<usize>, flow: &Flow) -> bool {
        if self.is_full() {
            return false;
        }
        let start = packet.start;
        let bytes = &buffer[packet][..flow.total_len];
        let candidate = self.candidate(bytes, flow);
        let index = self.packets_len as u8;
        self.packets[self.packets_len] = Packet {
            start: start as u32,
            end: (start + flow.total_len) as u32,
            header_len: candidate.map_or(0, |candidate| candidate.header_len as u16),
            next: index,
        };
        self.packets_len += 1;

        let hash = flow.hash();
        if flow.ports.is_none() {
            self.close_between(flow);
        }
        if let Some(candidate) = candidate
            && let Some(group) = self.newest_group(hash, flow)
            && self.append(group, buffer, index, bytes, candidate)
        {
            return true;
        }
        // Closed or not, the new group is the newest of its flow from here on.
        self.begin_group(hash, flow, index, candidate);
        true
    }

    /// Writes all pending packets, the groups in the order of their first packets, and begins
    /// anew.
    ///
    /// `buffer` is the one of the pushes; headers are changed in it. `write` gets
    /// the flow, the offload header and the packet in pieces.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "places were looked at when packets were pushed; counts are at most SEGMENTS_MAX"
    )]
    pub fn finish(
        &mut self,
        buffer: &mut [u8],
        write: &mut impl FnMut(&Flow, &VnetHeader, &[IoSlice<'_>]),
    ) {
        for group in &self.groups[..self.groups_len] {
            let first = self.packets[usize::from(group.first)];
            if first.header_len == 0 {
                continue;
            }
            let header = &mut buffer[first.start as usize..][..usize::from(first.header_len)];
            if group.len > 1 {
                stamp_lengths(group, header);
            }
            stamp_sum(group, header);
        }
        let buffer = &*buffer;
        // Made when the first merged group comes: to a lone packet it costs more than the rest.
        let mut room = None;
        for group in &self.groups[..self.groups_len] {
            let mut index = group.first;
            if group.len == 1 {
                let packet = &self.packets[usize::from(index)];
                let bytes = &buffer[packet.start as usize..packet.end as usize];
                let vnet = group.lone_vnet(packet.header_len);
                write(&group.flow, &vnet, &[IoSlice::new(bytes)]);
                continue;
            }
            let slices = room.get_or_insert_with(|| [IoSlice::new(&[]); SEGMENTS_MAX]);
            let mut skip = 0;
            let mut slices_len = 0;
            loop {
                let packet = &self.packets[usize::from(index)];
                let bytes = &buffer[packet.start as usize..packet.end as usize];
                // The first packet brings its header, the others their payload only.
                slices[slices_len] = IoSlice::new(&bytes[skip..]);
                slices_len += 1;
                skip = usize::from(packet.header_len);
                if packet.next == index {
                    break;
                }
                index = packet.next;
            }
            let header_len = self.packets[usize::from(group.first)].header_len;
            let is_cwr = group.flow.protocol == ip::TCP
                && slices[0][group.flow.header_len + tcp::FLAGS] & tcp::CWR != 0;
            write(
                &group.flow,
                &group.vnet(header_len, is_cwr),
                &slices[..slices_len],
            );
        }
        self.packets_len = 0;
        self.groups_len = 0;
    }

    /// Whether the packet may be merged with others, judged by itself.
    fn candidate(&self, packet: &[u8], flow: &Flow) -> Option<Candidate> {
        let transport = match flow.source {
            IpAddr::V4(_) => {
                let fragment = be16(packet, ip::V4_FRAGMENT);
                let header = packet.get(..ip::V4_HEADER_LEN)?;
                // The kernel drops a wrong header sum; merging would hide it.
                let is_plain = flow.header_len == header.len()
                    && fragment & !ip::V4_DF == 0
                    && checksum::finish(checksum::partial(header)) == 0;
                is_plain.then(|| packet.get(flow.header_len..))??
            }
            IpAddr::V6(_) => {
                let is_plain = flow.header_len == ip::V6_HEADER_LEN;
                is_plain.then(|| packet.get(flow.header_len..))??
            }
        };
        let (header_len, last_flags, is_head) = match flow.protocol {
            ip::TCP if self.limits.tcp => {
                let header_len = tcp::header_len(transport)?;
                let flags = *transport.get(tcp::FLAGS)?;
                let wanted = flags & (tcp::ACK | tcp::SYN | tcp::RST | tcp::URG) == tcp::ACK;
                wanted.then_some((
                    header_len,
                    flags & (tcp::FIN | tcp::PSH),
                    flags & tcp::CWR != 0,
                ))?
            }
            ip::UDP if self.limits.udp => {
                let is_whole = transport.len() >= udp::HEADER_LEN
                    && usize::from(be16(transport, udp::LENGTH)) == transport.len()
                    && be16(transport, udp::CHECKSUM) != 0;
                is_whole.then_some((udp::HEADER_LEN, 0, false))?
            }
            _ => return None,
        };
        let payload_len = transport.len().checked_sub(header_len)?;
        let header_len = flow.header_len.checked_add(header_len)?;
        (payload_len > 0).then_some(Candidate {
            header_len,
            payload_len,
            last_flags,
            is_head,
        })
    }

    /// Closes every group between the addresses of `flow` under the same protocol: a packet without
    /// ports may be a fragment of any of their flows and must not be overtaken.
    fn close_between(&mut self, flow: &Flow) {
        for group in self.groups.iter_mut().take(self.groups_len) {
            group.closed |= group.flow.protocol == flow.protocol
                && group.flow.source == flow.source
                && group.flow.destination == flow.destination;
        }
    }

    /// The newest group of the packet's flow, if it takes more packets.
    #[expect(clippy::indexing_slicing, reason = "groups are counted")]
    fn newest_group(&self, hash: u32, flow: &Flow) -> Option<usize> {
        let same_flow = |&index: &usize| {
            let group = &self.groups[index];
            self.hashes[index] == hash
                && group.flow.ports == flow.ports
                && group.flow.protocol == flow.protocol
                && group.flow.source == flow.source
                && group.flow.destination == flow.destination
        };
        let newest = (0..self.groups_len).rev().find(same_flow)?;
        (!self.groups[newest].closed).then_some(newest)
    }

    /// Adds the packet to the group, if the kernel would cut it off again as it is.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "places were looked at when packets were pushed; counts are at most SEGMENTS_MAX"
    )]
    fn append(
        &mut self,
        group: usize,
        buffer: &[u8],
        index: u8,
        bytes: &[u8],
        candidate: Candidate,
    ) -> bool {
        let group = &mut self.groups[group];
        let first = self.packets[usize::from(group.first)];
        let head = &buffer[first.start as usize..first.end as usize];
        if !group.accepts(head, usize::from(first.header_len), bytes, candidate) {
            return false;
        }
        if group.len == 1 && group.flow.source.is_ipv4() {
            group.same_id = be16(bytes, ip::V4_ID) == be16(head, ip::V4_ID);
        }
        self.packets[usize::from(group.last)].next = index;
        group.last = index;
        group.len += 1;
        group.payload_total += candidate.payload_len as u32;
        group.last_flags = candidate.last_flags;
        group.closed = candidate.last_flags != 0
            || candidate.payload_len < usize::from(group.payload_len)
            || (group.flow.protocol == ip::UDP && group.len == UDP_SEGMENTS_MAX);
        true
    }

    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "there are no more groups than packets, and `push` has counted those"
    )]
    fn begin_group(&mut self, hash: u32, flow: &Flow, index: u8, candidate: Option<Candidate>) {
        let payload_len = candidate.map_or(0, |candidate| candidate.payload_len);
        self.hashes[self.groups_len] = hash;
        self.groups[self.groups_len] = Group {
            flow: *flow,
            first: index,
            last: index,
            len: 1,
            closed: candidate.is_none_or(|candidate| candidate.last_flags != 0),
            same_id: false,
            payload_len: payload_len as u16,
            payload_total: payload_len as u32,
            last_flags: 0,
        };
        self.groups_len += 1;
    }
}
