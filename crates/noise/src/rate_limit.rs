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
            bucket.tokens = FULL.min(bucket.tokens.saturating_add(now.since(bucket.used)));
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
                tokens: FULL.saturating_sub(COST),
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

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, Ipv6Addr};

    const fn ms(millis: u64) -> Tick {
        Tick::from_nanos(millis * 1_000_000)
    }

    /// The kernel's vector (`selftest/ratelimiter.c`): a pause in milliseconds, then the answer.
    const KERNEL: [(u64, bool); 11] = [
        (0, true),
        (0, true),
        (0, true),
        (0, true),
        (0, true),
        (0, false),
        (50, true),
        (0, false),
        (100, true),
        (0, true),
        (0, false),
    ];

    #[test]
    fn p71_kernel_vector_v4() {
        let mut limiter = RateLimiter::new();
        let from = IpAddr::from([8, 0, 0, 1]);
        let neighbour = IpAddr::from([8, 0, 0, 2]);
        let mut now = 1000;
        for (step, (pause, expected)) in KERNEL.into_iter().enumerate() {
            now += pause;
            assert_eq!(limiter.allow(from, ms(now)), expected, "step {step}");
            assert_eq!(
                limiter.allow(neighbour, ms(now)),
                expected,
                "neighbour, step {step}"
            );
        }
    }

    #[test]
    fn p71_kernel_vector_v6_is_per_64() {
        let mut limiter = RateLimiter::new();
        let host = |network: u64, host: u64| {
            IpAddr::V6(Ipv6Addr::from(
                (u128::from(network) << 64) | u128::from(host),
            ))
        };
        let mut now = 1000;
        for (step, (pause, expected)) in KERNEL.into_iter().enumerate() {
            now += pause;
            // Another address each time, the same /64: one bucket.
            let from = host(0x2001_0db8_0000_0001, step as u64);
            assert_eq!(limiter.allow(from, ms(now)), expected, "step {step}");
            let neighbour = host(0x2001_0db8_0000_0002, 1);
            assert_eq!(
                limiter.allow(neighbour, ms(now)),
                expected,
                "neighbour, step {step}"
            );
        }
        assert_eq!(limiter.len(), 2);
    }

    #[test]
    fn p71_v4_mapped_addresses_share_the_bucket_of_v4() {
        let mut limiter = RateLimiter::new();
        let plain = Ipv4Addr::new(192, 0, 2, 1);
        for _ in 0..RATE_LIMIT_BURST {
            assert!(limiter.allow(plain.into(), ms(1)));
        }
        assert!(!limiter.allow(plain.to_ipv6_mapped().into(), ms(1)));
    }

    #[test]
    fn p71_the_rate_is_twenty_a_second() {
        let mut limiter = RateLimiter::new();
        let from = IpAddr::from([192, 0, 2, 7]);
        let allowed = (0..10_000)
            .filter(|&now| limiter.allow(from, ms(now)))
            .count();
        assert_eq!(allowed, 5 + 199);
    }

    #[test]
    #[cfg_attr(miri, ignore = "an interpreter takes many minutes for so many entries")]
    fn p72_a_full_table_refuses_who_is_new_and_entries_age_out() {
        let mut limiter = RateLimiter::new();
        assert!(limiter.is_empty());
        let source = |n: usize| IpAddr::V4(Ipv4Addr::from_bits(n as u32));
        for n in 0..RATE_LIMIT_ENTRIES_MAX {
            assert!(limiter.allow(source(n), ms(5)));
        }
        assert!(!limiter.allow(source(RATE_LIMIT_ENTRIES_MAX), ms(6)));
        assert!(!limiter.is_empty());
        assert_eq!(limiter.len(), RATE_LIMIT_ENTRIES_MAX);
        // Who is known is served, and stays known for a second more.
        assert!(limiter.allow(source(0), ms(900)));
        assert!(!limiter.allow(source(RATE_LIMIT_ENTRIES_MAX), ms(1004)));
        assert!(limiter.allow(source(RATE_LIMIT_ENTRIES_MAX), ms(1005)));
        assert_eq!(limiter.len(), 2);
        assert_eq!(limiter.by_use.len(), 2);
    }

    #[test]
    fn a_clock_that_stands_or_steps_back_grants_nothing() {
        let mut limiter = RateLimiter::new();
        let from = IpAddr::from([192, 0, 2, 9]);
        for _ in 0..RATE_LIMIT_BURST {
            assert!(limiter.allow(from, ms(500)));
        }
        assert!(!limiter.allow(from, ms(100)));
        assert!(!limiter.allow(from, ms(500)));
        assert_eq!(limiter.by_use.len(), limiter.len());
    }
}
