//! Flows as a table for people.

use std::{fmt::Write as _, net::IpAddr};

use super::{FlowReport, FlowsReport};
use crate::status::amounts;

/// The columns, and how they are aligned.
const HEAD: [&str; 9] = [
    "PEER",
    "",
    "PROTO",
    "FROM",
    "TO",
    "STATE",
    "RULE",
    "SENT/RECEIVED",
    "IDLE",
];

/// The flows and what the rules have decided; `width` is that of the terminal, if it is one.
pub fn describe<'a>(
    report: &FlowsReport,
    name_of: impl Fn(&IpAddr) -> Option<&'a str>,
    width: Option<usize>,
) -> String {
    let rows: Vec<[String; 9]> = report
        .flows
        .iter()
        .map(|flow| row(flow, &name_of))
        .collect();
    let mut text = String::new();
    if !rows.is_empty() {
        let heads = HEAD.map(str::to_owned);
        let all: Vec<_> = std::iter::once(&heads).chain(&rows).collect();
        let widths: Vec<usize> = (0..HEAD.len())
            .map(|column| all.iter().map(|row| chars(&row[column])).max().unwrap_or(0))
            .collect();
        for row in all {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let pad = width.saturating_sub(chars(cell));
                let _ = write!(line, "{cell}{:pad$}  ", "");
            }
            let line = line.trim_end();
            let shown: String = match width {
                Some(width) => line.chars().take(width).collect(),
                None => line.to_owned(),
            };
            let _ = writeln!(text, "{shown}");
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "{} flows shown of {} in the table, which has room for {}{}",
        report.flows.len(),
        report.total,
        report.capacity,
        if report.next.is_some() {
            "; there are more"
        } else {
            ""
        }
    );
    if report.enforced {
        for rule in &report.rules {
            let _ = writeln!(
                text,
                "rule {}: {}; allowed {}, denied {}",
                rule.name, rule.action, rule.allowed, rule.denied
            );
        }
    } else {
        text.push_str("there are no rules: all may pass, and is watched\n");
    }
    text
}

fn row<'a>(flow: &FlowReport, name_of: impl Fn(&IpAddr) -> Option<&'a str>) -> [String; 9] {
    let end = |address: &IpAddr, port: Option<u16>| {
        let host = match (name_of(address), address, port) {
            (Some(name), ..) => format!("{name}({address})"),
            (None, IpAddr::V6(address), Some(_)) => format!("[{address}]"),
            (None, ..) => address.to_string(),
        };
        match port {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    };
    let arrow = if flow.direction == "inbound" {
        "<-"
    } else {
        "->"
    };
    [
        flow.peer.clone(),
        arrow.to_owned(),
        flow.protocol.clone(),
        end(&flow.source, flow.source_port),
        end(&flow.destination, flow.destination_port),
        flow.state.clone(),
        flow.rule.clone().unwrap_or_default(),
        format!(
            "{}/{}",
            amounts::bytes(flow.bytes),
            amounts::bytes(flow.reply_bytes)
        ),
        format!("{:.0}s", flow.idle_seconds),
    ]
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::RuleReport;

    fn flow() -> FlowReport {
        FlowReport {
            peer: "site-b".into(),
            direction: "outbound".into(),
            protocol: "tcp".into(),
            source: "172.17.0.2".parse().unwrap(),
            source_port: Some(40_000),
            destination: "fd00::1".parse().unwrap(),
            destination_port: Some(443),
            state: "established".into(),
            rule: Some("web".into()),
            age_seconds: 10.0,
            idle_seconds: 2.4,
            expires_seconds: 100.0,
            packets: 3,
            bytes: 1500,
            reply_packets: 2,
            reply_bytes: 0,
            tcp_flags: Some("S.".into()),
            reply_tcp_flags: Some("S.".into()),
            round_trip_ms: Some(1.5),
        }
    }

    #[test]
    fn a_table_has_names_and_counts() {
        let report = FlowsReport {
            flows: vec![flow()],
            next: Some(1),
            total: 7,
            capacity: 1024,
            enforced: true,
            rules: vec![RuleReport {
                name: "web".into(),
                action: "allow".into(),
                allowed: 7,
                denied: 0,
            }],
            events_lost: 0,
        };
        let db: IpAddr = "172.17.0.2".parse().unwrap();
        let text = describe(&report, |address| (*address == db).then_some("db"), None);
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[1].contains("db(172.17.0.2):40000  [fd00::1]:443  established  web"),
            "{text}"
        );
        assert!(lines[1].ends_with("2s"));
        assert_eq!(
            lines[3],
            "1 flows shown of 7 in the table, which has room for 1024; there are more"
        );
        assert_eq!(lines[4], "rule web: allow; allowed 7, denied 0");
        let narrow = describe(&report, |_| None, Some(20));
        assert!(
            narrow
                .lines()
                .take(2)
                .all(|line| line.chars().count() <= 20)
        );
        let watched = FlowsReport {
            enforced: false,
            flows: Vec::new(),
            ..report
        };
        let text = describe(&watched, |_| None, None);
        assert!(text.ends_with("there are no rules: all may pass, and is watched\n"));
    }
}
