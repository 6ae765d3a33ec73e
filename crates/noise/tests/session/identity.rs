//! Our key, the peer's recordings, and randomness that is missing.

use core::time::Duration;

use weapon_noise::{Identity, PresharedKey, PrivateKey, Seeded, TimestampGuard};
use weapon_wire::message::{Initiation, Response};

use crate::pair::{A, B, Pair, Wire};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn restart_tunnel(pair: &mut Pair, us: usize) {
    pair.control(us, |tunnel, identity, host| {
        tunnel.down(host);
        let now = host.now();
        tunnel.up(identity, now, host);
    });
}

#[test]
fn p17_each_initiation_is_fresh() {
    let mut pair = Pair::new(1);
    pair.cut_off(B);
    pair.recorded = Some(Vec::new());
    pair.send(A, b"data");
    pair.drive(Duration::from_secs(40));
    let recorded = pair.recorded.take().unwrap();
    let initiations: Vec<&Initiation> = recorded
        .iter()
        .filter_map(|(_, _, bytes)| Initiation::parse(bytes))
        .collect();
    assert!(initiations.len() >= 7);
    for (earlier, later) in initiations.iter().zip(&initiations[1..]) {
        assert_ne!(earlier.ephemeral, later.ephemeral);
        assert_ne!(earlier.sender, later.sender);
        assert_ne!(earlier.encrypted_timestamp, later.encrypted_timestamp);
    }
    assert_eq!(pair.sides[A].host.indices.len(), 1, "only the last is open");
}

#[test]
fn p19_a_late_response_works_and_a_second_copy_changes_nothing() {
    let mut pair = Pair::new(2);
    pair.recorded = Some(Vec::new());
    pair.network.latency = ms(2000);
    pair.send(A, b"data");
    pair.drive(ms(4500));
    assert_eq!(pair.sent(A, Wire::Data), [4000]);
    let keypair = pair.keypair(A);
    let recorded = pair.recorded.take().unwrap();
    let is_response = |bytes: &[u8]| Response::parse(bytes).is_some();
    let response = recorded.iter().find(|(_, _, bytes)| is_response(bytes));
    let mut response = response.unwrap().2.clone();
    let elsewhere = "198.51.100.9:9".parse().unwrap();
    pair.receive(A, elsewhere, &mut response);
    assert_eq!(pair.keypair(A).local_index(), keypair.local_index());
    let endpoint = pair.sides[A].tunnel.link().endpoint();
    assert_eq!(endpoint.as_deref().unwrap().remote, pair.sides[B].address);
    assert_eq!(pair.count(A, Wire::Data), 1);
}

#[test]
fn p19_a_response_to_an_initiation_that_was_replaced_is_dropped() {
    let mut pair = Pair::new(3);
    pair.network.latency = ms(2600);
    pair.send(A, b"data");
    pair.drive(ms(5100));
    // The first response comes after 5.2 s; the second initiation may go after 5 s.
    pair.network.latency = ms(200);
    pair.want_session(A);
    assert_eq!(pair.count(A, Wire::Initiation), 2);
    pair.drive(ms(150));
    assert_eq!(pair.count(B, Wire::Response), 1);
    assert!(pair.sides[A].tunnel.sessions().current().is_none());
    pair.drive(ms(1000));
    assert_eq!(pair.sides[B].delivered, [b"data".to_vec()]);
}

#[test]
fn p20_simultaneous_initiations_converge() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed);
        pair.send(A, b"from a");
        pair.drive(ms(seed % 10));
        pair.send(B, b"from b");
        pair.drive(ms(40));
        assert_eq!(pair.sides[B].delivered, [b"from a".to_vec()]);
        assert_eq!(pair.sides[A].delivered, [b"from b".to_vec()]);
        for round in 0..60_u8 {
            pair.send(A, &[round]);
            pair.send(B, &[round]);
            pair.drive(ms(1000));
        }
        assert_eq!(pair.sides[A].delivered.len(), 61);
        assert_eq!(pair.sides[B].delivered.len(), 61);
        assert_eq!(pair.count(A, Wire::Initiation), 1, "no ping-pong");
        assert_eq!(pair.count(B, Wire::Initiation), 1, "no ping-pong");
    }
}

#[test]
fn p20_simultaneous_rekeys_converge() {
    let mut pair = Pair::new(4);
    pair.send(A, b"a");
    pair.send(B, b"b");
    let mut sent = 1;
    while pair.now.since(pair.start) < Duration::from_secs(600) {
        pair.drive(ms(500));
        pair.send(A, b"a");
        pair.send(B, b"b");
        sent += 1;
    }
    pair.drive(ms(100));
    assert_eq!(pair.sides[A].delivered.len(), sent);
    assert_eq!(pair.sides[B].delivered.len(), sent);
    let handshakes = pair.count(A, Wire::Initiation) + pair.count(B, Wire::Initiation);
    assert!((5..=6).contains(&handshakes), "{handshakes} in 10 minutes");
}

