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
        let ([a, b], [c, d]) = (self.low_port.to_be_bytes(), self.high_port.to_be_bytes());
        let flags = [self.is_low_asking, self.is_v4, self.is_low_ours];
        let [asking, v4, ours] = flags.map(u8::from);
        let rest = u64::from_be_bytes([a, b, c, d, self.protocol, asking, v4, ours]);
        mix([self.low, self.high], (rest, self.peer), seed)
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

/// Of two addresses and what comes with them: a hash that nobody can foretell who does not know
/// the `seed`.
#[inline]
pub(super) fn mix([one, other]: [[u64; 2]; 2], (rest, peer): (u64, u32), seed: [u64; 2]) -> u64 {
    let first = fold(one[0] ^ seed[0], one[1] ^ seed[1]);
    let both = fold(first ^ other[0] ^ seed[1], other[1] ^ seed[0]);
    let peer = u64::from(peer) << 32;
    let all = fold(both ^ rest ^ seed[0], peer ^ first ^ seed[1]);
    // Ports that follow each other are to be far apart, whatever the seed.
    fold(all, MIXER)
}

/// The bits of an address.
#[inline]
pub(super) fn words(address: IpAddr) -> [u64; 2] {
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

#[cfg(test)]
mod tests {
    use weapon_wire::Icmp;

    use super::*;

    const PEER: PeerId = PeerId(7);
    const SEED: [u64; 2] = [0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211];

    fn flow(source: &str, destination: &str, ports: Option<(u16, u16)>) -> Flow {
        Flow {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol: if ports.is_some() { 17 } else { 1 },
            ports,
            header_len: 20,
            total_len: 28,
            traffic_class: 0,
        }
    }

    #[test]
    fn the_lesser_end_stands_first_and_is_ours_or_asks() {
        for (source, destination, ports) in [
            ("10.0.0.5", "10.0.1.6", (9, 3)),
            ("10.0.0.5", "10.0.0.5", (3, 9)),
            ("fd00::5", "fd00:1::6", (9, 3)),
            ("::5", "1::", (9, 3)),
        ] {
            let there = flow(source, destination, Some(ports));
            let back = there.reversed();
            for (direction, answer, is_ours) in [
                (Direction::Outbound, Direction::Inbound, true),
                (Direction::Inbound, Direction::Outbound, false),
            ] {
                let other = Transport::Other;
                let (key, from_low) = Key::of(direction, PEER, &there, &other).unwrap();
                assert_eq!((key.is_low_ours, from_low), (is_ours, true), "{there:?}");
                assert!((key.low, key.low_port) < (key.high, key.high_port));
                assert!(!key.is_low_asking);
                let ends = (there.source, there.destination, ports);
                assert_eq!(key.ends(true), ends);
                let answered = Key::of(answer, PEER, &back, &other).unwrap();
                assert_eq!(answered, (key, false));
                let (source, destination, (one, other)) = ends;
                assert_eq!(key.ends(false), (destination, source, (other, one)));
            }
        }
        // Who talks to himself is the first end, whichever packet it is.
        let alone = flow("10.0.0.5", "10.0.0.5", Some((3, 3)));
        let (_, from_low) = Key::of(Direction::Outbound, PEER, &alone, &Transport::Other).unwrap();
        assert!(from_low);
    }

    #[test]
    fn who_asks_for_an_echo_is_known() {
        for (source, destination, is_low_asking) in [
            ("10.0.0.5", "10.0.1.6", true),
            ("10.0.1.6", "10.0.0.5", false),
        ] {
            let there = flow(source, destination, None);
            let echo = |kind| Transport::Icmp(Icmp { kind, id: 77 });
            let asked = Key::of(Direction::Outbound, PEER, &there, &echo(8));
            let (key, from_low) = asked.unwrap();
            assert_eq!(
                (key.is_low_asking, from_low),
                (is_low_asking, is_low_asking)
            );
            assert_eq!((key.low_port, key.high_port), (77, 77));
            let answered = Key::of(Direction::Inbound, PEER, &there.reversed(), &echo(0));
            assert_eq!(answered, Some((key, !from_low)));
            let unreachable = Key::of(Direction::Inbound, PEER, &there, &echo(3));
            assert_eq!(unreachable, None);
        }
    }

    #[test]
    fn the_upper_bits_of_a_product_count() {
        assert_ne!(fold(1 << 63, 2), fold(0, 2));
        assert_ne!(fold(1 << 63, 1), fold(0, 1));
    }

    /// Nobody can bring it about, and if it happened, flows would still be apart.
    #[test]
    fn an_address_that_meets_the_seed_does_not_hide_the_other() {
        let seed = [0x0123_4567_89ab_cdef, 0];
        let hash = |one: u64| mix([[one, 1], [2, seed[0]]], (3, 4), seed);
        assert_ne!(hash(5), hash(6));
    }

    #[test]
    fn whatever_differs_the_hash_does_too() {
        let key = Key {
            low: [1, 2],
            high: [3, 4],
            low_port: 5,
            high_port: 6,
            peer: 7,
            protocol: 8,
            ..Key::default()
        };
        let words = (0..64).flat_map(|bit| {
            let flip = move |words: [u64; 2], at: usize| {
                let mut flipped = words;
                flipped[at] ^= 1 << bit;
                flipped
            };
            [0, 1].into_iter().flat_map(move |at| {
                let low = flip(key.low, at);
                let high = flip(key.high, at);
                [Key { low, ..key }, Key { high, ..key }]
            })
        });
        let peers = (0..32).map(|bit| Key {
            peer: key.peer ^ 1 << bit,
            ..key
        });
        let ports = (0..16).flat_map(|bit| {
            let low_port = key.low_port ^ 1 << bit;
            let high_port = key.high_port ^ 1 << bit;
            [Key { low_port, ..key }, Key { high_port, ..key }]
        });
        let protocols = (0..8).map(|bit| Key {
            protocol: key.protocol ^ 1 << bit,
            ..key
        });
        let others = [
            key,
            Key { low: [2, 1], ..key },
            Key {
                high: [4, 3],
                ..key
            },
            Key {
                low: key.high,
                high: key.low,
                ..key
            },
            Key {
                low_port: 6,
                high_port: 5,
                ..key
            },
            Key { is_v4: true, ..key },
            Key {
                is_low_ours: true,
                ..key
            },
            Key {
                is_low_asking: true,
                ..key
            },
        ];
        let all = others.into_iter().chain(words).chain(peers).chain(ports);
        let all = all.chain(protocols);
        let mut hashes: Vec<u64> = all.map(|key| key.hash(SEED)).collect();
        // And who does not know the seed does not know the hash.
        let seeds = [[SEED[0] ^ 1, SEED[1]], [SEED[0], SEED[1] ^ 1], [0, 0]];
        hashes.extend(seeds.map(|seed| key.hash(seed)));
        let all = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all);
    }
}
