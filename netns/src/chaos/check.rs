//! A number that has to be kept, and what it was.

use std::fmt;
use std::time::Duration;

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Seconds: for every run of the tests.
    Short,
    /// As long as the number wants it.
    Full,
}

impl Form {
    /// The one or the other.
    pub(super) fn pick<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }
}

/// One number.
#[derive(Clone, Debug)]
pub struct Check {
    what: String,
    required: String,
    measured: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Good,
    Failed,
    LeftOut,
}

impl Check {
    /// Good if `good`.
    pub(super) fn new(
        what: impl Into<String>,
        required: impl Into<String>,
        measured: impl Into<String>,
        good: bool,
    ) -> Self {
        let outcome = if good { Outcome::Good } else { Outcome::Failed };
        Self {
            what: what.into(),
            required: required.into(),
            measured: measured.into(),
            outcome,
        }
    }

    /// Must be zero.
    pub(super) fn none(what: impl Into<String>, measured: u64) -> Self {
        Self::new(what, "0", measured.to_string(), measured == 0)
    }

    /// Must take no longer than `limit`.
    pub(super) fn within(what: impl Into<String>, limit: Duration, measured: Duration) -> Self {
        let text = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let required = format!("≤ {}", text(limit));
        Self::new(what, required, text(measured), measured <= limit)
    }

    /// Was not done, and why.
    pub(super) fn left_out(reason: impl Into<String>) -> Self {
        Self {
            what: String::new(),
            required: String::new(),
            measured: reason.into(),
            outcome: Outcome::LeftOut,
        }
    }

    /// Something else went wrong.
    pub(super) fn broken(complaint: &str) -> Self {
        let line = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
        Self::new("all that it takes", "works", line, false)
    }

    /// Whether the number was not kept.
    pub fn has_failed(&self) -> bool {
        self.outcome == Outcome::Failed
    }

    fn outcome(&self) -> &'static str {
        match self.outcome {
            Outcome::Good => "good",
            Outcome::Failed => "**failed**",
            Outcome::LeftOut => "left out",
        }
    }

    pub(super) fn row(&self, name: &str, title: &str) -> String {
        let cells = [name, title, &self.what, &self.required, &self.measured];
        let cells = cells.map(|cell| cell.replace('|', "\\|")).join(" | ");
        format!("| {cells} | {} |\n", self.outcome())
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = self.outcome().trim_matches('*');
        if self.outcome == Outcome::LeftOut {
            return write!(f, "{outcome}: {}", self.measured);
        }
        let (what, required, measured) = (&self.what, &self.required, &self.measured);
        write!(f, "{outcome}: {what}: {measured}, required {required}")
    }
}
