//! What an entry of the gateway's `networks` stands for, as the host is at one moment.

use std::collections::BTreeMap;

use ipnet::IpNet;
use weapon_core::PrefixMapping;
use weapon_io::netlink::{ConnectedNetwork, Link};

use super::{SiteNetwork, docker::DockerNetwork, docker_watch::Known};
use crate::config::{Behind, Config, nearest};

/// Names that are listed where one is not known.
const NAMES_MAX: usize = 20;

/// An entry and what is behind us because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the file says.
    pub said: Behind,
    /// What that is at this moment.
    pub networks: Vec<SiteNetwork>,
    /// What is to be said of it.
    pub remarks: Vec<Remark>,
}

/// Something that is not as it should be with an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// A gateway is not started with this.
    Refusal(String),
    /// It may change by itself.
    Warning(String),
    /// As a warning, but the log has it already.
    Logged(String),
}

impl Remark {
    /// In plain words.
    pub fn text(&self) -> &str {
        match self {
            Self::Refusal(text) | Self::Warning(text) | Self::Logged(text) => text,
        }
    }
}

/// What the file says that decides over what is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The entries.
    pub behind: Vec<Behind>,
    /// The tunnel's interface.
    interface: String,
    /// Each network of a peer, with the peer's name.
    of_peers: Vec<(IpNet, String)>,
}

/// The host at one moment.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// All interfaces.
    pub links: Vec<Link>,
    /// All addresses.
    pub addresses: Vec<ConnectedNetwork>,
    /// Indices of the interfaces by which prefixes are reached.
    pub ways: BTreeMap<IpNet, u32>,
    /// Docker's networks, if any is wanted.
    pub docker: Known,
    /// The tunnel's interface, once there is one.
    pub tunnel: Option<u32>,
}

impl Wanted {
    /// By this configuration.
    pub fn of(config: &Config) -> Self {
        let of_peers = config.peers.iter().flat_map(|peer| {
            let networks = peer.networks.iter();
            networks.map(|&network| (network, peer.name.clone()))
        });
        Self {
            behind: config.behind.clone(),
            interface: config.interface.clone(),
            of_peers: of_peers.collect(),
        }
    }

