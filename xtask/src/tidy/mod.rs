//! `cargo xtask tidy`: the house rules, checked.
//!
//! Each file here is one family of rules. A check looks at the [`Tree`] and returns [`Finding`]s;
//! what is tolerated, why and up to which number stands in `xtask/tidy-exceptions.toml`.

mod arrows;
mod exceptions;
mod hot;
mod metrics;
mod naming;
mod purity;
mod size;
mod source;
mod text;
mod texts;
mod tools;
mod tree;

use anyhow::{Result, bail};

pub(crate) use tree::Tree;

/// One place where a rule is broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Path from the root of the repository.
    pub(crate) path: String,
    /// Line, counted from one; zero means the file as a whole.
    pub(crate) line: usize,
    /// The rule's name, as exceptions spell it.
    pub(crate) rule: &'static str,
    /// What inside the file is meant where a rule looks at parts of it: a function's name.
    pub(crate) item: Option<String>,
    /// What was measured where the rule is a limit.
    pub(crate) measured: Option<usize>,
    /// What is wrong and what would be right.
    pub(crate) text: String,
}

impl Finding {
    /// A finding that is neither about a part of a file nor about a number.
    fn new(rule: &'static str, path: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            rule,
            item: None,
            measured: None,
            text: text.into(),
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            path,
            line,
            rule,
            text,
            ..
        } = self;
        match line {
            0 => write!(f, "{path}: {rule}: {text}"),
            _ => write!(f, "{path}:{line}: {rule}: {text}"),
        }
    }
}

/// What `tidy` is asked to leave out.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Check the rules of this project only, without clippy
    #[arg(long)]
    no_clippy: bool,
}

/// Runs every check and prints what was found; an error when anything was.
pub(crate) fn run(options: Options, command_names: &[String]) -> Result<()> {
    let root = crate::root();
    let tree = Tree::of_repository(&root)?;
    let list = exceptions::Exceptions::of(&tree)?;
    let findings = list.apply(check(&tree, command_names)?);
    for finding in &findings {
        eprintln!("{finding}");
    }
    let failed = tools::run(&root, options.no_clippy)?;
    if !findings.is_empty() || !failed.is_empty() {
        bail!(
            "tidy: {} finding(s), failed tools: [{}]",
            findings.len(),
            failed.join(", ")
        );
    }
    eprintln!(
        "tidy: {} files, nothing to complain about",
        tree.files().len()
    );
    Ok(())
}

/// All checks that need nothing but the files.
fn check(tree: &Tree, command_names: &[String]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    findings.extend(text::check(tree));
    findings.extend(size::check(tree));
    findings.extend(naming::check(tree));
    findings.extend(arrows::check(tree)?);
    findings.extend(purity::check(tree));
    findings.extend(hot::check(tree));
    findings.extend(metrics::check(tree));
    findings.extend(texts::check(tree, command_names));
    findings.sort();
    Ok(findings)
}
