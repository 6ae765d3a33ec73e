//! What is set on the system for what lies behind us: forwarding, the firewall, Docker's rules.
//!
//! What is wanted is a list of steps; the same list is shown, done, checked and undone. What is
//! done stands in a journal before it is done, so that it is found after a kill.

// What is wanted.
mod steps;
mod wanted;

// The kinds of steps.
mod docker;
mod firewalld;
mod forwarding;
mod iptables;
mod kill_switch;
mod name_servers;
mod policies;
mod table;
mod ufw;

// What is there, and what was.
mod journal;
mod surroundings;

// Doing and undoing it.
mod keeper;
mod leftovers;

pub use forwarding::Parameters;
pub use keeper::Keeper;
pub use leftovers::{Leftovers, clear};
pub use steps::{Device, Step, StepReport, SystemReport, planned};
pub use surroundings::Surroundings;
pub use wanted::Wanted;
