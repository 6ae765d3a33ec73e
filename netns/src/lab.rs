//! A lab: hosts are anonymous network namespaces, joined by veth pairs. All of it is gone when the
//! last [`Host`] is dropped and the processes in it have ended.

use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use weapon_io::namespace::{Namespace, die_with_parent};
use weapon_io::netlink;
use weapon_io::ping::{Ping, PingError};

/// How long a ping may take on a machine that is busy with other tests.
const PING_TIME_MAX: Duration = Duration::from_secs(10);

/// Whether this machine can run a test that needs root and these programs. If not, the reason is
/// printed and the test is to return; under `CI=true` it fails instead.
#[must_use]
pub fn ready(programs: &[&str]) -> bool {
    let Some(reason) = lacking(programs) else {
        return true;
    };
    let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!in_ci, "cannot run in CI: {reason}");
    #[allow(clippy::print_stdout, reason = "says why a test did not run")]
    {
        println!("skipped: {reason}");
    }
    false
}

fn lacking(programs: &[&str]) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces are needed: run the tests as root".into());
    }
    if let Err(error) = Namespace::new() {
        return Some(format!("no network namespace to be had: {error}"));
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun: mknod /dev/net/tun c 10 200".into());
    }
    let all = ["ip"].iter().chain(programs);
    let missing: Vec<&str> = all.copied().filter(|name| !is_installed(name)).collect();
    (!missing.is_empty()).then(|| {
        let missing = missing.join(", ");
        format!("these programs are missing: {missing}; `cargo xtask test` installs them")
    })
}

/// Whether a program of that name is found.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Asks `question` until it has an answer. Panics after `patience`, saying what it waited for.
#[track_caller]
pub fn until<T>(what: &str, patience: Duration, mut question: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A host: a network namespace with its loopback up.
#[derive(Debug)]
pub struct Host {
    /// For messages.
    pub name: String,
    namespace: Namespace,
}

impl Host {
    /// A host without any cable.
    pub fn new(name: &str) -> Self {
        let namespace = Namespace::new().expect("a network namespace");
        let host = Self {
            name: name.to_owned(),
            namespace,
        };
        host.run("ip link set lo up");
        host
    }

    /// A host that forwards IPv4 and IPv6 between its cables.
    pub fn router(name: &str) -> Self {
        let host = Self::new(name);
        host.sysctl("net.ipv4.ip_forward", "1");
        host.sysctl("net.ipv6.conf.all.forwarding", "1");
        host
    }

    /// Its namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Another handle to the same host.
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            name: self.name.clone(),
            namespace: self.namespace.try_clone().expect("a descriptor"),
        }
    }

    /// Runs `inside` in the host, on a thread of its own, and returns what it returns.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(inside).expect("the host's namespace")
    }

    /// A program that is going to run in the host. It dies with the thread that starts it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        die_with_parent(&mut command).stdin(Stdio::null());
        self.namespace
            .command(&mut command)
            .expect("the host's namespace");
        command
    }

    /// Runs a command line, split at spaces, and returns what it wrote to standard output. Panics
    /// when it fails.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        match self.attempt(line) {
            Ok(said) => said,
            Err(complaint) => panic!("{}: `{line}` failed: {complaint}", self.name),
        }
    }

    /// Runs a command line that may fail: what it wrote to standard output, or else what it wrote
    /// to either.
    ///
    /// # Errors
    /// The program's own words when it exits with anything but 0.
    pub fn attempt(&self, line: &str) -> Result<String, String> {
        attempt(line, |program| self.command(program))
    }

    /// Loads rules of nftables, given as the text of an `nft` file.
    #[track_caller]
    pub fn nft(&self, rules: &str) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(&file, rules).expect("the rules written");
        self.run(&format!("nft -f {}", file.path().display()));
    }

    /// How many packets the counter `name` of this table of family `inet` has seen.
    #[track_caller]
    pub fn nft_counter(&self, table: &str, name: &str) -> u64 {
        let text = self.run(&format!("nft list counter inet {table} {name}"));
        let mut words = text
            .split_whitespace()
            .skip_while(|&word| word != "packets");
        let count = words.nth(1).and_then(|word| word.parse().ok());
        count.unwrap_or_else(|| panic!("not understood: {text}"))
    }

    /// Sets a kernel parameter of the namespace, such as `net.ipv4.ip_forward`.
    #[track_caller]
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        // Which namespace's it is, is decided by the thread that opens it.
        let written = self.enter(|| std::fs::write(&path, value));
        written.unwrap_or_else(|error| panic!("{}: {path}: {error}", self.name));
    }

    /// Moves an interface of this host to another.
    #[track_caller]
    pub fn move_link(&self, interface: &str, to: &Self) {
        let there = to.namespace();
        let moved = self.enter(|| {
            netlink::block_on(async |netlink| {
                let index = netlink.link(interface).await?.index;
                netlink.move_link(index, there).await
            })
        });
        moved.unwrap_or_else(|error| panic!("{}: {interface}: {error}", self.name));
    }

    /// Pings `remote`, again and again until it answers. Returns the last round trip.
    #[track_caller]
    pub fn ping(&self, remote: &str) -> Duration {
        self.ping_within(remote, PING_TIME_MAX)
    }

    /// As [`Host::ping`], with more or less patience.
    #[track_caller]
    pub fn ping_within(&self, remote: &str, patience: Duration) -> Duration {
        let address: IpAddr = remote.parse().expect("an address");
        let deadline = Instant::now() + patience;
        loop {
            match self.ping_once(address, Duration::from_millis(500)) {
                Ok(time) => return time,
                Err(error) => assert!(Instant::now() < deadline, "{}: {error}", self.name),
            }
        }
    }

    /// Pings `remote` once.
    ///
    /// # Errors
    /// No answer in time, or the answer that it cannot be reached.
    pub fn ping_once(&self, remote: IpAddr, patience: Duration) -> Result<Duration, PingError> {
        self.enter(|| Ping::open(remote, b"are you there?")?.once(patience))
    }
}

