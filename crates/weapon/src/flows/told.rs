//! What the gateway's process tells of flows: events, with the names that only it knows.

use serde::{Deserialize, Serialize};
use weapon_core::flows::Event;

/// Events that are told at once: some 40 KB.
pub const TOLD_MAX: usize = 64;

/// An event that was told at its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What has happened.
    pub event: Event,
    /// The name of its peer; empty if it is of none.
    pub peer: String,
    /// The name of the rule that has decided.
    pub rule: String,
}

/// Some events, in the order of their time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldFlows {
    /// The events.
    pub events: Vec<Told>,
    /// Events that found no room since the last ones were told.
    pub lost: u64,
}

/// What is wanted of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedFlows {
    /// Whether it is told that they begin, and not only that they end.
    pub starts: bool,
    /// Whether none may begin, from the first packet on.
    pub denies_new: bool,
}
