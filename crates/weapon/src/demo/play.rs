//! The acts in their order.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use weapon_io::capture::CaptureFilter;

use super::decisions;
use super::gateway::{Gateways, PORT, log_tail};
use super::remains::Inventory;
use super::report::{self, Figure, Report};
use super::topology::{BRIDGE, Container, World};
use super::traffic;
use super::wiretap::{Heard, Wiretap};

/// The main transfer.
const TRANSFER_BYTES: u64 = 1 << 30;

/// The one in the other direction.
const REVERSE_BYTES: u64 = 256 << 20;

/// How long throughput is measured, in each direction.
const THROUGHPUT_DURATION: Duration = Duration::from_secs(3);

/// Long enough for an answer that comes, short enough to wait for one that must not.
const BLOCKED_PATIENCE: Duration = Duration::from_millis(300);

/// For what must come.
const PATIENCE: Duration = Duration::from_secs(3);

/// Round trips that are measured: enough for a 99th percentile.
const ROUND_TRIPS: usize = 1000;

/// Shows everything while the gateways run. Each act is a row or two; where one fails, those that
/// depend on it are left out.
pub(super) fn run(world: &World, gateways: &Gateways, report: &mut Report) {
    // While the networks are still cut off, the processor has nothing else to do.
    let digests = thread::spawn(|| {
        (
            traffic::digest_of(TRANSFER_BYTES),
            traffic::digest_of(REVERSE_BYTES),
        )
    });
    before(world, report);
    let Some(watch) = start_watch(world, report) else {
        return;
    };
    let (world_link, marker) = (world.a.link, marker());
    let everything = CaptureFilter::Everything;
    let internet = Wiretap::start(&world.internet, world_link, everything, &marker);
    if !bring_up(world, gateways, report) {
        return;
    }
    reach(world, report);
    secrecy(world, report, internet, &marker);
    round_trips(world, report);
    let Ok((forward, reverse)) = digests.join() else {
        report.row("checksums", Err(anyhow!("could not be computed")));
        return;
    };
    transfers(world, report, &forward, &reverse);
    decisions::flows(world, report, TRANSFER_BYTES);
    decisions::denied(world, report);
    decisions::why(world, report);
    throughput(world, report);
    report.doing("looking at all that passed the internet");
    report.row(
        "other packets on the internet link, in all that time",
        strangers(watch),
    );
}

/// Stops the gateways and looks for what they leave.
pub(super) fn stop(world: &World, before: &Inventory, gateways: &Gateways, report: &mut Report) {
    report.doing("stopping both gateways");
    let start = Instant::now();
    let ends = gateways.stop();
    let took = start.elapsed();
    if ends.is_empty() {
        return;
    }
    let clean = ends
        .iter()
        .all(|end| end.is_some_and(|status| status.success()));
    let figure = Figure::millis(took).expect(clean, || {
        format!(
            "ended as {ends:?}\n{}\n{}",
            log_tail(world.a.site),
            log_tail(world.b.site)
        )
    });
    report.row("clean stop of both gateways", Ok(figure));
    report.row(
        "interfaces, routes, processes, files left behind",
        leftovers(world, before),
    );
    report.row("after it nothing passes again", blocked(world));
    report.clear_progress();
}

/// The world before: the hosts reach each other, the containers only their own kind.
fn before(world: &World, report: &mut Report) {
    report.doing("what passes without a tunnel");
    let neighbours = world.containers().try_for_each(traffic::answer_connections);
    let hosts = neighbours
        .and_then(|()| {
            let [one, other] = &world.a.containers;
            traffic::connect(&one.namespace, other.address, PATIENCE)
                .context("containers of one host can't reach each other")
        })
        .and_then(|()| {
            let far = world.b.address.into();
            traffic::ping(&world.a.namespace, far, PATIENCE)?;
            traffic::ping(&world.a.namespace, far, PATIENCE)
        });
    report.row(
        "the two hosts reach each other, round trip",
        hosts.map(Figure::micros),
    );
    report.row("container to container before: passed", blocked(world));
}

