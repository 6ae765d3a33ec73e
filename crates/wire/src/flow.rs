//! HOT The flow of a packet, parsed once: what routing, filter, split and merge want to know.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    Malformed,
    ip::{self, be16},
};

/// Extension headers that are walked before a packet is refused. RFC 8200 section 4.1 recommends
/// an order that has at most seven; a longer chain only makes work.
const EXTENSIONS_MAX: usize = 8;

/// Addresses, protocol and ports of an IP packet, and where its parts end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The transport protocol, after all IPv6 extension headers that are known.
    pub protocol: u8,
    /// Source and destination port; `None` where the protocol has none, and in fragments but the
    /// first.
    pub ports: Option<(u16, u16)>,
    /// Bytes of the IP header with options or extension headers: where the transport header begins.
    pub header_len: usize,
    /// Bytes of the packet by its own account. What lies beyond is padding.
    pub total_len: usize,
    /// DSCP and ECN.
    pub traffic_class: u8,
}

impl Flow {
    /// Parses the IPv4 or IPv6 packet at the start of `packet`, which may have padding behind it.
    ///
    /// On success `header_len <= total_len <= packet.len()` holds.
    pub fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        Ok(Self::parse_fragment(packet)?.0)
    }

    /// As [`Flow::parse`]; the second value says whether the packet is a fragment, the first one
    /// included.
    pub(crate) fn parse_fragment(packet: &[u8]) -> Result<(Self, bool), Malformed> {
        match packet.first().map(|byte| byte >> 4) {
            Some(4) => parse_v4(packet),
            Some(6) => parse_v6(packet),
            Some(_) => Err(Malformed::BadVersion),
            None => Err(Malformed::Truncated),
        }
    }
}

fn parse_v4(packet: &[u8]) -> Result<(Flow, bool), Malformed> {
    let Some(fixed) = packet.first_chunk::<{ ip::V4_HEADER_LEN }>() else {
        return Err(Malformed::Truncated);
    };
    let header_len = usize::from(fixed[0] & 0x0f) * 4;
    if header_len < ip::V4_HEADER_LEN {
        return Err(Malformed::BadHeaderLength);
    }
    let total_len = usize::from(be16(fixed, ip::V4_TOTAL_LEN));
    if total_len < header_len || total_len > packet.len() {
        return Err(Malformed::BadTotalLength);
    }
    let fragment = be16(fixed, ip::V4_FRAGMENT) & ip::V4_FRAGMENT_MASK;
    let is_first = fragment & 0x1fff == 0;
    let protocol = fixed[ip::V4_PROTOCOL];
    let address = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
    let flow = Flow {
        source: address(ip::V4_SOURCE).into(),
        destination: address(ip::V4_DESTINATION).into(),
        protocol,
        ports: if is_first {
            ports(protocol, &packet[header_len..total_len])
        } else {
            None
        },
        header_len,
        total_len,
        traffic_class: fixed[1],
    };
    Ok((flow, fragment != 0))
}

fn parse_v6(packet: &[u8]) -> Result<(Flow, bool), Malformed> {
    let Some(fixed) = packet.first_chunk::<{ ip::V6_HEADER_LEN }>() else {
        return Err(Malformed::Truncated);
    };
    // In usize: a payload length near 65535 plus 40 must not wrap to a small total.
    let total_len = ip::V6_HEADER_LEN + usize::from(be16(fixed, ip::V6_PAYLOAD_LEN));
    if total_len > packet.len() {
        return Err(Malformed::BadTotalLength);
    }
    let chain = walk_extensions(&packet[..total_len], fixed[ip::V6_NEXT_HEADER])?;
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&fixed[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    let transport = &packet[chain.header_len..total_len];
    let flow = Flow {
        source: address(ip::V6_SOURCE).into(),
        destination: address(ip::V6_DESTINATION).into(),
        protocol: chain.protocol,
        ports: if chain.is_first {
            ports(chain.protocol, transport)
        } else {
            None
        },
        header_len: chain.header_len,
        total_len,
        traffic_class: (fixed[0] << 4) | (fixed[1] >> 4),
    };
    Ok((flow, chain.is_fragment))
}

/// Where a chain of IPv6 extension headers ends.
struct Chain {
    protocol: u8,
    header_len: usize,
    is_first: bool,
    is_fragment: bool,
}

fn walk_extensions(packet: &[u8], next_header: u8) -> Result<Chain, Malformed> {
    let mut chain = Chain {
        protocol: next_header,
        header_len: ip::V6_HEADER_LEN,
        is_first: true,
        is_fragment: false,
    };
    for _ in 0..=EXTENSIONS_MAX {
        let is_extension = matches!(
            chain.protocol,
            ip::HOP_BY_HOP
                | ip::ROUTING
                | ip::FRAGMENT
                | ip::AUTHENTICATION
                | ip::DESTINATION_OPTIONS
                | ip::MOBILITY
        );
        // Behind the header of a later fragment lies the middle of something, not a header.
        if !is_extension || !chain.is_first {
            return Ok(chain);
        }
        let Some(extension) = packet[chain.header_len..].first_chunk::<8>() else {
            return Err(Malformed::BadExtension);
        };
        let len = match chain.protocol {
            ip::FRAGMENT => 8,
            ip::AUTHENTICATION => (usize::from(extension[1]) + 2) * 4,
            _ => (usize::from(extension[1]) + 1) * 8,
        };
        if chain.protocol == ip::FRAGMENT {
            let field = be16(extension, 2);
            chain.is_first = field & 0xfff8 == 0;
            chain.is_fragment |= field & 0xfff9 != 0;
        }
        if len > packet.len() - chain.header_len {
            return Err(Malformed::BadExtension);
        }
        chain.protocol = extension[0];
        chain.header_len += len;
    }
    Err(Malformed::BadExtension)
}

/// The ports at the start of `transport`, if `protocol` has them and they are there.
fn ports(protocol: u8, transport: &[u8]) -> Option<(u16, u16)> {
    match protocol {
        ip::TCP | ip::UDP | ip::DCCP | ip::SCTP | ip::UDP_LITE => {
            let bytes = transport.first_chunk::<4>()?;
            Some((be16(bytes, 0), be16(bytes, 2)))
        }
        _ => None,
    }
}
