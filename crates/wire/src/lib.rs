//! Bytes and their meaning: WireGuard messages, IP views, checksums, superpacket split and merge.
//!
//! Everything here works on slices that the caller owns: no I/O, no clock, no allocation. Lengths
//! come from strangers, so arithmetic on them is done in `usize` and every index is checked first.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "it runs on what strangers send: nothing in it may panic"
    )
)]

/// Why bytes were refused.
pub mod malformed;
pub use malformed::Malformed;

/// Where a datagram came from, and which of our addresses it came to.
pub mod endpoint;
pub use endpoint::{Endpoint, Source};

/// WireGuard's four messages.
pub mod message;

/// IP protocol numbers and the fixed parts of IPv4 and IPv6 headers.
pub mod ip;

/// The flow of a packet, parsed once.
pub mod flow;
pub use flow::Flow;

/// Fragments, and what transport headers say: for a packet filter.
pub mod piece;
pub use piece::{Fragment, Icmp, Piece, Transport, header_len_min};

/// Explicit congestion notification through a tunnel.
pub mod ecn;

/// An address of a packet replaced.
pub mod rewrite;

/// The internet checksum.
pub mod checksum;

/// The fixed part of a TCP header.
pub mod tcp;

/// The UDP header.
pub mod udp;

/// The header that Linux puts before each packet of a TUN device.
pub mod vnet;
pub use vnet::VnetHeader;

/// Superpackets into segments.
pub mod split;
pub use split::{HEAD_MULTIPLE, SEGMENTS_MAX, Segment, Superpacket};

/// Segments into superpackets.
pub mod merge;
pub use merge::{MergeLimits, Merger};

/// ICMP errors that answer a packet.
pub mod icmp;
