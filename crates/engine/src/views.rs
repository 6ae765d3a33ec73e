//! What others may look at while the engine runs, without asking a thread.

use std::sync::Arc;

use weapon_core::{Fib, LatestDrop, LatestDrops, SharedFib, flows::EventQueue};

use crate::Engine;

impl Engine {
    /// What lanes read at this moment: the peers, and the rules and flows if there are such.
    pub fn fib(&self) -> Arc<Fib> {
        self.fib.load_full()
    }

    /// The latest packets that died, the newest first; and how many are not among them, as they
    /// died while somebody looked.
    pub fn latest_drops(&self) -> (Vec<LatestDrop>, u64) {
        LatestDrops::of_all(self.counters.iter().map(|counters| counters.latest()))
    }

    /// Where that is, for a thread that looks at it for longer than the engine lives.
    pub fn shared_fib(&self) -> &SharedFib {
        &self.fib
    }

    /// Flows that begin and end, and packets that are denied, for whoever opens the queue. It is
    /// the same one as long as the engine runs.
    pub fn flow_events(&self) -> &Arc<EventQueue> {
        &self.flow_events
    }
}
