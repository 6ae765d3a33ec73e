//! `weapon down`.

use std::process::ExitCode;

use crate::{
    api::Client,
    cli::DownArgs,
    config::{BadConfig, gateway_name},
};

/// Stops the gateway and returns when nothing of it is left.
pub fn run(args: DownArgs) -> anyhow::Result<ExitCode> {
    let name = gateway_name(&args.target).map_err(|problem| BadConfig(vec![problem]))?;
    Client::of(&name)?.stop()?;
    Ok(ExitCode::SUCCESS)
}
