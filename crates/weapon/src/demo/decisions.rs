//! What the gateways know of what has passed, and of what has not.

use std::net::IpAddr;

use anyhow::{Context, bail, ensure};

use super::{
    gateway::{RULE_NAME, weapon},
    report::{self, Figure, Report},
    topology::{Container, World},
    traffic::{self, FORBIDDEN_PORT, TRANSFER_PORT},
};
use crate::{
    api::{Answer, Client, Request},
    flows::{self, FlowReport, FlowsQuery, FlowsReport},
};

/// The ping and the transfers, as the gateway of host A knows them; `bytes` went the first way.
pub(super) fn flows(world: &World, report: &mut Report, bytes: u64) {
    report.doing("asking site-a what has passed");
    let [a1, b1] = [&world.a.containers[0], &world.b.containers[0]];
    let mut known = ask(world.a.site);
    if let Ok(known) = &mut known {
        known.flows.retain(|flow| is_between(flow, a1, b1));
        report.clear_progress();
        let names = |address: &IpAddr| name_of(world, address);
        report::say(&format!("\n# weapon flows {}", world.a.site));
        report::say(&flows::describe(known, names, None));
    }
    let found = |wanted: &dyn Fn(&FlowReport) -> bool| match &known {
        Ok(known) => known
            .flows
            .iter()
            .find(|flow| wanted(flow))
            .cloned()
            .context("there is none"),
        Err(error) => bail!("{error:#}"),
    };
    let ping = found(&|flow| flow.protocol == "icmp").map(|ping| {
        let is_answered = (1..=ping.packets).contains(&ping.reply_packets);
        let figure = Figure::new(ping.reply_packets as f64, "answers");
        figure.expect(is_answered, || format!("{ping:?}"))
    });
    report.row("flow of the pings a1 to b1, as site-a knows it", ping);
    let transfer = found(&|flow| flow.destination_port == Some(TRANSFER_PORT)).map(|flow| {
        let figure = Figure::new(flow.bytes as f64 / 1e9, "GB");
        figure.expect(flow.bytes > bytes, || format!("{flow:?}"))
    });
    report.row("flow of the transfer a1 to b1, with its headers", transfer);
}

/// An attempt that a rule of site-b denies.
pub(super) fn denied(world: &World, report: &mut Report) {
    report.doing("trying what a rule forbids");
    let [a1, b1] = [&world.a.containers[0], &world.b.containers[0]];
    report.row(
        "attempt that a rule forbids, a1 to b1: packets denied",
        try_forbidden(world, a1, b1),
    );
}

/// Who has decided that.
pub(super) fn why(world: &World, report: &mut Report) {
    report.doing("asking site-b who decides");
    report.row(
        "line of the rule that denies it, by `weapon why`",
        decider(world, report),
    );
}

/// The line of the rule that `weapon why` names.
fn decider(world: &World, report: &Report) -> anyhow::Result<Figure> {
    let [a1, b1] = [&world.a.containers[0], &world.b.containers[0]];
    let packet = [
        world.b.site.to_owned(),
        a1.address.to_string(),
        format!("{}:{FORBIDDEN_PORT}/tcp", b1.address),
    ];
    let mut asking = weapon(&world.b)?;
    let said = asking.arg("why").args(&packet).output()?;
    report.clear_progress();
    report::say(&format!("\n# weapon why {}", packet.join(" ")));
    report::say(&String::from_utf8_lossy(&said.stdout));
    let mut asking = weapon(&world.b)?;
    let said = asking.arg("why").args(&packet).arg("--json").output()?;
    let trace: serde_json::Value = serde_json::from_slice(&said.stdout)
        .with_context(|| String::from_utf8_lossy(&said.stderr).into_owned())?;
    let steps = trace["steps"].as_array().context("no steps")?;
    let last = steps.last().context("no step")?;
    let place = last["place"].as_str().unwrap_or_default();
    // FILE:LINE:COLUMN: KEY
    let line = place.split(':').nth(1).and_then(|line| line.parse().ok());
    let figure = Figure::new(line.context("no line is named")?, "of site-b.toml");
    let is_rule = last["name"] == "filter" && said.status.code() == Some(1);
    Ok(figure.expect(is_rule, || trace.to_string()))
}

fn try_forbidden(world: &World, from: &Container, to: &Container) -> anyhow::Result<Figure> {
    let site = world.b.site;
    let before = denied_packets(site)?;
    let attempt = traffic::try_forbidden(&from.namespace, to.address);
    ensure!(attempt.is_err(), "it was let through");
    let denied = denied_packets(site)?.saturating_sub(before);
    let figure = Figure::new(denied as f64, "packets");
    Ok(figure.expect(denied != 0, || format!("{attempt:?}")))
}

/// Packets that the rule has denied.
fn denied_packets(site: &str) -> anyhow::Result<u64> {
    let rules = ask(site)?.rules;
    let rule = rules.iter().find(|rule| rule.name == RULE_NAME);
    Ok(rule.context("it has no such rule")?.denied)
}

fn ask(site: &str) -> anyhow::Result<FlowsReport> {
    match Client::of(site)?.ask(&Request::Flows(FlowsQuery::default()))? {
        Answer::Flows(flows) => Ok(flows),
        _ => bail!("{site} answers something else"),
    }
}

fn is_between(flow: &FlowReport, from: &Container, to: &Container) -> bool {
    flow.source == from.address && flow.destination == to.address
}

fn name_of<'w>(world: &'w World, address: &IpAddr) -> Option<&'w str> {
    let mut containers = world.containers();
    let found = containers.find(|container| container.address == *address);
    found.map(|container| container.name)
}
