//! What is wrong between two gateways, one thing at a time, and what `weapon doctor` says of it at
//! both ends.

use std::net::UdpSocket;
use std::path::Path;

use serde_json::Value;
use weapon_netns::plan::{preshared_key, private_key};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Host, Pair, Said, Weapon, ready, until};

/// What `weapon doctor --json` found.
#[derive(Debug)]
struct Found {
    code: i32,
    checks: Vec<Value>,
}

impl Found {
    /// Those with this name, and this result.
    fn all<'a>(&'a self, name: &'a str, result: &'a str) -> impl Iterator<Item = &'a Value> {
        self.checks
            .iter()
            .filter(move |check| check["name"] == name && check["result"] == result)
    }

    /// The check is there, with words of its sentence and its remedy.
    #[track_caller]
    fn assert(&self, name: &str, result: &str, words: &str) {
        let mut all = self.all(name, result);
        let found = all.any(|check| {
            let text = format!("{} {}", check["says"], check["remedy"]);
            text.contains(words)
        });
        assert!(found, "no {name} is {result} with {words:?}: {self:#?}");
    }

    #[track_caller]
    fn assert_well(&self) {
        let bad = self.checks.iter().filter(|check| check["result"] == "bad");
        assert_eq!(bad.count(), 0, "{self:#?}");
        assert_eq!(self.code, 0);
        self.assert("handshake", "good", "there is a session");
    }
}

/// `weapon doctor NAME`, at `host`.
#[track_caller]
fn doctor(pair: &Pair, host: &Host, name: &str) -> Found {
    let said = Said::by(pair.home.command(host).args(["doctor", name, "--json"]));
    let found: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    let checks = found["checks"].as_array().expect("checks").clone();
    let is_bad = checks.iter().any(|check| check["result"] == "bad");
    let code = said.code;
    assert_eq!((found["ok"] == true, code), (!is_bad, i32::from(is_bad)));
    Found { code, checks }
}

/// What it says at `one`, which begins, and then at `other`.
#[track_caller]
fn both(pair: &Pair) -> (Found, Found) {
    let one = doctor(pair, &pair.one, "one.toml");
    (one, doctor(pair, &pair.other, "other.toml"))
}

#[test]
fn all_is_well() {
    if !ready(&["nft"]) {
        return;
    }
    let pair = Pair::new();
    let _gateways = pair.start_both();
    let (one, other) = both(&pair);
    one.assert_well();
    other.assert_well();
    one.assert("handshake", "good", "round trip");
    one.assert("port", "good", "UDP port 51820 is open");
    one.assert("path", "good", "through eth0");
    one.assert("route", "good", "10.99.0.2/32 goes through w-one");
    one.assert("mtu", "good", "1420 in the tunnel fits into 1500");

    let text = pair.weapon(&["doctor", "one"]).out;
    assert!(text.starts_with("gateway one\n  ok privilege"), "{text}");
    assert!(!text.contains('\x1b'), "no colours into a pipe: {text}");
}

#[test]
fn an_idle_tunnel_is_tried() {
    if !ready(&["nft"]) {
        return;
    }
    let pair = Pair::new();
    let (_other, _one) = (pair.start_other(), pair.start());
    doctor(&pair, &pair.one, "one").assert_well();
}

#[test]
fn a_key_that_the_responder_does_not_know() {
    if !ready(&["nft"]) {
        return;
    }
    let mut pair = Pair::new();
    pair.other_plan.peers[0].public_key = private_key().public();
    let (_other, _one) = (pair.start_other(), pair.start());
    let (one, other) = both(&pair);
    one.assert("handshake", "bad", "`weapon doctor` there");
    let key = pair.plan.private_key.public();
    other.assert("rejected", "bad", &format!("key {key} tried"));
    other.assert(
        "rejected",
        "bad",
        "times from 192.0.2.1:51820 and is not configured",
    );
}

