//! `weapon reload` and `weapon confirm`.

use std::process::ExitCode;

use anyhow::bail;

use crate::{
    api::{Answer, Client, Reload, Request},
    cli::{self, ConfirmArgs, ReloadArgs},
    config::{self, BadConfig, Loaded},
};

/// Makes a running gateway what its file says now.
pub fn run(args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let bad = |problem| BadConfig(vec![problem]);
    let path = config::locate(&args.target).map_err(bad)?;
    // What is wrong with the file is said here, in its colours; the gateway does not hear of it.
    let Loaded { config, warnings } = config::load(&path)?;
    warnings.iter().for_each(cli::print_problem);
    let name = &config.name;
    let answer = Client::of(name)?.ask(&Request::Reload(Reload {
        path: std::path::absolute(&path)?,
        confirm_seconds: args.confirm.map(|time| time.as_secs()),
    }))?;
    let Answer::Reloaded(reloaded) = answer else {
        bail!("the gateway {name:?} answers something else");
    };
    if args.json {
        cli::print(&serde_json::to_string_pretty(&reloaded)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let changes = &reloaded.changes;
    for line in changes {
        cli::print(line)?;
    }
    if changes.is_empty() {
        cli::print("nothing is different")?;
    }
    if let Some(seconds) = reloaded.confirm_seconds {
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
    match Client::of(&name)?.ask(&Request::Confirm)? {
        Answer::Confirmed => Ok(ExitCode::SUCCESS),
        _ => bail!("the gateway {name:?} answers something else"),
    }
}
