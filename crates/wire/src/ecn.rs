//! HOT Explicit congestion notification through a tunnel: RFC 6040, as kernel WireGuard does it.
//!
//! What the inner packet says of ECN is put on the outer one, so that a router on the way may mark
//! it instead of dropping it; the mark is brought back into the inner packet. DSCP is not: it would
//! tell the network what kind of traffic is inside.
//!
//! ```text
//!  encapsulation (kernel send.c: ip_tunnel_ecn_encap of TOS 0, INET_ECN_encapsulate)
//!    inner   not-ECT   ECT(1)    ECT(0)    CE
//!    outer   not-ECT   ECT(1)    ECT(0)    ECT(0)
//!
//!  decapsulation (kernel receive.c: INET_ECN_decapsulate, its verdict not heeded)
//!             outer   not-ECT   ECT(1)    ECT(0)    CE
//!    inner not-ECT    not-ECT   not-ECT   not-ECT   not-ECT
//!    inner ECT(1)     ECT(1)    ECT(1)    ECT(1)    CE
//!    inner ECT(0)     ECT(0)    ECT(1)    ECT(0)    CE
//!    inner CE         CE        CE        CE        CE
//! ```
//!
//! An inner CE goes out as ECT(0): RFC 3168 section 9.1.1, "full functionality", which the kernel
//! keeps, where RFC 6040 would copy it. Marks of the way before the tunnel are thus told apart from
//! those within it. An inner packet without ECT that meets a CE outside is delivered as it was,
//! where RFC 6040 section 4.2 would drop it: the drop would tell somebody on the way, who sets CE,
//! what is inside, and it cannot happen but through a router that is wrong.

use core::net::IpAddr;

use crate::{
    Flow, checksum,
    ip::{self, be16, put16},
};

/// The two bits of ECN in a DS field (RFC 3168 section 5).
pub const MASK: u8 = 0b11;
/// The sender does not know ECN.
pub const NOT_ECT: u8 = 0b00;
/// The sender knows ECN, and asks for low latency (RFC 9331).
pub const ECT_1: u8 = 0b01;
/// The sender knows ECN.
pub const ECT_0: u8 = 0b10;
/// Congestion was experienced on the way.
pub const CE: u8 = 0b11;

/// The DS field of the datagram in which a packet of `traffic_class` travels: no DSCP, and its ECN.
pub fn encapsulated(traffic_class: u8) -> u8 {
    match traffic_class & MASK {
        CE => ECT_0,
        ecn => ecn,
    }
}

/// Whether a datagram with this DS field may have something to tell to the packet inside.
pub fn tells(outer: u8) -> bool {
    // CE or ECT(1); no others have this bit.
    outer & ECT_1 != 0
}

/// Brings what `outer`, the DS field of the datagram, tells into the inner packet at the start of
/// `packet`, which was parsed to `flow`; mends the checksum of an IPv4 header.
pub fn decapsulate(outer: u8, packet: &mut [u8], flow: &mut Flow) {
    let inner = flow.traffic_class & MASK;
    let ecn = match (outer & MASK, inner) {
        (CE, ECT_0 | ECT_1) => CE,
        (ECT_1, ECT_0) => ECT_1,
        _ => return,
    };
    flow.traffic_class = flow.traffic_class & !MASK | ecn;
    let old = be16(packet, 0);
    let [first, second] = old.to_be_bytes();
    match flow.source {
        IpAddr::V4(_) => {
            let new = u16::from_be_bytes([first, flow.traffic_class]);
            put16(packet, 0, new);
            // RFC 1624 equation 3. A checksum that was wrong stays as wrong as it was. Three sums
            // of 16 bits are far from what 64 hold.
            let sum = [!be16(packet, ip::V4_CHECKSUM), !old, new]
                .into_iter()
                .map(checksum::field)
                .fold(0, u64::wrapping_add);
            put16(packet, ip::V4_CHECKSUM, checksum::finish(sum));
        }
        // The low half of the traffic class is in the high half of the second byte. No checksum
        // covers it.
        IpAddr::V6(_) => {
            let second = second & 0x0f | flow.traffic_class << 4;
            put16(packet, 0, u16::from_be_bytes([first, second]));
        }
    }
}
