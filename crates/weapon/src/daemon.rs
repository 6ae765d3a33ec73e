//! The running gateway: what `weapon up` starts, from a good configuration to the last undone step.

use std::{collections::BTreeMap, future::ready, io, time::Duration};

use anyhow::Context as _;
use tokio::{runtime::Runtime, sync::mpsc, time::Instant};
use weapon_core::PeerStatus;
use weapon_engine::EngineStatus;
use weapon_engine::Event;
use weapon_io::{
    netlink::{LinkEvent, Netlink, RouteMonitor},
    udp::Udp,
};
use weapon_noise::PublicKey;

use crate::{
    api::{self, Answer, Call, Request},
    audit::{self, Audit},
    capture::{Capture, Captures},
    claim::Claim,
    config::Config,
    confined::{GatewayProcess, Spawned, teller},
    interface::Fittings,
    key_log::KeyFile,
    places::Places,
    port::Port,
    privileges,
    rates::RateMeter,
    report::{Cipher, Facts, Report, seconds_now},
    resolver::{self, LookUps, Resolved},
    signals::{Signal, Signals},
    site::{Entry, SiteWatch},
    system::Keeper,
    timestamp_file::TimestampFile,
    uapi::{self, UapiFile},
    warnings,
    watch::InterfaceWatch,
};

mod names;
mod system;
use system::Ground;
pub use system::device_steps;

mod start;
pub use start::cipher;
use start::{engine_end, facts, open_port, serve, serve_wg};

mod site;

mod metrics;
use metrics::Telling;

mod supervisor;
use supervisor::Supervisor;

mod recording;

mod asking;

mod reloading;
use reloading::{WayBack, until};

/// Lanes that `lanes = "auto"` starts at most. One carries some Gbit/s; more than eight were never
/// measured.
const LANES_AUTO_MAX: usize = 8;

/// Descriptors that the runtime opens for itself, with some to spare. It panics where it gets none.
const DESCRIPTORS_OF_RUNTIME: usize = 8;

/// Runs the gateway until it is told to stop or its interface is deleted. `ready` is called when
/// all is up. If `confirm` is given, it stops after that time unless somebody confirms.
///
/// # Errors
/// The gateway could not start, or could not go on; whatever it made is undone.
pub fn run(
    config: Config,
    confirm: Option<Duration>,
    ready: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // It gives up more than we do, and needs all for that.
    let spawned = Spawned::start(&start::confinement(&config)?)?;
    privileges::reduce()?;
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let mut daemon = Daemon::start(config, spawned).await?;
        daemon.way_back = confirm.map(|time| WayBack {
            at: Instant::now() + time,
            to: None,
        });
        daemon.run(ready).await
    });
    // A name look-up that hangs does not hold us up.
    runtime.shutdown_background();
    result
}

/// What a gateway's own tasks run on; an error where the system gives too few descriptors for it.
pub fn runtime() -> anyhow::Result<Runtime> {
    let open = |_| std::fs::File::open("/dev/null");
    let spare: io::Result<Vec<_>> = (0..DESCRIPTORS_OF_RUNTIME).map(open).collect();
    let spare = spare.context("this process may open too few files (ulimit -n, LimitNOFILE)")?;
    drop(spare);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    Ok(builder.enable_all().build()?)
}

/// Half of the processors, but not more than [`LANES_AUTO_MAX`]: a busy lane fills one, and whoever
/// sends and receives needs some too.
pub fn lanes_for_this_machine() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).clamp(1, LANES_AUTO_MAX)
}

