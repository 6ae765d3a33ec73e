//! The latest packets that died, for people who ask why.
//!
//! Each thread keeps its own, and notes there only what has died: who passes pays nothing. What is
//! like a drop that is there already is counted with it. Where there is no room for another, one of
//! the reason that has most of them goes, and of these one from the source that has most: so a
//! flood displaces what is like itself, and single drops of other reasons stay.

use core::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};
use std::sync::{Mutex, PoisonError, TryLockError};

use arrayvec::ArrayVec;
use weapon_noise::Tick;
use weapon_wire::{Flow, Transport};

use crate::{DropReason, Fib, Peer, PeerId, Way, filter::RuleId};

/// Drops that a thread keeps at most.
pub const LATEST_DROPS_MAX: usize = 64;

/// A packet that died, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Why.
    pub reason: DropReason,
    /// Which way it went.
    pub way: Way,
    /// Whom it was for, or from; nobody if that is not known.
    pub peer: Option<PeerId>,
    /// Of what came in: who has sent the datagram.
    pub from: Option<SocketAddr>,
    /// What its headers say, if it was seen in clear.
    pub headers: Option<Headers>,
    /// The rule that denied it.
    pub rule: Option<RuleId>,
}

/// What the headers of a packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Its source, as peers know it.
    pub source: IpAddr,
    /// Its destination, as peers know it.
    pub destination: IpAddr,
    /// The number of what it carries.
    pub protocol: u8,
    /// Its source and destination port, if the protocol has some.
    pub ports: Option<(u16, u16)>,
    /// Its type of ICMP, if it is that.
    pub icmp_kind: Option<u8>,
}

/// Packets that died and are like each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestDrop {
    /// The last of them.
    pub dropped: Dropped,
    /// How many there were.
    pub count: u64,
    /// When the first one died.
    pub first: Tick,
    /// When the last one died.
    pub last: Tick,
}

/// The latest drops of a thread.
#[derive(Debug, Default)]
pub struct LatestDrops {
    ring: Mutex<Ring>,
    /// What died while somebody looked.
    missed: AtomicU64,
}

type Ring = ArrayVec<Entry, LATEST_DROPS_MAX>;

/// Places for counts of crowds: so many that two of a full ring seldom share one.
const CROWDS: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The same for all that is like it, and seldom for anything else.
    tag: u32,
    /// The same for all of the same reason and source.
    crowd: u32,
    drop: LatestDrop,
}

impl Dropped {
    /// A datagram that was not opened.
    #[cold]
    pub(crate) fn sealed(reason: DropReason, peer: Option<PeerId>, from: SocketAddr) -> Self {
        Self {
            reason,
            way: Way::Inbound,
            peer,
            from: Some(from),
            headers: None,
            rule: None,
        }
    }

    /// A packet in clear.
    #[cold]
    pub(crate) fn clear(
        reason: DropReason,
        way: Way,
        peer: Option<&Peer>,
        packet: &[u8],
        fib: &Fib,
    ) -> Self {
        let flow = Flow::parse(packet).ok();
        let transport = flow.map(|flow| (flow, Transport::of(packet, &flow)));
        let peer = peer.or_else(|| {
            let flow = flow.as_ref().filter(|_| way == Way::Outbound)?;
            fib.route(flow.destination).map(|peer| &**peer)
        });
        let rule = || {
            let (checkpoint, peer) = (fib.checkpoint.as_ref()?, peer?);
            let (flow, transport) = transport?;
            let verdict = checkpoint.verdict_alone(way.direction(), peer.id, &flow, &transport);
            Some(verdict.rule)
        };
        Self {
            reason,
            way,
            peer: peer.map(|peer| peer.id),
            from: None,
            headers: transport.map(|(flow, transport)| Headers::of(&flow, &transport)),
            rule: (reason == DropReason::Denied).then(rule).flatten(),
        }
    }

    /// Whether it differs by no more than by the port that it is from: of a connection that is
    /// tried again that is another one each time.
    pub fn is_like(&self, other: &Self) -> bool {
        let without_port = |it: &Self| Self {
            from: it.from.map(|from| SocketAddr::new(from.ip(), 0)),
            headers: it.headers.map(|headers| Headers {
                ports: headers.ports.map(|(_, destination)| (0, destination)),
                ..headers
            }),
            ..*it
        };
        without_port(self) == without_port(other)
    }

