//! `cargo xtask chaos`: build the gateway, then cut its links and kill its processes.

use anyhow::Result;

use crate::shell::Step;

/// What is handed on to `weapon-chaos`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Options of the run, such as `--short` and names of scenarios; `--help` after `--` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the gateway and the program that tries it, and runs the latter.
pub(crate) fn run(options: &Options) -> Result<()> {
    Step::new("cargo build --locked --package weapon --package weapon-netns").run()?;
    let run = Step::new("target/debug/weapon-chaos");
    options.arguments.iter().fold(run, Step::arg).run()
}
