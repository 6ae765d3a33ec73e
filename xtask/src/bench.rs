//! `cargo xtask bench`: build the release, then measure it with the package `weapon-bench`.
//! `cargo xtask bench-aead`: measure the cipher alone, with a package outside the workspace.

use anyhow::Result;

use crate::shell::Step;

/// What is handed on to `weapon-bench`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Options of the measurement; `--help` after `--` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the gateway as users get it and the measuring program, then runs the latter.
pub(crate) fn run(options: &Options) -> Result<()> {
    let build = "cargo build --release --locked --package weapon --package weapon-bench";
    Step::new(build).run()?;
    let run = "cargo run --quiet --release --locked --package weapon-bench --bin weapon-bench --";
    let measure = Step::new(run);
    options.arguments.iter().fold(measure, Step::arg).run()
}

/// Builds and runs the table of weapon-aead and the libraries that it is compared with.
pub(crate) fn run_aead(options: &Options) -> Result<()> {
    let run = "cargo run --quiet --release --locked --manifest-path bench/aead/Cargo.toml \
               --bin aead-table --";
    let measure = Step::new(run);
    options.arguments.iter().fold(measure, Step::arg).run()
}
