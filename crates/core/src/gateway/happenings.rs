//! What happens to peers, for who records it. Nobody is told unless somebody asked to be.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weapon_noise::{PublicKey, Role};

use super::{Gateway, RejectedBecause};
use crate::{Peer, PeerId};

/// Happenings that wait to be taken at most: more than come of all handshake messages that are
/// handled at once.
pub const HAPPENINGS_MAX: usize = 8192;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happening {
    /// A handshake completed: there is a new session.
    Handshake {
        /// The peer's name.
        peer: Box<str>,
        /// Our side of it.
        role: Role,
        /// There was one before.
        is_rekey: bool,
        /// Where the peer is.
        endpoint: Option<SocketAddr>,
    },
    /// A peer is somewhere else.
    Moved {
        /// The peer's name.
        peer: Box<str>,
        /// Where it was.
        from: Option<SocketAddr>,
        /// Where it is.
        to: SocketAddr,
        /// By an authenticated message from there; else by configuration, or by a name service.
        by_peer: bool,
    },
    /// An initiation was not answered.
    Rejected {
        /// The name of the peer that has this key.
        peer: Option<Box<str>>,
        /// The key in it, if it could be opened.
        key: Option<PublicKey>,
        /// Where it came from.
        from: SocketAddr,
        /// Why.
        because: RejectedBecause,
    },
    /// So much more happened after that than is kept.
    Missed(u64),
}

/// What was not taken yet.
#[derive(Debug, Default)]
pub(super) struct Happenings {
    wanted: bool,
    /// Where peers were when that was looked at last. It is apart from them, so that nobody pays
    /// for it who does not want to know.
    known: BTreeMap<PeerId, SocketAddr>,
    list: Vec<Happening>,
    missed: u64,
}

impl Happenings {
    /// Notes what `what` says, if somebody asked.
    pub(super) fn note(&mut self, what: impl FnOnce() -> Happening) {
        if !self.wanted {
            return;
        }
        if self.list.len() < HAPPENINGS_MAX {
            self.list.push(what());
        } else {
            self.missed = self.missed.saturating_add(1);
        }
    }

    /// Notes where the peer is, if that is somewhere else than before. `ours` is where we have said
    /// ourselves that it is.
    pub(super) fn note_endpoint(&mut self, peer: &Peer, ours: Option<SocketAddr>) {
        if !self.wanted {
            return;
        }
        let endpoint = peer.link.endpoint().as_deref().map(|it| it.remote);
        let Some(to) = endpoint.filter(|to| self.known.get(&peer.id) != Some(to)) else {
            return;
        };
        let from = self.known.insert(peer.id, to);
        self.note(|| Happening::Moved {
            peer: peer.name.clone(),
            from,
            to,
            by_peer: ours != Some(to),
        });
    }

    /// Where the peer is now is no news.
    pub(super) fn know(&mut self, peer: &Peer) {
        let endpoint = peer.link.endpoint().as_deref().map(|it| it.remote);
        if let Some(endpoint) = endpoint.filter(|_| self.wanted) {
            self.known.insert(peer.id, endpoint);
        }
    }

    /// The peer is gone.
    pub(super) fn forget(&mut self, id: PeerId) {
        self.known.remove(&id);
    }
}

impl Gateway {
    /// From here on it is noted what happens, and somebody takes it.
    pub fn note_happenings(&mut self) {
        self.shared.happenings.wanted = true;
        for member in self.members.values() {
            self.shared.happenings.know(&member.peer);
        }
    }

    /// What happened since the last call, in this order.
    pub fn take_happenings(&mut self) -> Vec<Happening> {
        let happenings = &mut self.shared.happenings;
        let missed = core::mem::take(&mut happenings.missed);
        let mut list = core::mem::take(&mut happenings.list);
        list.extend((missed != 0).then_some(Happening::Missed(missed)));
        list
    }
}
