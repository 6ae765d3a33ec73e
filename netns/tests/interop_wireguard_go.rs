//! weapon and Debian's wireguard-go, in both roles, over IPv4 and IPv6, with and without a
//! preshared key: handshake, ping, and 200 MB over TCP in both directions.

use std::time::Duration;

use weapon_netns::plan::{introduce, preshared_key};
use weapon_netns::traffic::transfer;
use weapon_netns::{Gateway, Home, Host, Kind, Plan, link, ready};

/// Over TCP, in each direction.
const TRANSFER_BYTES: u64 = 200_000_000;

/// What carries the tunnel.
#[derive(Clone, Copy)]
enum Underlay {
    V4,
    V6,
}

/// One tunnel: who begins, over what, and whether both have a preshared key.
fn interop(initiator: Kind, underlay: Underlay, with_preshared_key: bool) {
    if !ready(&["wg", "wireguard-go"]) {
        return;
    }
    let responder = if initiator == Kind::Weapon {
        Kind::WireguardGo
    } else {
        Kind::Weapon
    };
    let (home, one, other) = (Home::new(), Host::new("one"), Host::new("other"));
    link(
        (&one, "eth0", &["192.0.2.1/24", "2001:db8::1/64"]),
        (&other, "eth0", &["192.0.2.2/24", "2001:db8::2/64"]),
    );
    let mut plan = Plan::new("one", &["10.99.0.1/24", "fd99::1/64"]);
    let mut other_plan = Plan::new("other", &["10.99.0.2/24", "fd99::2/64"]);
    let key = with_preshared_key.then(preshared_key);
    introduce(
        (&mut plan, &["10.99.0.1/32", "fd99::1/128"]),
        (&mut other_plan, &["10.99.0.2/32", "fd99::2/128"]),
        key.as_ref(),
    );
    // Only one of them knows where the other is: that one has to begin.
    let (there, here) = match underlay {
        Underlay::V4 => ("192.0.2.2:51820", "192.0.2.1:51820"),
        Underlay::V6 => ("[2001:db8::2]:51820", "[2001:db8::1]:51820"),
    };
    plan.peers[0].endpoint = Some(there.to_owned());

    // The responder first: an initiation that nobody hears is repeated only after five seconds.
    let second = Gateway::start(responder, &other, &home, &other_plan);
    let first = Gateway::start(initiator, &one, &home, &plan);
    let (key, other_key) = (
        plan.private_key.public().to_string(),
        other_plan.private_key.public().to_string(),
    );
    for (host, remote) in [
        (&one, "10.99.0.2"),
        (&one, "fd99::2"),
        (&other, "10.99.0.1"),
        (&other, "fd99::1"),
    ] {
        host.ping(remote);
    }
    assert!(first.latest_handshake(&other_key).is_some());
    assert!(second.latest_handshake(&key).is_some());
    second.expect_endpoint(&key, here);
    for gateway in [&first, &second] {
        if let Gateway::Weapon(weapon) = gateway {
            let peer = &weapon.status()["peers"][0];
            let began = peer["session"]["initiator"].as_bool();
            assert_eq!(began, Some(initiator == Kind::Weapon), "{peer:#}");
        }
    }

    transfer(&one, &other, "10.99.0.2", TRANSFER_BYTES);
    transfer(&other, &one, "10.99.0.1", TRANSFER_BYTES);
    transfer(&one, &other, "fd99::2", TRANSFER_BYTES / 10);
    transfer(&other, &one, "fd99::1", TRANSFER_BYTES / 10);
    let lost = one.ping_once([10, 99, 0, 2].into(), Duration::from_secs(5));
    assert!(lost.is_ok(), "after the transfers: {lost:?}");
}

#[test]
fn weapon_begins_over_ipv4() {
    interop(Kind::Weapon, Underlay::V4, false);
}

#[test]
fn weapon_begins_over_ipv4_with_preshared_key() {
    interop(Kind::Weapon, Underlay::V4, true);
}

#[test]
fn weapon_begins_over_ipv6() {
    interop(Kind::Weapon, Underlay::V6, false);
}

#[test]
fn weapon_begins_over_ipv6_with_preshared_key() {
    interop(Kind::Weapon, Underlay::V6, true);
}

#[test]
fn wireguard_go_begins_over_ipv4() {
    interop(Kind::WireguardGo, Underlay::V4, false);
}

#[test]
fn wireguard_go_begins_over_ipv4_with_preshared_key() {
    interop(Kind::WireguardGo, Underlay::V4, true);
}

#[test]
fn wireguard_go_begins_over_ipv6() {
    interop(Kind::WireguardGo, Underlay::V6, false);
}

#[test]
fn wireguard_go_begins_over_ipv6_with_preshared_key() {
    interop(Kind::WireguardGo, Underlay::V6, true);
}
