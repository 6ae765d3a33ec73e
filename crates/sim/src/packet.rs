//! Inner packets that can be recognised: each carries a marker, a number of its own, and bytes that
//! follow from the number. Built and read without the code under test.

use core::net::IpAddr;

use weapon_wire::VnetHeader;

use crate::dice::Dice;

/// The start of every payload. It must never be seen on the wire.
pub(crate) const MARKER: [u8; 8] = *b"in-clear";

/// Marker and number: the least payload.
pub(crate) const PAYLOAD_LEN_MIN: usize = 16;

const UDP: u8 = 17;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// What an inner packet is made of.
#[derive(Clone, Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) is_tcp: bool,
    /// TCP sequence number of the first byte.
    pub(crate) sequence: u32,
    /// Number and length of each segment's payload. All but the last are equally long.
    pub(crate) parcels: &'a [(u64, usize)],
}

/// What came out of an overlay.
#[derive(Debug)]
pub(crate) enum Read {
    /// Addresses and the payload of each segment.
    Payloads {
        source: IpAddr,
        destination: IpAddr,
        payloads: Vec<Vec<u8>>,
    },
    /// An ICMP error of the gateway itself.
    Icmp,
}

/// The bytes of parcel `number`.
pub(crate) fn payload(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    bytes.extend_from_slice(&MARKER);
    bytes.extend_from_slice(&number.to_le_bytes());
    let mut dice = Dice::new(number);
    while bytes.len() < len {
        bytes.extend_from_slice(&dice.roll().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The packet as it is read from the overlay, offload header in front.
pub(crate) fn build(shape: &Shape<'_>) -> Vec<u8> {
    let payloads: Vec<u8> = shape
        .parcels
        .iter()
        .flat_map(|&(number, len)| payload(number, len))
        .collect();
    let is_super = shape.parcels.len() > 1;
    let transport_len = if shape.is_tcp { 20 } else { 8 } + payloads.len();
    let protocol = if shape.is_tcp { TCP } else { UDP };

    let mut packet = ip_header(shape, protocol, transport_len);
    let header_len = packet.len();
    packet.extend_from_slice(&1111_u16.to_be_bytes());
    packet.extend_from_slice(&2222_u16.to_be_bytes());
    if shape.is_tcp {
        packet.extend_from_slice(&shape.sequence.to_be_bytes());
        // Acknowledgement 1, five words of header, flag ACK, some window.
        packet.extend_from_slice(&[0, 0, 0, 1, 0x50, 0x10, 0x40, 0, 0, 0, 0, 0]);
    } else {
        packet.extend_from_slice(&(transport_len as u16).to_be_bytes());
        packet.extend_from_slice(&[0, 0]);
    }
    packet.extend_from_slice(&payloads);

    let csum_offset = if shape.is_tcp { 16 } else { 6 };
    let pseudo = pseudo_sum(shape.source, shape.destination, protocol, transport_len);
    let checksum = if is_super {
        fold(pseudo)
    } else {
        !fold(pseudo + sum(&packet[header_len..]))
    };
    let at = header_len + csum_offset;
    packet[at..at + 2].copy_from_slice(&checksum.to_be_bytes());

    let mut vnet = VnetHeader::default();
    if is_super {
        vnet.flags = VnetHeader::NEEDS_CSUM;
        vnet.gso_type = match (shape.is_tcp, shape.source) {
            (false, _) => VnetHeader::GSO_UDP_L4,
            (true, IpAddr::V4(_)) => VnetHeader::GSO_TCPV4,
            (true, IpAddr::V6(_)) => VnetHeader::GSO_TCPV6,
        };
        vnet.gso_size = shape.parcels[0].1 as u16;
        vnet.csum_start = header_len as u16;
        vnet.csum_offset = csum_offset as u16;
    }
    let mut read = vnet.to_bytes().to_vec();
    read.append(&mut packet);
    read
}

fn ip_header(shape: &Shape<'_>, protocol: u8, transport_len: usize) -> Vec<u8> {
    match (shape.source, shape.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0];
            header[2..4].copy_from_slice(&((20 + transport_len) as u16).to_be_bytes());
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&destination.octets());
            let checksum = !fold(sum(&header));
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
            header[4..6].copy_from_slice(&(transport_len as u16).to_be_bytes());
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&destination.octets());
            header
        }
        _ => unreachable!("both addresses are of one family"),
    }
}

