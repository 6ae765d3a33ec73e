//! HOT Superpackets into segments: what a TUN read returned becomes packets for the wire.
//!
//! The kernel hands over up to 64 KB of TCP or UDP payload under one header. Of each segment the
//! *head* is written to where the segment is sealed: headers of its own, and so much of the payload
//! that the cipher goes on at the start of a block. The rest of the payload is lent from the read
//! buffer, from where it is sealed without having been copied.
//!
//! ```text
//!  read buffer   | header | payload 0          | payload 1          | payload 2     |
//!  segment 0     | header   payl|oad 0         |                    |               |
//!  segment 1                    | header' payl | oad 1              |               |
//!                                    head              rest
//! ```
//!
//! The read buffer stays as it is, so that all segments can be sealed in one call.

use core::net::IpAddr;

use crate::{
    Flow, Malformed, VnetHeader, checksum,
    flow::Fragment,
    ip::{self, be16, be32, put16, put32},
    tcp, udp,
};

/// The most segments of one superpacket. A TUN device whose link has `gso_max_segs` of this value
/// never makes more; without it, only TCP with an MSS below 512 bytes could.
pub const SEGMENTS_MAX: usize = 128;

/// A head is a multiple of this many bytes, unless the segment is no longer: ChaCha20's block.
pub const HEAD_MULTIPLE: usize = 64;

/// The longest IPv4 or TCP header: 15 words.
const HEADER_LEN_MAX: usize = 60;

/// The segments of one packet or superpacket.
#[derive(Debug)]
pub struct Superpacket<'a> {
    packet: &'a [u8],
    flow: Flow,
    segments: usize,
    cut: Option<Cut>,
    /// The checksum that a packet of one segment still needs.
    unfinished: Option<Unfinished>,
}

/// What [`Superpacket::segment`] made.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Bytes that were written.
    pub head_len: usize,
    /// What follows them, in the read buffer.
    pub rest: &'a [u8],
}

/// Where a checksum goes whose field holds the pseudo-header's sum.
#[derive(Clone, Copy, Debug)]
struct Unfinished {
    start: usize,
    offset: usize,
}

/// How to cut a superpacket, and all that its segments have in common.
#[derive(Debug)]
struct Cut {
    transport: Transport,
    /// Bytes of IP and transport header.
    headers_len: usize,
    payload_len_max: usize,
    /// Bytes of payload in a head.
    head_payload_len: usize,
    /// Sum of the IPv4 header without length, id and checksum; 0 for IPv6.
    ip_sum: u64,
    /// Sum of pseudo-header and transport header without the fields that differ.
    transport_sum: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

impl<'a> Superpacket<'a> {
    /// Checks what a TUN read returned: the offload header and the packet behind it.
    ///
    /// Nothing of `vnet` is believed that the packet does not confirm, and `hdr_len` is not looked
    /// at.
    pub fn parse(vnet: &VnetHeader, packet: &'a [u8]) -> Result<Self, Malformed> {
        let (flow, fragment) = Flow::parse_fragment(packet)?;
        let packet = packet.get(..flow.total_len).unwrap_or(packet);
        let needs_checksum = vnet.flags & VnetHeader::NEEDS_CSUM != 0;
        // ECN says something of the first segment's CWR flag only, and the flag is in the header.
        let gso_type = vnet.gso_type & !VnetHeader::GSO_ECN;
        if gso_type == VnetHeader::GSO_NONE {
            let unfinished = if needs_checksum {
                Some(Unfinished::new(vnet, &flow)?)
            } else {
                None
            };
            return Ok(Self {
                packet,
                flow,
                segments: 1,
                cut: None,
                unfinished,
            });
        }

        let transport = match (gso_type, flow.protocol, flow.source) {
            (VnetHeader::GSO_TCPV4, ip::TCP, IpAddr::V4(_)) => Transport::Tcp,
            (VnetHeader::GSO_TCPV6, ip::TCP, IpAddr::V6(_)) => Transport::Tcp,
            (VnetHeader::GSO_UDP_L4, ip::UDP, _) => Transport::Udp,
            _ => return Err(Malformed::BadGsoType),
        };
        if fragment != Fragment::Whole {
            return Err(Malformed::BadGsoType);
        }
        // A checksum elsewhere would mean a tunnel inside: no such offload is ever offered.
        if needs_checksum && usize::from(vnet.csum_start) != flow.header_len {
            return Err(Malformed::BadChecksumPosition);
        }
        let cut = Cut::new(transport, usize::from(vnet.gso_size), &flow, packet)?;
        let payload_len = packet.len().saturating_sub(cut.headers_len);
        let segments = payload_len.div_ceil(cut.payload_len_max).max(1);
        if segments > SEGMENTS_MAX {
            return Err(Malformed::TooManySegments);
        }
        Ok(Self {
            packet,
            flow,
            segments,
            cut: Some(cut),
            unfinished: None,
        })
    }

