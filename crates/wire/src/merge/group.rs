//! HOT What makes packets one group, and what the group's headers become.

use core::net::IpAddr;

use super::{Candidate, Group};
use crate::{
    Flow, VnetHeader, checksum,
    ip::{self, array, be16, be32, put, put16},
    tcp, udp,
};

impl Group {
    /// Whether the packet continues the group, whose first packet is `head`.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "a candidate's headers are all there, and lengths end at 64 Ki"
    )]
    pub(super) fn accepts(
        &self,
        head: &[u8],
        head_header_len: usize,
        packet: &[u8],
        candidate: Candidate,
    ) -> bool {
        let total_len = head_header_len + self.payload_total as usize + candidate.payload_len;
        if candidate.is_head
            || candidate.header_len != head_header_len
            || candidate.payload_len > usize::from(self.payload_len)
            || total_len > ip::TOTAL_LEN_MAX
        {
            return false;
        }
        let (head_ip, head_transport) = head[..head_header_len].split_at(self.flow.header_len);
        let (packet_ip, packet_transport) =
            packet[..head_header_len].split_at(self.flow.header_len);
        let same_ip = match self.flow.source {
            IpAddr::V4(_) => self.continues_v4(head_ip, packet_ip),
            IpAddr::V6(_) => {
                // Traffic class and flow label; hop limit.
                be32(head_ip, 0) == be32(packet_ip, 0)
                    && byte(head_ip, ip::V6_HOP_LIMIT) == byte(packet_ip, ip::V6_HOP_LIMIT)
            }
        };
        same_ip
            && (self.flow.protocol != ip::TCP
                || self.continues_tcp(head_transport, packet_transport))
    }

    /// TOS, TTL and DF are equal and the id is what the kernel would give the segment.
    ///
    /// The kernel counts ids up. Where all are the same and DF is set the id has no meaning
    /// (RFC 6864 section 4.1), so counting does no harm.
    fn continues_v4(&self, head: &[u8], packet: &[u8]) -> bool {
        let fragment = be16(head, ip::V4_FRAGMENT);
        if byte(head, ip::V4_TOS) != byte(packet, ip::V4_TOS)
            || byte(head, ip::V4_TTL) != byte(packet, ip::V4_TTL)
            || fragment != be16(packet, ip::V4_FRAGMENT)
        {
            return false;
        }
        let head_id = be16(head, ip::V4_ID);
        let id = be16(packet, ip::V4_ID);
        let counts = !self.same_id && id == head_id.wrapping_add(u16::from(self.len));
        let stays = (self.same_id || self.len == 1) && id == head_id && fragment == ip::V4_DF;
        counts || stays
    }

    /// The next bytes of the stream under the same header, but for the flags that may come last.
    fn continues_tcp(&self, head: &[u8], packet: &[u8]) -> bool {
        let flags = byte(head, tcp::FLAGS) ^ byte(packet, tcp::FLAGS);
        let flags = flags & !(tcp::CWR | tcp::FIN | tcp::PSH);
        let sequence = be32(head, tcp::SEQUENCE).wrapping_add(self.payload_total);
        flags == 0
            && be32(packet, tcp::SEQUENCE) == sequence
            && byte(head, tcp::DATA_OFFSET) == byte(packet, tcp::DATA_OFFSET)
            && be32(head, tcp::ACKNOWLEDGEMENT) == be32(packet, tcp::ACKNOWLEDGEMENT)
            && be16(head, tcp::WINDOW) == be16(packet, tcp::WINDOW)
            && head.get(tcp::URGENT..) == packet.get(tcp::URGENT..)
    }

    /// The offload header of the merged group, whose packets have `header_len` bytes of headers.
    pub(super) fn vnet(&self, header_len: u16, is_cwr: bool) -> VnetHeader {
        let gso_type = match (self.flow.protocol, self.flow.source) {
            (ip::TCP, IpAddr::V4(_)) => VnetHeader::GSO_TCPV4,
            (ip::TCP, IpAddr::V6(_)) => VnetHeader::GSO_TCPV6,
            _ => VnetHeader::GSO_UDP_L4,
        };
        VnetHeader {
            gso_type: gso_type | if is_cwr { VnetHeader::GSO_ECN } else { 0 },
            gso_size: self.payload_len,
            ..self.lone_vnet(header_len)
        }
    }

    /// That of a packet that stays alone. `header_len` is 0 if it could not be merged with any.
    pub(super) fn lone_vnet(&self, header_len: u16) -> VnetHeader {
        if header_len == 0 {
            return VnetHeader::default();
        }
        VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            hdr_len: header_len,
            csum_start: self.flow.header_len as u16,
            csum_offset: checksum_offset(&self.flow) as u16,
            ..VnetHeader::default()
        }
    }
}

/// The byte at `at`.
fn byte(bytes: &[u8], at: usize) -> u8 {
    u8::from_be_bytes(array(bytes, at))
}

/// Where a transport header that can be merged has its checksum.
fn checksum_offset(flow: &Flow) -> usize {
    if flow.protocol == ip::TCP {
        tcp::CHECKSUM
    } else {
        udp::CHECKSUM
    }
}

/// Makes the first packet's header that of the superpacket, but for its transport checksum.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "lengths of packets, which end at 64 Ki"
)]
pub(super) fn stamp_lengths(group: &Group, header: &mut [u8]) {
    let flow = &group.flow;
    let total_len = header.len() + group.payload_total as usize;
    let (ip_header, transport_header) = header.split_at_mut(flow.header_len);
    match flow.source {
        IpAddr::V4(_) => {
            put16(ip_header, ip::V4_TOTAL_LEN, total_len as u16);
            put16(ip_header, ip::V4_CHECKSUM, 0);
            let sum = checksum::partial(ip_header);
            put16(ip_header, ip::V4_CHECKSUM, checksum::finish(sum));
        }
        IpAddr::V6(_) => {
            let payload_len = total_len - ip::V6_HEADER_LEN;
            put16(ip_header, ip::V6_PAYLOAD_LEN, payload_len as u16);
        }
    }
    if flow.protocol == ip::TCP {
        let flags = byte(transport_header, tcp::FLAGS) | group.last_flags;
        put(transport_header, tcp::FLAGS, [flags]);
    } else {
        let len = total_len - flow.header_len;
        put16(transport_header, udp::LENGTH, len as u16);
    }
}

/// Puts into the transport checksum what NEEDS_CSUM wants there: the sum of the pseudo-header.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "lengths of packets, which end at 64 Ki"
)]
pub(super) fn stamp_sum(group: &Group, header: &mut [u8]) {
    let flow = &group.flow;
    let len = header.len() + group.payload_total as usize - flow.header_len;
    let sum = checksum::pseudo_header(flow.source, flow.destination, flow.protocol, len);
    let at = flow.header_len + checksum_offset(flow);
    put16(header, at, checksum::fold(sum));
}
