//! The interface's MTU is followed when somebody changes it, and large packets pass.

use std::time::Duration;

use weapon_io::ping::Ping;
use weapon_netns::traffic::transfer;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Host, Pair, Tap, ready, until};

/// Pings with as many bytes of payload as given.
#[track_caller]
fn large_ping(host: &Host, remote: &str, payload_len: usize) {
    let remote = remote.parse().expect("an address");
    let payload: Vec<u8> = (0..payload_len).map(|at| (at % 251) as u8).collect();
    let answered = host.enter(|| Ping::open(remote, &payload)?.once(Duration::from_secs(5)));
    answered.unwrap_or_else(|error| panic!("{payload_len} bytes: {error}"));
}

#[test]
fn changed_mtu_is_followed_and_large_packets_pass() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let (one, other) = pair.start_both();
    // 1500 of the cable less 80.
    assert_eq!(one.status()["mtu"], 1420);
    for mtu in [1280, 1420, 1419, 576, 1500, 9000] {
        if mtu < 1280 {
            // Linux takes IPv6 from an interface that is too small for it.
            assert_eq!(mtu, 576);
        }
        for (host, name, weapon) in [(&pair.one, "one", &one), (&pair.other, "other", &other)] {
            host.run(&format!("ip link set w-{name} mtu {mtu}"));
            until("the gateway notices", PATIENCE, || {
                (weapon.status()["mtu"] == mtu).then_some(())
            });
        }
        // IP and ICMP headers are 28 bytes: just fitting, one more, and in many fragments.
        for len in [mtu - 28, mtu - 27, mtu - 29, 4000, 20_000] {
            large_ping(&pair.one, "10.99.0.2", len);
        }
        transfer(&pair.one, &pair.other, "10.99.0.2", 2_000_000);
        transfer(&pair.other, &pair.one, "10.99.0.1", 2_000_000);
    }
    let malformed = one.drops("outbound_malformed") + other.drops("inner_malformed");
    assert_eq!(malformed, 0);
    assert_eq!(one.stop().code(), Some(0));
    assert_eq!(other.stop().code(), Some(0));
}

/// Padding stops at the MTU of the route that a packet has taken: the test of the kernel's own
/// WireGuard, whose router lets nothing pass that is padded to the interface's.
#[test]
fn p89_padding_stops_at_the_mtu_of_a_route() {
    if !ready(&["nft"]) {
        return;
    }
    let pair = Pair::new();
    let (one, other) = pair.start_both();
    for (host, name, weapon) in [(&pair.one, "one", &one), (&pair.other, "other", &other)] {
        // Longer than 1300 with 60 of IPv4, UDP and WireGuard is padding to the interface's MTU.
        host.nft(
            "table inet guard {\nchain it {\ntype filter hook input priority filter\n\
             iifname \"eth0\" meta length 1360 drop\n}\n}\n",
        );
        host.run(&format!("ip link set w-{name} mtu 1300"));
        until("the gateway notices", PATIENCE, || {
            (weapon.status()["mtu"] == 1300).then_some(())
        });
    }
    let remote = "10.99.0.2".parse().expect("an address");
    let payload = [0; 1269];
    let ping = || Ping::open(remote, &payload)?.once(Duration::from_secs(1));
    assert!(pair.one.enter(ping).is_err(), "padded to 1300");
    for (host, name, there) in [(&pair.one, "one", 2), (&pair.other, "other", 1)] {
        host.run(&format!(
            "ip route replace 10.99.0.{there}/32 dev w-{name} mtu 1299"
        ));
    }
    // The gateways hear of the routes, and no other event says so.
    until("padding stops at 1299", PATIENCE, || {
        pair.one.enter(ping).ok()
    });
    large_ping(&pair.one, "10.99.0.2", 1269);
    // The next one is not padded at all, and one of 1300 is in two fragments.
    large_ping(&pair.one, "10.99.0.2", 1271);
    for (host, name, there) in [(&pair.one, "one", 2), (&pair.other, "other", 1)] {
        host.run(&format!("ip route replace 10.99.0.{there}/32 dev w-{name}"));
    }
    until("padding goes up to 1300 again", PATIENCE, || {
        pair.one.enter(ping).is_err().then_some(())
    });
}

/// 32 bytes of our own, 8 of UDP, 20 or 40 of IP: on a cable of 1500 bytes the tunnel has 1420, and
/// its longest packet fills the cable over IPv6 to the last byte.
#[test]
fn p90_the_overhead_is_60_or_80_bytes() {
    if !ready(&[]) {
        return;
    }
    for (endpoint, overhead) in [("192.0.2.2:51820", 60), ("[2001:db8::2]:51820", 80)] {
        let mut pair = Pair::new();
        pair.plan.peers[0].endpoint = Some(endpoint.to_owned());
        let (one, other) = pair.start_both();
        assert_eq!(one.status()["mtu"], 1420);
        let mut tap = Tap::new(&pair.one, "eth0");
        // IP and ICMP headers are 28 bytes.
        large_ping(&pair.one, "10.99.0.2", 1420 - 28);
        let longest = tap.outgoing().iter().map(|it| it.payload.len()).max();
        let headers = overhead - 32;
        assert_eq!(longest.map(|len| len + headers), Some(1420 + overhead));
        drop((one, other));
    }
}

/// A cable with a smaller MTU makes a smaller tunnel.
#[test]
fn mtu_comes_from_the_way_to_the_peers() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    pair.one.run("ip link set eth0 mtu 1400");
    let one = pair.start();
    assert_eq!(one.status()["mtu"], 1320);
    assert!(pair.one.run("ip -o link show w-one").contains("mtu 1320"));
    assert_eq!(one.stop().code(), Some(0));
}
