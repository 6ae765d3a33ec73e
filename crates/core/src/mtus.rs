//! How far plaintext may be padded: the interface's MTU, and those of routes through it (P89).
//! HOT

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use weapon_noise::protocol::PADDING_MULTIPLE;

/// Routes' MTUs that are known at most, the smallest first. Nobody gives routes through one tunnel
/// more than a few; a packet of a route whose MTU is not known is padded up to the interface's.
const ROUTE_MTUS_MAX: usize = 8;

/// MTUs of inner packets.
///
/// The kernel asks the route that a packet has taken (`send.c`, `dst_mtu`). We are given the packet
/// without its route, but it can have taken none with a smaller MTU than its length: so it is
/// padded no further than to the smallest MTU that is not below it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mtus {
    /// 0 if it is not known.
    interface: usize,
    /// Smaller than the interface's, in ascending order.
    routes: ArrayVec<usize, ROUTE_MTUS_MAX>,
}

impl Mtus {
    /// The interface's, 0 if it is not known, and those of routes through it, in any order.
    pub fn new(interface: usize, mut routes: Vec<usize>) -> Self {
        routes.retain(|&mtu| mtu != 0 && mtu < interface);
        routes.sort_unstable();
        routes.dedup();
        Self {
            interface,
            routes: routes.into_iter().take(ROUTE_MTUS_MAX).collect(),
        }
    }

    /// The interface's.
    pub fn interface(&self) -> usize {
        self.interface
    }

    /// Zero bytes behind a packet of `len` bytes.
    pub fn padding(&self, len: usize) -> usize {
        // The usual interface has no such routes.
        let route = self.routes.iter().find(|&&mtu| mtu >= len);
        padding(len, route.copied().unwrap_or(self.interface))
    }
}

/// Zero bytes behind a plaintext of `len` bytes: up to a multiple of 16, but never past the MTU
/// (paper 5.4.6; kernel `send.c:calculate_skb_padding`; P89).
pub fn padding(len: usize, mtu: usize) -> usize {
    let last = if len > mtu {
        len.checked_rem(mtu).unwrap_or(len)
    } else {
        len
    };
    let padded = last.next_multiple_of(PADDING_MULTIPLE);
    let padded = if mtu == 0 { padded } else { padded.min(mtu) };
    padded.saturating_sub(last)
}
