//! Which initiations of a peer are let through: no replays, no floods (paper §5.1).

use crate::{Tai64n, Tick, protocol::INITIATION_INTERVAL_MIN};

/// Why an authentic initiation is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its timestamp is not greater than the greatest accepted one.
    #[error("the initiation is a replay")]
    Replay,
    /// It follows the last accepted one within 20 ms.
    #[error("initiations follow each other too quickly")]
    Flood,
}

/// One peer's greatest timestamp and last accepted initiation.
#[derive(Clone, Debug, Default)]
pub struct InitiationGate {
    greatest: Option<Tai64n>,
    accepted: Option<Tick>,
}

impl InitiationGate {
    /// Lets a verified initiation through, or says why not. A refused one changes nothing.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(&mut self, timestamp: Tai64n, now: Tick) -> Result<(), Refused> {
        if self.greatest.is_some_and(|greatest| timestamp <= greatest) {
            return Err(Refused::Replay);
        }
        if self
            .accepted
            .is_some_and(|accepted| now.since(accepted) < INITIATION_INTERVAL_MIN)
        {
            return Err(Refused::Flood);
        }
        self.greatest = Some(timestamp);
        self.accepted = Some(now);
        Ok(())
    }

    /// The greatest accepted timestamp.
    pub fn greatest(&self) -> Option<Tai64n> {
        self.greatest
    }
}
