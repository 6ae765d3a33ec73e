//! Packets as the tests want them, and etherparse's opinion of them.

use std::io::IoSlice;

use etherparse::{Ipv4Header, TcpHeaderSlice, UdpHeader};
use proptest::prelude::*;
use weapon_wire::{
    Flow, HEAD_MULTIPLE, MergeLimits, Merger, SEGMENTS_MAX, Segment, Superpacket, VnetHeader,
};

pub(crate) const ALL: MergeLimits = MergeLimits {
    tcp: true,
    udp: true,
};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;
pub(crate) const ECE: u8 = 0x40;
pub(crate) const CWR: u8 = 0x80;

/// All that distinguishes one test packet from another.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) is_v6: bool,
    pub(crate) is_tcp: bool,
    /// Last byte of the source address, and low byte of the source port.
    pub(crate) host: u8,
    pub(crate) id: u16,
    pub(crate) is_df: bool,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) window: u16,
    pub(crate) flags: u8,
    /// TCP options; a multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Spec {
    pub(crate) fn tcp(payload: Vec<u8>) -> Self {
        Self {
            is_v6: false,
            is_tcp: true,
            host: 1,
            id: 0xfffe,
            is_df: true,
            tos: 0,
            ttl: 64,
            sequence: 0xffff_fff0,
            acknowledgement: 77,
            window: 1024,
            flags: ACK,
            options: Vec::new(),
            payload,
        }
    }

    pub(crate) fn udp(payload: Vec<u8>) -> Self {
        Self {
            is_tcp: false,
            ..Self::tcp(payload)
        }
    }

    pub(crate) fn header_len(&self) -> usize {
        self.ip_header_len()
            + if self.is_tcp {
                20 + self.options.len()
            } else {
                8
            }
    }

    pub(crate) fn ip_header_len(&self) -> usize {
        if self.is_v6 { 40 } else { 20 }
    }

    /// The packet with valid checksums by etherparse.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut packet = self.ip_header();
        let transport_at = packet.len();
        packet.extend((0x1200 + u16::from(self.host)).to_be_bytes());
        packet.extend(443u16.to_be_bytes());
        if self.is_tcp {
            packet.extend(self.sequence.to_be_bytes());
            packet.extend(self.acknowledgement.to_be_bytes());
            packet.push(((20 + self.options.len()) as u8 / 4) << 4);
            packet.push(self.flags);
            packet.extend(self.window.to_be_bytes());
            packet.extend([0, 0, 0, 0]);
            packet.extend(&self.options);
        } else {
            packet.extend((8 + self.payload.len() as u16).to_be_bytes());
            packet.extend([0, 0]);
        }
        packet.extend(&self.payload);
        let checksum = expected_checksum(&packet).to_be_bytes();
        let at = transport_at + if self.is_tcp { 16 } else { 6 };
        packet[at..at + 2].copy_from_slice(&checksum);
        packet
    }

    fn ip_header(&self) -> Vec<u8> {
        let len = self.header_len() + self.payload.len();
        let mut header = Vec::new();
        if self.is_v6 {
            header.extend([0x60 | self.tos >> 4, self.tos << 4, 0x12, 0x34]);
            header.extend(((len - 40) as u16).to_be_bytes());
            header.extend([if self.is_tcp { 6 } else { 17 }, self.ttl]);
            header.extend([
                0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, self.host,
            ]);
            header.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1]);
            return header;
        }
        header.extend([0x45, self.tos]);
        header.extend((len as u16).to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend([if self.is_df { 0x40 } else { 0 }, 0, self.ttl]);
        header.extend([if self.is_tcp { 6 } else { 17 }, 0, 0]);
        header.extend([172, 17, 0, self.host, 172, 18, 0, 1]);
        fix_v4_checksum(&mut header);
        header
    }

    /// The superpacket the kernel would hand over: the checksum field holds the pseudo-header sum.
    pub(crate) fn superpacket(&self, gso_size: u16) -> (VnetHeader, Vec<u8>) {
        let mut packet = self.build();
        let (gso_type, csum_offset) = match (self.is_tcp, self.is_v6) {
            (true, false) => (VnetHeader::GSO_TCPV4, 16),
            (true, true) => (VnetHeader::GSO_TCPV6, 16),
            (false, _) => (VnetHeader::GSO_UDP_L4, 6),
        };
        let is_cwr = self.is_tcp && self.flags & CWR != 0;
        let vnet = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso_type: gso_type | if is_cwr { VnetHeader::GSO_ECN } else { 0 },
            hdr_len: self.header_len() as u16,
            gso_size,
            csum_start: self.ip_header_len() as u16,
            csum_offset,
        };
        put_pseudo_sum(&vnet, &mut packet);
        (vnet, packet)
    }

    /// The same packet as no superpacket, whose checksum the kernel is to make.
    pub(crate) fn lone(&self) -> (VnetHeader, Vec<u8>) {
        let (vnet, packet) = self.superpacket(0);
        let gso_type = VnetHeader::GSO_NONE;
        (VnetHeader { gso_type, ..vnet }, packet)
    }
}

