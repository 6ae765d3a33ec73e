//! The accepted counts: their file, and how counts compare with them.

use std::{collections::BTreeMap, fmt};

use anyhow::Result;
use serde::{Deserialize, Serialize};

/// By how much a count may exceed the accepted one. Counts repeat exactly; this is for code that
/// has nothing to do with the benchmark and still moves the compiler's decisions a little.
pub(super) const TOLERANCE_PERCENT: u64 = 3;

const PREAMBLE: &str = "\
# Instructions per operation of each stop of the data path: what `cargo xtask counts` compares
# with. Made by `cargo xtask counts --accept`; not to be edited by hand.
#
# They compare with themselves only, made with the same tools: callgrind knows no AVX-512, so
# ciphers take their AVX2 way, and neither caches nor stalls are in a count of instructions.

";

/// What stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    /// What the counts were made with.
    pub(super) made_with: Made,
    /// Instructions per operation, by benchmark.
    instructions: BTreeMap<String, u64>,
}

/// What counts depend on beside our own code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Made {
    pub(super) rustc: String,
    pub(super) valgrind: String,
    pub(super) processor: String,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rustc,
            valgrind,
            processor,
        } = self;
        write!(f, "{rustc}, {valgrind}, {processor}")
    }
}

impl Accepted {
    pub(super) fn new(made_with: Made, instructions: BTreeMap<String, u64>) -> Self {
        Self {
            made_with,
            instructions,
        }
    }

    /// Reads the file's text.
    pub(super) fn of_text(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// The file's text: the same for the same counts.
    pub(super) fn to_text(&self) -> Result<String> {
        Ok(format!("{PREAMBLE}{}", toml::to_string(self)?))
    }

    /// Every benchmark that was counted or accepted, with both.
    pub(super) fn compare(&self, counted: &BTreeMap<String, u64>) -> Comparison {
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for (name, &count) in counted {
            rows.entry(name.clone()).or_default().counted = Some(count);
        }
        for (name, &count) in &self.instructions {
            rows.entry(name.clone()).or_default().accepted = Some(count);
        }
        Comparison(rows)
    }
}

/// Counts beside the accepted ones, by benchmark.
#[derive(Clone, Debug)]
pub(super) struct Comparison(BTreeMap<String, Row>);

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    counted: Option<u64>,
    accepted: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Better,
    Worse,
    /// It was never accepted.
    New,
    /// It was accepted, and is no benchmark any more.
    Gone,
}

impl Row {
    fn verdict(self) -> Verdict {
        match (self.counted, self.accepted) {
            (Some(counted), Some(accepted)) => {
                if counted * 100 > accepted * (100 + TOLERANCE_PERCENT) {
                    Verdict::Worse
                } else if counted * 100 < accepted * (100 - TOLERANCE_PERCENT) {
                    Verdict::Better
                } else {
                    Verdict::Same
                }
            }
            (Some(_), None) => Verdict::New,
            (None, _) => Verdict::Gone,
        }
    }
}

impl Comparison {
    /// The names of what must not stay as it is.
    pub(super) fn failures(&self) -> Vec<&str> {
        let failed = self.0.iter().filter(|(_, row)| {
            matches!(row.verdict(), Verdict::Worse | Verdict::New | Verdict::Gone)
        });
        failed.map(|(name, _)| name.as_str()).collect()
    }

    /// Whether something became better by more than the tolerance.
    pub(super) fn improved(&self) -> bool {
        self.0.values().any(|row| row.verdict() == Verdict::Better)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24} {:>12} {:>12} {:>9}",
            "per operation", "instructions", "accepted", "change"
        )?;
        let number = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        for (name, row) in &self.0 {
            let change = match (row.counted, row.accepted) {
                (Some(counted), Some(accepted)) if accepted != 0 => {
                    let ratio = counted as f64 / accepted as f64;
                    format!("{:+.1} %", (ratio - 1.0) * 100.0)
                }
                _ => "-".to_owned(),
            };
            let remark = match row.verdict() {
                Verdict::Same => "",
                Verdict::Better => "  better",
                Verdict::Worse => "  WORSE",
                Verdict::New => "  NEW",
                Verdict::Gone => "  GONE",
            };
            let (counted, accepted) = (number(row.counted), number(row.accepted));
            writeln!(
                f,
                "{name:<24} {counted:>12} {accepted:>12} {change:>9}{remark}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(list: &[(&str, u64)]) -> BTreeMap<String, u64> {
        list.iter()
            .map(|&(name, count)| (name.to_owned(), count))
            .collect()
    }

    fn accepted(list: &[(&str, u64)]) -> Accepted {
        let made = Made {
            rustc: "rustc 1".into(),
            valgrind: "valgrind-3".into(),
            processor: "abacus".into(),
        };
        Accepted::new(made, counts(list))
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_sorted() {
        let made = accepted(&[("split-64", 5), ("merge-45", 7)]);
        let text = made.to_text().unwrap();
        assert!(text.starts_with("# Instructions"));
        assert!(text.find("merge-45 = 7").unwrap() < text.find("split-64 = 5").unwrap());
        assert_eq!(Accepted::of_text(&text).unwrap(), made);
    }

    #[test]
    fn a_file_that_says_something_else_is_refused() {
        let text = accepted(&[("split-64", 5)]).to_text().unwrap();
        assert!(Accepted::of_text(&text.replace("= 5", "= \"few\"")).is_err());
        assert!(Accepted::of_text(&format!("limit = 1\n{text}")).is_err());
        assert!(Accepted::of_text("").is_err());
    }

    #[test]
    fn more_than_the_tolerance_fails_and_less_does_not() {
        let accepted = accepted(&[("a", 1000), ("b", 1000), ("c", 10)]);
        let comparison = accepted.compare(&counts(&[("a", 1030), ("b", 970), ("c", 10)]));
        assert!(comparison.failures().is_empty());
        assert!(!comparison.improved());
        let comparison = accepted.compare(&counts(&[("a", 1031), ("b", 1000), ("c", 11)]));
        assert_eq!(comparison.failures(), ["a", "c"]);
    }

    #[test]
    fn an_improvement_is_said_and_does_not_fail() {
        let comparison = accepted(&[("a", 1000)]).compare(&counts(&[("a", 969)]));
        assert!(comparison.failures().is_empty());
        assert!(comparison.improved());
        assert!(comparison.to_string().contains("-3.1 %  better"));
    }

    #[test]
    fn what_only_one_side_has_fails() {
        let comparison = accepted(&[("old", 1), ("a", 1)]).compare(&counts(&[("a", 1), ("b", 1)]));
        assert_eq!(comparison.failures(), ["b", "old"]);
        let table = comparison.to_string();
        assert!(table.contains("NEW") && table.contains("GONE"), "{table}");
    }
}
