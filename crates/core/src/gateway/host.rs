//! What a tunnel gets from its gateway.

use core::net::SocketAddr;
use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use weapon_noise::{
    Entropy, EntropyNotReady, KeyLog, Keypair, Link, Role, Tai64n, Tick, TimestampGuard,
    TunnelHost, protocol::HANDSHAKE_DS,
};
use weapon_wire::{
    Endpoint, VnetHeader,
    message::{Kind, kind},
};

use super::{Env, Happening, Now, WallTime, candidates::Candidates, happenings::Happenings};
use crate::{
    Counters, DropReason, Dropped, Fib, Outbound, Peer, PeerId, Session, SharedFib, Way,
    index_table::Indices,
    parked::Parked,
    ports::{HandshakeMessage, Upcalls},
    service::Service,
};

/// Bytes that wait for sessions at most, of all peers together.
const PARKED_BYTES_MAX: usize = 64 << 20;

/// What all tunnels of a gateway share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) indices: Indices,
    /// Bytes that wait for sessions, of all peers.
    pub(super) parked_bytes: usize,
    pub(super) timestamps: TimestampGuard,
    pub(super) fib: SharedFib,
    pub(super) counters: Arc<Counters>,
    /// Peers that got packets from the control loop itself and have wants since.
    pub(super) asked: Vec<PeerId>,
    /// Peers with a name that have not answered since somebody asked, and what is tried next.
    pub(super) unanswered: BTreeMap<PeerId, Option<SocketAddr>>,
    pub(super) happenings: Happenings,
    /// Who hears the secrets of handshakes, if anybody does.
    pub(super) key_log: Option<Box<dyn KeyLog>>,
}

impl Shared {
    /// Of a gateway without peers; its timestamps are later than the mark.
    pub(super) fn new(timestamp_mark: Option<Tai64n>) -> Self {
        Self {
            indices: Indices::default(),
            timestamps: TimestampGuard::new(timestamp_mark),
            fib: Arc::new(ArcSwap::from_pointee(Fib::default())),
            counters: Arc::default(),
            parked_bytes: 0,
            asked: Vec::new(),
            unanswered: BTreeMap::new(),
            happenings: Happenings::default(),
            key_log: None,
        }
    }

    /// Counts what was read from the overlay and died here, and notes it among the latest drops.
    pub(super) fn note_read(&self, reason: DropReason, peer: &Peer, read: &[u8], now: Tick) {
        let packet = read.get(VnetHeader::LEN..).unwrap_or_default();
        let fib = self.fib.load();
        let dropped = Dropped::clear(reason, Way::Outbound, Some(peer), packet, &fib);
        self.counters.note(dropped, 1, now);
    }
}

/// The gateway, seen by the tunnel of one peer during one call.
pub(super) struct Host<'a, 'env> {
    shared: &'a mut Shared,
    peer: &'a Arc<Peer>,
    parked: &'a mut Parked,
    candidates: Option<&'a mut Candidates>,
    last_handshake: &'a mut WallTime,
    env: &'a mut Env<'env>,
}

impl<'a, 'env> Host<'a, 'env> {
    pub(super) fn new(
        shared: &'a mut Shared,
        peer: &'a Arc<Peer>,
        parked: &'a mut Parked,
        candidates: Option<&'a mut Candidates>,
        last_handshake: &'a mut WallTime,
        env: &'a mut Env<'env>,
    ) -> Self {
        Self {
            shared,
            peer,
            parked,
            candidates,
            last_handshake,
            env,
        }
    }

    pub(super) fn now(&self) -> Now {
        self.env.now
    }

    pub(super) fn park(&mut self, read: Box<[u8]>) {
        if self.shared.parked_bytes.saturating_add(read.len()) > PARKED_BYTES_MAX {
            self.shared.note_read(
                DropReason::ParkOverflow,
                self.peer,
                &read,
                self.env.now.tick,
            );
            return;
        }
        let before = self.parked.bytes();
        let (shared, peer, now) = (&*self.shared, self.peer, self.env.now.tick);
        self.parked.push(read, |oldest| {
            shared.note_read(DropReason::ParkOverflow, peer, oldest, now);
        });
        let others = self.shared.parked_bytes.saturating_sub(before);
        self.shared.parked_bytes = others.saturating_add(self.parked.bytes());
    }

    /// What is parked is about to go.
    fn forget_parked(&mut self) {
        let others = self.shared.parked_bytes;
        self.shared.parked_bytes = others.saturating_sub(self.parked.bytes());
    }

