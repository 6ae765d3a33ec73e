//! `[filter]`, `[[rule]]` and `[[test]]`: which packets may pass, from what is written to rules.

// What is written.
mod draft;
pub use draft::{FilterDraft, PolicyDraft, RuleDraft, TrialDraft};

// One rule, and its values.
mod rules;
mod values;
pub use values::{has_ports, protocol, protocol_name};

// All of them together.
mod shadow;
mod trial;

use std::collections::BTreeMap;

use ipnet::IpNet;
use weapon_core::filter::{Action, Rule, RuleId};

use super::model::PeerConfig;
use super::problem::{Located, Place, Problems};
use super::value::{self, quoted};

/// Flows that are remembered if nothing else is said: 8 MB of them.
const FLOWS_DEFAULT: usize = 65_536;
/// Fewer than that are of no use.
const FLOWS_MIN: i64 = 16;
/// Rules at most: a row of them is 64 words.
const RULES_MAX: usize = 4096;

/// What is to be judged and remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterConfig {
    /// What becomes of packets that no rule matches; `None`: flows are watched, and all pass.
    pub default: Option<Action>,
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// How many flows are remembered.
    pub flows_max: usize,
}

impl FilterConfig {
    /// What is different, a line each.
    pub fn changes(before: Option<&Self>, after: Option<&Self>) -> Vec<String> {
        let (before, after) = match (before, after) {
            (Some(before), Some(after)) => (before, after),
            (None, None) => return Vec::new(),
            (before, _) => {
                let how = if before.is_none() { "on" } else { "off" };
                return vec![format!("filter and flows: {how}")];
            }
        };
        let mut lines = Vec::new();
        if before.default != after.default {
            let (before, after) = (default_name(before.default), default_name(after.default));
            lines.push(format!("default of the filter: {before} -> {after}"));
        }
        for rule in &after.rules {
            match before.rule(&rule.name) {
                None => lines.push(format!("rule `{}`: added", rule.name)),
                Some(there) if there == rule => {}
                Some(_) => lines.push(format!("rule `{}`: changed", rule.name)),
            }
        }
        let gone = before.rules.iter();
        let gone = gone.filter(|rule| after.rule(&rule.name).is_none());
        lines.extend(gone.map(|rule| format!("rule `{}`: removed", rule.name)));
        if lines.is_empty() && before.rules != after.rules {
            lines.push("rules: in another order".to_owned());
        }
        lines
    }

    fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| *rule.name == *name)
    }
}

fn default_name(default: Option<Action>) -> &'static str {
    match default {
        Some(Action::Allow) => "allow",
        Some(Action::Deny) => "deny",
        None => "none, flows alone",
    }
}

/// Where in the file the rules stand, by their names, and the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenRules {
    pub default: Place,
    pub rules: BTreeMap<Box<str>, Place>,
}

impl WrittenRules {
    /// That of a rule, or of what decides where no rule does.
    pub fn place(&self, rule: &str) -> Option<&Place> {
        match rule {
            DEFAULT_NAME => Some(&self.default),
            rule => self.rules.get(rule),
        }
    }
}

/// A peer, as rules see it.
pub struct KnownPeer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its groups.
    pub groups: Vec<&'a str>,
    /// What lies behind it.
    pub networks: &'a [IpNet],
}

/// A rule and where it is written.
struct Written {
    rule: Rule,
    place: Place,
}

/// The groups that a peer is in.
pub fn groups(texts: &[Located<String>], problems: &mut Problems) -> Vec<String> {
    let mut groups = Vec::with_capacity(texts.len());
    for text in texts {
        match value::name(&text.value) {
            Ok(()) => groups.push(text.value.clone()),
            Err(message) => problems.error(&text.place, message),
        }
    }
    groups
}

