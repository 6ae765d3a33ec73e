//! What the project aims at, held against what was measured.

use serde::{Serialize, Serializer};

use super::Report;
use crate::contender::Contender;
use crate::metric::{
    Better, CPU_SYSTEM, IDLE_P50, LOADED_P99, MEMORY, Metric, TCP_FORWARD, TCP_FORWARD_FOUR,
    TCP_REVERSE, TCP_REVERSE_FOUR, UDP_LARGE, UDP_SMALL,
};

/// A bound for a figure or a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.text())
    }
}

impl Bound {
    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("at least {bound}"),
            Self::AtMost(bound) => format!("at most {bound}"),
        }
    }
}

/// One aim.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Goal {
    pub(super) text: String,
    bound: Bound,
    /// None if somebody who is needed for it did not take part.
    pub(super) measured: Option<f64>,
}

impl Goal {
    /// The bound in words.
    pub(super) fn wanted(&self) -> String {
        self.bound.text()
    }

    /// Whether it was reached.
    pub(super) fn verdict(&self) -> &'static str {
        let Some(measured) = self.measured else {
            return "not measured";
        };
        let is_reached = match self.bound {
            Bound::AtLeast(bound) => measured >= bound,
            Bound::AtMost(bound) => measured <= bound,
        };
        if is_reached { "reached" } else { "missed" }
    }
}

/// All aims.
pub(super) fn of(report: &Report) -> Vec<Goal> {
    let goal = |text: String, bound: Bound, measured: Option<f64>| Goal {
        text,
        bound,
        measured,
    };
    let against = |other: Contender, metric: &Metric, bound: Bound| {
        let text = format!("{} divided by {other}'s", metric.heading);
        goal(text, bound, report.ratio(other, metric))
    };
    let against_best = |metric: &Metric, bound: Bound| {
        let best = best_peer(report, metric);
        let name = best.map_or("nobody", Contender::name);
        let text = format!("{} divided by the best peer's ({name})", metric.heading);
        goal(text, bound, best.and_then(|it| report.ratio(it, metric)))
    };
    let against_forward = |metric: &Metric| {
        let of = |metric| report.median(Contender::Weapon, metric);
        let ratio = of(metric).zip(of(&TCP_FORWARD));
        let ratio = ratio.map(|(value, forward)| value / forward);
        let text = format!("{} divided by 1 stream forward", metric.heading);
        goal(text, Bound::AtLeast(0.8), ratio)
    };
    vec![
        against(Contender::Boringtun, &TCP_FORWARD, Bound::AtLeast(8.0)),
        against(Contender::Gotatun, &TCP_FORWARD, Bound::AtLeast(5.0)),
        against_forward(&TCP_REVERSE),
        against_forward(&TCP_FORWARD_FOUR),
        against_forward(&TCP_REVERSE_FOUR),
        against(Contender::Gotatun, &CPU_SYSTEM, Bound::AtMost(0.15)),
        against(Contender::WeaponLibrary, &TCP_FORWARD, Bound::AtLeast(1.2)),
        against(Contender::WeaponLibrary, &CPU_SYSTEM, Bound::AtMost(0.82)),
        against(Contender::WeaponNull, &TCP_FORWARD, Bound::AtLeast(0.68)),
        // In the sandbox no slower than without; the same.
        against(Contender::WeaponOpen, &TCP_FORWARD, Bound::AtLeast(0.98)),
        // With rules no slower than without; more than that is the machine's noise.
        against(Contender::WeaponRules, &TCP_FORWARD, Bound::AtMost(1.03)),
        against(Contender::WeaponRules, &CPU_SYSTEM, Bound::AtLeast(0.97)),
        // 100 rules, the flow table and the audit log: 0.95 of a stream, 0.85 of small packets.
        against(Contender::WeaponFilter, &TCP_FORWARD, Bound::AtMost(1.053)),
        against(Contender::WeaponFilter, &UDP_SMALL, Bound::AtMost(1.176)),
        against_best(&UDP_SMALL, Bound::AtLeast(2.0)),
        against_best(&UDP_LARGE, Bound::AtLeast(2.0)),
        against_best(&IDLE_P50, Bound::AtMost(1.0)),
        against_best(&LOADED_P99, Bound::AtMost(0.5)),
        goal(
            MEMORY.title(),
            Bound::AtMost(40.0),
            report.median(Contender::Weapon, &MEMORY),
        ),
    ]
}

fn best_peer(report: &Report, metric: &Metric) -> Option<Contender> {
    let peers = report.contenders().filter(|it| it.is_peer());
    let values = peers.filter_map(|it| Some((it, report.median(it, metric)?)));
    let best = match metric.better {
        Better::Higher => values.max_by(|one, other| one.1.total_cmp(&other.1)),
        Better::Lower => values.min_by(|one, other| one.1.total_cmp(&other.1)),
    };
    best.map(|(contender, _)| contender)
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    fn verdict_of(text: &str) -> (Option<f64>, &'static str) {
        let goals = of(&example());
        let goal = goals.iter().find(|goal| goal.text == text);
        let goal = goal.unwrap_or_else(|| panic!("no goal is called {text}"));
        (goal.measured, goal.verdict())
    }

    #[test]
    fn goals_are_reached_missed_or_not_measured() {
        let boringtun = verdict_of("TCP, 1 stream divided by boringtun's");
        assert_eq!(boringtun, (Some(10.0), "reached"));
        let gotatun = verdict_of("TCP, 1 stream divided by gotatun's");
        assert_eq!(gotatun, (Some(4.0), "missed"));
        let cost = verdict_of("CPU, all of the system divided by gotatun's");
        assert_eq!(cost, (Some(0.2), "missed"));
        let library = verdict_of("TCP, 1 stream divided by weapon-library's");
        assert_eq!(library, (Some(1.25), "reached"));
        let saved = verdict_of("CPU, all of the system divided by weapon-library's");
        assert_eq!(saved, (Some(0.75), "reached"));
        let memory = verdict_of("Peak memory of an end, MB");
        assert_eq!(memory, (Some(8.0), "reached"));
        let packets = verdict_of("UDP, 64 bytes divided by the best peer's (nobody)");
        assert_eq!(packets, (None, "not measured"));
    }

    #[test]
    fn our_own_other_ways_are_held_against_the_first() {
        let (ratio, verdict) = verdict_of("TCP, 1 stream, reverse divided by 1 stream forward");
        assert!((ratio.unwrap() - 0.75).abs() < 1e-9);
        assert_eq!(verdict, "missed");
    }

    #[test]
    fn the_best_peer_is_somebody_else_and_the_best_depends_on_the_figure() {
        let report = example();
        assert_eq!(best_peer(&report, &TCP_FORWARD), Some(Contender::Gotatun));
        assert_eq!(best_peer(&report, &MEMORY), Some(Contender::Boringtun));
        assert_eq!(best_peer(&report, &UDP_SMALL), None);
    }
}
