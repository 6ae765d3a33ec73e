//! Who is measured when, and how long that will take.

use std::fmt;
use std::time::{Duration, Instant};

use crate::contender::Contender;
use crate::measure::{Group, Plan};

/// One contender in one round.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) round: u32,
    pub(crate) contender: Contender,
    pub(crate) groups: Vec<Group>,
}

/// All turns in order: A B C, C B A, and so on.
pub(crate) fn turns(rounds: u32, contenders: &[Contender], groups: &[Group]) -> Vec<Turn> {
    let mut turns = Vec::new();
    let forth: Vec<Contender> = contenders.to_vec();
    let back: Vec<Contender> = contenders.iter().rev().copied().collect();
    for round in 1..=rounds {
        // Who comes first in a round is a few percent faster on machines like these, whoever it is.
        let order = if round % 2 == 1 { &forth } else { &back };
        for &contender in order {
            let groups = groups.iter().copied();
            turns.push(Turn {
                round,
                contender,
                groups: groups
                    .filter(|group| group.is_in_each_round() || round % 2 == 1)
                    .filter(|group| is_for(contender, *group))
                    .collect(),
            });
        }
    }
    turns
}

/// Whether a variant of ours is there to be measured in this: it costs something there, or nowhere.
fn is_for(contender: Contender, group: Group) -> bool {
    match contender {
        Contender::WeaponOpen | Contender::WeaponRules => group == Group::Tcp,
        Contender::WeaponFilter => matches!(group, Group::Tcp | Group::Udp),
        _ => true,
    }
}

/// The time that is gone and the time that is left.
pub(crate) struct Progress {
    started: Instant,
    seconds_expected: f64,
    seconds_done: f64,
}

impl Progress {
    /// Begins to count.
    pub(crate) fn new(turns: &[Turn], plan: &Plan) -> Self {
        Self {
            started: Instant::now(),
            seconds_expected: turns.iter().map(|turn| seconds_of(turn, plan)).sum(),
            seconds_done: 0.0,
        }
    }

    /// A turn is over.
    pub(crate) fn note(&mut self, turn: &Turn, plan: &Plan) {
        self.seconds_done += seconds_of(turn, plan);
    }

    fn left(&self, elapsed: Duration) -> Duration {
        let left = (self.seconds_expected - self.seconds_done).max(0.0);
        // What was expected is corrected by what it really took so far.
        let factor = if self.seconds_done > 0.0 {
            elapsed.as_secs_f64() / self.seconds_done
        } else {
            1.0
        };
        Duration::from_secs_f64(left * factor)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.left(self.started.elapsed()).as_secs();
        write!(f, "{} min {:02} s left", left / 60, left % 60)
    }
}

/// Roughly, from experience: programs start and end, too.
fn seconds_of(turn: &Turn, plan: &Plan) -> f64 {
    let transfer = f64::from(plan.seconds) + 0.2;
    let of = |group: &Group| match group {
        Group::Tcp => 4.0 * transfer,
        Group::Bbr | Group::Ipv6 | Group::Plain => transfer,
        Group::Udp => 2.0 * 1.12 * plan.udp_trials_max as f64,
        Group::Rtt => transfer + 3.1,
        Group::Handshakes if turn.contender.shakes_hands() => 3.0,
        Group::Handshakes => 0.0,
    };
    0.5 + turn.groups.iter().map(of).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan {
        seconds: 3,
        udp_trials_max: 6,
        idle_load: 0.0,
    };

    #[test]
    fn rounds_are_interleaved_and_some_groups_pause_in_even_ones() {
        let contenders = [Contender::Weapon, Contender::None];
        let turns = turns(3, &contenders, &[Group::Tcp, Group::Bbr]);
        let order: Vec<_> = turns.iter().map(|it| (it.round, it.contender)).collect();
        let [a, b] = contenders;
        assert_eq!(order, [(1, a), (1, b), (2, b), (2, a), (3, a), (3, b)]);
        assert_eq!(turns[0].groups, [Group::Tcp, Group::Bbr]);
        assert_eq!(turns[2].groups, [Group::Tcp]);
        assert_eq!(turns[4].groups, [Group::Tcp, Group::Bbr]);
    }

    #[test]
    fn what_is_left_follows_what_it_took() {
        let turns = turns(2, &[Contender::Weapon], &[Group::Tcp]);
        let mut progress = Progress::new(&turns, &PLAN);
        let expected = progress.left(Duration::ZERO).as_secs_f64();
        assert!((expected - 2.0 * 13.3).abs() < 1e-6, "{expected}");
        progress.note(&turns[0], &PLAN);
        // Twice as slow as thought.
        let left = progress.left(Duration::from_secs_f64(26.6)).as_secs_f64();
        assert!((left - 26.6).abs() < 1e-6, "{left}");
        progress.note(&turns[1], &PLAN);
        assert_eq!(progress.left(Duration::from_secs(60)), Duration::ZERO);
    }

    #[test]
    fn a_complete_run_takes_less_than_twenty_minutes() {
        let turns = turns(3, &Contender::ALL, &Group::ALL);
        let progress = Progress::new(&turns, &PLAN);
        assert_eq!(turns.len(), 3 * Contender::ALL.len());
        assert!(progress.left(Duration::ZERO) < Duration::from_secs(20 * 60));
    }
}
