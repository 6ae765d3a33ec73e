//! HOT What a packet filter wants to know beyond the flow: which piece of a packet this is, and
//! what its transport header says.

use core::net::IpAddr;

use crate::{
    Flow,
    ip::{self, be16, be32},
    rewrite, tcp,
};

/// "More fragments" and the offset, in the 16 bits of an IPv4 header that describe fragments.
const V4_MORE: u16 = 0x2000;
const V4_OFFSET: u16 = 0x1fff;
/// The same in an IPv6 fragment header: the offset counts bytes, in multiples of eight.
const V6_MORE: u16 = 0x0001;
const V6_OFFSET: u16 = 0xfff8;

/// Which piece of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// All of it.
    Whole,
    /// The first fragment, with the transport header or what there is of it.
    First(Fragment),
    /// Another fragment.
    Later(Fragment),
    /// A fragment of a fragment: no host makes one.
    Nested,
}

/// Where a fragment belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The same for all fragments of a packet.
    pub id: u32,
    /// Bytes of the packet's fragmentable part in front of this one.
    pub offset: usize,
    /// Bytes of that part in this one.
    pub len: usize,
}

impl Piece {
    /// Of `packet`, which was parsed to `flow`.
    #[inline]
    pub fn of(packet: &[u8], flow: &Flow) -> Self {
        match flow.source {
            IpAddr::V4(_) => {
                let field = be16(packet, ip::V4_FRAGMENT);
                if field & (V4_MORE | V4_OFFSET) == 0 {
                    return Self::Whole;
                }
                let fragment = Fragment {
                    id: u32::from(be16(packet, ip::V4_ID)),
                    offset: usize::from(field & V4_OFFSET) << 3,
                    len: flow.total_len.saturating_sub(flow.header_len),
                };
                Self::fragment(fragment)
            }
            IpAddr::V6(_) if flow.header_len == ip::V6_HEADER_LEN => Self::Whole,
            IpAddr::V6(_) => Self::behind_extensions(packet, flow),
        }
    }

    fn fragment(fragment: Fragment) -> Self {
        if fragment.offset == 0 {
            Self::First(fragment)
        } else {
            Self::Later(fragment)
        }
    }

    /// Walks the extension headers once more: the parser has found that they end at
    /// `flow.header_len`.
    #[cold]
    fn behind_extensions(packet: &[u8], flow: &Flow) -> Self {
        let mut at = ip::V6_HEADER_LEN;
        let mut next = packet.get(ip::V6_NEXT_HEADER).copied().unwrap_or(0);
        let mut found = Self::Whole;
        while at < flow.header_len {
            let Some(extension) = packet.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
                return found;
            };
            let field = be16(extension, 2);
            let len = match next {
                ip::FRAGMENT => 8,
                ip::AUTHENTICATION => (usize::from(extension[1]).saturating_add(2)) << 2,
                _ => (usize::from(extension[1]).saturating_add(1)) << 3,
            };
            at = at.saturating_add(len);
            // A fragment header that holds a whole packet (RFC 6946) changes nothing.
            if next == ip::FRAGMENT && field & (V6_OFFSET | V6_MORE) != 0 {
                if found != Self::Whole {
                    return Self::Nested;
                }
                found = Self::fragment(Fragment {
                    id: be32(extension, 4),
                    offset: usize::from(field & V6_OFFSET),
                    len: flow.total_len.saturating_sub(at),
                });
            }
            next = extension[0];
        }
        found
    }
}

/// What a transport header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, with its flags.
    Tcp(u8),
    /// ICMP that goes with the packet's version.
    Icmp(Icmp),
    /// Another protocol, whose header is all there as far as we know it.
    Other,
    /// A header that is cut off.
    Truncated,
}

/// The start of an ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Its type.
    pub kind: u8,
    /// The identifier, where it is an echo.
    pub id: u16,
}

/// ICMP types of echoes: RFC 792, RFC 4443.
const V4_ECHO_REPLY: u8 = 0;
const V4_ECHO: u8 = 8;
const V6_ECHO: u8 = 128;
const V6_ECHO_REPLY: u8 = 129;

