//! Who does not know our key, or is not our peer, hears nothing and changes nothing.

use core::time::Duration;

use weapon_core::DropReason;
use weapon_noise::{CookieJar, Identity, Remote, Seeded, Tai64n, initiate};
use weapon_wire::message::Initiation;

use crate::{
    network::Dice,
    site::EPOCH,
    world::{A, B, C, Wire, World, private_key, public_key},
};

fn elsewhere() -> core::net::SocketAddr {
    "198.51.100.9:9".parse().unwrap()
}

fn receive(world: &mut World, bytes: &[u8]) {
    world.receive(B, elsewhere(), &mut bytes.to_vec(), bytes.len());
}

/// What of B a stranger must not change.
fn state(world: &World) -> String {
    let status = world.sites[B].gateway.status(world.now);
    let deadline = world.sites[B].gateway.poll_timeout();
    format!("{:?} {deadline:?}", status.peers)
}

/// An initiation of site `us` to B with a damaged part, and macs that are right.
fn initiation(us: usize, damage: impl FnOnce(&mut Initiation)) -> Vec<u8> {
    let identity = Identity::new(private_key(us));
    let remote = Remote::new(&identity, public_key(B), None);
    let mut entropy = Seeded::danger_new(1);
    let timestamp = Tai64n::from_unix(EPOCH + 50_000, 0);
    let (_, mut message) = initiate(&identity, &remote, 1, timestamp, &mut entropy).unwrap();
    damage(&mut message);
    CookieJar::new().sign(
        &remote,
        message.as_mut_bytes(),
        weapon_noise::Tick::default(),
    );
    message.as_bytes().to_vec()
}

#[test]
fn p01_p02_p03_p04_noise_is_not_answered() {
    let mut world = World::connected(1);
    let before = state(&world);
    let mut dice = Dice(1);
    for load in [0, 1000] {
        world.sites[B].backlog = load;
        for _ in 0..20_000 {
            let len = match dice.below(6) {
                0 => 148,
                1 => 92,
                2 => 64,
                3 => dice.below(4) as usize,
                4 => 32 + dice.below(100) as usize,
                _ => dice.below(1500) as usize,
            };
            let mut bytes: Vec<u8> = (0..len).map(|_| dice.roll() as u8).collect();
            if len >= 4 && dice.happens(80) {
                bytes[..4].copy_from_slice(&[1 + dice.below(5) as u8, 0, 0, 0]);
            }
            if len != 0 {
                receive(&mut world, &bytes);
            }
        }
    }
    assert_eq!(world.log.len(), 0);
    assert_eq!(state(&world), before);
    assert!(world.sites[B].dropped(DropReason::InvalidMac1) > 1000);
    assert!(world.sites[B].dropped(DropReason::NotWireGuard) > 1000);
    assert!(world.sites[B].dropped(DropReason::UnknownIndex) > 1000);
}

#[test]
fn p05_a_single_flipped_bit_makes_an_initiation_worthless() {
    let mut world = World::connected(2);
    let before = state(&world);
    let message = initiation(A, |_| {});
    for bit in 0..message.len() * 8 {
        let mut flipped = message.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // The last 16 bytes are mac2, which counts under load only.
        if bit / 8 < 132 {
            receive(&mut world, &flipped);
        }
    }
    assert_eq!(world.log.len(), 0);
    assert_eq!(state(&world), before);
    receive(&mut world, &message);
    assert_eq!(world.count(B, Wire::Response), 1);
}

#[test]
fn p06_a_stranger_with_our_public_key_hears_nothing() {
    let mut world = World::connected(3);
    let before = state(&world);
    receive(&mut world, &initiation(C, |_| {}));
    assert_eq!(world.sites[B].drops(), [(DropReason::UnknownPeer, 1)]);
    let broken = initiation(A, |message| message.encrypted_static[3] ^= 1);
    receive(&mut world, &broken);
    assert_eq!(world.sites[B].dropped(DropReason::HandshakeInvalid), 1);
    assert_eq!(world.log.len(), 0);
    assert_eq!(state(&world), before);
}

#[test]
fn p07_a_broken_timestamp_leaves_the_stored_one() {
    let mut world = World::connected(4);
    let before = state(&world);
    let broken = initiation(A, |message| message.encrypted_timestamp[3] ^= 1);
    receive(&mut world, &broken);
    assert_eq!(world.sites[B].drops(), [(DropReason::HandshakeInvalid, 1)]);
    assert_eq!(world.log.len(), 0);
    assert_eq!(state(&world), before);
    // One with an earlier timestamp than the broken one's is still new.
    world.control(A, |gateway, env| {
        gateway.down(env);
        gateway.up(env);
    });
    world.ping(A, B, b"data").unwrap();
    world.drive(Duration::from_secs(1));
    assert_eq!(world.payloads(B).last().unwrap(), b"data");
}

#[test]
fn p09_data_for_nobody_is_dropped_in_silence() {
    let mut world = World::connected(5);
    let id = world.id(B, A);
    world.ping(A, B, b"on its way").unwrap();
    let delivered = world.sites[B].overlay.0.len();
    world.control(B, |gateway, env| gateway.remove_peer(id, env));
    world.forget();
    world.drive(Duration::from_secs(1));
    let mut unknown = vec![0x77; 64];
    unknown[..4].copy_from_slice(&[4, 0, 0, 0]);
    receive(&mut world, &unknown);
    assert_eq!(world.sites[B].drops(), [(DropReason::UnknownIndex, 2)]);
    assert_eq!(world.log.len(), 0);
    assert_eq!(world.sites[B].overlay.0.len(), delivered);
}

#[test]
fn handshakes_are_marked_af41_and_data_is_not() {
    let mut world = World::new(6, 2);
    world.ping(A, B, b"data").unwrap();
    world.drive(Duration::from_secs(30));
    for (_, _, wire, sent) in &world.log {
        let expected = match wire {
            Wire::Initiation | Wire::Response => 0x88,
            Wire::Cookie | Wire::Keepalive | Wire::Data => 0,
        };
        assert_eq!(sent.tos, expected, "{wire:?}");
    }
    assert_eq!(world.log.len(), 4);
}
