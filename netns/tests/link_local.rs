//! P82: a link-local endpoint is one on a certain link, and an IPv4 address is one however it is
//! written.

use weapon_netns::plan::introduce;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Home, Host, Pair, Plan, Weapon, link, ready, until};

/// The index of an interface, by which the kernel knows a scope.
fn index(host: &Host, interface: &str) -> String {
    let line = host.run(&format!("ip -o link show dev {interface}"));
    let (index, _) = line.split_once(':').expect("an index in front");
    index.to_owned()
}

/// A link-local endpoint on this link. Besides the address that a host was given it has one that it
/// made by itself, and may send from either.
#[track_caller]
fn learned_on(endpoint: &serde_json::Value, index: &str) {
    let text = endpoint.as_str().expect("an endpoint");
    let is_there = text.starts_with("[fe80::") && text.ends_with(&format!("%{index}]:51820"));
    assert!(is_there, "{text} is not on link {index}");
}

/// Two links of `one`, with the same link-local address at the other end of each: only the scope
/// tells which is the peer.
#[test]
fn p82_a_link_local_endpoint_keeps_its_scope() {
    if !ready(&[]) {
        return;
    }
    let (one, decoy, other) = (Host::new("one"), Host::new("decoy"), Host::new("other"));
    link(
        (&one, "eth0", &["fe80::1/64"]),
        (&decoy, "eth0", &["fe80::2/64"]),
    );
    link(
        (&one, "eth1", &["fe80::1/64"]),
        (&other, "eth7", &["fe80::2/64"]),
    );
    let mut plan = Plan::new("one", &["10.99.0.1/24"]);
    let mut other_plan = Plan::new("other", &["10.99.0.2/24"]);
    introduce(
        (&mut plan, &["10.99.0.1/32"]),
        (&mut other_plan, &["10.99.0.2/32"]),
        None,
    );
    plan.peers[0].endpoint = Some("[fe80::2%eth1]:51820".to_owned());
    let home = Home::new();
    let second = Weapon::start_with(&other, &home, "other.toml", &other_plan.toml());
    let first = Weapon::start_with(&one, &home, "one.toml", &plan.toml());
    one.ping("10.99.0.2");
    other.ping("10.99.0.1");
    let there = format!("[fe80::2%{}]:51820", index(&one, "eth1"));
    assert_eq!(first.peer("other")["endpoint"], there, "as configured");
    learned_on(&second.peer("one")["endpoint"], &index(&other, "eth7"));

    // The peer moves to the other link, with the address that it had.
    second.stop();
    other_plan.peers[0].endpoint = Some("[fe80::1%eth0]:51820".to_owned());
    let moved = Weapon::start_with(&decoy, &home, "other.toml", &other_plan.toml());
    decoy.ping("10.99.0.1");
    one.ping("10.99.0.2");
    learned_on(&first.peer("other")["endpoint"], &index(&one, "eth0"));
    assert_eq!(moved.stop().code(), Some(0));
}

#[test]
fn p82_a_mapped_endpoint_is_its_ipv4_address() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    pair.plan.peers[0].endpoint = Some("[::ffff:192.0.2.2]:51820".to_owned());
    let (one, other) = pair.start_both();
    assert_eq!(one.peer("other")["endpoint"], "192.0.2.2:51820");
    until("the answer has come", PATIENCE, || {
        (other.peer("one")["endpoint"] == "192.0.2.1:51820").then_some(())
    });
}
