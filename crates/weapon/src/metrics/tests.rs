//! What is exported is what docs/metrics.md describes, and what the dashboard and the alert rules
//! of package/monitoring ask for.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use serde_json::Value;
use weapon_core::{DropReason, LimitStatus, PeerStatus, RateLimit, ServiceStatus, Sizes, WallTime};
use weapon_engine::{Batches, ThreadStatus, Waiting};
use weapon_noise::{Arrivals, Attempts, Handshakes, PublicKey, RoundTrip, Trouble};

use super::{
    Scrape,
    page::{Format, written},
};
use crate::{
    flows::{FilterCounts, RuleReport},
    report::{AuditReport, Warning, sample},
};

/// A limit in one direction, which has let all but five packets pass, and none in the other.
fn service() -> ServiceStatus {
    let limit = RateLimit {
        bytes_per_second: 1_250_000,
        burst_bytes: 312_500,
    };
    ServiceStatus {
        dscp: 46,
        outbound: LimitStatus {
            limits: vec![(None, limit)],
            dropped_packets: 5,
            dropped_bytes: 6000,
        },
        inbound: LimitStatus::default(),
    }
}

fn peer(name: &str) -> PeerStatus {
    PeerStatus {
        name: name.to_owned(),
        public_key: PublicKey::from_bytes([7; 32]),
        endpoint: None,
        source: None,
        networks: Vec::new(),
        persistent_keepalive: None,
        last_handshake: Some(WallTime {
            seconds: 1_800_000_000,
            nanos: 0,
        }),
        session: None,
        last_received_age: Some(Duration::from_millis(1500)),
        received_bytes: 7000,
        sent_bytes: 8000,
        received_packets: 70,
        sent_packets: 80,
        parked: 3,
        arrivals: Some(Arrivals {
            sent: 100,
            received: 94,
        }),
        attempts: Attempts {
            round_trip: Some(RoundTrip {
                last_us: 12_500,
                smoothed_us: 13_000,
            }),
            ever: Handshakes {
                completed: 4,
                repeated: 2,
                ..Handshakes::default()
            },
            ..Attempts::default()
        },
        last_attempt_age: None,
        trouble: Some(Trouble::NoAnswer),
        service: Some(service()),
    }
}

fn thread(name: &str) -> ThreadStatus {
    let mut counts = [0; Sizes::CLASSES];
    counts[0] = 5;
    counts[2] = 2;
    counts[Sizes::CLASSES - 1] = 1;
    let batches = Batches { counts, sum: 2012 };
    ThreadStatus {
        name: name.to_owned(),
        drops: DropReason::ALL.iter().map(|&reason| (reason, 9)).collect(),
        outbound_superpackets: 12,
        outbound_segments: 40,
        inbound_datagrams: 50,
        inbound_superpackets: 8,
        outbound_batches: batches,
        inbound_batches: batches,
    }
}

fn filter() -> FilterCounts {
    let rule = |name: &str, action: &str, allowed, denied| RuleReport {
        name: name.to_owned(),
        action: action.to_owned(),
        allowed,
        denied,
    };
    FilterCounts {
        enforced: true,
        rules: vec![rule("web", "allow", 31, 1), rule("default", "deny", 0, 17)],
        flows: 12,
        capacity: 65_536,
        begun: 31,
        ended: [("timeout".to_owned(), 18), ("evicted".to_owned(), 1)].into(),
        refused: 1,
        events_lost: 4,
    }
}

fn audit() -> AuditReport {
    AuditReport {
        directory: "/var/log/weapon/site-a".to_owned(),
        file: "audit-000000000001.jsonl".to_owned(),
        sequence: 812,
        sealed: 805,
        failing: Some("audit-000000000001.jsonl: no space left".to_owned()),
        waiting: 9,
        lost: 2,
        suppressed: 70,
        written: 400,
        bytes: 123_456,
        on_failure: "deny-new".to_owned(),
        denies_new: true,
        key_beside: false,
    }
}

