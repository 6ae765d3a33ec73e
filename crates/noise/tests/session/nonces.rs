//! Counters are used once, whoever uses them; what was opened once is not opened again.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use core::time::Duration;

use weapon_noise::{
    Identity, Keypair, OpenError, PrivateKey, Role, SecretKey32, SessionKeys, Tick, Tunnel,
    TunnelConfig,
    protocol::{REJECT_AFTER_MESSAGES, REPLAY_WINDOW},
};
use weapon_wire::{
    Endpoint,
    message::{DATA_OVERHEAD, data_counter, data_receiver},
};

use crate::{
    cipher::cipher,
    pair::{A, B, Pair},
};

/// A keypair that opens what it seals.
pub(crate) fn looped(index: u32) -> Keypair {
    let keys = SessionKeys {
        send: SecretKey32::from_bytes(&[5; 32]),
        receive: SecretKey32::from_bytes(&[5; 32]),
        local_index: index,
        remote_index: index,
        role: Role::Initiator,
    };
    Keypair::new(&keys, Tick::default(), cipher())
}

pub(crate) fn sealed(keypair: &Keypair, counter: u64) -> Vec<u8> {
    let mut slot = vec![0; DATA_OVERHEAD + 4];
    keypair.seal(counter, b"data", 0, &mut slot).unwrap();
    slot
}

fn open(keypair: &Keypair, message: &[u8]) -> Result<usize, OpenError> {
    let mut copy = message.to_vec();
    keypair.open_run(Tick::default())?.open(&mut copy)
}

#[test]
fn p58_counters_start_at_0_and_grow_by_1() {
    let mut pair = Pair::new(1);
    pair.recorded = Some(Vec::new());
    for _ in 0..100 {
        pair.send(A, b"data");
        pair.drive(Duration::from_millis(50));
    }
    let recorded = pair.recorded.take().unwrap();
    let data = recorded
        .iter()
        .filter(|(us, _, bytes)| *us == A && bytes[0] == 4);
    let counters: Vec<u64> = data.map(|(_, _, bytes)| data_counter(bytes)).collect();
    assert_eq!(counters, (0..100).collect::<Vec<u64>>());
    assert_eq!(pair.keypair(B).sent_count(), 0);
}

