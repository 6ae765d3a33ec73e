//! Metrics of gateways that run: they move with what passes, by the peers' names, and are told to
//! nobody who should not have them.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::process::{Command, Stdio};

use serde_json::Value;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Host, Pair, Said, Weapon, ready, until};

const PLACE: &str = "127.0.0.1:9586";

/// Status, type and text that `curl` gets with these options.
#[track_caller]
fn curl(host: &Host, options: &[&str]) -> (u16, String, String) {
    let mut command = host.command("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(["--write-out", "\n%{http_code} %{content_type}"])
        .args(options);
    let output = command.output().expect("`curl` runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (body, end) = text.rsplit_once('\n').expect("a status");
    let (code, kind) = end.split_once(' ').expect("a type");
    (code.parse().expect("a number"), kind.into(), body.into())
}

/// The page as Prometheus asks for it.
#[track_caller]
fn scrape(host: &Host) -> String {
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let (code, kind, page) = curl(host, &["-H", accept, &format!("http://{PLACE}/metrics")]);
    assert_eq!(code, 200, "{page}");
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    page
}

/// The value of the row that has this name and this text among its labels; all such rows added up.
#[track_caller]
fn value(page: &str, name: &str, labels: &str) -> f64 {
    let rows = page.lines().filter_map(|row| {
        let (head, value) = row.rsplit_once(' ')?;
        let is_it = head.split_once('{').is_some_and(|(it, _)| it == name);
        (is_it && head.contains(labels)).then(|| value.parse::<f64>().expect("a number"))
    });
    let rows: Vec<f64> = rows.collect();
    assert!(!rows.is_empty(), "no {name} {labels} in:\n{page}");
    rows.into_iter().sum()
}

fn start(pair: &Pair, place: &str) -> Weapon {
    let text = pair.plan.toml_with(&format!("metrics = {place:?}"));
    Weapon::start_with(&pair.one, &pair.home, "one.toml", &text)
}

#[track_caller]
fn reload(pair: &Pair, text: &str) -> Said {
    pair.home.write("one.toml", text);
    pair.weapon(&["reload", "one.toml"])
}

#[test]
fn values_move_with_what_passes() {
    if !ready(&["curl"]) {
        return;
    }
    let mut pair = Pair::new();
    pair.plan.peers[0].name = "the+other".to_owned();
    let _other = pair.start_other();
    let one = start(&pair, PLACE);
    pair.one.ping("10.99.0.2");
    let peer = "peer=\"the+other\"";

    let before = scrape(&pair.one);
    assert!(before.ends_with("# EOF\n"), "{before}");
    assert_eq!(value(&before, "weapon_peer_handshakes_total", peer), 1.0);
    assert_eq!(value(&before, "weapon_peer_session", peer), 1.0);
    assert!(value(&before, "weapon_peer_round_trip_seconds", peer) > 0.0);
    assert_eq!(
        value(&before, "weapon_interface_up", "gateway=\"one\""),
        1.0
    );
    assert_eq!(value(&before, "weapon_no_new_privileges", ""), 1.0);
    assert_eq!(value(&before, "weapon_build_info", "cipher="), 1.0);
    let size = f64::from(20 + 8 + 1000 + 4 + 32);
    let count = 7.0;
    pair.one.run("ping -c 7 -i 0.01 -s 1000 -W 5 10.99.0.2");
    let after = scrape(&pair.one);
    let grown =
        |name: &str, labels: &str| value(&after, name, labels) - value(&before, name, labels);
    for way in ["sent", "received"] {
        let packets = grown(&format!("weapon_peer_{way}_packets_total"), peer);
        let bytes = grown(&format!("weapon_peer_{way}_bytes_total"), peer);
        // A keepalive may be among them.
        assert!((count..count + 3.0).contains(&packets), "{way} {packets}");
        let least = count * size;
        assert!((least..least + 200.0).contains(&bytes), "{way} {bytes}");
    }
    assert!(grown("weapon_outbound_segments_total", "thread=\"lane-0\"") >= count);
    assert!(grown("weapon_outbound_batch_superpackets_sum", "thread=") >= count);
    assert!(grown("weapon_outbound_batch_superpackets_count", "thread=") >= 1.0);
    assert!(grown("weapon_inbound_batch_datagrams_sum", "thread=") >= count);

    // A packet for nobody dies of a reason.
    pair.one.run("ip route add 10.77.0.0/24 dev w-one");
    let lost = pair.one.attempt("ping -c 1 -W 1 10.77.0.1");
    assert!(lost.is_err());
    let page = scrape(&pair.one);
    let no_route = value(&page, "weapon_drops_total", "reason=\"no_route\"");
    assert_eq!(no_route, one.drops("no_route") as f64);
    assert!(no_route >= 1.0);
    // And what is wrong is counted by its kind.
    pair.one.run("ip link set w-one down");
    let page = until("the interface is down", PATIENCE, || {
        let page = scrape(&pair.one);
        page.contains("weapon_interface_up{gateway=\"one\"} 0")
            .then_some(page)
    });
    assert_eq!(
        value(&page, "weapon_warnings", "kind=\"interface_down\""),
        1.0
    );
}

/// What rules decide is counted by their names, and flows by what becomes of them.
#[test]
fn a_denied_flow_raises_its_rules_counter() {
    if !ready(&["curl"]) {
        return;
    }
    let pair = Pair::new();
    let _other = pair.start_other();
    let log = pair.home.path().join("log");
    let rules = "[filter]\ndefault = \"allow\"\nflows_max = 1024\n\
                 [[rule]]\nname = \"no-web\"\naction = \"deny\"\n\
                 protocol = \"tcp\"\nports = 80\n";
    let text = pair.plan.toml_with(&format!("metrics = {PLACE:?}"));
    let text = format!("{text}\n{rules}\n[audit]\ndirectory = {log:?}\n");
    let one = Weapon::start_with(&pair.one, &pair.home, "one.toml", &text);
    pair.one.ping("10.99.0.2");
    let denied = "rule=\"no-web\",verdict=\"denied\"";
    let before = scrape(&pair.one);
    assert_eq!(value(&before, "weapon_filter_enforced", ""), 1.0);
    assert_eq!(value(&before, "weapon_flow_capacity", ""), 1024.0);
    assert_eq!(value(&before, "weapon_rule_packets_total", denied), 0.0);
    let there = value(&before, "weapon_flows", "");

    let to = ([10, 99, 0, 2], 80).into();
    let time = std::time::Duration::from_millis(300);
    let refused = pair.one.enter(|| TcpStream::connect_timeout(&to, time));
    assert!(refused.is_err());
    pair.other.ping("10.99.0.1");
    let page = scrape(&pair.one);
    let count = value(&page, "weapon_rule_packets_total", denied);
    assert!(count >= 1.0, "{page}");
    assert_eq!(count, one.drops("denied") as f64);
    let allowed = "rule=\"default\",verdict=\"allowed\"";
    assert!(value(&page, "weapon_rule_packets_total", allowed) >= 2.0);
    // What was denied is no flow; what was asked from the other side is one.
    let grown = value(&page, "weapon_flows", "") - there;
    assert!(grown >= 1.0, "{page}");
    let [begun, ended] = ["begun", "ended"].map(|it| format!("weapon_flows_{it}_total"));
    let left = value(&page, &begun, "") - value(&page, &ended, "");
    assert_eq!(left, value(&page, "weapon_flows", ""));
    assert_eq!(value(&page, "weapon_flows_refused_total", ""), 0.0);
    // The log was begun, and nothing of it was lost.
    until("it is written", PATIENCE, || {
        let page = scrape(&pair.one);
        let is_written = value(&page, "weapon_audit_records_total", "") >= 3.0;
        (is_written && value(&page, "weapon_audit_written_bytes_total", "") > 300.0).then_some(())
    });
    assert_eq!(value(&page, "weapon_audit_lost_records_total", ""), 0.0);
    assert_eq!(value(&page, "weapon_audit_failing", ""), 0.0);
}

#[test]
fn nobody_else_is_told() {
    if !ready(&["curl"]) {
        return;
    }
    let pair = Pair::new();
    let _one = start(&pair, PLACE);
    let ask = |options: &[&str]| curl(&pair.one, options).0;
    let metrics = format!("http://{PLACE}/metrics");
    assert_eq!(ask(&[&metrics]), 200);
    assert_eq!(ask(&["-I", &metrics]), 200);
    assert_eq!(ask(&["-H", "Host: localhost:9586", &metrics]), 200);
    assert_eq!(ask(&["-H", "Host: evil.example:9586", &metrics]), 403);
    assert_eq!(ask(&["-H", "Host:", &metrics]), 403);
    assert_eq!(ask(&["-X", "POST", &metrics]), 405);
    assert_eq!(ask(&["-X", "DELETE", &metrics]), 405);
    for path in ["/", "/v1/status", "/metrics/x", "/metricsx"] {
        assert_eq!(ask(&[&format!("http://{PLACE}{path}")]), 404, "{path}");
    }
    // Not from another host, whatever it asks for.
    let from_there = ["--max-time", "3", "http://192.0.2.1:9586/metrics"];
    assert_eq!(curl(&pair.other, &from_there).0, 0);

    for (bad, why) in [
        (
            "0.0.0.0:9586",
            "0.0.0.0 is not a loopback address. Who reads metrics learns of",
        ),
        ("192.0.2.1:9586", "192.0.2.1 is not a loopback address"),
        ("localhost:9586", "write 127.0.0.1:9586"),
    ] {
        let text = pair.plan.toml_with(&format!("metrics = {bad:?}"));
        pair.home.write("bad.toml", &text);
        let said = pair.weapon(&["check", "bad.toml"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(
            said.error.contains("bad.toml:2:11: gateway.metrics"),
            "{said:?}"
        );
        assert!(said.error.contains(why), "{said:?}");
    }
}

#[test]
fn a_reload_changes_the_place() {
    if !ready(&["curl"]) {
        return;
    }
    let pair = Pair::new();
    let (one, _other) = pair.start_both();
    let socket = pair.home.path().join("one.metrics");
    let unix = format!("unix:{}", socket.display());
    let at = |place: &str| pair.plan.toml_with(&format!("metrics = {place:?}"));
    let over_tcp = || curl(&pair.one, &[&format!("http://{PLACE}/metrics")]).0;
    let over_unix = || {
        let path = socket.to_str().expect("a path");
        curl(
            &pair.one,
            &["--unix-socket", path, "http://any.name/metrics"],
        )
        .0
    };
    assert_eq!(over_tcp(), 0, "off by default");

    let said = reload(&pair, &at(PLACE));
    assert_eq!(said.out.trim(), format!("metrics: off -> {PLACE}"));
    assert_eq!(over_tcp(), 200);
    let said = reload(&pair, &at(&unix));
    assert_eq!(said.out.trim(), format!("metrics: {PLACE} -> {unix}"));
    assert_eq!((over_tcp(), over_unix()), (0, 200));
    let found = fs::symlink_metadata(&socket).expect("a socket");
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);

    // What cannot be had changes nothing.
    let taken = pair.home.write("file", "mine");
    let said = reload(&pair, &at(&format!("unix:{}", taken.display())));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.error.contains("one.toml:2:11: gateway.metrics"),
        "{said:?}"
    );
    assert!(
        said.error.contains("something else than a socket"),
        "{said:?}"
    );
    assert_eq!(fs::read_to_string(&taken).expect("the file"), "mine");
    assert_eq!(over_unix(), 200);
    pair.one.ping("10.99.0.2");

    let said = reload(&pair, &pair.plan.toml());
    assert_eq!(said.out.trim(), format!("metrics: {unix} -> off"));
    assert!(!socket.exists());
    let said = reload(&pair, &at(&unix));
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(over_unix(), 200);
    one.stop();
    assert!(!socket.exists(), "it goes with the gateway");
}

/// What was left by a kill is replaced; what another gateway listens at is not.
#[test]
fn a_socket_belongs_to_one_gateway() {
    if !ready(&["curl"]) {
        return;
    }
    let pair = Pair::new();
    let socket = pair.home.path().join("shared.metrics");
    let unix = format!("unix:{}", socket.display());
    let mut one = start(&pair, &unix);
    let text = pair.other_plan.toml_with(&format!("metrics = {unix:?}"));
    pair.home.write("other.toml", &text);
    let said = Said::by(pair.home.command(&pair.other).args(["up", "other.toml"]));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.error.contains("somebody else listens there"),
        "{said:?}"
    );
    one.process().signal(rustix::process::Signal::KILL);
    one.process().wait(PATIENCE);
    assert!(socket.exists());
    let _other = Weapon::start_with(&pair.other, &pair.home, "other.toml", &text);
    let path = socket.to_str().expect("a path");
    let page = curl(&pair.one, &["--unix-socket", path, "http://x/metrics"]).2;
    assert!(page.contains("gateway=\"other\""), "{page}");
}

/// `promtool WORDS` with this on its standard input.
#[track_caller]
fn promtool(words: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    command.args(words).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("`promtool` runs");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("input");
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "promtool {words:?}: {said}\n{input}"
    );
}

