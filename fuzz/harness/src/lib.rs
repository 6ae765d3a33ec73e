#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "what fails here is a finding")]
//! What is done with inputs that nobody thought of. The fuzzer calls these functions with what it
//! makes up; `cargo test` calls them with what it found worth keeping, in `fuzz/corpora`.
//!
//! A function takes any bytes. It panics when something is not as it must be, and that is a
//! finding.

/// Fields taken from the fuzzer's bytes.
mod input;
/// Sums and headers by the plainest means.
mod plain;

/// Packets that nearly belong together.
mod series;

/// What is inside: IP, TCP, UDP and ICMP headers.
pub mod packets;

/// Superpackets, split and merged.
pub mod superpackets;

/// A cipher that copies and believes.
mod null_cipher;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "it does more for the tests of weapon-core"
)]
#[path = "../../../crates/core/tests/gateway/site.rs"]
mod site;

/// Datagrams and packets into whole gateways.
pub mod gateway;

/// Cookies and the rate limiter.
pub mod cookies;

/// Packets at a checkpoint.
pub mod filter;

/// What people and programs write.
pub mod texts;

/// A target's name, which is also that of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Audit logs, and what is done to them.
pub mod audit_log;

/// All targets whose inputs are bytes.
pub const TARGETS: [Target; 8] = [
    ("packets", packets::run),
    ("superpackets", superpackets::run),
    ("gateway", gateway::run),
    ("cookies", cookies::run),
    ("filter", filter::run),
    ("configuration", texts::configuration),
    ("request", texts::request),
    ("audit_log", audit_log::run),
];