fn scrape() -> Scrape {
    let mut report = sample::report();
    report.audit = Some(audit());
    report.counters.insert("refused_trains".to_owned(), 6);
    report.warnings = ["loss", "loss", "interface_down"]
        .map(|kind| Warning {
            kind: kind.to_owned(),
            peer: None,
            text: String::new(),
        })
        .into();
    Scrape {
        report,
        peers: vec![peer("site-b"), peer("a \"b\" \\ c\nd")],
        threads: vec![thread("control"), thread("lane-0")],
        waiting: Waiting {
            parked: 2,
            ..Waiting::default()
        },
        filter: Some(filter()),
        started: 1_799_999_000,
    }
}

fn page(format: Format) -> String {
    written(scrape(), format).unwrap()
}

/// The names by which Prometheus knows them: of histograms without what it adds.
fn exported() -> BTreeSet<String> {
    let page = page(Format::Text);
    let heads = page.lines().filter_map(|it| it.strip_prefix("# TYPE "));
    let names = heads.map(|it| it.split(' ').next().unwrap().to_owned());
    names.collect()
}

fn file(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn values_stand_by_their_labels() {
    let page = page(Format::OpenMetrics);
    for line in [
        "# TYPE weapon_peer_received_bytes counter",
        "# UNIT weapon_peer_received_bytes bytes",
        "weapon_peer_received_bytes_total{gateway=\"site-a\",peer=\"site-b\"} 7000",
        // A name cannot forge a row.
        "weapon_peer_sent_packets_total{gateway=\"site-a\",peer=\"a \\\"b\\\" \\\\ c\\nd\"} 80",
        "weapon_peer_handshakes_total{gateway=\"site-a\",peer=\"site-b\"} 4",
        "weapon_peer_handshake_failures_total\
         {gateway=\"site-a\",peer=\"site-b\",failure=\"no_answer\"} 2",
        "weapon_peer_trouble{gateway=\"site-a\",peer=\"site-b\",trouble=\"no_answer\"} 1",
        "weapon_peer_trouble{gateway=\"site-a\",peer=\"site-b\",trouble=\"low_order\"} 0",
        "weapon_peer_recent_missing{gateway=\"site-a\",peer=\"site-b\"} 6",
        "weapon_peer_round_trip_seconds{gateway=\"site-a\",peer=\"site-b\"} 0.0125",
        "weapon_peer_last_received_age_seconds{gateway=\"site-a\",peer=\"site-b\"} 1.5",
        "weapon_drops_total{gateway=\"site-a\",reason=\"forged\",thread=\"lane-0\"} 9",
        "weapon_inbound_batch_datagrams_bucket{gateway=\"site-a\",le=\"4.0\",thread=\"lane-0\"} 7",
        "weapon_inbound_batch_datagrams_bucket{gateway=\"site-a\",le=\"+Inf\",thread=\"lane-0\"} 8",
        "weapon_inbound_batch_datagrams_sum{gateway=\"site-a\",thread=\"lane-0\"} 2012.0",
        "weapon_waiting{gateway=\"site-a\",queue=\"parked\"} 2",
        "weapon_warnings{gateway=\"site-a\",kind=\"loss\"} 2",
        "weapon_refused_trains_total{gateway=\"site-a\"} 6",
        "weapon_start_time_seconds{gateway=\"site-a\"} 1799999000",
        "weapon_mtu_bytes{gateway=\"site-a\"} 1420",
        "weapon_filter_enforced{gateway=\"site-a\"} 1",
        "weapon_rule_packets_total{gateway=\"site-a\",rule=\"web\",verdict=\"allowed\"} 31",
        "weapon_rule_packets_total{gateway=\"site-a\",rule=\"default\",verdict=\"denied\"} 17",
        "weapon_flows{gateway=\"site-a\"} 12",
        "weapon_flow_capacity{gateway=\"site-a\"} 65536",
        "weapon_flows_begun_total{gateway=\"site-a\"} 31",
        "weapon_flows_ended_total{gateway=\"site-a\",reason=\"timeout\"} 18",
        "weapon_flows_refused_total{gateway=\"site-a\"} 1",
        "weapon_flow_events_lost_total{gateway=\"site-a\"} 4",
        "weapon_audit_records_total{gateway=\"site-a\"} 400",
        "weapon_audit_written_bytes_total{gateway=\"site-a\"} 123456",
        "weapon_audit_waiting_records{gateway=\"site-a\"} 9",
        "weapon_audit_lost_records_total{gateway=\"site-a\"} 2",
        "weapon_audit_suppressed_records_total{gateway=\"site-a\"} 70",
        "weapon_audit_failing{gateway=\"site-a\"} 1",
        "weapon_audit_denies_new{gateway=\"site-a\"} 1",
        "weapon_audit_unsealed_records{gateway=\"site-a\"} 7",
    ] {
        assert!(page.lines().any(|it| it == line), "{line} in:\n{page}");
    }
    assert!(page.ends_with("\n# EOF\n"));
    // Without a session it has no age.
    assert!(!page.contains("weapon_peer_session_age_seconds{"));
}

#[test]
fn the_older_format_is_for_those_who_know_no_other() {
    for (accept, format) in [
        ("", Format::OpenMetrics),
        ("*/*", Format::OpenMetrics),
        ("text/plain", Format::Text),
        ("text/plain;version=0.0.4, */*;q=0.1", Format::Text),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2",
            Format::OpenMetrics,
        ),
    ] {
        assert_eq!(Format::wanted(accept), format, "{accept}");
    }
    let page = page(Format::Text);
    assert!(page.contains("# TYPE weapon_drops_total counter\n"));
    assert!(!page.contains("# EOF"));
}

