//! The validated configuration of one gateway: what every other part of the program works with.
//!
//! A `Config` exists only when the whole file was found good: keys are read and parsed, networks
//! are masked and do not collide, numbers are in range.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weapon_core::{Policy, PrefixMapping};
use weapon_io::entropy;
use weapon_noise::{PresharedKey, PrivateKey, PublicKey};

use super::audit::AuditConfig;
use super::metrics::MetricsPlace;
use super::policy::{FilterConfig, WrittenRules};
use super::problem::Place;
use super::service::{GroupConfig, ServiceConfig};

/// One gateway and its peers.
#[derive(Clone)]
pub struct Config {
    /// The gateway's name: `name`, else the stem of the file's name. Safe as a file name.
    pub name: String,
    /// The TUN device's name, 1 to 15 bytes of `[a-zA-Z0-9_=+.-]`.
    pub interface: String,
    /// Our private key, read from its file, given inline or derived from the shared secret.
    pub private_key: PrivateKey,
    /// UDP port on IPv4 and IPv6; 0 lets the kernel pick one.
    pub listen_port: u16,
    /// Firewall mark of what we send; 0 is none.
    pub fwmark: u32,
    /// MTU of the TUN device in bytes; `None` leaves the choice to `up`.
    pub mtu: Option<u32>,
    /// Threads that carry packets; `None` leaves the choice to `up`.
    pub lanes: Option<usize>,
    /// What seals and opens.
    pub cipher_backend: CipherBackend,
    /// The user that the gateway's process becomes; `None` leaves the choice to `up`.
    pub user: Option<String>,
    /// What the sandbox of that process must be like.
    pub sandbox: Sandbox,
    /// Addresses of the TUN device, with their host bits.
    pub addresses: Vec<IpNet>,
    /// What lies behind us.
    pub behind: Vec<Behind>,
    /// Whether what comes from the tunnel gets our address towards what lies behind us, for sites
    /// that have no route back.
    pub masquerade: bool,
    /// Whether forwarding and the firewall are set for what lies behind us (`firewall = "auto"`)
    /// or not (`"off"`).
    pub firewall: bool,
    /// Whether routes to the peers' networks are written (`table = "auto"`) or not (`"off"`).
    pub routes: bool,
    /// Name servers that are asked while the tunnel is up.
    pub name_servers: Vec<IpAddr>,
    /// Domains in which names are looked for then.
    pub search_domains: Vec<String>,
    /// Whether the networks that this host is in are reached beside a tunnel that takes all else.
    pub lan_access: bool,
    /// Whether packets to the peers' networks leave by the tunnel alone, also when there is none.
    pub kill_switch: bool,
    /// Where metrics are read; nowhere if there is none.
    pub metrics: Option<MetricsPlace>,
    /// Where keys are written with which others can decrypt; nowhere if there is none.
    pub danger_export_keys: Option<PathBuf>,
    /// Which kernel facilities may be used.
    pub offload: Offload,
    /// What happens is recorded; `None` is off.
    pub audit: Option<AuditConfig>,
    /// Which packets may pass, and whether flows are remembered.
    pub filter: Option<FilterConfig>,
    /// What members of groups get, in the order of the file.
    pub groups: Vec<GroupConfig>,
    /// The peers, in the order of the file.
    pub peers: Vec<PeerConfig>,
    /// Where all this was read.
    pub source: ConfigSource,
    /// Where in the file the values stand that only the system can refuse.
    pub written: Written,
}

impl Config {
    /// `FILE:LINE:COLUMN: KEY`, to stand before what is wrong with the value written there.
    pub fn at(&self, place: &Place) -> String {
        place.in_file(&self.source.path)
    }

    /// Whether a peer is the way to everywhere.
    pub fn takes_all(&self) -> bool {
        self.takes_all_of(true) || self.takes_all_of(false)
    }

    /// The same of IPv4, or else of IPv6.
    pub fn takes_all_of(&self, is_ipv4: bool) -> bool {
        let mut networks = self.peers.iter().flat_map(|peer| &peer.networks);
        self.routes && networks.any(|it| it.prefix_len() == 0 && it.addr().is_ipv4() == is_ipv4)
    }

    /// Rules and flows as the gateway wants them, with a seed that nobody foretells.
    ///
    /// # Errors
    /// The kernel has no randomness.
    pub fn policy(&self) -> io::Result<Option<Policy>> {
        let Some(filter) = &self.filter else {
            return Ok(None);
        };
        let mut bytes = [0; 16];
        entropy::fill(&mut bytes)?;
        let bits = u128::from_ne_bytes(bytes);
        Ok(Some(Policy {
            default: filter.default,
            rules: filter.rules.clone(),
            flows_max: filter.flows_max,
            seed: [bits as u64, (bits >> 64) as u64],
        }))
    }