    /// The flow, which is that of every segment; `total_len` is the superpacket's.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The whole packet as it was read, for an ICMP answer that quotes it.
    pub fn bytes(&self) -> &'a [u8] {
        self.packet
    }

    /// How many segments there are in all, at least 1.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// The length of the longest segment, in bytes: of all but the last.
    pub fn segment_len_max(&self) -> usize {
        match &self.cut {
            None => self.packet.len(),
            Some(cut) => self
                .packet
                .len()
                .min(cut.headers_len.saturating_add(cut.payload_len_max)),
        }
    }

    /// The length of the last segment, in bytes.
    pub fn segment_len_last(&self) -> usize {
        match &self.cut {
            None => self.packet.len(),
            Some(cut) => {
                let before = self.segments.saturating_sub(1);
                let before = before.saturating_mul(cut.payload_len_max);
                self.packet.len().saturating_sub(before)
            }
        }
    }

    /// Writes the head of segment `index`, complete with checksums, to the start of `out`. A packet
    /// that was one already is all head.
    ///
    /// # Panics
    /// When there is no such segment, or `out` is shorter than the segment and than a head of it.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "segments lie in the packet, as `parse` has found; the rest is said under Panics"
    )]
    pub fn segment(&self, index: usize, out: &mut [u8]) -> Segment<'a> {
        let Some(cut) = &self.cut else {
            return self.whole(out);
        };
        let start = cut.headers_len + index * cut.payload_len_max;
        let end = self.packet.len().min(start + cut.payload_len_max);
        let payload = &self.packet[start..end];
        let (headers, payload_out) = out.split_at_mut(cut.headers_len);
        headers.copy_from_slice(&self.packet[..cut.headers_len]);
        let is_last = index + 1 == self.segments;
        cut.stamp(headers, payload, &self.flow, index, is_last);
        let (first, rest) = payload.split_at(payload.len().min(cut.head_payload_len));
        payload_out[..first.len()].copy_from_slice(first);
        Segment {
            head_len: cut.headers_len + first.len(),
            rest,
        }
    }

    /// Writes the whole packet, which is its only segment, to the start of `out`.
    ///
    /// # Panics
    /// When `out` is shorter than that.
    #[expect(clippy::indexing_slicing, reason = "said under Panics")]
    pub fn whole(&self, out: &mut [u8]) -> Segment<'a> {
        debug_assert_eq!(self.segments, 1, "there is no other");
        let out = &mut out[..self.packet.len()];
        out.copy_from_slice(self.packet);
        match (&self.cut, self.unfinished) {
            (Some(cut), _) => {
                let (headers, payload) = out.split_at_mut(cut.headers_len);
                cut.stamp(headers, payload, &self.flow, 0, true);
            }
            (None, Some(unfinished)) => unfinished.finish(out),
            (None, None) => {}
        }
        Segment {
            head_len: out.len(),
            rest: &[],
        }
    }
}

impl Cut {
    fn new(
        transport: Transport,
        payload_len_max: usize,
        flow: &Flow,
        packet: &[u8],
    ) -> Result<Self, Malformed> {
        if payload_len_max == 0 {
            return Err(Malformed::BadGsoSize);
        }
        let behind_ip = packet.get(flow.header_len..).unwrap_or_default();
        let transport_len = match transport {
            Transport::Tcp => tcp::header_len(behind_ip),
            Transport::Udp => (behind_ip.len() >= udp::HEADER_LEN).then_some(udp::HEADER_LEN),
        };
        let transport_header = transport_len.and_then(|len| behind_ip.get(..len));
        let transport_header = transport_header.ok_or(Malformed::BadHeaderLength)?;
        let ip_header = packet.get(..flow.header_len).unwrap_or_default();
        let headers_len = ip_header.len().saturating_add(transport_header.len());
        let ip_sum = match flow.source {
            IpAddr::V6(_) => 0,
            IpAddr::V4(_) => {
                let mut room = [0; HEADER_LEN_MAX];
                let header = copy(ip_header, &mut room)?;
                put16(header, ip::V4_TOTAL_LEN, 0);
                put16(header, ip::V4_ID, 0);
                put16(header, ip::V4_CHECKSUM, 0);
                checksum::partial(header)
            }
        };
        let mut room = [0; HEADER_LEN_MAX];
        let header = copy(transport_header, &mut room)?;
        match transport {
            Transport::Tcp => {
                put32(header, tcp::SEQUENCE, 0);
                put16(header, tcp::DATA_OFFSET, 0);
                put16(header, tcp::CHECKSUM, 0);
            }
            Transport::Udp => {
                put16(header, udp::LENGTH, 0);
                put16(header, udp::CHECKSUM, 0);
            }
        }
        let pseudo_sum = checksum::pseudo_header(flow.source, flow.destination, flow.protocol, 0);
        let transport_sum = checksum::partial(header).wrapping_add(pseudo_sum);
        let head_len_min = headers_len.next_multiple_of(HEAD_MULTIPLE);
        Ok(Self {
            transport,
            headers_len,
            payload_len_max,
            head_payload_len: head_len_min.saturating_sub(headers_len),
            ip_sum,
            transport_sum,
        })
    }

