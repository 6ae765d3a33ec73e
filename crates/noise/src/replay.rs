//! The replay window: which counters of a receiving key have been seen (RFC 6479).
//! HOT
//!
//! A ring of 128 words holds 8192 bits. One word is always partly in the past while the newest
//! counter moves through it, so 8128 counters below the newest are usable (kernel
//! `receive.c:counter_validate`).
//!
//! The ring comes into being with the first counter: many keypairs never receive one. That is the
//! one allocation of a keypair's life on the way of a packet.

use crate::{
    Arrivals,
    protocol::{REJECT_AFTER_MESSAGES, REPLAY_BITS, REPLAY_WINDOW},
};

const WORD_BITS: u64 = 64;
const WORDS: usize = REPLAY_BITS / WORD_BITS as usize;

const _: () = assert!(REPLAY_WINDOW == (WORDS as u64 - 1) * WORD_BITS);

/// The counters of one receiving key that were accepted.
///
/// Two steps, so that only authenticated packets move it: [`ReplayWindow::would_accept`] before the
/// tag is verified, [`ReplayWindow::commit`] after (the other order is RUSTSEC-2024-0011).
#[derive(Clone, Debug, Default)]
pub struct ReplayWindow {
    /// One more than the greatest counter accepted; 0 before the first.
    next: u64,
    words: Option<Box<[u64; WORDS]>>,
}

impl ReplayWindow {
    /// Whether `counter` is new and not too old. Changes nothing.
    #[expect(clippy::indexing_slicing, reason = "`word` is less than WORDS")]
    pub fn would_accept(&self, counter: u64) -> bool {
        if counter >= REJECT_AFTER_MESSAGES {
            return false;
        }
        if counter >= self.next {
            return true;
        }
        if self.next.saturating_sub(counter) > REPLAY_WINDOW + 1 {
            return false;
        }
        let words = self.words.as_deref();
        words.is_none_or(|words| words[word(counter)] & bit(counter) == 0)
    }

    /// Records `counter` as seen. Call only for a packet whose tag was verified. Returns false, and
    /// changes nothing, if it must not be delivered.
    #[expect(clippy::indexing_slicing, reason = "`word` is less than WORDS")]
    #[must_use]
    pub fn commit(&mut self, counter: u64) -> bool {
        if !self.would_accept(counter) {
            return false;
        }
        let words = self.words.get_or_insert_with(empty);
        if counter >= self.next {
            clear(words, self.next, counter);
            self.next = counter.saturating_add(1);
        }
        words[word(counter)] |= bit(counter);
        true
    }

    /// How many of the counters that the ring covers were accepted. Each word has the bits of one
    /// lap alone, so all that are set are of the newest counters.
    #[cold]
    pub fn arrivals(&self) -> Arrivals {
        let Some(words) = self.words.as_deref() else {
            return Arrivals::default();
        };
        let first_word = self.next.div_ceil(WORD_BITS).saturating_sub(WORDS as u64);
        let set = words.iter().map(|word| u64::from(word.count_ones()));
        Arrivals {
            sent: self
                .next
                .saturating_sub(first_word.saturating_mul(WORD_BITS)),
            received: set.sum(),
        }
    }
}

#[cold]
fn empty() -> Box<[u64; WORDS]> {
    Box::new([0; WORDS])
}

/// Clears the words of the counters from `next` to `counter`, which belong to the past lap.
#[expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "positions are those of counters below REJECT_AFTER_MESSAGES, taken modulo WORDS"
)]
fn clear(words: &mut [u64; WORDS], next: u64, counter: u64) {
    let fresh = next.div_ceil(WORD_BITS);
    let last = counter / WORD_BITS;
    if last < fresh {
        return;
    }
    let count = (last - fresh + 1).min(WORDS as u64);
    for position in last + 1 - count..=last {
        words[position as usize % WORDS] = 0;
    }
}

fn word(counter: u64) -> usize {
    (counter / WORD_BITS) as usize % WORDS
}

