#![forbid(unsafe_code)]
//! A deterministic world for tests: the real gateways, in virtual time, on a network that does what
//! networks do, and a reference model that says what must come of it.
//!
//! Nothing here reads a clock, sleeps or starts a thread; all chance comes from one number. So a
//! month passes in seconds, and what happened once happens again.
//!
//! # How to read a story
//!
//! A failure prints the rule that was broken, the story, and the last events before it:
//!
//! ```text
//! at 31.353000 s: the tunnel from site 0 to site 1 is not back: 3 of 3 packets did not come out
//!
//! The story, with seed 7:
//! gateway 0 has an address of its own
//! gateway 1 is behind a symmetric NAT that forgets after 30 s
//! at 0.010 s  1 IPv4 packet(s) of 64 bytes from site 1 to site 0
//! at 1.000 s  gateway 0 is killed, and starts 50 ms later
//! at 1.050 s  all faults end, and sites send again: each to each
//! ```
//!
//! The story was made as short as it can be: each of its steps is needed for the failure. Times
//! count from the beginning. `site 1` is what lies behind `gateway 1`. Behind the last events
//! stands the story as an expression, to be kept in `tests/regressions.rs`.
//!
//! # How to run more
//!
//! ```console
//! $ cargo test -p weapon-sim    # 10 000 seeds, and all scenarios
//! $ WEAPON_SIM_SEEDS=1000000 cargo test --release -p weapon-sim --test seeds
//! $ WEAPON_SIM_FIRST=4711 WEAPON_SIM_SEEDS=1 cargo test -p weapon-sim --test seeds
//! ```
//!
//! The last line tells one story again.
//!
//! # What the model demands
//!
//! All along: no inner packet comes out twice, altered, at another site, with a source address that
//! is not its sender's, or from a peer that was removed; no payload is to be read on the wire; to
//! one peer an initiation goes each 5 s at most (P28); the counters of a session rise by one from
//! zero (P58, P59); a deadline that was handled is over; packets that wait for a session are
//! bounded (P34); no packet dies of what has no cause in that world. At the end: tunnels are back
//! in time, and then it is silent, and keys are erased. [`trial`] says what "in time" is.

/// What happens in a world.
mod step;
pub use step::Step;
mod story;
pub use story::{NatPlan, Place, Probes, Story};

// The world.
mod dice;
mod nat;
pub use nat::NatKind;
mod network;
pub use network::Line;
mod host;
mod packet;
mod site;
mod world;
pub use world::World;
mod happen;

// What must come of it.
mod model;
mod sabotage;
mod watch;
pub use sabotage::Sabotage;
pub use watch::Wire;
mod violation;
pub use violation::Violation;
pub mod trial;
pub use trial::{Tale, run, run_sabotaged};

// What is told of it.
mod failure;
mod history;
pub use failure::Failure;
