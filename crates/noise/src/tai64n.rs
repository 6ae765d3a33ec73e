//! The timestamp in an initiation (paper §5.1), and the guard that makes ours strictly increase.

use serde::{Deserialize, Serialize};

/// Seconds between the TAI64 label of 1970-01-01 and zero, and the ten leap seconds before 1972.
const TAI64_UNIX_EPOCH: u64 = (1 << 62) + 10;
/// Nanoseconds are a multiple of this: 16.8 ms, too coarse to leak what our machine is doing.
const WHITEN_NANOS: u32 = 1 << 24;
/// The last nanosecond of a second.
const NANOS_MAX: u32 = 999_999_999;
/// How far ahead of use timestamps are reserved, in seconds: one write to disk per ten minutes.
pub const RESERVE_SECS: u64 = 600;

/// A TAI64N label: 8 bytes of seconds, 4 bytes of nanoseconds, both big-endian, so that the order
/// of the bytes is the order of time (<https://cr.yp.to/libtai/tai64.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tai64n([u8; 12]);

impl Tai64n {
    /// The label of a point on CLOCK_REALTIME, nanoseconds rounded down to a multiple of 2^24.
    pub fn from_unix(seconds: u64, nanos: u32) -> Self {
        let nanos = nanos.min(NANOS_MAX);
        Self::from_parts(
            TAI64_UNIX_EPOCH.saturating_add(seconds),
            nanos & !(WHITEN_NANOS - 1),
        )
    }

    /// The label in `bytes`, as received or read back from disk.
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// The label's bytes as they travel.
    pub const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }

    /// Its seconds since 1970, by the clock that it was made of.
    pub fn unix_seconds(&self) -> u64 {
        self.parts().0.saturating_sub(TAI64_UNIX_EPOCH)
    }

    /// The next whitened label: one step of 2^24 ns, or the next full second.
    fn step(self) -> Self {
        let (seconds, nanos) = self.parts();
        match (nanos & !(WHITEN_NANOS - 1)).checked_add(WHITEN_NANOS) {
            Some(nanos) if nanos <= NANOS_MAX => Self::from_parts(seconds, nanos),
            _ => Self::from_parts(seconds.saturating_add(1), 0),
        }
    }

    fn plus_secs(self, more: u64) -> Self {
        let (seconds, nanos) = self.parts();
        Self::from_parts(seconds.saturating_add(more), nanos)
    }

    fn from_parts(seconds: u64, nanos: u32) -> Self {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&seconds.to_be_bytes());
        bytes[8..].copy_from_slice(&nanos.to_be_bytes());
        Self(bytes)
    }

    fn parts(self) -> (u64, u32) {
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3] = self.0;
        let seconds = u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        (seconds, u32::from_be_bytes([n0, n1, n2, n3]))
    }
}

/// A timestamp to send, and what has to be on disk before it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Greater than every timestamp handed out before, also before a restart.
    pub timestamp: Tai64n,
    /// The high-water mark to persist **before** `timestamp` is sent; report it with
    /// [`TimestampGuard::persisted`].
    pub reserve: Option<Tai64n>,
}

/// Hands out strictly increasing timestamps, whatever the clock does.
///
/// Peers answer only to timestamps greater than the greatest they saw. A clock that steps back, or
/// a machine that boots at 1970, would therefore lock us out; a mark on disk that is always ahead
/// of what was sent prevents it. And since we never go below our own maximum, an initiation that
/// was recorded while the clock was years ahead cannot out-date us (CVE-2021-46873).
#[derive(Debug)]
pub struct TimestampGuard {
    /// The greatest timestamp that was, or may have been, sent.
    greatest: Option<Tai64n>,
    /// No timestamp above this may be sent without a new reservation.
    mark: Option<Tai64n>,
}

impl TimestampGuard {
    /// A guard that continues above the mark of an earlier run.
    pub const fn new(persisted: Option<Tai64n>) -> Self {
        Self {
            greatest: persisted,
            mark: persisted,
        }
    }

    /// The timestamp for an initiation at `wall` (CLOCK_REALTIME).
    pub fn next(&mut self, wall: Tai64n) -> Stamp {
        let timestamp = match self.greatest {
            Some(greatest) => wall.max(greatest.step()),
            None => wall,
        };
        self.greatest = Some(timestamp);
        let reserved = self.mark.is_some_and(|mark| timestamp <= mark);
        let reserve = (!reserved).then(|| timestamp.plus_secs(RESERVE_SECS));
        Stamp { timestamp, reserve }
    }

