//! `weapon-wg`: a gateway that is configured by `wg` alone, and started as `wireguard-go` is.
//!
//! Its sockets stay in the network namespace where it was started; its interface may be moved to
//! another. It ends with the interface, with its socket at which `wg` asks, or by a signal.

use std::{env, ffi::OsString, process::ExitCode};

use anyhow::Context;
use tokio::sync::mpsc;
use tracing::level_filters::LevelFilter;
use weapon_core::{GatewayChange, Services, TimestampStore};
use weapon_engine::Event;
use weapon_io::{
    inherited,
    netlink::{LinkEvent, Netlink, RouteMonitor},
    tun::{Offloads, Tun, TunConfig},
    udp::UdpConfig,
};
use weapon_noise::Tai64n;

use crate::{
    cli,
    config::{CipherBackend, Sandbox},
    confined::{Begin, GatewayProcess, Parts, Spawned, User, Wanted, teller},
    daemon::{lanes_for_this_machine, runtime},
    detach::{self, Log},
    interface::{self, MTU_DEFAULT},
    places::Places,
    port::Port,
    privileges,
    signals::{Signal, Signals},
    timestamp_file::{self, TimestampFile, Unkept},
    uapi::{self, UapiFile, UapiSocket},
    watch::InterfaceWatch,
};

/// Requests of `wg` that wait.
const CALLS_MAX: usize = 16;

const USAGE: &str = "\
Usage: weapon-wg [-f|--foreground] INTERFACE
       weapon-wg --version

A WireGuard interface in user space, in place of wireguard-go: made here, configured with `wg`.
Returns when the interface is there and `wg` can ask; with -f it stays until it is ended.

  LOG_LEVEL               verbose, debug, error (the default) or silent; if it is set and not
                          silent, the log goes on after the return
  WG_PROCESS_FOREGROUND   1: as -f
  WEAPON_SANDBOX          if-possible: go on where the kernel has no seccomp or Landlock
  WG_TUN_FD, WG_UAPI_FD   numbers of open files to take over: a TUN device, a listening socket";

/// The command line as clap has it, for the manual's page alone, and what it says of variables:
/// wireguard-go's is so old and small that it is read by hand.
pub fn manual() -> (clap::Command, &'static str) {
    let (usage, rest) = USAGE.split_once("\n\n").unwrap_or((USAGE, ""));
    let (about, variables) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let first = about.split('.').next().unwrap_or_default();
    let command = clap::Command::new("weapon-wg")
        .disable_help_flag(true)
        .override_usage(usage.trim_start_matches("Usage: "))
        .about(first)
        .long_about(about);
    (command, variables)
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Version,
    Run { interface: String, foreground: bool },
    Usage,
}

fn asked(arguments: impl IntoIterator<Item = OsString>) -> Asked {
    let mut foreground = env::var_os("WG_PROCESS_FOREGROUND").is_some_and(|value| value == "1");
    let mut interface = None;
    for argument in arguments {
        match argument.to_str() {
            Some("--version") => return Asked::Version,
            Some("-f" | "--foreground") => foreground = true,
            Some(name) if !name.starts_with('-') && interface.is_none() => {
                interface = Some(name.to_owned());
            }
            _ => return Asked::Usage,
        }
    }
    match interface {
        Some(interface) => Asked::Run {
            interface,
            foreground,
        },
        None => Asked::Usage,
    }
}

