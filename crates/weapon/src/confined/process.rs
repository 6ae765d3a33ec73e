//! The gateway's process, as its helper has it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, ChildStderr, Command as Program, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tracing::level_filters::LevelFilter;
use weapon_core::{GatewayChange, GatewayDump, Mtus};
use weapon_engine::{EngineStatus, Event, Stopped};
use weapon_io::{
    memory,
    tun::Tun,
    udp::{Files, Sockets, Udp, mark_all},
};
use weapon_noise::PublicKey;

use super::{
    ambient::Ambient,
    inside,
    link::{Link, LinkError},
    message::{Answer, Begin, BeginMessage, COMMAND_BOUNDS, Command, Confinement, Held, Layout},
    requests::{self, Parts},
    secret::Key,
    shown::Shown,
    user::User,
};
use crate::{
    capture::Capture,
    cli,
    config::{CipherBackend, Sandbox},
    key_log::KeyFile,
    report::{Cipher, GatewayPrivileges},
};

/// So long a command is waited for. Who does not answer by then never will.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// So long it may take to end by itself.
const END_TIME: Duration = Duration::from_secs(5);

/// Bytes of a line of its log.
const LINE_BYTES_MAX: u64 = 16 << 10;

/// To a command that is answered in one way alone.
const SOMETHING_ELSE: &str = "the gateway's process says something else";

/// This very program, even if another one is in its place by now.
const PROGRAM: &str = "/proc/self/exe";

/// What the gateway's process must be like.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The gateway's name.
    pub name: String,
    /// Whose process it becomes.
    pub user: Option<User>,
    /// How good its sandbox must be.
    pub sandbox: Sandbox,
    /// What seals and opens.
    pub cipher: CipherBackend,
}

/// A process that has given up everything, and waits for its work.
#[derive(Debug)]
pub struct Spawned {
    child: Child,
    link: Link,
    held: Held,
    /// Where the kernel shows what it may do.
    status: File,
}

