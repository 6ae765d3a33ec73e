//! HOT One thing that rules ask for, such as the source port, cut into intervals: of each it is
//! known which rules it satisfies.
//!
//! ```text
//!  rule 0         |-------|            |----|
//!  rule 1             |-----------------------------|
//!  rule 2   (asks for nothing: all of it)
//!            100   110 101 110          111  110    100     bits of rule 2, 1 and 0
//! ```
//!
//! A search among the intervals gives the rules of a value as a row of bits. The rows of all axes
//! of a packet, bit by bit, leave those rules that match.

/// What an axis has values of.
pub(super) trait Value: Copy + Ord {
    /// The least.
    const MIN: Self;
    /// The one behind it, unless it is the last.
    fn next(self) -> Option<Self>;
}

macro_rules! values {
    ($($of:ty),+) => {
        $(impl Value for $of {
            const MIN: Self = <$of>::MIN;
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
        })+
    };
}
values!(u32, u128);

/// The values that satisfy a rule, as ranges with both ends; `None` is all.
pub(super) type Wanted<V> = Option<Vec<(V, V)>>;

/// An axis of a list of rules.
#[derive(Debug)]
pub(super) struct Axis<V> {
    /// Where intervals begin, ascending; the first one at the least value.
    starts: Box<[V]>,
    /// A row for each of them.
    rows: Box<[u64]>,
    /// Words of a row.
    words: usize,
}

impl<V: Value> Axis<V> {
    /// What each rule wants, in order.
    #[cold]
    pub(super) fn new(wanted: &[Wanted<V>]) -> Self {
        let words = words_for(wanted.len());
        let mut row = vec![0; words];
        // What begins and ends where, to walk over it from left to right.
        let mut edges: Vec<(V, usize, bool)> = Vec::new();
        for (rule, ranges) in wanted.iter().enumerate() {
            let Some(ranges) = ranges else {
                set(&mut row, rule, true);
                continue;
            };
            for &(first, last) in ranges {
                edges.push((first, rule, true));
                edges.extend(last.next().map(|behind| (behind, rule, false)));
            }
        }
        edges.sort_unstable_by_key(|&(at, rule, _)| (at, rule));
        let mut starts = vec![V::MIN];
        let mut rows = row.to_vec();
        // Ranges of one rule may overlap.
        let mut open = vec![0_usize; wanted.len()];
        for (at, rule, begins) in edges {
            if let Some(open) = open.get_mut(rule) {
                *open = if begins {
                    open.saturating_add(1)
                } else {
                    open.saturating_sub(1)
                };
                set(&mut row, rule, *open != 0);
            }
            if starts.last() == Some(&at) {
                let kept = rows.len().saturating_sub(words);
                rows.truncate(kept);
            } else {
                starts.push(at);
            }
            rows.extend_from_slice(&row);
        }
        Self {
            starts: starts.into(),
            rows: rows.into(),
            words,
        }
    }

    /// The rules that `value` satisfies.
    #[inline]
    pub(super) fn row(&self, value: V) -> &[u64] {
        // The first interval begins at the least value: there is one at least.
        let index = self.starts.partition_point(|start| *start <= value);
        let at = index.saturating_sub(1).saturating_mul(self.words);
        let end = at.saturating_add(self.words);
        self.rows.get(at..end).unwrap_or_default()
    }
}

/// Words of a row of so many rules.
pub(super) fn words_for(rules: usize) -> usize {
    rules.div_ceil(64)
}

#[cold]
fn set(row: &mut [u64], rule: usize, value: bool) {
    if let Some(word) = row.get_mut(rule / 64) {
        let bit = 1_u64 << (rule % 64);
        if value {
            *word |= bit;
        } else {
            *word &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(axis: &Axis<u32>, value: u32, count: usize) -> Vec<usize> {
        let row = axis.row(value);
        (0..count)
            .filter(|rule| row[rule / 64] >> (rule % 64) & 1 == 1)
            .collect()
    }

    #[test]
    fn intervals_know_their_rules() {
        let axis = Axis::new(&[
            Some(vec![(10, 20), (40, 45)]),
            Some(vec![(15, 60)]),
            None,
            Some(vec![]),
        ]);
        for (value, expected) in [
            (0, vec![2]),
            (9, vec![2]),
            (10, vec![0, 2]),
            (15, vec![0, 1, 2]),
            (20, vec![0, 1, 2]),
            (21, vec![1, 2]),
            (40, vec![0, 1, 2]),
            (46, vec![1, 2]),
            (60, vec![1, 2]),
            (61, vec![2]),
            (u32::MAX, vec![2]),
        ] {
            assert_eq!(rules(&axis, value, 4), expected, "{value}");
        }
    }

    #[test]
    fn ranges_of_one_rule_may_touch_and_overlap() {
        let axis = Axis::new(&[Some(vec![(1, 5), (6, 9), (4, 7), (0, 0)]), None]);
        for value in 0..=9 {
            assert_eq!(rules(&axis, value, 2), [0, 1], "{value}");
        }
        assert_eq!(rules(&axis, 10, 2), [1]);
    }

    #[test]
    fn the_last_value_ends_nothing() {
        let axis = Axis::new(&[Some(vec![(7, u32::MAX)])]);
        assert_eq!(rules(&axis, u32::MAX, 1), [0]);
        assert_eq!(rules(&axis, 6, 1), [0_usize; 0]);
    }

    #[test]
    fn rows_have_room_for_every_rule() {
        let wanted: Vec<Wanted<u32>> = (0..130).map(|rule| Some(vec![(rule, rule)])).collect();
        let axis = Axis::new(&wanted);
        for rule in 0..130 {
            assert_eq!(rules(&axis, rule, 130), [rule as usize]);
        }
        assert_eq!(rules(&axis, 130, 130), [0_usize; 0]);
        assert!(Axis::<u32>::new(&[]).row(5).is_empty());
    }
}