#[test]
fn preshared_keys_that_differ() {
    if !ready(&["nft"]) {
        return;
    }
    for is_ours in [true, false] {
        let mut pair = Pair::new();
        let plan = if is_ours {
            &mut pair.plan
        } else {
            &mut pair.other_plan
        };
        plan.peers[0].preshared_key = Some(preshared_key());
        let (other, _one) = (pair.start_other(), pair.start());
        let one = doctor(&pair, &pair.one, "one.toml");
        one.assert("handshake", "bad", "the preshared keys differ");
        // The packets in the tunnel ask again after 5 s.
        until("a second initiation", PATIENCE, || {
            let asked = other.peer("one")["handshake"]["unconfirmed"].as_u64();
            (asked >= Some(2)).then_some(())
        });
        let found = doctor(&pair, &pair.other, "other.toml");
        found.assert("handshake", "bad", "the preshared keys differ, or");
    }
}

#[test]
fn a_public_key_that_is_not_the_responders() {
    if !ready(&["nft"]) {
        return;
    }
    let mut pair = Pair::new();
    pair.plan.peers[0].public_key = private_key().public();
    let (_other, _one) = (pair.start_other(), pair.start());
    let (one, other) = both(&pair);
    one.assert("handshake", "bad", "has another one than we think");
    other.assert("rejected", "warning", "somebody at 192.0.2.1:51820 tried");
    let key = pair.other_plan.private_key.public();
    other.assert("rejected", "warning", &format!("it must have {key} for us"));
}

/// The wall clock is the machine's, which no test may step. To the peer it is the same when the
/// gateway was ahead, by the mark in its file, and is then no more.
#[test]
fn a_clock_that_went_back() {
    if !ready(&["nft"]) {
        return;
    }
    let pair = Pair::new();
    let mark = pair.home.state().join("one.timestamp");
    // 2^62 + 10 is 1970 (TAI64), and this far in the year 2096.
    std::fs::write(&mark, "40000000ee6b280000000000\n").expect("a mark");
    let (one, _other) = pair.start_both();
    let ahead = doctor(&pair, &pair.one, "one.toml");
    ahead.assert("clock", "warning", "behind the timestamps that were sent");
    one.stop();

    std::fs::remove_file(&mark).expect("the mark");
    let _one = pair.start();
    let found = doctor(&pair, &pair.one, "one.toml");
    found.assert("handshake", "bad", "its clock or ours went back");
    // It still has the session of before.
    let found = doctor(&pair, &pair.other, "other.toml");
    found.assert("handshake", "warning", "a timestamp that is not newer");
}

#[test]
fn a_port_that_is_closed() {
    if !ready(&["nft"]) {
        return;
    }
    let pair = Pair::new();
    let _one = pair.start();
    pair.home.write("other.toml", &pair.other_plan.toml());
    let (one, other) = both(&pair);
    one.assert("handshake", "bad", "nobody listens at this port");
    other.assert("gateway", "bad", "`weapon up other.toml`");
    other.assert("port", "good", "UDP port 51820 is free");
    other.assert("interface", "not_applicable", "w-other");

    let _taken = pair
        .other
        .enter(|| UdpSocket::bind("0.0.0.0:51820").expect("a port"));
    let found = doctor(&pair, &pair.other, "other.toml");
    found.assert("port", "bad", "UDP port 51820 is taken by");
    let process = format!("(process {})", std::process::id());
    found.assert("port", "bad", &process);
}

/// All but what has the gateway's mark goes into the tunnel, as with a default route there.
#[test]
fn a_port_that_is_closed_behind_a_mark() {
    if !ready(&["nft"]) {
        return;
    }
    let mut pair = Pair::new();
    pair.plan.fwmark = 7;
    let _one = pair.start();
    pair.one.run("ip route add default dev w-one table 100");
    pair.one.run("ip rule add not fwmark 7 lookup 100");
    let one = doctor(&pair, &pair.one, "one.toml");
    one.assert("path", "good", "through eth0");
    one.assert("handshake", "bad", "nobody listens at this port");
}

#[test]
fn a_name_that_does_not_resolve() {
    if !ready(&["nft"]) {
        return;
    }
    let mut pair = Pair::new();
    pair.plan.peers[0].endpoint = Some("gateway.invalid:51820".to_owned());
    let (_other, _one) = (pair.start_other(), pair.start());
    let (one, other) = both(&pair);
    one.assert("endpoint", "bad", "gateway.invalid:51820 does not resolve");
    one.assert("handshake", "not_applicable", "address is not known");
    other.assert("endpoint", "not_applicable", "it must come to us");
}

