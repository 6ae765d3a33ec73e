//! P92: a router between two gateways marks congestion on the outer packets, and the connections
//! inside see it. DSCP stays inside.
//!
//! ```text
//!   one    eth0 192.0.2.1 ------ to-one  router  to-other ------ eth0 198.51.100.2    other
//! ```

use weapon_netns::plan::introduce;
use weapon_netns::pressure::until_cookie;
use weapon_netns::traffic::transfer;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Home, Host, Plan, Weapon, link, ready, until};

/// The code points of ECN, as nftables calls them.
const CODE_POINTS: [&str; 4] = ["not-ect", "ect1", "ect0", "ce"];

/// A chain of `hook` behind named counters, in place of all rules that there were.
fn rules(hook: &str, counters: &[&str], lines: &[String]) -> String {
    // Some names are words of the language, so they get something behind.
    let counters: String = counters
        .iter()
        .map(|name| format!("counter {name}-seen {{ }}\n"))
        .collect();
    let lines = lines.join("\n");
    format!(
        "flush ruleset\ntable inet seen {{\n{counters}chain it {{\n\
         type filter hook {hook} priority filter\n{lines}\n}}\n}}\n"
    )
}

/// How many packets a counter of such rules has seen.
fn seen(host: &Host, counter: &str) -> u64 {
    host.nft_counter("seen", &format!("{counter}-seen"))
}

struct Lab {
    one: Host,
    router: Host,
    other: Host,
    plan: Plan,
    other_plan: Plan,
}

impl Lab {
    fn new(is_v6: bool) -> Self {
        let (one, other) = (Host::new("one"), Host::new("other"));
        let router = Host::router("router");
        link(
            (&one, "eth0", &["192.0.2.1/24", "2001:db8::1/64"]),
            (&router, "to-one", &["192.0.2.254/24", "2001:db8::fe/64"]),
        );
        link(
            (&other, "eth0", &["198.51.100.2/24", "2001:db8:1::2/64"]),
            (
                &router,
                "to-other",
                &["198.51.100.254/24", "2001:db8:1::fe/64"],
            ),
        );
        one.run("ip route add default via 192.0.2.254");
        one.run("ip -6 route add default via 2001:db8::fe");
        other.run("ip route add default via 198.51.100.254");
        other.run("ip -6 route add default via 2001:db8:1::fe");
        let mut plan = Plan::new("one", &["10.99.0.1/24", "fd99::1/64"]);
        let mut other_plan = Plan::new("other", &["10.99.0.2/24", "fd99::2/64"]);
        introduce(
            (&mut plan, &["10.99.0.1/32", "fd99::1/128"]),
            (&mut other_plan, &["10.99.0.2/32", "fd99::2/128"]),
            None,
        );
        let endpoint = if is_v6 {
            "[2001:db8:1::2]:51820"
        } else {
            "198.51.100.2:51820"
        };
        plan.peers[0].endpoint = Some(endpoint.to_owned());
        Self {
            one,
            router,
            other,
            plan,
            other_plan,
        }
    }

    fn start(&self) -> (Weapon, Weapon) {
        let home = Home::new();
        let other = Weapon::start_with(&self.other, &home, "other.toml", &self.other_plan.toml());
        let one = Weapon::start_with(&self.one, &home, "one.toml", &self.plan.toml());
        self.one.ping("10.99.0.2");
        (one, other)
    }
}

/// Counts what `matches`, of either family, by its ECN, and by its DSCP if there is any.
fn count(matches: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for ip in ["ip", "ip6"] {
        for ecn in CODE_POINTS {
            lines.push(format!("{matches} {ip} ecn {ecn} counter name {ecn}-seen"));
        }
        lines.push(format!("{matches} {ip} dscp != cs0 counter name dscp-seen"));
    }
    lines
}

const COUNTERS: [&str; 5] = ["not-ect", "ect1", "ect0", "ce", "dscp"];

/// Which of the counters are not zero.
fn counted(host: &Host) -> Vec<&'static str> {
    let has_some = |name: &&str| seen(host, name) > 0;
    COUNTERS.into_iter().filter(has_some).collect()
}

/// Pings through the tunnel with this inner ECN, on a way that sets `mark` on what it is given.
/// Returns what is seen on the way, before the mark, and what arrives.
fn ping_marked(
    lab: &Lab,
    inner: &str,
    mark: Option<&str>,
    to: &str,
) -> (Vec<&'static str>, Vec<&'static str>) {
    let set = ["ip", "ip6"].map(|ip| {
        format!("oifname \"w-one\" {ip} dscp set ef\noifname \"w-one\" {ip} ecn set {inner}")
    });
    lab.one.nft(&rules("output", &[], &set));
    // Data, but no keepalives.
    let mut way = count("iifname \"to-one\" udp length > 40 @th,64,8 4");
    if let Some(mark) = mark {
        way.extend(["ip", "ip6"].map(|ip| format!("iifname \"to-one\" {ip} ecn set {mark}")));
    }
    lab.router.nft(&rules("forward", &COUNTERS, &way));
    let mut arrives = count("iifname \"w-other\" icmp type echo-request");
    arrives.extend(count("iifname \"w-other\" icmpv6 type echo-request"));
    arrives.retain(|line| line.contains("icmpv6") == line.contains("ip6 "));
    lab.other.nft(&rules("input", &COUNTERS, &arrives));
    lab.one.ping(to);
    (counted(&lab.router), counted(&lab.other))
}

