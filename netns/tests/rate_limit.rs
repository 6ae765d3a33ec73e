//! Limits and marks, with the TCP and UDP of real kernels: no more than the limit passes, nearly as
//! much as that does, in both directions; a group shares; a reload disturbs nobody; and the marks
//! are on the wire.
//!
//! How fast a machine is says nothing here: what must not be exceeded is the limit's share of the
//! time that the test has measured itself, and what must be reached is half of it, some time.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use weapon_netns::plan::introduce;
use weapon_netns::traffic::{Pace, Stream, transfer};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Home, Host, Pair, Plan, Weapon, link, ready, until};

/// As much as there is.
const GREEDY: Pace = Pace {
    bytes: None,
    pause: Duration::ZERO,
};

/// Bytes in a second of 16 Mbit/s, and what passes at once.
const RATE: u64 = 2_000_000;
const BURST: u64 = 500_000;
const LIMIT: &str = "rate_limit = \"16 Mbit/s\"\n";

/// So many bytes must have been granted before it is asked whether they were used: many bursts.
const GRANTED_MIN: u64 = 3 * RATE;

/// The file of a gateway whose last section is a peer, with these lines more in it.
fn with(plan: &Plan, lines: &str) -> String {
    plan.toml() + lines
}

/// Both gateways, that of `one` with these lines; the tunnel is open.
fn limited(lines: &str) -> (Pair, Weapon, Weapon) {
    let pair = Pair::new();
    let other = pair.start_other();
    let text = with(&pair.plan, lines);
    let one = Weapon::start_with(&pair.one, &pair.home, "one.toml", &text);
    pair.one.ping("10.99.0.2");
    (pair, one, other)
}

/// Streams that have begun after a moment.
struct Watch<'a> {
    streams: &'a [&'a Stream],
    start: Instant,
}

impl<'a> Watch<'a> {
    fn new(streams: &'a [&'a Stream], start: Instant) -> Self {
        Self { streams, start }
    }

    /// What has arrived, and what the limit has granted by now. Never more than that and a burst;
    /// what is inside of packets is less than those.
    #[track_caller]
    fn arrived(&self) -> (u64, u64) {
        let arrived: u64 = self.streams.iter().map(|stream| stream.received()).sum();
        let granted = (self.start.elapsed().as_secs_f64() * RATE as f64) as u64;
        assert!(arrived <= granted + BURST, "{arrived} of {granted}");
        (arrived, granted)
    }

    /// Half of it is used.
    #[track_caller]
    fn expect_use(&self) {
        until("half of the limit is used", PATIENCE, || {
            let (arrived, granted) = self.arrived();
            (granted >= GRANTED_MIN && arrived >= granted / 2).then_some(())
        });
    }
}

#[track_caller]
fn count(peer: &Value, what: &str) -> u64 {
    let count = peer["limited"][what].as_u64();
    count.unwrap_or_else(|| panic!("no {what}: {peer:#}"))
}

/// What the peers' limits have dropped is what the gateway has, once nothing is on its way.
#[track_caller]
fn expect_all_told(gateway: &Weapon, peers: &[&str], direction: &str) {
    let what = format!("{direction}_packets");
    until("each drop is told twice", PATIENCE, || {
        let of_peers = peers.iter().map(|peer| count(&gateway.peer(peer), &what));
        let all = gateway.drops(&format!("{direction}_limit"));
        (of_peers.sum::<u64>() == all).then_some(())
    });
}

#[test]
fn a_stream_reaches_its_limit_and_no_more_in_both_directions() {
    if !ready(&[]) {
        return;
    }
    let (pair, one, other) = limited(LIMIT);
    for (from, to, address, direction) in [
        (&pair.one, &pair.other, "10.99.0.2", "outbound"),
        (&pair.other, &pair.one, "fd99::1", "inbound"),
    ] {
        let start = Instant::now();
        let stream = Stream::start(from, to, address, GREEDY);
        Watch::new(&[&stream], start).expect_use();
        stream.finish();
        let peer = one.peer("other");
        assert!(count(&peer, &format!("{direction}_packets")) > 0);
        assert!(count(&peer, &format!("{direction}_bytes")) > 0);
        assert!(one.drops(&format!("{direction}_limit")) > 0);
        expect_all_told(&one, &["other"], direction);
    }
    assert_eq!(
        other.peer("one")["limits"].as_array().map(Vec::len),
        Some(0)
    );
    assert_eq!(other.drops("outbound_limit"), 0);
    let shown = pair.weapon(&["status", "one"]).out;
    let limits = "limits      16 Mbit/s outbound, 16 Mbit/s inbound\n";
    assert!(shown.contains(limits), "{shown}");
    assert!(shown.contains("  too much    "), "{shown}");
    // A packet that may pass at this moment, and by which limit that is.
    until("there is room again", PATIENCE, || {
        let said = pair.weapon(&["why", "one", "10.99.0.1", "10.99.0.2"]);
        let limit = "ok limit      the limit of other, 16 Mbit/s, lets ";
        (said.out.contains(limit) && said.code == 0).then_some(())
    });
}

