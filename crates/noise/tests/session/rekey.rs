//! When a key is too old: on sending, on receiving, by count.

use core::time::Duration;

use weapon_noise::{
    Keypair, OpenError, Role, SecretKey32, SessionKeys, Tick,
    protocol::{REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES},
};

use crate::{
    cipher::cipher,
    pair::{A, B, Pair, Wire},
};

fn at(millis: u64) -> Tick {
    Tick::default() + Duration::from_millis(millis)
}

fn keypair(role: Role) -> Keypair {
    let keys = SessionKeys {
        send: SecretKey32::from_bytes(&[5; 32]),
        receive: SecretKey32::from_bytes(&[6; 32]),
        local_index: 1,
        remote_index: 2,
        role,
    };
    Keypair::new(&keys, at(0), cipher())
}

#[test]
fn p39_only_the_initiator_rekeys_on_age() {
    let initiator = keypair(Role::Initiator);
    assert!(!initiator.wants_rekey_on_send(at(119_999)));
    assert!(initiator.wants_rekey_on_send(at(120_000)));
    let responder = keypair(Role::Responder);
    assert!(!responder.wants_rekey_on_send(at(179_999)));
}

#[test]
fn p39_a_lane_asks_once_a_second_while_the_handshake_runs() {
    let initiator = keypair(Role::Initiator);
    assert!(!initiator.asks_for_rekey(at(119_999)));
    assert!(initiator.asks_for_rekey(at(120_000)));
    assert!(!initiator.asks_for_rekey(at(120_000)));
    assert!(!initiator.asks_for_rekey(at(120_999)));
    assert!(initiator.asks_for_rekey(at(121_000)));
    assert!(!initiator.asks_for_rekey(at(121_500)));
}

#[test]
fn p40_receiving_asks_once_in_the_last_15_s() {
    let initiator = keypair(Role::Initiator);
    assert!(!initiator.wants_rekey_on_receive(at(164_999)));
    assert!(initiator.wants_rekey_on_receive(at(165_000)));
    assert!(!initiator.wants_rekey_on_receive(at(165_001)), "once a key");
    let responder = keypair(Role::Responder);
    assert!(!responder.wants_rekey_on_receive(at(179_999)));
}

#[test]
fn p41_more_than_2_60_messages_ask_in_both_roles() {
    for role in [Role::Initiator, Role::Responder] {
        let keypair = keypair(role);
        keypair.reserve(REKEY_AFTER_MESSAGES).unwrap();
        assert!(!keypair.wants_rekey_on_send(at(0)));
        keypair.reserve(1).unwrap();
        assert!(keypair.wants_rekey_on_send(at(0)));
    }
}

#[test]
fn p42_180_s_end_sending_and_receiving() {
    for role in [Role::Initiator, Role::Responder] {
        let keypair = keypair(role);
        assert!(keypair.may_send(at(179_999)));
        assert!(keypair.open_run(at(179_999)).is_ok());
        assert!(!keypair.may_send(at(180_000)));
        assert_eq!(
            keypair.open_run(at(180_000)).unwrap_err(),
            OpenError::Expired
        );
        keypair.reserve(REJECT_AFTER_MESSAGES).unwrap();
        assert!(!keypair.may_send(at(0)));
    }
}

#[test]
fn p54_the_first_use_confirms_a_responders_key() {
    let responder = keypair(Role::Responder);
    assert!(!responder.is_confirmed());
    assert!(responder.confirm());
    assert!(responder.is_confirmed());
    assert!(!responder.confirm(), "once");
    let initiator = keypair(Role::Initiator);
    assert!(initiator.is_confirmed());
    assert!(!initiator.confirm());
}

#[test]
fn p39_a_busy_pair_rekeys_every_two_minutes_without_loss() {
    let mut pair = Pair::new(1);
    let mut sent = 0;
    while pair.now.since(pair.start) < Duration::from_secs(1200) {
        pair.send(A, b"there");
        pair.send(B, b"and back");
        sent += 1;
        pair.drive(Duration::from_millis(250));
    }
    pair.drive(Duration::from_secs(1));
    assert_eq!(pair.sides[A].delivered.len(), sent);
    assert_eq!(pair.sides[B].delivered.len(), sent);
    let handshakes = pair.count(A, Wire::Initiation) + pair.count(B, Wire::Initiation);
    assert!(
        (10..=20).contains(&handshakes),
        "{handshakes} in 20 minutes"
    );
}

#[test]
fn p42_data_after_180_s_waits_for_a_new_session() {
    let mut pair = Pair::connected(2);
    pair.drive(Duration::from_secs(181));
    pair.forget();
    pair.send(B, b"late");
    assert_eq!(pair.count(B, Wire::Data), 0);
    assert_eq!(pair.sent(B, Wire::Initiation), [0]);
    pair.drive(Duration::from_millis(100));
    assert_eq!(pair.sides[A].delivered, [b"late".to_vec()]);
}