impl Spawned {
    /// Starts it, and sees to it that it has given up everything. To be called with all privileges
    /// that are needed for that, while there is one thread: it dies with the thread that calls.
    ///
    /// # Errors
    /// It could not be started, or something was not given up.
    pub fn start(wanted: &Wanted) -> anyhow::Result<Self> {
        let (link, its_link) = Link::pair()?;
        let (variable, value) = inside::ENVIRONMENT;
        let given = Ambient::take_away()?;
        let child = Program::new(PROGRAM)
            .arg0(inside::GATEWAY)
            .arg(&wanted.name)
            // Nothing of what the helper was told is its business.
            .env_clear()
            .env(variable, value)
            .stdin(OwnedFd::from(its_link))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // What is typed at a terminal is for the helper.
            .process_group(0)
            .spawn()
            .context("cannot start the gateway's process");
        given.give_back()?;
        let child = child?;
        link.wait_at_most(ANSWER_TIME)?;
        match confine(&child, &link, wanted) {
            Ok((held, status)) => Ok(Self {
                child,
                link,
                held,
                status,
            }),
            Err(error) => {
                drop(link);
                say_last_words(child);
                Err(error)
            }
        }
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives it its work: from here on it carries packets.
    ///
    /// # Errors
    /// It cannot.
    pub fn begin(
        mut self,
        begin: Begin,
        tun: Tun,
        sockets: Sockets<Udp>,
        parts: Parts,
    ) -> anyhow::Result<(GatewayProcess, Cipher)> {
        let (requests, its_requests) = Link::pair()?;
        let (tun, queues) = tun.into_parts();
        let (udp, sockets) = sockets.into_parts();
        let (sockets, socket_files) = Layout::of(sockets);
        let mark = begin.timestamp_mark;
        let command = Command::Begin(Box::new(BeginMessage {
            private_key: begin.private_key.as_ref().map(Key::from),
            mtu: begin.mtu as usize,
            addresses: begin.addresses,
            mappings: begin.mappings,
            policy: begin.policy,
            services: begin.services,
            timestamp_mark: mark,
            up: begin.up,
            is_recorded: begin.is_recorded,
            flows: begin.flows,
            exports_keys: begin.danger_export_keys.as_ref().map(KeyFile::room),
            peers: begin.peers.into(),
            tun,
            queues: queues.len(),
            udp,
            sockets,
        }));
        let files = [its_requests.as_fd()].into_iter();
        let files = files.chain(queues.iter().chain(&socket_files).map(AsFd::as_fd));
        let files = files.chain(begin.danger_export_keys.iter().map(AsFd::as_fd));
        // Before it is answered: what it asks for at its start is not to wait for us.
        let stopping = Arc::new(AtomicBool::new(false));
        let stderr = self.child.stderr.take();
        let id = self.child.id();
        let ended = attend(self.child, stderr, (requests, parts, mark), &stopping)?;
        let begun = start(&self.link, &command, &files.collect::<Vec<_>>());
        // With many peers it was long.
        drop(command);
        memory::give_back();
        let process = GatewayProcess {
            link: self.link,
            held: self.held,
            status: self.status,
            id,
            stopping,
            ended,
        };
        match begun? {
            (Answer::Begun(cipher), _) => Ok((process, cipher)),
            _ => bail!("{SOMETHING_ELSE}"),
        }
    }
}

/// Has it give up everything, and looks whether it did.
fn confine(child: &Child, link: &Link, wanted: &Wanted) -> anyhow::Result<(Held, File)> {
    let user = wanted.user.as_ref();
    let command = Command::Confine(Confinement {
        user: user.map(|user| user.identity),
        must_become: user.is_some_and(|user| user.is_named),
        sandbox: wanted.sandbox,
        cipher: wanted.cipher,
        log_level: LevelFilter::current().to_string(),
        colour: cli::stderr_colour(),
    });
    let (Answer::Held(held), files) = start(link, &command, &[])? else {
        bail!("{SOMETHING_ELSE}");
    };
    let status = files.into_iter().next();
    // Not what it says counts, but what the kernel says of it.
    let status = File::from(status.context("the gateway's process does not show itself")?);
    let shown = Shown::of(child.id(), &status)?;
    let all = [
        (shown.capabilities.is_empty(), "has capabilities"),
        (shown.no_new, "could have new privileges"),
        (
            held.calls.is_none() || shown.is_filtered,
            "may make any call of the kernel",
        ),
    ];
    for (is_held, what) in all {
        ensure!(is_held, "the gateway's process {what}; it is not used");
    }
    Ok((held, status))
}

/// It ends; what it has said before is said.
fn say_last_words(mut child: Child) {
    // It has ended by itself.
    let _ = child.kill();
    if let Some(stderr) = child.stderr.take() {
        pass_on(stderr);
    }
    let _ = child.wait();
}

/// Starts the threads that listen to the process: to its log, and to its requests. What comes out
/// of the other end is how it ended.
fn attend(
    mut child: Child,
    stderr: Option<ChildStderr>,
    (requests, mut parts, mark): (Link, Parts, Option<weapon_noise::Tai64n>),
    stopping: &Arc<AtomicBool>,
) -> io::Result<mpsc::Receiver<ExitStatus>> {
    let (tell_ended, ended) = mpsc::channel();
    let log = stderr.map(|stderr| {
        let builder = thread::Builder::new().name("log".to_owned());
        builder.spawn(move || pass_on(stderr))
    });
    let log = log.transpose()?;
    let stopping = Arc::clone(stopping);
    let builder = thread::Builder::new().name("requests".to_owned());
    builder.spawn(move || {
        let why = requests::serve(&requests, &mut parts, mark);
        drop(requests);
        if let LinkError::Broken(error) = &why {
            tracing::error!(%error, "the gateway's process breaks the rules; it is ended");
            // It has ended by itself.
            let _ = child.kill();
        }
        let status = child.wait();
        // All that it has logged comes before what is said of its end.
        if let Some(log) = log {
            let _ = log.join();
        }
        if let Ok(status) = status {
            // Nobody waits for it if it came unasked.
            let _ = tell_ended.send(status);
            if !stopping.load(Ordering::Relaxed) {
                (parts.tell)(Event::Failed(how_it_ended(status)));
            }
        }
    })?;
    Ok(ended)
}

/// Passes on what the process logs, line by line.
fn pass_on(stderr: ChildStderr) {
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines
            .by_ref()
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => return,
            // Nobody reads ours.
            Ok(_) => drop(io::stderr().write_all(&line)),
        }
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    let signal = status.signal().and_then(Signal::from_named_raw);
    match signal {
        Some(Signal::SYS) => {
            "the gateway's process made a call of the kernel that it may not make (SIGSYS)".into()
        }
        _ => format!("the gateway's process has ended ({status})"),
    }
}

/// An answer, and the files that come with it.
type Given = (Answer, Vec<OwnedFd>);

