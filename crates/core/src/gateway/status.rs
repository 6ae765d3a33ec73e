//! What a gateway tells about itself.

use core::{net::SocketAddr, sync::atomic::Ordering::Relaxed, time::Duration};
use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weapon_noise::{Arrivals, Attempts, PublicKey, Role, Tick, Trouble, Tunnel};
use weapon_wire::Source;

use super::{Gateway, Member, Rejection, ServiceStatus, WallTime};
use crate::PeerId;

/// A gateway at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// Our static public key.
    pub public_key: PublicKey,
    /// Whether the interface is up.
    pub up: bool,
    /// Bytes of the largest inner packet.
    pub mtu: usize,
    /// The peers, in the order of their addition.
    pub peers: Vec<PeerStatus>,
    /// Initiations that were not answered, the newest first.
    pub rejections: Vec<Rejection>,
}

/// A peer at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// Its static public key.
    pub public_key: PublicKey,
    /// Where it is.
    pub endpoint: Option<SocketAddr>,
    /// Which of our addresses it is answered from, and through which interface; the kernel chooses
    /// if there is none.
    pub source: Option<Source>,
    /// The networks behind it.
    pub networks: Vec<IpNet>,
    /// The interval of the persistent keepalive.
    pub persistent_keepalive: Option<Duration>,
    /// When a handshake last completed.
    pub last_handshake: Option<WallTime>,
    /// The session that is sent with.
    pub session: Option<SessionStatus>,
    /// Time since an authenticated packet came.
    pub last_received_age: Option<Duration>,
    /// Bytes of authenticated messages.
    pub received_bytes: u64,
    /// Bytes of messages sent.
    pub sent_bytes: u64,
    /// Authenticated messages.
    pub received_packets: u64,
    /// Messages sent.
    pub sent_packets: u64,
    /// Packets that wait for a session.
    pub parked: usize,
    /// What arrived of the newest messages that the peer sent in the present session.
    pub arrivals: Option<Arrivals>,
    /// What became of the handshakes.
    pub attempts: Attempts,
    /// Time since we sent the last initiation.
    pub last_attempt_age: Option<Duration>,
    /// Why there is no new session, if one is wanted.
    pub trouble: Option<Trouble>,
    /// Its limits and its mark, if it has any.
    pub service: Option<ServiceStatus>,
}

/// A session at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Time since it was derived.
    pub age: Duration,
    /// Our side of its handshake.
    pub role: Role,
    /// Messages sealed with it.
    pub sent_packets: u64,
}

impl Gateway {
    /// The state at `now`.
    pub fn status(&self, now: Tick) -> GatewayStatus {
        let mut networks: BTreeMap<PeerId, Vec<IpNet>> = BTreeMap::new();
        for (network, owner) in self.routes.iter() {
            networks.entry(owner.id).or_default().push(network);
        }
        let peers = self.members.values().map(|member| {
            let networks = networks.remove(&member.peer.id).unwrap_or_default();
            self.status_of(member, networks, now)
        });
        GatewayStatus {
            public_key: self.public_key(),
            up: self.up,
            mtu: self.mtus.interface(),
            peers: peers.collect(),
            rejections: self.rejections.list(),
        }
    }

    /// A peer, of which these are the networks.
    pub(super) fn status_of(&self, member: &Member, networks: Vec<IpNet>, now: Tick) -> PeerStatus {
        let link = &member.peer.link;
        let sessions = member.tunnel.sessions();
        let session = sessions.current().map(|keypair| SessionStatus {
            age: now.since(keypair.created()),
            role: keypair.role(),
            sent_packets: keypair.sent_count(),
        });
        PeerStatus {
            name: member.peer.name.to_string(),
            public_key: member.tunnel.public_key(),
            endpoint: link.endpoint().as_deref().map(|endpoint| endpoint.remote),
            source: link
                .endpoint()
                .as_deref()
                .and_then(|endpoint| endpoint.source),
            networks,
            persistent_keepalive: member.persistent_keepalive,
            last_handshake: Some(member.last_handshake).filter(|at| *at != WallTime::default()),
            session,
            last_received_age: link.activity.last_received().map(|at| now.since(at)),
            received_bytes: link.traffic.received_bytes.load(Relaxed),
            sent_bytes: link.traffic.sent_bytes.load(Relaxed),
            received_packets: link.traffic.received_packets.load(Relaxed),
            sent_packets: link.traffic.sent_packets.load(Relaxed),
            parked: member.parked.len(),
            arrivals: arrivals(&member.tunnel),
            attempts: *member.tunnel.attempts(),
            last_attempt_age: member.tunnel.attempts().last_sent.map(|at| now.since(at)),
            trouble: member.tunnel.trouble(now),
            service: self.service_status(&member.tunnel.public_key()),
        }
    }
}

/// Of the newest session in which the peer has sent anything.
fn arrivals(tunnel: &Tunnel) -> Option<Arrivals> {
    let sessions = tunnel.sessions();
    let all = [sessions.current(), sessions.previous()];
    let mut all = all.into_iter().flatten().map(|keypair| keypair.arrivals());
    all.find(|arrivals| arrivals.sent != 0)
}
