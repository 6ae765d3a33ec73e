//! HOT How many denials become events: so many a second of one source, and all that do not are
//! counted by their rule.
//!
//! Sources share [`DENIAL_SOURCES`] buckets by their hash, which nobody can foretell. So a host
//! that is denied thousands of times a second takes the events of few others, and a flood from
//! made-up sources makes so many events a second and no more. The counts are exact: what is denied
//! is an event or is suppressed, and each event of a rule takes along what was suppressed of it
//! before.

use core::{
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use weapon_noise::Tick;

use super::{
    event::{Event, EventKind, EventQueue},
    key::{mix, words},
};
use crate::{
    DropReason,
    filter::{Filter, Tally},
};

/// Buckets that sources share.
pub const DENIAL_SOURCES: usize = 128;

/// Events a second of a bucket: enough to see what is tried, few enough for a log.
pub const DENIALS_OF_SOURCE_MAX: u32 = 5;

/// What of the last second each bucket has used: the second, then how many events.
#[derive(Debug)]
pub(crate) struct Denials {
    buckets: [AtomicU64; DENIAL_SOURCES],
    seed: [u64; 2],
}

impl Denials {
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; DENIAL_SOURCES],
            seed,
        }
    }

    /// `event` is a denial of so many packets: it is told, or counted as suppressed.
    #[cold]
    pub(crate) fn tell(
        &self,
        mut event: Event,
        reason: DropReason,
        packets: u64,
        tally: &Tally,
        queue: &EventQueue,
    ) {
        if !queue.is_open() {
            return;
        }
        if !self.admits(event.source, event.at) {
            tally.suppressed.fetch_add(packets, Relaxed);
            return;
        }
        // A superpacket is one event, of its first packet.
        let others = packets.saturating_sub(1);
        let suppressed = tally.suppressed.swap(0, Relaxed).saturating_add(others);
        event.kind = EventKind::Deny { reason, suppressed };
        queue.offer(event);
    }

    /// Whether something was suppressed of which no event has told.
    #[cold]
    pub(crate) fn has_rest(&self, filter: &Filter) -> bool {
        let mut tallies = filter.ids().filter_map(|rule| filter.tally(rule));
        tallies.any(|tally| tally.suppressed.load(Relaxed) != 0)
    }

    /// Tells what was suppressed of rules of which no event has taken it along.
    #[cold]
    pub(crate) fn tell_rest(&self, filter: &Filter, at: Tick, mut tell: impl FnMut(Event)) {
        for rule in filter.ids() {
            let Some(tally) = filter.tally(rule) else {
                continue;
            };
            let suppressed = tally.suppressed.swap(0, Relaxed);
            if suppressed != 0 {
                tell(Event::of_rule(rule, EventKind::Suppressed(suppressed), at));
            }
        }
    }

    /// Whether the source has events left in this second. Two lanes that ask at the same moment
    /// may be told no both: what is not told is counted all the same.
    fn admits(&self, source: IpAddr, now: Tick) -> bool {
        let hash = mix([words(source); 2], (0, 0), self.seed);
        let Some(bucket) = self.buckets.get(hash as usize % DENIAL_SOURCES) else {
            return false;
        };
        let second = now.as_nanos() / 1_000_000_000;
        let before = bucket.load(Relaxed);
        let used = if before >> 32 == second & 0xffff_ffff {
            before as u32
        } else {
            0
        };
        if used >= DENIALS_OF_SOURCE_MAX {
            return false;
        }
        let after = second << 32 | u64::from(used.saturating_add(1));
        bucket
            .compare_exchange(before, after, Relaxed, Relaxed)
            .is_ok()
    }
}
