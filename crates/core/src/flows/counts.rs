//! HOT How many flows there were, and why they are over: counted for as long as the gateway runs.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::event::EndReason;

/// Counts of a flow table. Only what begins or ends a flow touches them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    begun: AtomicU64,
    ended: [AtomicU64; EndReason::ALL.len()],
    refused: AtomicU64,
}

/// What has become of flows up to one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowCounts {
    /// Flows that have begun.
    pub begun: u64,
    /// Flows that are over, by the reason: as many as [`EndReason::ALL`], in its order.
    pub ended: [(EndReason, u64); EndReason::ALL.len()],
    /// Packets that would have begun a flow and found no place.
    pub refused: u64,
}

impl Counts {
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self, reason: EndReason) {
        if let Some(ended) = self.ended.get(reason as usize) {
            ended.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn refuse(&self, packets: u64) {
        self.refused.fetch_add(packets, Relaxed);
    }

    /// How many flows there are: those that have begun and are not over.
    pub(super) fn there(&self) -> u64 {
        // In this order: one that begins and ends meanwhile is there rather than missing.
        let ended: u64 = self.ended.iter().map(|ended| ended.load(Relaxed)).sum();
        self.begun.load(Relaxed).saturating_sub(ended)
    }

    #[cold]
    pub(super) fn now(&self) -> FlowCounts {
        let mut ended = EndReason::ALL.map(|reason| (reason, 0));
        for ((_, count), there) in ended.iter_mut().zip(&self.ended) {
            *count = there.load(Relaxed);
        }
        FlowCounts {
            begun: self.begun.load(Relaxed),
            ended,
            refused: self.refused.load(Relaxed),
        }
    }
}
