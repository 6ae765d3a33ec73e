//! UDP: the most packets per second that arrive with next to no loss.

use anyhow::Result;
use serde::Serialize;

use super::Plan;
use super::iperf3::{Session, UdpReport};
use super::search::{Search, Trial};
use crate::contender::Tunnel;
use crate::lab::{Lab, Side, interrupted};

/// Seconds of one trial.
const TRIAL_SECONDS: u32 = 1;

/// Payload of the small packets; with UDP and IPv4 headers 92 bytes.
pub(crate) const SMALL_BYTES: u32 = 64;
/// Payload of the large packets; with UDP and IPv4 headers 1400 bytes, which any MTU here takes.
pub(crate) const LARGE_BYTES: u32 = 1372;

/// What a search gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct UdpRate {
    pub(crate) payload_bytes: u32,
    /// The best trial that lost next to nothing, in packets per second; none lost so little at
    /// whatever rate was tried.
    pub(crate) packets_per_second: Option<f64>,
    pub(crate) trials: Vec<Trial>,
}

/// Searches for one size of packets. The first trial sends as fast as iperf3 can.
pub(super) fn rate(lab: &Lab, tunnel: &Tunnel, plan: &Plan, payload_bytes: u32) -> Result<UdpRate> {
    let mut search = Search::new(plan.udp_trials_max);
    while let Some(offered) = search.next_rate() {
        let trial = match trial(lab, tunnel, payload_bytes, offered) {
            Ok(trial) => trial,
            Err(error) if interrupted().is_some() => return Err(error),
            // Where the tunnel drowns, iperf3's own connection through it may drown too.
            Err(error) => {
                eprintln!("    a trial at {offered:?} packets/s failed: {error:#}");
                Trial::failed(offered)
            }
        };
        search.note(trial);
    }
    Ok(UdpRate {
        payload_bytes,
        packets_per_second: search.best().map(|trial| trial.delivered_per_second),
        trials: search.into_trials(),
    })
}

fn trial(lab: &Lab, tunnel: &Tunnel, payload_bytes: u32, offered: Option<f64>) -> Result<Trial> {
    // To iperf3, a rate of zero is no limit.
    let bits_per_second = offered.unwrap_or(0.0) * f64::from(payload_bytes) * 8.0;
    let mut session = Session::new(lab, tunnel.address(Side::B), TRIAL_SECONDS)?;
    session.arguments(["--udp", "--length", &payload_bytes.to_string()]);
    session.arguments(["--bitrate", &format!("{bits_per_second:.0}")]);
    let report = UdpReport::parse(&session.run()?, payload_bytes)?;
    Ok(Trial {
        offered_per_second: offered,
        delivered_per_second: report.packets_delivered / report.seconds,
        loss: (1.0 - report.packets_delivered / report.packets_sent).max(0.0),
    })
}
