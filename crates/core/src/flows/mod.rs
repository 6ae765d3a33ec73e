//! The flow table: what passes in both directions, remembered together.

// What a flow is, and how long it lives.
mod key;
pub(crate) use key::Key;
mod state;
pub use state::State;
pub(crate) use state::are_flags_absurd;
mod entry;
pub(crate) use entry::{Entry, Passage};

// Where flows are kept.
mod counts;
mod set;
pub use counts::FlowCounts;
mod table;
pub use table::{FLOWS_MAX, FlowTable, Page};
pub(crate) use table::{Outcome, Place};
mod fragments;
pub(crate) use fragments::{FragmentKey, Fragments, Known};

// What is told of them.
mod record;
pub use record::FlowRecord;
mod event;
pub use event::{EVENTS_MAX, EndReason, Event, EventKind, EventQueue};
mod denials;
pub(crate) use denials::Denials;
pub use denials::{DENIAL_SOURCES, DENIALS_OF_SOURCE_MAX};