pub(crate) fn fix_v4_checksum(packet: &mut [u8]) {
    let checksum = Ipv4Header::from_slice(packet)
        .unwrap()
        .0
        .calc_header_checksum();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// Puts the uncomplemented sum of the pseudo-header, computed bytewise, where `vnet` says.
pub(crate) fn put_pseudo_sum(vnet: &VnetHeader, packet: &mut [u8]) {
    let start = usize::from(vnet.csum_start);
    let addresses = if packet[0] >> 4 == 4 {
        &packet[12..20]
    } else {
        &packet[8..40]
    };
    let mut sum = u32::from(if vnet.csum_offset == 16 { 6u16 } else { 17 });
    sum += (packet.len() - start) as u32;
    for pair in addresses.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let at = start + usize::from(vnet.csum_offset);
    packet[at..at + 2].copy_from_slice(&(sum as u16).to_be_bytes());
}

/// The transport checksum that etherparse computes for a packet without extension headers.
pub(crate) fn expected_checksum(packet: &[u8]) -> u16 {
    let is_v6 = packet[0] >> 4 == 6;
    let (header_len, protocol) = if is_v6 {
        (40, packet[6])
    } else {
        (usize::from(packet[0] & 15) * 4, packet[9])
    };
    let transport = &packet[header_len..];
    if protocol == 6 {
        let header = TcpHeaderSlice::from_slice(transport).unwrap();
        let payload = &transport[header.slice().len()..];
        if is_v6 {
            let (source, destination) = addresses_v6(packet);
            return header
                .calc_checksum_ipv6_raw(source, destination, payload)
                .unwrap();
        }
        let (source, destination) = addresses_v4(packet);
        return header
            .calc_checksum_ipv4_raw(source, destination, payload)
            .unwrap();
    }
    let (header, payload) = UdpHeader::from_slice(transport).unwrap();
    if is_v6 {
        let (source, destination) = addresses_v6(packet);
        return header
            .calc_checksum_ipv6_raw(source, destination, payload)
            .unwrap();
    }
    let (source, destination) = addresses_v4(packet);
    header
        .calc_checksum_ipv4_raw(source, destination, payload)
        .unwrap()
}

pub(crate) fn addresses_v4(packet: &[u8]) -> ([u8; 4], [u8; 4]) {
    (
        packet[12..16].try_into().unwrap(),
        packet[16..20].try_into().unwrap(),
    )
}

pub(crate) fn addresses_v6(packet: &[u8]) -> ([u8; 16], [u8; 16]) {
    (
        packet[8..24].try_into().unwrap(),
        packet[24..40].try_into().unwrap(),
    )
}

/// Panics unless etherparse finds every length and checksum of the packet right.
pub(crate) fn assert_valid(packet: &[u8]) {
    let flow = Flow::parse(packet).unwrap();
    assert_eq!(flow.total_len, packet.len());
    if packet[0] >> 4 == 4 {
        let header = Ipv4Header::from_slice(packet).unwrap().0;
        assert_eq!(usize::from(header.total_len), packet.len());
        assert_eq!(header.header_checksum, header.calc_header_checksum());
    }
    let at = flow.header_len + if flow.protocol == 6 { 16 } else { 6 };
    let found = u16::from_be_bytes([packet[at], packet[at + 1]]);
    assert_eq!(found, expected_checksum(packet), "transport checksum");
    if flow.protocol == 17 {
        let len = &packet[flow.header_len + 4..][..2];
        assert_eq!(len, ((packet.len() - flow.header_len) as u16).to_be_bytes());
        assert_ne!(found, 0, "a UDP checksum is never zero");
    }
}

/// Splits into owned packets.
pub(crate) fn split(vnet: &VnetHeader, packet: &[u8]) -> Vec<Vec<u8>> {
    let superpacket = Superpacket::parse(vnet, packet).unwrap();
    let segments: Vec<_> = (0..superpacket.segments())
        .map(|index| segment(&superpacket, index))
        .collect();
    let len_max = superpacket.segment_len_max();
    assert_eq!(segments.iter().map(Vec::len).max(), Some(len_max));
    let len_last = superpacket.segment_len_last();
    assert_eq!(segments.last().map(Vec::len), Some(len_last));
    segments
}

/// Segment `index`, head and rest put together. Nothing is written behind the head.
pub(crate) fn segment(superpacket: &Superpacket<'_>, index: usize) -> Vec<u8> {
    const CANARY: u8 = 0xca;
    let mut out = vec![CANARY; superpacket.segment_len_max() + HEAD_MULTIPLE];
    let Segment { head_len, rest } = superpacket.segment(index, &mut out);
    assert!(out[head_len..].iter().all(|&byte| byte == CANARY));
    assert!(rest.is_empty() || head_len.is_multiple_of(HEAD_MULTIPLE));
    out.truncate(head_len);
    out.extend_from_slice(rest);
    out
}

/// Lays packets into one buffer as a receive of data messages leaves them (16 bytes of header
/// before, padding and tag behind) and merges them. Order in the buffer is the reverse every other
/// time, because the merger must not care.
pub(crate) fn merge(limits: MergeLimits, packets: &[Vec<u8>]) -> Vec<(VnetHeader, Vec<u8>)> {
    let mut merger = Merger::new(limits);
    let mut written = Vec::new();
    for (round, batch) in packets.chunks(SEGMENTS_MAX).enumerate() {
        let mut buffer = Vec::new();
        let mut ranges = vec![0..0; batch.len()];
        let order: Vec<usize> = match round % 2 {
            0 => (0..batch.len()).collect(),
            _ => (0..batch.len()).rev().collect(),
        };
        for index in order {
            buffer.extend([0xee; 16]);
            ranges[index] = buffer.len()..buffer.len() + batch[index].len();
            buffer.extend(&batch[index]);
            buffer.resize(buffer.len().next_multiple_of(16) + 16, 0xee);
        }
        for range in ranges {
            let flow = Flow::parse(&buffer[range.clone()]).unwrap();
            assert!(merger.push(&buffer, range, &flow));
        }
        merger.finish(
            &mut buffer,
            &mut |_: &Flow, vnet: &VnetHeader, parts: &[IoSlice<'_>]| {
                let bytes = parts.iter().flat_map(|part| part.iter().copied()).collect();
                written.push((*vnet, bytes));
            },
        );
    }
    written
}

/// Any TCP or UDP packet with some payload, and a segment size for it that makes `segments` many.
pub(crate) fn superpackets(segments_max: usize) -> impl Strategy<Value = (Spec, u16)> {
    let header = (
        any::<bool>(),
        any::<bool>(),
        1u8..5,
        any::<u16>(),
        any::<bool>(),
    );
    let fields = (
        any::<u8>(),
        any::<u8>(),
        any::<u32>(),
        any::<u32>(),
        any::<u16>(),
    );
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let options = proptest::collection::vec(any::<[u8; 4]>(), 0..=10);
    let gso_size = prop_oneof![1u16..80, 500u16..1461, 8000u16..9000];
    let count = (1..=segments_max, any::<u16>());
    (
        header,
        fields,
        flags,
        options,
        gso_size,
        count,
        any::<u64>(),
    )
        .prop_map(
            |((is_v6, is_tcp, host, id, is_df), fields, flags, options, gso_size, count, seed)| {
                let (tos, ttl, sequence, acknowledgement, window) = fields;
                let (is_fin, is_psh, is_ece, is_cwr) = flags;
                let mut spec = Spec {
                    is_v6,
                    is_tcp,
                    host,
                    id,
                    is_df,
                    tos,
                    ttl,
                    sequence,
                    acknowledgement,
                    window,
                    flags: ACK
                        | if is_fin { FIN } else { 0 }
                        | if is_psh { PSH } else { 0 }
                        | if is_ece { ECE } else { 0 }
                        | if is_cwr { CWR } else { 0 },
                    options: if is_tcp { options.concat() } else { Vec::new() },
                    payload: Vec::new(),
                };
                let (segments, tail) = count;
                let full = usize::from(gso_size) * (segments - 1);
                let len = full + 1 + usize::from(tail) % usize::from(gso_size);
                spec.payload = noise(seed, len.min(65535 - spec.header_len()));
                (spec, gso_size)
            },
        )
}

/// Bytes without a pattern.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(byte).take(len).collect()
}
