//! Medians, spreads and percentiles.

use serde::Serialize;

/// What several rounds gave for one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    /// The middle value; of an even number of values the mean of the two in the middle.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
    /// How many there were.
    pub(crate) count: usize,
}

impl Summary {
    /// The summary of some values; none of no values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let count = values.len();
        let median = if count % 2 == 1 {
            values[count / 2]
        } else {
            values[count / 2 - 1].midpoint(values[count / 2])
        };
        Some(Self {
            median,
            min,
            max,
            count,
        })
    }
}

/// The smallest value that so many percent do not exceed; `sorted` is not empty.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_the_order_and_one_wild_value() {
        let summary = Summary::of(vec![3.0, 1.0, 900.0]).unwrap();
        assert_eq!(
            (summary.median, summary.min, summary.max),
            (3.0, 1.0, 900.0)
        );
        assert_eq!(summary.count, 3);
        let even = Summary::of(vec![4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(even.median, 2.5);
        assert_eq!(Summary::of(vec![]), None);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), 100.0);
        assert_eq!(percentile(&values, 99), 198.0);
        assert_eq!(percentile(&[7.0], 50), 7.0);
        assert_eq!(percentile(&[7.0], 99), 7.0);
    }
}
