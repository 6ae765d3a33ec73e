#![forbid(unsafe_code)]
//! One peer's WireGuard tunnel, without I/O: handshake, cookies, keypairs, replay window, timers.
