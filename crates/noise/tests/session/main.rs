//! Two tunnels and a bad network in virtual time: what the protocol's sections on sessions, timers,
//! nonces and roaming demand.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use weapon_noise::Backend;

#[path = "../cipher/mod.rs"]
mod cipher;
mod network;
mod pair;

mod batches;
mod identity;
mod keypairs;
mod loss;
mod nonces;
mod rekey;
mod roaming;
mod timers;
