//! A failure, so that it can be read, run again and kept.

use core::{fmt, mem::discriminant, time::Duration};

use weapon_noise::Backend;

use crate::{
    sabotage::Sabotage,
    story::{Place, Story},
    trial::run_sabotaged,
    violation::Violation,
};

/// A rule was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which.
    pub violation: Violation,
    /// When, since the beginning.
    pub elapsed: Duration,
    /// What had happened.
    pub story: Story,
    /// The last events.
    pub history: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(f, "at {seconds:.6} s: {}", self.violation)?;
        writeln!(
            f,
            "\nThe story, with seed {}:\n{}",
            self.story.seed, self.story
        )?;
        writeln!(f, "The last events:")?;
        for line in &self.history {
            writeln!(f, "{line}")?;
        }
        writeln!(
            f,
            "\nTo keep it, put this into crates/sim/tests/regressions.rs:"
        )?;
        writeln!(f, "{}", self.story.to_code())
    }
}

impl std::error::Error for Failure {}

/// Tries of a story at most while it is made shorter.
const TRIES_MAX: usize = 500;

impl Failure {
    /// A failure by the same rule, of a story that is as short as can be: each step that is still
    /// in it is needed.
    #[must_use]
    pub fn shrink(self, cipher: &'static Backend, sabotage: Option<Sabotage>) -> Self {
        let rule = discriminant(&self.violation);
        let mut shortest = self;
        let mut tries = 0;
        let mut try_it = |story: Story, shortest: &mut Self| {
            tries += 1;
            if tries > TRIES_MAX {
                return false;
            }
            match run_sabotaged(&story, cipher, sabotage) {
                Err(failure) if discriminant(&failure.violation) == rule => {
                    *shortest = *failure;
                    true
                }
                Ok(_) | Err(_) => false,
            }
        };
        // Half of the steps at once, then a quarter, and at last each alone until none can go.
        let mut chunk = shortest.story.steps.len().div_ceil(2);
        while chunk != 0 {
            let mut at = 0;
            let mut has_shrunk = false;
            while at < shortest.story.steps.len() {
                let mut story = shortest.story.clone();
                let end = story.steps.len().min(at + chunk);
                story.steps.drain(at..end);
                if try_it(story, &mut shortest) {
                    has_shrunk = true;
                } else {
                    at += chunk;
                }
            }
            if chunk > 1 || !has_shrunk {
                chunk /= 2;
            }
        }
        for host in 0..shortest.story.places.len() {
            let mut story = shortest.story.clone();
            if core::mem::take(&mut story.places[host]) != Place::default() {
                try_it(story, &mut shortest);
            }
        }
        shortest
    }
}
