//! Changes of the whole configuration at once, as `wg set`, `setconf` and `syncconf` ask for them.

use core::time::Duration;

use ipnet::IpNet;
use weapon_core::{GatewayChange, NetworkChange, PeerChange};

use crate::world::{A, B, C, Wire, World, address, peer, private_key, public_key};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn apply(world: &mut World, site: usize, change: GatewayChange) {
    world.control(site, |gateway, env| gateway.change(change, env));
}

fn of(peers: Vec<PeerChange>) -> GatewayChange {
    GatewayChange {
        peers,
        ..GatewayChange::default()
    }
}

/// The networks of A's peer `them`.
fn networks(world: &World, them: usize) -> Vec<IpNet> {
    let status = world.sites[A].gateway.status(world.now);
    let found = status
        .peers
        .into_iter()
        .find(|peer| peer.public_key == public_key(them));
    found.map(|peer| peer.networks).unwrap_or_default()
}

#[test]
fn u24_a_peer_is_added_and_greeted_at_once() {
    let mut world = World::without_peers(1, 2);
    for site in [A, B] {
        world.control(site, |gateway, env| gateway.up(env));
    }
    let mut change = PeerChange::of(public_key(B));
    change.preshared_key = Some(peer(A, B).preshared_key);
    change.endpoint = Some(address(B));
    change.persistent_keepalive = Some(Some(Duration::from_secs(25)));
    change.networks = vec![NetworkChange::Give(net("10.0.1.0/24"))];
    apply(&mut world, A, of(vec![change]));
    assert_eq!(world.sent(A, Wire::Initiation), [0], "to be kept alive");
    assert_eq!(networks(&world, B), [net("10.0.1.0/24")]);
}

#[test]
fn a_peer_that_is_greeted_gets_an_initiation_though_there_is_nothing_to_send() {
    let mut world = World::connected(2);
    world.forget();
    // As after a restart: nothing is known but what the other side has.
    for up in [false, true] {
        world.control(A, |gateway, env| {
            if up {
                gateway.up(env)
            } else {
                gateway.down(env)
            }
        });
    }
    assert_eq!(world.count(A, Wire::Initiation), 0);
    let mut change = PeerChange::of(public_key(B));
    change.greet = true;
    apply(&mut world, A, of(vec![change]));
    assert_eq!(world.count(A, Wire::Initiation), 1);
}

#[test]
fn u24_a_change_of_networks_keeps_the_session() {
    let mut world = World::connected(2);
    let before = world.sites[A].gateway.status(world.now).peers[0].session;
    let mut change = PeerChange::of(public_key(B));
    change.replace_networks = true;
    change.networks = vec![
        NetworkChange::Give(net("10.0.1.0/24")),
        NetworkChange::Give(net("10.7.0.0/16")),
        NetworkChange::Take(net("10.7.0.0/16")),
    ];
    apply(&mut world, A, of(vec![change]));
    assert_eq!(networks(&world, B), [net("10.0.1.0/24")]);
    let after = world.sites[A].gateway.status(world.now).peers[0].session;
    assert_eq!(
        before.map(|it| it.sent_packets),
        after.map(|it| it.sent_packets)
    );
    world.forget();
    world.ping(A, B, b"as before").unwrap();
    assert_eq!(world.count(A, Wire::Initiation), 0);
}

#[test]
fn u24_a_network_moves_to_the_peer_that_is_given_it_last() {
    let mut world = World::new(3, 3);
    let give = |them, text| {
        let mut change = PeerChange::of(public_key(them));
        change.networks = vec![NetworkChange::Give(net(text))];
        change
    };
    apply(
        &mut world,
        A,
        of(vec![give(B, "10.9.0.0/16"), give(C, "10.9.0.0/16")]),
    );
    assert!(!networks(&world, B).contains(&net("10.9.0.0/16")));
    assert!(networks(&world, C).contains(&net("10.9.0.0/16")));

    // Only its owner loses it (P86).
    let mut change = PeerChange::of(public_key(B));
    change.networks = vec![NetworkChange::Take(net("10.9.0.0/16"))];
    apply(&mut world, A, of(vec![change]));
    assert!(networks(&world, C).contains(&net("10.9.0.0/16")));
}

