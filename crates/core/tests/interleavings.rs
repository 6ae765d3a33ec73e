//! Every order in which threads can meet at the atomics between lanes and the control loop: the
//! same source files, on loom's atomics.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "what fails here fails the test"
)]

use loom::{
    sync::{Arc, Mutex},
    thread,
};

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
}

mod protocol {
    pub(crate) use weapon_noise::protocol::REJECT_AFTER_MESSAGES;
}

#[path = "../src/attention.rs"]
mod attention;
#[path = "../src/service/bucket.rs"]
mod bucket;
#[path = "../../noise/src/confirmation.rs"]
mod confirmation;
#[path = "../../noise/src/send_counter.rs"]
mod send_counter;

/// What a bucket is made of.
#[derive(Clone, Copy, Debug)]
struct RateLimit {
    bytes_per_second: u64,
    burst_bytes: u64,
}

use attention::{Asked, Attention};
use bucket::{Amount, Bucket};
use confirmation::Confirmation;
use protocol::REJECT_AFTER_MESSAGES;
use send_counter::SendCounter;
use weapon_noise::Tick;

/// Two lanes and the control loop send with one key.
fn reserve_three_times(first: u64) -> Vec<std::ops::Range<u64>> {
    let counter = Arc::new(SendCounter::new(first));
    let lanes: Vec<_> = [2, 3]
        .into_iter()
        .map(|count| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || counter.reserve(count).map(|first| first..first + count))
        })
        .collect();
    let ours = counter.reserve(1).map(|first| first..first + 1);
    let mut taken: Vec<_> = lanes
        .into_iter()
        .filter_map(|lane| lane.join().unwrap())
        .chain(ours)
        .collect();
    taken.sort_by_key(|range| range.start);
    assert_eq!(taken.last().map_or(first, |last| last.end), counter.next());
    taken
}

#[test]
fn p59_a_counter_is_handed_out_once() {
    loom::model(|| {
        let taken = reserve_three_times(0);
        assert_eq!(taken.len(), 3);
        assert!(taken.windows(2).all(|pair| pair[0].end == pair[1].start));
    });
}

#[test]
fn p58_nobody_passes_the_last_counter() {
    loom::model(|| {
        let taken = reserve_three_times(REJECT_AFTER_MESSAGES - 3);
        assert!(!taken.is_empty());
        assert!(taken.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert!(taken.iter().all(|range| range.end <= REJECT_AFTER_MESSAGES));
    });
}

/// Two lanes open the first packets of a responder's new keypair while the control loop takes its
/// mail: it switches to the keypair, and does so once.
#[test]
fn p54_a_confirmed_key_is_switched_to_once() {
    loom::model(|| {
        let confirmation = Arc::new(Confirmation::new(false));
        let asked = Arc::new(Asked::new());
        let queue = Arc::new(Mutex::new(0));
        let lanes: Vec<_> = (0..2)
            .map(|_| {
                let (confirmation, asked) = (Arc::clone(&confirmation), Arc::clone(&asked));
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    if confirmation.give() && asked.ask(Attention::Confirmed) {
                        *queue.lock().unwrap() += 1;
                    }
                })
            })
            .collect();
        let mut switched = 0;
        let mut look = || {
            while core::mem::take(&mut *queue.lock().unwrap()) != 0 {
                if asked.take().contains(Attention::Confirmed) {
                    assert!(confirmation.is_given());
                    switched += 1;
                }
            }
        };
        look();
        for lane in lanes {
            lane.join().unwrap();
        }
        look();
        assert_eq!(switched, 1);
    });
}

/// Three lanes take of one bucket, one of them with an older time: together they get what there is
/// by the newest, and the first who comes is served.
#[test]
fn a_bucket_gives_nothing_twice() {
    loom::model(|| {
        let bucket = Arc::new(Bucket::new(RateLimit {
            bytes_per_second: 1_000_000_000,
            burst_bytes: 1000,
        }));
        let wanted = Amount {
            packets: 3,
            len: 300,
            last: 300,
        };
        let take = move |bucket: &Bucket, nanos: u64| {
            let count = bucket.take(Tick::from_nanos(5_000_000_000 + nanos), wanted);
            wanted.first(count).bytes()
        };
        let lanes: Vec<_> = [0, 200]
            .into_iter()
            .map(|nanos| {
                let bucket = Arc::clone(&bucket);
                thread::spawn(move || take(&bucket, nanos))
            })
            .collect();
        let ours = take(&bucket, 100);
        let theirs = lanes.into_iter().map(|lane| lane.join().unwrap());
        let all: u64 = theirs.chain([ours]).sum();
        assert!((900..=1200).contains(&all), "{all}");
    });
}

/// What a lane did before it asked is seen by who takes the question, or asked for again.
#[test]
fn what_was_asked_is_never_lost() {
    loom::model(|| {
        let asked = Arc::new(Asked::new());
        let done = Arc::new(sync::AtomicU8::new(0));
        let queued = Arc::new(sync::AtomicU8::new(0));
        let lane = {
            let (asked, done, queued) = (asked.clone(), done.clone(), queued.clone());
            thread::spawn(move || {
                for step in 1..=2 {
                    done.store(step, sync::Ordering::SeqCst);
                    if asked.ask(Attention::Deadlines) {
                        queued.fetch_add(1, sync::Ordering::SeqCst);
                    }
                }
            })
        };
        let mut seen = 0;
        let mut look = || {
            if queued.swap(0, sync::Ordering::SeqCst) != 0 {
                let wants = asked.take();
                assert!(wants.contains(Attention::Deadlines));
                seen = done.load(sync::Ordering::SeqCst);
            }
        };
        look();
        lane.join().unwrap();
        look();
        assert_eq!(seen, 2, "the last step was not looked at");
    });
}
