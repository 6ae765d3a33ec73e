//! A gateway: all its peers, as the control loop owns them.
//!
//! It is told what happened, with the time and the ways out in an [`Env`]; it publishes what lanes
//! need as a [`Fib`]; it says when it wants to be called again.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weapon_noise::{
    Cipher, CookieChecker, Entropy, Identity, LoadGauge, PublicKey, Tick, Tunnel, TunnelConfig,
};
use weapon_wire::{Endpoint, VnetHeader};

use crate::{
    Attention, Checkpoint, Counters, DropReason, Fib, Mappings, Mtus, Peer, PeerId, Routes,
    SharedFib,
    flows::EventQueue,
    parked::Parked,
    ports::{Overlay, TimestampStore, Underlay},
};

mod change;
pub use change::{GatewayChange, NetworkChange, PeerChange};
mod config;
pub use config::{GatewayConfig, PeerConfig};
mod dump;
pub use dump::{GatewayDump, PeerDump};
mod endpoint;
mod examine;
pub use examine::{Ahead, Examination, Judgement, KnownFlow, LimitAhead};
mod handshakes;
pub use handshakes::HANDSHAKE_QUEUE_MAX;
mod now;
pub use now::{Now, WallTime};
mod happenings;
pub use happenings::{HAPPENINGS_MAX, Happening};
mod origins;
pub use origins::{ORIGINS, OriginHash, WAITING_OF_ORIGIN_MAX};
mod candidates;
mod host;
pub use candidates::ADDRESSES_MAX;
mod key;
mod policy;
pub use policy::Policy;
mod services;
pub use services::{GroupService, LimitStatus, PeerService, RateLimits, ServiceStatus, Services};
mod rejections;
pub use rejections::{REJECTIONS_MAX, RejectedBecause, Rejection};
mod status;
pub use status::{GatewayStatus, PeerStatus, SessionStatus};
mod unreachable;
use host::{Host, Shared};
use unreachable::Unreachable;

/// Receiver indices that a peer holds at most: three keypairs and a handshake (P57).
const INDICES_PER_PEER_MAX: usize = 4;

/// What a call into the gateway may use.
pub struct Env<'a> {
    /// The time of the call.
    pub now: Now,
    /// Where datagrams go.
    pub underlay: &'a mut dyn Underlay,
    /// Where ICMP errors go.
    pub overlay: &'a mut dyn Overlay,
    /// Randomness for keys.
    pub entropy: &'a mut dyn Entropy,
    /// Keeps the timestamp's high-water mark.
    pub store: &'a mut dyn TimestampStore,
}

/// A gateway and its peers.
#[derive(Debug)]
pub struct Gateway {
    identity: Identity,
    /// There is no key of ours: nothing is sent and nothing is answered. `identity` is then that of
    /// 32 zero bytes.
    is_keyless: bool,
    /// Boxed, because a node of the map is half empty when it was filled in order.
    members: BTreeMap<PeerId, Box<Member>>,
    by_key: BTreeMap<PublicKey, PeerId>,
    /// Shared with lanes, and copied when it is to be changed.
    routes: Arc<Routes>,
    mappings: Arc<Mappings>,
    policy: Option<Policy>,
    /// What lanes have of it.
    checkpoint: Option<Arc<Checkpoint>>,
    /// What peers get that is not what all get.
    services: services::Made,
    /// What happens to flows.
    flow_events: Arc<EventQueue>,
    /// When flows were last looked at whose time is over.
    swept: Tick,
    mtus: Mtus,
    cipher: &'static dyn Cipher,
    next_id: u32,
    up: bool,
    shared: Shared,
    cookies: CookieChecker,
    load: LoadGauge,
    origins: origins::Origins,
    rejections: rejections::Rejections,
    unreachable: Unreachable,
    /// Each peer's next deadline. A peer that waits for nothing is not in it.
    deadlines: BTreeSet<(Tick, PeerId)>,
}

