//! Handshake retries, keepalives and erasure, with the numbers of the paper's section 6 and the
//! kernel's `timers.c`.

use core::time::Duration;

use weapon_noise::{Activity, Role, Tick};
use weapon_wire::{Endpoint, Source};

use crate::{
    network::Dice,
    pair::{A, B, Pair, Wire},
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Milliseconds from each to the next.
fn gaps(times: &[u64]) -> Vec<u64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// A pair whose A asks a B that hears nothing.
fn asking_nobody(seed: u64) -> Pair {
    let mut pair = Pair::new(seed);
    pair.cut_off(B);
    pair.send(A, b"anybody there?");
    pair
}

#[test]
fn p34_data_without_a_session_is_staged_and_asks_for_one_at_once() {
    let mut pair = Pair::new(1);
    pair.send(A, b"one");
    assert_eq!(pair.sent(A, Wire::Initiation), [0]);
    assert_eq!(pair.sides[A].host.parked.len(), 1);
    pair.send(A, b"two");
    assert_eq!(pair.count(A, Wire::Initiation), 1);
    pair.drive(ms(29));
    assert_eq!(pair.count(B, Wire::Response), 1);
    assert_eq!(pair.sent(A, Wire::Data), [20, 20]);
    pair.drive(ms(1));
    let delivered = &pair.sides[B].delivered;
    assert_eq!(*delivered, [b"one".to_vec(), b"two".to_vec()]);
}

#[test]
fn p35_unanswered_initiations_are_repeated_every_5_s_and_some() {
    let schedule = |seed| {
        let mut pair = asking_nobody(seed);
        pair.drive(secs(60));
        pair.sent(A, Wire::Initiation)
    };
    let first = schedule(1);
    let between = gaps(&first);
    assert!(
        between.iter().all(|gap| (5000..=5333).contains(gap)),
        "{between:?}"
    );
    assert!(between.iter().any(|gap| *gap != between[0]), "{between:?}");
    assert_ne!(first, schedule(2), "the jitter comes from the entropy");
}

#[test]
fn p36_twenty_initiations_then_nothing() {
    for seed in 0..20 {
        let mut pair = asking_nobody(seed);
        pair.drive(secs(99));
        while pair.sides[A].host.parked_dropped == 0 {
            assert_eq!(pair.sides[A].host.parked.len(), 1);
            pair.drive(ms(1));
        }
        let gave_up = pair.now.since(pair.start);
        assert!(
            gave_up >= secs(100) && gave_up <= ms(106_700),
            "{gave_up:?}"
        );
        let initiations = pair.sent(A, Wire::Initiation);
        assert_eq!(initiations.len(), 20, "{initiations:?}");
        assert_eq!(pair.sides[A].host.unanswered, 20);
        assert!((95_000..=101_400).contains(&initiations[19]));

        let erase_at = pair.sides[A].deadline().expect("key erasure is armed");
        assert!(erase_at.since(pair.now) <= secs(540));
        assert!(erase_at.since(pair.now) >= ms(539_998));
        pair.drive(secs(3600));
        assert_eq!(pair.log.len(), 20, "none after 107 s");
        assert!(pair.sides[A].host.indices.is_empty(), "erased");
        assert_eq!(pair.sides[A].deadline(), None);
    }
}

#[test]
fn p36_giving_up_cancels_the_keepalive() {
    let mut pair = Pair::connected(3);
    pair.drive(secs(30));
    pair.forget();
    pair.network.dead.push(pair.sides[B].address);
    pair.want_session(A);
    while pair.count(A, Wire::Initiation) < 20 {
        pair.drive(ms(10));
    }
    pair.drive(secs(1));
    pair.send(B, b"still here");
    pair.drive(ms(10));
    assert_eq!(pair.sides[A].delivered.len(), 1);
    // Due 10 s later, but the handshake is given up before.
    pair.drive(secs(14));
    assert_eq!(pair.count(A, Wire::Keepalive), 0);
}

#[test]
fn p37_new_data_keeps_the_attempts_going() {
    let mut pair = asking_nobody(4);
    for _ in 0..300 {
        pair.drive(secs(1));
        pair.send(A, b"more");
    }
    let initiations = pair.sent(A, Wire::Initiation);
    assert!(gaps(&initiations).iter().all(|gap| *gap >= 5000));
    assert!(initiations.len() >= 300_000 / 5333, "{}", initiations.len());
    pair.drive(secs(200));
    let after = pair.count(A, Wire::Initiation) - initiations.len();
    assert!((19..=20).contains(&after), "then it is given up: {after}");
}

#[test]
fn p28_one_initiation_in_5_s_whatever_asks() {
    for seed in 0..8 {
        let mut pair = asking_nobody(seed);
        let mut dice = Dice(seed);
        let mut interval = None;
        for _ in 0..2000 {
            pair.drive(ms(dice.below(100)));
            match dice.below(4) {
                0 => pair.send(A, b"data"),
                1 => pair.want_session(A),
                2 => {
                    interval = interval.is_none().then_some(secs(1 + dice.below(5)));
                    pair.control(A, |tunnel, identity, host| {
                        let now = host.now();
                        tunnel.set_persistent_keepalive(interval, identity, now, host);
                    });
                }
                _ => {
                    let other = Endpoint::new("192.0.2.77:77".parse().unwrap());
                    pair.sides[A].tunnel.link().set_endpoint(Some(other));
                }
            }
        }
        let initiations = pair.sent(A, Wire::Initiation);
        assert!(initiations.len() > 10);
        assert!(gaps(&initiations).iter().all(|gap| *gap >= 5000));
    }
}

#[test]
fn p38_retries_forget_the_source_address() {
    let source = Some(Source {
        address: "192.0.2.1".parse().unwrap(),
        interface: 7,
    });
    let known = |pair: &Pair| pair.sides[A].tunnel.link().endpoint().as_deref().copied();

    let mut pair = Pair::connected(5);
    pair.drive(secs(30));
    assert_eq!(known(&pair).unwrap().source, source, "learned from packets");
    pair.cut_off(B);
    pair.want_session(A);
    pair.drive(ms(4999));
    assert_eq!(
        known(&pair).unwrap().source,
        source,
        "the first goes with it"
    );
    pair.drive(ms(400));
    let retried = known(&pair).unwrap();
    assert_eq!(retried, Endpoint::new(pair.sides[B].address));

    let mut pair = Pair::connected(6);
    pair.drive(secs(30));
    pair.cut_off(B);
    pair.send(A, b"data");
    pair.drive(secs(14));
    assert_eq!(known(&pair).unwrap().source, source);
    pair.drive(secs(2));
    assert_eq!(known(&pair).unwrap().source, None, "no answer for 15 s");
}

#[test]
fn p43_received_data_is_answered_by_one_keepalive_after_10_s() {
    let mut pair = Pair::connected(7);
    pair.drive(secs(100));
    assert_eq!(pair.sent(B, Wire::Keepalive), [10_030]);
    assert_eq!(pair.count(A, Wire::Keepalive), 0, "never for a keepalive");
    assert_eq!(pair.log.len(), 4, "initiation, response, data, keepalive");
}

#[test]
fn p43_a_wait_that_ended_leaves_no_second_keepalive() {
    let mut pair = Pair::connected(8);
    pair.drive(secs(1));
    pair.send(A, b"second");
    pair.drive(secs(1));
    pair.send(B, b"answer");
    pair.drive(secs(30));
    pair.forget();
    pair.send(A, b"third");
    pair.drive(secs(60));
    assert_eq!(pair.sent(B, Wire::Keepalive), [10_010]);
}

#[test]
fn p44_data_during_the_wait_is_answered_by_another_keepalive() {
    let mut pair = Pair::connected(9);
    pair.drive(secs(5));
    pair.send(A, b"second");
    pair.send(A, b"third");
    pair.drive(secs(100));
    assert_eq!(pair.sent(B, Wire::Keepalive), [10_030, 20_030]);
}

#[test]
fn p45_no_answer_for_15_s_starts_a_handshake() {
    let mut jitters = Vec::new();
    for seed in 0..6 {
        let mut pair = Pair::connected(seed);
        pair.drive(secs(30));
        pair.cut_off(B);
        pair.forget();
        pair.send(A, b"anybody?");
        pair.drive(secs(16));
        let initiations = pair.sent(A, Wire::Initiation);
        assert_eq!(initiations.len(), 1);
        assert!((15_000..=15_333).contains(&initiations[0]));
        jitters.push(initiations[0]);
    }
    jitters.dedup();
    assert!(jitters.len() > 1, "the jitter varies");
}

#[test]
fn p45_later_data_does_not_postpone_the_handshake() {
    let mut pair = Pair::connected(11);
    pair.drive(secs(30));
    pair.cut_off(B);
    pair.forget();
    for _ in 0..15 {
        pair.send(A, b"anybody?");
        pair.drive(secs(1));
    }
    pair.drive(ms(340));
    assert_eq!(pair.count(A, Wire::Initiation), 1);
}

#[test]
fn p46_whatever_is_sent_or_received_ends_the_waits() {
    let mut pair = Pair::connected(12);
    pair.drive(secs(5));
    pair.send(B, b"answer");
    pair.drive(secs(60));
    assert_eq!(pair.count(B, Wire::Keepalive), 0, "the answer was enough");
    assert_eq!(pair.sent(A, Wire::Keepalive).len(), 1, "for the answer");
    assert_eq!(pair.count(A, Wire::Initiation), 1);
    assert_eq!(pair.count(B, Wire::Initiation), 0);

    // An initiation is an authenticated packet too.
    pair.forget();
    pair.send(A, b"data");
    pair.drive(secs(5));
    pair.want_session(B);
    pair.drive(secs(60));
    let keepalives = pair.sent(B, Wire::Keepalive);
    assert_eq!(keepalives, [5020], "the one that confirms the session");
}

#[test]
fn p47_everything_is_erased_540_s_after_the_last_session() {
    let mut pair = Pair::connected(13);
    pair.cut_off(B);
    pair.drive(secs(450));
    pair.send(A, b"late");
    assert_eq!(pair.sides[A].host.parked.len(), 1);
    assert!(pair.sides[A].tunnel.pending_index().is_some());
    pair.drive(ms(89_900));
    assert!(!pair.sides[A].host.indices.is_empty());
    pair.drive(ms(200));
    for side in &pair.sides {
        assert!(side.host.indices.is_empty());
        assert!(side.tunnel.sessions().current().is_none());
        assert!(side.tunnel.sessions().previous().is_none());
        assert!(side.tunnel.sessions().next().is_none());
        assert!(side.tunnel.pending_index().is_none());
        assert!(side.tunnel.link().sending(pair.now).is_none());
    }
    assert_eq!(pair.sides[A].host.parked_dropped, 1);
    assert_eq!(pair.sides[A].deadline(), None);
}

#[test]
fn p47_a_new_session_starts_the_540_s_anew() {
    let mut pair = Pair::connected(14);
    pair.drive(secs(300));
    pair.send(A, b"again");
    pair.drive(secs(539));
    assert!(pair.sides[A].tunnel.sessions().current().is_some());
    pair.drive(secs(2));
    assert!(pair.sides[A].tunnel.sessions().current().is_none());
}

#[test]
fn p48_persistent_keepalives_keep_their_distance() {
    let mut pair = Pair::with_keepalive(15, [Some(secs(25)), None]);
    assert_eq!(pair.sent(A, Wire::Initiation), [0], "at once when up");
    pair.drive(secs(60));
    assert_eq!(pair.sent(A, Wire::Keepalive), [20, 25_020, 50_020]);
    pair.send(B, b"data from the other side");
    pair.drive(secs(9));
    pair.send(A, b"answer");
    pair.forget();
    pair.drive(secs(49));
    // B's own answer to the data, after 10 s, is the last packet that passed.
    assert_eq!(pair.sent(B, Wire::Keepalive), [10_010]);
    assert_eq!(pair.sent(A, Wire::Keepalive), [35_020]);
}

#[test]
fn p48_zero_is_off_and_65535_is_legal() {
    let mut pair = Pair::with_keepalive(16, [Some(Duration::ZERO), Some(Duration::ZERO)]);
    pair.drive(secs(3600));
    assert_eq!(pair.log.len(), 0);

    let set = |pair: &mut Pair, interval| {
        pair.control(A, |tunnel, identity, host| {
            let now = host.now();
            tunnel.set_persistent_keepalive(interval, identity, now, host);
        });
    };
    pair.forget();
    set(&mut pair, Some(secs(65_535)));
    assert_eq!(
        pair.sent(A, Wire::Initiation),
        [0],
        "from off to on: at once"
    );
    pair.drive(ms(100));
    pair.forget();
    set(&mut pair, Some(secs(65_535)));
    pair.drive(secs(65_000));
    assert_eq!(pair.log.len(), 0);
    pair.drive(secs(1000));
    assert!(pair.count(A, Wire::Initiation) == 1);

    set(&mut pair, Some(Duration::ZERO));
    pair.drive(secs(600));
    pair.forget();
    pair.drive(secs(200_000));
    assert_eq!(pair.log.len(), 0, "off again");
}

#[test]
fn p49_the_initiator_confirms_the_session_at_once() {
    let mut pair = Pair::new(17);
    pair.want_session(A);
    pair.drive(ms(100));
    assert_eq!(pair.sent(A, Wire::Keepalive), [20]);
    let mut pair = Pair::new(17);
    pair.send(A, b"data");
    pair.drive(ms(100));
    assert_eq!(
        pair.sent(A, Wire::Data),
        [20],
        "staged data does it as well"
    );
    assert_eq!(pair.count(A, Wire::Keepalive), 0);
}

#[test]
fn p51_idle_peers_are_silent_for_an_hour() {
    let mut pair = Pair::connected(18);
    pair.send(B, b"answer");
    pair.drive(secs(60));
    pair.forget();
    let wakes = pair.sides[A].wakes + pair.sides[B].wakes;
    pair.drive(secs(3600));
    assert_eq!(pair.log.len(), 0);
    let after = pair.sides[A].wakes + pair.sides[B].wakes;
    assert_eq!(after - wakes, 2, "each erases its keys once");
    assert!(pair.sides.iter().all(|side| side.deadline().is_none()));
}

#[test]
fn p52_no_timer_fires_after_down() {
    let mut pair = asking_nobody(19);
    pair.drive(secs(7));
    pair.control(A, |tunnel, _, host| tunnel.down(host));
    assert_eq!(pair.sides[A].deadline(), None);
    assert!(pair.sides[A].host.indices.is_empty());
    let before = pair.log.len();
    pair.drive(secs(3600));
    assert_eq!(pair.log.len(), before);
}

#[test]
fn p53_a_handshake_completes_when_both_have_the_keys() {
    let mut pair = Pair::new(20);
    pair.send(A, b"data");
    pair.drive(secs(1));
    let at = |millis| pair.start + ms(millis);
    assert_eq!(pair.sides[A].host.completed, [(at(20), Role::Initiator)]);
    assert_eq!(pair.sides[B].host.completed, [(at(30), Role::Responder)]);
}

#[test]
fn p100_after_a_long_suspend_old_keys_are_gone_and_new_ones_come() {
    let mut pair = Pair::with_keepalive(21, [Some(secs(25)), None]);
    pair.drive(secs(10));
    pair.send(A, b"before");
    pair.drive(secs(1));
    let before = pair.keypair(A);
    // The machines sleep for a day: time passes, nothing is handled meanwhile.
    pair.network.lose_all();
    pair.now = pair.now + secs(86_400);
    assert!(!before.may_send(pair.now), "BOOTTIME counts through it");
    assert!(before.open_run(pair.now).is_err());
    pair.drive(secs(6));
    for side in &pair.sides {
        let current = side.tunnel.sessions().current().expect("a new session");
        assert!(current.may_send(pair.now));
        assert!(side.tunnel.sessions().previous().is_none(), "erased");
    }
    assert_eq!(pair.sides[A].host.indices.len(), 1);
}

#[test]
fn p32_activity_survives_a_clock_that_steps_back() {
    let activity = Activity::default();
    let late = Tick::from_nanos(0) + secs(100);
    let _wake = activity.note_sent(late, true);
    let _wake = activity.note_received(Tick::from_nanos(5), true);
    assert_eq!(activity.last_traversal(), Some(late));
}
