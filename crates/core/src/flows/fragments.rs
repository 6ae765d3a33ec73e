//! HOT Packets that come in fragments: the first one has the ports and is judged, and the others
//! follow it.
//!
//! What can be done with fragments is to let somebody judge other headers than the host will see
//! that puts them together: RFC 1858, RFC 3128. So no fragment may begin inside of the first one,
//! and another first one must be like the first: RFC 5722 has whoever puts them together throw the
//! whole packet away.

use core::{net::IpAddr, time::Duration};
use std::sync::{Mutex, MutexGuard, PoisonError};

use weapon_noise::Tick;
use weapon_wire::Fragment;

use super::{
    Place,
    key::{mix, words},
};
use crate::{PeerId, filter::Direction};

/// How long the fragments of a packet may be on their way: as long as Linux waits for them.
const FRAGMENTS_TIME: Duration = Duration::from_secs(30);

/// Sets of this table, and places in each: packets of which fragments are still expected.
const SETS: usize = 256;
const WAYS: usize = 8;

/// Places of one peer in a set at most.
const PLACES_OF_PEER_MAX: usize = 6;

/// Which packet a fragment is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FragmentKey {
    pub(crate) direction: Direction,
    pub(crate) peer: PeerId,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// RFC 791 has it in the key; RFC 8200 does not, where it is that of the first fragment.
    pub(crate) protocol: u8,
    pub(crate) id: u32,
}

/// A packet whose first fragment has passed.
#[derive(Clone, Copy, Debug)]
struct Begun {
    key: FragmentKey,
    seen: Tick,
    /// Bytes of the first fragment.
    first_len: usize,
    /// What was tried with it lets the rest of it die.
    is_spoilt: bool,
    /// The flow that the others count for.
    place: Option<Place>,
}

/// What is known of a fragment's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its first fragment has passed, and counts for this flow.
    Passed(Option<Place>),
    /// It overlaps the first one, or another has.
    Overlaps,
    /// Nothing.
    Nothing,
}

/// Packets of which fragments are expected.
#[derive(Debug)]
pub(crate) struct Fragments {
    sets: Box<[Mutex<[Option<Begun>; WAYS]>]>,
    seed: [u64; 2],
}

impl Fragments {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            sets: (0..SETS).map(|_| Mutex::default()).collect(),
            seed,
        }
    }

    /// What is to become of a fragment that is not the first.
    #[cold]
    pub(crate) fn find(&self, key: &FragmentKey, fragment: Fragment, now: Tick) -> Known {
        let Some(mut set) = self.set(key) else {
            return Known::Nothing;
        };
        let Some(begun) = set.iter_mut().flatten().find(|it| it.is(key, now)) else {
            return Known::Nothing;
        };
        if fragment.offset < begun.first_len {
            begun.is_spoilt = true;
        }
        if begun.is_spoilt {
            return Known::Overlaps;
        }
        Known::Passed(begun.place)
    }

    /// A first fragment comes. Whether it may go on, as far as others of its packet are concerned.
    #[cold]
    pub(crate) fn agrees(&self, key: &FragmentKey, fragment: Fragment, now: Tick) -> bool {
        let Some(mut set) = self.set(key) else {
            return true;
        };
        let Some(begun) = set.iter_mut().flatten().find(|it| it.is(key, now)) else {
            return true;
        };
        begun.is_spoilt |= begun.first_len != fragment.len;
        !begun.is_spoilt
    }

    /// A first fragment was denied: what follows it dies with it, whatever passed before.
    #[cold]
    pub(crate) fn spoil(&self, key: &FragmentKey, now: Tick) {
        let Some(mut set) = self.set(key) else {
            return;
        };
        if let Some(begun) = set.iter_mut().flatten().find(|it| it.is(key, now)) {
            begun.is_spoilt = true;
        }
    }

    /// A first fragment has passed. The oldest packet of the peer makes room for it, or else the
    /// oldest of all.
    #[cold]
    pub(crate) fn note(
        &self,
        key: FragmentKey,
        fragment: Fragment,
        now: Tick,
        place: Option<Place>,
    ) {
        let Some(mut set) = self.set(&key) else {
            return;
        };
        let new = Begun {
            key,
            seen: now,
            first_len: fragment.len,
            is_spoilt: false,
            place,
        };
        let of_peer = |it: &Option<Begun>| it.is_some_and(|it| it.key.peer == key.peer);
        let is_limited = set.iter().filter(|it| of_peer(it)).count() >= PLACES_OF_PEER_MAX;
        let there = set.iter_mut().flatten().find(|it| it.is(&key, now));
        if let Some(there) = there {
            *there = new;
            return;
        }
        // Nothing is older than something.
        let among = set.iter_mut().filter(|it| !is_limited || of_peer(it));
        let oldest = among.min_by_key(|it| it.map(|it| it.seen));
        if let Some(oldest) = oldest {
            *oldest = Some(new);
        }
    }

    /// The lock is held for a walk over eight places, and few packets are fragments.
    #[cold]
    fn set(&self, key: &FragmentKey) -> Option<MutexGuard<'_, [Option<Begun>; WAYS]>> {
        let ends = [words(key.source), words(key.destination)];
        let [a, b, c, d] = key.id.to_be_bytes();
        let rest = u64::from_be_bytes([a, b, c, d, key.protocol, 0, 0, 0]);
        let hash = mix(ends, (rest, key.peer.0), self.seed);
        let set = self.sets.get(hash as usize % SETS)?;
        Some(set.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Begun {
    fn is(&self, key: &FragmentKey, now: Tick) -> bool {
        self.key == *key && now.since(self.seen) < FRAGMENTS_TIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets that have something, after one packet of each of these keys.
    fn sets_used(keys: impl Iterator<Item = FragmentKey>) -> usize {
        let fragments = Fragments::new([0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211]);
        let first = Fragment {
            offset: 0,
            len: 1480,
            id: 0,
        };
        for key in keys {
            fragments.note(key, first, Tick::default(), None);
        }
        let sets = fragments.sets.iter();
        sets.filter(|set| set.lock().unwrap().iter().any(Option::is_some))
            .count()
    }

    #[test]
    fn packets_are_spread_by_all_that_tells_them_apart() {
        let key = FragmentKey {
            direction: Direction::Inbound,
            peer: PeerId(7),
            source: [10, 0, 0, 5].into(),
            destination: [10, 0, 1, 6].into(),
            protocol: 17,
            id: 1,
        };
        let address = |number: u8| IpAddr::from([10, number, 0, 5]);
        // Of 256 sets and 200 packets, 139 sets are used where chance decides.
        for used in [
            sets_used((0..200).map(|id| FragmentKey { id, ..key })),
            sets_used((0..200).map(|id| FragmentKey {
                id: id << 24,
                ..key
            })),
            sets_used((0..200).map(|protocol| FragmentKey { protocol, ..key })),
            sets_used((0..200).map(|number| {
                let source = address(number);
                FragmentKey { source, ..key }
            })),
            sets_used((0..200).map(|number| {
                let destination = address(number);
                FragmentKey { destination, ..key }
            })),
        ] {
            assert!((120..160).contains(&used), "{used}");
        }
    }
}
