//! `weapon up`.

use std::{
    env,
    io::{self, Read, Write},
    process::{Command, ExitCode, Stdio},
};

use anyhow::Context;

use crate::{
    cli::{self, UpArgs},
    config::{self, BadConfig, Config},
    daemon,
};

/// Set for the process that stays behind when `weapon up` returns.
const DETACHED: &str = "WEAPON_DETACHED";

/// What that process says on its standard output when all is up.
const READY: &[u8] = b"ready\n";

/// Starts the gateway: in the foreground, or in a process that stays when this one returns.
pub fn run(args: UpArgs) -> anyhow::Result<ExitCode> {
    args.log.start();
    if env::var_os(DETACHED).is_some() {
        let config = load(&args)?;
        detach()?;
        daemon::run(config, announce)?;
    } else if args.foreground {
        daemon::run(load(&args)?, || Ok(()))?;
    } else {
        // Complaints about the file come from here, once, and before anything is started.
        load(&args)?;
        return start_detached(&args);
    }
    Ok(ExitCode::SUCCESS)
}

fn load(args: &UpArgs) -> anyhow::Result<Config> {
    let bad = |problem| BadConfig(vec![problem]);
    let path = config::locate(&args.target).map_err(bad)?;
    let (config, warnings) = config::load(&path)?.for_up()?;
    // The process that stays behind has a parent that has said them already.
    if env::var_os(DETACHED).is_none() {
        for warning in warnings {
            cli::print_problem(&warning);
        }
    }
    Ok(config)
}

/// Runs this program again, as the gateway, and waits until it is up or has failed.
fn start_detached(args: &UpArgs) -> anyhow::Result<ExitCode> {
    let mut child = Command::new(env::current_exe().context("cannot find this program")?)
        .arg("up")
        .arg(&args.target)
        .args(args.log.arguments())
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the gateway's process")?;
    let mut said = Vec::new();
    let mut stdout = child
        .stdout
        .take()
        .context("the gateway's process has no output")?;
    stdout.read_to_end(&mut said)?;
    if said == READY {
        return Ok(ExitCode::SUCCESS);
    }
    // It has told on standard error, which it shares with us, what went wrong.
    let status = child.wait()?;
    let code = status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1);
    Ok(ExitCode::from(code.max(1)))
}

/// A session of its own: the terminal's signals are not for the gateway.
fn detach() -> anyhow::Result<()> {
    rustix::process::setsid().context("cannot leave the terminal")?;
    Ok(())
}

/// Tells the parent that all is up, and lets go of its terminal and its folder.
fn announce() -> anyhow::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(READY)?;
    stdout.flush()?;
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    rustix::stdio::dup2_stderr(&nowhere)?;
    env::set_current_dir("/")?;
    Ok(())
}
