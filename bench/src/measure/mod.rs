//! One contender, one round: what is measured, and what it gave.

pub(crate) mod handshakes;
mod iperf3;
mod round_trip;
pub(crate) mod search;
pub(crate) mod transfer;
pub(crate) mod udp;

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::contender::{Contender, Programs, Tunnel};
use crate::lab::Lab;
use crate::{machine, offloads};
use handshakes::{Crowd, Handshakes};
use round_trip::RoundTrip;
use transfer::{Transfer, Way};
use udp::UdpRate;

/// What is the same for all.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plan {
    /// How long each transfer lasts.
    pub(crate) seconds: u32,
    /// Trials of one search for a rate of UDP packets.
    pub(crate) udp_trials_max: usize,
    /// Processors busy before the first round; this share is taken off, if it is small.
    pub(crate) idle_load: f64,
}

/// More busy processors than this before the first round, and the figures mean little.
const IDLE_LOAD_MAX: f64 = 0.1;

impl Plan {
    /// Whether the machine did nothing else before the first round.
    pub(crate) fn was_idle(&self) -> bool {
        self.idle_load <= IDLE_LOAD_MAX
    }
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    /// Round trip, idle and beside a TCP stream.
    Rtt,
    /// TCP with cubic, one and four streams, both directions; processor time per gigabyte.
    Tcp,
    /// TCP with BBR, one stream.
    Bbr,
    /// TCP over IPv6 in the tunnel, one stream.
    Ipv6,
    /// UDP packets per second with next to no loss, small and large ones.
    Udp,
    /// TCP, one stream, the link between the hosts without its offloads.
    Plain,
    /// Handshakes accepted per second.
    Handshakes,
}

impl Group {
    /// All, in the order in which they are measured.
    pub(crate) const ALL: [Self; 7] = [
        Self::Rtt,
        Self::Tcp,
        Self::Bbr,
        Self::Ipv6,
        Self::Udp,
        Self::Plain,
        Self::Handshakes,
    ];

    /// Whether it is measured in each round, or in every other one, to save time.
    pub(crate) fn is_in_each_round(self) -> bool {
        matches!(self, Self::Rtt | Self::Tcp | Self::Udp)
    }
}

/// What one round of one contender gave; what was not measured is not there.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Sample {
    pub(crate) tcp: BTreeMap<Way, Transfer>,
    pub(crate) udp: Vec<UdpRate>,
    pub(crate) round_trip_idle: Option<RoundTrip>,
    pub(crate) round_trip_loaded: Option<RoundTrip>,
    /// The most memory an end had while TCP and UDP were measured; none without a tunnel.
    pub(crate) memory_bytes_max: Option<u64>,
    pub(crate) handshakes: Option<Handshakes>,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (way, transfer) in &self.tcp {
            parts.push(format!(
                "{way:?} {:.2} Gbit/s",
                transfer.bits_per_second / 1e9
            ));
        }
        for rate in &self.udp {
            let thousands = rate.packets_per_second.unwrap_or(0.0) / 1e3;
            parts.push(format!("UDP {} {thousands:.1} k/s", rate.payload_bytes));
        }
        for (name, round_trip) in [
            ("idle", &self.round_trip_idle),
            ("loaded", &self.round_trip_loaded),
        ] {
            if let Some(RoundTrip {
                p50_microseconds: p50,
                p99_microseconds: p99,
                ..
            }) = round_trip
            {
                parts.push(format!("round trip {name} {p50:.0}/{p99:.0} µs"));
            }
        }
        if let Some(handshakes) = &self.handshakes {
            let per_second = handshakes.accepted_per_second;
            parts.push(format!("{per_second:.0} handshakes/s"));
        }
        f.write_str(&parts.join(", "))
    }
}

/// Everything a measurement needs.
pub(crate) struct Bench<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) programs: &'a Programs,
    pub(crate) plan: &'a Plan,
    /// Who comes to shake hands, if that is measured.
    pub(crate) crowd: Option<&'a Crowd>,
}

impl Bench<'_> {
    /// Joins the hosts, measures, and takes the tunnel down again. What was measured before
    /// something failed is kept.
    pub(crate) fn round(
        &self,
        contender: Contender,
        groups: &[Group],
    ) -> (Sample, Option<anyhow::Error>) {
        let mut sample = Sample::default();
        let result = self.fill(&mut sample, contender, groups);
        (sample, result.err())
    }

    fn fill(&self, sample: &mut Sample, contender: Contender, groups: &[Group]) -> Result<()> {
        let is_chosen = |group: &&Group| **group != Group::Handshakes;
        if groups.iter().any(|group| is_chosen(&group)) {
            let tunnel = contender
                .join(self.lab, self.programs)
                .context("it does not run")?;
            for group in groups.iter().filter(is_chosen) {
                self.measure(sample, &tunnel, *group)
                    .with_context(|| format!("{group:?}"))?;
            }
            let ids = tunnel.process_ids().into_iter();
            sample.memory_bytes_max = ids.filter_map(machine::memory_bytes_max).max();
            tunnel.leave()?;
        }
        if let Some(crowd) = self.crowd.filter(|_| groups.contains(&Group::Handshakes)) {
            sample.handshakes = handshakes::measure(self.lab, contender, self.programs, crowd)
                .context("handshakes")?;
        }
        Ok(())
    }

    fn measure(&self, sample: &mut Sample, tunnel: &Tunnel, group: Group) -> Result<()> {
        let (lab, plan) = (self.lab, self.plan);
        let mut transfer = |way| -> Result<()> {
            let transfer = transfer::transfer(lab, tunnel, plan, way)?;
            sample.tcp.insert(way, transfer);
            Ok(())
        };
        match group {
            Group::Tcp => {
                let one = [Way::Forward, Way::Reverse];
                let four = [Way::ForwardFour, Way::ReverseFour];
                one.into_iter().chain(four).try_for_each(transfer)
            }
            Group::Bbr => transfer(Way::Bbr),
            Group::Ipv6 => transfer(Way::Ipv6),
            Group::Plain => offloads::without(lab, || transfer(Way::OffloadsOff)),
            Group::Rtt => {
                sample.round_trip_idle = Some(round_trip::idle(lab, tunnel)?);
                sample.round_trip_loaded = Some(round_trip::loaded(lab, tunnel, plan)?);
                Ok(())
            }
            Group::Udp => {
                for bytes in [udp::SMALL_BYTES, udp::LARGE_BYTES] {
                    sample.udp.push(udp::rate(lab, tunnel, plan, bytes)?);
                }
                Ok(())
            }
            Group::Handshakes => Ok(()),
        }
    }
}
