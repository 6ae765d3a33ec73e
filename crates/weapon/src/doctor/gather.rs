//! Finds out about a gateway and its machine. Everything may fail, and then that is what was found.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::Context as _;
use futures_util::future::join_all;
use ipnet::IpNet;
use serde_json::Value;
use tokio::{net::lookup_host, time::timeout};
use weapon_io::{
    netlink::{Link, Netlink},
    program,
};

use super::{
    facts::{Facts, GatewayFacts},
    firewall::{Forwarding, Ruleset},
    gateway::{File, Interface, Running},
    machine::Machine,
    peers::{Peer, Way},
    probe, proc,
    routes::Reach,
};
use crate::{
    config::{self, BadConfig, Config, HostPort, Loaded},
    places::Places,
    report::{self, BehindPrefix, Report, seconds_now},
    resolver, status,
    timestamp_file::TimestampFile,
};

/// How long a name may take to resolve.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(5);

/// What is asked about.
pub struct Subject {
    /// The gateway.
    pub name: String,
    /// What to give to `weapon up`.
    pub start: String,
    /// Its file, if it was named.
    pub file: Option<std::path::PathBuf>,
}

/// Finds out all.
pub async fn gather(subject: Option<Subject>) -> anyhow::Result<Facts> {
    let name = subject.as_ref().map(|subject| subject.name.as_str());
    let machine = machine(name);
    let Some(subject) = subject else {
        let gateway = None;
        return Ok(Facts { machine, gateway });
    };
    let netlink = Netlink::connect().context("cannot ask the kernel about routes")?;
    let mut running = match status::report_of(&subject.name) {
        Ok(Some(report)) => Running::Yes(Box::new(report)),
        Ok(None) => Running::No,
        Err(error) => Running::Silent(format!("{error:#}")),
    };
    if let Running::Yes(report) = &mut running {
        let ask = || status::report_of(&subject.name).ok().flatten();
        probe::provoke(report, &ask).await;
    }
    let path = match (&subject.file, running.report()) {
        (Some(path), _) => path.clone(),
        (None, Some(report)) => report.config.clone().into(),
        (None, None) => config::locate(&subject.name).map_err(|it| BadConfig(vec![it]))?,
    };
    let (file, config) = read(&path);
    let look = Look {
        netlink: &netlink,
        links: netlink.links().await.unwrap_or_default(),
        report: running.report(),
        config: config.as_ref(),
    };
    let gateway = look.all(file, subject.start).await;
    let system = running.report().map(|_| status::system_of(&subject.name));
    let gateway = GatewayFacts {
        // One that cannot say is told by other checks.
        system: system.and_then(|it| it.ok().flatten()),
        running,
        ..gateway
    };
    let gateway = Some(gateway);
    Ok(Facts { machine, gateway })
}

fn machine(gateway: Option<&str>) -> Machine {
    let mut options = fs::OpenOptions::new();
    let tun = options.read(true).write(true).open("/dev/net/tun");
    let mark = gateway.and_then(|name| TimestampFile::open(Places::of(name).timestamp()).1);
    Machine {
        capabilities: proc::capabilities(),
        tun_error: tun.err().map(|error| error.to_string()),
        now: seconds_now(),
        mark: mark.map(|mark| mark.unix_seconds()),
        receive_bytes_max: proc::number("/proc/sys/net/core/rmem_max"),
    }
}

fn read(path: &Path) -> (File, Option<Config>) {
    let shown = path.display().to_string();
    if !path.exists() {
        return (File::Missing(shown), None);
    }
    match config::load(path) {
        Ok(Loaded { config, warnings }) => {
            let warnings = warnings.iter().map(|problem| problem.line(false));
            (File::Good(shown, warnings.collect()), Some(config))
        }
        Err(BadConfig(problems)) => {
            let problems = problems.iter().map(|problem| problem.line(false));
            (File::Wrong(problems.collect()), None)
        }
    }
}

/// What is looked with.
struct Look<'a> {
    netlink: &'a Netlink,
    links: Vec<Link>,
    report: Option<&'a Report>,
    config: Option<&'a Config>,
}

