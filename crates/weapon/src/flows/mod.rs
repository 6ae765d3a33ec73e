//! `weapon flows`: what passes through a gateway at this moment.

// What the gateway tells, and to which question.
mod query;
pub use query::{FlowsQuery, LIMIT_MAX};
mod report;
pub use report::{FlowReport, FlowsReport, RuleReport, looked_up};
mod counts;
pub use counts::FilterCounts;

// What it tells by itself, for the audit log.
mod told;
pub use told::{TOLD_MAX, Told, ToldFlows, WantedFlows};
mod telling;
pub use telling::Telling;

// What is made of it for people.
mod names;
use names::Names;
mod spelling;
pub use spelling::{direction_name, flag_letters, protocol_name};
mod text;
pub use text::describe;

use std::{collections::BTreeMap, io::IsTerminal, net::IpAddr, process::ExitCode, thread};

use anyhow::bail;
use serde::Serialize;

use crate::{
    api::{Answer, Client, Request},
    cli::{self, FlowsArgs},
    config::{BadConfig, gateway_name},
};

/// What a terminal does to begin anew.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// A flow with the names of its ends.
#[derive(Serialize)]
struct Named<'a> {
    #[serde(flatten)]
    flow: &'a FlowReport,
    source_name: Option<&'a str>,
    destination_name: Option<&'a str>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Listing<'a> {
    flows: Vec<Named<'a>>,
    /// Whether there are more than were asked for.
    more: bool,
    total: usize,
    capacity: usize,
    rules: &'a [RuleReport],
}

/// Shows the flows of a gateway, once or again and again.
pub fn run(args: &FlowsArgs) -> anyhow::Result<ExitCode> {
    let name = gateway_name(&args.target).map_err(|problem| BadConfig(vec![problem]))?;
    let clears = args.watch && !args.json && std::io::stdout().is_terminal();
    let mut known = Names::new(args.resolve)?;
    loop {
        let report = ask(&name, args)?;
        let names = known.of(&report);
        let name_of = |address: &IpAddr| names.get(address).map(String::as_str);
        if args.json {
            cli::print(&serde_json::to_string(&listing(&report, &names))?)?;
        } else {
            let text = describe(&report, name_of, cli::stdout_width());
            let head = if clears { CLEAR } else { "" };
            cli::print(&format!("{head}{}", text.trim_end()))?;
        }
        if !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(args.interval);
    }
}

fn listing<'a>(report: &'a FlowsReport, names: &'a BTreeMap<IpAddr, String>) -> Listing<'a> {
    let name_of = |address: &IpAddr| names.get(address).map(String::as_str);
    let flows = report.flows.iter().map(|flow| Named {
        flow,
        source_name: name_of(&flow.source),
        destination_name: name_of(&flow.destination),
    });
    Listing {
        flows: flows.collect(),
        more: report.next.is_some(),
        total: report.total,
        capacity: report.capacity,
        rules: &report.rules,
    }
}

/// As many flows as are wanted, page by page; those used last come first.
fn ask(name: &str, args: &FlowsArgs) -> anyhow::Result<FlowsReport> {
    let mut query = args.query();
    let mut all: Option<FlowsReport> = None;
    loop {
        let there = all.as_ref().map_or(0, |all| all.flows.len());
        query.limit = args.limit.saturating_sub(there).clamp(1, LIMIT_MAX);
        let answer = Client::of(name)?.ask(&Request::Flows(query.clone()))?;
        let Answer::Flows(page) = answer else {
            bail!("the gateway {name:?} answers something else");
        };
        let next = page.next;
        match &mut all {
            Some(all) => {
                all.flows.extend(page.flows);
                all.next = next;
            }
            None => all = Some(page),
        }
        let is_enough = all
            .as_ref()
            .is_some_and(|all| all.flows.len() >= args.limit);
        match next {
            Some(next) if !is_enough => query.cursor = next,
            _ => break,
        }
    }
    let mut all = all.unwrap_or_default();
    all.flows
        .sort_by(|one, other| one.idle_seconds.total_cmp(&other.idle_seconds));
    all.flows.truncate(args.limit);
    Ok(all)
}
