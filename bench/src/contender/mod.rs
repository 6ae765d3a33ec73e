//! Who is measured.

pub(crate) mod end;
mod null;
mod openvpn;
mod weapon;
mod wireguard;

use std::fmt;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::lab::{Lab, Process, Side, run};
use end::End;
use wireguard::Daemon;

/// How long a tunnel may take until the first ping comes back.
const JOIN_SECONDS_MAX: u64 = 15;

/// Something that carries packets from one host to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Contender {
    /// The release binary of this workspace.
    Weapon,
    /// The same binary with the library's cipher.
    WeaponLibrary,
    /// The same binary without the sandbox around what carries packets.
    WeaponOpen,
    /// The same binary with something behind it, and so with the firewall's rules.
    WeaponRules,
    /// The same binary with a hundred rules and the flow table.
    WeaponFilter,
    /// Its data path with an empty cipher.
    WeaponNull,
    /// Debian's wireguard-go.
    WireguardGo,
    /// Cloudflare's boringtun.
    Boringtun,
    /// Mullvad's gotatun.
    Gotatun,
    /// OpenVPN without its kernel module.
    Openvpn,
    /// The bare link, without any tunnel.
    None,
}

/// Where the programs of this workspace are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) weapon: PathBuf,
    pub(crate) weapon_null: PathBuf,
}

impl Contender {
    /// All, in the order of a round.
    pub(crate) const ALL: [Self; 11] = [
        Self::Weapon,
        Self::WeaponLibrary,
        Self::WeaponOpen,
        Self::WeaponRules,
        Self::WeaponFilter,
        Self::WeaponNull,
        Self::WireguardGo,
        Self::Boringtun,
        Self::Gotatun,
        Self::Openvpn,
        Self::None,
    ];

    /// The name in tables and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Weapon => "weapon",
            Self::WeaponLibrary => "weapon-library",
            Self::WeaponOpen => "weapon-open",
            Self::WeaponRules => "weapon-rules",
            Self::WeaponFilter => "weapon-filter",
            Self::WeaponNull => "weapon-null",
            Self::WireguardGo => "wireguard-go",
            Self::Boringtun => "boringtun",
            Self::Gotatun => "gotatun",
            Self::Openvpn => "openvpn",
            Self::None => "none",
        }
    }

    /// The cipher on the wire.
    pub(crate) fn cipher(self) -> &'static str {
        match self {
            Self::Weapon
            | Self::WeaponLibrary
            | Self::WeaponOpen
            | Self::WeaponRules
            | Self::WeaponFilter
            | Self::WireguardGo
            | Self::Boringtun
            | Self::Gotatun => "ChaCha20-Poly1305",
            Self::Openvpn => openvpn::CIPHER,
            Self::WeaponNull | Self::None => "none",
        }
    }

    /// How it was started, beyond its defaults.
    pub(crate) fn settings(self) -> String {
        let daemon = match self {
            Self::Weapon => return "defaults".to_owned(),
            Self::WeaponLibrary => return weapon::LIBRARY_LINE.to_owned(),
            Self::WeaponOpen => return weapon::OPEN_LINE.to_owned(),
            Self::WeaponRules => return weapon::rules_line(Side::A),
            Self::WeaponFilter => return weapon::FILTER_WORDS.to_owned(),
            Self::WeaponNull => return "as weapon, with an empty cipher".to_owned(),
            Self::Openvpn => {
                return "--disable-dco --fast-io --txqueuelen 1000 --mssfix 0".to_owned();
            }
            Self::None => return "no tunnel".to_owned(),
            Self::WireguardGo => Daemon::wireguard_go(),
            Self::Boringtun => Daemon::boringtun(),
            Self::Gotatun => Daemon::gotatun(),
        };
        daemon.arguments.join(" ")
    }

    /// Whether it is somebody else's, so that being better than it means something.
    pub(crate) fn is_peer(self) -> bool {
        !matches!(
            self,
            Self::Weapon
                | Self::WeaponLibrary
                | Self::WeaponOpen
                | Self::WeaponRules
                | Self::WeaponFilter
                | Self::WeaponNull
                | Self::None
        )
    }

    /// Whether its end can know many peers by their keys, as the handshakes' measurement needs.
    /// Ours with another cipher, with rules or without a sandbox could, but its handshakes are
    /// the same.
    pub(crate) fn shakes_hands(self) -> bool {
        matches!(
            self,
            Self::Weapon | Self::WireguardGo | Self::Boringtun | Self::Gotatun
        )
    }

    /// What it says of its version.
    pub(crate) fn version(self, programs: &Programs) -> String {
        let line = match self {
            Self::Weapon
            | Self::WeaponLibrary
            | Self::WeaponOpen
            | Self::WeaponRules
            | Self::WeaponFilter
            | Self::WeaponNull => first_line(&programs.weapon, "--version"),
            Self::None => "veth".to_owned(),
            Self::WireguardGo => first_line("wireguard-go", "--version"),
            Self::Boringtun => first_line("boringtun-cli", "--version"),
            Self::Gotatun => first_line("gotatun", "--version"),
            Self::Openvpn => first_line("openvpn", "--version"),
        };
        // OpenVPN goes on with everything that was compiled in.
        let words: Vec<&str> = line.split_whitespace().take(2).collect();
        words.join(" ")
    }

    /// What is missing to measure it and where to get it; nothing if all is there.
    pub(crate) fn missing(self, programs: &Programs) -> Option<String> {
        let built = |path: &Path| {
            let hint = "cargo build --release --package weapon --package weapon-bench";
            (!path.is_file()).then(|| format!("{} is missing: {hint}", path.display()))
        };
        let tool = |program: &str, hint: &str| {
            (!is_found(program)).then(|| format!("`{program}` is missing: {hint}"))
        };
        let wg = || tool("wg", "apt-get install wireguard-tools");
        match self {
            Self::Weapon | Self::WeaponLibrary | Self::WeaponOpen | Self::WeaponFilter => {
                built(&programs.weapon)
            }
            Self::WeaponRules => {
                built(&programs.weapon).or_else(|| tool("nft", "apt-get install nftables"))
            }
            Self::WeaponNull => built(&programs.weapon_null),
            Self::WireguardGo => tool("wireguard-go", "apt-get install wireguard-go").or_else(wg),
            Self::Boringtun => {
                let hint = "cargo install --locked boringtun-cli@0.7.1";
                tool("boringtun-cli", hint).or_else(wg)
            }
            Self::Gotatun => {
                tool("gotatun", "cargo install --locked gotatun-cli@0.10.2").or_else(wg)
            }
            Self::Openvpn => tool("openvpn", "apt-get install openvpn")
                .or_else(|| tool("openssl", "apt-get install openssl")),
            Self::None => None,
        }
    }

    /// Joins the two hosts and waits until packets pass.
    pub(crate) fn join(self, lab: &Lab, programs: &Programs) -> Result<Tunnel> {
        let mut tunnel = Tunnel {
            processes: Vec::new(),
            is_bare: self == Self::None,
        };
        match self {
            Self::None => {}
            Self::Openvpn => tunnel.processes = openvpn::start(lab)?,
            _ => {
                for end in End::pair()? {
                    tunnel
                        .processes
                        .extend(self.start_end(lab, programs, &end)?);
                }
            }
        }
        tunnel.wait(lab).inspect_err(|_| print_words(lab))?;
        Ok(tunnel)
    }

    /// Starts one end alone, which knows many peers; none if it does not shake hands.
    pub(crate) fn start_alone(
        self,
        lab: &Lab,
        programs: &Programs,
        end: &End,
    ) -> Result<Option<Process>> {
        match self {
            _ if !self.shakes_hands() => Ok(None),
            Self::Boringtun => Daemon::boringtun_of_many().start(lab, end).map(Some),
            _ => self.start_end(lab, programs, end),
        }
    }

    fn start_end(self, lab: &Lab, programs: &Programs, end: &End) -> Result<Option<Process>> {
        let process = match self {
            Self::Weapon => weapon::start(lab, &programs.weapon, end, ""),
            Self::WeaponLibrary => weapon::start(lab, &programs.weapon, end, weapon::LIBRARY_LINE),
            Self::WeaponOpen => weapon::start(lab, &programs.weapon, end, weapon::OPEN_LINE),
            Self::WeaponRules => {
                let line = weapon::rules_line(end.side);
                weapon::start(lab, &programs.weapon, end, &line)
            }
            Self::WeaponFilter => {
                weapon::start(lab, &programs.weapon, end, &weapon::filter_sections())
            }
            Self::WeaponNull => null::start(lab, &programs.weapon_null, end),
            Self::WireguardGo => Daemon::wireguard_go().start(lab, end),
            Self::Boringtun => Daemon::boringtun().start(lab, end),
            Self::Gotatun => Daemon::gotatun().start(lab, end),
            Self::Openvpn | Self::None => return Ok(None),
        };
        process.map(Some).inspect_err(|_| print_words(lab))
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
    is_bare: bool,
}

