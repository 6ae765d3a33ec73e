//! What a gateway wants of the system, in the words of its configuration.

use ipnet::IpNet;

use crate::{
    config::{Behind, Config},
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
}

impl Wanted {
    /// What this configuration wants; nothing where nothing lies behind us, or the firewall is to
    /// be left alone.
    pub fn of(config: &Config, site: &Site, listen_port: u16) -> Option<Self> {
        if config.behind.is_empty() || !config.firewall {
            return None;
        }
        let networks = config.peers.iter().flat_map(|peer| &peer.networks);
        Some(Self {
            interface: config.interface.clone(),
            site: site.clone(),
            peers: networks.copied().collect(),
            masquerade: config.masquerade,
            listen_port,
        })
    }

    /// The prefixes behind us.
    pub fn prefixes(&self) -> Vec<IpNet> {
        self.site.networks.iter().map(|it| it.prefix).collect()
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

    /// Whether a network of Docker lies behind us.
    pub fn has_docker(&self) -> bool {
        let mut networks = self.site.networks.iter();
        networks.any(|it| matches!(it.said, Behind::Docker(_)))
    }
}
