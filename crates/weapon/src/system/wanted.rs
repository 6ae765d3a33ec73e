//! What a gateway wants of the system, in the words of its configuration.

use anyhow::{anyhow, ensure};
use ipnet::IpNet;

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