impl Tunnel {
    /// The address under which a host is reached.
    pub(crate) fn address(&self, side: Side) -> &'static str {
        if self.is_bare {
            side.underlay()
        } else {
            side.overlay()
        }
    }

    /// The IPv6 address under which a host is reached.
    pub(crate) fn address_ipv6(&self, side: Side) -> &'static str {
        if self.is_bare {
            side.underlay_ipv6()
        } else {
            side.overlay_ipv6()
        }
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
            if run(&mut ping).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("no ping came back within {JOIN_SECONDS_MAX} s")
    }
}

/// The tools that every measurement needs.
pub(crate) fn require_tools() -> Result<()> {
    for (program, package) in [
        ("ip", "iproute2"),
        ("iperf3", "iperf3"),
        ("ping", "iputils-ping"),
        ("ethtool", "ethtool"),
        ("timeout", "coreutils"),
    ] {
        let hint = format!("it is in the Debian package {package}: apt-get install {package}");
        ensure!(is_found(program), "`{program}` is missing; {hint}");
    }
    Ok(())
}

fn is_found(program: &str) -> bool {
    run(Command::new("sh").args(["-c", "command -v \"$0\"", program])).is_ok()
}

fn first_line(program: impl AsRef<std::ffi::OsStr>, argument: &str) -> String {
    // OpenVPN prints its version and fails.
    let text = Command::new(program).arg(argument).output();
    let text = text.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

/// A new file for what an end says.
fn log_of(lab: &Lab, side: Side) -> Result<File> {
    Ok(File::create(log_path(lab, side))?)
}

fn log_path(lab: &Lab, side: Side) -> PathBuf {
    lab.folder().join(format!("end-{}.log", side.letter()))
}

/// What the ends have said, for when they do not work.
fn print_words(lab: &Lab) {
    for side in Side::BOTH {
        eprint!(
            "{}",
            std::fs::read_to_string(log_path(lab, side)).unwrap_or_default()
        );
    }
}

/// Waits until somebody listens on a socket. That its file is there is not enough: `wg` removes
/// one on which nobody listens yet.
fn wait_for_socket(path: &Path, process: &mut Process) -> Result<()> {
    for _ in 0..100 {
        if UnixStream::connect(path).is_ok() {
            return Ok(());
        }
        ensure!(!process.has_ended()?, "an end ended at once");
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("nobody listens on {} within 5 s", path.display())
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
