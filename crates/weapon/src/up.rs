//! `weapon up`.

use std::process::ExitCode;

use crate::cli::UpArgs;

/// Runs `weapon up`.
pub fn run(_args: UpArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