/// A peer, and what only the control loop knows of it.
#[derive(Debug)]
struct Member {
    peer: Arc<Peer>,
    tunnel: Tunnel,
    parked: Parked,
    /// Where a name service says it is. Most peers have none.
    candidates: Option<Box<candidates::Candidates>>,
    persistent_keepalive: Option<Duration>,
    /// When a handshake last completed; 1970, when clocks begin, is never. Smaller than an option.
    last_handshake: WallTime,
    /// When the tunnel must be called, and why.
    deadline: Option<(Tick, &'static str)>,
}

impl Gateway {
    /// A gateway without peers, its interface down.
    pub fn new(config: GatewayConfig) -> Self {
        let identity = Identity::new(config.private_key);
        let mut gateway = Self {
            cookies: CookieChecker::new(&identity),
            identity,
            is_keyless: false,
            members: BTreeMap::new(),
            by_key: BTreeMap::new(),
            routes: Arc::default(),
            mappings: Arc::new(Mappings::new(config.mappings)),
            policy: None,
            checkpoint: None,
            services: services::Made::default(),
            flow_events: Arc::default(),
            swept: Tick::default(),
            mtus: Mtus::new(config.mtu, Vec::new()),
            cipher: config.cipher,
            next_id: 0,
            up: false,
            shared: Shared::new(config.timestamp_mark),
            load: LoadGauge::new(),
            origins: origins::Origins::new(),
            rejections: rejections::Rejections::default(),
            unreachable: Unreachable::new(&config.addresses),
            deadlines: BTreeSet::new(),
        };
        gateway.set_policy(config.policy);
        gateway.publish();
        gateway
    }

    /// What lanes read.
    pub fn fib(&self) -> &SharedFib {
        &self.shared.fib
    }

    /// The control loop's counters.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Our static public key.
    pub fn public_key(&self) -> PublicKey {
        *self.identity.public()
    }

    /// The peer with the static key `key`.
    pub fn peer_by_key(&self, key: &PublicKey) -> Option<PeerId> {
        self.by_key.get(key).copied()
    }

    /// The peer with the name `name`.
    pub fn peer_by_name(&self, name: &str) -> Option<PeerId> {
        self.members
            .values()
            .map(|member| &member.peer)
            .find(|peer| &*peer.name == name)
            .map(|p| p.id)
    }

    /// Adds a peer. One with our own key is ignored (P22), as is one whose key is there already.
    pub fn add_peer(&mut self, config: PeerConfig, env: &mut Env<'_>) -> Option<PeerId> {
        let id = self.insert(config)?;
        self.publish();
        if self.is_running() {
            self.with_tunnel(id, env, |tunnel, identity, host| {
                tunnel.up(identity, host.now().tick, host);
            });
        }
        Some(id)
    }

    /// Adds many peers to a gateway that is down, and publishes once.
    pub fn add_peers(&mut self, configs: impl IntoIterator<Item = PeerConfig>) {
        for config in configs {
            self.insert(config);
        }
        self.publish();
    }

    fn insert(&mut self, config: PeerConfig) -> Option<PeerId> {
        let is_ourselves = !self.is_keyless && config.public_key == self.public_key();
        if is_ourselves || self.by_key.contains_key(&config.public_key) {
            return None;
        }
        let id = PeerId(self.next_id);
        // An id is never used twice: after 2^32 of them no peer is added.
        self.next_id = self.next_id.checked_add(1)?;
        let tunnel = Tunnel::new(
            &self.identity,
            TunnelConfig {
                public_key: config.public_key,
                preshared_key: config.preshared_key,
                persistent_keepalive: config.persistent_keepalive,
                cipher: self.cipher,
            },
        );
        let link = tunnel.link();
        link.set_endpoint(config.endpoint.map(Endpoint::new));
        link.set_endpoint_pinned(config.endpoint_pinned);
        let peer = Arc::new(Peer::new(id, &config.name, Arc::clone(link)));
        let routes = Arc::make_mut(&mut self.routes);
        for network in config.networks {
            routes.insert(network, &peer);
        }
        let member = Member {
            peer,
            tunnel,
            parked: Parked::default(),
            candidates: None,
            persistent_keepalive: config.persistent_keepalive,
            last_handshake: WallTime::default(),
            deadline: None,
        };
        self.rejections.forget(&config.public_key);
        self.shared.happenings.know(&member.peer);
        self.members.insert(id, Box::new(member));
        self.by_key.insert(config.public_key, id);
        self.shared
            .indices
            .make_room(self.members.len().saturating_mul(INDICES_PER_PEER_MAX));
        Some(id)
    }

