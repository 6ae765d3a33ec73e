//! Which queue of the overlay a flow has.
//! HOT
//!
//! The kernel puts a packet into the queue through which the last packet of its flow was written,
//! in either direction, and a flow that nothing was written of into one by a secret hash
//! (`tun_automq_select_queue`, drivers/net/tun.c). So a flow keeps its queue, and its packets their
//! order, if what comes in is written through the queue that its other direction was read from.

use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// Flows are told apart by this many slots; two in one slot share a queue sooner or later.
const SLOTS: usize = 4096;

/// Nothing was read of this flow yet.
const UNKNOWN: u16 = u16::MAX;

/// What was read where last. Shared by all lanes.
pub(crate) struct Steering {
    queues: usize,
    slots: Box<[AtomicU16]>,
}

impl Steering {
    /// For a device with `queues` queues.
    pub(crate) fn new(queues: usize) -> Self {
        let slots = if queues > 1 { SLOTS } else { 0 };
        Self {
            queues,
            slots: (0..slots).map(|_| AtomicU16::new(UNKNOWN)).collect(),
        }
    }

    /// A packet of the flow was read from `queue`.
    pub(crate) fn note_read(&self, flow_hash: u32, queue: usize) {
        // Mostly it is known already: then the cache line stays with those who read it.
        if let Some(slot) = self.slot(flow_hash)
            && usize::from(slot.load(Relaxed)) != queue
        {
            slot.store(queue as u16, Relaxed);
        }
    }

    /// Through which queue a packet of the flow is to be written. Where there is only one, no hash
    /// is made.
    pub(crate) fn queue(&self, flow_hash: impl FnOnce() -> u32) -> usize {
        if self.slots.is_empty() {
            return 0;
        }
        let flow_hash = flow_hash();
        let Some(slot) = self.slot(flow_hash) else {
            return 0;
        };
        match slot.load(Relaxed) {
            // Other bits than those that choose the slot.
            UNKNOWN => (flow_hash >> 16) as usize % self.queues,
            queue => usize::from(queue),
        }
    }

    fn slot(&self, flow_hash: u32) -> Option<&AtomicU16> {
        self.slots.get(flow_hash as usize % SLOTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_written_where_it_was_read() {
        let steering = Steering::new(8);
        for hash in [0, 7, 1 << 20, u32::MAX] {
            assert!(steering.queue(|| hash) < 8);
            steering.note_read(hash, 5);
            assert_eq!(steering.queue(|| hash), 5);
        }
        steering.note_read(7, 2);
        assert_eq!((steering.queue(|| 7), steering.queue(|| 0)), (2, 5));
    }

    #[test]
    fn flows_that_were_never_read_spread() {
        let steering = Steering::new(8);
        let used: std::collections::BTreeSet<_> = (0..64_u32)
            .map(|flow| steering.queue(|| flow.wrapping_mul(0x9e37_79b9)))
            .collect();
        assert_eq!(used.len(), 8);
    }

    #[test]
    fn one_queue_takes_all() {
        let steering = Steering::new(1);
        steering.note_read(3, 0);
        assert_eq!(steering.queue(|| unreachable!("no hash is needed")), 0);
    }
}
