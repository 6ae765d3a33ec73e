//! `weapon status`.

use std::process::ExitCode;

use crate::cli::StatusArgs;

/// Runs `weapon status`.
pub fn run(_args: StatusArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
