//! Cryptokey routing: which peer has an address (paper section 2.1).

use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use crate::PeerId;

/// The networks of all peers, IPv4 and IPv6. The longest prefix wins.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    v4: PrefixMap<Ipv4Net, PeerId>,
    v6: PrefixMap<Ipv6Net, PeerId>,
}

impl Routes {
    /// The peer with the longest prefix that contains `address`.
    pub fn lookup(&self, address: IpAddr) -> Option<PeerId> {
        match address {
            IpAddr::V4(address) => self.v4.get_lpm(&Ipv4Net::from(address)).map(|(_, id)| *id),
            IpAddr::V6(address) => self.v6.get_lpm(&Ipv6Net::from(address)).map(|(_, id)| *id),
        }
    }

    /// Gives `network` to `peer`; host bits are cut off. If another peer had it, it moves (P86).
    /// Returns that peer.
    pub fn insert(&mut self, network: IpNet, peer: PeerId) -> Option<PeerId> {
        match network.trunc() {
            IpNet::V4(network) => self.v4.insert(network, peer),
            IpNet::V6(network) => self.v6.insert(network, peer),
        }
    }

    /// Takes `network` from `peer`, if that peer has it. Returns whether it had.
    pub fn remove(&mut self, network: IpNet, peer: PeerId) -> bool {
        let network = network.trunc();
        if self.owner(network) != Some(peer) {
            return false;
        }
        match network {
            IpNet::V4(network) => self.v4.remove(&network).is_some(),
            IpNet::V6(network) => self.v6.remove(&network).is_some(),
        }
    }

    /// Takes all networks from `peer`.
    pub fn remove_peer(&mut self, peer: PeerId) {
        self.v4.retain(|_, owner| *owner != peer);
        self.v6.retain(|_, owner| *owner != peer);
    }

    /// The peer that has exactly `network`.
    pub fn owner(&self, network: IpNet) -> Option<PeerId> {
        match network {
            IpNet::V4(network) => self.v4.get(&network).copied(),
            IpNet::V6(network) => self.v6.get(&network).copied(),
        }
    }

    /// All networks and their peers, IPv4 first, in order.
    pub fn iter(&self) -> impl Iterator<Item = (IpNet, PeerId)> + '_ {
        let v4 = self
            .v4
            .iter()
            .map(|(network, peer)| (IpNet::V4(network), *peer));
        let v6 = self
            .v6
            .iter()
            .map(|(network, peer)| (IpNet::V6(network), *peer));
        v4.chain(v6)
    }

    /// How many networks there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
