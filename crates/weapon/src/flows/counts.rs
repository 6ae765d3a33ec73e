//! What the gateway's process has counted of rules and flows, for metrics.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weapon_core::Checkpoint;
use weapon_engine::Engine;

use super::{RuleReport, report::rules};

/// Counts of the filter and of the flow table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterCounts {
    /// Whether rules decide; if not, flows are watched alone.
    pub enforced: bool,
    /// The rules in their order, and the default at the end.
    pub rules: Vec<RuleReport>,
    /// Flows in the table, those included whose time has just run out.
    pub flows: u64,
    /// Flows that there is room for.
    pub capacity: u64,
    /// Flows that have begun.
    pub begun: u64,
    /// Flows that are over, by the reason.
    pub ended: BTreeMap<String, u64>,
    /// Packets that would have begun a flow and found no place.
    pub refused: u64,
    /// Events of flows that found no room in their queue.
    pub events_lost: u64,
}

impl FilterCounts {
    /// Those of this moment; `None` if no flows are watched.
    pub fn of(engine: &Engine) -> Option<Self> {
        engine.fib().checkpoint.as_deref().map(Self::at)
    }

    fn at(checkpoint: &Checkpoint) -> Self {
        let flows = checkpoint.flows();
        let counts = flows.counts();
        let ended = counts.ended.into_iter();
        Self {
            enforced: checkpoint.enforces(),
            rules: rules(checkpoint.filter()),
            flows: flows.len() as u64,
            capacity: flows.capacity() as u64,
            begun: counts.begun,
            ended: ended
                .map(|(reason, count)| (reason.label().to_owned(), count))
                .collect(),
            refused: counts.refused,
            events_lost: flows.events().lost(),
        }
    }
}