    /// Whose packet it was.
    fn source(&self) -> Option<IpAddr> {
        let source = self.headers.map(|headers| headers.source);
        source.or(self.from.map(|from| from.ip()))
    }

    fn crowd(&self) -> u64 {
        let hash = mix(0, self.reason as u64);
        self.source()
            .map_or(hash, |source| mix_address(hash, source))
    }

    fn tag(&self) -> u32 {
        let mut hash = mix(self.crowd(), self.way as u64);
        hash = mix(hash, self.peer.map_or(u64::MAX, |peer| peer.0.into()));
        if let Some(headers) = &self.headers {
            let (_, port) = headers.ports.unwrap_or_default();
            hash = mix_address(hash, headers.destination);
            hash = mix(hash, u64::from(port) << 8 | u64::from(headers.protocol));
        }
        (hash >> 32) as u32
    }
}

impl Headers {
    fn of(flow: &Flow, transport: &Transport) -> Self {
        Self {
            source: flow.source,
            destination: flow.destination,
            protocol: flow.protocol,
            ports: flow.ports,
            icmp_kind: transport.icmp_kind(),
        }
    }
}

impl LatestDrop {
    /// Of the same drops, seen by two threads, one.
    fn join(&mut self, other: &Self) {
        if other.last > self.last {
            self.dropped = other.dropped;
        }
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

impl LatestDrops {
    /// So many packets like this one have died. Waits for nobody.
    #[cold]
    pub(crate) fn note(&self, dropped: Dropped, count: u64, now: Tick) {
        let mut ring = match self.ring.try_lock() {
            Ok(ring) => ring,
            Err(TryLockError::Poisoned(ring)) => ring.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.missed.fetch_add(count, Relaxed);
                return;
            }
        };
        let tag = dropped.tag();
        let drop = LatestDrop {
            dropped,
            count,
            first: now,
            last: now,
        };
        let mut like = ring.iter_mut().filter(|entry| entry.tag == tag);
        if let Some(there) = like.find(|entry| entry.drop.dropped.is_like(&dropped)) {
            there.drop.join(&drop);
            there.drop.dropped = dropped;
            return;
        }
        if let Some(place) = ring.is_full().then(|| superfluous(&ring)).flatten() {
            ring.swap_remove(place);
        }
        // There is room now.
        let _ = ring.try_push(Entry {
            tag,
            crowd: (dropped.crowd() >> 32) as u32,
            drop,
        });
    }

    /// The latest drops of all these threads, the newest first; and how many packets are not among
    /// them, as they died while somebody looked.
    pub fn of_all<'a>(all: impl Iterator<Item = &'a Self>) -> (Vec<LatestDrop>, u64) {
        let mut drops: Vec<LatestDrop> = Vec::new();
        let mut missed: u64 = 0;
        for one in all {
            missed = missed.saturating_add(one.missed.load(Relaxed));
            let ring = one.ring.lock().unwrap_or_else(PoisonError::into_inner);
            let there: Vec<LatestDrop> = ring.iter().map(|entry| entry.drop).collect();
            // Nobody is kept from noting while they are sorted.
            drop(ring);
            for drop in there {
                let mut like = drops.iter_mut();
                match like.find(|it| it.dropped.is_like(&drop.dropped)) {
                    Some(like) => like.join(&drop),
                    None => drops.push(drop),
                }
            }
        }
        drops.sort_by_key(|drop| core::cmp::Reverse(drop.last));
        (drops, missed)
    }
}

/// The place of the drop that is missed least: of the reason that has most of them, from the source
/// that has most of these, the oldest.
///
/// A flood may call for it with each packet, so it goes through the ring a few times, and not once
/// for each entry. Sources that share a place among the crowds pass for one.
fn superfluous(ring: &Ring) -> Option<usize> {
    let mut of_reason = [0_u8; DropReason::COUNT];
    let mut of_crowd = [0_u8; CROWDS];
    let crowd = |entry: &Entry| entry.crowd as usize % CROWDS;
    for entry in ring {
        add_one(&mut of_reason, entry.drop.dropped.reason as usize);
        add_one(&mut of_crowd, crowd(entry));
    }
    let largest = of_reason.iter().max()?;
    let of = |entry: &Entry| of_reason.get(entry.drop.dropped.reason as usize);
    let candidates = ring.iter().enumerate();
    let candidates = candidates.filter(|(_, entry)| of(entry) == Some(largest));
    let worst = candidates.max_by_key(|(_, entry)| {
        let oldest = core::cmp::Reverse(entry.drop.last);
        (of_crowd.get(crowd(entry)), oldest)
    });
    worst.map(|(place, _)| place)
}

