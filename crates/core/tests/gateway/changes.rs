//! Changes of keys and peers while packets flow.

use core::time::Duration;

use weapon_core::DropReason;
use weapon_noise::PresharedKey;

use crate::world::{A, B, C, Wire, World, peer, private_key, public_key};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn p21_a_new_private_key_ends_sending_at_once() {
    let mut world = World::connected(1);
    world.control(B, |gateway, env| {
        gateway.add_peer(peer(B, C), env);
    });
    world.control(A, |gateway, env| {
        gateway.set_private_key(private_key(C), env);
    });
    assert_eq!(world.sites[A].gateway.public_key(), public_key(C));
    assert_eq!(
        world.sites[A].gateway.status(world.now).peers[0].session,
        None
    );

    // B still has the old session and may use it until it learns of the new key.
    world.ping(B, A, b"old session").unwrap();
    world.drive(ms(20));
    assert_eq!(world.payloads(A).last().unwrap(), b"old session");

    // The same preshared key as between B and the site C, whose key A has now.
    let id = world.id(A, B);
    let psk = PresharedKey::from_bytes(&[7 + 3; 32]);
    world.sites[A].gateway.set_preshared_key(id, Some(psk));
    world.forget();
    world.ping(A, B, b"not with the old session").unwrap();
    assert_eq!(world.sent(A, Wire::Initiation), [0], "at once");
    assert_eq!(world.count(A, Wire::Data), 0);
    world.drive(ms(100));
    assert_eq!(world.count(A, Wire::Data), 1);
    let status = world.sites[B].gateway.status(world.now);
    assert!(status.peers[1].session.is_some(), "with the new key");
    // Its address belongs to the old key's networks.
    assert_eq!(world.sites[B].dropped(DropReason::WrongSource), 1);
}

#[test]
fn p21_a_handshake_right_after_a_handshake_is_allowed_by_a_new_key() {
    let mut world = World::new(2, 2);
    world.cut_off(B);
    world.ping(A, B, b"with the first key").unwrap();
    world.drive(ms(100));
    world.control(A, |gateway, env| {
        gateway.set_private_key(private_key(C), env);
    });
    world.ping(A, B, b"with the second key").unwrap();
    assert_eq!(world.sent(A, Wire::Initiation), [0, 100]);
}

#[test]
fn p21_the_same_private_key_changes_nothing() {
    let mut world = World::connected(3);
    world.control(A, |gateway, env| {
        gateway.set_private_key(private_key(A), env);
    });
    world.ping(A, B, b"same session").unwrap();
    assert_eq!(world.count(A, Wire::Initiation), 0);
    assert_eq!(world.count(A, Wire::Data), 1);
}

#[test]
fn p21_p22_nobody_is_a_peer_of_himself() {
    let mut world = World::without_peers(4, 1);
    let added = world.control(A, |gateway, env| gateway.add_peer(peer(C, A), env));
    assert_eq!(added, None, "our own key");
    let added = world.control(A, |gateway, env| gateway.add_peer(peer(A, B), env));
    assert!(added.is_some());
    let twice = world.control(A, |gateway, env| gateway.add_peer(peer(A, B), env));
    assert_eq!(twice, None);
    world.control(A, |gateway, env| {
        gateway.set_private_key(private_key(B), env);
    });
    assert_eq!(world.sites[A].gateway.status(world.now).peers.len(), 0);
    assert!(world.sites[A].fib.load().routes.is_empty());
}

#[test]
fn p23_a_new_psk_lets_the_session_live_and_joins_the_next_handshake() {
    let mut world = World::connected(5);
    let id = world.id(A, B);
    let psk = || Some(PresharedKey::from_bytes(&[0x55; 32]));
    world.sites[A].gateway.set_preshared_key(id, psk());
    world.ping(A, B, b"still").unwrap();
    world.drive(ms(100));
    assert_eq!(world.payloads(B).last().unwrap(), b"still");
    assert_eq!(world.count(A, Wire::Initiation), 0);

    world.drive(Duration::from_secs(150));
    world.ping(A, B, b"needs the new key").unwrap();
    world.drive(ms(100));
    assert_eq!(world.count(B, Wire::Response), 1);
    assert_eq!(world.sites[A].dropped(DropReason::HandshakeInvalid), 1);

    let back = world.id(B, A);
    world.sites[B].gateway.set_preshared_key(back, psk());
    world.drive(Duration::from_secs(6));
    assert_eq!(world.payloads(B).last().unwrap(), b"needs the new key");
}

#[test]
fn p102_a_peer_removed_in_a_handshake_is_gone() {
    let mut world = World::new(6, 2);
    world.ping(A, B, b"asks").unwrap();
    world.drive(ms(15));
    assert_eq!(world.count(B, Wire::Response), 1);
    let id = world.id(A, B);
    world.control(A, |gateway, env| gateway.remove_peer(id, env));
    world.drive(Duration::from_secs(600));
    let drops = world.sites[A].drops();
    assert_eq!(
        drops,
        [(DropReason::NoSession, 1), (DropReason::ResponseUnasked, 1)]
    );
    assert_eq!(world.count(A, Wire::Data), 0);
    assert_eq!(world.sites[A].gateway.poll_timeout(), None);
}

#[test]
fn p102_nothing_of_a_removed_peer_is_delivered() {
    let mut world = World::connected(7);
    let id = world.id(A, B);
    world.ping(B, A, b"on its way").unwrap();
    let before = world.sites[A].overlay.0.len();
    let fib = world.sites[A].fib.load_full();
    world.control(A, |gateway, env| gateway.remove_peer(id, env));
    assert!(
        fib.peers[0].link.sending(world.now).is_none(),
        "for old snapshots too"
    );
    world.drive(ms(20));
    assert_eq!(world.sites[A].overlay.0.len(), before);
    assert_eq!(world.sites[A].dropped(DropReason::UnknownIndex), 1);
    // What lanes asked for it before they saw the new snapshot.
    world.control(A, |gateway, env| {
        gateway.attend(id, env);
        gateway.park(id, crate::packets::plain(&[0x45; 40]).into(), env);
    });
    assert_eq!(world.sites[A].dropped(DropReason::NoSession), 1);
    assert_eq!(world.count(A, Wire::Initiation), 0);

    // Added again it is somebody new.
    let again = world.control(A, |gateway, env| gateway.add_peer(peer(A, B), env));
    assert_ne!(again, Some(id));
}
