//! HOT What tells flows apart: the same for both directions.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weapon_wire::{Flow, Transport};

use crate::{PeerId, filter::Direction};

/// A flow's ends, protocol and peer. The end whose address and port are less stands first, so that
/// a packet and its answer have one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    low: [u64; 2],
    high: [u64; 2],
    low_port: u16,
    high_port: u16,
    peer: u32,
    protocol: u8,
    is_v4: bool,
    has_ports: bool,
    /// Whether the end that stands first is the one behind us. A packet in which an end of the
    /// flow pretends to be on the other side of the tunnel is not of this flow.
    is_low_ours: bool,
    /// Of echoes: whether the end that stands first asks. Who was asked may answer, not ask.
    is_low_asking: bool,
}

impl Key {
    /// The key of a packet on its way in `direction`, and whether the end that stands first has
    /// sent it. `None` if it belongs to no flow: ICMP but echoes and their replies.
    #[inline]
    pub(crate) fn of(
        direction: Direction,
        peer: PeerId,
        flow: &Flow,
        transport: &Transport,
    ) -> Option<(Self, bool)> {
        let (source_port, destination_port, asks) = match transport {
            Transport::Icmp(icmp) if icmp.is_echo(flow.source) => (icmp.id, icmp.id, Some(true)),
            Transport::Icmp(icmp) if icmp.is_echo_reply(flow.source) => {
                (icmp.id, icmp.id, Some(false))
            }
            Transport::Icmp(_) => return None,
            Transport::Tcp(_) | Transport::Other | Transport::Truncated => {
                let (source, destination) = flow.ports.unwrap_or_default();
                (source, destination, None)
            }
        };
        let (source, destination) = (words(flow.source), words(flow.destination));
        let is_low_sender = (source, source_port) <= (destination, destination_port);
        let (low, high, low_port, high_port) = if is_low_sender {
            (source, destination, source_port, destination_port)
        } else {
            (destination, source, destination_port, source_port)
        };
        let key = Self {
            low,
            high,
            low_port,
            high_port,
            peer: peer.0,
            protocol: flow.protocol,
            is_v4: flow.source.is_ipv4(),
            has_ports: flow.ports.is_some(),
            is_low_ours: is_low_sender == (direction == Direction::Outbound),
            is_low_asking: asks == Some(is_low_sender),
        };
        Some((key, is_low_sender))
    }

    /// Its hash, which nobody can foretell who does not know the `seed`.
    #[inline]
    pub(crate) fn hash(&self, seed: [u64; 2]) -> u64 {
        let ports = u64::from(self.low_port) << 16 | u64::from(self.high_port);
        let rest = ports << 16
            | u64::from(self.protocol) << 8
            | u64::from(self.is_low_asking) << 2
            | u64::from(self.is_v4) << 1
            | u64::from(self.is_low_ours);
        let low = fold(self.low[0] ^ seed[0], self.low[1] ^ seed[1]);
        let high = fold(low ^ self.high[0] ^ seed[1], self.high[1] ^ seed[0]);
        let peer = u64::from(self.peer) << 32;
        let all = fold(high ^ rest ^ seed[0], peer ^ low ^ seed[1]);
        // Ports that follow each other are to be far apart, whatever the seed.
        fold(all, MIXER)
    }

    pub(crate) fn peer(&self) -> PeerId {
        PeerId(self.peer)
    }

    pub(crate) fn protocol(&self) -> u8 {
        self.protocol
    }

    pub(crate) fn is_v4(&self) -> bool {
        self.is_v4
    }

    /// Source, destination and ports of what one of the ends sends. An echo has its identifier as
    /// both ports.
    pub(crate) fn ends(&self, from_low: bool) -> (IpAddr, IpAddr, (u16, u16)) {
        let (low, high) = (self.address(self.low), self.address(self.high));
        if from_low {
            (low, high, (self.low_port, self.high_port))
        } else {
            (high, low, (self.high_port, self.low_port))
        }
    }

    /// Whether its protocol has ports.
    pub(crate) fn has_ports(&self) -> bool {
        self.has_ports
    }

    fn address(&self, words: [u64; 2]) -> IpAddr {
        if self.is_v4 {
            return Ipv4Addr::from_bits(words[1] as u32).into();
        }
        Ipv6Addr::from_bits(u128::from(words[0]) << 64 | u128::from(words[1])).into()
    }
}

/// 2^64 divided by the golden ratio: odd, and without a pattern.
const MIXER: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(address) => [0, u64::from(address.to_bits())],
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            [(bits >> 64) as u64, bits as u64]
        }
    }
}

/// Both halves of the product: each bit of it depends on all bits of both.
#[inline]
pub(super) fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one).wrapping_mul(u128::from(other));
    product as u64 ^ (product >> 64) as u64
}
