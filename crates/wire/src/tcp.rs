//! The fixed part of a TCP header, RFC 9293 section 3.1.

/// A header without options, in bytes.
pub const HEADER_LEN: usize = 20;

pub(crate) const SEQUENCE: usize = 4;
pub(crate) const ACKNOWLEDGEMENT: usize = 8;
pub(crate) const DATA_OFFSET: usize = 12;
pub(crate) const FLAGS: usize = 13;
pub(crate) const WINDOW: usize = 14;
pub(crate) const CHECKSUM: usize = 16;
pub(crate) const URGENT: usize = 18;

/// The flag of this name.
pub const FIN: u8 = 0x01;
/// The flag of this name.
pub const SYN: u8 = 0x02;
/// The flag of this name.
pub const RST: u8 = 0x04;
/// The flag of this name.
pub const PSH: u8 = 0x08;
/// The flag of this name.
pub const ACK: u8 = 0x10;
/// The flag of this name.
pub const URG: u8 = 0x20;
pub(crate) const CWR: u8 = 0x80;

/// The length of the header with its options at the start of `transport`, if it is all there.
pub(crate) fn header_len(transport: &[u8]) -> Option<usize> {
    let len = usize::from(transport.get(DATA_OFFSET)? >> 4) * 4;
    (HEADER_LEN..=transport.len()).contains(&len).then_some(len)
}
