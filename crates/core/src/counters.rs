//! Counters that a lane or the control loop keeps.
//! HOT

use core::sync::atomic::{AtomicU64, Ordering};

use crate::DropReason;

/// One thread's counters. Each thread has its own, so that no cache line travels; `status` adds
/// them up.
#[derive(Debug)]
pub struct Counters {
    drops: [AtomicU64; DropReason::COUNT],
    /// Superpackets read from the overlay.
    pub outbound_superpackets: AtomicU64,
    /// Segments sealed and handed to the underlay.
    pub outbound_segments: AtomicU64,
    /// Datagrams received from the underlay.
    pub inbound_datagrams: AtomicU64,
    /// Superpackets written to the overlay.
    pub inbound_superpackets: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            drops: [const { AtomicU64::new(0) }; DropReason::COUNT],
            outbound_superpackets: AtomicU64::new(0),
            outbound_segments: AtomicU64::new(0),
            inbound_datagrams: AtomicU64::new(0),
            inbound_superpackets: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// A packet died.
    pub fn count(&self, reason: DropReason) {
        self.count_many(reason, 1);
    }

    /// Several packets died of the same.
    #[expect(clippy::indexing_slicing, reason = "there is a place for every reason")]
    pub fn count_many(&self, reason: DropReason, count: u64) {
        self.drops[reason as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// How many packets died of `reason`.
    #[expect(clippy::indexing_slicing, reason = "there is a place for every reason")]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].load(Ordering::Relaxed)
    }
}
