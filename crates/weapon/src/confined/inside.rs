//! The gateway's process: gives up everything, and then does what it is commanded.

use std::{
    env,
    ffi::CString,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, bail};
use tracing::level_filters::LevelFilter;
use weapon_core::{
    Gateway, GatewayChange, GatewayConfig, NetworkChange, PeerChange, PeerConfig, TimestampStore,
};
use weapon_engine::{Engine, EngineConfig};
use weapon_io::{
    memory, signals,
    tun::Tun,
    udp::{Files, Sockets, Udp},
};
use weapon_noise::{Backend, PrivateKey, Tai64n};

use super::{
    link::{Link, LinkError},
    message::{Answer, BeginMessage, COMMAND_BOUNDS, Command, Layout, Reply, Request},
    sandbox,
};
use crate::{
    capture::taking,
    cli,
    daemon::cipher,
    drops,
    flows::{self, FilterCounts, Telling},
    key_log::KeyWriter,
    report::Cipher,
};

/// Set for the gateway's process; its standard input is the link then.
const MARK: &str = "WEAPON_GATEWAY_PROCESS";

/// The variable that makes a process a gateway's.
pub(super) const ENVIRONMENT: (&str, &str) = (MARK, "1");

/// What its process is called.
pub const GATEWAY: &str = "weapon-gateway";

/// Whether this process was started to be a gateway's.
pub fn is_gateway() -> bool {
    env::var_os(MARK).is_some_and(|value| value == ENVIRONMENT.1)
}

/// Runs until the helper lets go of the link.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(error, "the gateway's process ends");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    // Else it would be called after the link by which it was found.
    if let Ok(name) = CString::new(GATEWAY) {
        let _ = rustix::thread::set_name(&name);
    }
    // Whoever means the gateway as a whole tells its helper.
    signals::ignore_ends().context("signals can't be ignored")?;
    let link = io::stdin().as_fd().try_clone_to_owned();
    let link = Link::from(link.context("there is no helper")?);
    let Some((backend, cipher)) = confine(&link)? else {
        return Ok(());
    };
    let Some((engine, telling)) = begin(&link, backend, cipher)? else {
        return Ok(());
    };
    let result = obey(&link, &engine);
    drop(engine);
    if let Some(telling) = telling {
        telling.end();
    }
    result
}