/// Each is there once, whatever its labels.
#[test]
fn no_row_is_written_twice() {
    let page = page(Format::OpenMetrics);
    let rows = page.lines().filter(|it| !it.starts_with('#'));
    let mut seen = BTreeSet::new();
    for row in rows {
        let (name, _) = row.rsplit_once(' ').unwrap();
        assert!(seen.insert(name), "{row}");
    }
}

#[test]
fn what_is_exported_is_described() {
    let document = file("docs/metrics.md");
    let rows = document
        .lines()
        .filter_map(|it| it.strip_prefix("| `weapon_"));
    let mut described = BTreeSet::new();
    for row in rows {
        let (name, rest) = row.split_once('`').unwrap();
        let cells: Vec<&str> = rest.trim_matches(['|', ' ']).split(" | ").collect();
        assert_eq!(
            cells.len(),
            3,
            "labels, what it is, what it says: weapon_{row}"
        );
        assert!(cells[2].len() > 20, "say more of weapon_{name}");
        assert!(described.insert(format!("weapon_{name}")), "twice: {name}");
    }
    let exported = exported();
    let missing: Vec<_> = exported.difference(&described).collect();
    assert!(
        missing.is_empty(),
        "describe in docs/metrics.md: {missing:?}"
    );
    let gone: Vec<_> = described.difference(&exported).collect();
    assert!(gone.is_empty(), "not exported any more: {gone:?}");
}

/// A gateway without a filter and without an audit log has no rows of them.
#[test]
fn what_is_off_has_no_rows() {
    let mut without = scrape();
    (without.filter, without.report.audit) = (None, None);
    let page = written(without, Format::OpenMetrics).unwrap();
    for name in ["rule_packets", "filter_enforced", "flow", "audit"] {
        let row = format!("\nweapon_{name}");
        assert!(!page.contains(&row), "{row} in:\n{page}");
    }
}

/// All names of ours in a text.
fn asked(text: &str) -> BTreeSet<String> {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_';
    let words = text.split(|it| !is_part(it));
    let names = words.filter(|word| word.starts_with("weapon_"));
    names.map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_what_is_exported() {
    let exported = exported();
    let dashboard = file("package/monitoring/weapon-dashboard.json");
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() > 5);
    let alerts = file("package/monitoring/weapon-alerts.yml");
    for (what, text) in [("dashboard", dashboard), ("alerts", alerts)] {
        let names = asked(&text);
        assert!(names.len() > 5, "{what}: {names:?}");
        for name in names {
            let of_histogram = ["_bucket", "_sum", "_count"];
            let plain = of_histogram.iter().find_map(|it| name.strip_suffix(it));
            let is_known =
                exported.contains(&name) || plain.is_some_and(|it| exported.contains(it));
            assert!(
                is_known,
                "the {what} asks for {name}, which is not exported"
            );
        }
    }
}
