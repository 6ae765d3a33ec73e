//! The timestamp in an initiation (paper §5.1), and the guard that makes ours strictly increase.

/// Seconds between the TAI64 label of 1970-01-01 and zero, and the ten leap seconds before 1972.
const TAI64_UNIX_EPOCH: u64 = (1 << 62) + 10;
/// Nanoseconds are a multiple of this: 16.8 ms, too coarse to leak what our machine is doing.
const WHITEN_NANOS: u32 = 1 << 24;
const NANOS_PER_SECOND: u32 = 1_000_000_000;
/// How far ahead of use timestamps are reserved, in seconds: one write to disk per ten minutes.
pub const RESERVE_SECS: u64 = 600;

/// A TAI64N label: 8 bytes of seconds, 4 bytes of nanoseconds, both big-endian, so that the order of
/// the bytes is the order of time (<https://cr.yp.to/libtai/tai64.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tai64n([u8; 12]);

impl Tai64n {
    /// The label of a point on CLOCK_REALTIME, nanoseconds rounded down to a multiple of 2^24.
    pub fn from_unix(seconds: u64, nanos: u32) -> Self {
        let nanos = nanos.min(NANOS_PER_SECOND - 1);
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

    /// The next whitened label: one step of 2^24 ns, or the next full second.
    fn step(self) -> Self {
        let (seconds, nanos) = self.parts();
        match (nanos & !(WHITEN_NANOS - 1)).checked_add(WHITEN_NANOS) {
            Some(nanos) if nanos < NANOS_PER_SECOND => Self::from_parts(seconds, nanos),
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