/// Everything that is undone by being dropped, in the order of the fields.
struct Daemon {
    engine: GatewayProcess,
    /// What the gateway was started with, or changed to.
    config: Config,
    /// What comes back if nobody confirms what is now.
    way_back: Option<WayBack>,
    facts: Facts,
    rates: RateMeter,
    port: Port,
    watch: InterfaceWatch,
    routes: RouteMonitor,
    netlink: Netlink,
    site_watch: SiteWatch,
    /// What the file's entries stand for now: what lies behind us.
    entries: Vec<Entry>,
    /// By which interface the host's routes led to each peer when they last changed.
    ways: BTreeMap<PublicKey, u32>,
    /// Peers whose ways are still to be looked up, since the routes have changed.
    unchecked: Vec<PeerStatus>,
    fittings: Fittings,
    /// After the engine: what the rules forbid stays forbidden as long as packets can come.
    keeper: Keeper,
    signals: Signals,
    supervisor: Supervisor,
    engine_events: mpsc::Receiver<Event>,
    calls: mpsc::Receiver<Call>,
    telling: Telling,
    captures: Captures,
    uapi_calls: mpsc::Receiver<uapi::Call>,
    _uapi_file: Option<UapiFile>,
    look_ups: LookUps,
    resolved: mpsc::Receiver<Resolved>,
    /// Whether the gateway lets nothing new begin.
    denies_new: bool,
    /// That it has stopped is recorded when all else is undone.
    audit: Option<Audit>,
    /// Last: the gateway's name is free when all else is gone.
    _claim: Claim,
}

/// Why the gateway stops.
enum End {
    Asked(&'static str),
    Deleted,
    Failed(String),
}

impl Daemon {
    async fn start(mut config: Config, spawned: Spawned) -> anyhow::Result<Self> {
        let signals = Signals::new()?;
        let places = Places::of(&config.name);
        let claim = {
            let what = (&*config.interface, spawned.id());
            Claim::take(&places, what, &config.source.path)?
        };
        let audit = Audit::open(&config)?;
        let key_file = KeyFile::open(&config)?;
        let lanes = config.lanes.unwrap_or_else(lanes_for_this_machine);
        let (supervisor, mut kept) = Supervisor::of_environment();
        let (port, sockets) = open_port(&config, lanes, std::mem::take(&mut kept.sockets))?;
        let udp = sockets.lanes.first().map(Udp::facts);
        let netlink = Netlink::connect()?;
        let ground = Ground::make(&config, &places, (lanes, &port), &netlink).await?;
        let tun = ground.tun;
        let watch = InterfaceWatch::of(&tun).await?;
        let routes = RouteMonitor::open(tun.ifindex())?;
        let telling = Telling::open(&config)?;
        let listener = api::listen(&places)?;
        let (uapi_file, uapi_calls) = serve_wg(&config.interface);

        let (store, timestamp_mark) = TimestampFile::open(places.timestamp());
        let unresolved = resolver::unresolved(&config.peers);
        let (tell, engine_events) = teller();
        let log = recording::begin(audit.as_ref(), &config);
        let mtu = watch.state().mtu;
        let begin = start::begin(&config, mtu, log.as_ref(), timestamp_mark, key_file)?;
        let denies_new = begin.flows.is_some_and(|flows| flows.denies_new);
        let parts = start::parts(&port, store, tell, log);
        let (engine, cipher) = spawned.begin(begin, tun, sockets, parts)?;
        if let Some(audit) = &audit {
            audit.confined(&engine.privileges()?);
        }
        let facts = facts(&config, &unresolved, udp, cipher);
        engine.change(kept.greetings(&config));
        // It may be read again, and by then the process is in another folder.
        config.source.path = std::path::absolute(&config.source.path)?;
        let (look_ups, resolved) = names::look_up(unresolved, &config, &port);
        Ok(Self {
            engine,
            config,
            way_back: None,
            facts,
            rates: RateMeter::default(),
            port,
            watch,
            routes,
            netlink,
            site_watch: ground.site_watch,
            entries: ground.entries,
            ways: BTreeMap::new(),
            unchecked: Vec::new(),
            fittings: ground.fittings,
            keeper: ground.keeper,
            signals,
            supervisor,
            engine_events,
            calls: serve(listener),
            telling,
            captures: Captures::default(),
            uapi_calls,
            _uapi_file: uapi_file,
            look_ups,
            resolved,
            denies_new,
            audit,
            _claim: claim,
        })
    }

