//! `weapon plan`: what `up` would set on the system.

use std::{collections::BTreeSet, process::ExitCode};

use weapon_io::netlink::Netlink;

use crate::{
    cli::{self, PlanArgs},
    config::{self, BadConfig, Config, Loaded},
    daemon::{self, device_steps},
    interface::{Fittings, mtu},
    left_out::connected,
    site::{Lookout, Site},
    system::{Parameters, Step, StepReport, Surroundings, SystemReport, Wanted, planned},
};

/// Shows it, and changes nothing.
pub fn run(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let path = config::locate(&args.target).map_err(|problem| BadConfig(vec![problem]))?;
    let Loaded { config, warnings } = config::load(&path)?;
    warnings.iter().for_each(cli::print_problem);
    let report = daemon::runtime()?.block_on(plan(&config))?;
    if args.json {
        cli::print(&serde_json::to_string_pretty(&report)?)?;
    } else {
        cli::print(describe(&report).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn plan(config: &Config) -> anyhow::Result<SystemReport> {
    let netlink = Netlink::connect()?;
    let connected = connected(&netlink, &config.interface).await?;
    let fittings = Fittings::of(config, &connected);
    let mtu = mtu(config, &netlink).await;
    let mut steps = device_steps(&config.interface, mtu, &fittings);
    let mut warnings = Vec::new();
    let lookout = Lookout::open(config, None).await?;
    lookout.ensure_good(config, &[])?;
    let site = Site::of(&lookout.follow(None).await.entries());
    let wanted = Wanted::of(config, &site, &fittings.kept, config.listen_port);
    if let Some(wanted) = wanted {
        let surroundings = Surroundings::look(&wanted)?;
        let parameters = Parameters::default();
        steps.extend(planned(
            &wanted,
            &surroundings,
            &parameters,
            &BTreeSet::new(),
        ));
        warnings = surroundings.warnings(&wanted);
    }
    Ok(SystemReport {
        name: config.name.clone(),
        steps: steps.iter().map(|step: &Step| step.report(None)).collect(),
        warnings,
    })
}

/// For people: a line for each step, the text of a table below its line.
pub fn describe(report: &SystemReport) -> String {
    let mut text = format!("gateway {}\n", report.name);
    for StepReport {
        text: line,
        detail,
        there,
        ..
    } in &report.steps
    {
        let lead = match there {
            None => "  ",
            Some(true) => "  ok       ",
            Some(false) => "  MISSING  ",
        };
        text.push_str(&format!("{lead}{line}\n"));
        // What is there is in `nft list table`, with its counters.
        if let (Some(detail), None) = (detail, there) {
            for line in detail.lines() {
                text.push_str(&format!("    {}\n", line.replace('\t', "  ")));
            }
        }
    }
    for warning in &report.warnings {
        text.push_str(&format!("  warning: {warning}\n"));
    }
    text
}
