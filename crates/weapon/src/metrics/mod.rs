//! Metrics: OpenMetrics over HTTP, at an address that no other host reaches or at a unix socket.
//!
//! What each of them means stands in docs/metrics.md. A new group of them is a file here, with a
//! line in [`PARTS`].

use std::fmt;

// What is told, a file for each group.
mod audit;
mod drops;
mod flows;
mod gateway;
mod lanes;
mod peers;
mod rules;

// How it is written.
mod page;

// How it is read.
mod listener;
mod server;

use weapon_core::PeerStatus;
use weapon_engine::{ThreadStatus, Waiting};

pub use listener::{Metrics, Question};
use page::Page;

use crate::{flows::FilterCounts, report::Report};

/// All groups, in the order in which they are written.
const PARTS: [fn(&mut Page<'_>, &Scrape) -> fmt::Result; 7] = [
    gateway::write,
    lanes::write,
    drops::write,
    peers::write,
    rules::write,
    flows::write,
    audit::write,
];

/// A gateway at the moment when it was asked.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// What `weapon status` is told, with the warnings.
    pub report: Report,
    /// The peers.
    pub peers: Vec<PeerStatus>,
    /// What each thread has counted.
    pub threads: Vec<ThreadStatus>,
    /// What waits for the control loop.
    pub waiting: Waiting,
    /// What rules and flows have come to, if flows are watched.
    pub filter: Option<FilterCounts>,
    /// When the gateway was started, in seconds since 1970.
    pub started: u64,
}

#[cfg(test)]
mod tests;