/// A hub with two hosts at it; to both of them together, and from both, no more passes than to
/// one.
#[test]
fn a_group_shares_its_limit() {
    if !ready(&[]) {
        return;
    }
    let hub = Host::new("hub");
    let hosts = [Host::new("first"), Host::new("second")];
    let home = Home::new();
    let mut plan = Plan::new("hub", &["10.99.0.254/24"]);
    let mut gateways = Vec::new();
    for (number, host) in (1..).zip(&hosts) {
        let name = format!("host-{number}");
        link(
            (
                &hub,
                &format!("to-{number}"),
                &[&format!("192.0.{number}.254/24")],
            ),
            (host, "eth0", &[&format!("192.0.{number}.1/24")]),
        );
        let mut its = Plan::new(&name, &[&format!("10.99.0.{number}/24")]);
        let network = format!("10.99.0.{number}/32");
        introduce(
            (&mut plan, &["10.99.0.254/32"]),
            (&mut its, &[&network]),
            None,
        );
        its.peers[0].endpoint = Some(format!("192.0.{number}.254:51820"));
        gateways.push((host, its));
    }
    // Each peer's section begins with its name.
    let text = plan
        .toml()
        .replace("[[peer]]\n", "[[peer]]\ngroup = \"guests\"\n")
        + "[[group]]\nname = \"guests\"\n"
        + LIMIT;
    let gateway = Weapon::start_with(&hub, &home, "hub.toml", &text);
    let gateways: Vec<_> = gateways
        .iter()
        .map(|(host, plan)| {
            let file = format!("{}.toml", plan.name);
            let gateway = Weapon::start_with(host, &home, &file, &plan.toml());
            host.ping("10.99.0.254");
            gateway
        })
        .collect();
    let start = Instant::now();
    let streams = [0, 1].map(|at| {
        let address = format!("10.99.0.{}", at + 1);
        Stream::start(&hub, &hosts[at], &address, GREEDY)
    });
    let [first, second] = &streams;
    Watch::new(&[first, second], start).expect_use();
    // Nobody is shut out for ever.
    first.expect_progress(1);
    second.expect_progress(1);
    for stream in streams {
        stream.finish();
    }
    assert!(gateway.drops("outbound_limit") > 0);
    expect_all_told(&gateway, &["host-1", "host-2"], "outbound");
    let limit = &gateway.peer("host-1")["limits"][0];
    assert_eq!(limit["group"], "guests");
    assert_eq!(limit["bits_per_second"], RATE * 8);
    assert_eq!(limit["burst_bytes"], BURST);

    let start = Instant::now();
    let streams = hosts
        .each_ref()
        .map(|host| Stream::start(host, &hub, "10.99.0.254", GREEDY));
    let [first, second] = &streams;
    Watch::new(&[first, second], start).expect_use();
    for stream in streams {
        stream.finish();
    }
    assert!(gateway.drops("inbound_limit") > 0);
    drop(gateways);
}

#[test]
fn a_reload_changes_limits_under_a_stream_and_wg_leaves_them() {
    if !ready(&[]) {
        return;
    }
    let (pair, one, _other) = limited("");
    let reload = |lines: &str| {
        pair.home.write("one.toml", &with(&pair.plan, lines));
        let said = pair.weapon(&["reload", "one.toml"]);
        assert_eq!((said.code, said.error.as_str()), (0, ""), "{said:?}");
        said.out
    };
    let handshake = one.peer("other")["latest_handshake"].clone();
    assert_eq!(one.peer("other")["limited"], Value::Null);
    let stream = Stream::start(&pair.one, &pair.other, "10.99.0.2", GREEDY);
    stream.expect_progress(BURST);
    assert_eq!(
        reload(&format!("{LIMIT}dscp = \"cs1\"\n")),
        "limits of peer `other`: none -> 16 Mbit/s outbound, 16 Mbit/s inbound, dscp cs1\n"
    );
    until("something is too much", PATIENCE, || {
        (count(&one.peer("other"), "outbound_packets") > 0).then_some(())
    });
    stream.expect_progress(BURST);
    stream.finish();
    // Of that one the receiver may have had more to read than was granted since.
    let start = Instant::now();
    let stream = Stream::start(&pair.one, &pair.other, "10.99.0.2", GREEDY);
    let streams = [&stream];
    let watch = Watch::new(&streams, start);
    watch.expect_use();
    // A set of `wg` knows nothing of limits.
    let key = pair.other_plan.private_key.public();
    let hex: String = key
        .as_bytes()
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect();
    let set = format!("set=1\npublic_key={hex}\npersistent_keepalive_interval=7\n\n");
    let socket = pair.home.path().join("wireguard/w-one.sock");
    let mut wg = UnixStream::connect(socket).expect("the socket of `wg`");
    wg.write_all(set.as_bytes()).expect("it takes a set");
    let mut answer = [0; 9];
    wg.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"errno=0\n\n");
    let peer = one.peer("other");
    assert_eq!(peer["persistent_keepalive"], 7);
    assert_eq!(peer["limits"][0]["bits_per_second"], RATE * 8);
    assert_eq!(peer["dscp"], 8);
    watch.arrived();
    // And back, with the file's keepalive.
    let back = reload("");
    let lines = "limits of peer `other`: 16 Mbit/s outbound, 16 Mbit/s inbound, dscp cs1 -> none\n\
                 peer `other`: no keepalive\n";
    assert_eq!(back, lines);
    stream.expect_progress(BURST);
    let dropped = one.drops("outbound_limit");
    stream.expect_progress(10 * RATE);
    stream.finish();
    assert_eq!(one.drops("outbound_limit"), dropped);
    assert_eq!(
        one.peer("other")["limits"].as_array().map(Vec::len),
        Some(0)
    );
    let after = one.peer("other")["latest_handshake"].clone();
    assert_eq!(after, handshake, "the session stays");
}

