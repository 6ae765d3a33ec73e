//! How many of the messages that a peer sent have arrived. Lanes keep no count for it: the replay
//! window knows, and is asked when somebody wants to know.

use std::sync::PoisonError;

use serde::{Deserialize, Serialize};

use crate::Keypair;

/// The newest messages of one session: those whose counters the replay window covers, up to 8192.
///
/// A message that is late counts as missing until it comes. Those lost behind the last one that
/// came are not known to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// So many were sent.
    pub sent: u64,
    /// So many of them arrived.
    pub received: u64,
}

impl Arrivals {
    /// So many are missing.
    pub const fn missing(self) -> u64 {
        self.sent.saturating_sub(self.received)
    }
}

impl Keypair {
    /// What has arrived of the newest messages.
    pub fn arrivals(&self) -> Arrivals {
        let window = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        window.arrivals()
    }
}
