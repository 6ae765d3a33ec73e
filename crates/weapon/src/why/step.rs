//! One step of a packet's way, and what was found there.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a step does with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// It goes on.
    Passes,
    /// It dies here.
    Stops,
    /// It leaves by another way, and does not come here.
    Elsewhere,
    /// That cannot be told.
    Unclear,
}

/// A step of a packet's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// Who decides here: `route`, `filter`, `session` and so on.
    pub name: String,
    /// `passes`, `stops`, `elsewhere` (it leaves by another way) or `unclear`. A step that does not
    /// let the packet pass decides, and is the last.
    #[schema(value_type = String)]
    pub finding: Finding,
    /// What was found, in a sentence.
    pub says: String,
    /// The line of the file that says so, as `FILE:LINE:COLUMN: KEY`; null if there is none.
    pub place: Option<String>,
    /// The drop reason of a packet that dies here; null if it does not, or not by our hands.
    pub reason: Option<String>,
    /// What would help; null where nothing needs to be helped.
    pub remedy: Option<String>,
}

impl Step {
    /// The packet goes on.
    pub fn passes(name: &str, says: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            finding: Finding::Passes,
            says: says.into(),
            place: None,
            reason: None,
            remedy: None,
        }
    }

    /// The packet does not go on.
    pub fn stops(name: &str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            finding: Finding::Stops,
            remedy: Some(remedy.into()),
            ..Self::passes(name, says)
        }
    }

    /// The packet goes another way.
    pub fn elsewhere(name: &str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            finding: Finding::Elsewhere,
            ..Self::stops(name, says, remedy)
        }
    }

    /// Whether the packet does not come further.
    pub fn decides(&self) -> bool {
        matches!(self.finding, Finding::Stops | Finding::Elsewhere)
    }

    /// What the packet does cannot be told.
    pub fn unclear(name: &str, says: impl Into<String>) -> Self {
        Self {
            finding: Finding::Unclear,
            ..Self::passes(name, says)
        }
    }

    /// The line that says so.
    #[must_use]
    pub fn at(self, place: Option<String>) -> Self {
        Self { place, ..self }
    }
}