/// Sends a command and waits for its answer.
fn ask(link: &Link, command: &Command, files: &[BorrowedFd<'_>]) -> Result<Given, LinkError> {
    link.send(command, files)?;
    link.receive(COMMAND_BOUNDS)
}

/// As [`ask`], of a process that has to do what it is told for there to be a gateway.
fn start(link: &Link, command: &Command, files: &[BorrowedFd<'_>]) -> anyhow::Result<Given> {
    match ask(link, command, files) {
        Ok((Answer::Failed(why), _)) => bail!("{why}"),
        Ok(given) => Ok(given),
        Err(error) => Err(error).context("the gateway's process does not begin"),
    }
}

/// A process that carries packets. Dropping it ends it: sessions are erased, device and sockets
/// closed. What is said of [`Engine`](weapon_engine::Engine) holds here.
#[derive(Debug)]
pub struct GatewayProcess {
    link: Link,
    held: Held,
    status: File,
    id: u32,
    stopping: Arc<AtomicBool>,
    ended: mpsc::Receiver<ExitStatus>,
}

impl GatewayProcess {
    fn ask(&self, command: &Command, files: &[BorrowedFd<'_>]) -> io::Result<Given> {
        let answered = ask(&self.link, command, files).map_err(|error| {
            if !matches!(error, LinkError::Ended) {
                tracing::error!(%error, "the gateway's process does not answer");
            }
            io::Error::other(Stopped)
        })?;
        match answered {
            (Answer::Failed(why), _) => Err(io::Error::other(why)),
            given => Ok(given),
        }
    }

    /// What `expected` makes of the answer; an answer to something else is as good as none.
    pub(super) fn get<T>(
        &self,
        command: &Command,
        expected: impl FnOnce(Given) -> Option<T>,
    ) -> io::Result<T> {
        let given = self.ask(command, &[])?;
        expected(given).ok_or_else(|| io::Error::other(Stopped))
    }

    fn done(&self, command: &Command) -> io::Result<()> {
        self.get(command, |given| {
            matches!(given, (Answer::Done, _)).then_some(())
        })
    }

    /// Of what cannot fail: a process that has ended has told so by its event.
    fn tell(&self, command: &Command) {
        let _ = self.ask(command, &[]);
    }

    /// What it may do, as the kernel has it at this moment.
    ///
    /// # Errors
    /// It has ended.
    pub fn privileges(&self) -> io::Result<GatewayPrivileges> {
        Ok(Shown::of(self.id, &self.status)?.privileges(self.id, self.held))
    }

    pub fn status(&self) -> Result<EngineStatus, Stopped> {
        let status = self.get(&Command::Status, |given| match given.0 {
            Answer::Status(status) => Some(*status),
            _ => None,
        });
        status.map_err(|_| Stopped)
    }

    pub fn set_addresses(&self, peer: &str, addresses: Vec<SocketAddr>) {
        let peer = peer.to_owned();
        self.tell(&Command::SetAddresses { peer, addresses });
    }

    pub fn clear_source(&self, peer: PublicKey) {
        self.tell(&Command::ClearSource(peer));
    }

    pub fn set_mtus(&self, mtus: Mtus) {
        self.tell(&Command::SetMtus(mtus));
    }

    pub fn set_up(&self, up: bool) {
        self.tell(&Command::SetUp(up));
    }

    pub fn change(&self, change: GatewayChange) {
        self.tell(&Command::Change(Box::new(change.into())));
    }

    pub fn dump(&self) -> Result<GatewayDump, Stopped> {
        let dump = self.get(&Command::Dump, |given| match given.0 {
            Answer::Dump(dump) => Some((*dump).into()),
            _ => None,
        });
        dump.map_err(|_| Stopped)
    }

    /// Marks what is sent: by us, as it may not.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        mark_all(self.files()?, mark)?;
        self.done(&Command::SetMark(mark))
    }

    pub fn rebind(&self) -> io::Result<()> {
        self.done(&Command::Rebind)
    }

    pub fn files(&self) -> io::Result<Sockets<Files>> {
        self.get(&Command::Files, |given| match given {
            (Answer::Files(layout), files) => layout.sockets(files),
            _ => None,
        })
    }

    /// Whether flows may begin from now on.
    pub fn deny_new(&self, denies: bool) {
        self.tell(&Command::DenyNew(denies));
    }

    /// Has packets written to `file` from now on.
    pub fn capture(&self, gateway: &str, wanted: &Capture, file: OwnedFd) -> io::Result<()> {
        let command = Command::Capture {
            gateway: gateway.to_owned(),
            wanted: Box::new(wanted.clone()),
        };
        self.ask(&command, &[file.as_fd()]).map(drop)
    }

    pub fn ask_threads(&self) {
        self.tell(&Command::AskThreads);
    }

    pub fn have_threads_answered(&self) -> bool {
        let answer = self.get(&Command::HaveThreadsAnswered, |given| match given.0 {
            Answer::Threads(have) => Some(have),
            _ => None,
        });
        answer.unwrap_or(false)
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        let process = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        // Before it is let go of: its number may be another's afterwards.
        let process = process.and_then(|id| pidfd_open(id, PidfdFlags::empty()).ok());
        self.link.close();
        if self.ended.recv_timeout(END_TIME) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::error!("the gateway's process does not end; it is ended");
            if let Some(process) = process {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
            let _ = self.ended.recv_timeout(END_TIME);
        }
    }
}
