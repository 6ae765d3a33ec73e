//! What one look found: good or not, said in a sentence, and what to do.

use serde::Serialize;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It may be meant so, or it costs something.
    Warning,
    /// Something does not work because of it.
    Bad,
    /// There is nothing to look at.
    NotApplicable,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at, such as `route`.
    pub name: &'static str,
    /// Whose, such as a peer's name; null if it is the gateway's or the machine's.
    pub subject: Option<String>,
    /// What was found.
    pub result: Verdict,
    /// A sentence.
    pub says: String,
    /// What to do; null where nothing is to be done.
    pub remedy: Option<String>,
}

impl Check {
    /// As it should be.
    pub fn good(name: &'static str, says: impl Into<String>) -> Self {
        Self {
            name,
            subject: None,
            result: Verdict::Good,
            says: says.into(),
            remedy: None,
        }
    }

    /// It may be meant so.
    pub fn warning(name: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            result: Verdict::Warning,
            remedy: Some(remedy.into()),
            ..Self::good(name, says)
        }
    }

    /// Something does not work.
    pub fn bad(name: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            result: Verdict::Bad,
            ..Self::warning(name, says, remedy)
        }
    }

    /// There is nothing to look at.
    pub fn not_applicable(name: &'static str, says: impl Into<String>) -> Self {
        Self {
            result: Verdict::NotApplicable,
            ..Self::good(name, says)
        }
    }

    /// It is about this peer, or network.
    #[must_use]
    pub fn about(self, subject: impl Into<String>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..self
        }
    }
}
