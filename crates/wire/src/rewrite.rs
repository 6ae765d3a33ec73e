//! HOT An address of a packet replaced, with every checksum that covers it.
//!
//! A checksum is mended by what has changed, and not made anew: one that was wrong stays as wrong
//! as it was, and nobody reads the payload. RFC 1624 equation 3: HC' = ~(~HC + ~m + m').

use core::net::IpAddr;

use crate::{
    Flow, Malformed, checksum,
    flow::Fragment,
    ip::{self, array, be16, put, put16},
    tcp, udp,
};

/// Type, code, checksum and four more bytes stand in front of what an ICMP error quotes.
const ICMP_HEADER_LEN: usize = 8;
const ICMP_CHECKSUM: usize = 2;

/// Where DCCP has its checksum (RFC 4340 section 5.1); UDP-Lite has it where UDP has.
const DCCP_CHECKSUM: usize = 6;

/// Which of the two addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The source address.
    Source,
    /// The destination address.
    Destination,
}

/// What a change adds to a sum: the complement of what was there, and what is there now.
type Change = u64;

/// Replaces an address of `packet` by `address`, which is of the same family.
///
/// `is_partial` says that the field of the transport's checksum holds the sum of the pseudo-header
/// only, as a TUN device gives packets with `NEEDS_CSUM`.
///
/// # Errors
/// It is no packet; nothing was changed.
pub fn replace(
    packet: &mut [u8],
    side: Side,
    address: IpAddr,
    is_partial: bool,
) -> Result<(), Malformed> {
    let (flow, fragment) = Flow::parse_fragment(packet)?;
    let packet = packet.get_mut(..flow.total_len).unwrap_or_default();
    let (change, _) = readdress(packet, side, address);
    mend_transport(packet, &flow, fragment, change, is_partial);
    Ok(())
}

/// The flow of the packet that the ICMP error `packet` quotes; nothing if it is none.
pub fn quoted(packet: &[u8]) -> Option<Flow> {
    Some(quote(packet)?.0)
}

/// As [`quoted`], with the bytes of the quote. They may end before the packet's own end.
pub(crate) fn quote(packet: &[u8]) -> Option<(Flow, &[u8])> {
    let bytes = packet.get(quote_at(packet)?..)?;
    let (flow, _) = Flow::parse_start(bytes).ok()?;
    Some((flow, bytes))
}

/// As [`replace`], of the packet that the ICMP error `packet` quotes. Nothing happens if it is
/// none.
pub fn replace_quoted(packet: &mut [u8], side: Side, address: IpAddr, is_partial: bool) {
    let Some(at) = quote_at(packet) else {
        return;
    };
    let Some(quote) = packet.get_mut(at..) else {
        return;
    };
    let Ok((flow, fragment)) = Flow::parse_start(quote) else {
        return;
    };
    let (change, header) = readdress(quote, side, address);
    let transport = mend_transport(quote, &flow, fragment, change, false);
    if is_partial {
        return;
    }
    // The error's own checksum covers all of the quote.
    let at = at.saturating_sub(ICMP_HEADER_LEN - ICMP_CHECKSUM);
    let all = change.wrapping_add(header).wrapping_add(transport);
    let mended = checksum::finish(checksum::field(!be16(packet, at)).wrapping_add(all));
    put16(packet, at, mended);
}

/// Where the quote of an ICMP error begins, if `packet` is one, and has one.
fn quote_at(packet: &[u8]) -> Option<usize> {
    let (flow, fragment) = Flow::parse_fragment(packet).ok()?;
    if !flow.is_icmp() {
        return None;
    }
    let kind = *packet.get(flow.header_len)?;
    let is_error = match flow.source {
        // RFC 792: unreachable, source quench, redirect, time exceeded, parameter problem.
        IpAddr::V4(_) => matches!(kind, 3 | 4 | 5 | 11 | 12),
        // RFC 4443: the same without those in the middle, and packet too big.
        IpAddr::V6(_) => matches!(kind, 1..=4),
    };
    let at = flow.header_len.saturating_add(ICMP_HEADER_LEN);
    (is_error && fragment != Fragment::Later && at < flow.total_len).then_some(at)
}

/// Writes the address into the IP header. Returns what that changes, and what mending the header's
/// own checksum changes.
fn readdress(packet: &mut [u8], side: Side, address: IpAddr) -> (Change, Change) {
    match address {
        IpAddr::V4(address) => {
            let at = match side {
                Side::Source => ip::V4_SOURCE,
                Side::Destination => ip::V4_DESTINATION,
            };
            let change = write(packet, at, address.octets());
            let mended = mend(packet, ip::V4_CHECKSUM, change, false);
            (change, mended)
        }
        IpAddr::V6(address) => {
            let at = match side {
                Side::Source => ip::V6_SOURCE,
                Side::Destination => ip::V6_DESTINATION,
            };
            (write(packet, at, address.octets()), 0)
        }
    }
}

/// Mends the checksum of what the packet carries, if that covers the addresses and is there.
fn mend_transport(
    packet: &mut [u8],
    flow: &Flow,
    fragment: Fragment,
    change: Change,
    is_partial: bool,
) -> Change {
    let offset = match flow.protocol {
        ip::TCP => tcp::CHECKSUM,
        ip::UDP | ip::UDP_LITE => udp::CHECKSUM,
        ip::DCCP => DCCP_CHECKSUM,
        ip::ICMPV6 if flow.source.is_ipv6() => ICMP_CHECKSUM,
        _ => return 0,
    };
    let at = flow.header_len.saturating_add(offset);
    if fragment == Fragment::Later || packet.len() < at.saturating_add(2) {
        return 0;
    }
    let is_udp = flow.protocol == ip::UDP;
    // RFC 768, RFC 6936: there is none.
    if is_udp && !is_partial && be16(packet, at) == 0 {
        return 0;
    }
    if is_partial {
        let sum = checksum::field(be16(packet, at)).wrapping_add(change);
        return write(packet, at, checksum::fold(sum).to_be_bytes());
    }
    mend(packet, at, change, is_udp)
}

/// Mends the checksum at `at` by a change of what it covers. Returns what that changes itself.
fn mend(packet: &mut [u8], at: usize, change: Change, is_udp: bool) -> Change {
    let sum = checksum::field(!be16(packet, at)).wrapping_add(change);
    let mended = if is_udp {
        checksum::finish_udp(sum)
    } else {
        checksum::finish(sum)
    };
    write(packet, at, mended.to_be_bytes())
}

/// Writes a field, which begins at an even offset of what is summed.
fn write<const N: usize>(packet: &mut [u8], at: usize, field: [u8; N]) -> Change {
    let old = array::<N>(packet, at).map(|byte| !byte);
    put(packet, at, field);
    checksum::partial(&old).wrapping_add(checksum::partial(&field))
}
