//! Why bytes were refused: one reason per rule, small enough for the hot path.

/// Why a datagram, a packet or an offload header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Fewer bytes than the smallest header.
    #[error("shorter than its header")]
    Truncated,
    /// The first four bytes are no WireGuard message type; reserved bytes count.
    #[error("unknown message type")]
    UnknownType,
    /// A WireGuard message whose length is not that of its type.
    #[error("wrong length for its message type")]
    WrongLength,
    /// Neither IPv4 nor IPv6.
    #[error("neither IPv4 nor IPv6")]
    BadVersion,
    /// The IP or transport header says that it is shorter than its fixed part or longer than the
    /// packet.
    #[error("impossible header length")]
    BadHeaderLength,
    /// The IP total length is smaller than the header or larger than what arrived.
    #[error("impossible total length")]
    BadTotalLength,
    /// An IPv6 extension header is cut off, or there are too many.
    #[error("impossible chain of IPv6 extension headers")]
    BadExtension,
    /// The offload header wants a checksum outside the packet or inside the IP header.
    #[error("checksum position outside the packet")]
    BadChecksumPosition,
    /// The offload header names a kind of superpacket that the packet is not, or none we know.
    #[error("superpacket kind does not fit the packet")]
    BadGsoType,
    /// A superpacket with segments of zero bytes.
    #[error("superpacket with empty segments")]
    BadGsoSize,
    /// A superpacket of more segments than are ever split.
    #[error("superpacket with too many segments")]
    TooManySegments,
}
