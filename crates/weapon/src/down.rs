//! `weapon down`.

use std::process::ExitCode;

use anyhow::bail;

use crate::{
    api::{Client, Request},
    claim,
    cli::{self, DownArgs},
    config::{BadConfig, gateway_name},
    places::{self, Places},
    system::{self, Leftovers},
};

/// Stops the gateway and returns when nothing of it is left.
pub fn run(args: DownArgs) -> anyhow::Result<ExitCode> {
    let name = gateway_name(&args.target).map_err(|problem| BadConfig(vec![problem]))?;
    let places = Places::of(&name);
    let Some(mut client) = Client::connect(&places)? else {
        if let Some(pid) = claim::running_pid(&places) {
            bail!("the gateway {name:?} runs as process {pid}, but does not listen yet; try again");
        }
        match system::clear(&places)? {
            Leftovers::None => bail!("there is no running gateway {name:?}; {}", others()),
            Leftovers::Elsewhere => bail!(
                "there is no running gateway {name:?}; one that did not stop cleanly has left \
                 rules in another network namespace, where `weapon down {name}` undoes them"
            ),
            Leftovers::Undone => cli::print(&format!(
                "the gateway {name:?} did not run any more; what it had left on the system is \
                 undone"
            ))?,
        }
        return Ok(ExitCode::SUCCESS);
    };
    client.ask(Request::Down)?;
    client.wait_for_end()?;
    Ok(ExitCode::SUCCESS)
}

/// What runs, for an error that says what does not.
pub fn others() -> String {
    let running = places::gateways();
    if running.is_empty() {
        "none runs".to_owned()
    } else {
        format!("running: {}", running.join(", "))
    }
}