#[test]
fn p59_threads_never_share_a_counter_of_one_key() {
    const THREADS: u64 = 4;
    const EACH: u64 = 50_000;
    let keypair = looped(1);
    let mut taken: Vec<u64> = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|worker| {
                let keypair = &keypair;
                scope.spawn(move || {
                    let mut taken = Vec::new();
                    for step in 0..EACH {
                        let count = 1 + (step + worker) % 3;
                        let first = keypair.reserve(count).unwrap();
                        taken.extend(first..first + count);
                    }
                    taken
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    taken.sort_unstable();
    let len = taken.len() as u64;
    assert!(taken.into_iter().eq(0..len), "each once, none left out");
    assert_eq!(keypair.sent_count(), len);
}

#[test]
fn p59_threads_never_share_a_counter_through_key_switches() {
    let mut pair = Pair::connected(2);
    let link = Arc::clone(pair.sides[A].tunnel.link());
    let stop = AtomicBool::new(false);
    let used_last = AtomicU32::new(0);
    let mut used = thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let (link, stop, used_last) = (&link, &stop, &used_last);
                scope.spawn(move || {
                    let mut used = Vec::new();
                    // So many with each key, then wait for the next.
                    let mut with_this_key = (0, 0);
                    while !stop.load(Ordering::Relaxed) {
                        let keypair = link.sending(Tick::default()).unwrap();
                        let keypair = keypair.as_deref().unwrap();
                        if with_this_key == (keypair.remote_index(), 2000) {
                            thread::yield_now();
                            continue;
                        }
                        if with_this_key.0 != keypair.remote_index() {
                            with_this_key = (keypair.remote_index(), 0);
                        }
                        with_this_key.1 += 1;
                        let counter = keypair.reserve(1).unwrap();
                        let mut slot = [0; DATA_OVERHEAD];
                        keypair.seal(counter, &[], 0, &mut slot).unwrap();
                        used_last.store(keypair.remote_index(), Ordering::Relaxed);
                        used.push((data_receiver(&slot), data_counter(&slot)));
                    }
                    used
                })
            })
            .collect();
        for _ in 0..20 {
            pair.drive(Duration::from_secs(6));
            pair.want_session(A);
            pair.drive(Duration::from_millis(100));
            while used_last.load(Ordering::Relaxed) != pair.keypair(A).remote_index() {
                thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
        let used = workers.into_iter().map(|worker| worker.join().unwrap());
        used.flatten().collect::<Vec<_>>()
    });
    let len = used.len();
    used.sort_unstable();
    used.dedup();
    assert_eq!(used.len(), len);
    let keys: BTreeSet<u32> = used.iter().map(|&(receiver, _)| receiver).collect();
    assert!(keys.len() >= 20, "keys were switched: {}", keys.len());
}

#[test]
fn p60_counters_end_before_the_limit() {
    let keypair = looped(1);
    assert_eq!(keypair.reserve(REJECT_AFTER_MESSAGES - 2), Some(0));
    assert!(keypair.may_send(Tick::default()));
    assert_eq!(keypair.reserve(3), None, "and nothing is taken");
    assert_eq!(keypair.reserve(2), Some(REJECT_AFTER_MESSAGES - 2));
    assert_eq!(keypair.reserve(1), None);
    assert_eq!(keypair.reserve(u64::MAX), None);
    assert!(!keypair.may_send(Tick::default()));

    for counter in [REJECT_AFTER_MESSAGES, u64::MAX] {
        let message = sealed(&keypair, counter);
        assert_eq!(open(&keypair, &message), Err(OpenError::Expired));
    }
    let message = sealed(&keypair, REJECT_AFTER_MESSAGES - 1);
    assert_eq!(open(&keypair, &message), Ok(4));
}

#[test]
fn p62_a_forged_counter_moves_nothing() {
    let keypair = looped(1);
    let mut forged = sealed(&keypair, 1_000_000);
    *forged.last_mut().unwrap() ^= 1;
    let mut run = keypair.open_run(Tick::default()).unwrap();
    assert_eq!(run.open(&mut forged), Err(OpenError::Forged));
    drop(run);
    assert!(
        !forged.windows(4).any(|bytes| bytes == b"data"),
        "not shown"
    );
    assert_eq!(open(&keypair, &sealed(&keypair, 0)), Ok(4));
    assert_eq!(open(&keypair, &sealed(&keypair, 1_000_000)), Ok(4));
    let too_old = 1_000_000 - REPLAY_WINDOW - 1;
    assert_eq!(
        open(&keypair, &sealed(&keypair, too_old)),
        Err(OpenError::Replayed)
    );
    assert_eq!(open(&keypair, &sealed(&keypair, too_old + 1)), Ok(4));
}

#[test]
fn p63_several_openers_deliver_each_packet_once() {
    let keypair = looped(1);
    let packets: Vec<Vec<u8>> = (0..5000).map(|counter| sealed(&keypair, counter)).collect();
    let delivered: Vec<AtomicUsize> = packets.iter().map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        for worker in 0..4 {
            let (keypair, packets, delivered) = (&keypair, &packets, &delivered);
            scope.spawn(move || {
                for step in 0..packets.len() {
                    // Each goes through in another order.
                    let number = step ^ (worker * 3);
                    if number < packets.len() && open(keypair, &packets[number]).is_ok() {
                        delivered[number].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let counts = delivered.iter().map(|count| count.load(Ordering::Relaxed));
    assert!(counts.into_iter().all(|count| count == 1));
}

#[test]
fn p64_replayed_packets_are_refused() {
    let keypair = looped(1);
    let packets: Vec<Vec<u8>> = (0..1000).map(|counter| sealed(&keypair, counter)).collect();
    for packet in &packets {
        assert_eq!(open(&keypair, packet), Ok(4));
    }
    let mut run = keypair.open_run(Tick::default()).unwrap();
    let mut copies = packets.clone();
    for _ in 0..1000 {
        for copy in &mut copies {
            assert_eq!(run.open(copy), Err(OpenError::Replayed));
        }
    }
    assert_eq!(copies, packets, "none was even decrypted");
}

#[test]
fn p78_senders_see_the_old_endpoint_or_the_new_one() {
    let tunnel = tunnel();
    let link = tunnel.link();
    let endpoint = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let address = ([high, low, high, low], number);
        Endpoint::new(address.into())
    };
    link.set_endpoint(Some(endpoint(1)));
    let stop = AtomicBool::new(false);
    let seen = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let known = link.endpoint();
                    let known = known.as_deref().unwrap();
                    assert_eq!(*known, endpoint(known.remote.port()), "a mixed one");
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut rounds = 0;
        while rounds < 20_000 || seen.load(Ordering::Relaxed) < 50_000 {
            link.roam(&endpoint(1 + (rounds % 60_000) as u16), Tick::default());
            link.clear_source();
            rounds += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn tunnel() -> Tunnel {
    let identity = Identity::new(PrivateKey::from_bytes(&[1; 32]));
    let config = TunnelConfig {
        public_key: PrivateKey::from_bytes(&[2; 32]).public(),
        preshared_key: None,
        persistent_keepalive: None,
        cipher: cipher(),
    };
    Tunnel::new(&identity, config)
}

/// Both threads go on at once, within nanoseconds where there are two processors.
#[derive(Default)]
struct Gate(AtomicU64);

impl Gate {
    fn pass(&self, round: u64) {
        self.0.fetch_add(1, Ordering::SeqCst);
        let mut spins = 0_u32;
        while self.0.load(Ordering::SeqCst) < 2 * (round + 1) {
            spins += 1;
            // With one processor, the other must get its turn.
            if spins.is_multiple_of(4096) {
                thread::yield_now();
            }
        }
    }
}

/// Waits some nanoseconds.
fn dawdle(steps: u64) {
    for step in 0..steps {
        core::hint::black_box(step);
    }
}

/// A lane stamps while the control loop looks. Either the lane is told to wake the loop, or what
/// the loop saw last was a deadline that is early enough.
#[test]
fn p45_no_stamp_falls_between_a_look_and_a_lane() {
    const ROUNDS: u64 = 50_000;
    let mut pair = Pair::new(3);
    let tunnel = &mut pair.sides[A].tunnel;
    let link = Arc::clone(tunnel.link());
    let (before, after) = (Gate::default(), Gate::default());
    let woken = AtomicBool::new(false);
    let at = |round: u64| Tick::default() + Duration::from_secs(2000 + round);
    let mut missed = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..ROUNDS {
                before.pass(round);
                dawdle(round % 97);
                let wake = link.activity.note_sent(at(round), true);
                woken.store(wake, Ordering::SeqCst);
                after.pass(round);
            }
        });
        for round in 0..ROUNDS {
            // The answer to the last round's packet came, and the loop has seen that.
            let _wake = link.activity.note_received(at(round), false);
            let _none = tunnel.poll_timeout();
            before.pass(round);
            dawdle(round / 97 % 61);
            let looked = tunnel.poll_timeout();
            after.pass(round);
            let due_max = at(round) + Duration::from_secs(16);
            let early_enough = looked.is_some_and(|(due, _)| due <= due_max);
            if !woken.load(Ordering::SeqCst) && !early_enough {
                missed += 1;
            }
        }
    });
    assert_eq!(missed, 0);
}