    /// Notes that `mark` is safely on disk. Until then each stamp asks for a reservation again.
    pub fn persisted(&mut self, mark: Tai64n) {
        self.mark = self.mark.max(Some(mark));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const YEAR: u64 = 365 * 86_400;

    #[test]
    fn p24_tai64n_is_seconds_since_1970_and_ten_more_then_nanoseconds() {
        let label = Tai64n::from_unix(0, 0);
        assert_eq!(
            label.as_bytes(),
            &[0x40, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0]
        );
        let label = Tai64n::from_unix(0x0102_0304, 0x2100_0000);
        let expected = [0x40, 0, 0, 0, 0x01, 0x02, 0x03, 0x0e, 0x21, 0, 0, 0];
        assert_eq!(label.as_bytes(), &expected);
    }

    #[test]
    fn p25_nanoseconds_are_rounded_down_to_2_to_the_24() {
        let nanos = |nanos| Tai64n::from_unix(1, nanos).parts().1;
        assert_eq!(nanos(0), 0);
        assert_eq!(nanos((1 << 24) - 1), 0);
        assert_eq!(nanos(1 << 24), 1 << 24);
        assert_eq!(nanos((1 << 25) + 12_345), 1 << 25);
        assert_eq!(nanos(999_999_999), 59 << 24);
        // No clock says that; the second would not be its own any more.
        assert_eq!(nanos(u32::MAX), 59 << 24);
    }

    #[test]
    fn p26_order_of_labels_is_order_of_time() {
        let mut labels = Vec::new();
        for seconds in [0, 1, 255, 256, u64::from(u32::MAX), 1 << 40] {
            for nanos in [0, 1 << 24, 59 << 24] {
                labels.push(Tai64n::from_unix(seconds, nanos));
            }
        }
        assert!(labels.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn p29_two_stamps_in_one_tick_differ() {
        let mut guard = TimestampGuard::new(None);
        let wall = Tai64n::from_unix(100, 0);
        let stamps: Vec<_> = (0..200).map(|_| guard.next(wall).timestamp).collect();
        assert_eq!(stamps[0], wall);
        assert!(stamps.is_sorted_by(|a, b| a < b));
        // Also the steps over a second's end are whitened and real times.
        assert_eq!(stamps[60], Tai64n::from_unix(101, 0));
    }

    #[test]
    fn p29_a_clock_that_steps_back_does_not_matter() {
        let mut guard = TimestampGuard::new(None);
        let before = guard.next(Tai64n::from_unix(10 * YEAR, 0)).timestamp;
        let after = guard.next(Tai64n::from_unix(0, 0)).timestamp;
        assert!(after > before);
        // Time is followed again once it has caught up.
        let later = Tai64n::from_unix(10 * YEAR + 5, 0);
        assert_eq!(guard.next(later).timestamp, later);
    }

    #[test]
    fn p29_one_reservation_lasts_ten_minutes() {
        let mut guard = TimestampGuard::new(None);
        let mut writes = 0;
        for second in 0..3600 {
            let stamp = guard.next(Tai64n::from_unix(1000 + second, 0));
            if let Some(mark) = stamp.reserve {
                assert!(mark > stamp.timestamp);
                writes += 1;
                guard.persisted(mark);
            }
        }
        assert_eq!(writes, 6);
    }

    #[test]
    fn p29_a_reservation_that_failed_is_asked_for_again() {
        let mut guard = TimestampGuard::new(None);
        assert!(guard.next(Tai64n::from_unix(5, 0)).reserve.is_some());
        let mark = guard.next(Tai64n::from_unix(6, 0)).reserve.unwrap();
        guard.persisted(mark);
        assert_eq!(guard.next(Tai64n::from_unix(7, 0)).reserve, None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "it reads sources, and runs none")]
    fn p33_only_this_file_turns_a_wall_clock_into_time() {
        let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = 0;
        for entry in std::fs::read_dir(sources).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() || path.file_name().is_some_and(|name| name == "tai64n.rs") {
                continue;
            }
            files += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            for word in ["SystemTime", "Instant", "CLOCK_REALTIME"] {
                let used = text
                    .lines()
                    .any(|line| line.contains(word) && !line.trim_start().starts_with("//"));
                assert!(!used, "{} uses {word}", path.display());
            }
        }
        assert!(files > 8);
    }

    proptest! {
        /// Whatever the clock says and whenever the process dies, what was sent only increases.
        #[test]
        fn p29_stamps_increase_across_restarts(
            steps in prop::collection::vec(
                (0_u64..3000, 0_u32..1_000_000_000, any::<bool>()), 1..200)
        ) {
            let mut disk = None;
            let mut guard = TimestampGuard::new(disk);
            let mut greatest = None;
            for (seconds, nanos, dies) in steps {
                let stamp = guard.next(Tai64n::from_unix(seconds, nanos));
                if let Some(mark) = stamp.reserve {
                    disk = Some(mark);
                    guard.persisted(mark);
                }
                prop_assert!(Some(stamp.timestamp) > greatest);
                prop_assert!(Some(stamp.timestamp) <= disk);
                prop_assert_eq!(stamp.timestamp.parts().1 % WHITEN_NANOS, 0);
                greatest = Some(stamp.timestamp);
                if dies {
                    guard = TimestampGuard::new(disk);
                }
            }
        }

        #[test]
        fn no_label_makes_a_step_fail(bytes: [u8; 12]) {
            let label = Tai64n::from_bytes(bytes);
            let (seconds, _) = label.parts();
            if seconds < u64::MAX {
                prop_assert!(label.step() > label);
            }
            let _ = label.plus_secs(RESERVE_SECS);
        }
    }
}
