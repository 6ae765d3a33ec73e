//! An interface that is set down is silent on the underlay, and its port is closed (P11); set up
//! again it works again (P99).

use std::time::Duration;

use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Host, Pair, Tap, Weapon, ready, until};

fn has_port(host: &Host) -> bool {
    // 51820 in hexadecimal
    let files = ["udp", "udp6"].map(|kind| format!("/proc/thread-self/net/{kind}"));
    host.enter(|| {
        files.iter().any(|file| {
            std::fs::read_to_string(file)
                .expect("sockets")
                .contains(":CA6C")
        })
    })
}

#[track_caller]
fn wait_until_up(weapon: &Weapon, up: bool) {
    until("the gateway notices", PATIENCE, || {
        (weapon.status()["up"] == up).then_some(())
    });
}

#[test]
fn p11_p99_silent_while_down_and_back_when_up() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    // Both would speak by themselves, if they could.
    pair.plan.peers[0].keepalive = Some(1);
    pair.other_plan.peers[0].keepalive = Some(1);
    let (one, other) = pair.start_both();
    for _ in 0..3 {
        assert!(has_port(&pair.one));
        pair.one.run("ip link set w-one down");
        wait_until_up(&one, false);
        until("the port is closed", PATIENCE, || {
            (!has_port(&pair.one)).then_some(())
        });
        let peer = one.peer("other");
        assert!(peer["session"].is_null(), "sessions are erased: {peer:#}");
        assert_eq!(peer["parked"], 0);

        let mut tap = Tap::new(&pair.one, "eth0");
        // The other side goes on: data of its session, then handshakes.
        let lost = pair
            .other
            .ping_once([10, 99, 0, 1].into(), Duration::from_secs(2));
        assert!(lost.is_err());
        let packets = tap.packets();
        assert!(
            packets.iter().any(|it| !it.outgoing && it.is_udp()),
            "nobody knocked"
        );
        // The kernel alone says that nobody is there.
        let outgoing: Vec<_> = packets.iter().filter(|it| it.outgoing).collect();
        assert!(!outgoing.is_empty(), "a closed port is unreachable");
        assert!(outgoing.iter().all(|it| it.is_icmp()), "{outgoing:?}");

        pair.one.run("ip link set w-one up");
        wait_until_up(&one, true);
        pair.one.ping("10.99.0.2");
        pair.other.ping("10.99.0.1");
    }
    assert_eq!(one.stop().code(), Some(0));
    assert_eq!(other.stop().code(), Some(0));
}

/// A peer that is to be kept alive is greeted as soon as the interface is up, without traffic.
#[test]
fn p99_up_greets_those_who_are_to_be_kept_alive() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    pair.plan.peers[0].keepalive = Some(25);
    let other = pair.start_other();
    let one = pair.start();
    let session = |weapon: &Weapon| !weapon.peer("other")["session"].is_null();
    until("a session", PATIENCE, || session(&one).then_some(()));
    pair.one.run("ip link set w-one down");
    wait_until_up(&one, false);
    assert!(!session(&one));
    pair.one.run("ip link set w-one up");
    until("a session again", PATIENCE, || session(&one).then_some(()));
    drop(other);
}

/// Down and up in one breath: the port that is still being let go of is had in the end, and what
/// Linux took from the interface is there again.
#[test]
fn p99_a_flap_leaves_everything_as_it_was() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    pair.plan.peers[0].networks.push("172.18.0.0/16".to_owned());
    pair.plan.peers[0].networks.push("fd18::/32".to_owned());
    let (one, other) = pair.start_both();
    let fittings = || {
        let said = ["-4 route", "-6 route", "address"].map(|what| {
            let said = pair.one.run(&format!("ip {what} show dev w-one"));
            let mut lines: Vec<_> = said.lines().map(|line| line.trim().to_owned()).collect();
            lines.sort();
            lines
        });
        said.concat()
    };
    let before = fittings();
    assert!(before.iter().any(|line| line.contains("172.18.0.0/16")));
    assert!(before.iter().any(|line| line.contains("fd18::/32")));
    for _ in 0..20 {
        pair.one.run("ip link set w-one down");
        pair.one.run("ip link set w-one up");
    }
    wait_until_up(&one, true);
    until("all is back", PATIENCE, || {
        (fittings() == before).then_some(())
    });
    pair.one.ping("10.99.0.2");
    pair.one.ping("fd99::2");
    assert_eq!(one.stop().code(), Some(0));
    drop(other);
}

/// What is written to an interface that is down does not come out later.
#[test]
fn p99_parked_packets_are_dropped() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let one = pair.start();
    // Nobody answers: the ping is parked.
    let lost = pair
        .one
        .ping_once([10, 99, 0, 2].into(), Duration::from_millis(200));
    assert!(lost.is_err());
    assert_eq!(one.peer("other")["parked"], 1);
    pair.one.run("ip link set w-one down");
    wait_until_up(&one, false);
    assert_eq!(one.peer("other")["parked"], 0);
    let other = pair.start_other();
    pair.one.run("ip link set w-one up");
    wait_until_up(&one, true);
    pair.one.ping("10.99.0.2");
    let superpackets = other.status()["counters"]["inbound_superpackets"].as_u64();
    let received = superpackets.expect("a counter");
    pair.one.ping("10.99.0.2");
    let superpackets = other.status()["counters"]["inbound_superpackets"].as_u64();
    assert_eq!(superpackets, Some(received + 1), "one ping, one packet");
}
