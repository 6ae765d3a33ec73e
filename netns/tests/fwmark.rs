//! P94: what a gateway sends carries its mark, on both families, seen by nftables on its way out.

use weapon_netns::plan::introduce;
use weapon_netns::pressure::until_cookie;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Home, Host, Plan, Weapon, link, ready, until};

const MARK: u32 = 0x7ea9;

/// Counts WireGuard's messages on their way out, by type (the first byte behind the UDP header)
/// and mark.
const COUNTERS: &str = "
table inet marks {
    counter initiation { }
    counter response { }
    counter cookie { }
    counter data { }
    counter unmarked { }
    chain out {
        type filter hook output priority filter
        udp dport 51820 meta mark 0x7ea9 @th,64,8 1 counter name initiation
        udp dport 51820 meta mark 0x7ea9 @th,64,8 2 counter name response
        udp dport 51820 meta mark 0x7ea9 @th,64,8 3 counter name cookie
        udp dport 51820 meta mark 0x7ea9 @th,64,8 4 counter name data
        udp dport 51820 meta mark != 0x7ea9 counter name unmarked
    }
}
";

fn packets(host: &Host, counter: &str) -> u64 {
    host.nft_counter("marks", counter)
}

fn all_messages_are_marked(endpoint: &str) {
    if !ready(&["nft"]) {
        return;
    }
    let (home, one, other) = (Home::new(), Host::new("one"), Host::new("other"));
    link(
        (&one, "eth0", &["192.0.2.1/24", "2001:db8::1/64"]),
        (&other, "eth0", &["192.0.2.2/24", "2001:db8::2/64"]),
    );
    let stranger = Host::new("stranger");
    link(
        (&stranger, "eth0", &["198.51.100.3/24", "2001:db8:1::3/64"]),
        (&other, "eth1", &["198.51.100.2/24", "2001:db8:1::2/64"]),
    );
    stranger.run("ip route add default via 198.51.100.2");
    stranger.run("ip -6 route add default via 2001:db8:1::2");
    one.nft(COUNTERS);
    other.nft(COUNTERS);
    let mut plan = Plan::new("one", &["10.99.0.1/24"]);
    let mut other_plan = Plan::new("other", &["10.99.0.2/24"]);
    introduce(
        (&mut plan, &["10.99.0.1/32"]),
        (&mut other_plan, &["10.99.0.2/32"]),
        None,
    );
    plan.fwmark = MARK;
    other_plan.fwmark = MARK;
    plan.peers[0].endpoint = Some(endpoint.to_owned());
    plan.peers[0].keepalive = Some(1);
    let second = Weapon::start_with(&other, &home, "other.toml", &other_plan.toml());
    let first = Weapon::start_with(&one, &home, "one.toml", &plan.toml());
    one.ping("10.99.0.2");
    for gateway in [&first, &second] {
        assert_eq!(gateway.status()["fwmark"], MARK);
    }
    assert!(packets(&one, "initiation") >= 1);
    assert!(packets(&other, "response") >= 1);
    for host in [&one, &other] {
        assert!(packets(host, "data") >= 1, "{}", host.name);
        assert_eq!(packets(host, "unmarked"), 0, "{}", host.name);
    }

    // Down and up again: other sockets, and perhaps another port.
    let before = packets(&one, "initiation");
    one.run("ip link set w-one down");
    until("the gateway has noticed", PATIENCE, || {
        first.log().contains("interface is down").then_some(())
    });
    one.run("ip link set w-one up");
    one.ping("10.99.0.2");
    assert!(packets(&one, "initiation") > before);

    // The fourth kind is sent by a gateway under load alone.
    let target = endpoint.parse().expect("an address");
    until_cookie(&stranger, target, (&one, "w-one"), || {
        packets(&other, "cookie") > 0
    });
    for host in [&one, &other] {
        assert_eq!(packets(host, "unmarked"), 0, "{}", host.name);
    }
}

#[test]
fn p94_all_messages_over_ipv4_are_marked() {
    all_messages_are_marked("192.0.2.2:51820");
}

#[test]
fn p94_all_messages_over_ipv6_are_marked() {
    all_messages_are_marked("[2001:db8::2]:51820");
}

/// What a mark is good for: a rule that looks at it takes the gateway's packets another way.
#[test]
fn p94_a_routing_rule_sees_the_mark() {
    if !ready(&["nft"]) {
        return;
    }
    let (home, one, other) = (Home::new(), Host::new("one"), Host::new("other"));
    link(
        (&one, "eth0", &["192.0.2.1/24"]),
        (&other, "eth0", &["192.0.2.2/24"]),
    );
    let mut plan = Plan::new("one", &["10.99.0.1/24"]);
    let mut other_plan = Plan::new("other", &["10.99.0.2/24"]);
    introduce(
        (&mut plan, &["10.99.0.1/32"]),
        (&mut other_plan, &["10.99.0.2/32"]),
        None,
    );
    plan.fwmark = MARK;
    plan.peers[0].endpoint = Some("192.0.2.2:51820".to_owned());
    // Everybody else is led astray.
    one.run("ip route add blackhole 192.0.2.2/32");
    one.run("ip route add 192.0.2.0/24 dev eth0 table 77");
    one.run(&format!("ip rule add fwmark {MARK} lookup 77 priority 50"));
    let _second = Weapon::start_with(&other, &home, "other.toml", &other_plan.toml());
    let _first = Weapon::start_with(&one, &home, "one.toml", &plan.toml());
    one.ping("10.99.0.2");
}
