//! Round trips: of the idle tunnel, and beside a TCP stream that fills it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::Plan;
use super::iperf3::{Session, TcpReport};
use crate::contender::Tunnel;
use crate::lab::{Lab, Side, output};
use crate::statistics::percentile;

/// Pings of the idle tunnel, and the pause between them.
const IDLE: (u32, Duration) = (500, Duration::from_millis(2));
/// The pause between pings beside a stream: seldom enough to change nothing.
const LOADED_PAUSE: Duration = Duration::from_millis(5);
/// What a stream is given to fill the tunnel before the first ping, and what it outlives the last.
const MARGIN_SECONDS: u32 = 1;

/// Times of many pings.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RoundTrip {
    pub(crate) p50_microseconds: f64,
    pub(crate) p99_microseconds: f64,
    pub(crate) sent: usize,
    pub(crate) lost: usize,
}

/// Of a tunnel that carries nothing else.
pub(super) fn idle(lab: &Lab, tunnel: &Tunnel) -> Result<RoundTrip> {
    let (count, pause) = IDLE;
    ping(lab, tunnel, count, pause)
}

/// Beside one TCP stream in the same direction.
pub(super) fn loaded(lab: &Lab, tunnel: &Tunnel, plan: &Plan) -> Result<RoundTrip> {
    let seconds = plan.seconds + 2 * MARGIN_SECONDS;
    let mut session = Session::new(lab, tunnel.address(Side::B), seconds)?;
    session.arguments(["--congestion", "cubic"]);
    let path = lab.folder().join("stream.json");
    let stream = session.start(lab, std::fs::File::create(&path)?)?;
    std::thread::sleep(Duration::from_secs(MARGIN_SECONDS.into()));
    let count = plan.seconds * 1000 / LOADED_PAUSE.as_millis() as u32;
    let round_trip = ping(lab, tunnel, count, LOADED_PAUSE)?;
    stream.wait(seconds)?;
    TcpReport::parse(&std::fs::read_to_string(&path)?).context("the stream beside the pings")?;
    Ok(round_trip)
}

fn ping(lab: &Lab, tunnel: &Tunnel, count: u32, pause: Duration) -> Result<RoundTrip> {
    let mut ping = lab.command(Side::A, "ping");
    ping.args(["-n", "-i", &pause.as_secs_f64().to_string()]);
    ping.args(["-c", &count.to_string(), "-W", "1", tunnel.address(Side::B)]);
    of_times(ping_times(&output(&mut ping)?), count as usize)
}

fn of_times(mut times: Vec<f64>, sent: usize) -> Result<RoundTrip> {
    ensure!(!times.is_empty(), "ping printed no times");
    times.sort_by(f64::total_cmp);
    Ok(RoundTrip {
        p50_microseconds: percentile(&times, 50),
        p99_microseconds: percentile(&times, 99),
        sent,
        lost: sent.saturating_sub(times.len()),
    })
}

/// The times that `ping` printed, in microseconds.
fn ping_times(text: &str) -> Vec<f64> {
    text.lines()
        .filter_map(|line| {
            line.split_once("time=")?
                .1
                .strip_suffix(" ms")?
                .parse::<f64>()
                .ok()
        })
        .map(|milliseconds| milliseconds * 1000.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_ping() {
        let text = "PING 10.99.0.2 (10.99.0.2) 56(84) bytes of data.\n\
                    64 bytes from 10.99.0.2: icmp_seq=1 ttl=64 time=0.250 ms\n\
                    64 bytes from 10.99.0.2: icmp_seq=2 ttl=64 time=1.5 ms\n\n\
                    rtt min/avg/max/mdev = 0.2/0.3/1.5/0.1 ms\n";
        assert_eq!(ping_times(text), [250.0, 1500.0]);
    }

    #[test]
    fn what_did_not_come_back_is_lost() {
        let round_trip = of_times(vec![3.0, 1.0, 2.0], 5).unwrap();
        assert_eq!((round_trip.sent, round_trip.lost), (5, 2));
        assert_eq!(round_trip.p50_microseconds, 2.0);
        assert_eq!(round_trip.p99_microseconds, 3.0);
        assert!(of_times(vec![], 5).is_err());
    }
}