#[test]
fn u24_a_peer_named_twice_is_changed_twice() {
    let mut world = World::new(4, 2);
    let replace = |text| {
        let mut change = PeerChange::of(public_key(B));
        change.replace_networks = true;
        change.networks = vec![NetworkChange::Give(net(text))];
        change
    };
    apply(
        &mut world,
        A,
        of(vec![replace("10.8.0.0/16"), replace("10.9.0.0/16")]),
    );
    assert_eq!(networks(&world, B), [net("10.9.0.0/16")]);

    // Removed, then new: nothing of the old one is left.
    let mut remove = PeerChange::of(public_key(B));
    remove.remove = true;
    apply(
        &mut world,
        A,
        of(vec![remove, PeerChange::of(public_key(B))]),
    );
    assert_eq!(networks(&world, B), []);
    let status = world.sites[A].gateway.status(world.now);
    assert_eq!(status.peers.len(), 1);
    assert_eq!(status.peers[0].endpoint, None);
}

#[test]
fn u24_replace_peers_leaves_those_that_come_after_it() {
    let mut world = World::new(5, 3);
    let mut change = of(vec![PeerChange::of(public_key(C))]);
    change.replace_peers = true;
    apply(&mut world, A, change);
    let status = world.sites[A].gateway.status(world.now);
    assert_eq!(status.peers.len(), 1);
    assert_eq!(status.peers[0].public_key, public_key(C));
    assert_eq!(networks(&world, C), [], "it is a new one");
}

#[test]
fn u26_unknown_peers_are_not_added_to_be_changed_or_removed() {
    let mut world = World::new(6, 2);
    let mut update = PeerChange::of(public_key(C));
    update.update_only = true;
    update.networks = vec![NetworkChange::Give(net("10.0.1.0/24"))];
    let mut remove = PeerChange::of(public_key(C));
    remove.remove = true;
    // Nor is ourselves a peer (P22).
    let ourselves = PeerChange::of(public_key(A));
    apply(&mut world, A, of(vec![update, remove, ourselves]));
    let status = world.sites[A].gateway.status(world.now);
    assert_eq!(status.peers.len(), 1);
    assert!(networks(&world, B).contains(&net("10.0.1.0/24")));
}

#[test]
fn u24_without_a_key_nothing_is_sent_or_answered_until_there_is_one() {
    let mut world = World::connected(7);
    let mut change = GatewayChange {
        private_key: Some(None),
        ..GatewayChange::default()
    };
    apply(&mut world, A, change);
    world.forget();
    let _ = world.ping(A, B, b"into the void");
    let _ = world.ping(B, A, b"to nobody");
    world.drive(Duration::from_secs(30));
    for wire in [
        Wire::Initiation,
        Wire::Response,
        Wire::Data,
        Wire::Keepalive,
    ] {
        assert_eq!(world.count(A, wire), 0, "{wire:?}");
    }
    let dump = world.sites[A].gateway.dump(world.now);
    assert!(dump.private_key.is_none());
    assert_eq!(dump.peers.len(), 1, "peers stay");

    change = GatewayChange {
        private_key: Some(Some(private_key(A))),
        ..GatewayChange::default()
    };
    apply(&mut world, A, change);
    world.ping(A, B, b"back").unwrap();
    world.drive(Duration::from_secs(6));
    assert_eq!(world.payloads(B).last().unwrap(), b"back");
    let dump = world.sites[A].gateway.dump(world.now);
    assert_eq!(dump.private_key, Some(private_key(A)));
    assert_eq!(dump.peers[0].preshared_key, peer(A, B).preshared_key);
}

#[test]
fn a_peer_gets_another_name_and_keeps_its_session() {
    let mut world = World::connected(2);
    let before = world.sites[A].gateway.status(world.now).peers[0].session;
    let mut change = PeerChange::of(public_key(B));
    change.name = Some("another".to_owned());
    change.replace_networks = true;
    change.networks = vec![NetworkChange::Give(net("10.0.1.0/24"))];
    apply(&mut world, A, of(vec![change]));
    let after = world.sites[A].gateway.status(world.now).peers.remove(0);
    assert_eq!(after.name, "another");
    assert_eq!(after.session, before);
    assert_eq!(after.networks, [net("10.0.1.0/24")]);
    let gateway = &world.sites[A].gateway;
    let way = gateway
        .fib()
        .load()
        .route("10.0.1.9".parse().unwrap())
        .cloned();
    let way = way.expect("the network leads there");
    assert_eq!(&*way.name, "another", "as lanes read it");
}