/// A ping and a connection in each direction, none of which may get through.
fn blocked(world: &World) -> anyhow::Result<Figure> {
    let attempts = across(world, |from, to| {
        let ping = traffic::ping(&from.namespace, to.address, BLOCKED_PATIENCE);
        let connect = traffic::connect(&from.namespace, to.address, BLOCKED_PATIENCE);
        [ping.is_ok(), connect.is_ok()]
    });
    let passed = attempts.iter().flatten().filter(|passed| **passed).count();
    let figure = Figure::new(passed as f64, "of 16");
    Ok(figure.expect(passed == 0, || "the networks are not separate".into()))
}

/// Does `what` with each pair of containers across the sites, all at once.
fn across<T: Send>(world: &World, what: impl Fn(&Container, &Container) -> T + Sync) -> Vec<T> {
    let what = &what;
    thread::scope(|scope| {
        let running: Vec<_> = world
            .pairs()
            .into_iter()
            .map(|(from, to)| scope.spawn(move || what(from, to)))
            .collect();
        let done = running.into_iter().map(|thread| thread.join());
        done.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// A listener that sees everything on the internet link but the tunnel, until the end.
fn start_watch(world: &World, report: &mut Report) -> Option<Wiretap> {
    let all_else = CaptureFilter::AllButUdpPort(PORT);
    match Wiretap::start(&world.internet, world.b.link, all_else, "\0 no marker") {
        Ok(watch) => Some(watch),
        Err(error) => {
            report.row("watching the internet link", Err(error));
            None
        }
    }
}

fn bring_up(world: &World, gateways: &Gateways, report: &mut Report) -> bool {
    let configured = Gateways::configure(world).and_then(|files| {
        report.clear_progress();
        for (file, text) in files {
            report::say(&format!("\n# {}\n{text}", file.display()));
        }
        report.doing("starting both gateways");
        gateways.start(world)
    });
    let is_up = configured.is_ok();
    report.row("both gateways up", configured.map(Figure::millis));
    is_up
}

/// The first ping, which has to wait for the handshake, and then one of each in all directions.
fn reach(world: &World, report: &mut Report) {
    report.doing("pinging container to container");
    let (from, to) = (&world.a.containers[0], &world.b.containers[0]);
    let first = traffic::ping(&from.namespace, to.address, PATIENCE);
    report.row("first ping, handshake included", first.map(Figure::millis));

    let all = |what: &(dyn Fn(&Container, &Container) -> anyhow::Result<()> + Sync)| {
        let results = across(world, |from, to| {
            what(from, to).with_context(|| format!("{} to {}", from.name, to.name))
        });
        let (total, mut good) = (results.len(), 0);
        let mut trouble = Vec::new();
        for result in results {
            match result {
                Ok(()) => good += 1,
                Err(error) => trouble.push(format!("{error:#}")),
            }
        }
        Figure::new(f64::from(good), "of 8")
            .expect(trouble.is_empty() && total == 8, || trouble.join("\n"))
    };
    let pings = all(&|from, to| traffic::ping(&from.namespace, to.address, PATIENCE).map(drop));
    report.row("ping, container to container, both ways", Ok(pings));
    let connections = all(&|from, to| traffic::connect(&from.namespace, to.address, PATIENCE));
    report.row(
        "TCP connect, container to container, both ways",
        Ok(connections),
    );
}

fn round_trips(world: &World, report: &mut Report) {
    report.doing("measuring round trips");
    let (from, to) = (&world.a.containers[0], &world.b.containers[0]);
    let measured = traffic::round_trips(&from.namespace, to.address, ROUND_TRIPS);
    match measured {
        Ok(sorted) => {
            let percentile = |percent: usize| sorted[(sorted.len() - 1) * percent / 100];
            report.row(
                "round trip a1 to b1, median",
                Ok(Figure::micros(percentile(50))),
            );
            let p99 = Figure::micros(percentile(99));
            report.row("round trip a1 to b1, 99th percentile", Ok(p99));
        }
        Err(error) => report.row("round trip a1 to b1", Err(error)),
    }
}

/// A marker goes through the tunnel, with a listener on host A's bridge and one on the internet.
fn secrecy(world: &World, report: &mut Report, internet: anyhow::Result<Wiretap>, marker: &str) {
    report.doing("listening on the wire");
    let heard = listen_for_marker(world, marker)
        .and_then(|bridge| Ok((bridge, internet?.finish().context("on the internet link")?)));
    let (bridge, internet) = match heard {
        Ok(heard) => heard,
        Err(error) => return report.row("listening on the wire", Err(error)),
    };
    let handshake = internet.handshake.context("none was seen");
    report.row(
        "handshake, as the internet saw it",
        handshake.map(Figure::millis),
    );
    let handshakes = Figure::new(internet.responses as f64, "seen");
    report.row(
        "handshakes",
        Ok(handshakes.expect(internet.responses > 0, || "none".into())),
    );

    let in_clear = Figure::new(bridge.marker as f64, "frames").expect(bridge.marker > 0, || {
        "the listener can't find what is there".into()
    });
    report.row("marker in clear on host A's bridge", Ok(in_clear));
    let leaked = Figure::new(internet.marker as f64, "frames").expect(internet.marker == 0, || {
        "the private networks' traffic can be read".into()
    });
    report.row("the same marker in clear on the internet", Ok(leaked));

    let others = internet.strangers;
    let sealed = Figure::new(internet.wireguard as f64, "datagrams")
        .expect(others == 0 && internet.data > 0, || {
            format!("{others} others:\n{}", internet.descriptions.join("\n"))
        });
    report.row(
        "internet link: WireGuard datagrams, and no others",
        Ok(sealed),
    );
}

/// What the bridge heard.
fn listen_for_marker(world: &World, marker: &str) -> anyhow::Result<Heard> {
    let host = &world.a.namespace;
    let bridge = Wiretap::start(host, BRIDGE, CaptureFilter::Everything, marker)?;
    traffic::send_marker(&world.a.containers[0], &world.b.containers[0], marker)?;
    bridge.finish().context("on host A's bridge")
}

fn transfers(world: &World, report: &mut Report, forward: &[u8], reverse: &[u8]) {
    let [a1, a2] = &world.a.containers;
    let [b1, b2] = &world.b.containers;
    report.doing("1 GB over TCP, a1 to b1");
    let took = traffic::transfer(a1, b1, TRANSFER_BYTES, forward);
    report.row(
        "1 GB over TCP, a1 to b1, SHA-256 equal",
        took.map(Figure::secs),
    );
    report.doing("256 MB over TCP, b2 to a2");
    let took = traffic::transfer(b2, a2, REVERSE_BYTES, reverse);
    report.row(
        "256 MB over TCP, b2 to a2, SHA-256 equal",
        took.map(Figure::secs),
    );
}

fn throughput(world: &World, report: &mut Report) {
    let [a1, b1] = [&world.a.containers[0], &world.b.containers[0]];
    for (name, from, to) in [
        ("throughput, TCP, a1 to b1", a1, b1),
        ("throughput, TCP, b1 to a1", b1, a1),
    ] {
        report.doing(name);
        let measured = traffic::throughput(from, to, THROUGHPUT_DURATION);
        report.row(name, measured.map(|bits| Figure::new(bits / 1e9, "Gbit/s")));
    }
}

fn strangers(watch: Wiretap) -> anyhow::Result<Figure> {
    let heard = watch.finish()?;
    let figure = Figure::new(heard.strangers as f64, "packets");
    Ok(figure.expect(heard.strangers == 0, || heard.descriptions.join("\n")))
}

fn leftovers(world: &World, before: &Inventory) -> anyhow::Result<Figure> {
    let left = before.difference(world)?;
    let figure = Figure::new(left.len() as f64, "things");
    Ok(figure.expect(left.is_empty(), || left.join("\n")))
}

/// Something that is nowhere else by chance.
fn marker() -> String {
    let nanos = std::time::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_nanos();
    format!(
        "a marker that nobody on the way may read, {:x} {nanos:x}",
        std::process::id()
    )
}
