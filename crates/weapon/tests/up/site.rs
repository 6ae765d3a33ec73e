//! A site: a network namespace, and a folder with the files of a gateway.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use weapon_io::namespace::Namespace;
use weapon_io::netlink;

const PRIVATE: &str = "oGw7CM7pELBGdCtSj2n40oY1vVSu3hssLbYcxonUZUk=";
const PEER: &str = "00HRU2O8QiyBKLgcDqXJA0uwY9w0irMMyGkYu4ohtFQ=";

/// How long a gateway may take to come up, or to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A namespace with its loopback up, and a folder with `site.toml`, a good file, and its key.
pub(crate) struct Site {
    pub(crate) namespace: Namespace,
    pub(crate) folder: TempDir,
}

/// What a command says and how it ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Everything that a gateway could have left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    links: BTreeSet<String>,
    addresses: BTreeSet<String>,
    routes: BTreeSet<String>,
    ports: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Site {
    /// `None`, with the reason printed, where there can be none; fails in CI.
    #[allow(clippy::print_stdout, reason = "says why a test did not run")]
    pub(crate) fn new() -> Option<Self> {
        let root = rustix::process::geteuid().is_root();
        let namespace = match Namespace::new() {
            Ok(namespace) if root => namespace,
            other => {
                let reason = format!("root is needed: {:?}", other.err());
                let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
                assert!(!in_ci, "{reason}");
                println!("skipped: {reason}");
                return None;
            }
        };
        let site = Self {
            namespace,
            folder: tempfile::tempdir().unwrap(),
        };
        for part in ["run", "state"] {
            fs::create_dir(site.path(part)).unwrap();
        }
        site.write("site.key", PRIVATE);
        site.write("site.toml", &config(""));
        site.netlink(async |netlink| netlink.set_up(1).await);
        Some(site)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that others cannot read.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }

    /// `weapon`, to be run in the site's folder. It lives in the namespace of the thread that
    /// starts it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weapon"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("CONFIGURATION_DIRECTORY", self.folder.path())
            .env("RUNTIME_DIRECTORY", self.path("run"))
            .env("STATE_DIRECTORY", self.path("state"))
            .env("NO_COLOR", "1")
            .env_remove("WEAPON_LOG_LEVEL")
            .stdin(Stdio::null());
        command
    }

    /// Runs `weapon` in the site, to its end.
    pub(crate) fn weapon(&self, arguments: &[&str]) -> Said {
        self.run(&mut self.command(arguments))
    }

    pub(crate) fn run(&self, command: &mut Command) -> Said {
        let output = self.namespace.enter(|| command.output()).unwrap();
        output.unwrap().into()
    }

    /// Asks the kernel something in the site.
    pub(crate) fn netlink<T: Send>(
        &self,
        ask: impl AsyncFnOnce(&netlink::Netlink) -> Result<T, netlink::NetlinkError> + Send,
    ) -> T {
        let answer = self.namespace.enter(|| netlink::block_on(ask)).unwrap();
        answer.unwrap()
    }

    /// Interfaces called `name` and `peer`, joined and up. The index of the first.
    pub(crate) fn add_link_pair(&self, name: &str, peer: &str) -> u32 {
        self.netlink(async |netlink| {
            netlink.add_veth(name, peer).await?;
            let peer = netlink.link(peer).await?.index;
            netlink.set_up(peer).await?;
            let index = netlink.link(name).await?.index;
            netlink.set_up(index).await?;
            Ok(index)
        })
    }

    /// What there is in the site now.
    pub(crate) fn traces(&self) -> Traces {
        self.namespace.enter(|| self.traces_here()).unwrap()
    }

    /// What there is in the namespace of this thread, and in the folder.
    pub(crate) fn traces_here(&self) -> Traces {
        let (links, addresses, routes) = netlink::block_on(async |netlink| {
            let links = netlink.links().await?;
            let addresses = netlink.connected_networks().await?;
            Ok((links, addresses, netlink.all_routes().await?))
        })
        .unwrap();
        let mut files = BTreeSet::new();
        for folder in ["run", "state"] {
            for entry in fs::read_dir(self.path(folder)).unwrap() {
                let entry = entry.unwrap();
                files.insert(format!("{folder}/{}", entry.file_name().display()));
            }
        }
        let sockets = |file: &str| {
            let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
            let locals = text.lines().skip(1).map(|line| {
                let local = line.split_whitespace().nth(1).unwrap();
                format!("{file} {local}")
            });
            locals.collect::<Vec<_>>()
        };
        Traces {
            links: links
                .iter()
                .map(|link| format!("{} up={} mtu={}", link.name, link.up, link.mtu))
                .collect(),
            addresses: shown(&addresses),
            routes: shown(&routes),
            ports: ["udp", "udp6"].into_iter().flat_map(sockets).collect(),
            files,
        }
    }

    /// `weapon up site.toml` is refused with `code` and `message`, in the foreground as in the
    /// background, and leaves everything as it was.
    #[track_caller]
    pub(crate) fn refuses(&self, code: i32, message: &str) {
        for arguments in [
            &["up", "site.toml", "--foreground"][..],
            &["up", "site.toml"],
        ] {
            let before = self.traces();
            let said = self.weapon(arguments);
            assert_eq!(said.stderr, message, "{arguments:?}");
            assert_eq!(
                (said.code, &*said.stdout),
                (Some(code), ""),
                "{arguments:?}"
            );
            assert_eq!(self.traces(), before, "{arguments:?} left something behind");
        }
    }

    /// Starts `weapon up site.toml --foreground` and waits until it is up.
    #[track_caller]
    pub(crate) fn up(&self) -> Foreground {
        let mut gateway = Foreground {
            log: self.path("log"),
            child: self.spawn(&["up", "site.toml", "--foreground"]),
        };
        gateway.until("it is up", |log| log.contains(" up gateway=\"site\""));
        gateway
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let log = File::create(self.path("log")).unwrap();
        let mut command = self.command(arguments);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.namespace.enter(|| command.spawn()).unwrap().unwrap()
    }

    /// `weapon status site --json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let said = self.weapon(&["status", "site", "--json"]);
        assert_eq!((said.code, &*said.stderr), (Some(0), ""));
        serde_json::from_str(&said.stdout).unwrap()
    }
}

