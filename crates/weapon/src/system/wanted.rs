//! What a gateway wants of the system, in the words of its configuration.

use std::net::IpAddr;

use anyhow::{anyhow, ensure};
use ipnet::IpNet;
use weapon_io::netlink::{MAIN_TABLE, Policy};

use super::name_servers::{Keeps, NameServers};
use crate::{
    config::{Behind, Config, value},
    site::Site,
};

/// All that the rules are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The TUN device.
    pub interface: String,
    /// What lies behind us.
    pub site: Site,
    /// What lies behind the peers, and their addresses.
    pub peers: Vec<IpNet>,
    /// Whether what comes from the tunnel gets our address.
    pub masquerade: bool,
    /// Our UDP port.
    pub listen_port: u16,
    /// Whether something is to lie behind us, though it may not be there at this moment.
    pub has_site: bool,
    /// Whether forwarding and the firewall are set.
    pub firewall: bool,
    /// What it takes where a peer is the way to everywhere, or packets are to leave by the tunnel
    /// alone.
    pub full_tunnel: Option<FullTunnel>,
    /// Whether packets leave by the tunnel alone, also when there is none.
    pub kill_switch: bool,
    /// Name servers that are asked while the tunnel is up, and the domains in which names are
    /// looked for.
    pub dns: (Vec<IpAddr>, Vec<String>),
}

/// A tunnel that all takes which has no way of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTunnel {
    /// The mark of what stays out of it, our own datagrams above all.
    pub mark: u32,
    /// The table of routes that leads into it.
    pub table: u32,
    /// Whether IPv4 goes into it.
    pub ipv4: bool,
    /// Whether IPv6 does.
    pub ipv6: bool,
    /// What stays out of it.
    pub kept: Vec<IpNet>,
    /// The addresses of the tunnel's interface.
    pub addresses: Vec<IpAddr>,
}

impl FullTunnel {
    /// Whether it takes all that has no way of its own.
    pub fn takes_all(&self) -> bool {
        self.ipv4 || self.ipv6
    }
}

/// Policy rules are asked in the order of their priorities, the main table by that of 32766.
const PRIORITY_KEPT: u32 = 32_700;
const PRIORITY_REST: u32 = 32_701;

impl Wanted {
    /// What this configuration wants, on a host that is in the networks `kept`; nothing where
    /// nothing lies behind us, or the firewall is to be left alone, and no peer is the way to
    /// everywhere.
    pub fn of(config: &Config, site: &Site, kept: &[IpNet], listen_port: u16) -> Option<Self> {
        let (ipv4, ipv6) = (config.takes_all_of(true), config.takes_all_of(false));
        let full_tunnel = (ipv4 || ipv6 || config.kill_switch).then(|| {
            let behind = site.networks.iter().map(|it| it.prefix);
            FullTunnel {
                mark: config.fwmark,
                table: config.fwmark,
                ipv4,
                ipv6,
                kept: kept.iter().copied().chain(behind).collect(),
                addresses: config.addresses.iter().map(IpNet::addr).collect(),
            }
        });
        let has_rules = !config.behind.is_empty() && config.firewall;
        if full_tunnel.is_none() && !has_rules && config.name_servers.is_empty() {
            return None;
        }
        let networks = config.peers.iter().flat_map(|peer| &peer.networks);
        Some(Self {
            interface: config.interface.clone(),
            site: site.clone(),
            peers: networks.copied().collect(),
            masquerade: config.masquerade,
            listen_port,
            has_site: !config.behind.is_empty(),
            firewall: config.firewall,
            full_tunnel,
            kill_switch: config.kill_switch,
            dns: (config.name_servers.clone(), config.search_domains.clone()),
        })
    }

    /// The name servers, as they are told to `keeper`.
    pub fn name_servers(&self, kept_by: Keeps) -> Option<NameServers> {
        let (servers, domains) = self.dns.clone();
        (!servers.is_empty()).then(|| NameServers {
            kept_by,
            interface: self.interface.clone(),
            servers,
            domains,
        })
    }

    /// The tunnel, if it takes all that has no way of its own.
    pub fn takes_all(&self) -> Option<&FullTunnel> {
        self.full_tunnel.as_ref().filter(|it| it.takes_all())
    }

    /// Whether a table of rules is wanted.
    pub fn has_table(&self) -> bool {
        self.firewall && (self.has_site || self.takes_all().is_some())
    }

    /// The policy rules, in the order in which they are set.
    pub fn policies(&self) -> Vec<Policy> {
        let Some(full) = &self.full_tunnel else {
            return Vec::new();
        };
        let families = [(true, full.ipv4), (false, full.ipv6)].into_iter();
        let families = families.filter(|(_, takes_all)| *takes_all);
        let rules = families.flat_map(|(is_ipv4, _)| {
            let kept = full.kept.iter().map(IpNet::trunc);
            let kept: Vec<IpNet> = kept.filter(|it| it.addr().is_ipv4() == is_ipv4).collect();
            let rest = Policy {
                is_ipv4,
                priority: PRIORITY_REST,
                to: None,
                without_mark: Some(full.mark),
                table: full.table,
            };
            let kept = IpNet::aggregate(&kept).into_iter().map(move |to| Policy {
                is_ipv4,
                priority: PRIORITY_KEPT,
                to: Some(to),
                without_mark: None,
                table: MAIN_TABLE,
            });
            kept.chain([rest])
        });
        rules.collect()
    }

    /// The prefixes behind us.
    pub fn prefixes(&self) -> Vec<IpNet> {
        self.site.networks.iter().map(|it| it.prefix).collect()
    }

    /// Whether everything lies behind us: peers reach the rest of the world through this host.
    pub fn is_exit(&self) -> bool {
        self.site
            .networks
            .iter()
            .any(|it| it.prefix.prefix_len() == 0)
    }

    /// Those of them that this interface leads to.
    pub fn prefixes_by(&self, interface: &str) -> impl Iterator<Item = &IpNet> {
        let networks = self.site.networks.iter();
        let networks = networks.filter(move |it| it.interface.as_deref() == Some(interface));
        networks.map(|it| &it.prefix)
    }

    /// The interfaces that lead to what lies behind us, each once.
    pub fn interfaces(&self) -> Vec<&str> {
        let networks = self.site.networks.iter();
        let mut names: Vec<&str> = networks.filter_map(|it| it.interface.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|&name| name != self.interface);
        names
    }

    /// Rules are texts, and the names of interfaces stand in them.
    ///
    /// # Errors
    /// One has a name that would mean something else there, or more than one interface.
    pub fn ensure_names(&self) -> anyhow::Result<()> {
        value::interface_name(&self.interface)
            .map_err(|error| anyhow!("no rules can be set for this interface: {error}"))?;
        for name in self.interfaces() {
            let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\*".contains(&byte);
            ensure!(
                name.bytes().all(is_plain),
                "no rules can be set for the interface {name:?}, which leads to what lies behind \
                 this gateway: give it a name without blanks, quotes, `*` and `\\`"
            );
        }
        Ok(())
    }

    /// Whether a network of Docker lies behind us.
    pub fn has_docker(&self) -> bool {
        let mut networks = self.site.networks.iter();
        networks.any(|it| matches!(it.said, Behind::Docker(_)))
    }
}
