//! `cargo xtask mutants`: break the protocol's code in small ways; the tests must notice each.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{
    root,
    shell::{Step, is_installed},
};

/// A package, and those of its tests that its mutants are shown to. What is changed in it, and what
/// is not because `docs/mutants.md` argues it away, stands in `.cargo/mutants.toml`.
struct Group {
    package: &'static str,
    tests: &'static str,
}

const GROUPS: [Group; 4] = [
    Group {
        package: "weapon-wire",
        tests: "--lib --test wire",
    },
    Group {
        package: "weapon-noise",
        tests: "--lib --test session",
    },
    Group {
        package: "weapon-core",
        tests: "--lib --test gateway",
    },
    Group {
        package: "weapon",
        tests: "--lib -- uapi",
    },
];

/// Seconds that tests have at least: no mutant that ends needs more, also on a busy machine.
const TEST_SECS: u32 = 60;

/// What is tried.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The package; all of them if none is named
    #[arg(long)]
    package: Option<String>,
    /// Options of cargo-mutants, such as `--list` and `--re commit`
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Tries one package after the other, and all before it fails, so that one run tells of each
/// survivor. The source files themselves are changed and changed back: a copy would be compiled
/// from the beginning.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        is_installed("cargo-mutants"),
        "cargo-mutants is missing: cargo install --locked cargo-mutants"
    );
    ensure_committed()?;
    let is_chosen = |group: &&Group| {
        let package = options.package.as_deref();
        package.is_none_or(|package| package == group.package)
    };
    let chosen: Vec<_> = GROUPS.iter().filter(is_chosen).collect();
    ensure!(
        !chosen.is_empty(),
        "no mutants are made in this package, only in {}",
        GROUPS.map(|group| group.package).join(", ")
    );
    let mut failed = Vec::new();
    for group in chosen {
        if !try_group(group, &options.arguments)? {
            failed.push(group.package);
        }
    }
    ensure!(
        failed.is_empty(),
        "mutants live, or tests fail without them: {}",
        failed.join(", ")
    );
    Ok(())
}

/// Whether no mutant of the package lives.
fn try_group(group: &Group, arguments: &[String]) -> Result<bool> {
    let Group { package, tests } = group;
    let output = format!("target/mutants/{package}");
    std::fs::create_dir_all(root().join(&output)).with_context(|| output.clone())?;
    let line = format!(
        "cargo mutants --in-place --package {package} --output {output} \
         --cargo-arg=--locked --minimum-test-timeout {TEST_SECS}"
    );
    // What a property test finds in a mutant is no regression of ours, and need not be shrunk.
    let step = Step::new(&line)
        .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
        .env("PROPTEST_MAX_SHRINK_ITERS", "0");
    let step = arguments.iter().fold(step, Step::arg).arg("--");
    match tests.split(' ').fold(step, Step::arg).code()? {
        Some(0) => Ok(true),
        // Of those that loop for ever it tells first, and does not say whether others live.
        Some(3) => {
            let missed = root().join(output).join("mutants.out/missed.txt");
            Ok(std::fs::read_to_string(missed).is_ok_and(|names| names.is_empty()))
        }
        _ => Ok(false),
    }
}

/// What is committed can be restored, whatever ends a run before its time.
fn ensure_committed() -> Result<()> {
    let status = Command::new("git")
        .args(["status", "--porcelain", "--", "crates"])
        .current_dir(root())
        .output()
        .context("git is needed to see what is committed")?;
    ensure!(
        status.status.success() && status.stdout.is_empty(),
        "commit first: the files in crates/ are changed in place, and a run that was ended in the \
         middle leaves a mutant there (git restore crates)"
    );
    Ok(())
}