    /// Removes a peer: its sessions, timers, parked packets and networks are gone (P52, P102).
    pub fn remove_peer(&mut self, id: PeerId, env: &mut Env<'_>) {
        self.forget(id, env);
        Arc::make_mut(&mut self.routes).remove_peers(&BTreeSet::from([id]));
        self.publish();
        self.judge_again(env.now.tick);
    }

    /// Removes all of a peer but its networks.
    fn forget(&mut self, id: PeerId, env: &mut Env<'_>) {
        self.with_tunnel(id, env, |tunnel, _, host| tunnel.down(host));
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        if let Some((at, _)) = member.deadline {
            self.deadlines.remove(&(at, id));
        }
        self.by_key.remove(&member.tunnel.public_key());
        self.shared.happenings.forget(id);
    }

    /// The MTU of the interface changed, or of a route through it.
    pub fn set_mtus(&mut self, mtus: Mtus) {
        if self.mtus != mtus {
            self.mtus = mtus;
            self.publish();
        }
    }

    /// Whether the interface is up.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Whether anything may be sent or answered.
    fn is_running(&self) -> bool {
        self.up && !self.is_keyless
    }

    /// The interface came up.
    pub fn up(&mut self, env: &mut Env<'_>) {
        if self.up {
            return;
        }
        self.up = true;
        if self.is_running() {
            self.tunnels_up(env);
        }
    }

    fn tunnels_up(&mut self, env: &mut Env<'_>) {
        for id in self.ids() {
            self.with_tunnel(id, env, |tunnel, identity, host| {
                tunnel.up(identity, host.now().tick, host);
            });
        }
    }

    /// The interface went down: timers stopped, handshakes and sessions erased, parked packets
    /// dropped (P11, P99).
    pub fn down(&mut self, env: &mut Env<'_>) {
        self.up = false;
        self.tunnels_down(env);
    }

    fn tunnels_down(&mut self, env: &mut Env<'_>) {
        for id in self.ids() {
            self.with_tunnel(id, env, |tunnel, _, host| tunnel.down(host));
        }
    }

    fn ids(&self) -> Vec<PeerId> {
        self.members.keys().copied().collect()
    }

    /// A lane parked `read` for the peer, as read from the overlay.
    pub fn park(&mut self, id: PeerId, read: Box<[u8]>, env: &mut Env<'_>) {
        let now = env.now.tick;
        let Some(member) = self.members.get(&id) else {
            // Removed while the packet was in the queue.
            self.shared.counters.count(DropReason::NoSession);
            return;
        };
        if let Some(reason) = self.cannot_park(member) {
            self.shared.note_read(reason, &member.peer, &read, now);
            if reason == DropReason::NoEndpoint {
                self.return_unreachable(read.get(VnetHeader::LEN..).unwrap_or_default(), env);
            }
            return;
        }
        self.with_tunnel(id, env, |tunnel, identity, host| {
            host.park(read);
            let now = host.now().tick;
            // The session may have come while the packet was in the queue.
            if tunnel.link().sending(now).is_some() {
                host.release(tunnel.link());
            } else {
                tunnel.want_session(identity, now, host);
            }
        });
    }

    /// Why nothing can wait for a session with the peer.
    fn cannot_park(&self, member: &Member) -> Option<DropReason> {
        if !self.up {
            Some(DropReason::InterfaceDown)
        } else if self.is_keyless {
            Some(DropReason::NoSession)
        } else if member.peer.link.endpoint().is_none() {
            Some(DropReason::NoEndpoint)
        } else {
            None
        }
    }

