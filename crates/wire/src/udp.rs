//! The UDP header, RFC 768.

/// Its length, in bytes.
pub const HEADER_LEN: usize = 8;

pub(crate) const LENGTH: usize = 4;
pub(crate) const CHECKSUM: usize = 6;
