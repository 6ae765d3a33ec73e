//! `weapon status`.

use std::{process::ExitCode, thread, time::Duration};

use anyhow::Context;
use serde::Serialize;

use crate::{
    api::{Answer, Client, Request},
    cli::{self, StatusArgs},
    config::{BadConfig, gateway_name},
    places::{self, Places},
    plan,
    rates::SPAN_MIN,
    report::{Report, seconds_now},
    screen,
    system::SystemReport,
};

pub mod amounts;
pub mod fold;
mod text;

/// Rates over more than this say nothing of this moment.
const SPAN_SECONDS_MAX: u64 = 60;

/// Over the least span, so that a timer that fires on the dot is late enough.
const SPAN_MARGIN: Duration = Duration::from_millis(20);

/// Shows one gateway, or all that run.
pub fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let target = args.target.as_deref().map(gateway_name).transpose();
    let target = target.map_err(|problem| BadConfig(vec![problem]))?;
    if args.watch {
        return screen::run(target, args.interval);
    }
    if args.system {
        show_system(target.as_deref(), args.json)?;
    } else {
        show(target.as_deref(), args.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(target: Option<&str>, json: bool) -> anyhow::Result<()> {
    let mut reports = reports(target)?;
    if json {
        return print_json(target, &reports);
    }
    if reports.is_empty() {
        cli::print("no gateway runs")?;
    }
    if reports.iter().any(lacks_rates) {
        thread::sleep(SPAN_MIN + SPAN_MARGIN);
        reports = self::reports(target)?;
    }
    let paper = text::Paper {
        colour: cli::stdout_colour(),
        width: cli::stdout_width(),
    };
    for (position, report) in reports.iter().enumerate() {
        if position != 0 {
            cli::print("")?;
        }
        cli::print(text::describe(report, paper, seconds_now()).trim_end())?;
    }
    Ok(())
}

/// Whether it has to be asked once more, as nobody has for a while.
fn lacks_rates(report: &Report) -> bool {
    report.peers.iter().any(|peer| {
        let recent = peer.rates.filter(|it| it.span_seconds <= SPAN_SECONDS_MAX);
        recent.is_none()
    })
}

/// Shows what is set on the system.
fn show_system(target: Option<&str>, json: bool) -> anyhow::Result<()> {
    let reports: Vec<SystemReport> = ask(target, &Request::System, system)?;
    if json {
        return print_json(target, &reports);
    }
    if reports.is_empty() {
        cli::print("no gateway runs")?;
    }
    for report in &reports {
        cli::print(plan::describe(report).trim_end())?;
    }
    Ok(())
}

/// One gateway asked for: one object. All: a list, also of one.
fn print_json(target: Option<&str>, reports: &[impl Serialize]) -> anyhow::Result<()> {
    let text = match (target, reports) {
        (Some(_), [report]) => serde_json::to_string_pretty(report)?,
        _ => serde_json::to_string_pretty(reports)?,
    };
    Ok(cli::print(&text)?)
}

/// The report of the gateway `target`, which must run; or of all that do.
///
/// # Errors
/// It does not run, or may not be asked.
pub fn reports(target: Option<&str>) -> anyhow::Result<Vec<Report>> {
    ask(target, &Request::Status, status)
}

/// The report of the gateway `name`; nothing if it does not run.
///
/// # Errors
/// It may not be asked, or does not answer.
pub fn report_of(name: &str) -> anyhow::Result<Option<Report>> {
    ask_one(name, &Request::Status, status)
}

/// What the gateway `name` has set on the system; nothing if it does not run.
///
/// # Errors
/// It may not be asked, or does not answer.
pub fn system_of(name: &str) -> anyhow::Result<Option<SystemReport>> {
    ask_one(name, &Request::System, system)
}

fn status(answer: Answer) -> Option<Report> {
    match answer {
        Answer::Status(report) => Some(*report),
        _ => None,
    }
}

fn system(answer: Answer) -> Option<SystemReport> {
    match answer {
        Answer::System(report) => Some(report),
        _ => None,
    }
}

/// Asks the gateway `target`, or all that run, and takes what is of use of their answers.
fn ask<T>(
    target: Option<&str>,
    request: &Request,
    take: fn(Answer) -> Option<T>,
) -> anyhow::Result<Vec<T>> {
    if let Some(name) = target {
        let taken = ask_one(name, request, take)?;
        return Ok(vec![taken.ok_or_else(|| Client::missing(name))?]);
    }
    let all = places::gateways().into_iter().filter_map(|name| {
        // One that has gone in between is not missed.
        let taken = ask_one(&name, request, take).transpose()?;
        Some(taken.with_context(|| format!("gateway {name}")))
    });
    all.collect()
}

/// As [`ask`], of one; nothing if it does not run.
fn ask_one<T>(
    name: &str,
    request: &Request,
    take: fn(Answer) -> Option<T>,
) -> anyhow::Result<Option<T>> {
    let Some(client) = Client::connect(&Places::of(name))? else {
        return Ok(None);
    };
    let taken = take(client.ask(request)?);
    let taken = taken.with_context(|| format!("the gateway {name:?} answers something else"))?;
    Ok(Some(taken))
}
