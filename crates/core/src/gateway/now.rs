//! The time, as a gateway is told it.

use serde::{Deserialize, Serialize};
use weapon_noise::Tick;

/// The time, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// CLOCK_BOOTTIME, for every age.
    pub tick: Tick,
    /// CLOCK_REALTIME, for timestamps and for people.
    pub wall: WallTime,
}

/// A point on CLOCK_REALTIME.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WallTime {
    /// Seconds since 1970.
    pub seconds: u64,
    /// Nanoseconds of the second.
    pub nanos: u32,
}
