//! Whether a peer has proven that it has a key.
//! HOT
//!
//! A file of its own so that `tests/interleavings.rs` of weapon-core can try every order of its
//! steps.

use crate::sync::{AtomicBool, Ordering};

/// Set once a packet was opened with the key.
#[derive(Debug)]
pub(crate) struct Confirmation(AtomicBool);

impl Confirmation {
    /// `is_given` from the start to who began the handshake.
    pub(crate) fn new(is_given: bool) -> Self {
        Self(AtomicBool::new(is_given))
    }

    /// True for the first call that finds it not given.
    ///
    /// The lane that was told so asks the control loop to look, and may find that it was asked
    /// already. Both sides of that question are in one total order, or the loop could look before
    /// it sees the flag, and nobody would ask again.
    pub(crate) fn give(&self) -> bool {
        !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::SeqCst)
    }

    /// Whether it was given.
    pub(crate) fn is_given(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
