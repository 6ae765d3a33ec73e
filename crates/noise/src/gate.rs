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

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn stamp(seconds: u64) -> Tai64n {
        Tai64n::from_unix(seconds, 0)
    }

    const fn ms(millis: u64) -> Tick {
        Tick::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn p26_equal_timestamp_is_dropped() {
        let mut gate = InitiationGate::default();
        assert_eq!(gate.admit(stamp(100), ms(0)), Ok(()));
        assert_eq!(gate.admit(stamp(100), ms(5000)), Err(Refused::Replay));
        assert_eq!(gate.admit(stamp(99), ms(5000)), Err(Refused::Replay));
        assert_eq!(gate.greatest(), Some(stamp(100)));
        assert_eq!(gate.admit(stamp(101), ms(5000)), Ok(()));
        assert_eq!(gate.greatest(), Some(stamp(101)));
    }

    #[test]
    fn p26_the_least_greater_timestamp_is_let_through() {
        let mut gate = InitiationGate::default();
        let mut bytes = *stamp(100).as_bytes();
        assert_eq!(gate.admit(Tai64n::from_bytes(bytes), ms(0)), Ok(()));
        // Not whitened, as other implementations may send it.
        bytes[11] = 1;
        assert_eq!(gate.admit(Tai64n::from_bytes(bytes), ms(1000)), Ok(()));
    }

    #[test]
    fn p27_an_initiation_within_20_ms_is_dropped() {
        let mut gate = InitiationGate::default();
        assert_eq!(gate.admit(stamp(1), ms(100)), Ok(()));
        let just_before = ms(120).as_nanos() - 1;
        assert_eq!(
            gate.admit(stamp(2), Tick::from_nanos(just_before)),
            Err(Refused::Flood)
        );
        assert_eq!(gate.greatest(), Some(stamp(1)));
        // Refused ones do not count: the peer is heard 20 ms after the last accepted one.
        assert_eq!(
            gate.admit(stamp(2), ms(100) + Duration::from_millis(20)),
            Ok(())
        );
        // A replay does not keep the peer from being heard either.
        assert_eq!(gate.admit(stamp(1), ms(139)), Err(Refused::Replay));
        assert_eq!(gate.admit(stamp(3), ms(140)), Ok(()));
    }
}