fn add_one(counts: &mut [u8], place: usize) {
    if let Some(count) = counts.get_mut(place) {
        *count = count.saturating_add(1);
    }
}

fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn mix_address(hash: u64, address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => mix(hash, address.to_bits().into()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            mix(mix(hash, bits as u64), (bits >> 64) as u64)
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::default() + Duration::from_secs(seconds)
    }

    fn denied(source: u32, source_port: u16, port: u16) -> Dropped {
        Dropped {
            reason: DropReason::Denied,
            way: Way::Inbound,
            peer: Some(PeerId(1)),
            from: None,
            headers: Some(Headers {
                source: IpAddr::V4(source.into()),
                destination: [10, 0, 0, 1].into(),
                protocol: 6,
                ports: Some((source_port, port)),
                icmp_kind: None,
            }),
            rule: Some(RuleId(0)),
        }
    }

    fn other(reason: DropReason) -> Dropped {
        Dropped::sealed(reason, None, ([192, 0, 2, 1], 7).into())
    }

    fn listed(drops: &LatestDrops) -> Vec<LatestDrop> {
        LatestDrops::of_all([drops].into_iter()).0
    }

    #[test]
    fn what_is_like_is_counted_and_the_newest_comes_first() {
        let drops = LatestDrops::default();
        drops.note(denied(1, 1000, 443), 1, at(1));
        drops.note(other(DropReason::Forged), 3, at(2));
        // Tried again, from another port; and another port that is asked for.
        drops.note(denied(1, 1001, 443), 1, at(3));
        drops.note(denied(1, 1001, 22), 1, at(4));
        let expected = [
            (denied(1, 1001, 22), 1, at(4), at(4)),
            (denied(1, 1001, 443), 2, at(1), at(3)),
            (other(DropReason::Forged), 3, at(2), at(2)),
        ];
        let expected = expected.map(|(dropped, count, first, last)| LatestDrop {
            dropped,
            count,
            first,
            last,
        });
        assert_eq!(listed(&drops), expected);
    }

    #[test]
    fn a_flood_displaces_what_is_like_itself() {
        let drops = LatestDrops::default();
        drops.note(other(DropReason::Forged), 1, at(0));
        // A few hosts that are denied, then a scan by one, then made-up sources.
        for host in 0..8 {
            drops.note(denied(host, 1000, 443), 1, at(1));
        }
        for port in 1..5000 {
            drops.note(denied(99, 1000, port), 1, at(2));
        }
        let all = listed(&drops);
        assert_eq!(all.len(), LATEST_DROPS_MAX);
        let is_there = |wanted: &Dropped| all.iter().any(|it| it.dropped == *wanted);
        assert!((0..8).all(|host| is_there(&denied(host, 1000, 443))));
        assert!(is_there(&denied(99, 1000, 4999)), "the newest is there");
        for host in 1000..3000 {
            drops.note(denied(host, 1000, 443), 1, at(3));
        }
        let all = listed(&drops);
        let forged = all
            .iter()
            .filter(|it| it.dropped == other(DropReason::Forged));
        assert_eq!((all.len(), forged.count()), (LATEST_DROPS_MAX, 1));
    }

    #[test]
    fn nobody_waits_and_what_is_not_noted_is_counted() {
        let drops = LatestDrops::default();
        let looked_at = drops.ring.lock().unwrap();
        drops.note(denied(1, 1, 1), 7, at(1));
        drop(looked_at);
        assert_eq!(LatestDrops::of_all([&drops].into_iter()), (Vec::new(), 7));
    }

    #[test]
    fn threads_that_saw_the_same_are_one() {
        let (one, two) = (LatestDrops::default(), LatestDrops::default());
        one.note(denied(1, 5, 22), 1, at(1));
        two.note(denied(1, 6, 22), 2, at(2));
        one.note(denied(1, 7, 22), 1, at(3));
        let (all, _) = LatestDrops::of_all([&one, &two].into_iter());
        let expected = LatestDrop {
            dropped: denied(1, 7, 22),
            count: 4,
            first: at(1),
            last: at(3),
        };
        assert_eq!(all, [expected]);
    }
}
