//! A network that loses, doubles and reorders: sessions come to be all the same, and nothing is
//! delivered twice.

use core::time::Duration;
use std::collections::BTreeSet;

use crate::pair::{A, B, Pair, Wire};

#[test]
fn nothing_is_delivered_twice_and_most_is_delivered_once() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed);
        pair.network.loss_percent = 20;
        pair.network.duplicate_percent = 20;
        pair.network.jitter = Duration::from_millis(50);
        for number in 0..3000_u32 {
            pair.send((number % 2) as usize, &number.to_be_bytes());
            pair.drive(Duration::from_millis(100));
        }
        pair.drive(Duration::from_secs(1));
        for us in [A, B] {
            let delivered = &pair.sides[us].delivered;
            let distinct: BTreeSet<_> = delivered.iter().collect();
            assert_eq!(distinct.len(), delivered.len(), "seed {seed}");
            assert!(delivered.len() > 1050, "seed {seed}: {}", delivered.len());
        }
        let handshakes = pair.count(A, Wire::Initiation) + pair.count(B, Wire::Initiation);
        assert!(handshakes < 40, "seed {seed}: {handshakes} in 5 minutes");
    }
}

#[test]
fn p56_a_rekey_loses_nothing_while_packets_overtake_each_other() {
    /// Packets of 1500 bytes in 100 ms at 1 Gbit/s would be 8127; the window is 8128.
    const PER_100_MS: u32 = 8100;
    let mut pair = Pair::connected(1);
    pair.drive(Duration::from_millis(119_800));
    let first = pair.keypair(A).local_index();
    pair.network.jitter = Duration::from_millis(100);
    let before = pair.sides[B].delivered.len();
    let mut sent = 0_u32;
    for _ in 0..500 {
        for _ in 0..PER_100_MS / 100 {
            pair.send(A, &sent.to_be_bytes());
            sent += 1;
        }
        pair.drive(Duration::from_millis(1));
    }
    pair.drive(Duration::from_secs(1));
    assert_ne!(pair.keypair(A).local_index(), first, "there was a rekey");
    assert_eq!(pair.sides[B].refused, []);
    assert_eq!(pair.sides[B].unknown, 0);
    assert_eq!(pair.sides[B].delivered.len() - before, sent as usize);
}
