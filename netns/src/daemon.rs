//! WireGuard of others in user space, configured with `wg`.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::lab::{Host, until};
use crate::plan::Plan;
use crate::process::Process;
use crate::weapon::{Home, PATIENCE};

/// Where they put their sockets, and `wg` looks for them: one folder for all namespaces.
const SOCKETS: &str = "/var/run/wireguard";

/// Whose daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// WireGuard's own, in Go, as Debian has it.
    WireguardGo,
    /// Cloudflare's, in Rust: `boringtun-cli` of crates.io.
    Boringtun,
    /// Mullvad's, in Rust: `gotatun-cli` of crates.io.
    Gotatun,
}

impl Make {
    /// Its program.
    pub fn program(self) -> &'static str {
        match self {
            Self::WireguardGo => "wireguard-go",
            Self::Boringtun => "boringtun-cli",
            Self::Gotatun => "gotatun",
        }
    }

    /// The program, told to stay in the foreground.
    fn command(self, host: &Host, interface: &str) -> Command {
        let mut command = host.command(self.program());
        match self {
            Self::WireguardGo => command.arg("-f").env("LOG_LEVEL", "verbose"),
            // They would become a user that may not open their sockets again.
            Self::Boringtun | Self::Gotatun => {
                command.args(["--foreground", "--disable-drop-privileges"])
            }
        };
        command.arg(interface);
        command
    }
}

/// A gateway: a process, and its interface.
#[derive(Debug)]
pub struct Daemon {
    /// Its interface.
    pub interface: String,
    host: Host,
    home: Rc<Home>,
    process: Process,
}

/// A name that no other interface on this machine has: the sockets share a folder.
pub fn unique_interface() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("wg{:x}x{count:x}", std::process::id())
}

impl Daemon {
    /// Starts it with the keys and peers of `plan`, then gives its interface addresses and routes.
    /// The interface's name is a new one, not the plan's.
    #[track_caller]
    pub fn start(make: Make, host: &Host, home: &Rc<Home>, plan: &Plan) -> Self {
        let interface = unique_interface();
        let log = home.path().join(format!("{interface}.log"));
        let mut command = make.command(host, &interface);
        let mut process = Process::start(make.program(), &mut command, log);
        until("the daemon listens", PATIENCE, || {
            assert!(process.ended().is_none(), "{make:?} has ended");
            // `wg` removes a socket that refuses it, as one does that is bound and not yet listened
            // at.
            let listens = UnixStream::connect(socket(&interface)).is_ok();
            (listens && host.attempt(&format!("wg show {interface}")).is_ok()).then_some(())
        });
        let gateway = Self {
            interface,
            host: host.again(),
            home: Rc::clone(home),
            process,
        };
        gateway.set_up(plan);
        gateway
    }

    #[track_caller]
    fn set_up(&self, plan: &Plan) {
        let interface = &self.interface;
        for address in &plan.addresses {
            let once = if address.contains(':') { "nodad" } else { "" };
            self.host
                .run(&format!("ip address add {address} dev {interface} {once}"));
        }
        self.configure(&plan.wg_conf());
        self.host
            .run(&format!("ip link set {interface} mtu 1420 up"));
        for network in plan.peers.iter().flat_map(|peer| &peer.networks) {
            self.host
                .run(&format!("ip route replace {network} dev {interface}"));
        }
    }

    /// `wg setconf`.
    #[track_caller]
    pub fn configure(&self, text: &str) {
        let file = self.home.write(&format!("{}.conf", self.interface), text);
        self.wg("setconf", &[&file.display().to_string()]);
    }

    /// `wg VERB INTERFACE ARGUMENTS`.
    #[track_caller]
    pub fn wg(&self, verb: &str, arguments: &[&str]) -> String {
        let arguments = arguments.join(" ");
        self.host
            .run(&format!("wg {verb} {} {arguments}", self.interface))
    }

    /// What `wg show INTERFACE FIELD` says of the peer `public_key`.
    #[track_caller]
    pub fn show(&self, field: &str, public_key: &str) -> String {
        let all = self.wg("show", &[field]);
        let found = all.lines().find_map(|line| line.strip_prefix(public_key));
        let value = found.unwrap_or_else(|| panic!("no peer {public_key} in:\n{all}"));
        value.trim().to_owned()
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

/// The control socket of an interface.
pub fn socket(interface: &str) -> PathBuf {
    Path::new(SOCKETS).join(format!("{interface}.sock"))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.signal(Signal::TERM);
        let mut patience = Duration::from_secs(2);
        while self.process.ended().is_none() && !patience.is_zero() {
            let pause = Duration::from_millis(5);
            std::thread::sleep(pause);
            patience = patience.saturating_sub(pause);
        }
        // Removed by itself where it ended in order.
        let _ = std::fs::remove_file(socket(&self.interface));
    }
}
