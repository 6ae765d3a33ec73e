//! HOT The flow of a packet, parsed once: what routing, filter, split and merge want to know.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    Malformed,
    ip::{self, array, be16},
};

/// Extension headers that are walked before a packet is refused. RFC 8200 section 4.1 recommends
/// an order that has at most seven; a longer chain only makes work.
const EXTENSIONS_MAX: usize = 8;

/// "More fragments" in the 16 bits of an IPv4 header that describe fragments.
const V4_MF: u16 = 0x2000;
/// The fragment's offset, in the same 16 bits.
const V4_OFFSET_MASK: u16 = 0x1fff;

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

    /// Whether this is ICMP, of the version that goes with the packet's.
    pub fn is_icmp(&self) -> bool {
        ip::is_icmp(self.protocol, self.source)
    }

    /// The flow of an answer.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            ports: self
                .ports
                .map(|(source, destination)| (destination, source)),
            ..*self
        }
    }

    /// A hash to tell most flows apart, the same in both directions. It is not keyed: who makes
    /// flows collide must only make them share something.
    pub fn hash(&self) -> u32 {
        let (source_port, destination_port) = self.ports.unwrap_or_default();
        let source = hash_of_end(self.source, source_port);
        let destination = hash_of_end(self.destination, destination_port);
        let both = source.wrapping_add(destination) ^ u64::from(self.protocol);
        (mix(both) >> 32) as u32
    }

    /// As [`Flow::parse`], and says which part of a packet this is.
    pub(crate) fn parse_fragment(packet: &[u8]) -> Result<(Self, Fragment), Malformed> {
        let (flow, fragment) = Self::parse_start(packet)?;
        if flow.total_len > packet.len() {
            return Err(Malformed::BadTotalLength);
        }
        Ok((flow, fragment))
    }

    /// Parses a packet of which only the start is there, at least all its IP headers. Its
    /// `total_len` may be beyond the end of `packet`.
    pub(crate) fn parse_start(packet: &[u8]) -> Result<(Self, Fragment), Malformed> {
        match packet.first().map(|byte| byte >> 4) {
            Some(4) => parse_v4(packet),
            Some(6) => parse_v6(packet),
            Some(_) => Err(Malformed::BadVersion),
            None => Err(Malformed::Truncated),
        }
    }
}

fn hash_of_end(address: IpAddr, port: u16) -> u64 {
    let address = match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            mix(bits as u64) ^ (bits >> 64) as u64
        }
    };
    mix(address ^ u64::from(port) << 40)
}

fn mix(value: u64) -> u64 {
    let product = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product ^ product >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Which part of a packet this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment {
    /// All of it.
    Whole,
    /// The first fragment, with the transport header.
    First,
    /// A fragment from the middle or the end.
    Later,
}

impl Fragment {
    fn new(is_first: bool, has_more: bool) -> Self {
        match (is_first, has_more) {
            (true, false) => Self::Whole,
            (true, true) => Self::First,
            (false, _) => Self::Later,
        }
    }
}

fn parse_v4(packet: &[u8]) -> Result<(Flow, Fragment), Malformed> {
    let Some(fixed) = packet.first_chunk::<{ ip::V4_HEADER_LEN }>() else {
        return Err(Malformed::Truncated);
    };
    let header_len = usize::from(fixed[0] & 0x0f) << 2;
    if header_len < ip::V4_HEADER_LEN {
        return Err(Malformed::BadHeaderLength);
    }
    let total_len = usize::from(be16(fixed, ip::V4_TOTAL_LEN));
    let there = total_len.min(packet.len());
    if there < header_len {
        return Err(Malformed::BadTotalLength);
    }
    let field = be16(fixed, ip::V4_FRAGMENT);
    let fragment = Fragment::new(field & V4_OFFSET_MASK == 0, field & V4_MF != 0);
    let protocol = fixed[ip::V4_PROTOCOL];
    let flow = Flow {
        source: Ipv4Addr::from(array::<4>(fixed, ip::V4_SOURCE)).into(),
        destination: Ipv4Addr::from(array::<4>(fixed, ip::V4_DESTINATION)).into(),
        protocol,
        ports: ports(protocol, fragment, packet.get(header_len..there)),
        header_len,
        total_len,
        traffic_class: fixed[1],
    };
    Ok((flow, fragment))
}

fn parse_v6(packet: &[u8]) -> Result<(Flow, Fragment), Malformed> {
    let Some(fixed) = packet.first_chunk::<{ ip::V6_HEADER_LEN }>() else {
        return Err(Malformed::Truncated);
    };
    // In usize: a payload length near 65535 plus 40 must not wrap to a small total.
    let total_len = ip::V6_HEADER_LEN + usize::from(be16(fixed, ip::V6_PAYLOAD_LEN));
    let there = total_len.min(packet.len());
    let behind = packet.get(ip::V6_HEADER_LEN..there).unwrap_or_default();
    let chain = walk_extensions(behind, fixed[ip::V6_NEXT_HEADER])?;
    let flow = Flow {
        source: Ipv6Addr::from(array::<16>(fixed, ip::V6_SOURCE)).into(),
        destination: Ipv6Addr::from(array::<16>(fixed, ip::V6_DESTINATION)).into(),
        protocol: chain.protocol,
        ports: ports(
            chain.protocol,
            chain.fragment,
            packet.get(chain.header_len..there),
        ),
        header_len: chain.header_len,
        total_len,
        traffic_class: (fixed[0] << 4) | (fixed[1] >> 4),
    };
    Ok((flow, chain.fragment))
}

/// Where a chain of IPv6 extension headers ends.
struct Chain {
    protocol: u8,
    header_len: usize,
    fragment: Fragment,
}

/// Walks the headers at the start of what is `behind` the fixed one.
fn walk_extensions(behind: &[u8], next_header: u8) -> Result<Chain, Malformed> {
    let mut chain = Chain {
        protocol: next_header,
        header_len: ip::V6_HEADER_LEN,
        fragment: Fragment::Whole,
    };
    let mut rest = behind;
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
        if !is_extension || chain.fragment == Fragment::Later {
            return Ok(chain);
        }
        let Some(extension) = rest.first_chunk::<8>() else {
            return Err(Malformed::BadExtension);
        };
        let len = match chain.protocol {
            ip::FRAGMENT => 8,
            ip::AUTHENTICATION => (usize::from(extension[1]) + 2) << 2,
            _ => (usize::from(extension[1]) + 1) << 3,
        };
        // A fragment header that holds a whole packet (RFC 6946) changes nothing.
        if chain.protocol == ip::FRAGMENT && be16(extension, 2) & 0xfff9 != 0 {
            chain.fragment = Fragment::new(be16(extension, 2) & 0xfff8 == 0, true);
        }
        rest = rest.get(len..).ok_or(Malformed::BadExtension)?;
        chain.protocol = extension[0];
        chain.header_len = chain.header_len.saturating_add(len);
    }
    Err(Malformed::BadExtension)
}

/// The ports at the start of `transport`, if `protocol` has them and they are there.
fn ports(protocol: u8, fragment: Fragment, transport: Option<&[u8]>) -> Option<(u16, u16)> {
    if fragment == Fragment::Later || !ip::has_ports(protocol) {
        return None;
    }
    let bytes = transport?.first_chunk::<4>()?;
    Some((be16(bytes, 0), be16(bytes, 2)))
}