    /// Prefixes of which the way is to be looked up.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.behind.iter().filter_map(inside)
    }

    /// What all entries stand for.
    pub fn find(&self, host: &Host) -> Vec<Entry> {
        let entries = self.behind.iter().map(|said| {
            let mut entry = Entry {
                said: said.clone(),
                networks: Vec::new(),
                remarks: Vec::new(),
            };
            match said {
                Behind::Docker(name) => self.docker(name, host, &mut entry),
                Behind::Lan(name) => self.lan(name, host, &mut entry),
                Behind::Prefix(prefix) => reached(*prefix, host, &mut entry),
                Behind::Mapped(mapping) => reached(mapping.inside, host, &mut entry),
            }
            entry
        });
        entries.collect()
    }

    fn docker(&self, name: &str, host: &Host, entry: &mut Entry) {
        let Known { networks, away } = &host.docker;
        let Some(networks) = networks else {
            entry.refuse(away.clone().unwrap_or_default());
            return;
        };
        if let Some(away) = away {
            let text = format!("{away}; what was known before stays");
            entry.remarks.push(Remark::Logged(text));
        }
        // Old versions of Docker let several have the same name.
        let mut found = networks.iter().filter(|it| it.name == name).peekable();
        if found.peek().is_none() {
            let others = networks.iter().filter(|network| network.is_bridge());
            let listed = listed(name, others.map(|network| network.name.as_str()));
            entry.refuse(format!(
                "Docker has no network `{name}` (`docker network create {name}` makes it){listed}"
            ));
        }
        for network in found {
            self.docker_network(network, host, entry);
        }
    }

    fn docker_network(&self, network: &DockerNetwork, host: &Host, entry: &mut Entry) {
        let name = &network.name;
        if !network.is_bridge() {
            entry.refuse(format!(
                "Docker's network `{name}` is made by the driver `{}`, and this host is no part \
                 of it; name one of driver `bridge`",
                network.driver.escape_debug()
            ));
            return;
        }
        if network.internal {
            entry.warn(format!(
                "Docker's network `{name}` is internal: Docker lets nothing in or out of it"
            ));
        }
        if network.subnets.is_empty() {
            entry.warn(format!("Docker's network `{name}` has no subnet"));
        }
        let interface = network.interface.as_deref();
        let there = interface.filter(|name| host.link(name).is_some());
        if there.is_none() {
            entry.warn(format!(
                "Docker's network `{name}` has no interface{} on this host; does Docker run in \
                 a namespace of its own?",
                interface.map_or_else(String::new, |name| format!(" `{name}`"))
            ));
        }
        for &subnet in &network.subnets {
            self.add(subnet, there, entry);
        }
    }

    fn lan(&self, name: &str, host: &Host, entry: &mut Entry) {
        if name == self.interface {
            entry.refuse(format!(
                "`{name}` is the tunnel itself; name an interface of a network behind us"
            ));
            return;
        }
        let Some(link) = host.link(name) else {
            let others = host.links.iter().filter(|link| {
                !link.loopback && link.name != self.interface && Some(link.index) != host.tunnel
            });
            let listed = listed(name, others.map(|link| link.name.as_str()));
            entry.refuse(format!("there is no interface `{name}`{listed}"));
            return;
        };
        let of_it = host
            .addresses
            .iter()
            .filter(|it| it.interface == link.index);
        let prefixes = of_it
            .filter(|it| is_global(it))
            .map(ConnectedNetwork::network);
        let mut prefixes: Vec<IpNet> = prefixes.collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        if prefixes.is_empty() {
            entry.warn(format!(
                "interface `{name}` has no address but link-local ones, so nothing is behind it"
            ));
        }
        for &prefix in &prefixes {
            // An address of its own length, given beside that of the network, adds nothing.
            let is_part = |other: &IpNet| *other != prefix && other.contains(&prefix);
            if !prefixes.iter().any(is_part) {
                self.add(prefix, Some(name), entry);
            }
        }
    }

    /// Adds what was found, unless it is somebody else's too.
    fn add(&self, prefix: IpNet, interface: Option<&str>, entry: &mut Entry) {
        if let Some(collision) = self.collision(prefix) {
            let said = &entry.said;
            entry.refuse(format!("{said} has {prefix}, {collision}"));
            return;
        }
        entry.networks.push(SiteNetwork {
            prefix,
            interface: interface.map(str::to_owned),
            said: entry.said.clone(),
        });
    }

    /// By the same rules as for prefixes that are written in the file: a peer's network may cover
    /// ours, but ours not a peer's.
    fn collision(&self, prefix: IpNet) -> Option<String> {
        for behind in &self.behind {
            if let Behind::Mapped(PrefixMapping { inside, outside }) = behind
                && [inside, outside].into_iter().any(|it| overlap(*it, prefix))
            {
                return Some(format!(
                    "which overlaps {behind}: peers could not tell one from the other"
                ));
            }
        }
        let (network, peer) = self
            .of_peers
            .iter()
            .find(|(network, _)| prefix.contains(network))?;
        let how = if *network == prefix {
            "as has".to_owned()
        } else {
            format!("and {network} in it is of")
        };
        Some(format!(
            "{how} peer `{peer}`; what lies behind a peer does not lie behind us"
        ))
    }
}

impl Host {
    fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }
}

impl Entry {
    fn refuse(&mut self, text: String) {
        self.remarks.push(Remark::Refusal(text));
    }

    fn warn(&mut self, text: String) {
        self.remarks.push(Remark::Warning(text));
    }
}

/// The prefix as its hosts have it, if the file says it.
fn inside(behind: &Behind) -> Option<IpNet> {
    match behind {
        Behind::Prefix(prefix) => Some(*prefix),
        Behind::Mapped(mapping) => Some(mapping.inside),
        Behind::Docker(_) | Behind::Lan(_) => None,
    }
}

/// A prefix of the file, and the interface that leads there.
fn reached(prefix: IpNet, host: &Host, entry: &mut Entry) {
    let way = host.ways.get(&prefix);
    let interface = match way {
        None => {
            entry.warn(format!("no route leads to {prefix}"));
            None
        }
        Some(&way) if Some(way) == host.tunnel => {
            entry.warn(format!("the route to {prefix} leads into the tunnel"));
            None
        }
        Some(&way) => {
            let link = host.links.iter().find(|link| link.index == way);
            link.map(|link| link.name.clone())
        }
    };
    entry.networks.push(SiteNetwork {
        prefix,
        interface,
        said: entry.said.clone(),
    });
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

fn is_global(connected: &ConnectedNetwork) -> bool {
    match connected.address {
        IpNet::V4(net) => !net.addr().is_link_local() && !net.addr().is_loopback(),
        IpNet::V6(net) => !net.addr().is_unicast_link_local() && !net.addr().is_loopback(),
    }
}

/// `, but …; did you mean …?`: what there is, and what of it `word` was probably to be.
fn listed<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return String::new();
    }
    let meant = nearest(word, &names);
    let meant = meant.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
    let more = match names.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names.truncate(NAMES_MAX);
    format!(", but `{}`{more}{meant}", names.join("`, `"))
}

#[cfg(test)]
mod tests;