impl Transport {
    /// Of `packet`, which is whole or a first fragment and was parsed to `flow`.
    #[inline]
    pub fn of(packet: &[u8], flow: &Flow) -> Self {
        Self::at_start(
            packet
                .get(flow.header_len..flow.total_len.min(packet.len()))
                .unwrap_or_default(),
            flow,
        )
    }

    /// Of the packet that the ICMP error `packet` quotes, with its flow; `outer` is the error's.
    /// Eight bytes of its transport header are enough (RFC 792): flags of TCP are not looked for.
    /// `None` if this is no error, or it quotes too little, or a fragment but the first.
    #[cold]
    pub fn quoted(packet: &[u8], outer: &Flow) -> Option<(Flow, Self)> {
        // What is behind the packets' own ends is padding.
        let (flow, rest) = rewrite::quote(packet.get(..outer.total_len)?)?;
        let behind = rest.get(flow.header_len..flow.total_len.min(rest.len()))?;
        let first = behind.first_chunk::<8>()?;
        let transport = match flow.protocol {
            _ if !matches!(Piece::of(rest, &flow), Piece::Whole | Piece::First(_)) => return None,
            ip::TCP => Self::Tcp(0),
            _ if flow.is_icmp() => Self::icmp(first),
            _ => Self::Other,
        };
        Some((flow, transport))
    }

    #[inline]
    fn at_start(header: &[u8], flow: &Flow) -> Self {
        if header.len() < header_len_min(flow.protocol, flow.is_icmp()) {
            return Self::Truncated;
        }
        match flow.protocol {
            ip::TCP => match header.first_chunk::<{ tcp::HEADER_LEN }>() {
                // A header that is shorter than itself would be read differently by everyone.
                Some(header) if header[tcp::DATA_OFFSET] >> 4 >= 5 => Self::Tcp(header[tcp::FLAGS]),
                Some(_) | None => Self::Truncated,
            },
            _ if flow.is_icmp() => match header.first_chunk::<8>() {
                Some(first) => Self::icmp(first),
                None => Self::Truncated,
            },
            _ => Self::Other,
        }
    }

    /// The type of ICMP, if it is that.
    pub fn icmp_kind(self) -> Option<u8> {
        match self {
            Self::Icmp(icmp) => Some(icmp.kind),
            Self::Tcp(_) | Self::Other | Self::Truncated => None,
        }
    }

    fn icmp(first: &[u8; 8]) -> Self {
        Self::Icmp(Icmp {
            kind: first[0],
            id: be16(first, 4),
        })
    }
}

/// Bytes of the shortest transport header of a protocol, as far as it is looked at; `is_icmp` says
/// whether it is the ICMP of its packet's version.
#[inline]
pub fn header_len_min(protocol: u8, is_icmp: bool) -> usize {
    match protocol {
        ip::TCP => tcp::HEADER_LEN,
        ip::UDP | ip::UDP_LITE => 8,
        ip::SCTP | ip::DCCP => 12,
        _ if is_icmp => 8,
        _ => 0,
    }
}

impl Icmp {
    /// The start of a request for an echo, in a packet of the version of `address`.
    pub fn echo_of(address: IpAddr) -> Self {
        let kind = if address.is_ipv4() { V4_ECHO } else { V6_ECHO };
        Self { kind, id: 0 }
    }

    /// Whether it asks for an echo, in a packet of the version of `address`.
    pub fn is_echo(self, address: IpAddr) -> bool {
        self.kind == Self::echo_of(address).kind
    }

    /// Whether it is one.
    pub fn is_echo_reply(self, address: IpAddr) -> bool {
        let reply = if address.is_ipv4() {
            V4_ECHO_REPLY
        } else {
            V6_ECHO_REPLY
        };
        self.kind == reply
    }

    /// Whether it tells of an error, and so quotes the packet that it is about.
    pub fn is_error(self, address: IpAddr) -> bool {
        match address {
            // RFC 792: unreachable, source quench, redirect, time exceeded, parameter problem.
            IpAddr::V4(_) => matches!(self.kind, 3 | 4 | 5 | 11 | 12),
            // RFC 4443: the same without those in the middle, and packet too big.
            IpAddr::V6(_) => matches!(self.kind, 1..=4),
        }
    }
}
