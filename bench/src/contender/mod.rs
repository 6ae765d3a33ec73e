//! Who is measured.

mod weapon;
mod wireguard_go;

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::lab::{Lab, Process, Side};

/// How long a tunnel may take until the first ping comes back.
const JOIN_SECONDS_MAX: u64 = 15;

/// Something that carries packets from one host to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Contender {
    /// The release binary of this workspace.
    Weapon,
    /// Debian's wireguard-go.
    WireguardGo,
    /// The bare link, without any tunnel.
    None,
}

impl Contender {
    /// All, in the order of a round.
    pub(crate) const ALL: [Self; 3] = [Self::Weapon, Self::WireguardGo, Self::None];

    /// The name in tables and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Weapon => "weapon",
            Self::WireguardGo => "wireguard-go",
            Self::None => "none",
        }
    }

    /// The cipher on the wire.
    pub(crate) fn cipher(self) -> &'static str {
        match self {
            Self::Weapon | Self::WireguardGo => "ChaCha20-Poly1305",
            Self::None => "none",
        }
    }

    /// An error that says what is missing and where to get it.
    pub(crate) fn require(self, weapon: &Path) -> Result<()> {
        require_tool("ip", "iproute2")?;
        require_tool("iperf3", "iperf3")?;
        require_tool("ping", "iputils-ping")?;
        match self {
            Self::Weapon => ensure!(
                weapon.is_file(),
                "{} is missing: cargo build --release --package weapon",
                weapon.display()
            ),
            Self::WireguardGo => {
                require_tool("wireguard-go", "wireguard-go")?;
                require_tool("wg", "wireguard-tools")?;
            }
            Self::None => {}
        }
        Ok(())
    }

    /// Joins the two hosts and waits until packets pass.
    pub(crate) fn join(self, lab: &Lab, weapon: &Path) -> Result<Tunnel> {
        let (address_of, processes): (fn(Side) -> &'static str, _) = match self {
            Self::Weapon => (Side::overlay, weapon::start(lab, weapon)?),
            Self::WireguardGo => (Side::overlay, wireguard_go::start(lab)?),
            Self::None => (Side::underlay, Vec::new()),
        };
        let mut tunnel = Tunnel {
            processes,
            address_of,
        };
        tunnel.wait(lab).inspect_err(|_| {
            if self == Self::Weapon {
                eprint!("{}", weapon::words(lab));
            }
        })?;
        Ok(tunnel)
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Two hosts joined.
#[derive(Debug)]
pub(crate) struct Tunnel {
    processes: Vec<Process>,
    address_of: fn(Side) -> &'static str,
}

impl Tunnel {
    /// The address under which a host is reached.
    pub(crate) fn address(&self, side: Side) -> &'static str {
        (self.address_of)(side)
    }

    /// The process numbers of both ends.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::id).collect()
    }

    /// Takes it down; an error if an end died before.
    pub(crate) fn leave(mut self) -> Result<()> {
        for process in &mut self.processes {
            ensure!(!process.has_ended()?, "an end died while it was measured");
        }
        Ok(())
    }

    fn wait(&mut self, lab: &Lab) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(JOIN_SECONDS_MAX) {
            for process in &mut self.processes {
                ensure!(!process.has_ended()?, "an end ended at once");
            }
            let mut ping = lab.command(Side::A, "ping");
            ping.args(["-n", "-q", "-c", "1", "-W", "1", self.address(Side::B)]);
            if crate::lab::run(&mut ping).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("no ping came back within {JOIN_SECONDS_MAX} s")
    }
}

fn require_tool(program: &str, package: &str) -> Result<()> {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .output()?;
    ensure!(
        found.status.success(),
        "`{program}` is missing; it is in the Debian package {package}: apt-get install {package}"
    );
    Ok(())
}

/// Waits until a file is there.
fn wait_for_file(path: &Path, process: &mut Process) -> Result<()> {
    for _ in 0..100 {
        if path.exists() {
            return Ok(());
        }
        ensure!(!process.has_ended()?, "an end ended at once");
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("{} did not appear within 5 s", path.display())
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options
        .open(path)
        .with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
