//! What the host does with a packet before it comes to the gateway, and after it has left it: its
//! routes, what it forwards, its rules.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context as _;
use ipnet::IpNet;
use serde_json::Value;
use weapon_core::Hypothesis;
use weapon_io::netlink::{Link, Netlink, NetlinkError, Path};

use super::{
    Step,
    firewall::Passing,
    stops::{self, Goes},
};
use crate::{
    doctor::{forwards, rules_of_host},
    report::Report,
};

/// The host of a gateway.
pub struct Host<'a> {
    netlink: Netlink,
    links: Vec<Link>,
    rules: Result<Value, String>,
    report: &'a Report,
}

impl<'a> Host<'a> {
    /// Looks at it.
    ///
    /// # Errors
    /// The kernel does not say its interfaces.
    pub async fn look(report: &'a Report) -> anyhow::Result<Self> {
        let netlink = Netlink::connect().context("cannot ask the kernel about routes")?;
        let links = netlink.links().await?;
        if !links.iter().any(|link| link.name == report.interface) {
            anyhow::bail!(
                "{} is not in this network namespace; ask where the gateway runs: `nsenter --net \
                 --target {} weapon why ...`",
                report.interface,
                report.pid
            );
        }
        Ok(Self {
            netlink,
            links,
            rules: rules_of_host(),
            report,
        })
    }

    /// The peer that a packet from `source` would come from; none if it is ours.
    pub async fn sender(&self, source: IpAddr) -> Option<&'a str> {
        let path = self.netlink.path_to(source, None, 0).await;
        if path.is_ok_and(|path| path.is_local) {
            return None;
        }
        let behind = self.report.networks.iter().flat_map(|it| &it.prefixes);
        let ours = longest(behind.map(|it| (it.prefix.as_str(), ())), source);
        let peers = self.report.peers.iter();
        let theirs = peers.flat_map(|peer| peer.networks.iter().map(move |it| (it.as_str(), peer)));
        let (bits, peer) = longest(theirs, source)?;
        ours.is_none_or(|(ours, ())| ours < bits)
            .then_some(peer.name.as_str())
    }

    /// The way of a packet from our side into the tunnel.
    pub async fn before(&self, packet: Hypothesis) -> Vec<Step> {
        let Hypothesis {
            source,
            destination,
            ..
        } = packet;
        let tunnel = &self.report.interface;
        let home = self.goes(self.netlink.path_to(source, None, 0).await);
        let (arrives_by, goes) = match home {
            Goes::Here => {
                let path = self.netlink.path_to(destination, Some(source), 0).await;
                (None, self.goes(path))
            }
            Goes::Nowhere { .. } => return vec![stops::homeless(source)],
            Goes::Through { interface, .. } if interface == *tunnel => {
                return vec![stops::nobodys(source, tunnel)];
            }
            Goes::Through { interface, .. } => {
                let goes = self.foreign((source, destination), &interface).await;
                (Some(interface), goes)
            }
        };
        let mut steps = Vec::new();
        let is_forwarded = arrives_by.is_some();
        if let Some(interface) = &arrives_by {
            let is_ipv4 = source.is_ipv4();
            steps.push(stops::forwarding(
                interface,
                is_ipv4,
                forwards(interface, is_ipv4),
                &goes,
            ));
        }
        steps.push(stops::into_tunnel(destination, &goes, tunnel));
        let leaves_by = Some(tunnel.as_str());
        steps.push(self.firewall(packet, arrives_by.as_deref(), leaves_by));
        if let Goes::Through { mtu, .. } = goes {
            steps.push(stops::mtu(packet.size(), mtu, tunnel, is_forwarded));
        }
        steps
    }

    /// The way of a packet from a peer, out of the tunnel; and whether it goes into it again.
    pub async fn after(&self, packet: Hypothesis) -> (Vec<Step>, Goes) {
        let Hypothesis {
            source,
            destination,
            ..
        } = packet;
        let tunnel = &self.report.interface;
        let goes = self.foreign((source, destination), tunnel).await;
        let mut steps = Vec::new();
        let is_ipv4 = source.is_ipv4();
        if goes != Goes::Here {
            steps.push(stops::forwarding(
                tunnel,
                is_ipv4,
                forwards(tunnel, is_ipv4),
                &goes,
            ));
        }
        steps.push(stops::out_of_tunnel(destination, &goes));
        let leaves_by = match &goes {
            Goes::Through { interface, .. } => Some(interface.as_str()),
            Goes::Here | Goes::Nowhere { .. } => None,
        };
        steps.push(self.firewall(packet, Some(tunnel), leaves_by));
        if let Goes::Through { interface, mtu } = &goes {
            steps.push(stops::mtu(packet.size(), *mtu, interface, true));
        }
        (steps, goes)
    }

    /// The way of our datagrams to a peer's endpoint.
    pub async fn underlay(&self, endpoint: SocketAddr) -> Step {
        let mark = self.report.fwmark;
        let path = self.netlink.path_to(endpoint.ip(), None, mark).await;
        stops::underlay(endpoint, &self.goes(path), &self.report.interface)
    }

    /// What comes in by an interface.
    async fn foreign(&self, ends: (IpAddr, IpAddr), interface: &str) -> Goes {
        let index = self.links.iter().find(|link| link.name == interface);
        let index = index.map_or(0, |link| link.index);
        self.goes(self.netlink.path_of_foreign(ends, index).await)
    }

    fn goes(&self, path: Result<Path, NetlinkError>) -> Goes {
        match path {
            Ok(path) if path.is_local => Goes::Here,
            Ok(path) => {
                let link = self.links.iter().find(|link| link.index == path.interface);
                Goes::Through {
                    interface: link.map_or_else(
                        || format!("interface {}", path.interface),
                        |link| link.name.clone(),
                    ),
                    mtu: path.mtu.or(link.map(|link| link.mtu)).unwrap_or(u32::MAX),
                }
            }
            Err(error) => Goes::Nowhere {
                why: error.to_string(),
                errno: error.errno(),
            },
        }
    }

    fn firewall(
        &self,
        packet: Hypothesis,
        arrives_by: Option<&str>,
        leaves_by: Option<&str>,
    ) -> Step {
        let passing = Passing {
            arrives_by,
            leaves_by,
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            ports: packet.has_ports().then_some(packet.ports),
        };
        stops::firewall(self.rules.as_ref(), &passing)
    }
}

/// The longest of these prefixes that has `address`: its length, and whose it is.
fn longest<'n, T>(
    networks: impl Iterator<Item = (&'n str, T)>,
    address: IpAddr,
) -> Option<(u8, T)> {
    let having = networks.filter_map(|(text, of)| {
        let network: IpNet = text.parse().ok()?;
        network
            .contains(&address)
            .then_some((network.prefix_len(), of))
    });
    having.max_by_key(|(bits, _)| *bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_has_an_address() {
        let all = [("0.0.0.0/0", 0), ("10.0.0.0/8", 1), ("10.1.0.0/16", 2)];
        let find = |address: &str| longest(all.into_iter(), address.parse().unwrap());
        assert_eq!(find("10.1.2.3"), Some((16, 2)));
        assert_eq!(find("10.2.2.3"), Some((8, 1)));
        assert_eq!(find("192.0.2.1"), Some((0, 0)));
        assert_eq!(find("fd00::1"), None);
    }
}
