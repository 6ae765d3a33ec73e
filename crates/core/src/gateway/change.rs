//! A change of a gateway that runs: its key and its peers, all at once.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weapon_noise::{PresharedKey, PrivateKey, PublicKey};

use super::{Env, Gateway, PeerConfig, Policy, Services};
use crate::{Mappings, Peer, PeerId, PrefixMapping};

/// What is to be another: one `set` of WireGuard's configuration protocol, or a file that was
/// changed. What is `None` or false stays as it is.
#[derive(Debug, Default)]
pub struct GatewayChange {
    /// Our static key; `Some(None)` takes it away.
    pub private_key: Option<Option<PrivateKey>>,
    /// Our addresses on the overlay.
    pub addresses: Option<Vec<IpAddr>>,
    /// Prefixes behind us that peers know by others.
    pub mappings: Option<Vec<PrefixMapping>>,
    /// Rules and flows; `Some(None)` ends both. The size of a table that is there stays.
    pub policy: Option<Option<Policy>>,
    /// What peers get, all of them: also those that are not named in `peers`.
    pub services: Option<Services>,
    /// All peers that are there now go, before `peers` come.
    pub replace_peers: bool,
    /// Peers to add, change and remove, in this order. One may occur more than once.
    pub peers: Vec<PeerChange>,
}

/// What is to be another with one peer.
#[derive(Debug)]
pub struct PeerChange {
    /// Who it is.
    pub public_key: PublicKey,
    /// It goes; nothing else here counts then.
    pub remove: bool,
    /// It is changed if it is there, and not added if it is not.
    pub update_only: bool,
    /// Its name for people. Who gets another is to be given its networks again, as
    /// `replace_networks` says.
    pub name: Option<String>,
    /// The pre-shared key; `Some(None)` takes it away.
    pub preshared_key: Option<Option<PresharedKey>>,
    /// Where it is.
    pub endpoint: Option<SocketAddr>,
    /// Whether it stays there.
    pub endpoint_pinned: Option<bool>,
    /// The interval of the persistent keepalive; `Some(None)` ends it.
    pub persistent_keepalive: Option<Option<Duration>>,
    /// All its networks go, before `networks` come.
    pub replace_networks: bool,
    /// Networks to give it and to take from it, in this order.
    pub networks: Vec<NetworkChange>,
    /// A session with it is wanted at once, whether there is something to send or not.
    pub greet: bool,
}

/// A network that a peer gets or loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkChange {
    /// It has this network from now on, and nobody else has it.
    Give(IpNet),
    /// It has this network no more; nothing happens if somebody else has it.
    Take(IpNet),
}

impl PeerChange {
    /// Nothing yet: the peer is added if it is not there.
    pub fn of(public_key: PublicKey) -> Self {
        Self {
            public_key,
            remove: false,
            update_only: false,
            name: None,
            preshared_key: None,
            endpoint: None,
            endpoint_pinned: None,
            persistent_keepalive: None,
            replace_networks: false,
            networks: Vec::new(),
            greet: false,
        }
    }
}

impl Gateway {
    /// Makes the whole change, and publishes it to the lanes once. Sessions of peers that stay are
    /// kept.
    pub fn change(&mut self, change: GatewayChange, env: &mut Env<'_>) {
        match change.private_key {
            Some(Some(key)) => self.set_private_key(key, env),
            Some(None) => self.take_private_key(env),
            None => {}
        }
        if let Some(addresses) = change.addresses {
            self.unreachable.set_addresses(&addresses);
        }
        if let Some(mappings) = change.mappings {
            self.mappings = Arc::new(Mappings::new(mappings));
        }
        let is_policy_changed = change.policy.is_some();
        let watched = self.checkpoint.as_ref().map(Arc::clone);
        if let Some(policy) = change.policy {
            self.set_policy(policy);
        }
        if let Some(services) = change.services {
            self.replace_services(&services);
        }
        if change.replace_peers {
            self.drop_peers(self.ids(), env);
        }
        let mut cleared = self.clear_in_advance(&change.peers, env);
        let mut touched = Vec::new();
        for peer in change.peers {
            touched.extend(self.change_peer(peer, &mut cleared, env));
        }
        let before = self.checkpoint.as_ref().map(Arc::clone);
        self.publish();
        let is_same = match (&before, &self.checkpoint) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        if is_policy_changed || !is_same {
            self.judge_again(env.now.tick);
            self.end_unwatched(watched, env.now.tick);
        }
        // Only now: what a tunnel sends may be answered at once, and lanes must know the way.
        for touched in touched {
            self.settle(touched, env);
        }
    }

    /// Gives `network` to the peer, and takes it from whoever had it.
    pub fn add_network(&mut self, id: PeerId, network: IpNet) {
        if let Some(member) = self.members.get(&id) {
            Arc::make_mut(&mut self.routes).insert(network, &member.peer);
            self.publish();
        }
    }

    /// Takes `network` from the peer, if it has it.
    pub fn remove_network(&mut self, id: PeerId, network: IpNet) {
        if Arc::make_mut(&mut self.routes).remove(network, id) {
            self.publish();
        }
    }

