//! Chaos: what goes wrong on links and machines, done on purpose to running gateways, each with a
//! number that has to be kept.

mod cable;
mod check;
mod crowd;
mod deluge;
mod moves;
mod outage;
mod removal;
mod replay;
mod scarcity;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::panic_text;
pub use check::{Check, Form};

/// Something that goes wrong.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its number in the list.
    pub name: &'static str,
    /// What is done.
    pub title: &'static str,
    run: Run,
}

#[derive(Clone, Copy)]
enum Run {
    /// Here, with real processes.
    Here(fn(Form) -> Vec<Check>),
    /// Not here, and why.
    LeftOut(&'static str),
}

const fn here(name: &'static str, title: &'static str, run: fn(Form) -> Vec<Check>) -> Scenario {
    let run = Run::Here(run);
    Scenario { name, title, run }
}

const fn left_out(name: &'static str, title: &'static str, reason: &'static str) -> Scenario {
    let run = Run::LeftOut(reason);
    Scenario { name, title, run }
}

const CLOCKS: &str = "the machine has one wall clock, which no test may step: in virtual time by \
    `p30_ten_years_ahead_for_a_minute_and_back`, \
    `p29_timestamps_grow_across_restarts_with_a_dead_clock` and \
    `p29_p30_a_clock_that_jumps_locks_nobody_out`";

/// All of them.
pub const SCENARIOS: [Scenario; 19] = [
    here("C01", "20 % loss both ways", cable::loss),
    here(
        "C02",
        "all packets reordered within 4000",
        cable::reordering,
    ),
    here("C03", "half of all packets come twice", cable::duplication),
    here(
        "C04",
        "a bit flipped in 1 % of all packets",
        cable::corruption,
    ),
    here("C05", "the link is cut", outage::cut),
    here(
        "C06",
        "a new address every 2 s during a download",
        moves::addresses,
    ),
    here("C07", "kill -9 of either side", outage::killed),
    here("C08", "SIGSTOP, then SIGCONT", outage::stopped),
    here(
        "C09",
        "down and up, rename, MTU, another namespace, under load",
        moves::interface,
    ),
    here("C10", "interface deleted at any moment", removal::interface),
    here(
        "C11",
        "ENOBUFS and EAGAIN on each 10th send",
        scarcity::refused_sends,
    ),
    here(
        "C12",
        "EMFILE and ENOMEM at start and at run time",
        scarcity::no_descriptors,
    ),
    left_out(
        "C13",
        "audit log: disk full",
        "not built yet: there is no audit log",
    ),
    here("C14", "floods of initiations", deluge::initiations),
    here("C15", "1000 peers restart at once", crowd::restart),
    left_out("C16", "clock steps", CLOCKS),
    left_out(
        "C17",
        "coordinator down",
        "not built yet: there is no coordinator",
    ),
    left_out(
        "C18",
        "UDP blocked",
        "not built yet: there is no TCP transport",
    ),
    here("P64", "recorded data packets replayed", replay::recorded),
];

impl Scenario {
    /// The scenario of this name.
    pub fn of(name: &str) -> Option<Self> {
        SCENARIOS.into_iter().find(|it| it.name == name)
    }

    /// Does it, and says what was measured. A panic is a check that failed.
    pub fn run(self, form: Form) -> Vec<Check> {
        let run = match self.run {
            Run::Here(run) => run,
            Run::LeftOut(reason) => return vec![Check::left_out(reason)],
        };
        // On a thread of its own: what it starts ends with the thread.
        std::thread::scope(|scope| {
            let running = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| run(form))));
            match running.join() {
                Ok(Ok(checks)) => checks,
                Ok(Err(panic)) | Err(panic) => vec![Check::broken(&panic_text(&*panic))],
            }
        })
    }
}

/// Does one in its short form. Panics when a number is not kept.
#[track_caller]
pub fn expect_good(name: &str) {
    let scenario = Scenario::of(name).expect("a scenario");
    let checks = scenario.run(Form::Short);
    for check in &checks {
        eprintln!("{name}: {check}");
    }
    let failed: Vec<_> = checks.iter().filter(|check| check.has_failed()).collect();
    assert!(failed.is_empty(), "{name}, {}: {failed:#?}", scenario.title);
}

/// All results as a table in Markdown.
pub fn markdown(results: &[(Scenario, Vec<Check>)]) -> String {
    let mut text =
        String::from("| | what was done | | required | measured | |\n|---|---|---|---|---|---|\n");
    for (scenario, checks) in results {
        for check in checks {
            text.push_str(&check.row(scenario.name, scenario.title));
        }
    }
    text
}
