//! The interface of a gateway: TUN device, MTU, addresses, routes to what lies behind the peers.
//!
//! Everything hangs on the device, and the device on the process: when it ends, in whatever way,
//! the kernel removes all of it.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use ipnet::IpNet;
use weapon_io::{
    netlink::{MAIN_TABLE, Netlink, NetlinkError, Route},
    tun::{Offloads, Tun, TunConfig},
};
use weapon_wire::SEGMENTS_MAX;

use crate::{
    config::{Config, Place},
    left_out::{Connected, LeftOut, taken_from},
};

/// Bytes that a data message adds to an inner packet, over IPv6 (P90).
pub const OVERHEAD: u32 = 80;

/// MTU where nothing else is known: Ethernet's 1500 less [`OVERHEAD`].
pub const MTU_DEFAULT: u32 = 1420;

/// The smallest MTU of IPv6.
const MTU_MIN: u32 = 1280;

/// Makes the interface as the configuration says, with a queue for each lane. If
/// anything fails, nothing of it is left.
///
/// # Errors
/// What the kernel refused.
pub async fn make(
    config: &Config,
    fittings: &Fittings,
    lanes: usize,
    netlink: &Netlink,
) -> anyhow::Result<Tun> {
    let mtu = mtu(config, netlink).await;
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
    fittings.tell_left_out();
    for &network in &fittings.routes {
        add_route(&fittings.route(network, index), config, netlink).await?;
    }
    Ok(tun)
}

/// The MTU of the configuration, or the best for its peers.
pub async fn mtu(config: &Config, netlink: &Netlink) -> u32 {
    match config.mtu {
        Some(mtu) => mtu,
        None => mtu_by_paths(config, netlink).await,
    }
}

/// The interface on its way from one configuration to another: it has what either of them says.
pub struct Replacement<'n> {
    index: u32,
    netlink: &'n Netlink,
    /// What was added.
    done: Fittings,
    /// What is to be removed.
    go: Fittings,
    /// What it was, if it was changed.
    mtu: Option<u32>,
}

impl<'n> Replacement<'n> {
    /// Gives the interface `index`, which is as `old` says, all that `new` says; each with its
    /// fittings.
    ///
    /// # Errors
    /// What the kernel refused; the interface is as it was then.
    pub async fn begin(
        index: u32,
        (old, before): (&Config, &Fittings),
        (new, after): (&Config, &Fittings),
        netlink: &'n Netlink,
    ) -> anyhow::Result<Self> {
        let mut replacement = Self {
            index,
            netlink,
            done: Fittings::default(),
            go: before.without(after),
            mtu: None,
        };
        let come = after.without(before);
        let mut added = add(&come, &mut replacement.done, index, new, netlink).await;
        if added.is_ok() && old.mtu != new.mtu {
            added = replacement.set_mtu(new).await;
        }
        match added {
            Ok(()) => Ok(replacement),
            Err(error) => {
                replacement.undo().await;
                Err(error)
            }
        }
    }

    async fn set_mtu(&mut self, new: &Config) -> anyhow::Result<()> {
        let before = self.netlink.link_by_index(self.index).await?.mtu;
        let wanted = mtu(new, self.netlink).await;
        let set = self.netlink.set_mtu(self.index, wanted).await;
        set.with_context(|| new.at(&new.written.interface))?;
        self.mtu = Some(before);
        Ok(())
    }

    /// It stays as it was.
    pub async fn undo(self) {
        self.done.remove(self.index, self.netlink).await;
        if let Some(mtu) = self.mtu
            && let Err(error) = self.netlink.set_mtu(self.index, mtu).await
        {
            tracing::warn!(%error, "the MTU did not go back");
        }
    }

    /// What was only in the old configuration goes.
    pub async fn finish(self) {
        self.go.remove(self.index, self.netlink).await;
    }
}

