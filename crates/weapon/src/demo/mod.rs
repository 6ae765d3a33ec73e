//! `weapon demo`: two private networks linked, in namespaces of its own.

use std::process::ExitCode;

/// Arguments of `weapon demo`.
#[derive(clap::Args, Debug)]
pub struct DemoArgs {
    /// Print one JSON object as the last line
    #[arg(long)]
    pub json: bool,
    /// Leave everything up, and say how to look around
    #[arg(long)]
    pub keep: bool,
}

/// Runs `weapon demo`.
pub fn run(_args: DemoArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