fn bit(counter: u64) -> u64 {
    1 << (counter % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = REPLAY_WINDOW + 1;
    const REJECT: u64 = REJECT_AFTER_MESSAGES;

    fn check(window: &mut ReplayWindow, steps: &[(u64, bool)]) {
        for (number, &(counter, expected)) in steps.iter().enumerate() {
            assert_eq!(
                window.commit(counter),
                expected,
                "step {number}: counter {counter}"
            );
        }
    }

    /// The numbered vectors of the kernel's `selftest/counter.c`, for a window of 8128.
    #[test]
    fn p61_numbered_vectors() {
        let mut window = ReplayWindow::default();
        check(
            &mut window,
            &[
                (0, true),
                (0, false),
                (1, true),
                (1, false),
                (9, true),
                (8, true),
                (7, true),
                (7, false),
                (LIMIT, true),
                (LIMIT - 1, true),
                (LIMIT - 1, false),
                (LIMIT - 2, true),
                (2, true),
                (2, false),
                (LIMIT + 16, true),
                (3, false),
                (LIMIT + 16, false),
                (LIMIT * 4, true),
                (LIMIT * 4 - (LIMIT - 1), true),
                (10, false),
                (LIMIT * 4 - LIMIT, false),
                (LIMIT * 4 - (LIMIT + 1), false),
                (LIMIT * 4 - (LIMIT - 2), true),
                (LIMIT * 4 + 1 - LIMIT, false),
                (0, false),
                (REJECT, false),
                (REJECT - 1, true),
                (REJECT, false),
                (REJECT - 1, false),
                (REJECT - 2, true),
                (REJECT + 1, false),
                (REJECT + 2, false),
                (REJECT - 2, false),
                (REJECT - 3, true),
                (0, false),
            ],
        );
    }

    #[test]
    fn p61_loops() {
        let all = |range: Vec<u64>, tail: &[(u64, bool)]| {
            let mut window = ReplayWindow::default();
            for counter in range {
                assert!(window.commit(counter), "counter {counter}");
            }
            check(&mut window, tail);
        };
        all((1..=REPLAY_WINDOW).collect(), &[(0, true), (0, false)]);
        all((2..=REPLAY_WINDOW + 1).collect(), &[(1, true), (0, false)]);
        all((0..=REPLAY_WINDOW).rev().collect(), &[]);
        all((1..=REPLAY_WINDOW + 1).rev().collect(), &[(0, false)]);
        all(
            (1..=REPLAY_WINDOW).rev().collect(),
            &[(REPLAY_WINDOW + 1, true), (0, false)],
        );
        all(
            (1..=REPLAY_WINDOW).rev().collect(),
            &[(0, true), (REPLAY_WINDOW + 1, true)],
        );
        all(
            (0..=3 * REPLAY_WINDOW).collect(),
            &[(2 * REPLAY_WINDOW, false)],
        );
    }

    #[test]
    fn p61_usable_window_is_8128() {
        const { assert!(REPLAY_WINDOW >= 8128) };
        let mut window = ReplayWindow::default();
        assert!(window.commit(100_000));
        assert!(window.would_accept(100_000 - REPLAY_WINDOW));
        assert!(!window.would_accept(99_999 - REPLAY_WINDOW));
    }

    #[test]
    fn p61_a_word_keeps_no_bits_of_the_lap_before() {
        let mut window = ReplayWindow::default();
        for word in 0..3 * WORDS as u64 {
            let first = word * WORD_BITS;
            assert!(window.commit(first + 9), "word {word}");
            // Late, and new: its like was seen a lap ago.
            assert!(window.commit(first + 5), "word {word}");
        }
    }

    #[test]
    fn p62_looking_does_not_move_the_window() {
        let mut window = ReplayWindow::default();
        assert!(window.commit(5));
        assert!(window.would_accept(1 << 40));
        assert!(
            window.commit(6),
            "a counter far ahead that was never committed moves nothing"
        );
    }

    #[test]
    fn what_is_missing_is_counted_in_the_ring() {
        let mut window = ReplayWindow::default();
        let found = |window: &ReplayWindow| (window.arrivals().sent, window.arrivals().missing());
        assert_eq!(found(&window), (0, 0));
        for counter in [0, 1, 4, 9] {
            assert!(window.commit(counter));
        }
        assert_eq!(found(&window), (10, 6));
        // Late is not lost.
        assert!(window.commit(2));
        assert!(!window.commit(2));
        assert_eq!(found(&window), (10, 5));
        for counter in 10..REPLAY_BITS as u64 {
            assert!(window.commit(counter));
        }
        assert_eq!(found(&window), (8192, 5));
        // The ring moves on by a word, and the first counters are forgotten.
        assert!(window.commit(REPLAY_BITS as u64));
        assert_eq!(found(&window), (8192 - 63, 0));
        assert!(window.commit(REPLAY_BITS as u64 + 1000));
        assert_eq!(window.arrivals().missing(), 999);
        assert!(window.commit(1 << 40));
        assert_eq!(window.arrivals().received, 1);
    }

    /// The same rules over a plain set of everything ever accepted.
    fn model_accepts(seen: &BTreeSet<u64>, counter: u64) -> bool {
        let newest = seen.last().copied();
        counter < REJECT
            && !seen.contains(&counter)
            && newest.is_none_or(|newest| counter + REPLAY_WINDOW >= newest)
    }

    fn assert_agrees(window: &mut ReplayWindow, seen: &mut BTreeSet<u64>, counter: u64) {
        let expected = model_accepts(seen, counter);
        assert_eq!(window.would_accept(counter), expected, "{counter}");
        assert_eq!(window.commit(counter), expected, "{counter}");
        if expected {
            seen.insert(counter);
        }
        let newest = seen.last().copied().unwrap_or(0);
        let first = (newest / WORD_BITS + 1).saturating_sub(WORDS as u64) * WORD_BITS;
        let model = Arrivals {
            sent: if seen.is_empty() {
                0
            } else {
                newest + 1 - first
            },
            received: seen.range(first..).count() as u64,
        };
        assert_eq!(window.arrivals(), model, "{counter}");
    }

    /// An interpreter takes minutes for more than a few.
    const STEPS_MAX: usize = if cfg!(miri) { 60 } else { 600 };

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec(
            prop_oneof![0u64..20_000, 0u64..200, any::<u64>(), 1_000_000u64..1_010_000],
            1..STEPS_MAX))
        {
            let (mut window, mut seen) = (ReplayWindow::default(), BTreeSet::new());
            for counter in steps {
                assert_agrees(&mut window, &mut seen, counter);
            }
        }

        /// Three counters of each word, so that those of one lap meet the bits of the lap before.
        #[test]
        fn p61_agrees_with_a_set_over_laps(steps in prop::collection::vec(
            (-130_i64..40, prop_oneof![Just(0), Just(5), Just(63)]), 1..STEPS_MAX))
        {
            let (mut window, mut seen) = (ReplayWindow::default(), BTreeSet::new());
            for (words, bit) in steps {
                let newest = seen.last().copied().unwrap_or(0) / WORD_BITS;
                let counter = newest.saturating_add_signed(words) * WORD_BITS + bit;
                assert_agrees(&mut window, &mut seen, counter);
            }
        }
    }
}
