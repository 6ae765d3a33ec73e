//! What became of the handshakes with one peer, for people who ask why there is no session.
//!
//! All of it is what we see ourselves; nothing is sent for it. Who sits on the way can make some of
//! the counts grow, and none of them decides anything.

use serde::{Deserialize, Serialize};

use crate::{Tick, protocol::REKEY_TIMEOUT};

/// So often must a thing happen that happens now and then to everybody, by a packet that is lost,
/// before it is called trouble.
const REPEATED: u16 = 2;

/// Handshakes with a peer since the last one that both ends have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// Initiations that we sent.
    pub unanswered: u16,
    /// When we last sent one, now or before.
    pub last_sent: Option<Tick>,
    /// Responses to our initiation that did not authenticate: the peer has another preshared key.
    pub invalid_responses: u16,
    /// Cookies that the peer, which is under load, sent in place of a response.
    pub cookie_replies: u16,
    /// Initiations of the peer that we answered; it has used none of these sessions.
    pub unconfirmed: u16,
    /// From an initiation of ours to its response; none was answered yet if there is none.
    pub round_trip: Option<RoundTrip>,
    /// All handshakes.
    pub ever: Handshakes,
}

/// Handshakes with a peer for as long as it is known, also those that are long settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshakes {
    /// Those whose session both ends have used.
    pub completed: u32,
    /// Initiations that we sent.
    pub initiations: u32,
    /// Initiations that we sent because the one before was not answered.
    pub repeated: u32,
    /// Responses to our initiation that did not authenticate.
    pub invalid_responses: u32,
    /// Cookies that came in place of a response.
    pub cookie_replies: u32,
}

/// How long the peer takes to answer an initiation: the way there and back, and its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// The last one, in microseconds.
    pub last_us: u32,
    /// All of them, the last counting for an eighth (as in RFC 6298).
    pub smoothed_us: u32,
}

/// Why there is no session with a peer, as far as can be told from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// The peer's key is a low-order point: there never is a session with it.
    LowOrder,
    /// The peer answers, and its responses do not authenticate: another preshared key.
    InvalidResponse,
    /// The peer is under load and sends cookies in place of responses, again and again.
    CookiesOnly,
    /// Initiations are not answered.
    NoAnswer,
    /// The peer asks and is answered, and never uses the session: it has another preshared key, or
    /// our responses do not reach it.
    Unconfirmed,
}

impl Trouble {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::LowOrder,
        Self::InvalidResponse,
        Self::CookiesOnly,
        Self::NoAnswer,
        Self::Unconfirmed,
    ];

    /// The name in `status`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::LowOrder => "low_order",
            Self::InvalidResponse => "invalid_response",
            Self::CookiesOnly => "cookies_only",
            Self::NoAnswer => "no_answer",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

impl Attempts {
    /// What hinders, if anything does at `now`.
    pub fn trouble(&self, now: Tick) -> Option<Trouble> {
        let waited = self.last_sent.map(|sent| now.since(sent));
        let is_overdue = waited.is_some_and(|waited| waited >= REKEY_TIMEOUT);
        if self.invalid_responses > 0 {
            Some(Trouble::InvalidResponse)
        } else if self.cookie_replies >= REPEATED {
            Some(Trouble::CookiesOnly)
        } else if self.unanswered >= REPEATED || (self.unanswered > 0 && is_overdue) {
            Some(Trouble::NoAnswer)
        } else if self.unconfirmed >= REPEATED {
            Some(Trouble::Unconfirmed)
        } else {
            None
        }
    }

    pub(crate) fn note_sent(&mut self, now: Tick) {
        let ever = &mut self.ever;
        ever.initiations = ever.initiations.saturating_add(1);
        if self.unanswered != 0 {
            ever.repeated = ever.repeated.saturating_add(1);
        }
        self.unanswered = self.unanswered.saturating_add(1);
        self.last_sent = Some(now);
    }

