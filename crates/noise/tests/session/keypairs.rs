//! The three slots, and the indices of those that are in them.

use core::time::Duration;

use weapon_noise::Role;

use crate::pair::{A, B, Pair, Wire};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The local indices of previous, current and next.
fn slots(pair: &Pair, us: usize) -> [Option<u32>; 3] {
    let sessions = pair.sides[us].tunnel.sessions();
    [sessions.previous(), sessions.current(), sessions.next()]
        .map(|slot| slot.map(|keypair| keypair.local_index()))
}

/// Handshake messages pass, what would confirm the session does not.
fn half_a_handshake(pair: &mut Pair) {
    pair.want_session(A);
    pair.drive(ms(15));
    pair.network.lose_all();
}

#[test]
fn p54_a_responder_waits_for_the_first_packet_of_a_new_session() {
    let mut pair = Pair::connected(1);
    pair.drive(Duration::from_secs(30));
    let old = pair.keypair(B);
    pair.want_session(A);
    pair.drive(ms(15));
    let [_, current, next] = slots(&pair, B);
    assert_eq!(current, Some(old.local_index()));
    assert!(next.is_some());
    let sent = old.sent_count();
    pair.send(B, b"still with the old one");
    assert_eq!(old.sent_count(), sent + 1);
    pair.drive(ms(30));
    let [previous, current, none] = slots(&pair, B);
    assert_eq!(previous, Some(old.local_index()));
    assert_eq!(current, next);
    assert_eq!(none, None);
    assert_eq!(pair.sides[A].delivered.len(), 1);
    pair.send(B, b"with the new one");
    assert_eq!(pair.keypair(B).sent_count(), 1);
}

/// The lane that asks to look may have meant a key that is gone since.
#[test]
fn p54_looking_in_vain_confirms_nothing() {
    let mut pair = Pair::connected(5);
    pair.drive(Duration::from_secs(30));
    half_a_handshake(&mut pair);
    let before = slots(&pair, B);
    assert!(before[2].is_some());
    pair.control(B, |tunnel, _, host| tunnel.confirmed(host));
    assert_eq!(slots(&pair, B), before);
}

#[test]
fn p54_confirmation_releases_what_was_staged() {
    let mut pair = Pair::new(2);
    pair.send(A, b"asks");
    pair.drive(ms(12));
    pair.send(B, b"staged by the responder");
    assert_eq!(pair.sides[B].host.parked.len(), 1);
    assert_eq!(
        pair.count(B, Wire::Initiation),
        0,
        "a response was just sent"
    );
    pair.drive(ms(30));
    assert_eq!(
        pair.sides[A].delivered,
        [b"staged by the responder".to_vec()]
    );
    assert_eq!(pair.sent(B, Wire::Data), [30]);
}

#[test]
fn p55_a_new_responder_keypair_erases_next_and_previous() {
    let mut pair = Pair::connected(3);
    pair.drive(Duration::from_secs(30));
    pair.want_session(A);
    pair.drive(ms(100));
    let [previous, current, next] = slots(&pair, B);
    assert!(previous.is_some() && current.is_some() && next.is_none());
    pair.drive(Duration::from_secs(6));
    half_a_handshake(&mut pair);
    let [gone, same, first] = slots(&pair, B);
    assert_eq!((gone, same), (None, current));
    pair.drive(Duration::from_secs(5));
    half_a_handshake(&mut pair);
    let [_, same, second] = slots(&pair, B);
    assert_eq!(same, current);
    assert_ne!(first, second);
    let indices = &pair.sides[B].host.indices;
    assert!(!indices.contains_key(&previous.unwrap()));
    assert!(!indices.contains_key(&first.unwrap()));
}

#[test]
fn p55_a_new_initiator_keypair_makes_the_last_one_previous() {
    let mut pair = Pair::connected(4);
    pair.drive(Duration::from_secs(30));
    let [_, first, _] = slots(&pair, A);
    pair.want_session(A);
    pair.drive(ms(100));
    let [previous, second, next] = slots(&pair, A);
    assert_eq!((previous, next), (first, None));

    // With an unconfirmed one as responder, that one is the newer and becomes previous.
    pair.drive(Duration::from_secs(6));
    pair.want_session(B);
    pair.drive(ms(15));
    pair.network.lose_all();
    let [_, current, unconfirmed] = slots(&pair, A);
    assert_eq!(current, second);
    assert!(unconfirmed.is_some());
    pair.cut_off(A);
    pair.drive(ms(5100));
    pair.network.dead.clear();
    pair.network.lose_all();
    pair.want_session(A);
    pair.drive(ms(30));
    let [previous, current, next] = slots(&pair, A);
    assert_eq!(pair.keypair(A).role(), Role::Initiator);
    assert_ne!(current, second);
    assert_eq!((previous, next), (unconfirmed, None));
    assert!(!pair.sides[A].host.indices.contains_key(&second.unwrap()));
}

#[test]
fn p57_at_most_three_indices_live_and_old_ones_go_at_once() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed);
        pair.network.loss_percent = 30;
        for step in 0..400_u64 {
            let us = ((step ^ seed) % 2) as usize;
            pair.send(us, b"data");
            if step % 5 == 0 {
                pair.want_session(1 - us);
            }
            pair.drive(ms(700));
            for side in &pair.sides {
                let sessions = side.host.indices.values().flatten().count();
                assert!(sessions <= 3);
                let waiting = usize::from(side.tunnel.pending_index().is_some());
                assert_eq!(side.host.indices.len(), sessions + waiting);
                let in_slots = [
                    side.tunnel.sessions().previous(),
                    side.tunnel.sessions().current(),
                    side.tunnel.sessions().next(),
                ];
                assert_eq!(in_slots.into_iter().flatten().count(), sessions);
            }
        }
        assert!(pair.sides[A].delivered.len() > 50);
    }
}