/// Handshakes keep their mark, data and keepalives have that of the peer beside ECN, and what is
/// inside arrives as it was sent: also in superpackets.
fn marks_are_on_the_wire(is_v6: bool) {
    if !ready(&["nft"]) {
        return;
    }
    let mut pair = Pair::new();
    if is_v6 {
        pair.plan.peers[0].endpoint = Some("[2001:db8::2]:51820".to_owned());
    }
    pair.plan.peers[0].keepalive = Some(1);
    let ip = if is_v6 { "ip6" } else { "ip" };
    let mut lines = Vec::new();
    for (kind, name, dscp, more) in [
        (1, "initiation", "af41", ""),
        (4, "data", "ef", "udp length > 40"),
        (4, "keepalive", "ef", "udp length 40"),
    ] {
        let matches = format!("iifname \"eth0\" udp dport 51820 @th,64,8 {kind} {more}");
        lines.push(format!(
            "{matches} {ip} dscp {dscp} counter name {name}-seen"
        ));
        lines.push(format!(
            "{matches} {ip} dscp != {dscp} counter name wrong-seen"
        ));
    }
    let train = format!("iifname \"eth0\" udp dport 51820 {ip} ecn ect0 counter name ecn-seen");
    lines.push(train);
    for inner in ["ip", "ip6"] {
        let other = format!("iifname \"w-other\" {inner} dscp != cs2 counter name wrong-seen");
        lines.push(other);
        lines.push(format!(
            "iifname \"w-other\" {inner} dscp cs2 counter name inner-seen"
        ));
    }
    let names = ["initiation", "data", "keepalive", "ecn", "inner", "wrong"];
    let counters: String = names
        .iter()
        .map(|name| format!("counter {name}-seen {{ }}\n"))
        .collect();
    let rules = lines.join("\n");
    pair.other.nft(&format!(
        "table inet seen {{\n{counters}chain it {{\ntype filter hook input priority filter\n\
         {rules}\n}}\n}}\n"
    ));
    let set = ["ip", "ip6"].map(|ip| format!("oifname \"w-one\" {ip} dscp set cs2\n"));
    pair.one.nft(&format!(
        "table inet marks {{\nchain it {{\ntype filter hook output priority filter\n{}}}\n}}\n",
        set.concat()
    ));
    for host in [&pair.one, &pair.other] {
        host.sysctl("net.ipv4.tcp_ecn", "1");
    }
    let _other = pair.start_other();
    let text = with(&pair.plan, "dscp = \"ef\"\n");
    let one = Weapon::start_with(&pair.one, &pair.home, "one.toml", &text);
    pair.one.ping("10.99.0.2");
    pair.one.ping("fd99::2");
    transfer(&pair.one, &pair.other, "10.99.0.2", 5_000_000);
    transfer(&pair.one, &pair.other, "fd99::2", 5_000_000);
    let seen = |name: &str| pair.other.nft_counter("seen", &format!("{name}-seen"));
    for name in &names[..5] {
        until(name, PATIENCE, || (seen(name) > 0).then_some(()));
    }
    assert_eq!(seen("wrong"), 0);
    assert_eq!(one.peer("other")["dscp"], 46);
    assert_eq!(one.peer("other")["limited"], Value::Null, "no limit");
    let shown = pair.weapon(&["status", "one"]).out;
    assert!(shown.contains("  marked      dscp ef\n"), "{shown}");
}

#[test]
fn marks_are_on_the_wire_over_ipv4() {
    marks_are_on_the_wire(false);
}

#[test]
fn marks_are_on_the_wire_over_ipv6() {
    marks_are_on_the_wire(true);
}
