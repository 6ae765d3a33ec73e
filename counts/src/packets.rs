//! Inner packets and superpackets, as the kernel hands them over.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weapon_wire::{VnetHeader, checksum, ip};

/// The sites' hosts: 10.0.SITE.5 and fd00:SITE::5.
pub(crate) fn host4(site: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, site, 5)
}

/// As [`host4`].
pub(crate) fn host6(site: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, u16::from(site), 0, 0, 0, 0, 0, 5)
}

/// Payload of each segment: with headers of 52 bytes it fills the usual MTU of 1420.
pub(crate) const SEGMENT_PAYLOAD: usize = 1368;
/// Segments of the longest superpacket.
pub(crate) const SEGMENTS: usize = 45;

const TCP_HEADER_LEN: usize = 32;
const UDP_HEADER_LEN: usize = 8;

/// A TCP packet over IPv4 with timestamps, as all TCP of today, and `payload` bytes behind them.
/// `port` tells flows apart; `index` is the segment's in its flow.
pub(crate) fn tcp4(from: u8, to: u8, port: u16, index: usize, payload_len: usize) -> Vec<u8> {
    let sequence = (index * payload_len) as u32;
    let mut tcp = Vec::new();
    tcp.extend(port.to_be_bytes());
    tcp.extend(5201u16.to_be_bytes());
    tcp.extend(sequence.to_be_bytes());
    tcp.extend(7u32.to_be_bytes());
    // Eight words of header; ACK.
    tcp.extend([0x80, 0x10]);
    tcp.extend(0x1000u16.to_be_bytes());
    tcp.extend([0; 4]);
    // Two bytes of padding, then the timestamps.
    tcp.extend([1, 1, 8, 10]);
    tcp.extend(99u32.to_be_bytes());
    tcp.extend(98u32.to_be_bytes());
    tcp.extend(payload(payload_len));
    packet4(from, to, ip::TCP, index as u16, tcp, 16)
}

/// A UDP packet over IPv4.
pub(crate) fn udp4(from: u8, to: u8, payload_len: usize) -> Vec<u8> {
    packet4(from, to, ip::UDP, 0, udp(payload_len), 6)
}

/// A UDP packet over IPv6.
pub(crate) fn udp6(from: u8, to: u8, payload_len: usize) -> Vec<u8> {
    let udp = udp(payload_len);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((udp.len() as u16).to_be_bytes());
    packet.extend([ip::UDP, 64]);
    packet.extend(host6(from).octets());
    packet.extend(host6(to).octets());
    let addresses = (host6(from).into(), host6(to).into());
    packet.extend(summed(addresses, ip::UDP, udp, 6));
    packet
}

/// A whole TCP superpacket with its offload header in front.
pub(crate) fn tcp4_superpacket(from: u8, to: u8) -> Vec<u8> {
    let packet = tcp4(from, to, 40_000, 0, SEGMENTS * SEGMENT_PAYLOAD);
    superpacket(VnetHeader::GSO_TCPV4, TCP_HEADER_LEN, 16, &packet)
}

/// A whole UDP superpacket with its offload header in front.
pub(crate) fn udp4_superpacket(from: u8, to: u8) -> Vec<u8> {
    let packet = udp4(from, to, SEGMENTS * SEGMENT_PAYLOAD);
    superpacket(VnetHeader::GSO_UDP_L4, UDP_HEADER_LEN, 6, &packet)
}

/// A UDP packet of 64 bytes whose checksum is still to be finished, with its offload header.
pub(crate) fn small(from: u8, to: u8) -> Vec<u8> {
    let packet = udp4(from, to, 64 - ip::V4_HEADER_LEN - UDP_HEADER_LEN);
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        csum_start: ip::V4_HEADER_LEN as u16,
        csum_offset: 6,
        ..VnetHeader::default()
    };
    [&vnet.to_bytes(), packet.as_slice()].concat()
}

fn superpacket(gso_type: u8, header_len: usize, csum_offset: u16, packet: &[u8]) -> Vec<u8> {
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type,
        hdr_len: (ip::V4_HEADER_LEN + header_len) as u16,
        gso_size: SEGMENT_PAYLOAD as u16,
        csum_start: ip::V4_HEADER_LEN as u16,
        csum_offset,
    };
    [&vnet.to_bytes(), packet].concat()
}

fn udp(payload_len: usize) -> Vec<u8> {
    let mut udp = Vec::new();
    udp.extend(40_000u16.to_be_bytes());
    udp.extend(5201u16.to_be_bytes());
    udp.extend(((UDP_HEADER_LEN + payload_len) as u16).to_be_bytes());
    udp.extend([0; 2]);
    udp.extend(payload(payload_len));
    udp
}

fn packet4(
    from: u8,
    to: u8,
    protocol: u8,
    id: u16,
    transport: Vec<u8>,
    checksum_at: usize,
) -> Vec<u8> {
    let total_len = ip::V4_HEADER_LEN + transport.len();
    let mut packet = vec![0x45, 0];
    packet.extend((total_len as u16).to_be_bytes());
    packet.extend(id.to_be_bytes());
    // "Don't fragment", time to live.
    packet.extend([0x40, 0, 64, protocol, 0, 0]);
    packet.extend(host4(from).octets());
    packet.extend(host4(to).octets());
    let sum = checksum::finish(checksum::partial(&packet));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let addresses = (host4(from).into(), host4(to).into());
    packet.extend(summed(addresses, protocol, transport, checksum_at));
    packet
}

/// The transport header and payload with the checksum filled in.
fn summed(
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
    mut transport: Vec<u8>,
    checksum_at: usize,
) -> Vec<u8> {
    let sum = checksum::pseudo_header(source, destination, protocol, transport.len())
        + checksum::partial(&transport);
    let sum = checksum::finish_udp(sum);
    transport[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    transport
}

/// Bytes without a pattern, the same in every run.
pub(crate) fn payload(len: usize) -> impl Iterator<Item = u8> {
    (0..len as u32).map(|index| (index.wrapping_mul(0x9e37_79b1) >> 21) as u8)
}