#[test]
fn an_interface_that_is_down() {
    if !ready(&["nft"]) {
        return;
    }
    let pair = Pair::new();
    let (one, _other) = pair.start_both();
    pair.other.run("ip link set w-other down");
    pair.one.run("ip link set w-one down");
    until("the gateway has seen it", PATIENCE, || {
        (one.status()["up"] == false).then_some(())
    });
    let (one, other) = both(&pair);
    one.assert("interface", "bad", "`ip link set w-one up`");
    one.assert("port", "not_applicable", "closed");
    other.assert("interface", "bad", "w-other is down");
}

/// A network behind each, and the routes to it.
fn with_networks() -> Pair {
    let mut pair = Pair::new();
    pair.plan.peers[0].networks.push("10.50.0.0/16".to_owned());
    let theirs = &mut pair.other_plan.peers[0].networks;
    theirs.push("10.60.0.0/16".to_owned());
    pair
}

#[test]
fn a_route_that_is_missing() {
    if !ready(&["nft"]) {
        return;
    }
    let pair = with_networks();
    let _gateways = pair.start_both();
    pair.one.run("ip route del 10.50.0.0/16");
    pair.other.run("ip route del 10.60.0.0/16");
    let (one, other) = both(&pair);
    one.assert(
        "route",
        "bad",
        "the route to 10.50.0.0/16 through w-one is missing",
    );
    one.assert("route", "bad", "`ip route add 10.50.0.0/16 dev w-one`");
    other.assert(
        "route",
        "bad",
        "the route to 10.60.0.0/16 through w-other is missing",
    );
    one.assert("handshake", "good", "there is a session");
}

#[test]
fn a_route_that_is_shadowed() {
    if !ready(&["nft"]) {
        return;
    }
    let pair = with_networks();
    let _gateways = pair.start_both();
    // By a more specific one: in part, and where it matters.
    pair.one.run("ip route add 10.50.7.0/24 dev eth0");
    pair.other.run("ip route add 10.60.0.0/24 dev eth0");
    let (one, other) = both(&pair);
    one.assert(
        "route",
        "warning",
        "10.50.7.0/24, a part of 10.50.0.0/16, goes through eth0",
    );
    let words = "10.60.0.0/16 is shadowed by the route to 10.60.0.0/24 through eth0";
    other.assert("route", "bad", words);

    // By a rule.
    pair.one.run("ip route add 10.50.0.0/16 dev eth0 table 100");
    pair.one.run("ip rule add to 10.50.0.0/16 lookup 100");
    let one = doctor(&pair, &pair.one, "one.toml");
    one.assert("route", "bad", "a routing rule or another table");
}

#[test]
fn a_route_to_the_peer_that_leads_into_the_tunnel() {
    if !ready(&["nft"]) {
        return;
    }
    let pair = Pair::new();
    let (_other, _one) = (pair.start_other(), pair.start());
    pair.one.run("ip route add 192.0.2.2/32 dev w-one");
    let one = doctor(&pair, &pair.one, "one.toml");
    one.assert("path", "bad", "into the tunnel itself (w-one)");
}

#[test]
fn rules_that_drop() {
    if !ready(&["nft"]) {
        return;
    }
    let pair = Pair::new();
    let (_other, _one) = (pair.start_other(), pair.start());
    let drop = |hook: &str| {
        format!(
            "table inet wall {{\n chain {hook} {{\n  type filter hook {hook} priority 0;\n  \
             udp dport 51820 counter drop\n }}\n}}\n"
        )
    };
    pair.one.nft(&drop("output"));
    let (one, other) = both(&pair);
    one.assert(
        "handshake",
        "bad",
        "this machine's firewall does not let out",
    );
    one.assert(
        "firewall",
        "bad",
        "inet wall output (output) drops UDP port 51820",
    );
    other.assert("firewall", "good", "51820");

    // In this order, so that no handshake passes in between.
    pair.other.nft(&drop("input"));
    pair.one.run("nft delete table inet wall");
    let (one, other) = both(&pair);
    one.assert("handshake", "bad", "a firewall drops UDP");
    one.assert("firewall", "good", "51820");
    other.assert(
        "firewall",
        "bad",
        "inet wall input (input) drops UDP port 51820",
    );
}

