#![forbid(unsafe_code)]
//! One peer's WireGuard tunnel, without I/O: handshake, cookies, keypairs, replay window, timers.
//!
//! Time and randomness are arguments. Source: "WireGuard: Next Generation Kernel Network Tunnel"
//! (J. A. Donenfeld, 2020 revision), cited as "paper" with its section.

mod tick;

pub use tick::Tick;