/// Runs `weapon-wg` with the arguments of this process.
pub fn main() -> ExitCode {
    let result = match asked(env::args_os().skip(1)) {
        Asked::Version => {
            let version = env!("CARGO_PKG_VERSION");
            let printed = cli::print(&format!("weapon-wg {version}"));
            printed.map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
        Asked::Usage => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
        Asked::Run {
            interface,
            foreground,
        } => start(&interface, foreground),
    };
    result.unwrap_or_else(|error| {
        eprintln!("weapon-wg: {error:#}");
        ExitCode::FAILURE
    })
}

fn start(interface: &str, foreground: bool) -> anyhow::Result<ExitCode> {
    let log = start_log();
    if detach::is_detached() {
        detach::leave_terminal()?;
        run(interface, || detach::announce(log))?;
    } else if foreground {
        run(interface, || Ok(()))?;
    } else {
        return detach::start(["--foreground".to_owned(), interface.to_owned()]);
    }
    Ok(ExitCode::SUCCESS)
}

/// As `LOG_LEVEL` says (U04): to standard error, never to a file (U05).
fn start_log() -> Log {
    let asked = env::var("LOG_LEVEL");
    let (level, log) = match asked.as_deref() {
        Ok("verbose" | "debug") => (LevelFilter::DEBUG, Log::Stays),
        Ok("silent") => (LevelFilter::OFF, Log::Ends),
        Ok(_) => (LevelFilter::ERROR, Log::Stays),
        Err(_) => (LevelFilter::ERROR, Log::Ends),
    };
    cli::start_log(level);
    log
}

/// Runs until it is time to end. `ready` is called when `wg` can ask.
fn run(interface: &str, ready: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    // It gives up more than we do, and needs all for that.
    let spawned = Spawned::start(&confinement(interface)?)?;
    privileges::reduce()?;
    runtime()?.block_on(async {
        let mut drop_in = DropIn::start(interface, spawned).await?;
        ready()?;
        drop_in.serve().await
    })
}

/// Everything that is undone by being dropped, in the order of the fields.
struct DropIn {
    engine: GatewayProcess,
    port: Port,
    watch: InterfaceWatch,
    routes: RouteMonitor,
    netlink: Netlink,
    signals: Signals,
    engine_events: mpsc::Receiver<Event>,
    calls: mpsc::Receiver<uapi::Call>,
    /// Ends when the socket at which `wg` asks is removed.
    uapi: tokio::task::JoinHandle<()>,
    _uapi_file: UapiFile,
}

impl DropIn {
    async fn start(interface: &str, spawned: Spawned) -> anyhow::Result<Self> {
        let signals = Signals::new()?;
        let lanes = lanes_for_this_machine();
        let netlink = Netlink::connect()?;
        let tun = open(interface, lanes, &netlink).await?;
        let routes = RouteMonitor::open(tun.ifindex())?;
        // The kernel has chosen if "%d" was asked for (U12).
        let interface = tun.name().to_owned();
        let watch = InterfaceWatch::of(&tun).await?;
        let (socket, file) = match inherited::file("WG_UAPI_FD").context("WG_UAPI_FD")? {
            Some(file) => UapiSocket::adopt(file, &interface)?,
            None => UapiSocket::open(&interface)?,
        };
        // Any port; the sockets are closed until the interface is up, but their number is known.
        let port = Port::new(UdpConfig::default(), weapon_io::tun::Device::queues(&tun));
        let sockets = port.open()?;
        port.forget();
        let (store, timestamp_mark) = store(&interface);
        let (tell, engine_events) = teller();
        let rebind = port.clone();
        let parts = Parts {
            open: Box::new(move || rebind.open()),
            store,
            tell,
            tell_flows: Box::new(drop),
        };
        // Without a key and without peers.
        let begin = Begin {
            private_key: None,
            mtu: watch.state().mtu,
            addresses: Vec::new(),
            mappings: Vec::new(),
            policy: None,
            services: Services::default(),
            timestamp_mark,
            up: watch.state().up,
            is_recorded: false,
            flows: None,
            danger_export_keys: None,
            peers: GatewayChange::default(),
        };
        let (engine, _) = spawned.begin(begin, tun, sockets, parts)?;
        let (sender, calls) = mpsc::channel(CALLS_MAX);
        Ok(Self {
            engine,
            port,
            watch,
            routes,
            netlink,
            signals,
            engine_events,
            calls,
            uapi: tokio::spawn(uapi::serve(socket, sender)),
            _uapi_file: file,
        })
    }

    async fn set_mtus(&self) {
        self.engine.set_mtus(self.watch.mtus(&self.netlink).await);
    }

    async fn serve(&mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                signal = self.signals.next() => match signal {
                    Signal::Stop(by) => {
                        tracing::info!(by, "stopping");
                        break;
                    }
                    // There is no file.
                    Signal::Reload => tracing::debug!("SIGHUP is ignored"),
                },
                event = self.engine_events.recv() => match event {
                    Some(Event::Unanswered { .. } | Event::Happened(_)) => {}
                    Some(Event::DeviceGone) => break,
                    Some(Event::Failed(reason)) => {
                        anyhow::bail!("the gateway could not go on: {reason}");
                    }
                    None => anyhow::bail!("the engine ended"),
                },
                event = self.watch.next() => match event {
                    Some(LinkEvent::Deleted) => break,
                    Some(LinkEvent::Up(up)) => {
                        self.engine.set_up(up);
                        self.set_mtus().await;
                    }
                    Some(LinkEvent::Mtu(_)) => self.set_mtus().await,
                    Some(LinkEvent::Renamed(name)) => tracing::warn!(name, "renamed"),
                    None => anyhow::bail!("the interface is out of sight"),
                },
                change = self.routes.changed() => {
                    if change.through_interface {
                        self.set_mtus().await;
                    }
                }
                Some(call) = self.calls.recv() => {
                    let answer = uapi::answer(call.request, &self.engine, &self.port);
                    // A client that has gone needs no answer.
                    let _ = call.answer.send(answer);
                }
                _ = &mut self.uapi => {
                    tracing::info!("the socket was removed; stopping");
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The device that was given, or a new one, down and without addresses.
async fn open(interface: &str, lanes: usize, netlink: &Netlink) -> anyhow::Result<Tun> {
    let offloads = Offloads {
        tcp: true,
        udp: true,
    };
    if let Some(file) = inherited::file("WG_TUN_FD").context("WG_TUN_FD")? {
        return Ok(Tun::adopt(file, offloads)?);
    }
    let tun = Tun::open(&TunConfig {
        name: interface.to_owned(),
        mtu: MTU_DEFAULT,
        offloads,
        queues: lanes,
    })?;
    interface::prepare(tun.ifindex(), netlink).await?;
    Ok(tun)
}

/// As `weapon up` confines its gateway; there is no file that could say something else, but
/// `WEAPON_SANDBOX`.
fn confinement(interface: &str) -> anyhow::Result<Wanted> {
    let sandbox = match env::var("WEAPON_SANDBOX").as_deref() {
        Err(_) | Ok("required") => Sandbox::Required,
        Ok("if-possible") => Sandbox::IfPossible,
        Ok("off") => Sandbox::Off,
        Ok(_) => anyhow::bail!("WEAPON_SANDBOX is `required`, `if-possible` or `off`"),
    };
    Ok(Wanted {
        name: interface.to_owned(),
        user: User::find(None)?,
        sandbox,
        cipher: CipherBackend::Auto,
    })
}

/// Unlike `weapon up` we run without a folder to write to as well, as wireguard-go does: in a
/// container that has none, say.
fn store(interface: &str) -> (Box<dyn TimestampStore + Send>, Option<Tai64n>) {
    let places = Places::of(interface);
    let path = places.timestamp();
    let probed =
        std::fs::create_dir_all(places.state()).and_then(|()| timestamp_file::probe(&path));
    match probed {
        Ok(()) => {
            let (file, mark) = TimestampFile::open(path);
            (Box::new(file), mark)
        }
        Err(error) => {
            tracing::warn!(
                path = %path.display(),
                %error,
                "timestamps are not kept: after a restart with a clock that went back, peers will \
                 not listen to us until it has caught up"
            );
            (Box::new(Unkept), None)
        }
    }
}