#[test]
fn p56_ends_that_began_at_once_send_with_one_session_and_lose_nothing_when_it_ends() {
    for seed in 0..4 {
        let mut pair = Pair::new(seed);
        pair.send(A, b"a");
        pair.send(B, b"b");
        pair.drive(ms(119_500));
        // More than one packet is on its way at any time.
        for _ in 0..1000 {
            pair.send(A, b"a");
            pair.send(B, b"b");
            pair.drive(ms(1));
        }
        pair.drive(ms(100));
        assert_eq!(pair.sides[A].delivered.len(), 1001);
        assert_eq!(pair.sides[B].delivered.len(), 1001);
        let handshakes = pair.count(A, Wire::Initiation) + pair.count(B, Wire::Initiation);
        assert_eq!(handshakes, 3, "one end rekeys");
    }
}

#[test]
fn p21_a_new_key_stops_sending_and_may_ask_at_once() {
    let mut pair = Pair::connected(5);
    let identity = Identity::new(PrivateKey::from_bytes(&[0x42; 32]));
    pair.sides[A].identity = identity;
    pair.control(A, |tunnel, identity, host| {
        tunnel.set_identity(identity, host)
    });
    assert!(pair.sides[A].tunnel.link().sending(pair.now).is_none());
    assert!(pair.sides[A].tunnel.sessions().current().is_none());
    pair.forget();
    pair.send(A, b"parked");
    assert_eq!(pair.sent(A, Wire::Initiation), [0]);
    assert_eq!(pair.count(A, Wire::Data), 0);
    pair.send(B, b"by the old session");
    pair.drive(ms(20));
    assert_eq!(pair.sides[A].delivered, [b"by the old session".to_vec()]);
}

#[test]
fn p23_a_new_psk_joins_the_next_handshake_only() {
    let mut pair = Pair::connected(6);
    let psk = || Some(PresharedKey::from_bytes(&[1; 32]));
    pair.sides[A].tunnel.set_preshared_key(psk());
    pair.send(A, b"the session lives");
    pair.drive(ms(100));
    assert_eq!(pair.sides[B].delivered.len(), 2);
    pair.drive(Duration::from_secs(10));
    pair.want_session(A);
    pair.drive(ms(1000));
    assert_eq!(pair.count(B, Wire::Response), 2);
    assert_eq!(pair.sides[A].host.completed.len(), 1, "keys differ");
    pair.sides[B].tunnel.set_preshared_key(psk());
    pair.drive(Duration::from_secs(6));
    assert_eq!(pair.sides[A].host.completed.len(), 2);
}

#[test]
fn p29_p30_a_clock_that_jumps_locks_nobody_out() {
    const TEN_YEARS: i64 = 10 * 365 * 86_400;
    let mut pair = Pair::connected(7);
    for skew in [TEN_YEARS, 0, -TEN_YEARS, 0] {
        pair.sides[A].host.wall_skew = skew;
        pair.drive(Duration::from_secs(30));
        restart_tunnel(&mut pair, A);
        pair.send(A, b"new session");
        pair.drive(ms(100));
        assert_eq!(
            pair.sides[A].host.completed.last().unwrap().0,
            pair.now_minus(ms(80))
        );
    }
    assert_eq!(pair.count(A, Wire::Initiation), 5, "one handshake each");
}

#[test]
fn p31_a_restarted_responder_believes_no_recording() {
    let mut pair = Pair::new(8);
    pair.recorded = Some(Vec::new());
    for _ in 0..3 {
        pair.send(A, b"data");
        pair.drive(Duration::from_secs(30));
        restart_tunnel(&mut pair, A);
    }
    let recorded = pair.recorded.take().unwrap();
    // A tunnel without a memory, as after a restart.
    let fresh = Pair::new(8);
    let mut sides = fresh.sides;
    core::mem::swap(&mut pair.sides[B], &mut sides[B]);
    pair.sides[B].host.timestamps = TimestampGuard::new(None);
    pair.sides[B].host.entropy = Seeded::danger_new(999);
    pair.cut_off(A);
    pair.forget();
    let elsewhere = "198.51.100.9:9".parse().unwrap();
    let endpoint = pair.sides[B].tunnel.link().endpoint().as_deref().copied();
    for (us, _, bytes) in recorded {
        if us == A {
            pair.receive(B, elsewhere, &mut bytes.clone());
            pair.receive(B, elsewhere, &mut bytes.clone());
            pair.drive(ms(100));
        }
    }
    assert_eq!(pair.count(B, Wire::Response), 3, "each once");
    let side = &pair.sides[B];
    assert_eq!(side.delivered.len(), 0);
    assert!(
        side.tunnel.sessions().current().is_none(),
        "nothing to send with"
    );
    assert_eq!(side.tunnel.link().endpoint().as_deref().copied(), endpoint);
}

#[test]
fn p104_without_randomness_no_handshake_is_made_or_answered() {
    let mut pair = Pair::new(9);
    pair.sides[B].host.entropy_ready = false;
    pair.send(A, b"asks");
    pair.send(B, b"asks");
    pair.drive(Duration::from_secs(4));
    assert!(pair.log.iter().all(|&(_, us, _)| us == A));
    assert!(pair.sides[B].host.indices.is_empty());
    pair.sides[B].host.entropy_ready = true;
    pair.drive(Duration::from_secs(8));
    assert_eq!(pair.sides[B].delivered, [b"asks".to_vec()]);
    assert_eq!(pair.sides[A].delivered, [b"asks".to_vec()]);
}
