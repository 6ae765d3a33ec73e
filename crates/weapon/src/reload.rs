//! `weapon reload` and `weapon confirm`.

use std::process::ExitCode;

use anyhow::{anyhow, bail};

use crate::{
    api::{Answer, Client, Request},
    cli::{self, ConfirmArgs, ReloadArgs},
    config::{self, BadConfig},
    down::others,
    places::Places,
};

/// Makes a running gateway what its file says now.
pub fn run(args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let bad = |problem| BadConfig(vec![problem]);
    let path = config::locate(&args.target).map_err(bad)?;
    // What is wrong with the file is said here, in its colours; the gateway does not hear of it.
    let (config, warnings) = config::load(&path)?.for_up()?;
    warnings.iter().for_each(cli::print_problem);
    let name = &config.name;
    let mut client = client(name)?;
    let answer = client.ask(Request::Reload {
        path: std::path::absolute(&path)?,
        confirm_seconds: args.confirm.map(|time| time.as_secs()),
    })?;
    let Answer::Reloaded {
        changes,
        confirm_seconds,
    } = answer
    else {
        bail!("the gateway {name:?} answers something else");
    };
    if args.json {
        let text = serde_json::json!({ "changes": changes, "confirm_seconds": confirm_seconds });
        cli::print(&serde_json::to_string_pretty(&text)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in &changes {
        cli::print(line)?;
    }
    if changes.is_empty() {
        cli::print("nothing is different")?;
    }
    if let Some(seconds) = confirm_seconds {
        cli::print(&format!(
            "all of this goes back in {seconds} s, unless you say: weapon confirm {}",
            args.target
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Keeps what would go back.
pub fn confirm(args: &ConfirmArgs) -> anyhow::Result<ExitCode> {
    let name = config::gateway_name(&args.target).map_err(|problem| BadConfig(vec![problem]))?;
    match client(&name)?.ask(Request::Confirm)? {
        Answer::Confirmed => Ok(ExitCode::SUCCESS),
        _ => bail!("the gateway {name:?} answers something else"),
    }
}

fn client(name: &str) -> anyhow::Result<Client> {
    Client::connect(&Places::of(name))?
        .ok_or_else(|| anyhow!("there is no running gateway {name:?}; {}", others()))
}
