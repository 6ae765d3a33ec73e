//! Counters that a lane or the control loop keeps.
//! HOT

use core::sync::atomic::{AtomicU64, Ordering};

use weapon_noise::Tick;

use crate::{DropReason, Dropped, LatestDrops};

/// One thread's counters. Each thread has its own, so that no cache line travels; `status` adds
/// them up.
#[derive(Debug)]
pub struct Counters {
    drops: [AtomicU64; DropReason::COUNT],
    latest: LatestDrops,
    /// Superpackets read from the overlay.
    pub outbound_superpackets: AtomicU64,
    /// Segments sealed and handed to the underlay.
    pub outbound_segments: AtomicU64,
    /// Datagrams received from the underlay.
    pub inbound_datagrams: AtomicU64,
    /// Superpackets written to the overlay.
    pub inbound_superpackets: AtomicU64,
    /// Superpackets that were read of the overlay in one go.
    pub outbound_batches: Sizes,
    /// Datagrams that came in one receive call.
    pub inbound_batches: Sizes,
}

/// How often what was taken in one go had which size.
#[derive(Debug, Default)]
pub struct Sizes {
    counts: [AtomicU64; Self::CLASSES],
    sum: AtomicU64,
}

impl Sizes {
    /// Sizes up to 1, 2, 4 and so on to 1024, which is what a receive call takes at most.
    pub const CLASSES: usize = 11;

    /// Something of this size was taken. Nothing at all is not counted.
    #[expect(clippy::indexing_slicing, reason = "the class is bounded")]
    pub fn note(&self, size: u64) {
        if size == 0 {
            return;
        }
        // Of 1 it is 0, of 2 it is 1, of 3 and 4 it is 2.
        let class = u64::BITS.wrapping_sub(size.wrapping_sub(1).leading_zeros()) as usize;
        let class = class.min(Self::CLASSES.wrapping_sub(1));
        self.counts[class].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(size, Ordering::Relaxed);
    }

    /// How many there were of each class.
    pub fn counts(&self) -> [u64; Self::CLASSES] {
        core::array::from_fn(|class| {
            let count = self.counts.get(class);
            count.map_or(0, |count| count.load(Ordering::Relaxed))
        })
    }

    /// All sizes, added up.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            drops: [const { AtomicU64::new(0) }; DropReason::COUNT],
            latest: LatestDrops::default(),
            outbound_superpackets: AtomicU64::new(0),
            outbound_segments: AtomicU64::new(0),
            inbound_datagrams: AtomicU64::new(0),
            inbound_superpackets: AtomicU64::new(0),
            outbound_batches: Sizes::default(),
            inbound_batches: Sizes::default(),
        }
    }
}

impl Counters {
    /// A packet died, of which nothing more is known.
    pub(crate) fn count(&self, reason: DropReason) {
        self.count_many(reason, 1);
    }

    /// Several packets died of the same.
    #[expect(clippy::indexing_slicing, reason = "there is a place for every reason")]
    fn count_many(&self, reason: DropReason, count: u64) {
        self.drops[reason as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// So many packets died, all like this one: they are counted, and kept among the latest.
    #[cold]
    pub(crate) fn note(&self, dropped: Dropped, count: u64, now: Tick) {
        self.count_many(dropped.reason, count);
        self.latest.note(dropped, count, now);
    }

    /// The latest packets that died.
    pub fn latest(&self) -> &LatestDrops {
        &self.latest
    }

    /// How many packets died of `reason`.
    #[expect(clippy::indexing_slicing, reason = "there is a place for every reason")]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_up_to_powers_of_two() {
        let sizes = Sizes::default();
        for size in [
            0,
            1,
            2,
            3,
            4,
            5,
            8,
            9,
            1023,
            1024,
            1025,
            u64::from(u32::MAX),
        ] {
            sizes.note(size);
        }
        assert_eq!(sizes.counts(), [1, 1, 2, 2, 1, 0, 0, 0, 0, 0, 4]);
        let sum = 1 + 2 + 3 + 4 + 5 + 8 + 9 + 1023 + 1024 + 1025;
        assert_eq!(sizes.sum(), sum + u64::from(u32::MAX));
    }
}
