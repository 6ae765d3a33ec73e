//! `cargo xtask obligations`: what the protocol and its tools demand, and which tests cover it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

use crate::root;

const LIST: &str = "docs/obligations.md";

/// Folders with tests.
const FOLDERS: [&str; 2] = ["crates", "netns"];

/// How many may be left untested, each with its reason.
const UNTESTED_MAX: usize = 3;

/// How the list is printed.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Print only what is not covered, and the totals
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// One line of the list.
#[derive(Debug, PartialEq, Eq)]
struct Obligation {
    /// `P01` or `U01`.
    number: String,
    statement: String,
    is_excused: bool,
}

/// Prints the list; an error if something is not covered.
pub(crate) fn run(options: Options) -> Result<()> {
    let text = fs::read_to_string(root().join(LIST)).context(LIST)?;
    let list = parse(&text);
    ensure!(!list.is_empty(), "{LIST} lists nothing");
    let mut tests = BTreeMap::new();
    for folder in FOLDERS {
        collect(&root(), &root().join(folder), &mut tests)?;
    }
    let report = Report::of(&list, &tests);
    report.print(&list, &tests, options);
    report.verdict()
}

/// What of the list is covered.
#[derive(Debug, Default)]
struct Report {
    uncovered: Vec<String>,
    excused: Vec<String>,
    /// Numbers of tests that the list does not have.
    unknown: Vec<String>,
}

/// Test functions and their files, by the numbers in their names.
type Tests = BTreeMap<String, Vec<String>>;

impl Report {
    fn of(list: &[Obligation], tests: &Tests) -> Self {
        let mut report = Self::default();
        for one in list {
            let covered = tests.contains_key(&one.number);
            if one.is_excused {
                report.excused.push(one.number.clone());
            } else if !covered {
                report.uncovered.push(one.number.clone());
            }
        }
        let listed = |number: &String| list.iter().any(|one| one.number == *number);
        let unknown = tests.keys().filter(|number| !listed(number));
        report.unknown = unknown.cloned().collect();
        report
    }

    #[allow(clippy::print_stdout, reason = "what was asked for")]
    fn print(&self, list: &[Obligation], tests: &Tests, options: Options) {
        for one in list {
            let covering = tests.get(&one.number).map_or(&[][..], Vec::as_slice);
            if options.quiet && !self.uncovered.contains(&one.number) {
                continue;
            }
            println!("{:5} {}", one.number, one.statement);
            for test in covering {
                println!("        {test}");
            }
            if covering.is_empty() && !one.is_excused {
                println!("        NO TEST");
            }
        }
        let covered = list.len() - self.uncovered.len() - self.excused.len();
        println!(
            "{} obligations: {covered} covered by {} tests, {} not tested with a reason, {} \
             without a test",
            list.len(),
            tests
                .values()
                .flatten()
                .collect::<std::collections::BTreeSet<_>>()
                .len(),
            self.excused.len(),
            self.uncovered.len()
        );
    }

    fn verdict(&self) -> Result<()> {
        ensure!(
            self.uncovered.is_empty(),
            "without a test: {}",
            self.uncovered.join(", ")
        );
        ensure!(
            self.excused.len() <= UNTESTED_MAX,
            "more than {UNTESTED_MAX} are excused: {}",
            self.excused.join(", ")
        );
        if !self.unknown.is_empty() {
            bail!(
                "tests name what {LIST} does not have: {}",
                self.unknown.join(", ")
            );
        }
        Ok(())
    }
}

/// The obligations in the text of the list: `- **P01** statement`, which may go on in the next
/// line.
fn parse(text: &str) -> Vec<Obligation> {
    let mut list: Vec<Obligation> = Vec::new();
    for line in text.lines() {
        if let Some((number, statement)) = line
            .strip_prefix("- **")
            .and_then(|rest| rest.split_once("** "))
        {
            list.push(Obligation {
                number: number.to_owned(),
                statement: statement.to_owned(),
                is_excused: false,
            });
        } else if let (Some(last), Some(more)) = (list.last_mut(), line.strip_prefix("  ")) {
            last.statement.push(' ');
            last.statement.push_str(more.trim());
        }
    }
    for one in &mut list {
        one.is_excused = one.statement.contains("*Not tested*");
    }
    list
}

fn collect(root: &Path, folder: &Path, tests: &mut Tests) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, tests)?;
        } else if path.extension().is_some_and(|it| it == "rs") {
            let file = path.strip_prefix(root).unwrap_or(&path).display();
            for name in test_names(&fs::read_to_string(&path)?) {
                for number in numbers(&name) {
                    tests
                        .entry(number)
                        .or_default()
                        .push(format!("{name}  {file}"));
                }
            }
        }
    }
    Ok(())
}

/// Functions right behind an attribute that makes them tests.
fn test_names(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
        } else if let Some(rest) = line
            .strip_prefix("async fn ")
            .or_else(|| line.strip_prefix("fn "))
        {
            if is_test {
                let name = rest.split(['(', '<']).next().unwrap_or_default();
                names.push(name.to_owned());
            }
            is_test = false;
        }
    }
    names
}

/// `P26` and `P27` of `p26_p27_a_recorded_initiation`.
fn numbers(name: &str) -> Vec<String> {
    let parts = name.split('_').take_while(|part| {
        let digits = part.strip_prefix(['p', 'u']).unwrap_or_default();
        digits.len() >= 2 && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    parts.map(str::to_uppercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_at_the_beginning_of_names() {
        assert_eq!(numbers("p26_p27_one_of_p28"), ["P26", "P27"]);
        assert_eq!(numbers("u01_usage"), ["U01"]);
        assert_eq!(numbers("p101_secrets"), ["P101"]);
        assert_eq!(numbers("puts_things"), Vec::<String>::new());
        assert_eq!(numbers("p1_is_too_short"), Vec::<String>::new());
    }

    #[test]
    fn only_tests_count() {
        let source =
            "#[test]\n#[ignore]\nfn p01_a() {}\nfn p02_b() {}\n#[test]\n// why\nfn p03_c() {}";
        assert_eq!(test_names(source), ["p01_a", "p03_c"]);
    }

    #[test]
    fn what_is_uncovered_excused_or_unknown_is_told() {
        let list = parse("# x\n- **P01** a\n- **P02** b\n  *Not tested*: why.\n- **P03** c\n");
        assert_eq!(list.len(), 3);
        let mut tests = Tests::new();
        for number in ["P01", "P09"] {
            tests.insert(number.to_owned(), vec!["t".to_owned()]);
        }
        let report = Report::of(&list, &tests);
        assert_eq!(report.uncovered, ["P03"]);
        assert_eq!(report.excused, ["P02"]);
        assert_eq!(report.unknown, ["P09"]);
        assert!(report.verdict().is_err());
        tests.insert("P03".to_owned(), vec!["t".to_owned()]);
        assert!(Report::of(&list, &tests).verdict().is_err(), "P09");
        tests.remove("P09");
        assert!(Report::of(&list, &tests).verdict().is_ok());
    }
}