    /// Changes a peer's pre-shared key, from its next handshake on (P23).
    pub fn set_preshared_key(&mut self, id: PeerId, key: Option<PresharedKey>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.tunnel.set_preshared_key(key);
        }
    }

    /// Changes the interval of a peer's persistent keepalive.
    pub fn set_persistent_keepalive(
        &mut self,
        id: PeerId,
        interval: Option<Duration>,
        env: &mut Env<'_>,
    ) {
        if let Some(member) = self.members.get_mut(&id) {
            member.persistent_keepalive = interval;
        }
        self.with_tunnel(id, env, |tunnel, identity, host| {
            tunnel.set_persistent_keepalive(interval, identity, host.now().tick, host);
        });
    }

    /// Removes the peers that are named first to be removed, and empties those that are named first
    /// to be emptied: one walk over all routes instead of one for each.
    fn clear_in_advance(&mut self, peers: &[PeerChange], env: &mut Env<'_>) -> BTreeSet<PublicKey> {
        let mut first: BTreeMap<PublicKey, &PeerChange> = BTreeMap::new();
        for peer in peers {
            first.entry(peer.public_key).or_insert(peer);
        }
        let mut leaving = Vec::new();
        let mut emptied = BTreeSet::new();
        let mut cleared = BTreeSet::new();
        for (key, peer) in first {
            let Some(&id) = self.by_key.get(&key) else {
                continue;
            };
            if peer.remove {
                leaving.push(id);
            } else if peer.replace_networks {
                emptied.insert(id);
                cleared.insert(key);
            }
        }
        if !emptied.is_empty() {
            Arc::make_mut(&mut self.routes).remove_peers(&emptied);
        }
        self.drop_peers(leaving, env);
        cleared
    }

    /// Removes peers without telling the lanes yet.
    fn drop_peers(&mut self, ids: Vec<PeerId>, env: &mut Env<'_>) {
        if ids.is_empty() {
            return;
        }
        let ids: BTreeSet<PeerId> = ids.into_iter().collect();
        Arc::make_mut(&mut self.routes).remove_peers(&ids);
        for id in ids {
            self.forget(id, env);
        }
    }

    /// Makes one peer's change; says what its tunnel is to be told when lanes know of it.
    fn change_peer(
        &mut self,
        change: PeerChange,
        cleared: &mut BTreeSet<PublicKey>,
        env: &mut Env<'_>,
    ) -> Option<Touched> {
        let there = self.by_key.get(&change.public_key).copied();
        if change.remove {
            self.drop_peers(there.into_iter().collect(), env);
            return None;
        }
        let (id, is_new) = match there {
            Some(id) => (id, false),
            None if change.update_only => return None,
            // Our own key is no peer's (P22).
            None => (self.insert(PeerConfig::unnamed(change.public_key))?, true),
        };
        if change.replace_networks && !is_new && !cleared.remove(&change.public_key) {
            Arc::make_mut(&mut self.routes).remove_peers(&BTreeSet::from([id]));
        }
        if let Some(key) = change.preshared_key {
            self.set_preshared_key(id, key);
        }
        if let Some(member) = self.members.get_mut(&id) {
            if let Some(name) = change.name.filter(|name| **name != *member.peer.name) {
                let link = Arc::clone(&member.peer.link);
                member.peer = Arc::new(Peer::new(id, &name, link));
            }
            if let Some(is_pinned) = change.endpoint_pinned {
                member.tunnel.link().set_endpoint_pinned(is_pinned);
            }
            let routes = Arc::make_mut(&mut self.routes);
            for network in change.networks {
                match network {
                    NetworkChange::Give(network) => drop(routes.insert(network, &member.peer)),
                    NetworkChange::Take(network) => drop(routes.remove(network, id)),
                }
            }
        }
        Some(Touched {
            id,
            is_new,
            endpoint: change.endpoint,
            persistent_keepalive: change.persistent_keepalive,
            greet: change.greet,
        })
    }

    fn settle(&mut self, touched: Touched, env: &mut Env<'_>) {
        let id = touched.id;
        // It may have been removed again by the same change.
        if !self.members.contains_key(&id) {
            return;
        }
        if touched.is_new && self.is_running() {
            self.with_tunnel(id, env, |tunnel, identity, host| {
                tunnel.up(identity, host.now().tick, host);
            });
        }
        if let Some(remote) = touched.endpoint {
            self.set_endpoint(id, remote, env);
        }
        if let Some(interval) = touched.persistent_keepalive {
            self.set_persistent_keepalive(id, interval, env);
        }
        if touched.greet && self.is_running() {
            self.with_tunnel(id, env, |tunnel, identity, host| {
                tunnel.want_session(identity, host.now().tick, host);
            });
        }
    }
}

/// A peer that was added or changed, and what is left to be done.
struct Touched {
    id: PeerId,
    is_new: bool,
    endpoint: Option<SocketAddr>,
    persistent_keepalive: Option<Option<Duration>>,
    greet: bool,
}
