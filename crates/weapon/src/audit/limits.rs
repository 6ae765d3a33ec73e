//! How often the same is recorded: what strangers can cause as often as they like comes in a few
//! records, and the rest is counted, exactly.

use std::{collections::BTreeMap, time::Duration};

use super::{
    entry::{Entry, Kind},
    moment::Moment,
};

/// Records of one sort that come at once.
const BURST: u32 = 10;

/// How long until there may be one more.
const INTERVAL: Duration = Duration::from_secs(10);

/// After which time what was left out is told.
pub const TELL_TIME: Duration = Duration::from_secs(10);

/// Sorts that are told apart. More of them share one.
const SORTS_MAX: usize = 256;

#[derive(Debug, Default)]
struct Sort {
    spent: u32,
    /// Up to when what was spent has come back.
    refilled: Moment,
    left_out: u64,
    first: Moment,
}

impl Sort {
    fn leave_out(&mut self, as_many: u64, now: Moment) {
        if self.left_out == 0 {
            self.first = now;
        }
        self.left_out = self.left_out.saturating_add(as_many);
    }
}

/// The limits of all sorts.
#[derive(Debug, Default)]
pub struct Limits(BTreeMap<(Kind, String), Sort>);

impl Limits {
    /// Whether one more is recorded at `now`. If not, it is counted, as so many.
    pub fn admit(&mut self, kind: Kind, sort: &str, now: Moment, as_many: u64) -> bool {
        let it = self.sort(kind, sort, now);
        let back = now.since(it.refilled).as_micros() / INTERVAL.as_micros();
        let back = u32::try_from(back).unwrap_or(u32::MAX);
        if back >= it.spent {
            (it.spent, it.refilled) = (0, now);
        } else if back != 0 {
            it.spent -= back;
            let time = (INTERVAL * back).as_micros();
            it.refilled.boot_us += u64::try_from(time).unwrap_or_default();
        }
        if it.spent < BURST {
            it.spent += 1;
            return true;
        }
        it.leave_out(as_many, now);
        false
    }

    /// Counts some that are not recorded.
    pub fn leave_out(&mut self, kind: Kind, sort: &str, now: Moment, as_many: u64) {
        self.sort(kind, sort, now).leave_out(as_many, now);
    }

    fn sort(&mut self, kind: Kind, sort: &str, now: Moment) -> &mut Sort {
        let mut key = (kind, sort.to_owned());
        if !self.0.contains_key(&key) && self.0.len() >= SORTS_MAX {
            self.0
                .retain(|_, it| it.left_out != 0 || now.since(it.refilled) < INTERVAL * BURST);
            if self.0.len() >= SORTS_MAX {
                key.1 = "other".to_owned();
            }
        }
        self.0.entry(key).or_default()
    }

    /// Whether something was left out that is not told yet.
    pub fn has_left_out(&self) -> bool {
        self.0.values().any(|it| it.left_out != 0)
    }

    /// What was left out, a record for each sort.
    pub fn tell(&mut self, now: Moment) -> Vec<Entry> {
        let left = self.0.iter_mut().filter(|(_, it)| it.left_out != 0);
        let told = left.map(|((kind, sort), it)| {
            Entry::at(now, Kind::Suppressed)
                .with("of", kind.label())
                .with("sort", sort.as_str())
                .with("records", std::mem::take(&mut it.left_out))
                .with("since", it.first.text())
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment {
            seconds,
            nanos: 0,
            boot_us: 500_000_000 + seconds * 1_000_000,
        }
    }

    #[test]
    fn none_is_forgotten_in_the_count() {
        let mut limits = Limits::default();
        let mut admitted = 0;
        let mut told = 0;
        for second in 0..1000 {
            for _ in 0..7 {
                admitted += u64::from(limits.admit(Kind::Rejected, "unknown_key", at(second), 1));
            }
            if second % 10 == 9 {
                let entries = limits.tell(at(second));
                told += entries
                    .iter()
                    .map(|it| it.fields["records"].as_u64().unwrap())
                    .sum::<u64>();
            }
        }
        assert_eq!(admitted + told, 7000);
        assert_eq!(admitted, 10 + 99);
        assert!(!limits.has_left_out() && limits.tell(at(1000)).is_empty());
        // After a while there are as many again as at first.
        let again = (0..20).filter(|_| limits.admit(Kind::Rejected, "unknown_key", at(2000), 1));
        assert_eq!(again.count(), 10);
    }

    #[test]
    fn one_may_stand_for_many() {
        let mut limits = Limits::default();
        for _ in 0..12 {
            limits.admit(Kind::FlowDeny, "a rule", at(1), 5);
        }
        limits.leave_out(Kind::FlowDeny, "a rule", at(2), 90);
        let told = limits.tell(at(3));
        assert_eq!(told[0].fields["records"], 100);
        assert_eq!(told[0].fields["since"], at(1).text());
    }

    #[test]
    fn there_is_an_end_to_sorts() {
        let mut limits = Limits::default();
        let mut admitted = 0;
        for sort in 0..10_000 {
            admitted += usize::from(limits.admit(Kind::Roam, &sort.to_string(), at(0), 1));
        }
        assert_eq!(limits.0.len(), SORTS_MAX + 1);
        assert_eq!(admitted, SORTS_MAX + 10);
        let told = limits.tell(at(1));
        assert_eq!(told[0].fields["records"], 10_000 - SORTS_MAX - 10);
    }
}
