//! ICMP errors that answer a packet which cannot be delivered: RFC 792, RFC 1122 section 3.2.2,
//! RFC 1812 section 4.3 and RFC 4443.
//!
//! ```text
//!  IP header | type | code | checksum | unused or MTU (4) | as much of the original as fits
//! ```

use core::net::IpAddr;

use crate::{
    Flow, checksum,
    flow::Fragment,
    ip::{self, put, put16, put32},
};

/// The longest error made here, in bytes: the IPv6 minimum MTU (RFC 4443 section 2.4 c).
pub const ERROR_LEN_MAX: usize = V6_ERROR_LEN_MAX;

/// RFC 1812 section 4.3.2.3: as much as fits without exceeding 576 bytes.
const V4_ERROR_LEN_MAX: usize = 576;
const V6_ERROR_LEN_MAX: usize = 1280;

/// Type, code, checksum and the four bytes behind them.
const ICMP_HEADER_LEN: usize = 8;
/// What is left for the original.
const V4_QUOTE_LEN_MAX: usize = V4_ERROR_LEN_MAX - ip::V4_HEADER_LEN - ICMP_HEADER_LEN;
const V6_QUOTE_LEN_MAX: usize = V6_ERROR_LEN_MAX - ip::V6_HEADER_LEN - ICMP_HEADER_LEN;
/// Precedence "internetwork control", RFC 1812 section 4.3.2.5.
const V4_TOS: u8 = 0xc0;

const V4_UNREACHABLE: u8 = 3;
const V4_HOST_UNREACHABLE: u8 = 1;
const V4_FRAGMENTATION_NEEDED: u8 = 4;
const V6_UNREACHABLE: u8 = 1;
const V6_ADDRESS_UNREACHABLE: u8 = 3;
const V6_PACKET_TOO_BIG: u8 = 2;

/// Builds "host unreachable" (IPv4) or "address unreachable" (IPv6) for `original` in `out` and
/// returns its length.
///
/// `our_address` is the source of the answer; without one, or with one of the other family, the
/// original's destination answers, as if the packet had got there. `None` where no error may be
/// sent: for anything malformed, for ICMP errors and what may be one, for fragments but the first,
/// and where source or destination is not one host. Nor is there one if `out` is shorter than the
/// answer; [`ERROR_LEN_MAX`] is always enough.
pub fn unreachable(original: &[u8], our_address: Option<IpAddr>, out: &mut [u8]) -> Option<usize> {
    let offender = Offender::parse(original)?;
    if offender.is_to_many {
        return None;
    }
    let kind = match offender.flow.source {
        IpAddr::V4(_) => (V4_UNREACHABLE, V4_HOST_UNREACHABLE),
        IpAddr::V6(_) => (V6_UNREACHABLE, V6_ADDRESS_UNREACHABLE),
    };
    build(&offender, our_address, kind, 0, out)
}

/// Builds "fragmentation needed" (IPv4) or "packet too big" (IPv6) with the MTU that would fit.
///
/// As [`unreachable`], except that an IPv6 packet to a multicast group is answered too, so that
/// path MTU discovery works for it (RFC 4443 section 2.4 e.3). Whether an IPv4 packet had DF set
/// is the caller's question: a gateway that does not fragment answers all of them.
pub fn packet_too_big(
    original: &[u8],
    our_address: Option<IpAddr>,
    mtu: u32,
    out: &mut [u8],
) -> Option<usize> {
    let offender = Offender::parse(original)?;
    match offender.flow.source {
        IpAddr::V4(_) if offender.is_to_many => None,
        IpAddr::V4(_) => {
            let kind = (V4_UNREACHABLE, V4_FRAGMENTATION_NEEDED);
            // RFC 1191 section 4: the MTU is the lower half of the field.
            build(&offender, our_address, kind, mtu.min(0xffff), out)
        }
        IpAddr::V6(_) => build(&offender, our_address, (V6_PACKET_TOO_BIG, 0), mtu, out),
    }
}

/// A packet whose sender may be told of an error.
struct Offender<'a> {
    flow: Flow,
    packet: &'a [u8],
    /// Not to a single host.
    is_to_many: bool,
}

impl<'a> Offender<'a> {
    fn parse(original: &'a [u8]) -> Option<Self> {
        // The start is enough: no error quotes more than that.
        let (flow, fragment) = Flow::parse_start(original).ok()?;
        let packet = original.get(..flow.total_len).unwrap_or(original);
        let is_allowed = is_one_host(flow.source)
            && fragment != Fragment::Later
            && !is_icmp_error(&flow, packet);
        let is_to_many = !is_one_host(flow.destination);
        is_allowed.then_some(Self {
            flow,
            packet,
            is_to_many,
        })
    }
}

/// Whether `address` can be one host elsewhere. A subnet's broadcast address cannot be told.
fn is_one_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] != 0 && v4.octets()[0] < 224 && !v4.is_loopback(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_loopback() && !v6.is_multicast(),
    }
}

/// Whether the packet is an ICMP error, or ICMP whose type cannot be known.
fn is_icmp_error(flow: &Flow, packet: &[u8]) -> bool {
    let icmp_type = packet.get(flow.header_len);
    match (flow.source, flow.protocol) {
        // Queries and their answers are few (RFC 792, 950, 1256, 8335); the rest are errors or
        // unknown.
        (IpAddr::V4(_), ip::ICMP) => !matches!(icmp_type, Some(0 | 8..=10 | 13..=18 | 42 | 43)),
        // Errors have the high bit clear; redirects (137) must not be answered either.
        (IpAddr::V6(_), ip::ICMPV6) => icmp_type.is_none_or(|value| *value < 128 || *value == 137),
        _ => false,
    }
}

fn build(
    offender: &Offender<'_>,
    our_address: Option<IpAddr>,
    (icmp_type, icmp_code): (u8, u8),
    rest: u32,
    out: &mut [u8],
) -> Option<usize> {
    let flow = &offender.flow;
    let is_v4 = flow.source.is_ipv4();
    let answering = our_address
        .filter(|ours| ours.is_ipv4() == is_v4)
        .unwrap_or(flow.destination);
    // A multicast group's address is never a source.
    if !is_one_host(answering) {
        return None;
    }
    let (protocol, header_len, quote_len_max) = if is_v4 {
        (ip::ICMP, ip::V4_HEADER_LEN, V4_QUOTE_LEN_MAX)
    } else {
        (ip::ICMPV6, ip::V6_HEADER_LEN, V6_QUOTE_LEN_MAX)
    };
    let quote = offender.packet.get(..quote_len_max);
    let quote = quote.unwrap_or(offender.packet);
    let message_len = quote.len().checked_add(ICMP_HEADER_LEN)?;
    let total_len = message_len.checked_add(header_len)?;
    let out = out.get_mut(..total_len)?;
    ip::put_header(out, (answering, flow.source), protocol)?;
    let (header, message) = out.split_at_mut_checked(header_len)?;

    put(message, 0, [icmp_type, icmp_code, 0, 0]);
    put32(message, 4, rest);
    message.get_mut(ICMP_HEADER_LEN..)?.copy_from_slice(quote);
    let of_message = checksum::partial(message);
    let sum = if is_v4 {
        put(header, ip::V4_TOS, [V4_TOS]);
        let of_header = checksum::partial(header);
        put16(header, ip::V4_CHECKSUM, checksum::finish(of_header));
        of_message
    } else {
        checksum::pseudo_header(answering, flow.source, protocol, message_len)
            .wrapping_add(of_message)
    };
    put16(message, 2, checksum::finish(sum));
    Some(total_len)
}
