//! `weapon status`.

use std::{process::ExitCode, thread, time::Duration};

use anyhow::{Context, bail};

use crate::{
    api::{Answer, Client, Request},
    cli::{self, StatusArgs},
    config::{BadConfig, gateway_name},
    places::{self, Places},
    rates::SPAN_MIN,
    report::{Report, seconds_now},
    screen,
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
    let mut reports = reports(target.as_deref())?;
    if args.json {
        // One gateway asked for: one object. All: a list, also of one.
        let text = match (&target, &reports[..]) {
            (Some(_), [report]) => serde_json::to_string_pretty(report)?,
            _ => serde_json::to_string_pretty(&reports)?,
        };
        cli::print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    if reports.is_empty() {
        cli::print("no gateway runs")?;
    }
    if reports.iter().any(lacks_rates) {
        thread::sleep(SPAN_MIN + SPAN_MARGIN);
        reports = self::reports(target.as_deref())?;
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
    Ok(ExitCode::SUCCESS)
}

/// Whether it has to be asked once more, as nobody has for a while.
fn lacks_rates(report: &Report) -> bool {
    report.peers.iter().any(|peer| {
        let recent = peer.rates.filter(|it| it.span_seconds <= SPAN_SECONDS_MAX);
        recent.is_none()
    })
}

/// The report of the gateway `target`, which must run; or of all that do.
///
/// # Errors
/// It does not run, or may not be asked.
pub fn reports(target: Option<&str>) -> anyhow::Result<Vec<Report>> {
    if let Some(name) = target {
        return Ok(vec![ask(name, Client::of(name)?)?]);
    }
    let all = places::gateways().into_iter().filter_map(|name| {
        // One that has gone in between is not missed.
        let client = Client::connect(&Places::of(&name)).transpose()?;
        let report = client.and_then(|client| ask(&name, client));
        Some(report.with_context(|| format!("gateway {name}")))
    });
    all.collect()
}

fn ask(name: &str, client: Client) -> anyhow::Result<Report> {
    match client.ask(&Request::Status)? {
        Answer::Status(report) => Ok(*report),
        _ => bail!("the gateway {name:?} answers something else"),
    }
}
