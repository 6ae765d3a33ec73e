//! The clocks and the randomness of this machine, as weapon-core wants them.

use weapon_core::{Now, WallTime};
use weapon_io::{clock, entropy};
use weapon_noise::{Entropy, EntropyNotReady, Tick};

/// The time.
pub fn now() -> Now {
    let (seconds, nanos) = clock::realtime();
    Now {
        tick: tick(),
        wall: WallTime { seconds, nanos },
    }
}

/// CLOCK_BOOTTIME alone, for lanes.
pub(crate) fn tick() -> Tick {
    Tick::from_nanos(clock::boottime_nanos())
}

/// Randomness of the kernel. Never waits for it: a machine that has none yet answers no handshake
/// (P104).
#[derive(Clone, Copy, Debug, Default)]
pub struct KernelEntropy;

impl Entropy for KernelEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyNotReady> {
        entropy::fill(out).map_err(|_| EntropyNotReady)
    }
}
