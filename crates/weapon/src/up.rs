//! `weapon up`.

use std::process::ExitCode;

use crate::{
    cli::{self, UpArgs},
    config::{self, BadConfig, Config, Loaded},
    daemon,
    detach::{self, Log},
};

/// Starts the gateway: in the foreground, or in a process that stays when this one returns.
pub fn run(args: UpArgs) -> anyhow::Result<ExitCode> {
    args.log.start();
    if detach::is_detached() {
        let config = load(&args)?;
        detach::leave_terminal()?;
        daemon::run(config, args.confirm, || detach::announce(Log::Ends))?;
    } else if args.foreground {
        daemon::run(load(&args)?, args.confirm, || Ok(()))?;
    } else {
        // Complaints about the file come from here, once, and before anything is started.
        load(&args)?;
        let arguments = ["up".to_owned(), args.target.clone()];
        let confirm = args
            .confirm
            .map(|time| format!("--confirm={}s", time.as_secs()));
        let arguments = arguments.into_iter().chain(confirm);
        return detach::start(arguments.chain(args.log.arguments()));
    }
    Ok(ExitCode::SUCCESS)
}

fn load(args: &UpArgs) -> anyhow::Result<Config> {
    let bad = |problem| BadConfig(vec![problem]);
    let path = config::locate(&args.target).map_err(bad)?;
    let Loaded { config, warnings } = config::load(&path)?;
    // The process that stays behind has a parent that has said them already.
    if !detach::is_detached() {
        for warning in warnings {
            cli::print_problem(&warning);
        }
    }
    Ok(config)
}