    /// Sends what was parked, the way every packet goes.
    pub(super) fn release(&mut self, link: &Link) -> usize {
        debug_assert!(
            core::ptr::eq(link, &*self.peer.link),
            "each peer has its own host"
        );
        self.forget_parked();
        let fib = self.shared.fib.load();
        let mut upcalls = ControlIsHere {
            asked: &mut self.shared.asked,
        };
        let mut outbound = Outbound::new(
            &fib,
            self.env.now.tick,
            &self.shared.counters,
            &mut self.env.underlay,
            &mut upcalls,
        );
        let mut sent = 0;
        while let Some(read) = self.parked.pop() {
            match outbound.send(&read) {
                Ok(_) => sent = usize::saturating_add(sent, 1),
                // The network moved to a peer without a session while the packet waited.
                Err(DropReason::ControlBusy) => {
                    outbound.note_dropped(&read, DropReason::NoSession);
                }
                Err(reason) => outbound.note_dropped(&read, reason),
            }
        }
        outbound.finish();
        sent
    }
}

impl TunnelHost for Host<'_, '_> {
    fn reserve_index(&mut self) -> Result<u32, EntropyNotReady> {
        self.shared.indices.reserve(self.peer.id, self.env.entropy)
    }

    fn activate_index(&mut self, index: u32, keypair: &Arc<Keypair>) {
        let session = Session {
            keypair: Arc::clone(keypair),
            peer: Arc::clone(self.peer),
        };
        self.shared.indices.activate(index, session);
    }

    fn release_index(&mut self, index: u32) {
        self.shared.indices.release(index);
    }

    fn timestamp(&mut self) -> Option<Tai64n> {
        let wall = self.env.now.wall;
        let stamp = self
            .shared
            .timestamps
            .next(Tai64n::from_unix(wall.seconds, wall.nanos));
        if let Some(mark) = stamp.reserve {
            if !self.env.store.persist(mark) {
                return None;
            }
            self.shared.timestamps.persisted(mark);
        }
        Some(stamp.timestamp)
    }

    fn entropy(&mut self) -> &mut dyn Entropy {
        self.env.entropy
    }

    fn key_log(&mut self) -> Option<&mut dyn KeyLog> {
        match &mut self.shared.key_log {
            Some(log) => Some(&mut **log),
            None => None,
        }
    }

    fn send(&mut self, to: &Endpoint, message: &[u8]) {
        let tos = if matches!(kind(message), Ok(Kind::Data)) {
            let fib = self.shared.fib.load();
            fib.service(self.peer.id).map_or(0, Service::mark)
        } else {
            HANDSHAKE_DS
        };
        self.env.underlay.send(to, tos, message);
    }

    fn release_parked(&mut self, link: &Link) -> usize {
        self.release(link)
    }

    fn drop_parked(&mut self) {
        self.forget_parked();
        while let Some(read) = self.parked.pop() {
            let now = self.env.now.tick;
            self.shared
                .note_read(DropReason::NoSession, self.peer, &read, now);
        }
    }

    fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    fn handshake_completed(&mut self, role: Role) {
        let before = std::mem::replace(self.last_handshake, self.env.now.wall);
        let peer = self.peer;
        self.shared.happenings.note(|| Happening::Handshake {
            peer: peer.name.clone(),
            role,
            is_rekey: before != WallTime::default(),
            endpoint: peer.link.endpoint().as_deref().map(|it| it.remote),
        });
        if let Some(candidates) = &mut self.candidates {
            candidates.note_completed();
        }
    }

    fn handshake_unanswered(&mut self, link: &Link) {
        let Some(candidates) = &mut self.candidates else {
            return;
        };
        let mut next = candidates.note_unanswered();
        if let Some(remote) = next {
            let before = link.endpoint().as_deref().map(|before| before.remote);
            link.set_endpoint(Some(Endpoint::new(remote)));
            next = next.filter(|_| before != Some(remote));
        }
        self.shared.unanswered.insert(self.peer.id, next);
    }
}

/// The control loop sends packets itself, and notes what it asks of itself: the peer's attention is
/// on from then on and no lane would queue it again.
struct ControlIsHere<'a> {
    asked: &'a mut Vec<PeerId>,
}

impl Upcalls for ControlIsHere<'_> {
    fn handshake(&mut self, _message: HandshakeMessage) -> bool {
        false
    }

    fn park(&mut self, _peer: PeerId, _read: &[u8]) -> bool {
        false
    }

    fn unreachable(&mut self, _packet: &[u8]) {}

    fn attention(&mut self, peer: PeerId) {
        self.asked.push(peer);
    }
}
