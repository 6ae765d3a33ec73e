//! The tools of others that tidy calls: rustfmt, clippy, cargo-deny.

use std::path::Path;

use anyhow::Result;

use crate::shell::Step;

/// Runs each tool; returns the names of those that failed.
pub(super) fn run(root: &Path, no_clippy: bool) -> Result<Vec<&'static str>> {
    let mut failed = Vec::new();
    let mut run = |name, step: Step| -> Result<()> {
        if !step.at(root).succeeds()? {
            failed.push(name);
        }
        Ok(())
    };
    run("rustfmt", Step::new("cargo fmt --all --check"))?;
    if !no_clippy {
        let lint = "cargo clippy --quiet --workspace --all-targets --locked -- --deny warnings";
        run("clippy", Step::new(lint))?;
    }
    if crate::shell::is_installed("cargo-deny") {
        run(
            "cargo-deny",
            Step::new("cargo deny --log-level error check licenses bans sources"),
        )?;
    } else {
        eprintln!("tidy: cargo-deny is not installed: licences, bans and sources not checked");
    }
    Ok(failed)
}
