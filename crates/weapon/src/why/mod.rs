//! `weapon why`: what would become of a packet, and who decides; and what became of the latest that
//! died.

// Which packet.
mod query;
pub use query::WhyQuery;
mod words;

// What the gateway says of it.
mod step;
pub use step::{Finding, Step};
mod report;
pub use report::WhyReport;

// What the host does with it.
mod firewall;
mod host;
mod stops;

// What is made of both.
mod trace;

use std::process::ExitCode;

use anyhow::bail;
use weapon_core::Hypothesis;

use crate::{
    api::{Answer, Client, Request},
    cli::{self, Asked, EXIT_BAD_CONFIG, EXIT_FAILED, WhyArgs},
    daemon, drops, places,
    report::Report,
    status,
};
use host::Host;
use stops::Goes;
use trace::{Trace, Way};

/// Says what would become of a packet, or what became of the latest.
pub fn run(args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let question = args.asked().and_then(|(gateway, asked)| match asked {
        Asked::LastDrops => Ok((gateway, None)),
        Asked::Packet(source, destination) => {
            let query = WhyQuery {
                size: args.size,
                from: args.from.clone(),
                ..words::packet(source, destination)?
            };
            query.hypothesis()?;
            Ok((gateway, Some(query)))
        }
    });
    let (gateway, query) = match question {
        Ok(question) => question,
        Err(problem) => {
            cli::print_error(&format!("weapon: {problem}"));
            return Ok(ExitCode::from(EXIT_BAD_CONFIG));
        }
    };
    let name = places::running_gateway(gateway)?;
    match query {
        None => last_drops(&name, args.json),
        Some(query) => packet(&name, query, args.json),
    }
}

fn last_drops(name: &str, json: bool) -> anyhow::Result<ExitCode> {
    let Answer::Drops(report) = Client::of(name)?.ask(&Request::Drops)? else {
        bail!("the gateway {name:?} answers something else");
    };
    let text = if json {
        serde_json::to_string_pretty(&report)?
    } else {
        drops::describe(&report, cli::stdout_colour())
    };
    cli::print(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

fn packet(name: &str, mut query: WhyQuery, json: bool) -> anyhow::Result<ExitCode> {
    let report = status::report_of(name)?.ok_or_else(|| Client::missing(name))?;
    let runtime = daemon::runtime()?;
    let way = runtime.block_on(async {
        let host = Host::look(&report).await?;
        if query.from.is_none() {
            query.from = host.sender(query.source).await.map(str::to_owned);
        }
        way(name, &query, &host, &report).await
    })?;
    let trace = Trace::new(name, &query, way);
    let text = if json {
        serde_json::to_string_pretty(&trace)?
    } else {
        trace.describe(cli::stdout_colour())
    };
    cli::print(text.trim_end())?;
    Ok(if trace.passes {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILED)
    })
}

/// The way of the packet: by the host and the gateway, in the order in which it meets them.
async fn way(
    name: &str,
    query: &WhyQuery,
    host: &Host<'_>,
    report: &Report,
) -> anyhow::Result<Way> {
    let mut way = Way::default();
    let Ok(packet) = query.hypothesis() else {
        bail!("there is no such packet");
    };
    if query.from.is_none() {
        if way.goes_on(host.before(packet).await) {
            leave(name, query, (host, report), &mut way).await?;
        }
        return Ok(way);
    }
    let why = ask(name, query)?;
    if !way.goes_on(why.steps) {
        return Ok(way);
    }
    let (steps, goes) = host
        .after(Hypothesis {
            destination: why.destination,
            ..packet
        })
        .await;
    let goes_on = way.goes_on(steps);
    let is_back =
        matches!(&goes, Goes::Through { interface, .. } if *interface == report.interface);
    way.goes = Some(goes);
    if goes_on && is_back {
        let to_peer = WhyQuery {
            from: None,
            destination: why.destination,
            ..query.clone()
        };
        leave(name, &to_peer, (host, report), &mut way).await?;
    }
    Ok(way)
}

/// From the tunnel's interface to a peer.
async fn leave(
    name: &str,
    query: &WhyQuery,
    (host, report): (&Host<'_>, &Report),
    way: &mut Way,
) -> anyhow::Result<()> {
    let why = ask(name, query)?;
    let peer = why.peer.as_deref();
    let peer = report
        .peers
        .iter()
        .find(|it| Some(it.name.as_str()) == peer);
    if way.goes_on(why.steps)
        && let Some(endpoint) = peer.and_then(|peer| peer.endpoint)
    {
        way.goes_on([host.underlay(endpoint).await]);
    }
    way.to = why.peer;
    Ok(())
}

/// What the gateway says.
fn ask(name: &str, query: &WhyQuery) -> anyhow::Result<WhyReport> {
    match Client::of(name)?.ask(&Request::Why(query.clone()))? {
        Answer::Why(why) => Ok(why),
        _ => bail!("the gateway {name:?} answers something else"),
    }
}