#[test]
fn what_is_asked_for_wrongly() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    for (target, code, words) in [
        ("missing.toml", 1, "missing.toml: the file does not exist"),
        ("nobody", 2, "no gateway of this name"),
    ] {
        let said = pair.weapon(&["doctor", target]);
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.error.contains(words), "{said:?}");
    }

    pair.home.write("one.toml", "[gateway]\nlisden = 1\n");
    let found = doctor(&pair, &pair.one, "./one.toml");
    found.assert("configuration", "bad", "lisden");
}

/// The host of `one` with a LAN at `eth1`, and a host there.
fn with_lan(one: &str, there: &str) -> (Pair, Host) {
    let pair = Pair::new();
    let lan = Host::new("lan");
    weapon_netns::link((&pair.one, "eth1", &[one]), (&lan, "eth0", &[there]));
    (pair, lan)
}

/// Both gateways, that of `one` with these lines in its `[gateway]`.
fn start_both(pair: &Pair, lines: &str) -> [Weapon; 2] {
    let gateway = format!("[gateway]\n{lines}");
    let text = pair.plan.toml().replace("[gateway]\n", &gateway);
    let other = pair.start_other();
    let one = Weapon::start_with(&pair.one, &pair.home, "one.toml", &text);
    [one, other]
}

#[test]
fn what_lies_behind_us_is_not_forwarded() {
    if !ready(&["nft"]) {
        return;
    }
    let (pair, _lan) = with_lan("10.70.0.1/24", "10.70.0.2/24");
    // Else the gateway would see to it.
    let _gateways = start_both(&pair, "firewall = \"off\"\nnetworks = [\"10.70.0.0/24\"]\n");
    for interface in ["eth1", "w-one"] {
        pair.one
            .sysctl(&format!("net.ipv4.conf.{interface}.forwarding"), "0");
    }
    let policy = "type filter hook forward priority 0; policy drop;";
    let rules = format!("table ip filter {{\n chain FORWARD {{\n  {policy}\n }}\n}}\n");
    pair.one.nft(&rules);
    let found = doctor(&pair, &pair.one, "one");
    found.assert(
        "forwarding",
        "bad",
        "`sysctl -w net.ipv4.conf.eth1.forwarding=1`",
    );
    found.assert("forward chains", "warning", "ip filter FORWARD");
    for interface in ["eth1", "w-one"] {
        pair.one
            .sysctl(&format!("net.ipv4.conf.{interface}.forwarding"), "1");
    }
    let found = doctor(&pair, &pair.one, "one");
    found.assert("forwarding", "good", "10.70.0.0/24");
}

/// IPv6 has a switch for all interfaces, and newer kernels one for each.
#[test]
fn ipv6_behind_us_is_forwarded_by_one_switch_or_the_other() {
    if !ready(&[]) {
        return;
    }
    let (pair, _lan) = with_lan("fd70::1/64", "fd70::2/64");
    let _gateways = start_both(&pair, "firewall = \"off\"\nnetworks = [\"fd70::/64\"]\n");
    let all = "net.ipv6.conf.all.forwarding";
    pair.one.sysctl(all, "0");
    let found = doctor(&pair, &pair.one, "one");
    found.assert("forwarding", "bad", &format!("`sysctl -w {all}=1`"));
    let newer = "/proc/sys/net/ipv6/conf/eth1/force_forwarding";
    if pair.one.enter(|| Path::new(newer).exists()) {
        for interface in ["eth1", "w-one"] {
            let one = format!("net.ipv6.conf.{interface}.force_forwarding");
            pair.one.sysctl(&one, "1");
        }
    } else {
        pair.one.sysctl(all, "1");
    }
    let found = doctor(&pair, &pair.one, "one");
    found.assert("forwarding", "good", "fd70::/64");
}

/// Who keeps the rules is asked for them, also where others drop what is forwarded.
#[test]
fn rules_that_the_gateway_keeps() {
    if !ready(&["nft", "iptables"]) {
        return;
    }
    let (pair, _lan) = with_lan("10.70.0.1/24", "10.70.0.2/24");
    for line in [
        "iptables -N DOCKER-USER",
        "iptables -A FORWARD -j DOCKER-USER",
        "iptables -P FORWARD DROP",
    ] {
        pair.one.run(line);
    }
    let _gateways = start_both(&pair, "networks = [\"lan:eth1\"]\n");
    let found = doctor(&pair, &pair.one, "one");
    found.assert("rules", "good", "as they should be");
}
