//! The latest drops for people.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use super::{DropReport, DropsReport};
use crate::{audit::moment::Moment, cli, status::amounts::plural};

/// Seconds of a time, without the fractions that are not known.
const TIME_LEN: usize = "0000-00-00T00:00:00".len();

/// Three lines for each: what died when, what that means, and what helps. Writing to a `String`
/// cannot fail.
pub fn describe(report: &DropsReport, colour: bool) -> String {
    let mut text = String::new();
    let paint = |text: &str, code: &str| cli::paint(text, code, colour);
    if report.drops.is_empty() {
        text.push_str("nothing has died since the gateway was started\n");
    }
    for drop in &report.drops {
        let reason = paint(&drop.reason, "31");
        let _ = writeln!(text, "{}  {reason}  {}", time(drop.last), packet(drop));
        let _ = writeln!(text, "    {}{}", drop.means, decided(drop));
        let _ = writeln!(text, "    {} {}", paint("to do:", "1"), drop.remedy);
    }
    if report.missed != 0 {
        let _ = writeln!(
            text,
            "{} died while somebody looked, and are counted only",
            plural(report.missed, "packet")
        );
    }
    text
}

fn time(seconds: u64) -> String {
    let moment = Moment {
        seconds,
        ..Moment::default()
    };
    let text = moment.text();
    format!("{}Z", text.get(..TIME_LEN).unwrap_or(&text))
}

/// What it was, in a line.
fn packet(drop: &DropReport) -> String {
    let mut text = drop.direction.clone();
    let preposition = if drop.direction == "inbound" {
        "from"
    } else {
        "to"
    };
    if let Some(peer) = &drop.peer {
        let _ = write!(text, " {preposition} {peer}");
    }
    match (&drop.protocol, drop.source, drop.destination) {
        (Some(protocol), Some(source), Some(destination)) => {
            let source = end(source, drop.source_port);
            let destination = end(destination, drop.destination_port);
            let _ = write!(text, ": {protocol} {source} -> {destination}");
            if let Some(kind) = drop.icmp_type {
                let _ = write!(text, " (type {kind})");
            }
        }
        _ => {
            if let Some(from) = drop.from {
                let _ = write!(text, ": a datagram of {from}");
            }
        }
    }
    if drop.count > 1 {
        let _ = write!(text, "; {} times since {}", drop.count, time(drop.first));
    }
    text
}

fn end(address: IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    }
}

fn decided(drop: &DropReport) -> String {
    match (&drop.rule, &drop.place) {
        (Some(rule), Some(place)) => format!("; here it was `{rule}`, {place}"),
        (Some(rule), None) => format!("; here it was `{rule}`"),
        (None, _) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop() -> DropReport {
        DropReport {
            reason: "denied".into(),
            means: "a rule denies it".into(),
            remedy: "write another".into(),
            count: 3,
            first: 1_800_000_000,
            last: 1_800_000_060,
            direction: "inbound".into(),
            peer: Some("site-b".into()),
            from: Some(([203, 0, 113, 7], 51_820).into()),
            protocol: Some("tcp".into()),
            source: Some([10, 0, 1, 6].into()),
            source_port: Some(50_000),
            destination: Some([10, 0, 0, 5].into()),
            destination_port: Some(22),
            icmp_type: None,
            rule: Some("web".into()),
            place: Some("a.toml:7:1: rule".into()),
        }
    }

    #[test]
    fn a_drop_is_three_lines() {
        let sealed = DropReport {
            reason: "forged".into(),
            count: 1,
            peer: None,
            protocol: None,
            source: None,
            destination: None,
            rule: None,
            place: None,
            ..drop()
        };
        let report = DropsReport {
            drops: vec![drop(), sealed],
            missed: 2,
        };
        let expected = "\
2027-01-15T08:01:00Z  denied  inbound from site-b: tcp 10.0.1.6:50000 -> 10.0.0.5:22; \
3 times since 2027-01-15T08:00:00Z
    a rule denies it; here it was `web`, a.toml:7:1: rule
    to do: write another
2027-01-15T08:01:00Z  forged  inbound: a datagram of 203.0.113.7:51820
    a rule denies it
    to do: write another
2 packets died while somebody looked, and are counted only
";
        assert_eq!(describe(&report, false), expected);
        assert!(describe(&report, true).contains("\x1b[31mdenied\x1b[0m"));
    }

    #[test]
    fn of_nothing_it_is_said_that_it_is_nothing() {
        let text = describe(&DropsReport::default(), false);
        assert_eq!(text, "nothing has died since the gateway was started\n");
    }
}
