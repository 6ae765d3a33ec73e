//! Metrics of the gateway as a whole.

use std::{collections::BTreeMap, fmt};

use prometheus_client::registry::Unit;

use super::{
    Scrape,
    page::{About, Label, Page, label},
};

/// Writes them.
pub(super) fn write(page: &mut Page<'_>, scrape: &Scrape) -> fmt::Result {
    identity(page, scrape)?;
    state(page, scrape)?;
    privileges(page, scrape)?;
    losses(page, scrape)
}

fn identity(page: &mut Page<'_>, scrape: &Scrape) -> fmt::Result {
    let report = &scrape.report;
    page.info(
        About("build", None, "The program"),
        [[
            label("version", env!("CARGO_PKG_VERSION")),
            label("cipher", &report.cipher.backend),
        ]],
    )?;
    page.info(
        About("gateway", None, "The gateway"),
        [[
            label("interface", &report.interface),
            label("public_key", &report.public_key),
        ]],
    )?;
    let about = About(
        "start_time",
        Some(Unit::Seconds),
        "When it was started, since 1970",
    );
    page.gauge(about, [([], scrape.started)])
}

fn state(page: &mut Page<'_>, scrape: &Scrape) -> fmt::Result {
    let report = &scrape.report;
    let about = About("interface_up", None, "Whether the interface is up");
    page.gauge(about, [([], u32::from(report.up))])?;
    let about = About("mtu", Some(Unit::Bytes), "The largest inner packet");
    page.gauge(about, [([], report.mtu)])?;
    let about = About("lanes", None, "Threads that carry packets");
    page.gauge(about, [([], report.lanes)])?;
    let on = report.offloads;
    let offloads = [
        ("tun_tcp", on.tun_tcp),
        ("tun_udp", on.tun_udp),
        ("udp_gso", on.udp_gso),
        ("udp_gro", on.udp_gro),
    ];
    let rows = offloads.map(|(name, on)| ([label("offload", name)], u32::from(on)));
    page.gauge(About("offload", None, "Whether it is in use"), rows)?;
    let mut warnings = BTreeMap::new();
    for warning in &report.warnings {
        *warnings.entry(warning.kind.as_str()).or_insert(0) += 1;
    }
    let rows = warnings.into_iter();
    let rows = rows.map(|(kind, count): (_, u32)| ([label("kind", kind)], count));
    page.gauge(About("warnings", None, "What is wrong now"), rows)
}

fn privileges(page: &mut Page<'_>, scrape: &Scrape) -> fmt::Result {
    let has = &scrape.report.privileges;
    let about = About("user_id", None, "The user of the process; 0 is root");
    page.gauge(about, [([], has.user)])?;
    let rows = has.capabilities.iter();
    let rows = rows.map(|name| ([label("capability", name)], 1_u32));
    page.gauge(About("capability", None, "What it may do"), rows)?;
    let about = About("no_new_privileges", None, "Whether it can gain none");
    page.gauge(about, [([], u32::from(has.no_new))])?;
    let about = About("dumpable", None, "Whether its memory may be dumped");
    page.gauge(about, [([], u32::from(has.dumpable))])
}

fn losses(page: &mut Page<'_>, scrape: &Scrape) -> fmt::Result {
    let waiting = scrape.waiting;
    let queues = [
        ("handshakes", waiting.handshakes),
        ("parked", waiting.parked),
        ("unreachable", waiting.unreachable),
        ("attention", waiting.attention),
    ];
    let rows = queues.map(|(name, count)| ([label("queue", name)], count));
    page.gauge(
        About("waiting", None, "What waits for the control loop"),
        rows,
    )?;
    let nothing: [Label<'_>; 0] = [];
    let about = About("unreachable_lost", None, "ICMP errors that were not sent");
    page.counter(about, [(nothing, waiting.unreachable_lost)])?;
    for (name, what) in [
        ("send_failures", "Datagrams that the kernel did not take"),
        ("write_failures", "Packets that the interface did not take"),
        (
            "refused_trains",
            "Trains that were sent datagram by datagram",
        ),
    ] {
        let count = scrape.report.counters.get(name).copied();
        page.counter(About(name, None, what), [([], count.unwrap_or(0))])?;
    }
    Ok(())
}
