//! Routes that are left out: to prefixes that this host is part of itself. A peer's network does
//! not take the LAN away from the host that sits in it.

use std::fmt;

use ipnet::IpNet;
use weapon_io::netlink::{Netlink, NetlinkError};

/// A prefix that an interface of this host is directly connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The prefix.
    pub prefix: IpNet,
    /// The interface.
    pub interface: String,
}

/// A route that is not set, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The peer's network.
    pub network: IpNet,
    /// What it would be taken from.
    pub connected: Connected,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            network,
            connected: Connected { prefix, interface },
        } = self;
        write!(
            f,
            "no route to {network}: this host is itself in {prefix}, on {interface}; "
        )?;
        write!(
            f,
            "give the peer's network another prefix there: \"{network} as ...\""
        )
    }
}

/// The prefixes that this host is part of by any interface but `except`. Link-local ones are not
/// among them: each link has the same.
///
/// # Errors
/// The kernel does not tell.
pub async fn connected(netlink: &Netlink, except: &str) -> Result<Vec<Connected>, NetlinkError> {
    let links = netlink.links().await?;
    let networks = netlink.connected_networks().await?;
    let found = networks.into_iter().filter_map(|network| {
        let link = links.iter().find(|it| it.index == network.interface)?;
        let prefix = network.network();
        let is_link_local = match prefix {
            IpNet::V4(it) => it.network().is_link_local(),
            IpNet::V6(it) => it.network().is_unicast_link_local(),
        };
        // Also one that is down: when it is up again, nobody is told before its routes are there.
        (link.name != except && !is_link_local).then(|| Connected {
            prefix,
            interface: link.name.clone(),
        })
    });
    Ok(found.collect())
}

/// What the route to `network` would be taken from: a prefix that is the same, or that it is a part
/// of. A larger one takes nothing, as the more exact route wins.
pub fn taken_from(network: IpNet, connected: &[Connected]) -> Option<LeftOut> {
    let found = connected.iter().find(|it| it.prefix.contains(&network))?;
    Some(LeftOut {
        network,
        connected: found.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_take_something_is_left_out() {
        let connected = [Connected {
            prefix: "192.168.1.0/24".parse().unwrap(),
            interface: "eth0".to_owned(),
        }];
        let left = |network: &str| taken_from(network.parse().unwrap(), &connected);
        for network in ["192.168.1.0/24", "192.168.1.128/25", "192.168.1.7/32"] {
            let left = left(network).expect("it is left out");
            let text = left.to_string();
            for word in [network, "192.168.1.0/24", "eth0"] {
                assert!(text.contains(word), "{word} in {text}");
            }
        }
        for network in [
            "192.168.0.0/16",
            "0.0.0.0/0",
            "192.168.2.0/24",
            "fd00::/8",
            "::/0",
        ] {
            assert_eq!(left(network), None, "{network}");
        }
    }
}
