//! Two namespaces with a veth between them, which are gone again however the program ends.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use weapon_io::namespace::Namespace;

/// MTU of the link between the two hosts.
pub(crate) const UNDERLAY_MTU: u32 = 1500;
/// MTU of each tunnel.
pub(crate) const OVERLAY_MTU: u32 = 1420;
/// What each host calls its end of that link.
pub(crate) const UNDERLAY: &str = "under";

const PREFIX: &str = "weapon-bench-";

/// What must be undone: processes first, then namespaces.
static REGISTRY: Mutex<Registry> = Mutex::new(NOTHING);

const NOTHING: Registry = Registry {
    processes: vec![],
    namespaces: vec![],
    files: vec![],
};

/// What a shell reports of a program that Ctrl-C ended.
const EXIT_INTERRUPTED: u8 = 130;

/// Whether a signal asked us to end; what fails after that is no news.
static IS_INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The exit code if a signal asked us to end.
pub(crate) fn interrupted() -> Option<u8> {
    IS_INTERRUPTED
        .load(Ordering::SeqCst)
        .then_some(EXIT_INTERRUPTED)
}

struct Registry {
    processes: Vec<Pid>,
    namespaces: Vec<String>,
    files: Vec<PathBuf>,
}

impl Registry {
    /// Starts a process that will be undone. The registry is locked meanwhile, so whoever undoes
    /// finds the process, or has told before that nothing may be started any more.
    fn start(&mut self, command: &mut Command) -> Result<Child> {
        ensure!(interrupted().is_none(), "interrupted");
        let child = command
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        self.processes.push(Pid::from_child(&child));
        Ok(child)
    }
}

/// One of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that sends in the forward direction.
    A,
    /// The one that receives.
    B,
}

impl Side {
    /// Both, in order.
    pub(crate) const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// A letter, for names.
    pub(crate) fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }

    /// Its address on the link between the hosts.
    pub(crate) fn underlay(self) -> &'static str {
        match self {
            Self::A => "192.0.2.1",
            Self::B => "192.0.2.2",
        }
    }

    /// Its IPv6 address on the link between the hosts.
    pub(crate) fn underlay_ipv6(self) -> &'static str {
        match self {
            Self::A => "fd00:98::1",
            Self::B => "fd00:98::2",
        }
    }

    /// Its address in the tunnel.
    pub(crate) fn overlay(self) -> &'static str {
        match self {
            Self::A => "10.99.0.1",
            Self::B => "10.99.0.2",
        }
    }

    /// Its IPv6 address in the tunnel.
    pub(crate) fn overlay_ipv6(self) -> &'static str {
        match self {
            Self::A => "fd00:99::1",
            Self::B => "fd00:99::2",
        }
    }
}

/// The two hosts, and a folder for their files.
#[derive(Debug)]
pub(crate) struct Lab {
    folder: TempDir,
}

impl Lab {
    /// Builds it; what a killed run left behind is removed first.
    pub(crate) fn new() -> Result<Self> {
        remove_leftovers()?;
        let lab = Self {
            folder: tempfile::tempdir()?,
        };
        lab.remove_at_the_end(lab.folder().to_owned());
        for side in Side::BOTH {
            let name = namespace(side);
            run(Command::new("ip").args(["netns", "add", &name]))?;
            registry().namespaces.push(name);
        }
        let [a, b] = Side::BOTH.map(namespace);
        let mtu = UNDERLAY_MTU.to_string();
        run(Command::new("ip").args([
            "-n", &a, "link", "add", UNDERLAY, "mtu", &mtu, "type", "veth", "peer", "name",
            UNDERLAY, "mtu", &mtu, "netns", &b,
        ]))?;
        for side in Side::BOTH {
            let address = format!("{}/24", side.underlay());
            lab.ip(side, &["addr", "add", &address, "dev", UNDERLAY])?;
            let address = format!("{}/64", side.underlay_ipv6());
            lab.ip(side, &["addr", "add", &address, "dev", UNDERLAY, "nodad"])?;
            lab.ip(side, &["link", "set", UNDERLAY, "up"])?;
            lab.ip(side, &["link", "set", "lo", "up"])?;
        }
        Ok(lab)
    }

