//! HOT What each rule has decided: counted for as long as the gateway runs.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use super::Action;

/// What one rule, or the default, has decided.
#[derive(Debug, Default)]
pub struct Tally {
    /// Packets that it let pass: the first one of each flow, and those without a flow.
    pub allowed: AtomicU64,
    /// Packets that it let die.
    pub denied: AtomicU64,
    /// Denials that no event was made of, since the last one that was.
    pub(crate) suppressed: AtomicU64,
}

impl Tally {
    pub(crate) fn count(&self, action: Action, packets: u64) {
        let which = match action {
            Action::Allow => &self.allowed,
            Action::Deny => &self.denied,
        };
        which.fetch_add(packets, Relaxed);
    }
}

/// A rule's name and its counts at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleCounts {
    /// The rule's name.
    pub name: Arc<str>,
    /// What it does; the default's action where it is the default.
    pub action: Action,
    /// Packets that it let pass: the first one of each flow, and those without a flow.
    pub allowed: u64,
    /// Packets that it let die.
    pub denied: u64,
}
