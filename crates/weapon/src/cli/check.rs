//! `weapon check`: what is wrong with configuration files.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{EXIT_BAD_CONFIG, terminal};
use crate::config::{self, BadConfig, Config, Loaded, Problem};

/// Arguments of `weapon check`.
#[derive(clap::Args, Debug)]
pub struct CheckArgs {
    /// Configuration files, or names of gateways
    #[arg(required = true, value_name = "FILE")]
    pub targets: Vec<String>,
    /// Print one JSON object: ok, problems
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    problems: Vec<Problem>,
}

/// Runs `weapon check`.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut report = Report {
        ok: true,
        problems: Vec::new(),
    };
    for target in &args.targets {
        let (problems, summary) = match check(target) {
            Ok(Loaded { config, warnings }) => (warnings, Some(summary(&config))),
            Err(BadConfig(problems)) => (problems, None),
        };
        report.ok &= summary.is_some();
        if !args.json {
            problems.iter().for_each(terminal::print_problem);
            if let Some(summary) = summary {
                terminal::print(&summary)?;
            }
        }
        report.problems.extend(problems);
    }
    if args.json {
        terminal::print(&serde_json::to_string(&report)?)?;
    }
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_BAD_CONFIG)
    })
}

/// What a good file sets up, in one line; the public key is what its peers need.
fn summary(config: &Config) -> String {
    let peers = config.peers.len();
    let mut summary = format!(
        "{}: good: gateway {}, interface {}, {peers} peer{}, public key {}",
        config.source.path.display(),
        config.name,
        config.interface,
        if peers == 1 { "" } else { "s" },
        config.private_key.public()
    );
    for (index, network) in config.behind.iter().enumerate() {
        let lead = if index == 0 { ", behind us" } else { "," };
        summary.push_str(&format!("{lead} {network}"));
    }
    summary
}

fn check(target: &str) -> Result<Loaded, BadConfig> {
    let path: PathBuf = config::locate(target)?;
    config::load(&path)
}