    async fn run(mut self, ready: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let Facts {
            name,
            interface,
            listen_port,
            cipher: Cipher { backend, reason },
            ..
        } = &self.facts;
        tracing::info!(cipher = backend, why_not_faster = reason, "chosen");
        tracing::info!(gateway = name, interface, listen_port, "up");
        ready()?;
        self.tell_ready();
        let (end, asked_by) = self.serve().await;
        match &end {
            End::Asked(by) => tracing::info!(by, "stopping"),
            End::Deleted => tracing::info!("the interface was deleted; stopping"),
            End::Failed(reason) => tracing::error!(reason, "stopping"),
        }
        self.record_end(&end);
        self.supervisor.stopping();
        if matches!(end, End::Asked(_)) {
            self.hand_over();
        }
        // All is undone here, before a waiting `weapon down` hears the end of its connection.
        drop(self);
        drop(asked_by);
        match end {
            End::Asked(_) | End::Deleted => Ok(()),
            End::Failed(reason) => anyhow::bail!("the gateway could not go on: {reason}"),
        }
    }

    /// Serves whoever comes until it is time to stop.
    async fn serve(&mut self) -> (End, Option<Call>) {
        loop {
            tokio::select! {
                signal = self.signals.next() => match signal {
                    Signal::Stop(by) => return (End::Asked(by), None),
                    Signal::Reload => {
                        self.supervisor.reloading();
                        self.reload_by_signal().await;
                        self.tell_ready();
                    }
                },
                () = self.supervisor.meal() => self.feed_watchdog(),
                () = until(self.way_back.as_ref()) => {
                    if let Some(end) = self.go_back().await {
                        return (end, None);
                    }
                }
                event = self.engine_events.recv() => {
                    if let Some(end) = self.engine_event(event) {
                        return (end, None);
                    }
                }
                event = self.watch.next() => {
                    if let Some(end) = self.link_event(event).await {
                        return (end, None);
                    }
                }
                // One peer at a time, so that with thousands of them nobody else waits; and all of
                // them before the next change counts, so that each has its turn.
                change = self.routes.changed(), if self.unchecked.is_empty() => {
                    self.list_sources();
                    if change.addresses || self.config.takes_all() {
                        self.follow_connected().await;
                    }
                    if change.policies {
                        self.keeper.policies_changed();
                    }
                    if change.through_interface {
                        self.engine.set_mtus(self.watch.mtus(&self.netlink).await);
                    }
                }
                () = self.keeper.disturbed() => self.keeper.repair(),
                entries = self.site_watch.changed() => self.take_entries(entries),
                () = ready(()), if !self.unchecked.is_empty() => self.check_source().await,
                Some(resolved) = self.resolved.recv() => self.resolved(resolved),
                Some(call) = self.calls.recv() => {
                    if let Some(ended) = self.answer(call).await {
                        return ended;
                    }
                }
                Some(question) = self.telling.asked() => self.tell(question),
                Some(call) = self.uapi_calls.recv() => self.answer_uapi(call),
                () = audit::turned(self.audit.as_ref(), self.denies_new) => self.turn(),
                () = audit::due(self.audit.as_ref()) => self.tell_untold(),
                reason = audit::stopped(self.audit.as_ref()) => {
                    return (Self::log_failed(&reason), None);
                }
            }
        }
    }

    /// The routes have changed: the peers that are answered from an address of their choice are
    /// to be looked at.
    fn list_sources(&mut self) {
        if let Ok(status) = self.engine.status() {
            let peers = status.gateway.peers.into_iter();
            self.unchecked = peers.filter(|peer| peer.source.is_some()).collect();
        }
    }

    /// Looks at one of them. A peer is answered from the address that it has sent to, through that
    /// interface, but only as long as the host's routes lead there that way: sticky, not too sticky
    /// (P79).
    async fn check_source(&mut self) {
        let Some(peer) = self.unchecked.pop() else {
            return;
        };
        let (Some(endpoint), Some(source)) = (peer.endpoint, peer.source) else {
            return;
        };
        let path = self
            .netlink
            .path_to(endpoint.ip(), Some(source.address), self.port.fwmark())
            .await;
        tracing::debug!(peer = peer.name, ?source, ?path, "routes have changed");
        // No path: the address is ours no longer, or leads nowhere.
        let way = path.map_or(0, |path| path.interface);
        // The way out may never have been the way in; only its change is of interest.
        let before = self.ways.insert(peer.public_key, way);
        if before.unwrap_or(source.interface) != way {
            self.engine.clear_source(peer.public_key);
        }
    }

