//! What has passed through a tunnel, as stamps that lanes leave for the timers.
//! HOT
//!
//! The kernel arms and cancels timers for every packet (`timers.c`). Lanes only store a stamp, and
//! mostly not even that; the control loop computes deadlines from the stamps when it wakes. It is
//! woken when a quiet tunnel becomes busy, and not again before it has looked.

use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use crate::Tick;

/// Stamps of one tunnel.
#[derive(Debug, Default)]
pub struct Activity {
    last_sent: Stamp,
    last_received: Stamp,
    /// Data came and we have sent nothing since: the peer waits for a sign of life (P43).
    pub(crate) peer_waits: Waiting,
    /// More data came while the peer was waiting already (P44).
    more_received: AtomicBool,
    /// Data was sent and nothing came since: we wait for a sign of life (P45).
    pub(crate) we_wait: Waiting,
}

/// True: the control loop must look at this tunnel's deadlines.
pub type Wake = bool;

impl Activity {
    /// An authenticated packet was sent; `data` unless it was a keepalive or a handshake message.
    #[must_use]
    pub fn note_sent(&self, now: Tick, data: bool) -> Wake {
        self.last_sent.set(now);
        self.peer_waits.end();
        data && self.we_wait.begin(now)
    }

    /// An authenticated packet was received; `data` unless it was a keepalive or a handshake
    /// message.
    #[must_use]
    pub fn note_received(&self, now: Tick, data: bool) -> Wake {
        self.last_received.set(now);
        self.we_wait.end();
        if !data {
            return false;
        }
        if self.peer_waits.is_on() {
            if !self.more_received.load(Ordering::Relaxed) {
                self.more_received.store(true, Ordering::Relaxed);
            }
            return false;
        }
        // A wait that ended because we sent something needs no other keepalive after it (P43).
        if self.more_received.load(Ordering::Relaxed) {
            self.more_received.store(false, Ordering::Relaxed);
        }
        self.peer_waits.begin(now)
    }

    /// When an authenticated packet last passed, in either direction.
    pub fn last_traversal(&self) -> Option<Tick> {
        self.last_sent.at().max(self.last_received.at())
    }

    /// When an authenticated packet was last received.
    pub fn last_received(&self) -> Option<Tick> {
        self.last_received.at()
    }

    /// True, once, if another keepalive is due 10 s after the one that fires now (P44).
    pub(crate) fn take_more_received(&self) -> bool {
        self.more_received.swap(false, Ordering::Relaxed)
    }

    /// Forgets that anybody waits for anything (interface down, keys erased).
    pub(crate) fn reset(&self) {
        self.peer_waits.reset();
        self.we_wait.reset();
        self.more_received.store(false, Ordering::Relaxed);
    }
}

/// A tick that is shared. Zero nanoseconds mean "never".
#[derive(Debug, Default)]
struct Stamp(AtomicU64);

impl Stamp {
    fn set(&self, now: Tick) {
        self.0.store(now.as_nanos().max(1), Ordering::SeqCst);
    }

    fn clear(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    fn at(&self) -> Option<Tick> {
        let nanos = self.0.load(Ordering::SeqCst);
        (nanos != 0).then_some(Tick::from_nanos(nanos))
    }
}

/// Somebody waits for a sign of life since a tick, or nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    since: Stamp,
    /// The control loop has a deadline for this wait, or for an older one: it will look by itself.
    armed: AtomicBool,
    /// The beginning of the wait that this deadline was made for; it may be over. The control
    /// loop's alone.
    promised: Stamp,
}

impl Waiting {
    fn is_on(&self) -> bool {
        self.since.at().is_some()
    }

    /// Starts the wait unless it is on; true if the control loop does not know of it.
    fn begin(&self, now: Tick) -> Wake {
        if self.is_on() {
            return false;
        }
        self.since.set(now);
        !self.armed.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn end(&self) {
        if self.is_on() {
            self.since.clear();
        }
    }

    fn reset(&self) {
        self.end();
        self.promised.clear();
    }

    /// The control loop starts the wait itself.
    pub(crate) fn restart(&self, now: Tick) {
        self.since.set(now);
    }

    /// Whether somebody has waited for `timeout` at `now`. The promise that is due is kept by
    /// this; the next look makes another.
    pub(crate) fn is_due(&self, timeout: Duration, now: Tick) -> bool {
        let due = |since: &Stamp| since.at().is_some_and(|since| since + timeout <= now);
        if due(&self.promised) {
            self.promised.clear();
        }
        due(&self.since)
    }

    /// From when the control loop counts to its next deadline: since when somebody waits, or has
    /// waited when it last looked. It promises to look again before any wait that begins later can
    /// be due; if there is nothing to count from, it makes no promise and will be woken.
    ///
    /// A promise is kept when its wait is over: else each packet of a conversation, which ends one
    /// wait and begins another, would wake the control loop.
    ///
    /// A lane stores `since` and then swaps `armed`; this stores `armed` and then loads `since`. In
    /// the total order of both, one of the two sees the other.
    pub(crate) fn look(&self) -> Option<Tick> {
        if let Some(promised) = self.promised.at() {
            return Some(promised);
        }
        self.armed.store(true, Ordering::SeqCst);
        let mut since = self.since.at();
        if since.is_none() {
            self.armed.store(false, Ordering::SeqCst);
            since = self.since.at();
            if since.is_some() {
                self.armed.store(true, Ordering::SeqCst);
            }
        }
        if let Some(since) = since {
            self.promised.set(since);
        }
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::from_nanos(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_quiet_tunnel_wakes_the_control_loop_once() {
        let activity = Activity::default();
        assert!(activity.note_sent(at(1), true));
        assert!(!activity.note_sent(at(2), true), "known already");
        assert_eq!(activity.we_wait.look(), Some(at(1)));
        assert!(!activity.note_received(at(3), false));
        assert_eq!(activity.we_wait.since.at(), None);
        assert!(
            !activity.note_sent(at(4), true),
            "the deadline of the first wait is still to come"
        );
        assert_eq!(
            activity.we_wait.look(),
            Some(at(1)),
            "so it is, whoever looks meanwhile"
        );
        let timeout = Duration::from_secs(15);
        assert!(!activity.we_wait.is_due(timeout, at(16)), "that wait ended");
        assert_eq!(activity.we_wait.look(), Some(at(4)));
        assert!(!activity.note_received(at(17), false));
        assert!(!activity.we_wait.is_due(timeout, at(19)));
        assert_eq!(activity.we_wait.look(), None, "now nobody will look");
        assert!(activity.note_sent(at(20), true));
        assert_eq!(activity.we_wait.look(), Some(at(20)));
        assert!(!activity.we_wait.is_due(timeout, at(34)));
        assert!(activity.we_wait.is_due(timeout, at(35)));
    }

    #[test]
    fn the_two_waits_wake_independently() {
        let activity = Activity::default();
        assert!(activity.note_sent(at(1), true));
        assert!(
            activity.note_received(at(2), true),
            "10 s from here is before 15 s from there"
        );
    }

    #[test]
    fn keepalives_start_no_wait() {
        let activity = Activity::default();
        assert!(!activity.note_sent(at(1), false));
        assert!(!activity.note_received(at(2), false));
        assert_eq!(activity.we_wait.look().or(activity.peer_waits.look()), None);
    }
}
