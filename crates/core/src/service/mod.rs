//! HOT What peers get of us: how much of theirs passes in each direction, and the mark of the
//! datagrams to them.
//!
//! Outbound is asked when a packet is about to be sealed, inbound when it was opened and the filter
//! has let it pass. What is too much dies at once: nothing waits here, and TCP slows down.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weapon_noise::Tick;

use crate::PeerId;

mod bucket;
pub(crate) use bucket::{Amount, Bucket};

/// How much may pass: never more than the burst and the rate's share of the time, whatever time is
/// looked at. Bytes are those of inner packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Bytes in a second, in the long run.
    pub bytes_per_second: u64,
    /// Bytes at once, after a rest.
    pub burst_bytes: u64,
}

/// What one peer gets.
#[derive(Debug)]
pub(crate) struct Service {
    /// DSCP of its datagrams, 0 to 63.
    pub(crate) dscp: u8,
    /// To the peer.
    pub(crate) outbound: Limits,
    /// From the peer.
    pub(crate) inbound: Limits,
}

/// The limits of one peer in one direction. All of them hold.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Its own, then those that it shares with the other members of its groups.
    pub(crate) buckets: Box<[GroupBucket]>,
    pub(crate) dropped: Arc<Excess>,
}

/// A bucket, and the group whose it is; none if it is one peer's alone.
#[derive(Clone, Debug)]
pub(crate) struct GroupBucket {
    pub(crate) group: Option<Arc<str>>,
    pub(crate) bucket: Arc<Bucket>,
}

/// What was too much.
#[derive(Debug, Default)]
pub(crate) struct Excess {
    pub(crate) packets: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl Service {
    /// What stands in the DS field of its datagrams beside ECN.
    #[inline]
    pub(crate) fn mark(&self) -> u8 {
        self.dscp << 2
    }
}

impl Limits {
    /// How many of `wanted` may pass, the first ones; the others are counted. A bucket is asked for
    /// what those before it let pass, as if one stood behind the other: what the last one refuses
    /// was taken from the first nevertheless.
    pub(crate) fn pass(&self, now: Tick, wanted: Amount) -> usize {
        let mut passing = wanted;
        for one in &self.buckets {
            passing = passing.first(one.bucket.take(now, passing));
            if passing.packets == 0 {
                break;
            }
        }
        if passing.packets != wanted.packets {
            self.note_dropped(wanted, passing);
        }
        passing.packets
    }

    /// The bucket with the least room, and how many bytes that is.
    #[cold]
    pub(crate) fn tightest(&self, now: Tick) -> Option<(&GroupBucket, u64)> {
        let rooms = self.buckets.iter().map(|one| (one, one.bucket.room(now)));
        rooms.min_by_key(|(_, room)| *room)
    }

    #[cold]
    fn note_dropped(&self, wanted: Amount, passing: Amount) {
        let packets = wanted.packets.saturating_sub(passing.packets) as u64;
        let bytes = wanted.bytes().saturating_sub(passing.bytes());
        self.dropped.packets.fetch_add(packets, Relaxed);
        self.dropped.bytes.fetch_add(bytes, Relaxed);
    }
}

/// The peers that get anything else than all others, as lanes look for them.
#[derive(Debug, Default)]
pub struct ServiceTable(Box<[(PeerId, Arc<Service>)]>);

impl ServiceTable {
    /// In any order, each peer once.
    #[cold]
    pub(crate) fn new(mut services: Vec<(PeerId, Arc<Service>)>) -> Self {
        services.sort_unstable_by_key(|(id, _)| *id);
        Self(services.into())
    }

    /// What the peer gets; `None` if that is what all others get.
    pub(crate) fn of(&self, peer: PeerId) -> Option<&Service> {
        let at = self.0.binary_search_by_key(&peer, |(id, _)| *id).ok()?;
        self.0.get(at).map(|(_, service)| &**service)
    }
}

#[cfg(test)]
mod tests;