    /// What lies behind us under other addresses than peers know.
    pub fn mappings(&self) -> Vec<PrefixMapping> {
        let mapped = |behind: &Behind| match behind {
            Behind::Mapped(mapping) => Some(*mapping),
            Behind::Prefix(_) | Behind::Docker(_) | Behind::Lan(_) => None,
        };
        self.behind.iter().filter_map(mapped).collect()
    }
}

/// One peer.
#[derive(Clone)]
pub struct PeerConfig {
    /// The peer's name; in a wg-quick file, which has none, the first characters of its key.
    pub name: String,
    /// The peer's public key, given or derived from the shared secret.
    pub public_key: PublicKey,
    /// The preshared key of us and this peer, given or derived from the shared secret.
    pub preshared_key: Option<PresharedKey>,
    /// Where the peer is reached; `None` waits for the peer to come to us.
    pub endpoint: Option<HostPort>,
    /// Allowed IPs: what lies behind the peer, masked.
    pub networks: Vec<IpNet>,
    /// Seconds between keepalives; `None` is off.
    pub persistent_keepalive: Option<u16>,
    /// Names by which rules and limits mean several peers.
    pub groups: Vec<String>,
    /// Its own limits and mark.
    pub service: ServiceConfig,
    /// Whether the peer stays at `endpoint` even when authenticated packets come from elsewhere.
    pub endpoint_pin: bool,
}

/// Something that lies behind us: an item of the gateway's `networks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// A prefix, masked.
    Prefix(IpNet),
    /// A prefix that peers know by another: `"192.168.1.0/24 as 10.77.1.0/24"`.
    Mapped(PrefixMapping),
    /// The subnets of Docker's network of this name: `"docker:bridge"`.
    Docker(String),
    /// The prefixes of the interface of this name: `"lan:eth1"`.
    Lan(String),
}

impl Behind {
    /// The prefix by which peers know it, if the file itself says so.
    pub fn prefix(&self) -> Option<IpNet> {
        match self {
            Self::Prefix(prefix) => Some(*prefix),
            Self::Mapped(mapping) => Some(mapping.outside),
            Self::Docker(_) | Self::Lan(_) => None,
        }
    }
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => write!(f, "{prefix}"),
            Self::Mapped(PrefixMapping { inside, outside }) => write!(f, "{inside} as {outside}"),
            Self::Docker(network) => write!(f, "docker:{network}"),
            Self::Lan(interface) => write!(f, "lan:{interface}"),
        }
    }
}

/// What the sandbox of the gateway's process must be like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sandbox {
    /// Without a whole one the gateway does not start.
    #[default]
    Required,
    /// Whatever this kernel has.
    IfPossible,
    /// None: to look for an error, or to measure.
    Off,
}

/// Which code seals and opens; the cipher is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CipherBackend {
    /// The fastest that works on this machine.
    #[default]
    Auto,
    /// aws-lc, whatever the machine has.
    Library,
}

/// Which kernel facilities may be used; each is probed at start and given up when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// TCP superpackets on the TUN device (TSO).
    pub tcp: bool,
    /// UDP superpackets on the TUN device (USO).
    pub udp: bool,
    /// Trains of datagrams in one send (`UDP_SEGMENT`).
    pub gso: bool,
    /// Trains of datagrams in one receive (`UDP_GRO`).
    pub gro: bool,
}

impl Default for Offload {
    fn default() -> Self {
        Self {
            tcp: true,
            udp: true,
            gso: true,
            gro: true,
        }
    }
}

/// A host name or address, and a port; not resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A DNS name, an IPv4 address, or an IPv6 address without brackets (a `%zone` may follow).
    pub host: String,
    /// UDP port, never 0.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Where the values stand of which only the system can say that they are wrong: the port is in
/// use, the interface and the route are there already. A value that is not written has the place of
/// its section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The UDP port.
    pub listen: Place,
    /// The mark of what we send.
    pub fwmark: Place,
    /// Where metrics are read.
    pub metrics: Place,
    /// Where keys are written.
    pub danger_export_keys: Place,
    /// The TUN device's name.
    pub interface: Place,
    /// The user of the gateway's process.
    pub user: Place,
    /// Its addresses.
    pub addresses: BTreeMap<IpNet, Place>,
    /// The peers' networks.
    pub networks: BTreeMap<IpNet, Place>,
    /// What lies behind us, as [`Config::behind`] has it.
    pub behind: Vec<Place>,
    /// The rules of the filter.
    pub rules: WrittenRules,
}

/// Where a configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSource {
    /// The file, as it was named on the command line.
    pub path: PathBuf,
    /// The file's format.
    pub format: Format,
}

/// The two formats of a configuration file, told apart by the file's extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.conf`, as wg-quick reads it
    WgQuick,
}
