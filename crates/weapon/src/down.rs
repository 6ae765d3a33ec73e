//! `weapon down`.

use std::process::ExitCode;

use crate::cli::DownArgs;

/// Runs `weapon down`.
pub fn run(_args: DownArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