/// Reads what was written to an overlay.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(vnet: &VnetHeader, packet: &[u8]) -> Result<Read, &'static str> {
    let (source, destination, protocol, header_len) = match packet.first().map(|byte| byte >> 4) {
        Some(4) if packet.len() >= 20 => {
            if fold(sum(&packet[..20])) != 0xffff {
                return Err("wrong checksum of the IPv4 header");
            }
            (v4_at(packet, 12), v4_at(packet, 16), packet[9], 20)
        }
        Some(6) if packet.len() >= 40 => (v6_at(packet, 8), v6_at(packet, 24), packet[6], 40),
        _ => return Err("not an IP packet"),
    };
    let transport = &packet[header_len..];
    let transport_header_len = match protocol {
        ICMP | ICMPV6 => return Ok(Read::Icmp),
        UDP => 8,
        TCP => 20,
        _ => return Err("neither UDP nor TCP"),
    };
    if transport.len() < transport_header_len + PAYLOAD_LEN_MIN {
        return Err("too short for a payload");
    }
    if vnet.flags & VnetHeader::NEEDS_CSUM == 0 {
        let pseudo = pseudo_sum(source, destination, protocol, transport.len());
        if fold(pseudo + sum(transport)) != 0xffff {
            return Err("wrong checksum");
        }
    }
    let body = &transport[transport_header_len..];
    let stride = match vnet.gso_type {
        VnetHeader::GSO_NONE => body.len(),
        _ => usize::from(vnet.gso_size).max(1),
    };
    Ok(Read::Payloads {
        source,
        destination,
        payloads: body.chunks(stride).map(<[u8]>::to_vec).collect(),
    })
}

fn v4_at(packet: &[u8], at: usize) -> IpAddr {
    let mut octets = [0; 4];
    octets.copy_from_slice(&packet[at..at + 4]);
    IpAddr::from(octets)
}

fn v6_at(packet: &[u8], at: usize) -> IpAddr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&packet[at..at + 16]);
    IpAddr::from(octets)
}

fn pseudo_sum(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u64 {
    let addresses = |address| match address {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    };
    addresses(source) + addresses(destination) + u64::from(protocol) + len as u64
}

fn sum(bytes: &[u8]) -> u64 {
    let mut pairs = bytes.chunks_exact(2);
    let sum: u64 = pairs
        .by_ref()
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    sum + pairs
        .remainder()
        .first()
        .map_or(0, |&last| u64::from(last) << 8)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use weapon_wire::Superpacket;

    use super::*;

    #[test]
    fn what_is_built_is_read_again() {
        for (source, destination) in [("10.0.0.1", "10.0.1.1"), ("fd00::1", "fd00:1::1")] {
            for (is_tcp, parcels) in [
                (false, &[(7, 33)][..]),
                (true, &[(8, 16)]),
                (false, &[(1, 100), (2, 100), (3, 20)]),
                (true, &[(4, 50), (5, 50)]),
            ] {
                let built = build(&Shape {
                    source: source.parse().unwrap(),
                    destination: destination.parse().unwrap(),
                    is_tcp,
                    sequence: 5,
                    parcels,
                });
                let vnet = VnetHeader::parse(&built).unwrap();
                let packet = &built[VnetHeader::LEN..];
                let parsed = Superpacket::parse(&vnet, packet).unwrap();
                assert_eq!(parsed.segments(), parcels.len());
                let Ok(Read::Payloads { payloads, .. }) = read(&vnet, packet) else {
                    panic!("it has payloads");
                };
                let expected: Vec<_> = parcels.iter().map(|&(n, len)| payload(n, len)).collect();
                assert_eq!(payloads, expected);
            }
        }
    }
}
