//! `cargo xtask counts`: count the instructions of each stop of the data path, and compare them
//! with those that were accepted.
//!
//! Instructions, not time: they are the same in every run and on a busy machine, so a change of a
//! few percent is seen at once. What they do not show is a cache miss or a stall, and callgrind
//! knows no AVX-512; `cargo xtask bench` has the last word on speed.

mod accepted;
mod callgrind;

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{Step, is_installed};
use accepted::{Accepted, Comparison, Made, TOLERANCE_PERCENT};

/// Where the accepted counts stand, from the root of the repository.
const FILE: &str = "counts/accepted.toml";
const PROGRAM: &str = "weapon-counts";

/// What to do with the counts.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Write what is counted to counts/accepted.toml instead of comparing with it
    #[arg(long)]
    accept: bool,
}

/// Builds the release, counts, and prints a table; an error when something has become worse.
pub(crate) fn run(options: Options) -> Result<()> {
    ensure!(
        is_installed("valgrind"),
        "valgrind counts the instructions: install the Debian package valgrind"
    );
    // Together with the program: then all crates have the features that a release gives them, and
    // nothing is built twice.
    Step::new("cargo build --release --locked --package weapon --package weapon-counts").run()?;
    let target = target_folder()?;
    let counted = count_all(&target.join("release"), &target.join("counts"))?;
    let made = made_here()?;
    let path = crate::root().join(FILE);
    if options.accept {
        let text = Accepted::new(made, counted).to_text()?;
        std::fs::write(&path, text).with_context(|| FILE.to_owned())?;
        eprintln!("counts: written to {FILE}");
        return Ok(());
    }
    let text = std::fs::read_to_string(&path).with_context(|| FILE.to_owned())?;
    let accepted = Accepted::of_text(&text).with_context(|| FILE.to_owned())?;
    report(&accepted.compare(&counted), &accepted.made_with, &made)
}

/// Prints the table, and says whether it is good.
fn report(comparison: &Comparison, accepted: &Made, here: &Made) -> Result<()> {
    write!(std::io::stderr().lock(), "{comparison}")?;
    if comparison.improved() {
        eprintln!("counts: something is better by more: `cargo xtask counts --accept` keeps it so");
    }
    if accepted != here {
        // Other compilers make other instructions: no sign that our code has become worse.
        eprintln!(
            "counts: NOT COMPARED. {FILE} was made with {accepted}; here is {here}.\n\
             counts: accept on the commit before yours, then compare; or accept anew."
        );
        return Ok(());
    }
    let failures = comparison.failures();
    if !failures.is_empty() {
        bail!(
            "counts: more than {TOLERANCE_PERCENT} % over what was accepted, or not in {FILE}, or \
             only there: {}. `callgrind_annotate target/counts/NAME.out` shows where the \
             instructions are. If they are worth it: `cargo xtask counts --accept`.",
            failures.join(", ")
        );
    }
    eprintln!("counts: none is more than {TOLERANCE_PERCENT} % over what was accepted");
    Ok(())
}

/// The folder that this program was built in, without `debug/xtask`.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.ancestors().nth(2);
    Ok(folder.context("xtask lies in no target folder")?.to_owned())
}

/// Counts every benchmark of the program in `folder`, several at a time: that changes no count.
fn count_all(folder: &Path, outputs: &Path) -> Result<BTreeMap<String, u64>> {
    std::fs::create_dir_all(outputs).with_context(|| outputs.display().to_string())?;
    let list = Command::new(folder.join(PROGRAM)).arg("--list").output();
    let list = list
        .with_context(|| format!("cannot run {PROGRAM}"))?
        .stdout;
    let list = String::from_utf8(list)?;
    let waiting = Mutex::new(list.lines());
    let counted = Mutex::new(BTreeMap::new());
    let take = || waiting.lock().ok().and_then(|mut waiting| waiting.next());
    let work = || -> Result<()> {
        while let Some(name) = take() {
            let output = outputs.join(format!("{name}.out"));
            let instructions = callgrind::count(folder, PROGRAM, name, &output)
                .with_context(|| format!("cannot count `{name}`"))?;
            if let Ok(mut counted) = counted.lock() {
                counted.insert(name.to_owned(), instructions);
            }
        }
        Ok(())
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            let result = thread.join();
            result.unwrap_or_else(|_| bail!("a counting thread died"))
        })
    })?;
    let counted = counted.into_inner().unwrap_or_default();
    ensure!(
        counted.len() == list.lines().count(),
        "a benchmark is missing, or two have one name"
    );
    Ok(counted)
}

/// What counts depend on beside our own code.
fn made_here() -> Result<Made> {
    let version = |program: &str| -> Result<String> {
        let output = Command::new(program)
            .arg("--version")
            .current_dir(crate::root())
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    Ok(Made {
        rustc: version("rustc")?,
        valgrind: version("valgrind")?,
        processor: processor(),
    })
}

/// The instructions that ciphers and copies choose from, as far as callgrind has them.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    if !std::is_x86_feature_detected!("avx2") {
        return "x86_64 without AVX2".to_owned();
    }
    #[cfg(target_arch = "x86_64")]
    return "x86_64 with AVX2".to_owned();
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH.to_owned()
}
