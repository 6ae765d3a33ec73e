//! Threads that give the gateway its packets, its clock and its randomness. Only loops, no
//! decisions: those are weapon-core's.

// The loops, in the order of the packet.
mod control;
mod doors;
mod lane;
mod lane_inbound;
mod lane_outbound;

// What connects them.
mod capture;
mod mailbox;
mod pulse;
mod socket_cell;
mod steering;
mod ways;

// What the binary starts and stops.
mod abort_on_panic;
mod engine;
pub use engine::{Engine, EngineConfig, Event, Stopped};
mod status;
pub use capture::{Capturing, Seen, Taken, Wants};
pub use mailbox::Waiting;
pub use status::{Batches, EngineStatus, ThreadStatus};
mod surroundings;
mod views;
pub use surroundings::{KernelEntropy, now};
