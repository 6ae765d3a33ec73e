//! A point on CLOCK_BOOTTIME, the clock of every age in the protocol: it counts through suspend.

use core::{ops::Add, time::Duration};

use serde::{Deserialize, Serialize};

/// Nanoseconds of CLOCK_BOOTTIME. Always an argument, never read here.
///
/// CLOCK_MONOTONIC (Rust's `Instant`) would stop while the machine sleeps and let a key outlive
/// REJECT_AFTER_TIME (kernel WireGuard uses `ktime_get_coarse_boottime_ns` for the same reason).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Tick(u64);

impl Tick {
    /// The tick `nanos` after boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` is later, so that no clock can cause a panic.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Tick {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p32_subtraction_saturates() {
        let early = Tick::from_nanos(5);
        let late = Tick::from_nanos(9);
        assert_eq!(late.since(early), Duration::from_nanos(4));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(
            Tick::from_nanos(u64::MAX) + Duration::from_secs(1),
            Tick::from_nanos(u64::MAX)
        );
    }
}
