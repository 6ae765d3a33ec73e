//! Cryptokey routing: who may send from where, and what a sender hears when nobody is there.

use std::net::IpAddr;
use std::time::Duration;

use weapon_netns::plan::Plan;
use weapon_netns::{Gateway, Home, Host, Kind, Weapon, link, ready};

const PATIENCE: Duration = Duration::from_secs(1);

/// P88: an address that belongs to another peer, by the longer prefix, cannot be sent from; but
/// the message is authentic, so its sender's new place is learned all the same.
#[test]
fn p88_a_spoofed_source_is_dropped_and_its_sender_still_roams() {
    if !ready(&["wg", "wireguard-go"]) {
        return;
    }
    let (home, host, liar_host) = (Home::new(), Host::new("hub"), Host::new("liar"));
    link(
        (&host, "eth0", &["192.0.2.1/24", "2001:db8::1/64"]),
        (&liar_host, "eth0", &["192.0.2.2/24", "2001:db8::2/64"]),
    );
    liar_host.sysctl("net.ipv4.conf.eth0.promote_secondaries", "1");
    let mut hub_plan = Plan::new("hub", &["10.99.0.1/32", "fd99::1/128"]);
    // .2 is its own, .3 the owner's.
    let mut liar_plan = Plan::new("liar", &["10.99.0.2/32", "fd99::2/128"]);
    let owner_plan = Plan::new("owner", &[]);
    hub_plan
        .peers
        .push(liar_plan.as_peer(&["10.99.0.0/24", "fd99::/64"]));
    hub_plan
        .peers
        .push(owner_plan.as_peer(&["10.99.0.3/32", "fd99::3/128"]));
    let mut hub_as_peer = hub_plan.as_peer(&["10.99.0.1/32", "fd99::1/128"]);
    hub_as_peer.endpoint = Some("192.0.2.1:51820".to_owned());
    liar_plan.peers.push(hub_as_peer);
    let hub = Weapon::start_with(&host, &home, "hub.toml", &hub_plan.toml());
    let liar = Gateway::start(Kind::WireguardGo, &liar_host, &home, &liar_plan);
    let Gateway::Daemon(liar) = liar else {
        unreachable!("started as such");
    };
    let key = liar_plan.private_key.public().to_string();
    let endpoint = || hub.peer(&key)["endpoint"].clone();
    liar_host.ping("10.99.0.1");
    liar_host.ping("fd99::1");
    assert_eq!(hub.drops("wrong_source"), 0);
    assert_eq!(endpoint(), "192.0.2.2:51820");

    // It takes the owner's addresses, and at the same time goes somewhere else.
    let interface = &liar.interface;
    for command in [
        // With its last address an interface loses its routes.
        format!("ip address add 10.99.0.3/32 dev {interface}"),
        format!("ip address del 10.99.0.2/32 dev {interface}"),
        format!("ip address add fd99::3/128 dev {interface} nodad"),
        format!("ip address del fd99::2/128 dev {interface}"),
        "ip address add 192.0.2.12/24 dev eth0".to_owned(),
        "ip address del 192.0.2.2/24 dev eth0".to_owned(),
    ] {
        liar_host.run(&command);
    }
    // wireguard-go forgets the address that it answered from when the kernel says EINVAL. Newer
    // kernels say ENETUNREACH, so it has to be told.
    let hub_key = hub_plan.private_key.public().to_string();
    liar.wg("set", &["peer", &hub_key, "endpoint", "192.0.2.1:51820"]);
    let hub_addresses: [IpAddr; 2] = [
        "10.99.0.1".parse().expect("an address"),
        "fd99::1".parse().expect("an address"),
    ];
    for (count, address) in [(1, hub_addresses[0]), (2, hub_addresses[1])] {
        let answer = liar_host.ping_once(address, PATIENCE);
        assert!(answer.is_err(), "{address} was answered");
        assert_eq!(hub.drops("wrong_source"), count);
    }
    assert_eq!(endpoint(), "192.0.2.12:51820");

    // An address that is nobody else's is its to use.
    liar_host.run(&format!("ip address add 10.99.0.77/32 dev {interface}"));
    liar_host.run(&format!("ip address del 10.99.0.3/32 dev {interface}"));
    liar_host.ping("10.99.0.1");
    assert_eq!(hub.drops("wrong_source"), 2);
}

/// P84: `ping` is told at once, by us, that the host cannot be reached.
#[test]
fn p84_ping_hears_that_no_peer_has_the_destination() {
    if !ready(&["ping"]) {
        return;
    }
    let (home, host, other) = (Home::new(), Host::new("lonely"), Host::new("other"));
    link(
        (&host, "eth0", &["192.0.2.1/24"]),
        (&other, "eth0", &["192.0.2.2/24"]),
    );
    let mut plan = Plan::new("lonely", &["10.99.0.1/24", "fd99::1/64"]);
    // One that is nowhere yet, so that there are two reasons to be unreachable.
    let absent = Plan::new("absent", &[]);
    plan.peers
        .push(absent.as_peer(&["10.99.0.9/32", "fd99::9/128"]));
    let weapon = Weapon::start_with(&host, &home, "lonely.toml", &plan.toml());
    for (remote, words) in [
        ("10.99.0.77", "Destination Host Unreachable"),
        ("fd99::77", "Destination unreachable: Address unreachable"),
        ("10.99.0.9", "Destination Host Unreachable"),
        ("fd99::9", "Destination unreachable: Address unreachable"),
    ] {
        let said = host
            .attempt(&format!("ping -n -c 1 -W 2 {remote}"))
            .expect_err("nobody to answer");
        assert!(said.contains(words), "ping {remote} said:\n{said}");
    }
    let told = |reason| weapon.drops(reason);
    assert!(told("no_route") >= 2, "{:#}", weapon.status());
    assert!(told("no_endpoint") >= 2, "{:#}", weapon.status());
}