    pub(crate) fn note_invalid_response(&mut self) {
        self.invalid_responses = self.invalid_responses.saturating_add(1);
        self.ever.invalid_responses = self.ever.invalid_responses.saturating_add(1);
    }

    pub(crate) fn note_cookie(&mut self) {
        self.cookie_replies = self.cookie_replies.saturating_add(1);
        self.ever.cookie_replies = self.ever.cookie_replies.saturating_add(1);
    }

    /// We answered the peer.
    pub(crate) fn note_answer(&mut self) {
        self.unconfirmed = self.unconfirmed.saturating_add(1);
    }

    /// The response to the initiation that was sent last.
    pub(crate) fn note_response(&mut self, now: Tick) {
        let Some(sent) = self.last_sent else {
            return;
        };
        let last_us = u32::try_from(now.since(sent).as_micros()).unwrap_or(u32::MAX);
        let smoothed_us = match self.round_trip {
            Some(before) => {
                let sum = u64::from(before.smoothed_us).saturating_mul(7);
                let mean = sum.saturating_add(last_us.into()) / 8;
                u32::try_from(mean).unwrap_or(u32::MAX)
            }
            None => last_us,
        };
        self.round_trip = Some(RoundTrip {
            last_us,
            smoothed_us,
        });
    }

    /// Both ends have a session.
    pub(crate) fn note_completed(&mut self) {
        self.ever.completed = self.ever.completed.saturating_add(1);
        self.settle();
    }

    /// What was found out counts no more.
    pub(crate) fn settle(&mut self) {
        *self = Self {
            last_sent: self.last_sent,
            round_trip: self.round_trip,
            ever: self.ever,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_round_trip_is_smoothed_by_an_eighth() {
        let mut attempts = Attempts::default();
        attempts.note_response(at(5));
        assert_eq!(attempts.round_trip, None, "nothing was sent");
        let mut measure = |sent, came| {
            attempts.note_sent(at(sent));
            attempts.note_response(at(came));
            let found = attempts.round_trip.unwrap();
            (found.last_us, found.smoothed_us)
        };
        assert_eq!(measure(1000, 1080), (80_000, 80_000));
        assert_eq!(measure(2000, 2160), (160_000, 90_000));
        assert_eq!(measure(3000, 3010), (10_000, 80_000));
    }

    #[test]
    fn what_is_settled_stays_counted() {
        let mut attempts = Attempts::default();
        attempts.note_sent(at(0));
        attempts.note_sent(at(5000));
        attempts.note_invalid_response();
        attempts.note_cookie();
        attempts.note_answer();
        attempts.note_completed();
        attempts.note_sent(at(9000));
        attempts.settle();
        let expected = Handshakes {
            completed: 1,
            initiations: 3,
            repeated: 1,
            invalid_responses: 1,
            cookie_replies: 1,
        };
        assert_eq!(attempts.ever, expected);
        assert_eq!(attempts.unanswered, 0);
    }

    #[test]
    fn what_happens_to_everybody_is_no_trouble() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.trouble(at(0)), None);
        attempts.note_sent(at(0));
        attempts.note_answer();
        attempts.note_cookie();
        assert_eq!(attempts.trouble(at(4999)), None);
        assert_eq!(attempts.trouble(at(5000)), Some(Trouble::NoAnswer));
        attempts.note_sent(at(5000));
        assert_eq!(attempts.trouble(at(5000)), Some(Trouble::NoAnswer));
        attempts.note_cookie();
        assert_eq!(attempts.trouble(at(5000)), Some(Trouble::CookiesOnly));
        attempts.note_invalid_response();
        assert_eq!(attempts.trouble(at(5000)), Some(Trouble::InvalidResponse));
        attempts.settle();
        assert_eq!(attempts.trouble(at(99_000)), None);
        attempts.note_answer();
        assert_eq!(attempts.trouble(at(99_000)), None);
        attempts.note_answer();
        assert_eq!(attempts.trouble(at(99_000)), Some(Trouble::Unconfirmed));
    }
}
