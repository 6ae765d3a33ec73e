//! The counter of what is sent with a key: the nonce, which is never used twice.
//! HOT
//!
//! A file of its own so that `tests/interleavings.rs` of weapon-core can try every order of its
//! steps.

use crate::{protocol::REJECT_AFTER_MESSAGES, sync::AtomicU64, sync::Ordering};

/// The next counter to send. Never wraps, never goes back: only [`SendCounter::reserve`] moves it.
#[derive(Debug)]
pub(crate) struct SendCounter(AtomicU64);

impl SendCounter {
    /// A counter whose first number is `next`.
    pub(crate) fn new(next: u64) -> Self {
        Self(AtomicU64::new(next))
    }

    /// The number that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes `count` consecutive numbers and returns the first, or nothing when
    /// REJECT_AFTER_MESSAGES would be passed. Numbers are handed out once, whatever the number of
    /// threads (P59).
    pub(crate) fn reserve(&self, count: u64) -> Option<u64> {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                next.checked_add(count)
                    .filter(|&end| end <= REJECT_AFTER_MESSAGES)
            })
            .ok()
    }
}
