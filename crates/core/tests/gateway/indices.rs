//! Receiver indices: uniform, unique, and kept when the table grows.

use core::time::Duration;
use std::{collections::BTreeSet, sync::Arc};

use weapon_core::{DropReason, Indices, Peer, PeerId, Session};
use weapon_noise::{EntropyNotReady, Keypair, Link, Role, SecretKey32, Seeded, SessionKeys, Tick};

use crate::{
    cipher::cipher,
    site::Chance,
    world::{A, B, World},
};

fn session(index: u32) -> Session {
    let keys = SessionKeys {
        send: SecretKey32::from_bytes(&[1; 32]),
        receive: SecretKey32::from_bytes(&[2; 32]),
        local_index: index,
        remote_index: 0,
        role: Role::Initiator,
    };
    Session {
        keypair: Arc::new(Keypair::new(&keys, Tick::default(), cipher())),
        peer: Arc::new(Peer::new(PeerId(0), "peer", Arc::new(Link::default()))),
    }
}

#[test]
fn p18_indices_are_uniform_and_unique() {
    let mut indices = Indices::default();
    indices.make_room(16_384);
    let mut entropy = Seeded::danger_new(18);
    let mut seen = BTreeSet::new();
    let mut ones = [0_u32; 32];
    const COUNT: u32 = 10_000;
    for _ in 0..COUNT {
        let index = indices.reserve(PeerId(1), &mut entropy).unwrap();
        assert!(seen.insert(index));
        for (bit, ones) in ones.iter_mut().enumerate() {
            *ones += index >> bit & 1;
        }
    }
    assert_eq!(indices.held(), COUNT as usize);
    for (bit, ones) in ones.iter().enumerate() {
        // Five standard deviations of a fair coin.
        assert!(ones.abs_diff(COUNT / 2) < 250, "bit {bit}: {ones}");
    }
    let in_order = seen.iter().zip(seen.iter().skip(1));
    let gap_max = in_order.map(|(low, high)| high - low).max().unwrap();
    assert!(gap_max < u32::MAX / COUNT * 20, "no region is left out");
}

#[test]
fn growth_keeps_sessions_and_handshakes() {
    let mut indices = Indices::default();
    let mut entropy = Seeded::danger_new(1);
    let mut held = Vec::new();
    for round in 1..=12_u32 {
        indices.make_room(1 << round);
        while held.len() < 1 << round {
            let holder = PeerId(held.len() as u32);
            let index = indices.reserve(holder, &mut entropy).unwrap();
            if holder.0.is_multiple_of(2) {
                indices.activate(index, session(index));
            }
            held.push(index);
        }
        for (number, &index) in held.iter().enumerate() {
            assert_eq!(indices.holder(index), Some(PeerId(number as u32)));
            let found = indices.table().session(index);
            assert_eq!(found.is_some(), number % 2 == 0);
        }
    }
    assert!(!indices.make_room(3), "it never shrinks");
}

#[test]
fn p57_a_released_index_is_gone_at_once() {
    let mut indices = Indices::default();
    let mut entropy = Seeded::danger_new(2);
    let index = indices.reserve(PeerId(1), &mut entropy).unwrap();
    indices.activate(index, session(index));
    let table = Arc::clone(indices.table());
    assert!(table.session(index).is_some());
    assert!(
        table.session(index ^ 0x8000_0000).is_none(),
        "all bits count"
    );
    indices.release(index);
    assert!(table.session(index).is_none());
    assert_eq!(indices.holder(index), None);
    assert_eq!(indices.held(), 0);
    indices.release(index);
    assert_eq!(indices.held(), 0, "once");
}

#[test]
fn p104_without_entropy_there_is_no_index() {
    let mut indices = Indices::default();
    let mut chance = Chance {
        seeded: Seeded::danger_new(3),
        is_ready: false,
    };
    assert_eq!(
        indices.reserve(PeerId(1), &mut chance),
        Err(EntropyNotReady)
    );
    assert_eq!(indices.held(), 0);
}

#[test]
fn sessions_outlive_the_addition_of_many_peers() {
    let mut world = World::connected(4);
    for number in 0..200_u8 {
        let mut config = crate::world::peer(A, 2);
        config.public_key = weapon_noise::PrivateKey::from_bytes(&[number; 32]).public();
        config.networks = Vec::new();
        world.control(A, |gateway, env| gateway.add_peer(config, env));
    }
    world.ping(B, A, b"still known?").unwrap();
    world.drive(Duration::from_millis(20));
    assert_eq!(world.payloads(A).last().unwrap(), b"still known?");
    assert_eq!(world.sites[A].dropped(DropReason::UnknownIndex), 0);
}