fn next(link: &Link) -> anyhow::Result<Option<(Command, Vec<OwnedFd>)>> {
    match link.receive(COMMAND_BOUNDS) {
        Ok(command) => Ok(Some(command)),
        Err(LinkError::Ended) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn answer(link: &Link, answer: &Answer) -> anyhow::Result<()> {
    link.send(answer, &[]).context("the helper does not listen")
}

/// The first command. Nothing is returned if there is none.
fn confine(link: &Link) -> anyhow::Result<Option<(Backend, Cipher)>> {
    let confinement = match next(link)? {
        Some((Command::Confine(confinement), _)) => confinement,
        Some(_) => bail!("the first command is another"),
        None => return Ok(None),
    };
    let level = confinement.log_level.parse();
    cli::start_log_of(level.unwrap_or(LevelFilter::INFO), confinement.colour);
    // What it asks the kernel when it is found is not asked again.
    let found = cipher(confinement.cipher);
    // What we may do is for the helper to see, and no file can be opened afterwards.
    let status = File::open("/proc/self/status").context("/proc is not there")?;
    match sandbox::enter(&confinement) {
        Ok(held) => link.send(&Answer::Held(held), &[status.as_fd()])?,
        Err(error) => {
            answer(link, &Answer::Failed(format!("{error:#}")))?;
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// The second command.
fn begin(link: &Link, backend: Backend, cipher: Cipher) -> anyhow::Result<Option<Begun>> {
    let (message, files) = match next(link)? {
        Some((Command::Begin(message), files)) => (message, files),
        Some(_) => bail!("the second command is another"),
        None => return Ok(None),
    };
    match engine(*message, files, backend) {
        Ok(begun) => {
            // A message with many peers was long.
            memory::give_back();
            answer(link, &Answer::Begun(cipher))?;
            Ok(Some(begun))
        }
        Err(error) => {
            answer(link, &Answer::Failed(format!("{error:#}")))?;
            Ok(None)
        }
    }
}

/// What runs then.
type Begun = (Engine, Option<Telling>);

fn engine(
    message: BeginMessage,
    mut files: Vec<OwnedFd>,
    backend: Backend,
) -> anyhow::Result<Begun> {
    let short = "files are missing";
    let keys = message.exports_keys.map(|room| {
        let file = files.pop().context(short)?;
        anyhow::Ok(KeyWriter::new(file, room))
    });
    let mut sockets = files.split_off((1 + message.queues).min(files.len()));
    let queues = files.split_off(1.min(files.len()));
    let requests = Requests::of(files.pop().context(short)?);
    let tun = Tun::of_parts(message.tun, queues).context(short)?;
    let sockets = message.sockets.sockets(std::mem::take(&mut sockets));
    let sockets = match message.udp {
        Some(facts) => Sockets::<Udp>::of_parts(facts, sockets.context(short)?)?,
        None => Sockets::default(),
    };
    let key = message.private_key.as_ref().map(PrivateKey::from);
    let is_keyless = key.is_none();
    let mut gateway = Gateway::new(GatewayConfig {
        private_key: key.unwrap_or_else(|| PrivateKey::from_bytes(&[0; 32])),
        mtu: message.mtu,
        addresses: message.addresses,
        mappings: message.mappings,
        policy: message.policy,
        timestamp_mark: message.timestamp_mark,
        // There is one gateway in a process.
        cipher: Box::leak(Box::new(backend)),
    });
    // Before the first packet: what waits in the sockets may be of any of them.
    let peers = GatewayChange::from(message.peers).peers;
    if message.is_recorded {
        gateway.note_happenings();
    }
    gateway.set_services(&message.services);
    gateway.add_peers(peers.into_iter().map(peer));
    if let Some(keys) = keys.transpose()? {
        gateway.danger_export_keys(Box::new(keys));
    }
    let (rebind, store, flows) = (requests.clone(), requests.clone(), requests.clone());
    let config = EngineConfig {
        up: message.up,
        rebind: Box::new(move || rebind.open_sockets()),
        store: Box::new(store),
        on_event: Box::new(move |event| {
            // The helper has gone, and we are about to.
            let _ = requests.ask(&Request::Tell(event));
        }),
    };
    let engine = Engine::start(gateway, tun, sockets, config)?;
    if is_keyless {
        engine.change(GatewayChange {
            private_key: Some(None),
            ..GatewayChange::default()
        });
    }
    let telling = message.flows.map(|wanted| {
        // If the helper has gone, so have we in a moment.
        let tell = move |told| drop(flows.ask(&Request::TellFlows(told)));
        Telling::start(&engine, wanted, Box::new(tell))
    });
    Ok((engine, telling.transpose()?))
}

/// A peer that is there from the beginning.
fn peer(new: PeerChange) -> PeerConfig {
    let given = new
        .networks
        .into_iter()
        .filter_map(|network| match network {
            NetworkChange::Give(network) => Some(network),
            NetworkChange::Take(_) => None,
        });
    PeerConfig {
        preshared_key: new.preshared_key.flatten(),
        endpoint: new.endpoint,
        endpoint_pinned: new.endpoint_pinned.unwrap_or(false),
        networks: given.collect(),
        persistent_keepalive: new.persistent_keepalive.flatten(),
        name: new.name.unwrap_or_else(|| new.public_key.to_string()),
        public_key: new.public_key,
    }
}

/// All other commands, until the link ends.
fn obey(link: &Link, engine: &Engine) -> anyhow::Result<()> {
    while let Some((command, mut files)) = next(link)? {
        if let Command::Capture { gateway, wanted } = command {
            let file = files.pop().context("nowhere to write to")?;
            answer(link, &said(taking::begin(engine, &gateway, *wanted, file)))?;
            continue;
        }
        let said = match done(command, engine) {
            Done::Said(said) => said,
            Done::Files(Err(error)) => Answer::Failed(error.to_string()),
            Done::Files(Ok(sockets)) => {
                let (layout, files) = Layout::of(sockets);
                let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
                link.send(&Answer::Files(layout), &files)?;
                continue;
            }
        };
        answer(link, &said)?;
    }
    Ok(())
}

/// What comes of a command.
enum Done {
    Said(Answer),
    Files(io::Result<Sockets<Files>>),
}

fn done(command: Command, engine: &Engine) -> Done {
    Done::Said(match command {
        Command::Confine(_) | Command::Begin(_) => Answer::Failed("this was done".into()),
        Command::Status => match engine.status() {
            Ok(status) => Answer::Status(Box::new(status)),
            Err(error) => Answer::Failed(error.to_string()),
        },
        Command::Dump => match engine.dump() {
            Ok(dump) => Answer::Dump(Box::new(dump.into())),
            Err(error) => Answer::Failed(error.to_string()),
        },
        Command::SetMark(mark) => said(engine.set_mark(mark)),
        Command::Rebind => said(engine.rebind()),
        Command::Flows(query) => match flows::looked_up(engine, &query) {
            Ok(report) => Answer::Flows(Box::new(report)),
            Err(why) => Answer::Failed(why),
        },
        Command::Examine(hypothesis, from) => match engine.examine(hypothesis, from.as_deref()) {
            Ok(seen) => Answer::Examined(seen.map(Box::new)),
            Err(error) => Answer::Failed(error.to_string()),
        },
        Command::LatestDrops => Answer::Drops(Box::new(drops::latest(engine))),
        Command::Counts => {
            Answer::Counts(engine.threads(), engine.waiting(), FilterCounts::of(engine))
        }
        Command::HaveThreadsAnswered => Answer::Threads(engine.have_threads_answered()),
        Command::Files => return Done::Files(engine.files()),
        other => {
            tell(other, engine);
            Answer::Done
        }
    })
}

/// Commands that cannot fail.
fn tell(command: Command, engine: &Engine) {
    match command {
        Command::SetAddresses { peer, addresses } => engine.set_addresses(&peer, addresses),
        Command::ClearSource(peer) => engine.clear_source(peer),
        Command::SetMtus(mtus) => engine.set_mtus(mtus),
        Command::SetUp(up) => engine.set_up(up),
        Command::Change(change) => engine.change((*change).into()),
        Command::AskThreads => engine.ask_threads(),
        Command::DenyNew(denies) => engine.flow_events().deny_new(denies),
        _ => {}
    }
}

fn said(result: io::Result<()>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Failed(error.to_string()),
    }
}

/// The way to the helper, of whichever thread.
#[derive(Clone)]
struct Requests(Arc<Mutex<Link>>);

impl Requests {
    fn of(file: OwnedFd) -> Self {
        Self(Arc::new(Mutex::new(Link::from(file))))
    }

    fn ask(&self, request: &Request) -> io::Result<(Reply, Vec<OwnedFd>)> {
        let link = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        link.send(request, &[])?;
        link.receive(COMMAND_BOUNDS).map_err(io::Error::other)
    }

    fn open_sockets(&self) -> io::Result<Sockets<Udp>> {
        match self.ask(&Request::OpenSockets)? {
            (Reply::Opened(facts, layout), files) => {
                let sockets = layout.sockets(files).ok_or(io::ErrorKind::InvalidData)?;
                Sockets::<Udp>::of_parts(facts, sockets).map_err(io::Error::other)
            }
            (Reply::Refused(why), _) => Err(io::Error::other(why)),
            (Reply::Done, _) => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl TimestampStore for Requests {
    fn persist(&mut self, mark: Tai64n) -> bool {
        matches!(self.ask(&Request::Persist(mark)), Ok((Reply::Done, _)))
    }
}
