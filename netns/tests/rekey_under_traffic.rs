//! A real rekey, after 120 seconds, under TCP and ping: no connection is lost and no ping either.
//!
//! All tunnels run side by side, each in namespaces of its own, so that the whole takes little more
//! than the two minutes that cannot be hurried.

use std::time::{Duration, Instant};

use weapon_netns::plan::{introduce, preshared_key};
use weapon_netns::traffic::{Pace, PingCount, Pings, Stream};
use weapon_netns::{Gateway, Home, Host, Kind, Plan, link, losses, ready};

/// REKEY_AFTER_TIME of the WireGuard paper, section 6.2.
const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);

/// By when the new session must be there: the initiator looks at its next packet, and if an
/// initiation is lost the next one comes five seconds later.
const REKEY_BY: Duration = Duration::from_secs(130);

/// Traffic that goes on with the new session.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// Continuous, but slow enough for a dozen tunnels on a small machine.
const PACE: Pace = Pace {
    bytes: None,
    pause: Duration::from_millis(100),
};

/// A tunnel.
#[derive(Clone, Copy, Debug)]
struct Tunnel {
    initiator: Kind,
    responder: Kind,
    over_ipv6: bool,
    with_preshared_key: bool,
}

#[test]
fn all_tunnels_rekey_and_nothing_is_lost() {
    if !ready(&["wg", "wireguard-go"]) {
        return;
    }
    let mut tunnels = Vec::new();
    for (initiator, responder) in [
        (Kind::Weapon, Kind::WireguardGo),
        (Kind::WireguardGo, Kind::Weapon),
        (Kind::Weapon, Kind::Weapon),
    ] {
        for (over_ipv6, with_preshared_key) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            tunnels.push(Tunnel {
                initiator,
                responder,
                over_ipv6,
                with_preshared_key,
            });
        }
    }
    let failed: Vec<Tunnel> = std::thread::scope(|scope| {
        let running: Vec<_> = tunnels
            .iter()
            .map(|&tunnel| (tunnel, scope.spawn(move || rekeys(tunnel))))
            .collect();
        running
            .into_iter()
            .filter_map(|(tunnel, thread)| thread.join().is_err().then_some(tunnel))
            .collect()
    });
    assert!(failed.is_empty(), "failed, see above: {failed:#?}");
}

fn rekeys(tunnel: Tunnel) {
    let (home, one, other) = (Home::new(), Host::new("one"), Host::new("other"));
    link(
        (&one, "eth0", &["192.0.2.1/24", "2001:db8::1/64"]),
        (&other, "eth0", &["192.0.2.2/24", "2001:db8::2/64"]),
    );
    let mut plan = Plan::new("one", &["10.99.0.1/24", "fd99::1/64"]);
    let mut other_plan = Plan::new("other", &["10.99.0.2/24", "fd99::2/64"]);
    let key = tunnel.with_preshared_key.then(preshared_key);
    introduce(
        (&mut plan, &["10.99.0.1/32", "fd99::1/128"]),
        (&mut other_plan, &["10.99.0.2/32", "fd99::2/128"]),
        key.as_ref(),
    );
    let there = match tunnel.over_ipv6 {
        false => "192.0.2.2:51820",
        true => "[2001:db8::2]:51820",
    };
    plan.peers[0].endpoint = Some(there.to_owned());
    let second = Gateway::start(tunnel.responder, &other, &home, &other_plan);
    let first = Gateway::start(tunnel.initiator, &one, &home, &plan);
    let (key, other_key) = (
        plan.private_key.public().to_string(),
        other_plan.private_key.public().to_string(),
    );

    one.ping("10.99.0.2");
    let start = Instant::now();
    let began = first.latest_handshake(&other_key).expect("a handshake");
    let streams = [
        Stream::start(&one, &other, "10.99.0.2", PACE),
        Stream::start(&other, &one, "10.99.0.1", PACE),
    ];
    let pause = Duration::from_millis(50);
    let pings = [
        Pings::start(&one, "fd99::2", pause),
        Pings::start(&other, "10.99.0.1", pause),
    ];

    let renewed = loop {
        let latest = first.latest_handshake(&other_key).expect("a handshake");
        if latest != began {
            break latest;
        }
        assert!(start.elapsed() < REKEY_BY, "{tunnel:?}: no new handshake");
        std::thread::sleep(Duration::from_millis(500));
    };
    assert!(
        renewed - began >= REKEY_AFTER_TIME.as_secs() - 1,
        "{tunnel:?}: a new handshake after {} s already",
        renewed - began
    );
    std::thread::sleep(AFTERWARDS);

    let at_other = second.latest_handshake(&key).expect("a handshake");
    assert!(
        at_other.abs_diff(renewed) <= 1,
        "{tunnel:?}: {renewed} here, {at_other} there"
    );
    for (gateway, initiates) in [(&first, true), (&second, false)] {
        let Gateway::Weapon(weapon) = gateway else {
            continue;
        };
        let session = &weapon.status()["peers"][0]["session"];
        let age = session["age"].as_u64().expect("a session's age");
        assert!(age < 10, "{tunnel:?}: the session is still the old one");
        assert_eq!(session["initiator"], initiates, "{tunnel:?}: {session:#}");
        let sent = session["sent_packets"].as_u64();
        assert!(sent > Some(0), "{tunnel:?}: the new session is not used");
    }
    for stream in streams {
        stream.expect_progress(64 << 10);
        let bytes = stream.finish();
        assert!(
            bytes > 20 << 20,
            "{tunnel:?}: the stream stood still: {bytes}"
        );
    }
    let counts = pings.map(Pings::finish);
    // A fault of the rekey loses packets or stops them for good. How fast they are is not asked:
    // that depends on what else the machine does.
    let well = |count: &PingCount| count.sent > 500 && count.lost.is_empty();
    for count in counts.iter().filter(|count| count.late != 0) {
        eprintln!("{tunnel:?}: late answers: {count:?}");
    }
    let tell = || {
        let of_gateway = |gateway: &Gateway| match gateway {
            Gateway::Weapon(weapon) => format!("{}: {:#}\n", weapon.name, weapon.status()),
            Gateway::Daemon(_) | Gateway::Machine(_) => String::new(),
        };
        format!(
            "{tunnel:?}: rekeyed {renewed} s after 1970, {counts:#?}\n{}{}{}{}",
            losses(&one),
            losses(&other),
            of_gateway(&first),
            of_gateway(&second)
        )
    };
    assert!(counts.iter().all(well), "{}", tell());
}
