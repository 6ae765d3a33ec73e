//! Whole gateways in virtual time: packets go in at one overlay and come out at another, by the
//! same functions that the engine's lanes call.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use weapon_noise::Backend;

#[path = "../../../noise/tests/cipher/mod.rs"]
mod cipher;
#[path = "../../../noise/tests/session/network.rs"]
mod network;
mod packets;
mod site;
mod world;

mod change;
mod changes;
mod ecn;
mod examine;
mod failing;
mod filter;
mod happenings;
mod indices;
mod key_log;
mod lifecycle;
mod load;
mod mapping;
mod names;
mod opened;
mod padding;
mod recordings;
mod routing;
mod runs;
mod service;
mod silence;
mod superpackets;
mod timers;
mod wakeups;