#[test]
fn prometheus_takes_all_of_it() {
    if !ready(&["curl", "promtool"]) {
        return;
    }
    let pair = Pair::new();
    let _other = pair.start_other();
    let _one = start(&pair, PLACE);
    pair.one.ping("10.99.0.2");
    let text = [
        "-H",
        "Accept: text/plain",
        &format!("http://{PLACE}/metrics"),
    ];
    let (_, kind, page) = curl(&pair.one, &text);
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    promtool(&["check", "metrics"], &page);

    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../package/monitoring");
    promtool(
        &["check", "rules", &format!("{folder}/weapon-alerts.yml")],
        "",
    );
    // What the dashboard asks is put as rules.
    let text = fs::read_to_string(format!("{folder}/weapon-dashboard.json")).expect("a file");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let asked = targets
        .flatten()
        .map(|target| target["expr"].as_str().expect("text"));
    let rules: Vec<Value> = asked
        .enumerate()
        .map(|(index, asked)| {
            let asked = asked.replace("$__rate_interval", "5m");
            serde_json::json!({ "record": format!("panel:{index}"), "expr": asked })
        })
        .collect();
    assert!(rules.len() > 15);
    let group = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let file = pair.home.write("dashboard.yml", &group.to_string());
    promtool(&["check", "rules", file.to_str().expect("a path")], "");
}
