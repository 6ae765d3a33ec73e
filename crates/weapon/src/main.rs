//! A userspace WireGuard gateway for Linux.
fn main() {}
