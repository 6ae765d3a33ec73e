//! HOT A set of the flow table: the few places among which a flow has to find its own.
//!
//! Who wants in takes a free place, or that of a flow whose time is over. If there is none,
//! somebody has to go, in this order:
//!
//! 1. a flow that is not assured, see [`State::is_assured`](super::State::is_assured), of the peer
//!    that has most of them here, and of these the one that was silent for longest;
//! 2. an assured flow that was silent for [`IDLE_MIN`] at least, of the same peer as the new one or
//!    of one that has more places here.
//!
//! Otherwise the new flow is refused. A peer that has [`PLACES_OF_PEER_MAX`] places takes one of
//! its own. So a flood of new flows is in the way of its own kind: flows that are assured and in
//! use stay, and other peers find places. All of that is a walk over [`WAYS`] places.

use core::time::Duration;

use weapon_noise::Tick;

use super::{Entry, Key, event::EndReason};
use crate::PeerId;

/// Places of a set. With twice as many places as flows, chances are one in a thousand that a set is
/// full; a walk over all is a matter of some cache lines.
pub(super) const WAYS: usize = 16;

/// Places of one peer at most: three quarters.
pub(super) const PLACES_OF_PEER_MAX: usize = 12;

/// An assured flow that was used in the last five minutes is never given up.
pub(super) const IDLE_MIN: Duration = Duration::from_secs(300);

/// A set. Its places are boxed where it stands: it is as large as that.
#[derive(Debug)]
pub(super) struct Set {
    /// A part of each flow's hash, never 0; 0 where there is none.
    tags: [u32; WAYS],
    entries: [Entry; WAYS],
}

impl Default for Set {
    fn default() -> Self {
        Self {
            tags: [0; WAYS],
            entries: [Entry::default(); WAYS],
        }
    }
}

impl Set {
    /// Where the flow is.
    #[inline]
    pub(super) fn find(&self, tag: u32, key: &Key) -> Option<usize> {
        let all = self.tags.iter().zip(&self.entries);
        let mut all = all.enumerate();
        let found = all.find(|(_, (there, entry))| **there == tag && entry.key == *key);
        found.map(|(place, _)| place)
    }

    /// The flow at `place`.
    #[inline]
    pub(super) fn at(&mut self, place: usize) -> Option<&mut Entry> {
        let is_there = self.tags.get(place).is_some_and(|tag| *tag != 0);
        if is_there {
            self.entries.get_mut(place)
        } else {
            None
        }
    }

    /// All flows, and where they are.
    pub(super) fn flows(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let all = self.tags.iter().zip(&self.entries).enumerate();
        let there = all.filter(|(_, (tag, _))| **tag != 0);
        there.map(|(place, (_, entry))| (place, entry))
    }

    /// Forgets the flow at `place`.
    pub(super) fn clear(&mut self, place: usize) {
        if let Some(tag) = self.tags.get_mut(place) {
            *tag = 0;
        }
    }

    /// Puts a flow to a place that is free. Returns which of all flows in this place it is.
    pub(super) fn put(&mut self, place: usize, tag: u32, mut entry: Entry) -> u32 {
        let (Some(there), Some(old)) = (self.tags.get_mut(place), self.entries.get_mut(place))
        else {
            return 0;
        };
        entry.generation = old.generation.wrapping_add(1);
        *there = tag;
        *old = entry;
        entry.generation
    }

    /// A place for a new flow of `peer`, and why the flow that is there has to go, if one is.
    pub(super) fn room(&self, peer: PeerId, now: Tick) -> Option<(usize, Option<EndReason>)> {
        let places = self.places_of(peer);
        let is_limited = places >= PLACES_OF_PEER_MAX;
        let free = self.tags.iter().position(|tag| *tag == 0);
        if let Some(free) = free.filter(|_| !is_limited) {
            return Some((free, None));
        }
        let among = |entry: &Entry| !is_limited || entry.peer() == peer;
        let mut over = self.flows().filter(|(_, entry)| among(entry));
        if let Some((place, _)) = over.find(|(_, entry)| entry.is_over(now)) {
            return Some((place, Some(EndReason::Timeout)));
        }
        let unassured = |entry: &Entry| !entry.state.is_assured();
        let crowd = |entry: &Entry| self.count(|it| unassured(it) && it.peer() == entry.peer());
        let place = self.worst(|entry| among(entry) && unassured(entry), crowd);
        let place = place.or_else(|| {
            let may_go = |entry: &Entry| {
                let is_idle = now.since(entry.last_seen) >= IDLE_MIN;
                let has_more = self.places_of(entry.peer()) > places.saturating_add(1);
                among(entry) && is_idle && (entry.peer() == peer || has_more)
            };
            self.worst(may_go, |entry| self.places_of(entry.peer()))
        });
        Some((place?, Some(EndReason::Evicted)))
    }

    /// Of those that may go, one in the largest crowd, and of these the one silent for longest.
    fn worst(
        &self,
        may_go: impl Fn(&Entry) -> bool,
        crowd: impl Fn(&Entry) -> usize,
    ) -> Option<usize> {
        let candidates = self.flows().filter(|(_, entry)| may_go(entry));
        let worst = candidates.max_by_key(|(_, entry)| {
            let silent = core::cmp::Reverse(entry.last_seen);
            (crowd(entry), silent)
        });
        worst.map(|(place, _)| place)
    }

    fn places_of(&self, peer: PeerId) -> usize {
        self.count(|entry| entry.peer() == peer)
    }

    fn count(&self, which: impl Fn(&Entry) -> bool) -> usize {
        self.flows().filter(|(_, entry)| which(entry)).count()
    }
}

#[cfg(test)]
mod tests;
