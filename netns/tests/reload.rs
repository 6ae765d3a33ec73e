//! A gateway that becomes what its file says now: what stays is not disturbed, what is wrong
//! changes nothing, and what nobody confirms goes back.

use std::net::UdpSocket;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use weapon_netns::plan::Plan;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Pair, Said, Weapon, ready, until};

#[track_caller]
fn reload(pair: &Pair, options: &[&str]) -> Said {
    pair.weapon(&[&["reload", "one.toml"], options].concat())
}

/// Reloads what must be good; the lines that it says.
#[track_caller]
fn reload_well(pair: &Pair) -> Vec<String> {
    let said = reload(pair, &[]);
    assert_eq!((said.code, said.error.as_str()), (0, ""), "{said:?}");
    said.out.lines().map(str::to_owned).collect()
}

fn write(pair: &Pair) {
    pair.home.write("one.toml", &pair.plan.toml());
}

/// All of the gateway that a file decides, and what the kernel has of it. Other interfaces settle
/// in their own time, and a handshake may come of itself.
#[track_caller]
fn state(pair: &Pair, gateway: &Weapon) -> (Value, String) {
    let mut status = gateway.status();
    let taken = status["peers"].as_array_mut().expect("peers");
    for peer in taken {
        for changing in [
            "received_bytes",
            "sent_bytes",
            "session",
            "parked",
            "latest_handshake",
            "rates",
            "loss",
            "round_trip_us",
            "round_trip_smoothed_us",
            "handshake",
        ] {
            peer[changing] = Value::Null;
        }
    }
    for changing in ["counters", "drops", "warnings"] {
        status[changing] = Value::Null;
    }
    let addresses = pair.one.run("ip -oneline address show dev w-one");
    let routes = pair.one.run("ip route show table all dev w-one");
    (status, format!("{addresses}\n{routes}"))
}

/// When the last handshake completed: another session would be younger.
#[track_caller]
fn handshake(gateway: &Weapon, peer: &str) -> u64 {
    let at = gateway.peer(peer)["latest_handshake"].as_u64();
    at.expect("a handshake")
}

#[test]
fn what_stays_keeps_its_session_and_the_difference_is_told() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let (one, other) = pair.start_both();
    let before = (handshake(&one, "other"), state(&pair, &one));
    assert_eq!(reload_well(&pair), ["nothing is different"]);
    assert_eq!(state(&pair, &one), before.1);

    let first = pair.plan.toml();
    let third = Plan::new("third", &[]);
    pair.plan.peers[0].networks.push("10.50.0.0/24".to_owned());
    pair.plan.peers[0].keepalive = Some(25);
    pair.plan.peers[0].name = "another".to_owned();
    pair.plan.peers.push(third.as_peer(&["10.60.0.0/16"]));
    pair.plan.addresses.push("10.98.0.1/24".to_owned());
    pair.plan.listen = 51_999;
    pair.plan.fwmark = 7;
    write(&pair);
    let expected = [
        "listen port: 51820 -> 51999",
        "fwmark: 0 -> 7",
        "address 10.98.0.1/24: added",
        "route 10.50.0.0/24: added",
        "route 10.60.0.0/16: added",
        "peer `another`: was `other`, networks +10.50.0.0/24, keepalive every 25 s",
        "peer `third`: added",
    ];
    assert_eq!(reload_well(&pair), expected);
    assert_eq!(handshake(&one, "another"), before.0, "the session stays");
    let status = one.status();
    assert_eq!(
        (&status["listen_port"], &status["fwmark"]),
        (&51_999.into(), &7.into())
    );
    assert_eq!(one.peer("third")["networks"][0], "10.60.0.0/16");
    let routes = pair.one.run("ip route show dev w-one");
    for network in ["10.50.0.0/24", "10.60.0.0/16", "10.98.0.0/24"] {
        assert!(routes.contains(network), "{network} in {routes}");
    }
    // By the old session, from the new port.
    pair.one.ping("10.99.0.2");
    assert_eq!(handshake(&one, "another"), before.0);
    until("the other end has seen the new port", PATIENCE, || {
        (other.peer("one")["endpoint"] == "192.0.2.1:51999").then_some(())
    });

    // And back.
    pair.home.write("one.toml", &first);
    let said = pair.weapon(&["reload", "one.toml", "--json"]);
    let said: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(said["confirm_seconds"], Value::Null);
    let lines = said["changes"].as_array().expect("a list");
    assert!(lines.contains(&"peer `third`: removed".into()), "{lines:?}");
    assert_eq!(state(&pair, &one), before.1);
    pair.one.ping("10.99.0.2");
}

