//! The search for the highest rate at which next to nothing is lost, in few trials.

use serde::Serialize;

/// The share of packets that may be lost.
pub(crate) const LOSS_MAX: f64 = 0.01;
/// How far the rate goes down, or up, while it is not known between what it lies; if it goes on
/// like that, in strides that square each time.
const STEP: f64 = 1.6;
/// When the bounds are so close, the search is over.
const CLOSE: f64 = 1.04;

/// One rate that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Trial {
    /// Packets per second that were offered; none: as many as the sender could.
    pub(crate) offered_per_second: Option<f64>,
    pub(crate) delivered_per_second: f64,
    /// Share of the sent packets that did not arrive.
    pub(crate) loss: f64,
}

impl Trial {
    /// A trial of which not even the count came back.
    pub(crate) fn failed(offered_per_second: Option<f64>) -> Self {
        Self {
            offered_per_second,
            delivered_per_second: 0.0,
            loss: 1.0,
        }
    }

    fn is_good(&self) -> bool {
        self.loss < LOSS_MAX
    }
}

/// Offers all first; then what was delivered, less and less until it is good, or more and more
/// until it is not; then halves what lies between.
#[derive(Debug)]
pub(crate) struct Search {
    trials: Vec<Trial>,
    trials_max: usize,
}

/// The longest stride is a factor of 43: more would be out of this world.
const STRIDES_MAX: usize = 3;
/// What is tried when the first trial delivered nothing at all.
const RATE_FALLBACK: f64 = 10_000.0;

impl Search {
    /// A search of at most so many trials.
    pub(crate) fn new(trials_max: usize) -> Self {
        Self {
            trials: Vec::new(),
            trials_max,
        }
    }

    /// What to offer next, none inside for no limit; none outside when the search is over.
    pub(crate) fn next_rate(&self) -> Option<Option<f64>> {
        if self.trials.len() >= self.trials_max {
            return None;
        }
        let Some(all) = self.trials.first() else {
            return Some(None);
        };
        if all.is_good() {
            return None;
        }
        let rates = |good: bool| {
            let trials = self
                .trials
                .iter()
                .filter(move |trial| trial.is_good() == good);
            trials.filter_map(|trial| trial.offered_per_second)
        };
        let low = rates(true).reduce(f64::max);
        // A trial may be bad by chance: what is known to be good is never above.
        let high = rates(false)
            .filter(|high| low.is_none_or(|low| *high > low))
            .reduce(f64::min);
        let stride = |good: bool| {
            let steps = rates(good).count().saturating_sub(1).min(STRIDES_MAX);
            STEP.powi(1 << steps)
        };
        let next = match (low, high) {
            (None, None) if all.delivered_per_second > 0.0 => all.delivered_per_second,
            (None, None) => RATE_FALLBACK,
            (None, Some(high)) => high / stride(false),
            (Some(low), None) => low * stride(true),
            (Some(low), Some(high)) if high / low < CLOSE => return None,
            (Some(low), Some(high)) => (low * high).sqrt(),
        };
        Some(Some(next))
    }

    /// Notes what a trial gave.
    pub(crate) fn note(&mut self, trial: Trial) {
        self.trials.push(trial);
    }

    /// The good trial that delivered most.
    pub(crate) fn best(&self) -> Option<&Trial> {
        let good = self.trials.iter().filter(|trial| trial.is_good());
        good.max_by(|one, other| {
            one.delivered_per_second
                .total_cmp(&other.delivered_per_second)
        })
    }

    /// All that was tried.
    pub(crate) fn into_trials(self) -> Vec<Trial> {
        self.trials
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tunnel that carries `capacity`, and chokes on more; the sender can do `sender`.
    fn run(capacity: f64, sender: f64, choked: f64, trials_max: usize) -> Search {
        let mut search = Search::new(trials_max);
        while let Some(offered) = search.next_rate() {
            let sent = offered.unwrap_or(sender).min(sender);
            let delivered = if sent <= capacity {
                sent
            } else {
                capacity * choked
            };
            search.note(Trial {
                offered_per_second: offered,
                delivered_per_second: delivered,
                loss: 1.0 - delivered / sent,
            });
        }
        search
    }

    #[test]
    fn the_capacity_is_found_within_a_few_percent() {
        for capacity in [3_000.0, 41_000.0, 150_000.0] {
            for choked in [1.0, 0.7, 0.3, 2.0 / 100.0] {
                let search = run(capacity, 400_000.0, choked, 12);
                let best = search.best().unwrap().delivered_per_second;
                assert!(best <= capacity && best > 0.9 * capacity, "{best} {choked}");
            }
        }
    }

    #[test]
    fn a_tunnel_as_fast_as_the_sender_needs_one_trial() {
        let search = run(1e9, 200_000.0, 1.0, 8);
        assert_eq!(search.best().unwrap().delivered_per_second, 200_000.0);
        assert_eq!(search.into_trials().len(), 1);
    }

    #[test]
    fn the_number_of_trials_is_bounded_and_there_may_be_no_answer() {
        let mut search = Search::new(5);
        let mut last = f64::INFINITY;
        while let Some(offered) = search.next_rate() {
            let rate = offered.unwrap_or(1e6);
            assert!(rate < last);
            last = rate;
            search.note(Trial::failed(offered));
        }
        assert_eq!(search.best(), None);
        assert_eq!(search.into_trials().len(), 5);
    }

    #[test]
    fn a_bad_trial_below_a_good_one_does_not_turn_the_search_back() {
        let mut search = Search::new(8);
        let trial = |offered: Option<f64>, loss: f64| Trial {
            offered_per_second: offered,
            delivered_per_second: offered.unwrap_or(100.0) * (1.0 - loss),
            loss,
        };
        search.note(trial(None, 0.5));
        search.note(trial(Some(50.0), 0.2));
        search.note(trial(Some(60.0), 0.0));
        assert_eq!(search.next_rate(), Some(Some(60.0 * STEP)));
    }
}
