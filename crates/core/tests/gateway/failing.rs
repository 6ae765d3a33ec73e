//! Handshakes that fail, and what either end can say of it.

use core::{net::SocketAddr, time::Duration};

use weapon_core::{GatewayChange, PeerChange, PeerConfig, PeerStatus, RejectedBecause, Rejection};
use weapon_noise::{
    Arrivals, CookieJar, Identity, PresharedKey, PublicKey, Remote, Seeded, Tai64n, Trouble,
    initiate,
};
use weapon_wire::message::Initiation;

use crate::{
    site::EPOCH,
    world::{A, B, C, Wire, World, address, peer, private_key, public_key},
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What `us` says of `them`.
fn seen(world: &World, us: usize, them: usize) -> PeerStatus {
    let status = world.sites[us].gateway.status(world.now);
    let mut peers = status.peers.into_iter();
    peers
        .find(|peer| peer.public_key == public_key(them))
        .unwrap()
}

fn rejections(world: &World, us: usize) -> Vec<Rejection> {
    world.sites[us].gateway.status(world.now).rejections
}

/// Seconds since the start of the world at which it happened.
fn second(world: &World, at: weapon_core::WallTime) -> u64 {
    at.seconds - EPOCH - world.start.as_nanos() / 1_000_000_000
}

/// Two gateways; `them` is told of `us` what `change` makes of it, and has no way to begin.
fn misfits(change: impl FnOnce(&mut PeerConfig)) -> World {
    let mut world = World::without_peers(7, 2);
    let mut theirs = peer(B, A);
    theirs.endpoint = None;
    change(&mut theirs);
    world.sites[A].gateway.add_peers([peer(A, B)]);
    world.sites[B].gateway.add_peers([theirs]);
    for us in [A, B] {
        world.control(us, |gateway, env| gateway.up(env));
    }
    world
}

#[test]
fn a_key_that_is_not_configured_is_told_at_the_responder() {
    let mut world = misfits(|peer| peer.public_key = public_key(C));
    world.ping(A, B, b"data").unwrap();
    world.drive(secs(22));
    let sent = world.count(A, Wire::Initiation);
    assert_eq!(sent, 5, "one every 5 s");
    let [rejection] = rejections(&world, B)[..] else {
        panic!("one entry");
    };
    assert_eq!(rejection.key, Some(public_key(A)));
    assert_eq!(rejection.from, address(A));
    assert_eq!(rejection.because, RejectedBecause::UnknownKey);
    assert_eq!(rejection.count, 5);
    assert_eq!(second(&world, rejection.first), 0);
    assert!((20..=21).contains(&second(&world, rejection.last)));
    let ours = seen(&world, A, B);
    assert_eq!(ours.trouble, Some(Trouble::NoAnswer));
    assert_eq!(ours.attempts.unanswered, 5);
    assert_eq!(ours.attempts.round_trip, None);
    assert!(ours.last_attempt_age.unwrap() < secs(3));

    // Once it is configured, that is no news any more, and all is well.
    world.control(B, |gateway, env| gateway.add_peer(peer(B, A), env));
    assert_eq!(rejections(&world, B), []);
    world.drive(secs(6));
    let ours = seen(&world, A, B);
    assert_eq!((ours.trouble, ours.attempts.unanswered), (None, 0));
    assert_eq!(ours.attempts.round_trip.unwrap().last_us, 20_000);
}

#[test]
fn another_preshared_key_is_told_at_both_ends() {
    let mut world = misfits(|peer| {
        peer.preshared_key = Some(PresharedKey::from_bytes(&[1; 32]));
    });
    world.ping(A, B, b"data").unwrap();
    world.drive(secs(12));
    let ours = seen(&world, A, B);
    assert_eq!(ours.trouble, Some(Trouble::InvalidResponse));
    assert_eq!(ours.attempts.invalid_responses, 3);
    assert_eq!(ours.attempts.unanswered, 3);
    let theirs = seen(&world, B, A);
    assert_eq!(theirs.trouble, Some(Trouble::Unconfirmed));
    assert_eq!(theirs.attempts.unconfirmed, 3);
    assert_eq!(rejections(&world, B), []);

    // The right key ends it at both ends.
    let mut change = PeerChange::of(public_key(A));
    change.preshared_key = Some(peer(B, A).preshared_key);
    let change = GatewayChange {
        peers: vec![change],
        ..GatewayChange::default()
    };
    world.control(B, |gateway, env| gateway.change(change, env));
    assert_eq!(seen(&world, B, A).trouble, None);
    world.drive(secs(6));
    for (us, them) in [(A, B), (B, A)] {
        let seen = seen(&world, us, them);
        assert_eq!(seen.trouble, None, "{us}");
        let attempts = seen.attempts;
        assert_eq!((attempts.invalid_responses, attempts.unconfirmed), (0, 0));
    }
}

#[test]
fn responses_that_do_not_arrive_look_like_another_preshared_key_to_the_responder_alone() {
    let mut world = misfits(|_| {});
    world.cut_off(A);
    world.ping(A, B, b"data").unwrap();
    world.drive(secs(12));
    assert_eq!(seen(&world, A, B).trouble, Some(Trouble::NoAnswer));
    assert_eq!(seen(&world, B, A).trouble, Some(Trouble::Unconfirmed));
}

#[test]
fn a_message_for_another_key_is_counted_by_its_address() {
    let mut world = World::without_peers(3, 2);
    let mut wrong = peer(A, C);
    wrong.endpoint = Some(address(B));
    world.sites[A].gateway.add_peers([wrong]);
    world.sites[B].gateway.add_peers([peer(B, A)]);
    for us in [A, B] {
        world.control(us, |gateway, env| gateway.up(env));
    }
    world.ping(A, C, b"data").unwrap();
    world.drive(secs(12));
    let [rejection] = rejections(&world, B)[..] else {
        panic!("one entry");
    };
    assert_eq!(rejection.because, RejectedBecause::WrongMac1);
    assert_eq!((rejection.key, rejection.count), (None, 3));
    assert_eq!(rejection.from, address(A));
    assert_eq!(seen(&world, A, C).trouble, Some(Trouble::NoAnswer));
}

/// What was recorded of A comes again, from elsewhere.
#[test]
fn a_stale_timestamp_is_told_with_the_peers_key() {
    let mut world = misfits(|_| {});
    world.ping(A, B, b"data").unwrap();
    world.drive(secs(1));
    let (_, sent) = world.messages(A, Wire::Initiation).next().unwrap();
    let mut bytes = sent.bytes.clone();
    let elsewhere: SocketAddr = "198.51.100.9:9".parse().unwrap();
    for _ in 0..4 {
        let stride = bytes.len();
        world.receive(B, elsewhere, &mut bytes, stride);
    }
    let [rejection] = rejections(&world, B)[..] else {
        panic!("one entry");
    };
    assert_eq!(rejection.because, RejectedBecause::StaleTimestamp);
    assert_eq!(rejection.key, Some(public_key(A)));
    assert_eq!((rejection.from, rejection.count), (elsewhere, 4));
    assert_eq!(seen(&world, B, A).trouble, None);
}

/// An initiation to B with this static key, of which `spoil` makes something else before it is
/// signed.
fn forged(world: &World, ours: usize, number: u64, spoil: impl FnOnce(&mut Initiation)) -> Vec<u8> {
    let identity = Identity::new(private_key(ours));
    let remote = Remote::new(&identity, public_key(B), None);
    let stamp = Tai64n::from_unix(EPOCH + 5000 + number, 0);
    let entropy = &mut Seeded::danger_new(number);
    let (_, mut message) = initiate(&identity, &remote, 1, stamp, entropy).unwrap();
    spoil(&mut message);
    CookieJar::new().sign(&remote, message.as_mut_bytes(), world.now);
    message.as_bytes().to_vec()
}

fn arrive(world: &mut World, mut bytes: Vec<u8>) {
    let stride = bytes.len();
    world.receive(B, address(A), &mut bytes, stride);
}

#[test]
fn what_authenticates_nobody_is_told_apart() {
    let mut world = misfits(|_| {});
    let low_order = forged(&world, A, 1, |message| message.ephemeral = [0; 32]);
    let no_static = forged(&world, A, 2, |message| message.encrypted_static[0] ^= 1);
    let no_timestamp = forged(&world, A, 3, |message| message.encrypted_timestamp[0] ^= 1);
    let first = forged(&world, A, 4, |_| {});
    let second = forged(&world, A, 5, |_| {});
    for bytes in [low_order, no_static, no_timestamp, first, second] {
        arrive(&mut world, bytes);
    }
    let mut found: Vec<_> = rejections(&world, B)
        .into_iter()
        .map(|it| (it.because, it.key, it.count))
        .collect();
    found.sort_by_key(|&(because, key, _)| (because, key.is_some()));
    let ours = Some(public_key(A));
    let expected = [
        (RejectedBecause::TooSoon, ours, 1),
        (RejectedBecause::LowOrder, None, 1),
        (RejectedBecause::NotAuthentic, None, 1),
        (RejectedBecause::NotAuthentic, ours, 1),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_peer_whose_key_is_none_is_told() {
    let mut world = World::new(9, 2);
    let mut none = peer(A, C);
    none.public_key = PublicKey::from_bytes([0; 32]);
    world.control(A, |gateway, env| gateway.add_peer(none, env));
    let status = world.sites[A].gateway.status(world.now);
    assert_eq!(status.peers[1].trouble, Some(Trouble::LowOrder));
    assert_eq!(status.peers[0].trouble, None);
}

#[test]
fn load_is_told_at_both_ends() {
    let mut world = misfits(|_| {});
    world.sites[B].backlog = weapon_core::HANDSHAKE_QUEUE_MAX / 8;
    world.ping(A, B, b"data").unwrap();
    world.drive(secs(1));
    let ours = seen(&world, A, B);
    assert_eq!((ours.attempts.cookie_replies, ours.trouble), (1, None));
    let [rejection] = rejections(&world, B)[..] else {
        panic!("one entry");
    };
    assert_eq!(rejection.because, RejectedBecause::UnderLoad);
    assert_eq!((rejection.key, rejection.count), (None, 1));
    assert_eq!(rejection.from, address(A));

    // It has a cookie now, and B does not accept it: its address is another to B each time.
    world.sites[A].address = address(C);
    world.drive(secs(5));
    let ours = seen(&world, A, B);
    assert_eq!(ours.trouble, Some(Trouble::CookiesOnly));
    assert_eq!(ours.attempts.cookie_replies, 2);
}

#[test]
fn loss_is_what_did_not_arrive() {
    let mut world = World::connected(4);
    let before = seen(&world, B, A).arrivals.unwrap();
    assert_eq!(before.missing(), 0);
    world.network.latency = Duration::ZERO;
    for number in 0..100_u32 {
        if number % 4 == 0 {
            world.cut_off(B);
        }
        world.ping(A, B, &number.to_be_bytes()).unwrap();
        world.drive(Duration::from_micros(10));
        world.network.dead.clear();
    }
    let after = seen(&world, B, A).arrivals.unwrap();
    let expected = Arrivals {
        sent: before.sent + 100,
        received: before.received + 75,
    };
    assert_eq!(after, expected);
    assert_eq!(seen(&world, A, B).arrivals.unwrap().missing(), 0);
}