#[test]
fn what_is_wrong_changes_nothing() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let (one, _other) = pair.start_both();
    let before = state(&pair, &one);
    let good = pair.plan.toml();
    let refused = |pair: &Pair, code: i32, words: &[&str]| {
        let said = reload(pair, &[]);
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{said:?}");
        for word in words {
            assert!(said.error.contains(word), "{word:?} in {}", said.error);
        }
        assert_eq!(state(pair, &one), before);
    };

    pair.home
        .write("one.toml", &good.replace("listen =", "lisden ="));
    refused(&pair, 2, &["one.toml:", "lisden", "listen"]);

    // Good changes beside it are not made either.
    pair.plan.peers[0].networks.push("10.50.0.0/24".to_owned());
    pair.plan.addresses.push("10.98.0.1/24".to_owned());
    pair.plan.listen = 51_999;
    write(&pair);
    let taken = pair
        .one
        .enter(|| UdpSocket::bind("0.0.0.0:51999").expect("a port"));
    refused(&pair, 1, &["one.toml:", "listen", "51999", "in use"]);
    drop(taken);

    pair.one.run("ip route add blackhole 10.50.0.0/24");
    let said = reload(&pair, &[]);
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert!(
        said.error.contains("there is a route to 10.50.0.0/24"),
        "{said:?}"
    );
    assert_eq!(state(&pair, &one), before, "nothing is half applied");
    pair.one.run("ip route del blackhole 10.50.0.0/24");

    write(&pair);
    let text = pair.plan.toml().replace("\"w-one\"", "\"w-two\"");
    pair.home.write("one.toml", &text);
    refused(&pair, 1, &["one.toml", "interface", "weapon down one"]);

    // It was only the surroundings: the same file is good now.
    write(&pair);
    assert_eq!(reload_well(&pair).len(), 4);
    pair.one.ping("10.99.0.2");
}

#[test]
fn what_nobody_confirms_goes_back() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let (one, _other) = pair.start_both();
    let said = pair.weapon(&["confirm", "one.toml"]);
    assert_eq!(said.code, 1);
    assert!(said.error.contains("nothing to confirm"), "{said:?}");

    let before = state(&pair, &one);
    pair.plan.addresses.push("10.98.0.1/24".to_owned());
    write(&pair);
    let said = reload(&pair, &["--confirm", "1s"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("weapon confirm one.toml"), "{said:?}");
    until("all has gone back", PATIENCE, || {
        (state(&pair, &one) == before).then_some(())
    });
    let log = one.log();
    assert!(log.contains("nobody has confirmed"), "{log}");

    // What is confirmed stays, also longer than it would have taken.
    let said = reload(&pair, &["--confirm", "2s"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(pair.weapon(&["confirm", "one.toml"]).code, 0);
    std::thread::sleep(Duration::from_secs(3));
    let addresses = pair.one.run("ip address show dev w-one");
    assert!(addresses.contains("10.98.0.1/24"), "{addresses}");
}

#[test]
fn a_start_that_nobody_confirms_ends() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    write(&pair);
    let said = pair.weapon(&["up", "one.toml", "--confirm", "1s"]);
    assert_eq!(said.code, 0, "{said:?}");
    // Its name is free when all else is gone.
    until("the gateway is gone", PATIENCE, || {
        let left = std::fs::read_dir(pair.home.runtime()).expect("a folder");
        (left.count() == 0).then_some(())
    });
    let links = pair.one.run("ip -brief link");
    assert!(!links.contains("w-one"), "{links}");
    let said = pair.weapon(&["up", "one.toml", "--confirm", "1h"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(pair.weapon(&["confirm", "one.toml"]).code, 0);
    assert_eq!(pair.weapon(&["down", "one.toml"]).code, 0);
}

#[test]
fn a_hangup_loads_the_file_again() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let (mut one, _other) = pair.start_both();
    let good = pair.plan.toml();
    pair.home.write("one.toml", "nonsense");
    one.process().signal(Signal::HUP);
    until("it complains", PATIENCE, || {
        one.log().contains("nothing has changed").then_some(())
    });
    pair.one.ping("10.99.0.2");

    pair.home.write("one.toml", &good);
    let third = Plan::new("third", &[]);
    pair.plan.peers.push(third.as_peer(&["10.60.0.0/16"]));
    write(&pair);
    one.process().signal(Signal::HUP);
    until("the new peer is there", PATIENCE, || {
        let peers = one.status()["peers"].as_array().map(Vec::len);
        (peers == Some(2)).then_some(())
    });
    pair.one.ping("10.99.0.2");
}

#[test]
fn a_name_that_is_gone_from_the_file_is_not_looked_up_any_more() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let good = pair.plan.toml();
    pair.plan.peers[0].endpoint = Some("nowhere.invalid:51820".to_owned());
    let _other = pair.start_other();
    let one = pair.start();
    let complaints = || one.log().matches("endpoint does not resolve").count();
    until("it is looked up", PATIENCE, || {
        (complaints() > 0).then_some(())
    });

    // Under another name it is looked up as well, and under the old one no more.
    pair.plan.peers[0].name = "another".to_owned();
    write(&pair);
    assert_eq!(reload_well(&pair), ["peer `another`: was `other`"]);
    assert_eq!(one.peer("another")["unresolved"], "nowhere.invalid:51820");

    pair.home.write("one.toml", &good);
    let expected = ["peer `other`: was `another`, endpoint 192.0.2.2:51820"];
    assert_eq!(reload_well(&pair), expected);
    pair.one.ping("10.99.0.2");
    // The next tries would come after 1, 2 and 4 s.
    let before = complaints();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(complaints(), before);
}
