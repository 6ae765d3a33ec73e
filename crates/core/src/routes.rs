//! Cryptokey routing: which peer has an address (paper section 2.1).

use core::net::IpAddr;
use std::{collections::BTreeSet, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use crate::{Peer, PeerId};

/// The networks of all peers, IPv4 and IPv6. The longest prefix wins.
///
/// The table leads to the peer itself, not to its number: a packet that has found its network needs
/// no second search, however many peers there are.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    v4: PrefixMap<Ipv4Net, Arc<Peer>>,
    v6: PrefixMap<Ipv6Net, Arc<Peer>>,
}

impl Routes {
    /// The peer with the longest prefix that contains `address`.
    pub fn lookup(&self, address: IpAddr) -> Option<&Arc<Peer>> {
        match address {
            IpAddr::V4(address) => self.v4.get_lpm(&Ipv4Net::from(address)).map(|(_, it)| it),
            IpAddr::V6(address) => self.v6.get_lpm(&Ipv6Net::from(address)).map(|(_, it)| it),
        }
    }

    /// As [`Routes::lookup`], with the prefix that decides. By another way than lanes look: a
    /// second caller of theirs would cost them a call.
    #[cold]
    pub fn lookup_network(&self, address: IpAddr) -> Option<(IpNet, &Arc<Peer>)> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (0..=longest).rev().find_map(|len| {
            let network = IpNet::new(address, len).ok()?.trunc();
            let peer = match &network {
                IpNet::V4(network) => self.v4.get(network),
                IpNet::V6(network) => self.v6.get(network),
            };
            Some((network, peer?))
        })
    }

    /// Gives `network` to `peer`; host bits are cut off. If another peer had it, it moves (P86).
    /// Returns that peer.
    pub fn insert(&mut self, network: IpNet, peer: &Arc<Peer>) -> Option<Arc<Peer>> {
        let peer = Arc::clone(peer);
        match network.trunc() {
            IpNet::V4(network) => self.v4.insert(network, peer),
            IpNet::V6(network) => self.v6.insert(network, peer),
        }
    }

    /// Takes `network` from `peer`, if that peer has it. Returns whether it had.
    pub fn remove(&mut self, network: IpNet, peer: PeerId) -> bool {
        let network = network.trunc();
        if !self.has(peer, network) {
            return false;
        }
        match network {
            IpNet::V4(network) => self.v4.remove(&network).is_some(),
            IpNet::V6(network) => self.v6.remove(&network).is_some(),
        }
    }

    /// Takes all networks from `peers`, in one walk.
    pub fn remove_peers(&mut self, peers: &BTreeSet<PeerId>) {
        self.v4.retain(|_, owner| !peers.contains(&owner.id));
        self.v6.retain(|_, owner| !peers.contains(&owner.id));
    }

    /// Whether `peer` has exactly `network`.
    pub fn has(&self, peer: PeerId, network: IpNet) -> bool {
        let owner = match network {
            IpNet::V4(network) => self.v4.get(&network),
            IpNet::V6(network) => self.v6.get(&network),
        };
        owner.is_some_and(|owner| owner.id == peer)
    }

    /// All networks and their peers, IPv4 first, in order.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, &Arc<Peer>)> + '_ {
        let v4 = self
            .v4
            .iter()
            .map(|(network, peer)| (IpNet::V4(network), peer));
        let v6 = self
            .v6
            .iter()
            .map(|(network, peer)| (IpNet::V6(network), peer));
        v4.chain(v6)
    }

    /// How many networks there are.
    pub fn len(&self) -> usize {
        self.v4.len().saturating_add(self.v6.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
