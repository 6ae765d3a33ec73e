//! How many cookie replies one sender gets.
//!
//! The paper answers every message without a good mac2 (§5.3). To make and send an answer takes ten
//! times as long as to refuse the message, so a flood from many addresses would have the control
//! loop write answers that nobody reads, and nothing else. A sender who wants his cookie needs one.

use core::time::Duration;

use crate::{
    Tick,
    protocol::{RATE_LIMIT_BURST, RATE_LIMIT_PER_SECOND},
};

/// Senders are told apart by their cookies, so that memory is bounded and nobody can choose whose
/// place he takes. With 4096 places, 20 replies a second each, a flood from everywhere is answered
/// about as often as one core can; one from 256 senders meets a sixteenth of the others, who then
/// have to try again.
const PLACES: usize = 4096;

/// What one reply costs.
const COST: Duration = Duration::from_nanos(1_000_000_000 / RATE_LIMIT_PER_SECOND as u64);
/// What a place holds: the burst that a proven address has, too.
const FULL: Duration = COST.saturating_mul(RATE_LIMIT_BURST);

/// For each place, when all that it held will be there again.
pub(crate) struct ReplyLimit(Box<[Tick]>);

impl ReplyLimit {
    pub(crate) fn new() -> Self {
        Self(vec![Tick::default(); PLACES].into_boxed_slice())
    }

    /// Whether whoever the cookie is for gets a reply now.
    pub(crate) fn allow(&mut self, cookie: &[u8; 16], now: Tick) -> bool {
        let [low, high, ..] = *cookie;
        let number = usize::from(u16::from_le_bytes([low, high])) % PLACES;
        let Some(place) = self.0.get_mut(number) else {
            return false;
        };
        let full_again = (*place).max(now) + COST;
        let is_allowed = full_again.since(now) <= FULL;
        if is_allowed {
            *place = full_again;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Tick {
        Tick::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn p74_a_sender_gets_five_replies_at_once_and_twenty_a_second() {
        let mut limit = ReplyLimit::new();
        let mut allowed = |now, count| (0..count).filter(|_| limit.allow(&[3; 16], now)).count();
        assert_eq!(allowed(ms(1000), 100), 5);
        assert_eq!(allowed(ms(1049), 100), 0);
        assert_eq!(allowed(ms(1050), 100), 1);
        assert_eq!(allowed(ms(1150), 100), 2);
        // Who was silent has his burst again, and no more than that.
        assert_eq!(allowed(ms(9000), 100), 5);
        let in_a_second: usize = (9001..=10_000).map(|now| allowed(ms(now), 100)).sum();
        assert_eq!(in_a_second, 20);
    }

    #[test]
    fn p74_others_have_places_of_their_own() {
        let mut limit = ReplyLimit::new();
        let cookie = |number: u16| {
            let mut cookie = [9; 16];
            cookie[..2].copy_from_slice(&number.to_le_bytes());
            cookie
        };
        for number in 0..256 {
            while limit.allow(&cookie(number), ms(7)) {}
        }
        let others = (256..PLACES as u16).filter(|&number| limit.allow(&cookie(number), ms(7)));
        assert_eq!(others.count(), PLACES - 256);
    }

    #[test]
    fn a_clock_that_steps_back_grants_nothing() {
        let mut limit = ReplyLimit::new();
        while limit.allow(&[0; 16], ms(500)) {}
        assert!(!limit.allow(&[0; 16], ms(100)));
        assert!(!limit.allow(&[0; 16], ms(500)));
    }
}
