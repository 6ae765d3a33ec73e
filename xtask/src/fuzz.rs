//! `cargo xtask fuzz`: let the fuzzer try its targets, each for a while.

use anyhow::{Context, Result, ensure};

use crate::shell::{Step, is_installed};

/// What is tried, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Seconds for each target
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// The target; all of them if none is named
    target: Option<String>,
}

/// Runs one target after the other. What is new is kept in `fuzz/corpus`, which is not committed. A
/// run starts from there and from `fuzz/corpora`.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        is_installed("cargo-fuzz"),
        "the fuzzer is missing: cargo install --locked cargo-fuzz, with a nightly toolchain"
    );
    let folder = crate::root().join("fuzz");
    let targets = match &options.target {
        Some(target) => vec![target.clone()],
        None => targets()?,
    };
    for target in targets {
        let corpus = format!("corpus/{target}");
        std::fs::create_dir_all(folder.join(&corpus)).with_context(|| corpus.clone())?;
        let line = format!("cargo +nightly fuzz run -O --sanitizer none {target} {corpus}");
        let mut step = Step::new(&line).at(&folder);
        let corpora = format!("corpora/{target}");
        if folder.join(&corpora).is_dir() {
            step = step.arg(corpora);
        }
        step.arg("--")
            .arg(format!("-max_total_time={}", options.seconds))
            .run()?;
    }
    Ok(())
}

/// All targets, by name.
fn targets() -> Result<Vec<String>> {
    let folder = crate::root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        if let Some(stem) = entry?.path().file_stem() {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
