//! Buckets: never more than the limit, whatever the clock and other threads do.

use core::time::Duration;
use std::{sync::Barrier, thread};

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

/// Bytes in a second of which a bucket's sums lose nothing: in 8 ms they are 15,625.
const EXACT: u64 = 1_953_125;

fn at(nanos: u64) -> Tick {
    Tick::from_nanos(nanos)
}

fn bucket(bytes_per_second: u64, burst_bytes: u64) -> Bucket {
    Bucket::new(RateLimit {
        bytes_per_second,
        burst_bytes,
    })
}

/// Bytes that one packet after the other of `len` bytes gets, until one is refused.
fn drain(bucket: &Bucket, now: Tick, len: usize) -> u64 {
    let mut bytes = 0;
    while bucket.take(now, Amount::one(len)) == 1 {
        bytes += len as u64;
    }
    bytes
}

#[test]
fn a_new_bucket_is_full_and_fills_up_again() {
    let bucket = bucket(EXACT, 100_000);
    let start = at(7 * SECOND);
    assert_eq!(drain(&bucket, start, 100), 100_000);
    assert_eq!(drain(&bucket, start + Duration::from_millis(8), 1), 15_625);
    // Never more than it holds, however long nobody came.
    let late = start + Duration::from_secs(1_000_000);
    assert_eq!(drain(&bucket, late, 100), 100_000);
}

#[test]
fn of_a_superpacket_so_many_segments_pass_as_there_is_room_for() {
    let bucket = bucket(EXACT, 10_000);
    let wanted = Amount {
        packets: 8,
        len: 1400,
        last: 200,
    };
    assert_eq!(wanted.bytes(), 10_000);
    assert_eq!(bucket.take(at(0), wanted), 8);
    assert_eq!(bucket.take(at(0), wanted), 0);
    // 4200 bytes.
    assert_eq!(bucket.take(at(2_150_400), wanted), 3);
    // The last is shorter, but it is not its turn.
    assert_eq!(bucket.take(at(2_500_000), wanted), 0);
    assert_eq!(bucket.take(at(2_867_200), wanted), 1);
}

#[test]
fn nothing_is_granted_while_the_clock_stands_still_or_goes_back() {
    let bucket = bucket(EXACT, 3000);
    let now = at(10 * SECOND);
    assert_eq!(drain(&bucket, now, 1000), 3000);
    for _ in 0..1000 {
        assert_eq!(bucket.take(now, Amount::one(1)), 0);
        assert_eq!(bucket.take(at(0), Amount::one(1)), 0);
    }
    // Nor was anything lost by it.
    assert_eq!(drain(&bucket, now + Duration::from_millis(1), 1), 1953);
}

#[test]
fn sums_end_without_a_wrap() {
    let bucket = bucket(12_500_000_000, 100_000);
    // After 46 years there is no room for more, and after that neither.
    for years in [45, 46, 47, 584] {
        let nanos = 365 * 86_400 * years * SECOND;
        assert!(drain(&bucket, at(nanos), 50_000) <= 100_000, "{years}");
    }
    assert!(drain(&bucket, at(u64::MAX), 1) <= 100_000);
    assert_eq!(bucket.take(at(u64::MAX), Amount::one(1)), 0);
}

#[test]
fn nothing_wants_nothing() {
    let none = Amount::one(7).first(0);
    assert_eq!((none.packets, none.bytes()), (0, 0));
    assert_eq!(bucket(1, 100).take(at(0), none), 0);
}

/// What threads get that come at their own times, each as often as it can.
fn taken_by_threads(bucket: &Bucket, threads: u64, rounds: u64, step: u64) -> u64 {
    let barrier = Barrier::new(threads as usize);
    thread::scope(|scope| {
        let all = (0..threads).map(|number| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                let mut bytes = 0;
                for round in 0..rounds {
                    // Some are ahead of others.
                    let now = at(SECOND + round * step + number);
                    let wanted = Amount {
                        packets: 4,
                        len: 500,
                        last: 100 + number as usize,
                    };
                    bytes += wanted.first(bucket.take(now, wanted)).bytes();
                }
                bytes
            })
        });
        let all: Vec<_> = all.collect();
        all.into_iter().map(|it| it.join().unwrap()).sum()
    })
}

#[test]
fn threads_together_get_no_more_than_one_would() {
    let (rate, burst) = (1_000_000_000, 100_000);
    let (threads, rounds, step) = (4, 20_000, 1000);
    let bucket = bucket(rate, burst);
    let bytes = taken_by_threads(&bucket, threads, rounds, step);
    let span = (rounds - 1) * step + threads - 1;
    let most = burst + span * rate / SECOND + 1;
    assert!(bytes <= most, "{bytes} of {most}");
    // They wanted more than there was, and had nearly all of it.
    assert!(bytes > most / 10 * 9, "{bytes} of {most}");
}

/// A visit: so long after the one before, with so many packets of this length.
type Visit = (u64, usize, usize);

fn visits() -> impl Strategy<Value = Vec<Visit>> {
    let visit = (0..30_000_000_u64, 1..60_usize, 1..1500_usize);
    prop::collection::vec(visit, 1..200)
}

proptest! {
    #[test]
    fn never_more_passes_than_the_rate_and_one_burst_whatever_time_is_looked_at(
        visits in visits(),
        rate in 1000..2_000_000_000_u64,
        burst in 1500..1_000_000_u64,
        start in 0..1_u64 << 60,
    ) {
        let bucket = bucket(rate, burst);
        let mut now = start;
        let mut passed = Vec::new();
        for (pause, packets, len) in visits {
            now += pause;
            let wanted = Amount { packets, len, last: len / 2 + 1 };
            let count = bucket.take(at(now), wanted);
            prop_assert!(count <= packets);
            passed.push((now, wanted.first(count).bytes()));
        }
        for first in 0..passed.len() {
            let mut sum = 0;
            for &(end, bytes) in &passed[first..] {
                sum += bytes;
                let span = u128::from(end - passed[first].0);
                let rate = span * u128::from(rate) / u128::from(SECOND) + 1;
                prop_assert!(u128::from(sum) <= u128::from(burst) + rate);
            }
        }
    }

    #[test]
    fn who_wants_less_than_the_rate_is_never_refused(
        rate in 10_000..2_000_000_000_u64,
        lens in prop::collection::vec(1..1500_u64, 1..200),
        start in 0..1_u64 << 60,
    ) {
        let bucket = bucket(rate, 3000);
        let mut now = start;
        for len in lens {
            prop_assert_eq!(bucket.take(at(now), Amount::one(len as usize)), 1);
            // In the time that it takes at this rate, and what is cut off of that in the sums.
            now += (len + 1) * SECOND / rate * 10_001 / 10_000 + 1;
        }
    }
}
