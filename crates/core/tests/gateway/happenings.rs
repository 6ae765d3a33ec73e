//! What happens to peers is noted, for who asked to know it.

use core::{net::SocketAddr, time::Duration};

use weapon_core::{HAPPENINGS_MAX, Happening, RejectedBecause};
use weapon_noise::Role;

use crate::world::{A, B, C, World, address, peer, public_key};

fn take(world: &mut World, us: usize) -> Vec<Happening> {
    world.sites[us].gateway.take_happenings()
}

fn asked(seed: u64) -> World {
    let mut world = World::new(seed, 2);
    for us in [A, B] {
        world.sites[us].gateway.note_happenings();
    }
    world
}

#[test]
fn nothing_is_noted_for_nobody() {
    let mut world = World::connected(1);
    assert_eq!(take(&mut world, A), []);
}

#[test]
fn handshakes_and_moves_are_noted_once() {
    let mut world = asked(2);
    world.ping(A, B, b"hello").unwrap();
    world.drive(Duration::from_secs(1));
    let shake = |peer: &str, role, endpoint| Happening::Handshake {
        peer: peer.into(),
        role,
        is_rekey: false,
        endpoint: Some(endpoint),
    };
    assert_eq!(
        take(&mut world, A),
        [shake("site-1", Role::Initiator, address(B))]
    );
    assert_eq!(
        take(&mut world, B),
        [shake("site-0", Role::Responder, address(A))]
    );
    assert_eq!(take(&mut world, A), []);

    // It moves: by a data message, and the lane says so.
    let elsewhere: SocketAddr = "198.51.100.9:9".parse().unwrap();
    let fib = world.sites[A].fib.load_full();
    let keypair = fib.peers[0].link.sending(world.now).expect("a session");
    let keypair = keypair.as_deref().unwrap();
    for _ in 0..2 {
        let counter = keypair.reserve(1).unwrap();
        let mut message = vec![0; weapon_wire::message::DATA_OVERHEAD];
        keypair.seal(counter, &[], 0, &mut message).unwrap();
        let stride = message.len();
        world.receive(B, elsewhere, &mut message, stride);
        world.drive(Duration::from_millis(10));
    }
    let moved = Happening::Moved {
        peer: "site-0".into(),
        from: Some(address(A)),
        to: elsewhere,
        by_peer: true,
    };
    assert_eq!(take(&mut world, B), [moved]);

    // We say where it is, and that is no news the second time.
    let id = world.id(B, A);
    for _ in 0..2 {
        world.control(B, |gateway, env| gateway.set_endpoint(id, address(A), env));
    }
    let moved = Happening::Moved {
        peer: "site-0".into(),
        from: Some(elsewhere),
        to: address(A),
        by_peer: false,
    };
    assert_eq!(take(&mut world, B), [moved]);
}

#[test]
fn a_name_s_next_address_is_no_move_of_the_peer() {
    let mut world = asked(3);
    let nobody: SocketAddr = "198.51.100.1:1".parse().unwrap();
    let id = world.id(A, B);
    world.control(A, |gateway, env| {
        gateway.set_addresses(id, vec![nobody, address(B)], env);
    });
    world.ping(A, B, b"hello").unwrap();
    world.drive(Duration::from_secs(20));
    let happened = take(&mut world, A);
    let by_peer = |it: &Happening| matches!(it, Happening::Moved { by_peer: true, .. });
    assert!(!happened.iter().any(by_peer), "{happened:?}");
    assert!(matches!(happened[0], Happening::Moved { to, .. } if to == nobody));
}

#[test]
fn who_is_turned_away_is_noted_and_there_is_an_end_to_it() {
    let mut world = World::without_peers(4, 2);
    let mut theirs = peer(B, A);
    (theirs.endpoint, theirs.public_key) = (None, public_key(C));
    world.sites[A].gateway.add_peers([peer(A, B)]);
    world.sites[B].gateway.add_peers([theirs]);
    for us in [A, B] {
        world.control(us, |gateway, env| gateway.up(env));
    }
    world.sites[B].gateway.note_happenings();
    world.ping(A, B, b"data").unwrap();
    world.drive(Duration::from_secs(1));
    let rejected = Happening::Rejected {
        peer: None,
        key: Some(public_key(A)),
        from: address(A),
        because: RejectedBecause::UnknownKey,
    };
    assert_eq!(take(&mut world, B), [rejected]);

    // Nobody takes them: they are counted.
    let mut wrong = vec![0; 148];
    wrong[0] = 1;
    for _ in 0..HAPPENINGS_MAX + 5 {
        world.receive(B, address(A), &mut wrong.clone(), 148);
        world.deliver(B);
    }
    let happened = take(&mut world, B);
    assert_eq!(happened.len(), HAPPENINGS_MAX + 1);
    assert_eq!(happened.last(), Some(&Happening::Missed(5)));
    assert_eq!(take(&mut world, B), []);
}
