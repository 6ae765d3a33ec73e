//! The addresses of a peer that has a name, and which of them is used.
//!
//! What works stays: an answer of the name service that still holds the address in use changes
//! nothing. Where handshakes fail, one address after the other is tried, first the one that worked
//! last.

use core::net::SocketAddr;

/// Addresses of a name at most; a longer answer is cut.
pub const ADDRESSES_MAX: usize = 16;

/// Initiations that are not answered until another address is tried, where a handshake was
/// completed before: the peer may have moved by itself, and a packet may be lost.
const UNANSWERED_MAX: u32 = 2;

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// The best first.
    addresses: Vec<SocketAddr>,
    used: Option<SocketAddr>,
    /// With which a handshake was completed last.
    worked: Option<SocketAddr>,
    /// Since `used` was chosen or has worked.
    unanswered: u32,
}

impl Candidates {
    /// The name stands for these addresses, the best first. Returns where the peer is to be looked
    /// for from now on, if that is another place.
    pub(super) fn answered(&mut self, mut addresses: Vec<SocketAddr>) -> Option<SocketAddr> {
        addresses.truncate(ADDRESSES_MAX);
        let first = *addresses.first()?;
        self.addresses = addresses;
        if self.used.is_some_and(|used| self.addresses.contains(&used)) {
            return None;
        }
        let worked = self.worked.filter(|it| self.addresses.contains(it));
        Some(self.choose(worked.unwrap_or(first)))
    }

    /// There is a session with the peer, who was looked for at the address in use.
    pub(super) fn note_completed(&mut self) {
        self.worked = self.used;
        self.unanswered = 0;
    }

    /// An initiation was not answered. Returns as [`Candidates::answered`] does; the place may be
    /// the one that was chosen before, if the peer has moved away from it.
    pub(super) fn note_unanswered(&mut self) -> Option<SocketAddr> {
        self.unanswered = self.unanswered.saturating_add(1);
        let has_worked = self.used.is_some() && self.worked == self.used;
        if has_worked && self.unanswered < UNANSWERED_MAX {
            return None;
        }
        self.next().map(|next| self.choose(next))
    }

    fn choose(&mut self, address: SocketAddr) -> SocketAddr {
        self.used = Some(address);
        self.unanswered = 0;
        address
    }

    /// What comes after the address in use: round and round, with the one that worked in front.
    fn next(&self) -> Option<SocketAddr> {
        let worked = self.worked.filter(|it| self.addresses.contains(it));
        let others = self.addresses.iter().copied();
        let others = others.filter(|it| Some(*it) != worked);
        let mut order = worked.into_iter().chain(others);
        let mut from_used = order.clone().skip_while(|it| Some(*it) != self.used);
        from_used.nth(1).or_else(|| order.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 51820))
    }

    #[test]
    fn the_first_is_used_and_stays_while_it_is_among_the_answers() {
        let mut all = Candidates::default();
        assert_eq!(all.answered(Vec::new()), None);
        assert_eq!(all.answered(vec![at(1), at(2)]), Some(at(1)));
        // The order of a name service changes with every answer.
        assert_eq!(all.answered(vec![at(2), at(1)]), None);
        assert_eq!(all.answered(Vec::new()), None, "nothing is no news");
        assert_eq!(all.answered(vec![at(3), at(2)]), Some(at(3)));
    }

    #[test]
    fn one_after_the_other_is_tried_and_then_the_first_again() {
        let mut all = Candidates::default();
        assert_eq!(all.note_unanswered(), None, "there is nothing to try");
        all.answered(vec![at(1), at(2), at(3)]);
        let tried: Vec<_> = (0..4).map(|_| all.note_unanswered()).collect();
        assert_eq!(tried, [2, 3, 1, 2].map(|last| Some(at(last))));
    }

    #[test]
    fn what_worked_has_a_second_chance_and_is_tried_first() {
        let mut all = Candidates::default();
        all.answered(vec![at(1), at(2), at(3)]);
        assert_eq!(all.note_unanswered(), Some(at(2)));
        all.note_completed();
        assert_eq!(all.note_unanswered(), None, "a packet may be lost");
        all.note_completed();
        assert_eq!(all.note_unanswered(), None);
        let tried: Vec<_> = (0..3).map(|_| all.note_unanswered()).collect();
        assert_eq!(tried, [1, 3, 2].map(|last| Some(at(last))));
        // It is that again, and has worked before.
        assert_eq!(all.note_unanswered(), None);
    }

    #[test]
    fn a_single_address_is_gone_back_to() {
        // The peer was heard from elsewhere, and is not there any more.
        let mut all = Candidates::default();
        all.answered(vec![at(1)]);
        all.note_completed();
        assert_eq!(all.note_unanswered(), None);
        assert_eq!(all.note_unanswered(), Some(at(1)));
    }

    #[test]
    fn an_answer_without_the_address_in_use_prefers_what_worked() {
        let mut all = Candidates::default();
        all.answered(vec![at(1), at(2)]);
        all.note_completed();
        all.note_unanswered();
        assert_eq!(all.note_unanswered(), Some(at(2)));
        assert_eq!(all.answered(vec![at(3), at(1)]), Some(at(1)));
    }

    #[test]
    fn a_long_answer_is_cut() {
        let mut all = Candidates::default();
        all.answered((0..=255).map(at).collect());
        assert_eq!(all.addresses.len(), ADDRESSES_MAX);
    }
}