    /// A lane dropped a packet that starts with `packet`: tells its sender (P84).
    pub fn return_unreachable(&mut self, packet: &[u8], env: &mut Env<'_>) {
        let mappings = &self.mappings;
        self.unreachable
            .answer(packet, mappings, env.now.tick, env.overlay);
    }

    /// A lane asked for attention to a peer.
    pub fn attend(&mut self, id: PeerId, env: &mut Env<'_>) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        let wants = member.peer.take_attention();
        self.with_tunnel(id, env, |tunnel, identity, host| {
            if wants.contains(Attention::Confirmed) {
                tunnel.confirmed(host);
            }
            if wants.contains(Attention::WantSession) {
                tunnel.want_session(identity, host.now().tick, host);
            }
        });
    }

    /// When the gateway wants to be called next, and why.
    pub fn poll_timeout(&self) -> Option<(Tick, &'static str)> {
        // The tunnel is not asked: it would take that for a promise to call it at what it says now,
        // and a lane's stamp of this moment would wake nobody.
        let of_peers = self.deadlines.first();
        let of_peers = of_peers.and_then(|(_, id)| self.members.get(id)?.deadline);
        let all = of_peers.into_iter().chain(self.sweep_deadline());
        all.min_by_key(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, env: &mut Env<'_>) {
        let now = env.now.tick;
        self.sweep(now);
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > now {
                return;
            }
            self.deadlines.remove(&(at, id));
            if let Some(member) = self.members.get_mut(&id) {
                member.deadline = None;
            }
            self.with_tunnel(id, env, |tunnel, identity, host| {
                tunnel.handle_timeout(identity, now, host);
            });
            // Its own: that of another peer may be due at the same moment.
            let next = self.members.get(&id).and_then(|member| member.deadline);
            debug_assert!(
                next.is_none_or(|(next, _)| next > at),
                "a deadline that was handled moves on"
            );
        }
    }

    /// Runs `act` on a peer's tunnel, notes its next deadline, and serves what came of it.
    fn with_tunnel<R>(
        &mut self,
        id: PeerId,
        env: &mut Env<'_>,
        act: impl FnOnce(&mut Tunnel, &Identity, &mut Host<'_, '_>) -> R,
    ) -> Option<R> {
        let Self {
            members,
            shared,
            identity,
            deadlines,
            ..
        } = self;
        let Member {
            peer,
            tunnel,
            parked,
            last_handshake,
            deadline,
            candidates,
            ..
        } = &mut **members.get_mut(&id)?;
        let mut host = Host::new(
            shared,
            peer,
            parked,
            candidates.as_deref_mut(),
            last_handshake,
            env,
        );
        let result = act(tunnel, identity, &mut host);
        let tried = shared.unanswered.get(&id).copied().flatten();
        shared.happenings.note_endpoint(peer, tried);
        let next = tunnel.poll_timeout();
        if *deadline != next {
            if let Some((at, _)) = *deadline {
                deadlines.remove(&(at, id));
            }
            if let Some((at, _)) = next {
                deadlines.insert((at, id));
            }
            *deadline = next;
        }
        while let Some(asked) = self.shared.asked.pop() {
            self.attend(asked, env);
        }
        Some(result)
    }

    fn publish(&mut self) {
        self.refresh_policy();
        let peers = self.members.values();
        let fib = Fib {
            routes: Arc::clone(&self.routes),
            peers: peers.map(|member| Arc::clone(&member.peer)).collect(),
            sessions: Some(Arc::clone(self.shared.indices.table())),
            mappings: Arc::clone(&self.mappings),
            mtus: self.mtus.clone(),
            checkpoint: self.checkpoint.as_ref().map(Arc::clone),
            services: self.service_table(),
        };
        self.shared.fib.store(Arc::new(fib));
    }
}
