//! Sums and headers by the plainest means: what the gateway's own are held against.

/// The ones' complement sum of 16-bit words, RFC 1071 section 4.1.
pub(crate) fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u64::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Whether a packet is IPv6.
pub(crate) fn is_v6(packet: &[u8]) -> bool {
    packet[0] >> 4 == 6
}

/// Source and destination, as they stand in the packet.
pub(crate) fn addresses(packet: &[u8]) -> &[u8] {
    if is_v6(packet) {
        &packet[8..40]
    } else {
        &packet[12..20]
    }
}

/// The sum of a packet's pseudo-header, RFC 9293 section 3.1 and RFC 8200 section 8.1.
pub(crate) fn pseudo_sum(packet: &[u8], protocol: u8, len: usize) -> u16 {
    let len = (len as u32).to_be_bytes();
    sum(&[addresses(packet), &len, &[0, protocol]])
}

/// Whether the sum over pseudo-header and transport, which begins at `at`, is right.
pub(crate) fn is_transport_right(packet: &[u8], protocol: u8, at: usize) -> bool {
    let transport = &packet[at..];
    let pseudo = pseudo_sum(packet, protocol, transport.len()).to_be_bytes();
    sum(&[transport, &pseudo]) == 0xffff
}

/// Whether the sum over an IPv4 header is right; IPv6 has none.
pub(crate) fn is_header_right(packet: &[u8]) -> bool {
    is_v6(packet) || sum(&[&packet[..usize::from(packet[0] & 15) * 4]]) == 0xffff
}

/// The big-endian 16-bit field at `at`.
pub(crate) fn field(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at], packet[at + 1]])
}

/// Writes the big-endian 16-bit field at `at`.
pub(crate) fn put(packet: &mut [u8], at: usize, value: u16) {
    packet[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Makes the sum of an IPv4 header right.
pub(crate) fn fix_header(packet: &mut [u8]) {
    if !is_v6(packet) {
        put(packet, 10, 0);
        let len = (usize::from(packet[0] & 15) * 4).min(packet.len());
        let value = !sum(&[&packet[..len]]);
        put(packet, 10, value);
    }
}

/// Where the checksum stands in a transport header.
pub(crate) fn checksum_offset(protocol: u8) -> usize {
    if protocol == 6 { 16 } else { 6 }
}

/// Makes the sum of TCP or UDP, which begins at `at`, right.
pub(crate) fn fix_transport(packet: &mut [u8], protocol: u8, at: usize) {
    let field_at = at + checksum_offset(protocol);
    put(packet, field_at, 0);
    let pseudo = pseudo_sum(packet, protocol, packet.len() - at).to_be_bytes();
    let value = !sum(&[&packet[at..], &pseudo]);
    // Zero would mean that there is none (RFC 768).
    let value = if value == 0 && protocol == 17 {
        0xffff
    } else {
        value
    };
    put(packet, field_at, value);
}
