//! What is tolerated, why, and up to which number. The list may shrink, never grow.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{Finding, Tree};

const LIST: &str = "xtask/tidy-exceptions.toml";

/// A reason shorter than this is none.
const REASON_LEN_MIN: usize = 20;

/// One entry of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    rule: String,
    path: String,
    /// The function, where the rule is about functions.
    item: Option<String>,
    /// The number that is tolerated: of lines for a size, else of findings (one if not said).
    limit: Option<usize>,
    reason: String,
}

/// The list of exceptions.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exceptions {
    #[serde(default)]
    exception: Vec<Exception>,
}

impl Exceptions {
    /// The list of `tree`; empty where there is none.
    pub(super) fn of(tree: &Tree) -> Result<Self> {
        let Some(file) = tree.file(LIST) else {
            return Ok(Self::default());
        };
        let list: Self = toml::from_str(&file.text).with_context(|| LIST.to_owned())?;
        for exception in &list.exception {
            let Exception {
                rule, path, reason, ..
            } = exception;
            ensure!(
                reason.len() >= REASON_LEN_MIN,
                "{LIST}: {rule} of {path} needs a reason"
            );
        }
        Ok(list)
    }

    /// Takes away what is tolerated; adds a finding for each entry that is larger than needed.
    pub(super) fn apply(&self, mut findings: Vec<Finding>) -> Vec<Finding> {
        for exception in &self.exception {
            let (covered, rest): (Vec<_>, Vec<_>) = findings
                .into_iter()
                .partition(|finding| exception.covers(finding));
            findings = rest;
            let measured = covered.first().and_then(|finding| finding.measured);
            let needed = measured.unwrap_or(covered.len());
            let limit = exception.limit.unwrap_or(1);
            if needed > limit {
                findings.extend(covered);
            }
            if needed < limit || needed == 0 {
                findings.push(exception.too_large(needed));
            }
        }
        findings
    }
}

impl Exception {
    fn covers(&self, finding: &Finding) -> bool {
        finding.rule == self.rule
            && finding.path == self.path
            && (self.item.is_none() || self.item == finding.item)
    }

    fn too_large(&self, needed: usize) -> Finding {
        let Self { rule, path, .. } = self;
        let text = match needed {
            0 => format!("the exception to {rule} for {path} is no longer needed: remove it"),
            _ => format!("the exception to {rule} for {path} may shrink: limit = {needed}"),
        };
        Finding::new("exceptions", LIST, 0, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(limit: usize) -> Exceptions {
        let text = format!(
            "[[exception]]\nrule = \"hot-lock\"\npath = \"a.rs\"\nlimit = {limit}\n\
             reason = \"the lock is never held for long\"\n"
        );
        Exceptions::of(&Tree::of_texts(vec![(LIST.into(), text)])).unwrap()
    }

    fn finding(measured: Option<usize>) -> Finding {
        Finding {
            measured,
            ..Finding::new("hot-lock", "a.rs", 3, "x")
        }
    }

    #[test]
    fn what_is_listed_is_tolerated_up_to_its_number() {
        let two = vec![finding(None), finding(None)];
        assert!(list(2).apply(two.clone()).is_empty());
        assert_eq!(list(1).apply(two).len(), 2);
        assert!(list(80).apply(vec![finding(Some(80))]).is_empty());
        assert_eq!(list(80).apply(vec![finding(Some(81))]).len(), 1);
    }

    #[test]
    fn an_entry_that_is_too_large_or_not_needed_is_a_finding() {
        for (findings, word) in [
            (vec![], "no longer needed"),
            (vec![finding(None)], "shrink"),
        ] {
            let left = list(2).apply(findings);
            assert!(left.len() == 1 && left[0].text.contains(word), "{left:?}");
        }
    }

    #[test]
    fn other_findings_stay() {
        let other = Finding::new("hot-lock", "b.rs", 3, "x");
        let left = list(1).apply(vec![finding(None), other.clone()]);
        assert_eq!(left, [other]);
    }

    #[test]
    fn an_entry_without_reason_or_with_unknown_keys_is_refused() {
        let of = |text: &str| Exceptions::of(&Tree::of_texts(vec![(LIST.into(), text.into())]));
        let entry = "[[exception]]\nrule = \"x\"\npath = \"y\"\n";
        assert!(of(&format!("{entry}reason = \"because\"\n")).is_err());
        assert!(of(entry).is_err());
        assert!(
            of(&format!(
                "{entry}reason = \"a good and long reason\"\nlevel = 1\n"
            ))
            .is_err()
        );
    }
}
