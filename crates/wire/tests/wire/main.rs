//! Tests of weapon-wire through its public interface, with etherparse as second implementation.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod packets;

mod ecn;
mod flow;
mod hostile;
mod icmp;
mod merge;
mod message;
mod piece;
mod rewrite;
mod split;
