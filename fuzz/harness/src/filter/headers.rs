//! Headers of IP and of what it carries, read from the front to the back.

use core::net::IpAddr;

use weapon_core::filter::IcmpType;

/// Which part of a packet it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Whole,
    First { id: u32, len: usize },
    Later { id: u32, offset: usize },
    Nested,
}

/// A packet, as far as it could be read.
#[derive(Clone, Debug)]
pub(super) struct Packet<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) kind: Kind,
    /// From the transport header to the end by the packet's own account.
    pub(super) rest: &'a [u8],
}

/// Reads the headers. Of a quote the end may be missing.
pub(super) fn read(bytes: &[u8], is_quote: bool) -> Option<Packet<'_>> {
    match bytes.first()? >> 4 {
        4 => read_v4(bytes, is_quote),
        6 => read_v6(bytes, is_quote),
        _ => None,
    }
}

pub(super) fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

fn read_v4(bytes: &[u8], is_quote: bool) -> Option<Packet<'_>> {
    let fixed = bytes.get(..20)?;
    let header = usize::from(fixed[0] & 15) * 4;
    let total = number(&fixed[2..4]);
    let end = total.min(bytes.len());
    if header < 20 || end < header || (total > bytes.len() && !is_quote) {
        return None;
    }
    let field = number(&fixed[6..8]);
    let (offset, more) = ((field & 0x1fff) * 8, field & 0x2000 != 0);
    let id = number(&fixed[4..6]) as u32;
    let kind = match (offset, more) {
        (0, false) => Kind::Whole,
        (0, true) => Kind::First {
            id,
            len: total - header,
        },
        _ => Kind::Later { id, offset },
    };
    let address = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&fixed[at..at + 4]).unwrap());
    Some(Packet {
        source: address(12),
        destination: address(16),
        protocol: fixed[9],
        kind,
        rest: &bytes[header..end],
    })
}

fn read_v6(bytes: &[u8], is_quote: bool) -> Option<Packet<'_>> {
    let fixed = bytes.get(..40)?;
    let total = 40 + number(&fixed[4..6]);
    let end = total.min(bytes.len());
    if total > bytes.len() && !is_quote {
        return None;
    }
    let (mut at, mut next, mut kind) = (40, fixed[6], Kind::Whole);
    let mut count = 0;
    while [0, 43, 44, 51, 60, 135].contains(&next) && !matches!(kind, Kind::Later { .. }) {
        let header = bytes[..end].get(at..at + 8)?;
        let len = match next {
            44 => 8,
            51 => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        count += 1;
        if count > 8 || at + len > end {
            return None;
        }
        at += len;
        let field = number(&header[2..4]);
        if next == 44 && field & 0xfff9 != 0 {
            let id = number(&header[4..8]) as u32;
            let offset = field & 0xfff8;
            kind = match (kind, offset) {
                // The innermost says where reading ends; that there are two says enough.
                (Kind::Whole, 0) => Kind::First {
                    id,
                    len: total - at,
                },
                (Kind::Whole, _) => Kind::Later { id, offset },
                (_, 0) => Kind::Nested,
                (_, _) => {
                    next = header[0];
                    kind = Kind::Nested;
                    break;
                }
            };
        }
        next = header[0];
    }
    let address = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&fixed[at..at + 16]).unwrap());
    Some(Packet {
        source: address(8),
        destination: address(24),
        protocol: next,
        kind,
        rest: &bytes[at..end],
    })
}

fn is_icmp(packet: &Packet<'_>) -> bool {
    packet.protocol == if packet.source.is_ipv4() { 1 } else { 58 }
}

pub(super) fn icmp_type(packet: &Packet<'_>) -> Option<IcmpType> {
    let kind = *packet.rest.first()?;
    is_icmp(packet).then_some(match packet.source {
        IpAddr::V4(_) => IcmpType::V4(kind),
        IpAddr::V6(_) => IcmpType::V6(kind),
    })
}

pub(super) fn is_error(icmp: Option<IcmpType>) -> bool {
    match icmp {
        Some(IcmpType::V4(kind)) => [3, 4, 5, 11, 12].contains(&kind),
        Some(IcmpType::V6(kind)) => (1..=4).contains(&kind),
        None => false,
    }
}

/// Whether its transport header is not all there.
pub(super) fn is_cut(packet: &Packet<'_>) -> bool {
    let len = packet.rest.len();
    match packet.protocol {
        6 => len < 20 || packet.rest[12] >> 4 < 5,
        17 | 136 => len < 8,
        33 | 132 => len < 12,
        _ if is_icmp(packet) => len < 8,
        _ => false,
    }
}

pub(super) fn ports(packet: &Packet<'_>) -> Option<(u16, u16)> {
    let bytes = packet.rest.get(..4)?;
    [6, 17, 33, 132, 136]
        .contains(&packet.protocol)
        .then(|| (number(&bytes[..2]) as u16, number(&bytes[2..]) as u16))
}