/// Checks all of it, and runs the tests. `None` if there is nothing, or an error was found. Where
/// fewer peers are good than are written, a rule could miss those: then nothing is said of rules.
pub fn check(
    draft: PolicyDraft,
    peers: &[PeerConfig],
    peers_written: usize,
    problems: &mut Problems,
) -> Option<(FilterConfig, WrittenRules)> {
    if peers.len() != peers_written {
        return None;
    }
    let known = peers.iter().map(|peer| KnownPeer {
        name: &peer.name,
        groups: peer.groups.iter().map(String::as_str).collect(),
        networks: &peer.networks,
    });
    let peers: &[KnownPeer<'_>] = &known.collect::<Vec<_>>();
    let default = default(&draft, problems);
    let flows_max = flows_max(&draft, problems);
    let is_wanted = default.is_some() || wants_flows(&draft, problems);
    if let Some(rule) = draft.rules.get(RULES_MAX) {
        problems.error(&rule.place, format!("more than {RULES_MAX} rules"));
        return None;
    }
    let mut rules: Vec<Written> = Vec::with_capacity(draft.rules.len());
    let mut is_good = true;
    for (index, rule) in draft.rules.iter().enumerate() {
        match rules::rule(rule, index, peers, &rules, problems) {
            Some(rule) => rules.push(Written {
                rule,
                place: draft.rules[index].place.clone(),
            }),
            None => is_good = false,
        }
    }
    if is_good {
        shadow::warn(&rules, peers, problems);
        // With rules that are not good, or are not used, a test says nothing.
        if let Some(default) = default {
            trial::run(&draft.tests, &rules, default, peers, problems);
        }
    }
    without_default(&draft, default, problems);
    if !is_wanted {
        return None;
    }
    let written = WrittenRules {
        default: default_place(&draft),
        rules: rules
            .iter()
            .map(|it| (it.rule.name.clone(), it.place.clone()))
            .collect(),
    };
    let filter = FilterConfig {
        default,
        rules: rules.into_iter().map(|it| it.rule).collect(),
        flows_max,
    };
    Some((filter, written))
}

fn default_place(draft: &PolicyDraft) -> Place {
    let filter = draft.filter.as_ref();
    let default = filter.and_then(|filter| filter.default.as_ref());
    default.map(|it| it.place.clone()).unwrap_or_default()
}

fn default(draft: &PolicyDraft, problems: &mut Problems) -> Option<Action> {
    let default = draft.filter.as_ref()?.default.as_ref()?;
    action(default, problems)
}

/// "allow" or "deny".
fn action(text: &Located<String>, problems: &mut Problems) -> Option<Action> {
    match text.value.as_str() {
        "allow" => Some(Action::Allow),
        "deny" => Some(Action::Deny),
        other => {
            let message = format!("{} is not known; it is allow or deny", quoted(other));
            problems.error(&text.place, message);
            None
        }
    }
}

fn wants_flows(draft: &PolicyDraft, problems: &mut Problems) -> bool {
    let Some(filter) = &draft.filter else {
        return false;
    };
    if filter.flows != Some(true) && filter.default.is_none() && draft.rules.is_empty() {
        let message = "nothing is asked for; give default = \"deny\" or \"allow\", or \
                       flows = true to watch what passes";
        problems.error(&filter.place, message);
    }
    filter.flows == Some(true)
}

/// Rules and tests without a default, or with one that is no good.
fn without_default(draft: &PolicyDraft, default: Option<Action>, problems: &mut Problems) {
    let filter = draft.filter.as_ref();
    if let Some(filter) = filter.filter(|it| it.flows == Some(false) && default.is_some()) {
        let place = Place {
            key: "filter.flows".to_owned(),
            ..filter.place.clone()
        };
        let message = "answers pass because their flow is known, so a filter has to remember \
                       flows; leave this out";
        problems.error(&place, message);
    }
    if filter.is_some_and(|filter| filter.default.is_some()) {
        return;
    }
    let rules = draft.rules.iter().map(|rule| &rule.place);
    let mut written = rules.chain(draft.tests.iter().map(|test| &test.place));
    let Some(first) = written.next() else {
        return;
    };
    let place = filter.map_or(first, |filter| &filter.place);
    let message = "what becomes of packets that no rule matches? Give [filter] \
                   default = \"deny\" or default = \"allow\"";
    problems.error(place, message);
}

fn flows_max(draft: &PolicyDraft, problems: &mut Problems) -> usize {
    let written = draft.filter.as_ref().and_then(|it| it.flows_max.as_ref());
    let Some(written) = written else {
        return FLOWS_DEFAULT;
    };
    let max = weapon_core::flows::FLOWS_MAX;
    let flows = usize::try_from(written.value).unwrap_or(0);
    if written.value < FLOWS_MIN || flows > max {
        let message = format!(
            "{} is out of range; it is {FLOWS_MIN} to {max} flows, of 128 bytes each",
            written.value
        );
        problems.error(&written.place, message);
    }
    flows
}

/// What decides where no rule does has this name, and no rule has.
const DEFAULT_NAME: &str = RuleId::DEFAULT_NAME;
