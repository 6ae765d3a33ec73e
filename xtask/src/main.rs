//! The project's own chores: test, interop, chaos, bench, counts, disassembly, mutants, tidy.
//! One file per chore.

mod bench;
mod chaos;
mod counts;
mod disassembly;
mod fuzz;
mod interop;
mod mutants;
mod obligations;
mod package;
mod page;
mod shell;
mod soak;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser};

/// The project's own chores
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Chore {
    /// Check the house rules: sizes, arrows between crates, hot path, metrics, format, lints
    Tidy(tidy::Options),
    /// Install what the tests need, run tidy, then all tests
    Test(test::Options),
    /// Try the gateway with the WireGuard of others, and print the matrix
    Interop(interop::Options),
    /// Cut links, kill processes, flood ports, and see whether the gateway bears it
    Chaos(chaos::Options),
    /// Build the release and measure it against the peers that are found
    Bench(bench::Options),
    /// Count the instructions of each stop of the data path; more than were accepted is an error
    Counts(counts::Options),
    /// Measure weapon-aead against the libraries
    BenchAead(bench::Options),
    /// Check that no branch and no address of the AVX-512 kernels depends on a secret
    Disassembly(disassembly::Options),
    /// Let the fuzzer try its targets, each for a while
    Fuzz(fuzz::Options),
    /// Break the protocol's code in small ways; a mutant that no test notices is an error
    Mutants(mutants::Options),
    /// List what the protocol and its tools demand, with the tests that cover each
    Obligations(obligations::Options),
    /// Build static programs, and a Debian package of them with unit, manual and completions
    Package(package::Options),
    /// Ten peers under constant change, for an hour: nothing grows, nothing is lost
    Soak(soak::Options),
}

fn main() -> ExitCode {
    match run(Chore::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<()> {
    match chore {
        Chore::Tidy(options) => tidy::run(options, &chore_names()),
        Chore::Test(options) => test::run(options, &chore_names()),
        Chore::Interop(options) => interop::run(&options),
        Chore::Chaos(options) => chaos::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Counts(options) => counts::run(options),
        Chore::BenchAead(options) => bench::run_aead(&options),
        Chore::Disassembly(options) => disassembly::run(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
        Chore::Mutants(options) => mutants::run(&options),
        Chore::Obligations(options) => obligations::run(options),
        Chore::Package(options) => package::run(&options),
        Chore::Soak(options) => soak::run(options),
    }
}

/// The chores by name, as `cargo xtask` takes them.
fn chore_names() -> Vec<String> {
    Chore::command()
        .get_subcommands()
        .map(|chore| chore.get_name().to_owned())
        .collect()
}

/// The root of the repository.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap_or_default()
}
