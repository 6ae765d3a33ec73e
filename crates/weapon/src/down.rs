//! `weapon down`.

use std::process::ExitCode;

use anyhow::bail;

use crate::{
    api::Client,
    claim,
    cli::{self, DownArgs},
    config::{BadConfig, gateway_name},
    places::Places,
    system::{self, Leftovers},
};

/// Stops the gateway and returns when nothing of it is left.
pub fn run(args: DownArgs) -> anyhow::Result<ExitCode> {
    let name = gateway_name(&args.target).map_err(|problem| BadConfig(vec![problem]))?;
    let places = Places::of(&name);
    if let Some(client) = Client::connect(&places)? {
        client.stop()?;
        return Ok(ExitCode::SUCCESS);
    }
    if claim::running_pid(&places).is_some() {
        return Err(Client::missing(&name));
    }
    match system::clear(&places)? {
        Leftovers::None => return Err(Client::missing(&name)),
        Leftovers::Elsewhere => bail!(
            "there is no running gateway {name:?}; one that did not stop cleanly has left rules \
             in another network namespace, where `weapon down {name}` undoes them"
        ),
        Leftovers::Undone => cli::print(&format!(
            "the gateway {name:?} did not run any more; what it had left on the system is undone"
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}