/// Adds `come`, and notes in `done` what was added.
async fn add(
    come: &Fittings,
    done: &mut Fittings,
    index: u32,
    config: &Config,
    netlink: &Netlink,
) -> anyhow::Result<()> {
    for &address in &come.addresses {
        netlink
            .add_address(index, address)
            .await
            .with_context(|| at(config, config.written.addresses.get(&address)))?;
        done.addresses.push(address);
    }
    for &network in &come.routes {
        add_route(&come.route(network, index), config, netlink).await?;
        done.table = come.table;
        done.routes.push(network);
    }
    Ok(())
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
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fittings {
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// What it leads to, beside what its addresses bring.
    pub routes: Vec<IpNet>,
    /// What it does not lead to, though it was to.
    pub left_out: Vec<LeftOut>,
    /// The table of routes that lead everywhere. Which packets are looked up there, policy rules
    /// say; all other routes are in the main table.
    pub table: u32,
    /// What is reached beside a tunnel that is the way to everywhere.
    pub kept: Vec<IpNet>,
}

impl Fittings {
    /// Those of the configuration, on a host that is part of these prefixes itself.
    pub fn of(config: &Config, connected: &[Connected]) -> Self {
        let networks = config.peers.iter().flat_map(|peer| &peer.networks);
        let networks = networks.filter(|_| config.routes).copied();
        let kept = connected.iter().filter(|it| it.is_kept(config.lan_access));
        let mut fittings = Self {
            addresses: config.addresses.clone(),
            table: config.fwmark,
            kept: kept.map(|it| it.prefix).collect(),
            ..Self::default()
        };
        for network in networks.filter(|&network| !is_connected(network, config)) {
            match taken_from(network, connected) {
                Some(left) => fittings.left_out.push(left),
                None => fittings.routes.push(network),
            }
        }
        fittings
    }

    fn tell_left_out(&self) {
        for left in &self.left_out {
            tracing::warn!("{left}");
        }
    }

    /// Those that are not among `others`.
    pub fn without(&self, others: &Self) -> Self {
        let left = |mine: &[IpNet], theirs: &[IpNet]| {
            let theirs: BTreeSet<&IpNet> = theirs.iter().collect();
            let mine = mine.iter().filter(|it| !theirs.contains(it));
            mine.copied().collect()
        };
        let routes = |all: &Self| -> Vec<(IpNet, u32)> {
            let routes = all.routes.iter();
            routes.map(|&it| (it, all.table_of(it))).collect()
        };
        let theirs: BTreeSet<(IpNet, u32)> = routes(others).into_iter().collect();
        let mine = routes(self).into_iter().filter(|it| !theirs.contains(it));
        Self {
            addresses: left(&self.addresses, &others.addresses),
            routes: mine.map(|(network, _)| network).collect(),
            table: self.table,
            ..Self::default()
        }
    }

    /// The route to one of [`routes`](Self::routes), by the interface `index`.
    pub fn route(&self, network: IpNet, index: u32) -> Route {
        Route::new(network, index).in_table(self.table_of(network))
    }

    fn table_of(&self, network: IpNet) -> u32 {
        if network.prefix_len() == 0 {
            self.table
        } else {
            MAIN_TABLE
        }
    }

    /// Takes them from the interface. What is not there any more is no loss.
    pub async fn remove(&self, index: u32, netlink: &Netlink) {
        for &network in &self.routes {
            note(netlink.delete_route(&self.route(network, index)).await);
        }
        for &address in &self.addresses {
            note(netlink.delete_address(index, address).await);
        }
    }

    /// Gives them back to the interface `index`, which is up again. What cannot be given is said.
    pub async fn restore(&self, index: u32, netlink: &Netlink) {
        for &address in &self.addresses {
            warn_unless_there(netlink.add_address(index, address).await);
        }
        for &network in &self.routes {
            warn_unless_there(netlink.add_route(&self.route(network, index)).await);
        }
    }
}

fn note(removed: Result<(), NetlinkError>) {
    if let Err(error) = removed {
        tracing::debug!(%error, "was gone already");
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

async fn add_route(route: &Route, config: &Config, netlink: &Netlink) -> anyhow::Result<()> {
    let network = route.destination;
    let place = || at(config, config.written.networks.get(&network));
    match netlink.add_route(route).await {
        Ok(()) => Ok(()),
        Err(error) if error.is_exists() => {
            let there = existing(network, netlink).await;
            let owner = config
                .peers
                .iter()
                .find(|it| it.networks.contains(&network));
            bail!(
                "{}: there is a route to {network}{there} already; remove it, or give peer `{}` \
                 other networks",
                place(),
                owner.map_or("", |peer| &peer.name)
            );
        }
        Err(error) => Err(error).with_context(place),
    }
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
