//! Endpoints that have names: the tunnel comes up when a name resolves, with whichever of its
//! addresses answers, and follows the name when the peer moves.

use std::fs;
use std::time::Duration;

use weapon_netns::name_server::{NameServer, with_own_etc};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Pair, Weapon, until};

/// The name of the peer's endpoint.
const NAME: &str = "gw-other.example";

/// Five seconds until an initiation is sent again, a few times, on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Two gateways, the first of which knows the other by its name, and a name server.
fn named() -> (Pair, NameServer) {
    let text = format!("nameserver {}\n", NameServer::ADDRESS);
    fs::write("/etc/resolv.conf", text).expect("resolv.conf");
    let mut pair = Pair::new();
    let server = NameServer::start(&pair.one);
    pair.plan.peers[0].endpoint = Some(format!("{NAME}:51820"));
    pair.plan.peers[0].keepalive = Some(1);
    (pair, server)
}

/// Waits until the peer is at `address`, and there is a session.
#[track_caller]
fn expect_at(one: &Weapon, address: &str) {
    until("the peer is there", LONG, || {
        let peer = one.peer("other");
        let is_there = peer["endpoint"] == format!("{address}:51820");
        (is_there && !peer["session"].is_null()).then_some(())
    });
}

#[test]
fn one_address_after_the_other_is_tried() {
    with_own_etc("dns", || {
        let (pair, server) = named();
        // Nobody is at the first two.
        server.set(NAME, &["192.0.2.77", "192.0.2.78", "192.0.2.2"], 300);
        let (_other, one) = (pair.start_other(), pair.start());
        expect_at(&one, "192.0.2.2");
        pair.one.ping("10.99.0.2");
    });
}

#[test]
fn an_ipv6_address_alone_will_do() {
    with_own_etc("dns", || {
        let (pair, server) = named();
        server.set(NAME, &["2001:db8::2"], 300);
        let (_other, one) = (pair.start_other(), pair.start());
        expect_at(&one, "[2001:db8::2]");
        pair.one.ping("10.99.0.2");
    });
}

#[test]
fn a_peer_that_moves_is_found_by_its_name() {
    with_own_etc("dns", || {
        let (pair, server) = named();
        server.set(NAME, &["192.0.2.2"], 3600);
        let (_other, one) = (pair.start_other(), pair.start());
        expect_at(&one, "192.0.2.2");

        // Its name is looked up again because handshakes fail: the answer would count an hour.
        pair.other.run("ip address del 192.0.2.2/24 dev eth0");
        pair.other.run("ip address add 192.0.2.99/24 dev eth0");
        server.set(NAME, &["192.0.2.99"], 3600);
        pair.one.ping_within("10.99.0.2", LONG);
        expect_at(&one, "192.0.2.99");
    });
}

#[test]
fn an_old_answer_is_asked_for_again_and_disturbs_nobody() {
    with_own_etc("dns", || {
        let (pair, server) = named();
        // As short as it may be.
        server.set(NAME, &["192.0.2.2", "192.0.2.77"], 1);
        let (_other, one) = (pair.start_other(), pair.start());
        expect_at(&one, "192.0.2.2");
        let handshake = one.peer("other")["latest_handshake"].clone();
        let before = server.asked(NAME);
        server.set(NAME, &["192.0.2.77", "192.0.2.2"], 1);
        until("it is asked for again", LONG, || {
            (server.asked(NAME) > before).then_some(())
        });
        pair.one.ping("10.99.0.2");
        let peer = one.peer("other");
        assert_eq!(peer["endpoint"], "192.0.2.2:51820");
        assert_eq!(peer["latest_handshake"], handshake);
    });
}

#[test]
fn a_name_server_that_says_nothing_holds_up_nobody() {
    with_own_etc("dns", || {
        let (pair, server) = named();
        server.be_silent(true);
        let _other = pair.start_other();
        let one = pair.start();
        assert_eq!(one.peer("other")["unresolved"], format!("{NAME}:51820"));
        server.set(NAME, &["192.0.2.2"], 300);
        server.be_silent(false);
        expect_at(&one, "192.0.2.2");
        assert!(one.peer("other")["unresolved"].is_null());
    });
}

/// Without name servers, by the system's own means.
fn the_name_appears_later() {
    let mut pair = Pair::new();
    pair.plan.peers[0].endpoint = Some("gw-other.example:51820".to_owned());
    pair.plan.peers[0].keepalive = Some(1);
    let other = pair.start_other();
    let one = pair.start();
    until("it says so", PATIENCE, || {
        one.log()
            .contains("endpoint does not resolve")
            .then_some(())
    });
    let peer = one.peer("other");
    assert!(peer["endpoint"].is_null(), "{peer:#}");
    assert_eq!(peer["unresolved"], "gw-other.example:51820");
    assert!(peer["latest_handshake"].is_null());

    fs::write("/etc/hosts", "192.0.2.2 gw-other.example\n").expect("hosts");
    until("the tunnel comes up by itself", PATIENCE, || {
        one.peer("other")["latest_handshake"].as_u64()
    });
    let peer = one.peer("other");
    assert_eq!(peer["endpoint"], "192.0.2.2:51820");
    assert!(peer["unresolved"].is_null(), "{peer:#}");
    pair.one.ping("10.99.0.2");
    assert_eq!(one.stop().code(), Some(0));
    assert_eq!(other.stop().code(), Some(0));
}

#[test]
fn tunnel_comes_up_when_the_name_resolves() {
    with_own_etc("files", the_name_appears_later);
}
