//! Hosts whose network cards, kernels or administrators have no offloads: the tunnel is right all
//! the same, and says what it does without.

use weapon_netns::traffic::transfer;
use weapon_netns::{Pair, Weapon, ready};

const BYTES: u64 = 30_000_000;

#[track_caller]
fn both_ways(pair: &Pair) {
    for (address, back) in [("10.99.0.2", "10.99.0.1"), ("fd99::2", "fd99::1")] {
        transfer(&pair.one, &pair.other, address, BYTES);
        transfer(&pair.other, &pair.one, back, BYTES);
    }
}

#[track_caller]
fn assert_nothing_died(gateways: [&Weapon; 2]) {
    for gateway in gateways {
        let status = gateway.status();
        for (reason, count) in status["drops"].as_object().expect("drops by reason") {
            // Solicitations of IPv6 that nobody in the tunnel answers.
            assert!(reason == "no_route" || count == 0, "{reason}: {count}");
        }
        assert_eq!(status["counters"]["send_failures"], 0);
        assert_eq!(status["counters"]["write_failures"], 0);
    }
}

/// The cable's cards cut no superpackets: the kernel cuts trains in software.
#[test]
fn cards_without_segmentation() {
    if !ready(&["ethtool"]) {
        return;
    }
    let pair = Pair::new();
    for host in [&pair.one, &pair.other] {
        host.run("ethtool -K eth0 tso off gso off gro off tx-udp-segmentation off");
    }
    let (one, other) = pair.start_both();
    both_ways(&pair);
    assert_nothing_died([&one, &other]);
    assert_eq!(one.stop().code(), Some(0));
    assert_eq!(other.stop().code(), Some(0));
}

/// A card that cannot checksum makes kernels before Linux 6.11 refuse trains with EIO
/// (net/ipv4/udp.c, `udp_send_skb`): each datagram is sent again singly. Later ones do it
/// themselves. Either way nothing is lost while traffic flows.
#[test]
fn a_card_that_loses_its_checksums_while_traffic_flows() {
    if !ready(&["ethtool"]) {
        return;
    }
    let pair = Pair::new();
    let (one, other) = pair.start_both();
    transfer(&pair.one, &pair.other, "10.99.0.2", BYTES);
    pair.one.run("ethtool -K eth0 tx off");
    both_ways(&pair);
    assert_nothing_died([&one, &other]);
    assert_eq!(one.stop().code(), Some(0));
    assert_eq!(other.stop().code(), Some(0));
}

/// Each switch of the configuration, alone and all together.
#[test]
fn every_switch_of_the_configuration() {
    if !ready(&[]) {
        return;
    }
    let all = ["tcp", "udp", "gso", "gro"];
    let sets = all.iter().map(|&one| vec![one]).chain([all.to_vec()]);
    for off in sets {
        let pair = Pair::new();
        let mut text = pair.plan.toml() + "\n[offload]\n";
        for name in &off {
            text += &format!("{name} = false\n");
        }
        let other = pair.start_other();
        let one = Weapon::start_with(&pair.one, &pair.home, "one.toml", &text);
        pair.one.ping("10.99.0.2");
        both_ways(&pair);
        let shown = one.status()["offloads"].clone();
        for (name, key) in all.iter().zip(["tun_tcp", "tun_udp", "udp_gso", "udp_gro"]) {
            // UDP superpackets need what TCP ones need.
            let is_off = off.contains(name) || (*name == "udp" && off.contains(&"tcp"));
            assert_eq!(shown[key], !is_off, "{off:?}: {shown}");
        }
        assert_nothing_died([&one, &other]);
    }
}