impl Drop for Site {
    /// Kills the gateways that were started in the background.
    fn drop(&mut self) {
        for entry in fs::read_dir(self.path("run")).unwrap() {
            let claim = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
            let claim: Value = serde_json::from_str(&claim).unwrap_or_default();
            let pid = claim["pid"]
                .as_i64()
                .and_then(|pid| i32::try_from(pid).ok());
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// All but what IPv6 gives each interface by itself, some time after it is up.
fn shown<T: std::fmt::Debug>(list: &[T]) -> BTreeSet<String> {
    let all = list.iter().map(|it| format!("{it:?}"));
    all.filter(|text| !text.contains("fe80::") && !text.contains("ff00::"))
        .collect()
}

/// A good file, with `more` in the gateway's section, in line 5 and those that follow.
pub(crate) fn config(more: &str) -> String {
    format!(
        "[gateway]\nprivate_key_file = \"site.key\"\nlisten = 51820\n\
         address = [\"10.99.0.1/24\", \"fd99::1/64\"]\n{more}[[peer]]\nname = \"far\"\n\
         public_key = \"{PEER}\"\nnetworks = [\"10.98.0.0/16\", \"fd98::/64\"]\n"
    )
}

/// A gateway that runs as a child of the test.
pub(crate) struct Foreground {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Foreground {
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log is as wanted.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut wanted: impl FnMut(&str) -> bool) {
        let start = Instant::now();
        while !wanted(&self.log()) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{what}: ended with {ended:?}\n{}",
                self.log()
            );
            assert!(
                start.elapsed() < PATIENCE,
                "not yet: {what}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut question: impl FnMut() -> bool) {
    let start = Instant::now();
    while !question() {
        assert!(start.elapsed() < PATIENCE, "not yet: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