/// Runs a command line, split at spaces, whose program `command` is going to run: what it wrote to
/// standard output, or else what it wrote to either.
///
/// # Errors
/// The program's own words when it exits with anything but 0.
pub(crate) fn attempt(line: &str, command: impl FnOnce(&str) -> Command) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let output = command(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("`{line}`: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("{said}{}", String::from_utf8_lossy(&output.stderr)))
}

/// One end of a cable: a host, the interface to make in it, and its addresses.
pub type End<'a> = (&'a Host, &'a str, &'a [&'a str]);

/// Lays a cable (a veth pair) between two hosts, gives its ends their addresses, and sets it up.
#[track_caller]
pub fn link(one: End<'_>, other: End<'_>) {
    const ON_THE_WAY: &str = "cable";
    let there = other.0.namespace();
    let laid = one.0.enter(|| {
        netlink::block_on(async |netlink| {
            netlink.add_veth(one.1, ON_THE_WAY).await?;
            let index = netlink.link(ON_THE_WAY).await?.index;
            netlink.move_link(index, there).await
        })
    });
    laid.unwrap_or_else(|error| panic!("no cable {} - {}: {error}", one.0.name, other.0.name));
    other
        .0
        .run(&format!("ip link set {ON_THE_WAY} name {}", other.1));
    for (host, interface, addresses) in [one, other] {
        give_addresses(host, interface, addresses);
    }
    // A cable is not usable the moment its ends are up: the link state is propagated later.
    for (host, interface, _) in [one, other] {
        until("the cable has a carrier", Duration::from_secs(5), || {
            let state = host.run(&format!("ip -o link show dev {interface}"));
            state.contains("LOWER_UP").then_some(())
        });
    }
}

/// Gives an interface of `host` its addresses, and sets it up.
#[track_caller]
pub fn give_addresses(host: &Host, interface: &str, addresses: &[&str]) {
    let addresses: Vec<IpNet> = addresses
        .iter()
        .map(|text| text.parse().expect("an address with its prefix length"))
        .collect();
    let given = host.enter(|| {
        netlink::block_on(async |netlink| {
            let index = netlink.link(interface).await?.index;
            for address in addresses {
                netlink.add_address(index, address).await?;
            }
            netlink.set_up(index).await
        })
    });
    given.unwrap_or_else(|error| panic!("{}: {interface}: {error}", host.name));
}
