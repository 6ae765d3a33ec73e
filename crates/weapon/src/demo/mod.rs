//! `weapon demo`: two private networks linked, in namespaces of its own.
//!
//! ```text
//! a1 ┐                                                                                  ┌ b1
//!    ├─ docker0 ─ host A ─ wan ────── to-a ─ internet ─ to-b ────── wan ─ host B ─ docker0 ┤
//! a2 ┘                     203.0.113.2                     198.51.100.2                  └ b2
//!    172.17.0.0/16                                                         172.18.0.0/16
//! ```
//!
//! Everything is made by this program, so that nothing needs to be installed. All of it lives in
//! anonymous namespaces, which the kernel removes with the last process in them: nothing can be
//! left behind, whatever ends this process.
//!
//! With `--docker` each host has a Docker daemon, and the containers are Docker's.

/// The network namespaces and what joins them.
mod topology;

/// A Docker daemon for a host.
mod dockerd;

/// Two of them.
mod docker;

/// The two gateways: keys, configuration, processes.
mod gateway;

/// Pings, connections and transfers between containers.
mod traffic;

/// Who listens on the wire.
mod wiretap;

/// What the gateways know of all that.
mod decisions;

/// What a gateway leaves behind.
mod remains;

/// The acts in their order.
mod play;

/// Rows, the table and the JSON.
mod report;

/// Ctrl-C.
mod interrupt;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use weapon_io::namespace::{Isolation, cover_with_tmpfs, isolate};

use self::gateway::Gateways;
use self::interrupt::Interrupt;
use self::remains::Inventory;
use self::report::Report;
use self::topology::World;

/// Arguments of `weapon demo`.
#[derive(clap::Args, Debug)]
pub struct DemoArgs {
    /// Print one JSON object as the last line
    #[arg(long)]
    pub json: bool,
    /// Leave everything up, and say how to look around
    #[arg(long)]
    pub keep: bool,
    /// With two real Docker daemons, each on a host of its own
    #[arg(long)]
    pub docker: bool,
}

/// What the demo covers with a file system of its own: sockets, state and configurations go there.
const PRIVATE_DIRECTORY: &str = "/run";

const DIAGRAM: &str = "
  a1 ┐                                                            ┌ b1
     ├ 172.17.0.0/16 ─ site-a ═ internet ═ site-b ─ 172.18.0.0/16 ┤
  a2 ┘                                                            └ b2
";

/// Runs `weapon demo`.
///
/// # Errors
/// When the system does not let us have namespaces or a TUN device. What goes wrong after that is
/// a row of the table.
pub fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    // Before any thread is started: threads can't follow into a user namespace.
    let isolation = isolate()?;
    cover_with_tmpfs(PRIVATE_DIRECTORY)
        .with_context(|| format!("cannot cover {PRIVATE_DIRECTORY} with a private tmpfs"))?;
    check_tun_device()?;
    if args.docker {
        docker::check(isolation)?;
    }

    let gateways = Gateways::default();
    let interrupt = Interrupt::watch(gateways.clone())?;
    let mut report = Report::new();
    report::say(DIAGRAM);
    report.doing("building two hosts, four containers and an internet between them");
    let world = World::build(args.docker.then(|| gateways.daemons()))
        .context("cannot build the networks")?;
    let before = Inventory::of(&world)?;
    play::run(&world, &gateways, &mut report);
    if args.keep {
        report.finish(args.json, start.elapsed())?;
        let ctrl_c = interrupt.hold();
        look_around(&world, &gateways, isolation);
        // An error would mean that nobody watches for signals any more; then there is no sense in
        // staying either.
        let _ = ctrl_c.recv();
        gateways.stop();
        gateways.end_docker();
        report::say("\nweapon: the gateways are stopped, nothing is left");
    } else {
        play::stop(&world, &before, &gateways, &mut report);
        gateways.end_docker();
        // A Ctrl-C that is being dealt with has the last word.
        interrupt.settle();
        report.finish(args.json, start.elapsed())?;
    }
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Finds out before all else, so that the reason stands alone and not in a gateway's log.
fn check_tun_device() -> anyhow::Result<()> {
    const DEVICE: &str = "/dev/net/tun";
    std::fs::File::options().read(true).write(true).open(DEVICE).map(drop).with_context(|| {
        format!(
            "cannot open {DEVICE}; `modprobe tun` makes it, in a container it must be passed in \
             (docker run --device {DEVICE}), and other users than root need it readable and \
             writable (mode 0666)"
        )
    })
}

fn look_around(world: &World, gateways: &Gateways, isolation: Isolation) {
    let us = std::process::id();
    let user = match isolation {
        Isolation::Privileged => "",
        Isolation::UserNamespace => " --user --preserve-credentials",
    };
    let this = std::env::current_exe().map_or("weapon".into(), |path| path.display().to_string());
    let enter = format!("nsenter --target {us}{user} --mount");
    report::say("Everything stays up until Ctrl-C. To look around, from another terminal:\n");
    for (name, namespace) in world.places() {
        let fd = topology::descriptor_of(namespace);
        report::say(&format!(
            "  {name:<10} {enter} --net=/proc/{us}/fd/{fd} bash"
        ));
    }
    report::say(&format!("\n  both gateways   {enter} {this} status"));
    for gateway in gateways.files() {
        report::say(&format!(
            "  configuration   {enter} cat {}",
            gateway.display()
        ));
    }
    report::say("\nIn a1, for example: ping 172.18.0.2");
}
