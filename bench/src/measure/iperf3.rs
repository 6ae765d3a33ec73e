//! iperf3: one server that serves once, one client, and what they say.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::lab::{Lab, Process, Side, output};

/// The port that iperf3 listens on.
const PORT: &str = "5201";
/// How much longer than its traffic a run may take. Under overload its control connection suffers.
const PATIENCE_SECONDS: u32 = 12;

/// Host A as client and host B, under this address, as its server.
pub(super) struct Session {
    server: Process,
    client: Command,
}

impl Session {
    /// Starts the server and prepares the client; both are ended if they hang.
    pub(super) fn new(lab: &Lab, server_address: &str, seconds: u32) -> Result<Self> {
        let patience = (seconds + PATIENCE_SECONDS).to_string();
        let mut serve = lab.command(Side::B, "timeout");
        serve.args([&patience, "iperf3", "--server", "--one-off"]);
        serve.args(["--port", PORT, "--bind", server_address]);
        let server = lab.start(serve.stdout(Stdio::null()).stderr(Stdio::null()))?;
        wait_until_listening(server.id())?;
        let mut client = lab.command(Side::A, "timeout");
        client.args([&patience, "iperf3", "--client", server_address]);
        client.args(["--port", PORT, "--json", "--time", &seconds.to_string()]);
        Ok(Self { server, client })
    }

    /// Adds arguments for the client.
    pub(super) fn arguments<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        self.client.args(words);
    }

    /// Runs the client to its end; what it printed.
    pub(super) fn run(mut self) -> Result<String> {
        let text = output(&mut self.client)?;
        self.wait()?;
        Ok(text)
    }

    /// Starts the client; what it prints goes to a file.
    pub(super) fn start(mut self, lab: &Lab, file: std::fs::File) -> Result<Running> {
        let client = lab.start(self.client.stdout(file).stderr(Stdio::null()))?;
        Ok(Running {
            client,
            server: self.server,
        })
    }

    fn wait(&mut self) -> Result<()> {
        wait_for_end(&mut self.server, 1)
    }
}

/// A client that runs beside something else.
pub(super) struct Running {
    client: Process,
    server: Process,
}

impl Running {
    /// Waits for its end.
    pub(super) fn wait(mut self, seconds: u32) -> Result<()> {
        wait_for_end(&mut self.client, seconds + PATIENCE_SECONDS)?;
        wait_for_end(&mut self.server, 1)
    }
}

/// What does not end by itself is ended when it is dropped.
fn wait_for_end(process: &mut Process, seconds: u32) -> Result<()> {
    for _ in 0..seconds * 100 {
        if process.has_ended()? {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// What a TCP client says of a whole transfer.
#[derive(Debug)]
pub(super) struct TcpReport {
    pub(super) bits_per_second: f64,
    pub(super) bytes: f64,
    pub(super) retransmits: u64,
}

impl TcpReport {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let end = end_of(text)?;
        let bytes = number(&end, "sum_received", "bytes")?;
        ensure!(bytes > 0.0, "nothing arrived");
        Ok(Self {
            bits_per_second: number(&end, "sum_received", "bits_per_second")?,
            bytes,
            retransmits: end["sum_sent"]["retransmits"].as_u64().unwrap_or(0),
        })
    }
}

/// What a UDP client says: of sending itself, of receiving what the server told it.
#[derive(Debug)]
pub(super) struct UdpReport {
    pub(super) packets_sent: f64,
    pub(super) packets_delivered: f64,
    pub(super) seconds: f64,
}

impl UdpReport {
    /// Reads a run with packets of `payload_bytes`. What arrived is counted by its bytes: the
    /// number of lost packets that iperf3 prints leaves out those lost after the last that arrived.
    pub(super) fn parse(text: &str, payload_bytes: u32) -> Result<Self> {
        let end = end_of(text)?;
        let packets_sent = number(&end, "sum_sent", "packets")?;
        let seconds = number(&end, "sum_received", "seconds")?;
        ensure!(packets_sent > 0.0 && seconds > 0.0, "nothing was sent");
        Ok(Self {
            packets_sent,
            packets_delivered: number(&end, "sum_received", "bytes")? / f64::from(payload_bytes),
            seconds,
        })
    }
}

fn end_of(text: &str) -> Result<Value> {
    let mut report: Value = serde_json::from_str(text)?;
    if let Some(error) = report["error"].as_str() {
        bail!("iperf3: {error}");
    }
    Ok(report["end"].take())
}

fn number(end: &Value, section: &str, key: &str) -> Result<f64> {
    end[section][key]
        .as_f64()
        .with_context(|| format!("iperf3 printed no end.{section}.{key}"))
}

/// Waits until a process has a listening socket on iperf3's port, in its own namespace.
fn wait_until_listening(id: u32) -> Result<()> {
    for _ in 0..200 {
        let tables = ["tcp", "tcp6"].map(|name| format!("/proc/{id}/net/{name}"));
        let mut tables = tables.into_iter().flat_map(std::fs::read_to_string);
        if tables.any(|table| is_listening(&table)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("iperf3 does not listen on port {PORT} within 2 s")
}

/// Local address, remote address, state: 5201 is 1451 in hexadecimal, 0A is LISTEN.
fn is_listening(table: &str) -> bool {
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().is_some_and(|local| local.ends_with(":1451"));
        local && fields.nth(1) == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_iperf3_says_of_tcp_is_read_and_its_errors_are_errors() {
        let text = r#"{"end":{"sum_sent":{"retransmits":3},
            "sum_received":{"bytes":1000,"bits_per_second":8e3}}}"#;
        let report = TcpReport::parse(text).unwrap();
        assert_eq!((report.bytes, report.retransmits), (1000.0, 3));
        assert!(TcpReport::parse(r#"{"error":"unable to connect"}"#).is_err());
        assert!(TcpReport::parse(r#"{"end":{"sum_received":{"bytes":0}}}"#).is_err());
    }

    #[test]
    fn packets_lost_at_the_end_count_as_lost() {
        // 1000 sent, the server saw number 900 as its last, 10 of those were missing.
        let text = r#"{"end":{"sum":{"lost_packets":10},
            "sum_sent":{"packets":1000},
            "sum_received":{"bytes":56960,"packets":900,"lost_packets":10,"seconds":2.0}}}"#;
        let report = UdpReport::parse(text, 64).unwrap();
        assert_eq!(report.packets_sent, 1000.0);
        assert_eq!(report.packets_delivered, 890.0);
        assert_eq!(report.seconds, 2.0);
        assert!(UdpReport::parse(r#"{"end":{}}"#, 64).is_err());
    }

    #[test]
    fn a_listening_socket_is_told_from_a_connected_one() {
        let line = |state: &str| format!("  0: 0100007F:1451 00000000:0000 {state} 00000000\n");
        assert!(is_listening(&line("0A")));
        assert!(!is_listening(&line("01")));
        assert!(!is_listening(
            "  0: 0100007F:1452 00000000:0000 0A 00000000\n"
        ));
    }
}
