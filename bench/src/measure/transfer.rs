//! TCP: how much arrives, and what it costs the processors.

use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use super::Plan;
use super::iperf3::{Session, TcpReport};
use crate::contender::Tunnel;
use crate::lab::{Lab, Side};
use crate::machine::{self, ProcessorTime};

/// A way to fill the tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    /// One stream from A to B.
    Forward,
    /// One stream from B to A.
    Reverse,
    /// Four streams from A to B.
    ForwardFour,
    /// Four streams from B to A.
    ReverseFour,
    /// One stream from A to B, congestion control by BBR.
    Bbr,
    /// One stream from A to B over IPv6 in the tunnel.
    Ipv6,
    /// One stream from A to B, the link between the hosts without its offloads.
    OffloadsOff,
}

impl Way {
    fn streams(self) -> &'static str {
        match self {
            Self::ForwardFour | Self::ReverseFour => "4",
            _ => "1",
        }
    }

    fn congestion(self) -> &'static str {
        match self {
            Self::Bbr => "bbr",
            _ => "cubic",
        }
    }

    fn is_reverse(self) -> bool {
        matches!(self, Self::Reverse | Self::ReverseFour)
    }
}

/// What a transfer gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Transfer {
    /// Payload that arrived, per second.
    pub(crate) bits_per_second: f64,
    pub(crate) bytes: f64,
    pub(crate) retransmits: u64,
    /// Of all processors, less the idle load; this contains sender and receiver of the payload.
    pub(crate) system_seconds: f64,
    /// Of both ends of the tunnel.
    pub(crate) process_seconds: f64,
    /// Of other guests on the same hardware; much of it makes a round worthless.
    pub(crate) stolen_seconds: f64,
}

impl Transfer {
    /// Processor seconds of the whole system per 10^9 bytes.
    pub(crate) fn system_seconds_per_gigabyte(&self) -> f64 {
        self.system_seconds / (self.bytes / 1e9)
    }

    /// Processor seconds of both ends of the tunnel per 10^9 bytes.
    pub(crate) fn process_seconds_per_gigabyte(&self) -> f64 {
        self.process_seconds / (self.bytes / 1e9)
    }
}

/// Fills the tunnel one way.
pub(super) fn transfer(lab: &Lab, tunnel: &Tunnel, plan: &Plan, way: Way) -> Result<Transfer> {
    let address = match way {
        Way::Ipv6 => tunnel.address_ipv6(Side::B),
        _ => tunnel.address(Side::B),
    };
    let mut session = Session::new(lab, address, plan.seconds)?;
    session.arguments(["--congestion", way.congestion()]);
    session.arguments(["--parallel", way.streams()]);
    session.arguments(way.is_reverse().then_some("--reverse"));
    let ids = tunnel.process_ids();
    let processes = machine::seconds_of_processes(&ids)?;
    let (before, start) = (ProcessorTime::read()?, Instant::now());
    let text = session.run()?;
    let after = ProcessorTime::read()?;
    // What others do besides may end at any time, so of a busy machine nothing is taken off.
    let idle = if plan.was_idle() {
        plan.idle_load * start.elapsed().as_secs_f64()
    } else {
        0.0
    };
    let process_seconds = machine::seconds_of_processes(&ids)? - processes;
    let report = TcpReport::parse(&text).with_context(|| format!("{way:?}"))?;
    Ok(Transfer {
        bits_per_second: report.bits_per_second,
        bytes: report.bytes,
        retransmits: report.retransmits,
        system_seconds: (after.busy_since(&before) - idle).max(0.0),
        process_seconds,
        stolen_seconds: after.stolen_since(&before),
    })
}
