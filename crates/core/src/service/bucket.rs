//! HOT A token bucket: how much may pass by now.
//!
//! It counts bytes in two sums, both from the start of the machine on: what was *granted*, which
//! grows with time alone, and what was *taken*. Their difference is what the bucket holds. What
//! would overflow it is taken by nobody, which is done when somebody comes: there is no timer.
//! Lanes share the one word that changes, and none waits for another.

use weapon_noise::Tick;

use super::RateLimit;
use crate::sync::{AtomicU64, Ordering};

/// Bits behind the point of bytes in a nanosecond. A rate is below what is asked for by less than
/// one byte in four seconds.
const POINT: u32 = 32;

/// Packets that want to pass together: those of a superpacket, or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amount {
    /// How many.
    pub(crate) packets: usize,
    /// Bytes of each but the last.
    pub(crate) len: usize,
    /// Bytes of the last, which is no longer.
    pub(crate) last: usize,
}

impl Amount {
    /// One packet.
    pub(crate) fn one(len: usize) -> Self {
        Self {
            packets: 1,
            len,
            last: len,
        }
    }

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> u64 {
        let before_last = self.packets.saturating_sub(1).saturating_mul(self.len);
        let total = before_last.saturating_add(self.last);
        if self.packets == 0 { 0 } else { total as u64 }
    }

    /// The first `packets` of them.
    pub(crate) fn first(self, packets: usize) -> Self {
        if packets >= self.packets {
            return self;
        }
        let last = self.len;
        Self {
            packets,
            last,
            ..self
        }
    }

    /// The first of them, as many as `bytes` hold.
    fn within(self, bytes: u64) -> Self {
        if self.bytes() <= bytes {
            return self;
        }
        let packets = bytes.checked_div(self.len as u64).unwrap_or(0);
        let before_last = self.packets.saturating_sub(1);
        self.first(before_last.min(usize::try_from(packets).unwrap_or(usize::MAX)))
    }
}

/// A limit, and what of it was taken.
#[derive(Debug)]
pub(crate) struct Bucket {
    limit: RateLimit,
    /// Bytes granted in a nanosecond, with [`POINT`] bits behind the point.
    bytes_per_nano: u64,
    taken: AtomicU64,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(limit: RateLimit) -> Self {
        let per_nano = (u128::from(limit.bytes_per_second) << POINT) / 1_000_000_000;
        Self {
            limit,
            bytes_per_nano: u64::try_from(per_nano).unwrap_or(u64::MAX),
            taken: AtomicU64::new(0),
        }
    }

    /// What it was made of.
    pub(crate) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Takes so many of `wanted` as there is room for, the first ones, and says how many. Where the
    /// clock stands still nothing is granted; who comes with an older time than another has less.
    pub(crate) fn take(&self, now: Tick, wanted: Amount) -> usize {
        let granted = self.granted(now);
        let overflown = granted.saturating_sub(self.limit.burst_bytes);
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            let before = taken.max(overflown);
            let passing = wanted.within(granted.saturating_sub(before));
            if passing.packets == 0 {
                return 0;
            }
            let after = before.saturating_add(passing.bytes());
            let swap = self.taken.compare_exchange_weak(
                taken,
                after,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match swap {
                Ok(_) => return passing.packets,
                Err(newer) => taken = newer,
            }
        }
    }

    /// Bytes that may pass at this moment.
    #[cold]
    pub(crate) fn room(&self, now: Tick) -> u64 {
        let untaken = self
            .granted(now)
            .saturating_sub(self.taken.load(Ordering::Relaxed));
        untaken.min(self.limit.burst_bytes)
    }

    /// All that was ever granted: a full bucket, and what came since the machine started. At
    /// 100 Gbit/s the sum has room for 46 years; then nothing is granted any more.
    fn granted(&self, now: Tick) -> u64 {
        // Two numbers of 64 bits have room in 128.
        let since = u128::from(now.as_nanos()).wrapping_mul(self.bytes_per_nano.into()) >> POINT;
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.limit.burst_bytes.saturating_add(since)
    }
}
