//! IP protocol numbers and the fixed parts of IPv4 and IPv6 headers.

use core::net::IpAddr;

/// IPv6 hop-by-hop options, RFC 8200 section 4.3.
pub const HOP_BY_HOP: u8 = 0;
/// ICMP for IPv4.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// DCCP, whose header begins with two ports.
pub const DCCP: u8 = 33;
/// IPv6 routing header, RFC 8200 section 4.4.
pub const ROUTING: u8 = 43;
/// IPv6 fragment header, RFC 8200 section 4.5.
pub const FRAGMENT: u8 = 44;
/// IPsec authentication header, RFC 4302.
pub const AUTHENTICATION: u8 = 51;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;
/// IPv6 destination options, RFC 8200 section 4.6.
pub const DESTINATION_OPTIONS: u8 = 60;
/// SCTP, whose header begins with two ports.
pub const SCTP: u8 = 132;
/// IPv6 mobility header, RFC 6275 section 6.1.
pub const MOBILITY: u8 = 135;
/// UDP-Lite, whose header begins with two ports.
pub const UDP_LITE: u8 = 136;

/// Whether the header of this protocol begins with two ports.
#[inline]
pub const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE)
}

/// Whether it is ICMP, in a packet of the version of `address`.
#[inline]
pub const fn is_icmp(protocol: u8, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => protocol == ICMP,
        IpAddr::V6(_) => protocol == ICMPV6,
    }
}

/// An IPv4 header without options, in bytes.
pub const V4_HEADER_LEN: usize = 20;
/// An IPv6 header without extensions, in bytes.
pub const V6_HEADER_LEN: usize = 40;
/// The longest IP packet that is no jumbogram, in bytes.
pub const TOTAL_LEN_MAX: usize = 65535;

/// "Don't fragment" in the 16 bits at [`V4_FRAGMENT`].
pub(crate) const V4_DF: u16 = 0x4000;

/// Offsets into an IPv4 header.
pub(crate) const V4_TOS: usize = 1;
pub(crate) const V4_TOTAL_LEN: usize = 2;
pub(crate) const V4_ID: usize = 4;
pub(crate) const V4_FRAGMENT: usize = 6;
pub(crate) const V4_TTL: usize = 8;
pub(crate) const V4_PROTOCOL: usize = 9;
pub(crate) const V4_CHECKSUM: usize = 10;
pub(crate) const V4_SOURCE: usize = 12;
pub(crate) const V4_DESTINATION: usize = 16;

/// Offsets into an IPv6 header.
pub(crate) const V6_PAYLOAD_LEN: usize = 4;
pub(crate) const V6_NEXT_HEADER: usize = 6;
pub(crate) const V6_HOP_LIMIT: usize = 7;
pub(crate) const V6_SOURCE: usize = 8;
pub(crate) const V6_DESTINATION: usize = 24;

/// The hop limit of packets that we make ourselves, as Linux has it.
const HOP_LIMIT: u8 = 64;

/// Writes to the head of `packet` the IP header of a packet that is as long as that, and may not be
/// cut. The checksum of IPv4 is left out. With DF set the id may be zero (RFC 6864 section 4.1).
/// Returns the header's length; `None` if the addresses are of two versions, or it does not fit.
pub fn put_header(
    packet: &mut [u8],
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
) -> Option<usize> {
    let len = packet.len();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = packet.get_mut(..V4_HEADER_LEN)?;
            header.fill(0);
            put(header, 0, [0x45]);
            put16(header, V4_TOTAL_LEN, u16::try_from(len).ok()?);
            put16(header, V4_FRAGMENT, V4_DF);
            put(header, V4_TTL, [HOP_LIMIT, protocol]);
            put(header, V4_SOURCE, source.octets());
            put(header, V4_DESTINATION, destination.octets());
            Some(V4_HEADER_LEN)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let payload = len.checked_sub(V6_HEADER_LEN)?;
            let header = packet.get_mut(..V6_HEADER_LEN)?;
            header.fill(0);
            put(header, 0, [0x60]);
            put16(header, V6_PAYLOAD_LEN, u16::try_from(payload).ok()?);
            put(header, V6_NEXT_HEADER, [protocol, HOP_LIMIT]);
            put(header, V6_SOURCE, source.octets());
            put(header, V6_DESTINATION, destination.octets());
            Some(V6_HEADER_LEN)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// The `N` bytes at `at`.
///
/// Who asks has looked at lengths before. Should he not have, he gets zeros: a wrong answer spoils
/// a packet, a panic would stop the gateway.
#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    debug_assert!(field.is_some(), "lengths are checked before");
    field.copied().unwrap_or([0; N])
}

/// The big-endian `u16` at `at`, which lies in `bytes`.
#[inline]
pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

/// The big-endian `u32` at `at`, which lies in `bytes`.
#[inline]
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

/// Writes `field` at `at`, where there is room for it: otherwise nothing is written.
#[inline]
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    let room = bytes
        .get_mut(at..)
        .and_then(|rest| rest.first_chunk_mut::<N>());
    debug_assert!(room.is_some(), "lengths are checked before");
    if let Some(room) = room {
        *room = field;
    }
}

/// Writes `value` big-endian at `at`, as [`put`] does.
#[inline]
pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    put(bytes, at, value.to_be_bytes());
}

/// Writes `value` big-endian at `at`, as [`put`] does.
#[inline]
pub(crate) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    put(bytes, at, value.to_be_bytes());
}
