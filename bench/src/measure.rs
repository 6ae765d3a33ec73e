//! One contender, one round: round trip of the idle tunnel, then TCP one stream, then reverse.

use std::fmt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::contender::Tunnel;
use crate::lab::{Lab, Side, output};
use crate::machine::{self, ProcessorTime};

/// Pings per round, and the pause between them in seconds.
const PINGS: (u32, &str) = (500, "0.002");
/// The port that iperf3 listens on.
const PORT: &str = "5201";

/// What is the same for all.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Plan {
    /// How long each direction carries traffic.
    pub(crate) seconds: u32,
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

/// What one round of one contender gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) forward: Transfer,
    pub(crate) reverse: Transfer,
    pub(crate) round_trip: RoundTrip,
    /// The most memory an end had; none without a tunnel.
    pub(crate) memory_bytes_max: Option<u64>,
}

/// One TCP stream in one direction.
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

/// Round trip of the idle tunnel.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RoundTrip {
    pub(crate) p50_microseconds: f64,
    pub(crate) p99_microseconds: f64,
    pub(crate) lost: u32,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} Gbit/s forward, {:.2} Gbit/s reverse, {:.2} CPU s/GB, round trip {:.0} µs",
            self.forward.bits_per_second / 1e9,
            self.reverse.bits_per_second / 1e9,
            self.forward.system_seconds_per_gigabyte(),
            self.round_trip.p50_microseconds,
        )
    }
}

/// Measures a tunnel that is up.
pub(crate) fn measure(lab: &Lab, tunnel: &Tunnel, plan: &Plan) -> Result<Sample> {
    let round_trip = round_trip(lab, tunnel)?;
    let forward = transfer(lab, tunnel, plan, false)?;
    let reverse = transfer(lab, tunnel, plan, true)?;
    let memory = tunnel
        .process_ids()
        .into_iter()
        .filter_map(machine::memory_bytes_max)
        .max();
    Ok(Sample {
        forward,
        reverse,
        round_trip,
        memory_bytes_max: memory,
    })
}

fn round_trip(lab: &Lab, tunnel: &Tunnel) -> Result<RoundTrip> {
    let (count, pause) = PINGS;
    let mut ping = lab.command(Side::A, "ping");
    ping.args([
        "-n",
        "-i",
        pause,
        "-c",
        &count.to_string(),
        tunnel.address(Side::B),
    ]);
    let mut times = ping_times(&output(&mut ping)?);
    ensure!(!times.is_empty(), "ping printed no times");
    times.sort_by(f64::total_cmp);
    let lost = count - u32::try_from(times.len())?;
    let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
    Ok(RoundTrip {
        p50_microseconds: p50,
        p99_microseconds: p99,
        lost,
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

/// The smallest value that so many percent do not exceed; `sorted` is not empty.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

fn transfer(lab: &Lab, tunnel: &Tunnel, plan: &Plan, is_reverse: bool) -> Result<Transfer> {
    let mut serve = lab.command(Side::B, "iperf3");
    serve.args([
        "--server",
        "--one-off",
        "--port",
        PORT,
        "--bind",
        tunnel.address(Side::B),
    ]);
    let mut server = lab.start(serve.stdout(Stdio::null()).stderr(Stdio::null()))?;
    wait_until_listening(server.id())?;

    let mut client = lab.command(Side::A, "iperf3");
    client.args([
        "--client",
        tunnel.address(Side::B),
        "--port",
        PORT,
        "--json",
    ]);
    client.args(["--congestion", "cubic", "--time", &plan.seconds.to_string()]);
    if is_reverse {
        client.arg("--reverse");
    }
    let ids = tunnel.process_ids();
    let (start, system, processes) = (
        Instant::now(),
        ProcessorTime::read()?,
        machine::seconds_of_processes(&ids)?,
    );
    let text = output(&mut client)?;
    let system_after = ProcessorTime::read()?;
    // What others do besides may end at any time, so of a busy machine nothing is taken off.
    let idle = if plan.was_idle() {
        plan.idle_load * start.elapsed().as_secs_f64()
    } else {
        0.0
    };
    let process_seconds = machine::seconds_of_processes(&ids)? - processes;
    for _ in 0..100 {
        if server.has_ended()? {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }

    let received = Received::parse(&text).with_context(|| format!("iperf3 said: {text}"))?;
    Ok(Transfer {
        bits_per_second: received.bits_per_second,
        bytes: received.bytes,
        retransmits: received.retransmits,
        system_seconds: (system_after.busy - system.busy - idle).max(0.0),
        process_seconds,
        stolen_seconds: system_after.stolen - system.stolen,
    })
}

/// What iperf3 says of a whole transfer.
struct Received {
    bits_per_second: f64,
    bytes: f64,
    retransmits: u64,
}

impl Received {
    fn parse(text: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(text)?;
        if let Some(error) = report["error"].as_str() {
            bail!("iperf3: {error}");
        }
        let received = &report["end"]["sum_received"];
        let bytes = received["bytes"]
            .as_f64()
            .context("no end.sum_received.bytes")?;
        ensure!(bytes > 0.0, "nothing arrived");
        Ok(Self {
            bits_per_second: received["bits_per_second"]
                .as_f64()
                .context("no bits_per_second")?,
            bytes,
            retransmits: report["end"]["sum_sent"]["retransmits"]
                .as_u64()
                .unwrap_or(0),
        })
    }
}

/// Waits until a process has a listening socket on iperf3's port, in its own namespace.
fn wait_until_listening(id: u32) -> Result<()> {
    // Local address, remote address, state: 5201 is 1451 in hexadecimal, 0A is LISTEN.
    let is_listening = |table: String| {
        table.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next().is_some_and(|local| local.ends_with(":1451"));
            local && fields.nth(1) == Some("0A")
        })
    };
    for _ in 0..200 {
        let tables = ["tcp", "tcp6"].map(|name| format!("/proc/{id}/net/{name}"));
        if tables
            .into_iter()
            .flat_map(std::fs::read_to_string)
            .any(is_listening)
        {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("iperf3 does not listen on port {PORT} within 2 s")
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
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), 100.0);
        assert_eq!(percentile(&values, 99), 198.0);
        assert_eq!(percentile(&[7.0], 50), 7.0);
        assert_eq!(percentile(&[7.0], 99), 7.0);
    }

    #[test]
    fn what_iperf3_says_is_read_and_its_errors_are_errors() {
        let text = r#"{"end":{"sum_sent":{"retransmits":3},
            "sum_received":{"bytes":1000,"bits_per_second":8e3}}}"#;
        let received = Received::parse(text).unwrap();
        assert_eq!((received.bytes, received.retransmits), (1000.0, 3));
        assert!(Received::parse(r#"{"error":"unable to connect"}"#).is_err());
        assert!(Received::parse(r#"{"end":{"sum_received":{"bytes":0}}}"#).is_err());
    }
}