    /// Answers a call of the local API; the end, if it asked for that.
    async fn answer(&mut self, call: Call) -> Option<(End, Option<Call>)> {
        let answer = match &call.request {
            Request::Down => {
                self.keeper.lift_at_end();
                let _ = call.answer.send(Answer::Stopping);
                // The answer is on its way before the connection can end.
                tokio::time::sleep(Duration::from_millis(1)).await;
                return Some((End::Asked("weapon down"), None));
            }
            Request::Status => self.status(),
            Request::Reload(reload) => {
                let confirm = reload.confirm_seconds.map(Duration::from_secs);
                self.supervisor.reloading();
                let answer = self.reload(&reload.path, confirm).await;
                self.tell_ready();
                answer.unwrap_or_else(|error| Answer::Error(format!("{error:#}")))
            }
            Request::Confirm => self.confirm(),
            Request::System => self.system().await,
            Request::Capture(wanted) => self.capture(wanted),
            Request::EndCapture(end) => match self.captures.end(end.capture) {
                Ok(()) => Answer::CaptureEnds,
                Err(error) => Answer::Error(format!("{error:#}")),
            },
            Request::Why(query) => self.why(query).unwrap_or_else(Answer::Error),
            Request::Drops => self.drops(),
            Request::Flows(query) => match self.engine.flows(query) {
                Ok(report) => Answer::Flows(report),
                Err(error) => Answer::Error(error.to_string()),
            },
        };
        // A client that has gone needs no answer.
        let _ = call.answer.send(answer);
        None
    }

    fn status(&mut self) -> Answer {
        match self.engine.status() {
            Ok(status) => {
                let mut report = self.report(status);
                self.rates.complete(&mut report, std::time::Instant::now());
                report.warnings = warnings::of(&report, self.config.offload, seconds_now());
                Answer::Status(Box::new(report))
            }
            Err(error) => Answer::Error(error.to_string()),
        }
    }

    /// What the gateway is like, but for rates and warnings.
    fn report(&self, status: EngineStatus) -> Report {
        Report {
            audit: self.audit_report(),
            ..Report::new(&self.facts_now(), status)
        }
    }

    fn capture(&mut self, wanted: &Capture) -> Answer {
        let begun = self.captures.begin(wanted, &self.config.name, &self.engine);
        match begun {
            Ok(stream) => Answer::Capturing(Box::new(stream)),
            Err(error) => Answer::Error(format!("{error:#}")),
        }
    }

    /// What the engine does not know.
    fn facts_now(&self) -> Facts {
        Facts {
            listen_port: self.port.number(),
            fwmark: self.port.fwmark(),
            networks: site::report(&self.entries),
            gateway_process: self.engine.privileges().unwrap_or_default(),
            ..self.facts.clone()
        }
    }

    async fn link_event(&mut self, event: Option<LinkEvent>) -> Option<End> {
        match event {
            Some(LinkEvent::Deleted) => return Some(End::Deleted),
            Some(LinkEvent::Up(up)) => {
                if let Some(index) = self.watch.index().filter(|_| up) {
                    self.fittings.restore(index, &self.netlink).await;
                }
                self.engine.set_up(up);
                // IPv4 routes go with the interface, and nobody is told.
                self.engine.set_mtus(self.watch.mtus(&self.netlink).await);
            }
            Some(LinkEvent::Mtu(_)) => self.engine.set_mtus(self.watch.mtus(&self.netlink).await),
            Some(LinkEvent::Renamed(name)) => {
                tracing::warn!(name, "the interface was renamed");
                self.follow_system();
            }
            None => return Some(End::Failed("the link monitor ended".into())),
        }
        None
    }
}