    /// Makes `headers`, a copy of the superpacket's, those of segment `index`, which has `payload`.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "lengths of one packet, below 64 Ki, and their sums"
    )]
    fn stamp(&self, headers: &mut [u8], payload: &[u8], flow: &Flow, index: usize, is_last: bool) {
        let total_len = headers.len() + payload.len();
        let (ip_header, transport_header) = headers.split_at_mut(flow.header_len);
        match flow.source {
            IpAddr::V4(_) => self.stamp_v4(ip_header, total_len, index),
            // A segment is no longer than the superpacket, whose lengths are 16-bit fields.
            IpAddr::V6(_) => {
                put16(
                    ip_header,
                    ip::V6_PAYLOAD_LEN,
                    (total_len - ip::V6_HEADER_LEN) as u16,
                );
            }
        }
        let len = transport_header.len() + payload.len();
        let sum = self.transport_sum + checksum::partial(payload);
        match self.transport {
            Transport::Tcp => self.stamp_tcp(transport_header, sum, len, index, is_last),
            Transport::Udp => {
                put16(transport_header, udp::LENGTH, len as u16);
                // The length counts twice: in the header and in the pseudo-header.
                let sum = sum + 2 * checksum::field(len as u16);
                put16(transport_header, udp::CHECKSUM, checksum::finish_udp(sum));
            }
        }
    }

    #[expect(
        clippy::arithmetic_side_effects,
        reason = "lengths of one packet, below 64 Ki, and their sums"
    )]
    fn stamp_v4(&self, header: &mut [u8], total_len: usize, index: usize) {
        let id = be16(header, ip::V4_ID).wrapping_add(index as u16);
        let len = total_len as u16;
        put16(header, ip::V4_TOTAL_LEN, len);
        put16(header, ip::V4_ID, id);
        let sum = self.ip_sum + checksum::field(len) + checksum::field(id);
        put16(header, ip::V4_CHECKSUM, checksum::finish(sum));
    }

    #[expect(
        clippy::arithmetic_side_effects,
        reason = "lengths of one packet, below 64 Ki, and their sums"
    )]
    fn stamp_tcp(&self, header: &mut [u8], sum: u64, len: usize, index: usize, is_last: bool) {
        // Both are below 64 Ki.
        let offset = (index * self.payload_len_max) as u32;
        let sequence = be32(header, tcp::SEQUENCE).wrapping_add(offset);
        put32(header, tcp::SEQUENCE, sequence);
        let mut cleared = 0;
        if index != 0 {
            cleared |= tcp::CWR;
        }
        if !is_last {
            cleared |= tcp::FIN | tcp::PSH;
        }
        if let Some(flags) = header.get_mut(tcp::FLAGS) {
            *flags &= !cleared;
        }
        let sum = sum
            + checksum::long_field(sequence)
            + checksum::field(be16(header, tcp::DATA_OFFSET))
            + checksum::field(len as u16);
        put16(header, tcp::CHECKSUM, checksum::finish(sum));
    }
}

/// A copy of `header` in `room`.
fn copy<'a>(header: &[u8], room: &'a mut [u8]) -> Result<&'a mut [u8], Malformed> {
    let room = room.get_mut(..header.len());
    let copy = room.ok_or(Malformed::BadHeaderLength)?;
    copy.copy_from_slice(header);
    Ok(copy)
}

impl Unfinished {
    fn new(vnet: &VnetHeader, flow: &Flow) -> Result<Self, Malformed> {
        let start = usize::from(vnet.csum_start);
        let offset = usize::from(vnet.csum_offset);
        let room = flow.total_len.saturating_sub(start);
        if start < flow.header_len || room < offset.saturating_add(2) {
            return Err(Malformed::BadChecksumPosition);
        }
        Ok(Self { start, offset })
    }

    fn finish(self, packet: &mut [u8]) {
        let Some(summed) = packet.get_mut(self.start..) else {
            return;
        };
        let sum = checksum::partial(summed);
        let is_udp = self.offset == udp::CHECKSUM;
        let value = if is_udp {
            checksum::finish_udp(sum)
        } else {
            checksum::finish(sum)
        };
        put16(summed, self.offset, value);
    }
}