fn pings_keep_their_ecn_and_see_marks(is_v6: bool) {
    if !ready(&["nft"]) {
        return;
    }
    let lab = Lab::new(is_v6);
    let (_one, other) = lab.start();
    for to in ["10.99.0.2", "fd99::2"] {
        for (inner, outer) in [
            ("not-ect", "not-ect"),
            ("ect1", "ect1"),
            ("ect0", "ect0"),
            ("ce", "ect0"),
        ] {
            for (mark, arrives) in [
                (None, inner),
                (Some("ce"), if inner == "not-ect" { inner } else { "ce" }),
                (Some("ect1"), if inner == "ect0" { "ect1" } else { inner }),
                (Some("not-ect"), inner),
            ] {
                let (way, arrived) = ping_marked(&lab, inner, mark, to);
                let case = format!("{inner} to {to}, marked {mark:?}");
                assert_eq!(way, [outer], "on the way: {case}");
                assert_eq!(arrived, [arrives, "dscp"], "arrived: {case}");
            }
        }
    }
    assert_eq!(other.drops("inner_malformed"), 0);
}

#[test]
fn p92_pings_over_ipv4_keep_their_ecn_and_see_marks() {
    pings_keep_their_ecn_and_see_marks(false);
}

#[test]
fn p92_pings_over_ipv6_keep_their_ecn_and_see_marks() {
    pings_keep_their_ecn_and_see_marks(true);
}

/// The sender of a marked stream is told, and says that it has slowed down.
fn streams_hear_of_congestion(is_v6: bool) {
    if !ready(&["nft"]) {
        return;
    }
    let lab = Lab::new(is_v6);
    let (one, other) = lab.start();
    for host in [&lab.one, &lab.other] {
        host.sysctl("net.ipv4.tcp_ecn", "1");
    }
    let marks = ["ip", "ip6"].map(|ip| {
        let marked = format!("numgen inc mod 20 0 {ip} ecn set ce counter name marked-seen");
        format!("iifname \"to-one\" udp dport 51820 {ip} ecn ect0 {marked}")
    });
    lab.router.nft(&rules("forward", &["marked"], &marks));
    let flag = |interface: &str, flag: &str| {
        format!(
            "iifname {interface:?} tcp flags & (syn | {flag}) == {flag} counter name {flag}-seen"
        )
    };
    for (to, ip) in [("10.99.0.2", "ip"), ("fd99::2", "ip6")] {
        lab.one
            .nft(&rules("input", &["ecn"], &[flag("w-one", "ecn")]));
        let ce = format!("iifname \"w-other\" {ip} ecn ce counter name ce-seen");
        let arrives = [ce, flag("w-other", "cwr")];
        lab.other.nft(&rules("input", &["ce", "cwr"], &arrives));
        transfer(&lab.one, &lab.other, to, 20_000_000);
        assert!(seen(&lab.router, "marked") > 0, "{to}");
        assert!(seen(&lab.other, "ce") > 0, "{to}: marks arrive");
        assert!(seen(&lab.one, "ecn") > 0, "{to}: the sender hears");
        assert!(seen(&lab.other, "cwr") > 0, "{to}: it slows down");
    }
    for gateway in [&one, &other] {
        let drops = gateway.status()["drops"].clone();
        for reason in [
            "inner_malformed",
            "outbound_malformed",
            "forged",
            "seal_failed",
        ] {
            assert_eq!(drops[reason].as_u64().unwrap_or(0), 0, "{drops:#}");
        }
    }
}

#[test]
fn p92_streams_over_ipv4_hear_of_congestion() {
    streams_hear_of_congestion(false);
}

#[test]
fn p92_streams_over_ipv6_hear_of_congestion() {
    streams_hear_of_congestion(true);
}

/// Initiations and responses are AF41, all else is 0, cookie replies too (kernel `send.c` and
/// `socket.c:wg_socket_send_buffer_as_reply_to_skb`): nobody learns from DSCP what is inside.
fn each_message_has_its_ds_field(is_v6: bool) {
    if !ready(&["nft"]) {
        return;
    }
    let mut lab = Lab::new(is_v6);
    lab.plan.peers[0].keepalive = Some(1);
    let ip = if is_v6 { "ip6" } else { "ip" };
    let mut lines = Vec::new();
    for (kind, name, dscp, more) in [
        (1, "initiation", "af41", ""),
        (2, "response", "af41", ""),
        (3, "cookie", "cs0", ""),
        (4, "data", "cs0", "udp length > 40"),
        (4, "keepalive", "cs0", "udp length 40"),
    ] {
        let matches = format!("meta l4proto udp @th,64,8 {kind} {more}");
        let right = format!("{ip} dscp {dscp} {ip} ecn not-ect");
        lines.push(format!("{matches} {right} counter name {name}-seen"));
        lines.push(format!(
            "{matches} {ip} dscp != {dscp} counter name wrong-seen"
        ));
        lines.push(format!(
            "{matches} {ip} ecn != not-ect counter name wrong-seen"
        ));
    }
    let counters = [
        "initiation",
        "response",
        "data",
        "keepalive",
        "cookie",
        "wrong",
    ];
    lab.router.nft(&rules("forward", &counters, &lines));
    let _gateways = lab.start();
    for name in &counters[..4] {
        until(name, PATIENCE, || {
            (seen(&lab.router, name) > 0).then_some(())
        });
    }
    let target = lab.plan.peers[0].endpoint.as_deref();
    let target = target.expect("an endpoint").parse().expect("an address");
    until_cookie(&lab.router, target, (&lab.one, "w-one"), || {
        seen(&lab.router, "cookie") > 0
    });
    assert_eq!(seen(&lab.router, "wrong"), 0);
}

#[test]
fn p92_each_message_over_ipv4_has_its_ds_field() {
    each_message_has_its_ds_field(false);
}

#[test]
fn p92_each_message_over_ipv6_has_its_ds_field() {
    each_message_has_its_ds_field(true);
}
