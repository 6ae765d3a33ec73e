//! What a file says of rules, before anyone asked whether it makes sense.

use crate::config::problem::{Located, Place};

/// All of it.
#[derive(Debug, Default)]
pub struct PolicyDraft {
    /// `[filter]`
    pub filter: Option<FilterDraft>,
    /// `[[rule]]`, in the order of the file.
    pub rules: Vec<RuleDraft>,
    /// `[[test]]`, in the order of the file.
    pub tests: Vec<TrialDraft>,
}

/// `[filter]`
#[derive(Debug, Default)]
pub struct FilterDraft {
    /// The section's header.
    pub place: Place,
    pub default: Option<Located<String>>,
    pub flows: Option<bool>,
    pub flows_max: Option<Located<i64>>,
}

/// `[[rule]]`. A list is `None` if it is not written: an empty one would match nothing.
#[derive(Debug, Default)]
pub struct RuleDraft {
    /// The section's header.
    pub place: Place,
    pub name: Option<Located<String>>,
    pub action: Option<Located<String>>,
    pub direction: Option<Located<String>>,
    pub peer: Option<Vec<Located<String>>>,
    pub group: Option<Vec<Located<String>>>,
    pub from: Option<Vec<Located<String>>>,
    pub to: Option<Vec<Located<String>>>,
    pub protocol: Option<Vec<Located<String>>>,
    pub source_ports: Option<Vec<Located<String>>>,
    pub ports: Option<Vec<Located<String>>>,
    pub icmp: Option<Vec<Located<String>>>,
}

/// `[[test]]`
#[derive(Debug, Default)]
pub struct TrialDraft {
    /// The section's header.
    pub place: Place,
    pub from: Option<Located<String>>,
    pub to: Option<Located<String>>,
    pub protocol: Option<Vec<Located<String>>>,
    pub port: Option<Located<i64>>,
    pub source_port: Option<Located<i64>>,
    pub icmp: Option<Vec<Located<String>>>,
    pub peer: Option<Located<String>>,
    pub expect: Option<Located<String>>,
}