impl Look<'_> {
    async fn all(&self, file: File, start: String) -> GatewayFacts {
        let link = self.link();
        let port = match (self.report, self.config) {
            (Some(report), _) => Some(report.listen_port),
            (None, config) => config.map(|config| config.listen_port),
        };
        GatewayFacts {
            start,
            file,
            running: Running::No,
            interface: self.interface(link).await,
            port: port.map(proc::port),
            offload: self.config.map(|config| config.offload),
            mtu: link.map(|link| link.mtu),
            peers: self.peers(link).await,
            networks: match (link, self.report) {
                (Some(link), Some(report)) => self.networks(link, report).await,
                _ => Vec::new(),
            },
            ruleset: ruleset(),
            forwarding: self.forwarding(),
            system: None,
        }
    }

    fn interface_name(&self) -> Option<&str> {
        let config = self.config.map(|config| config.interface.as_str());
        self.report.map(|it| it.interface.as_str()).or(config)
    }

    fn link(&self) -> Option<&Link> {
        let name = self.interface_name()?;
        self.links.iter().find(|link| link.name == name)
    }

    fn name_of(&self, index: u32) -> String {
        let link = self.links.iter().find(|link| link.index == index);
        link.map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }

    async fn interface(&self, link: Option<&Link>) -> Option<Interface> {
        let addresses = match link {
            Some(link) => self.netlink.addresses(link.index).await.unwrap_or_default(),
            None => Vec::new(),
        };
        Some(Interface {
            name: self.interface_name()?.to_owned(),
            is_up: link.map(|link| link.up),
            addresses,
            wanted: self.config.map(|config| config.addresses.clone()),
        })
    }

    async fn peers(&self, link: Option<&Link>) -> Vec<Peer> {
        let of_report = self.report.iter().flat_map(|report| &report.peers);
        let mut peers: Vec<(String, Option<&report::Peer>)> = of_report
            .map(|peer| (peer.name.clone(), Some(peer)))
            .collect();
        if self.report.is_none() {
            let of_config = self.config.iter().flat_map(|config| &config.peers);
            peers.extend(of_config.map(|peer| (peer.name.clone(), None)));
        }
        let all = peers.into_iter();
        join_all(all.map(|(name, report)| self.peer(name, report, link))).await
    }

    async fn peer(&self, name: String, report: Option<&report::Peer>, link: Option<&Link>) -> Peer {
        let of_config = self.config.iter().flat_map(|config| &config.peers);
        let endpoint = of_config
            .filter(|peer| match report {
                Some(report) => peer.public_key.to_string() == report.public_key,
                None => peer.name == name,
            })
            .find_map(|peer| peer.endpoint.clone());
        let literal = endpoint.as_ref().and_then(resolver::literal);
        let resolved = match &endpoint {
            Some(endpoint) if literal.is_none() => Some(resolve(endpoint).await),
            _ => None,
        };
        let found = resolved
            .as_ref()
            .and_then(|found| found.as_ref().ok()?.first());
        let address = report.and_then(|report| report.endpoint);
        let address = address.or(literal).or(found.copied());
        let way = match address {
            Some(address) => self.way(address, link).await,
            None => None,
        };
        let is_silent =
            report.is_some_and(|it| it.handshake.trouble.as_deref() == Some("no_answer"));
        let probe = match address.filter(|_| is_silent) {
            Some(address) => Some(probe::port(address, self.mark()).await),
            None => None,
        };
        let rejected = self.report.iter().flat_map(|it| &it.rejected);
        let its = |key: &Option<String>| key.as_ref() == report.map(|it| &it.public_key);
        Peer {
            name,
            report: report.cloned(),
            written: endpoint.map(|endpoint| endpoint.to_string()),
            resolved,
            address,
            way,
            probe,
            rejected: rejected
                .filter(|it| it.public_key.is_some() && its(&it.public_key))
                .cloned()
                .collect(),
        }
    }

    /// How the kernel sends to `address`. That of a link-local address depends on its interface,
    /// which is not asked.
    async fn way(&self, address: SocketAddr, ours: Option<&Link>) -> Option<Way> {
        if matches!(address, SocketAddr::V6(v6) if v6.ip().is_unicast_link_local()) {
            return None;
        }
        let path = self.netlink.path_to(address.ip(), None, self.mark());
        Some(match path.await {
            Err(error) => Way::None(error.to_string()),
            Ok(path) => {
                let link = self.links.iter().find(|link| link.index == path.interface);
                Way::Through {
                    interface: self.name_of(path.interface),
                    is_ours: ours.is_some_and(|ours| ours.index == path.interface),
                    mtu: path.mtu.or(link.map(|link| link.mtu)).unwrap_or(u32::MAX),
                    is_learned: path.mtu.is_some(),
                }
            }
        })
    }

    /// The mark of what the gateway sends; 0 for none.
    fn mark(&self) -> u32 {
        let mark = self.report.map(|report| report.fwmark);
        mark.or(self.config.map(|config| config.fwmark))
            .unwrap_or(0)
    }

    async fn networks(&self, link: &Link, report: &Report) -> Vec<Reach> {
        let routes = self.netlink.all_routes().await.unwrap_or_default();
        let own = self.own_addresses().await;
        let mut networks = Vec::new();
        for peer in &report.peers {
            for network in peer.networks.iter().filter_map(|it| it.parse().ok()) {
                let network: IpNet = network;
                let Some(sample) = probe::sample(network, &own) else {
                    continue;
                };
                let goes = match self.netlink.path_to(sample, None, 0).await {
                    Ok(path) => Ok(self.name_of(path.interface)),
                    Err(error) => Err(error.to_string()),
                };
                let is_elsewhere = goes.as_ref() != Ok(&link.name);
                let ours = |it: &&weapon_io::netlink::Route| it.interface == link.index;
                let part = |it: &&weapon_io::netlink::Route| {
                    let is_same = it.destination == network;
                    !ours(it)
                        && network.contains(&it.destination)
                        && network.prefix_len() != 0
                        && (is_elsewhere || !is_same)
                };
                let mut around = routes.iter().filter(ours);
                let parts = routes.iter().filter(part);
                networks.push(Reach {
                    peer: peer.name.clone(),
                    network,
                    ours: link.name.clone(),
                    has_route: around.any(|it| it.destination.contains(&network)),
                    writes_routes: self.config.is_none_or(|config| config.routes),
                    sample,
                    goes,
                    parts: parts
                        .map(|it| (it.destination, self.name_of(it.interface)))
                        .collect(),
                });
            }
        }
        networks
    }

    /// All of this machine.
    async fn own_addresses(&self) -> BTreeSet<IpAddr> {
        let mut own = BTreeSet::new();
        for link in &self.links {
            let addresses = self.netlink.addresses(link.index).await;
            own.extend(addresses.unwrap_or_default().iter().map(IpNet::addr));
        }
        own
    }

    /// What is forwarded, and whether the machine does. The gateway sees to it when it starts, so
    /// before there is nothing to look at.
    fn forwarding(&self) -> Forwarding {
        let behind = self.report.map(|report| report.networks.as_slice());
        let behind = behind.unwrap_or_default();
        let prefixes = behind.iter().flat_map(|it| &it.prefixes);
        let (v6, v4): (Vec<&BehindPrefix>, Vec<&BehindPrefix>) =
            prefixes.partition(|it| it.prefix.contains(':'));
        let off = [(&v4, true), (&v6, false)].map(|(prefixes, is_ipv4)| {
            let there = prefixes.iter().filter_map(|it| it.interface.as_deref());
            let tunnel = self.interface_name().filter(|_| !prefixes.is_empty());
            let off = there
                .chain(tunnel)
                .filter(|it| !proc::forwards(it, is_ipv4));
            let keys: BTreeSet<String> = off
                .map(|interface| proc::forwarding_key(interface, is_ipv4))
                .collect();
            keys
        });
        Forwarding {
            behind: behind.iter().map(|it| it.written.clone()).collect(),
            warnings: behind.iter().flat_map(|it| it.warnings.clone()).collect(),
            off: off.into_iter().flatten().collect(),
            wants_docker: behind.iter().any(|it| it.written.starts_with("docker:")),
        }
    }
}

async fn resolve(endpoint: &HostPort) -> Result<Vec<SocketAddr>, String> {
    let found = lookup_host((endpoint.host.as_str(), endpoint.port));
    match timeout(RESOLVE_TIME_MAX, found).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", RESOLVE_TIME_MAX.as_secs())),
    }
}

fn ruleset() -> Result<Ruleset, String> {
    rules_of_host().map(|json| Ruleset::parse(&json))
}

/// What `nft -j list ruleset` says.
///
/// # Errors
/// Why that is not known.
pub fn rules_of_host() -> Result<Value, String> {
    match program::run("nft", &["-j", "list", "ruleset"], "") {
        Err(error) if error.is_missing() => {
            Err("nft is not installed, so rules cannot be looked at (package nftables)".into())
        }
        Err(error) => Err(format!(
            "nft does not say its rules: {:#}",
            anyhow::Error::new(error)
        )),
        Ok(said) => {
            let json = serde_json::from_str(&said);
            json.map_err(|_| "what nft says was not understood".into())
        }
    }
}
