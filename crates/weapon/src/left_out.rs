//! Routes that are left out: to prefixes that this host is part of itself. A peer's network does
//! not take the LAN away from the host that sits in it.

use std::{fmt, net::Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weapon_io::netlink::{Netlink, NetlinkError};

/// A prefix that an interface of this host is directly connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// The prefix.
    pub prefix: IpNet,
    /// The interface.
    pub interface: String,
    /// Whether a default route leads out by this interface.
    pub is_uplink: bool,
    /// Whether the interface leads to other parts of this host alone, such as containers.
    pub is_internal: bool,
}

impl Connected {
    /// Whether it is still reached directly when everything else goes into the tunnel. What only
    /// claims to be a LAN, with addresses that belong to others, never is (TunnelCrack's LocalNet
    /// attack).
    pub fn is_kept(&self, lan_access: bool) -> bool {
        is_private(self.prefix) && (lan_access || (self.is_internal && !self.is_uplink))
    }
}

/// RFC 1918, RFC 6598 and RFC 4193.
fn is_private(prefix: IpNet) -> bool {
    let ranges: [IpNet; 5] = [
        net([10, 0, 0, 0], 8),
        net([172, 16, 0, 0], 12),
        net([192, 168, 0, 0], 16),
        net([100, 64, 0, 0], 10),
        Ipv6Net::new_assert(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7).into(),
    ];
    ranges.iter().any(|range| range.contains(&prefix))
}

fn net(octets: [u8; 4], length: u8) -> IpNet {
    Ipv4Net::new_assert(octets.into(), length).into()
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
            connected: Connected {
                prefix, interface, ..
            },
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
    let routes = netlink.all_routes().await?.into_iter();
    let uplinks: Vec<u32> = routes
        .filter(|route| route.destination.prefix_len() == 0)
        .map(|route| route.interface)
        .collect();
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
            is_uplink: uplinks.contains(&link.index),
            is_internal: link.is_internal,
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
            is_uplink: true,
            is_internal: false,
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

    #[test]
    fn only_a_private_network_is_reached_beside_the_tunnel() {
        let connected = |prefix: &str, is_uplink, is_internal| Connected {
            prefix: prefix.parse().unwrap(),
            interface: "eth0".to_owned(),
            is_uplink,
            is_internal,
        };
        for prefix in ["192.168.1.0/24", "10.0.0.0/8", "fd01::/64", "100.64.3.0/24"] {
            let (lan, docker) = (
                connected(prefix, true, false),
                connected(prefix, false, true),
            );
            assert!(lan.is_kept(true) && !lan.is_kept(false), "{prefix}");
            assert!(docker.is_kept(true) && docker.is_kept(false), "{prefix}");
            // A bridge that is the host's own way out is as any other LAN.
            assert!(!connected(prefix, true, true).is_kept(false), "{prefix}");
        }
        for prefix in [
            "203.0.113.0/24",
            "0.0.0.0/1",
            "192.168.0.0/15",
            "2001:db8::/64",
        ] {
            assert!(!connected(prefix, true, false).is_kept(true), "{prefix}");
            assert!(!connected(prefix, false, true).is_kept(true), "{prefix}");
        }
    }
}
