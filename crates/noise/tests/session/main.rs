//! Two tunnels and a bad network in virtual time: what the protocol's sections on sessions, timers,
//! nonces and roaming demand.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod network;
mod pair;

mod identity;
mod keypairs;
mod loss;
mod nonces;
mod rekey;
mod roaming;
mod timers;
