//! The packet filter: rules, and what lanes ask instead of them.

// What is written.
mod rule;
pub use rule::{Action, Direction, IcmpType, PortRange, Protocol, Rule, RulePeers};

// What is asked, about what.
mod subject;
pub use subject::Subject;
mod axis;
mod compiled;
pub use compiled::{Filter, RuleId, Verdict};
mod tally;
pub use tally::{RuleCounts, Tally};
