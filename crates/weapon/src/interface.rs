//! The interface of a gateway: TUN device, MTU, addresses, routes to what lies behind the peers.
//!
//! Everything hangs on the device, and the device on the process: when it ends, in whatever way,
//! the kernel removes all of it.

use anyhow::{Context, bail};
use ipnet::IpNet;
use weapon_io::{
    netlink::{Netlink, NetlinkError, Route},
    tun::{Offloads, Tun, TunConfig},
};
use weapon_wire::SEGMENTS_MAX;

use crate::config::{Config, PeerConfig, Place};

/// Bytes that a data message adds to an inner packet, over IPv6 (P90).
const OVERHEAD: u32 = 80;

/// MTU where nothing else is known: Ethernet's 1500 less [`OVERHEAD`].
pub const MTU_DEFAULT: u32 = 1420;

/// The smallest MTU of IPv6.
const MTU_MIN: u32 = 1280;

/// Makes the interface as the configuration says, with a queue for each lane. If
/// anything fails, nothing of it is left.
///
/// # Errors
/// What the kernel refused.
pub async fn make(config: &Config, lanes: usize, netlink: &Netlink) -> anyhow::Result<Tun> {
    let mtu = match config.mtu {
        Some(mtu) => mtu,
        None => mtu_by_paths(config, netlink).await,
    };
    let offloads = Offloads {
        tcp: config.offload.tcp,
        udp: config.offload.udp,
    };
    let tun = Tun::open(&TunConfig {
        name: config.interface.clone(),
        mtu,
        offloads,
        queues: lanes,
    })
    .with_context(|| config.at(&config.written.interface))?;
    let index = tun.ifindex();
    prepare(index, netlink).await?;
    for &address in &config.addresses {
        netlink
            .add_address(index, address)
            .await
            .with_context(|| at(config, config.written.addresses.get(&address)))?;
    }
    netlink.set_up(index).await?;
    if config.routes {
        for peer in &config.peers {
            add_routes(peer, config, index, netlink).await?;
        }
    }
    Ok(tun)
}

/// What every interface of ours needs before it is used.
///
/// # Errors
/// What the kernel refused.
pub async fn prepare(index: u32, netlink: &Netlink) -> Result<(), NetlinkError> {
    // A TCP connection with a tiny MSS would else make superpackets of more segments than we cut.
    netlink.set_segments_max(index, SEGMENTS_MAX as u32).await?;
    // Nobody in the tunnel answers neighbour or router discovery. Without IPv6 there is none.
    if let Err(error) = netlink.no_link_local(index).await {
        tracing::debug!(%error, "the interface may get a link-local address");
    }
    Ok(())
}

/// What the kernel takes from an interface that is set down.
#[derive(Debug)]
pub struct Fittings {
    addresses: Vec<IpNet>,
    routes: Vec<IpNet>,
}

impl Fittings {
    /// Those of the configuration.
    pub fn of(config: &Config) -> Self {
        let networks = config.peers.iter().flat_map(|peer| &peer.networks);
        let routes = networks.filter(|_| config.routes).copied();
        Self {
            addresses: config.addresses.clone(),
            routes: routes
                .filter(|&network| !is_connected(network, config))
                .collect(),
        }
    }

    /// Gives them back to the interface `index`, which is up again. What cannot be given is said.
    pub async fn restore(&self, index: u32, netlink: &Netlink) {
        for &address in &self.addresses {
            warn_unless_there(netlink.add_address(index, address).await);
        }
        for &network in &self.routes {
            warn_unless_there(netlink.add_route(&Route::new(network, index)).await);
        }
    }
}

fn warn_unless_there(added: Result<(), NetlinkError>) {
    if let Err(error) = added
        && !error.is_exists()
    {
        tracing::warn!(%error, "not set again after the interface was down");
    }
}

/// The smallest MTU on the way to the peers, less the overhead, but never more than what an
/// Ethernet in between would let through.
async fn mtu_by_paths(config: &Config, netlink: &Netlink) -> u32 {
    let mut smallest = MTU_DEFAULT + OVERHEAD;
    for peer in &config.peers {
        let host = peer
            .endpoint
            .as_ref()
            .map(|endpoint| endpoint.host.as_str());
        let Some(Ok(address)) = host.map(str::parse) else {
            continue;
        };
        let Ok(path) = netlink.path_to(address, None, config.fwmark).await else {
            continue;
        };
        let link = netlink.link_by_index(path.interface).await;
        let mtu = path.mtu.or_else(|| Some(link.ok()?.mtu));
        smallest = smallest.min(mtu.unwrap_or(smallest));
    }
    smallest.saturating_sub(OVERHEAD).max(MTU_MIN)
}

async fn add_routes(
    peer: &PeerConfig,
    config: &Config,
    index: u32,
    netlink: &Netlink,
) -> anyhow::Result<()> {
    for &network in &peer.networks {
        if is_connected(network, config) {
            continue;
        }
        match netlink.add_route(&Route::new(network, index)).await {
            Ok(()) => {}
            Err(error) if error.is_exists() => {
                let there = existing(network, netlink).await;
                bail!(
                    "{}: there is a route to {network}{there} already; remove it, or give peer \
                     `{}` other networks",
                    at(config, config.written.networks.get(&network)),
                    peer.name
                );
            }
            Err(error) => {
                let place = config.written.networks.get(&network);
                return Err(error).with_context(|| at(config, place));
            }
        }
    }
    Ok(())
}

fn at(config: &Config, place: Option<&Place>) -> String {
    config.at(place.unwrap_or(&config.written.interface))
}

/// Whether an address of the interface brings the route with it.
fn is_connected(network: IpNet, config: &Config) -> bool {
    config
        .addresses
        .iter()
        .any(|address| address.trunc() == network)
}

async fn existing(network: IpNet, netlink: &Netlink) -> String {
    let routes = netlink.all_routes().await.unwrap_or_default();
    let Some(route) = routes.iter().find(|route| route.destination == network) else {
        return String::new();
    };
    match netlink.link_by_index(route.interface).await {
        Ok(link) => format!(" through {}", link.name),
        Err(_) => String::new(),
    }
}
