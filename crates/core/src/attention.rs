//! What lanes ask of the control loop for a peer.
//! HOT
//!
//! A file of its own so that `tests/interleavings.rs` can try every order of its steps.

use crate::sync::{AtomicU8, Ordering};

/// What a lane may ask of the control loop for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Attention {
    /// Look at the deadlines.
    Deadlines = 1,
    /// The first packet of a responder's new keypair was opened.
    Confirmed = 2,
    /// The keypair is old, or there is none: start a handshake.
    WantSession = 4,
    /// The peer sent from somewhere else.
    Moved = 8,
}

/// Several [`Attention`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionSet(u8);

impl AttentionSet {
    /// Whether `attention` is among them.
    pub fn contains(self, attention: Attention) -> bool {
        self.0 & attention as u8 != 0
    }
}

/// What was asked for a peer and not taken yet.
#[derive(Debug)]
pub(crate) struct Asked(AtomicU8);

impl Asked {
    /// Nothing was asked.
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(0))
    }

    /// Asks for something. True if the peer must be put into the queue: then it is there once,
    /// whatever is asked until the control loop takes it.
    pub(crate) fn ask(&self, wants: Attention) -> bool {
        let wants = wants as u8;
        // Most asks repeat one that is already in the queue: then nothing is written. What the lane
        // did before it asked, and this load, are in one total order with the control loop's taking
        // and looking: if the bit seen here is about to be taken, the look sees what was done.
        if self.0.load(Ordering::SeqCst) & wants != 0 {
            return false;
        }
        self.0.fetch_or(wants, Ordering::SeqCst) == 0
    }

    /// What was asked for since the last call. Take first, then look.
    pub(crate) fn take(&self) -> AttentionSet {
        AttentionSet(self.0.swap(0, Ordering::SeqCst))
    }
}