    /// A folder for files, removed at the end.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `ip` in a host.
    pub(crate) fn ip(&self, side: Side, arguments: &[&str]) -> Result<()> {
        run(Command::new("ip")
            .args(["-n", &namespace(side)])
            .args(arguments))
    }

    /// A command in a host; `ip netns exec` becomes it, so its process id is the command's.
    pub(crate) fn command(&self, side: Side, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &namespace(side)])
            .arg(program);
        command
    }

    /// The network namespace that is a host.
    pub(crate) fn namespace(&self, side: Side) -> Result<Namespace> {
        let path = Path::new("/run/netns").join(namespace(side));
        Namespace::open(&path).with_context(|| path.display().to_string())
    }

    /// Starts a process in a host that runs until it is dropped.
    pub(crate) fn start(&self, command: &mut Command) -> Result<Process> {
        let child = registry().start(command)?;
        let pid = Pid::from_child(&child);
        Ok(Process { child, pid })
    }

    /// Removes a file or folder at the end, whoever made it.
    pub(crate) fn remove_at_the_end(&self, file: PathBuf) {
        registry().files.push(file);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        undo();
    }
}

/// A running process of ours.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
}

impl Process {
    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        registry().processes.retain(|pid| *pid != self.pid);
        // A process that has ended and been waited for is no longer ours to signal.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _gone = rustix::process::kill_process(self.pid, Signal::TERM);
            for _ in 0..50 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _gone = self.child.kill();
            let _status = self.child.wait();
        }
    }
}

/// Runs a command to its end; its error output is in the error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let child = registry().start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let pid = Pid::from_child(&child);
    let output = child.wait_with_output();
    registry().processes.retain(|known| *known != pid);
    let output = output?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let words = [complaint.trim(), text.lines().last().unwrap_or_default()].join(" ");
        bail!("{command:?}: {}: {words}", output.status);
    }
    Ok(text)
}

/// Undoes everything on Ctrl-C, SIGTERM and panic; also where a panic aborts.
pub(crate) fn undo_on_signals_and_panics() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        undo();
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let (Ok(mut interrupt), Ok(mut terminate)) = (
                    signal(SignalKind::interrupt()),
                    signal(SignalKind::terminate()),
                ) else {
                    return;
                };
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                IS_INTERRUPTED.store(true, Ordering::SeqCst);
                undo();
                std::process::exit(EXIT_INTERRUPTED.into());
            });
        })?;
    Ok(())
}

fn undo() {
    // Whoever comes second waits: the program must not end before the first is done.
    static UNDOING: Mutex<()> = Mutex::new(());
    let _undoing = UNDOING.lock().unwrap_or_else(PoisonError::into_inner);
    let Registry {
        processes,
        namespaces,
        files,
    } = std::mem::replace(&mut *registry(), NOTHING);
    // Asked to end, they remove their sockets; some do not listen.
    for signal in [Signal::TERM, Signal::KILL] {
        for pid in &processes {
            let _gone = rustix::process::kill_process(*pid, signal);
        }
        if !processes.is_empty() {
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    for name in namespaces {
        let removed = Command::new("ip").args(["netns", "del", &name]).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("bench: the namespace {name} was not removed");
        }
    }
    for file in files {
        let removed = std::fs::remove_file(&file);
        let _removed_by_its_maker = removed.or_else(|_| std::fs::remove_dir_all(&file));
    }
}

fn registry() -> std::sync::MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

fn namespace(side: Side) -> String {
    format!("{PREFIX}{}-{}", std::process::id(), side.letter())
}

/// Removes the namespaces of runs whose process is gone.
fn remove_leftovers() -> Result<()> {
    let list = output(Command::new("ip").args(["netns", "list"]))?;
    for name in list.lines().filter_map(|line| line.split(' ').next()) {
        let Some((pid, _)) = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'))
        else {
            continue;
        };
        if !Path::new("/proc").join(pid).exists() {
            eprintln!("bench: removing {name}, left behind by a killed run");
            run(Command::new("ip").args(["netns", "del", name]))?;
        }
    }
    Ok(())
}
