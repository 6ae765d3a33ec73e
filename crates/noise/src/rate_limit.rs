//! How many handshake messages one source may cost us under load (paper §5.3).

use core::{net::IpAddr, time::Duration};
use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Tick,
    protocol::{RATE_LIMIT_BURST, RATE_LIMIT_PER_SECOND},
};

/// Sources remembered at once: more than one core can answer handshakes in the second that an
/// entry lives, and some 2 MB at the worst.
pub const RATE_LIMIT_ENTRIES_MAX: usize = 16_384;

/// An entry that was not used for this long is as good as none: its bucket is full again.
const ENTRY_TIME: Duration = Duration::from_secs(1);
/// What one message costs.
const COST: Duration = Duration::from_nanos(1_000_000_000 / RATE_LIMIT_PER_SECOND as u64);
/// What a bucket holds.
const FULL: Duration = COST.saturating_mul(RATE_LIMIT_BURST);

/// What is limited together: an IPv4 address, or the /64 that one IPv6 host can pick from at will.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    V4(u32),
    V6(u64),
}

impl Origin {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

struct Bucket {
    tokens: Duration,
    used: Tick,
}

/// A token bucket for each source.
#[derive(Default)]
pub struct RateLimiter {
    buckets: BTreeMap<Origin, Bucket>,
    /// The same entries in the order of their last use, the oldest first.
    by_use: BTreeSet<(Tick, Origin)>,
}

impl RateLimiter {
    /// A limiter that has seen nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `from` may cost us one more handshake message now. A full table refuses who is new.
    pub fn allow(&mut self, from: IpAddr, now: Tick) -> bool {
        self.expire(now);
        let origin = Origin::of(from);
        if let Some(bucket) = self.buckets.get_mut(&origin) {
            self.by_use.remove(&(bucket.used, origin));
            let now = now.max(bucket.used);
            bucket.tokens = FULL.min(bucket.tokens + now.since(bucket.used));
            bucket.used = now;
            self.by_use.insert((now, origin));
            let left = bucket.tokens.checked_sub(COST);
            bucket.tokens = left.unwrap_or(bucket.tokens);
            return left.is_some();
        }
        if self.buckets.len() >= RATE_LIMIT_ENTRIES_MAX {
            return false;
        }
        self.buckets.insert(
            origin,
            Bucket {
                tokens: FULL - COST,
                used: now,
            },
        );
        self.by_use.insert((now, origin));
        true
    }

    /// Sources remembered.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether no source is remembered.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    fn expire(&mut self, now: Tick) {
        while let Some(&(used, origin)) = self.by_use.first() {
            if now.since(used) < ENTRY_TIME {
                return;
            }
            self.by_use.remove(&(used, origin));
            self.buckets.remove(&origin);
        }
    }
}
