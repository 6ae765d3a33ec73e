//! Where peers are, and from which of our addresses they are reached.

use core::net::SocketAddr;
use std::sync::Arc;

use weapon_noise::Tick;
use weapon_wire::Endpoint;

use super::{Env, Gateway};
use crate::PeerId;

impl Gateway {
    /// Sets where a peer is, by configuration. Its source is chosen anew (P80). A peer that is to
    /// be kept alive is greeted at once, if it had no address before.
    pub fn set_endpoint(&mut self, id: PeerId, remote: SocketAddr, env: &mut Env<'_>) {
        if let Some(member) = self.members.get_mut(&id) {
            member.candidates = None;
        }
        self.point(id, remote, env);
    }

    /// A name service says that a peer has these addresses, the best first, of which the first
    /// [`ADDRESSES_MAX`](super::ADDRESSES_MAX) count. The one that works stays as long as it is
    /// among them; where handshakes fail, the next is tried.
    pub fn set_addresses(&mut self, id: PeerId, addresses: Vec<SocketAddr>, env: &mut Env<'_>) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let candidates = member.candidates.get_or_insert_default();
        if let Some(remote) = candidates.answered(addresses) {
            self.point(id, remote, env);
        }
    }

    /// Peers that have a name service's addresses and have not answered an initiation since the
    /// last call, by their names: the service may know better by now. With each, the address that
    /// is tried next, if it is another.
    pub fn take_unanswered(&mut self) -> Vec<(Box<str>, Option<SocketAddr>)> {
        let all = core::mem::take(&mut self.shared.unanswered).into_iter();
        let named = all.filter_map(|(id, next)| {
            let member = self.members.get(&id)?;
            Some((member.peer.name.clone(), next))
        });
        named.collect()
    }

    fn point(&mut self, id: PeerId, remote: SocketAddr, env: &mut Env<'_>) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        let link = Arc::clone(member.tunnel.link());
        let was_unknown = link.endpoint().is_none();
        link.set_endpoint(Some(Endpoint::new(remote)));
        self.shared
            .happenings
            .note_endpoint(&member.peer, Some(remote));
        if was_unknown && self.is_running() && member.persistent_keepalive.is_some() {
            self.with_tunnel(id, env, |tunnel, identity, host| {
                tunnel.want_session(identity, host.now().tick, host);
            });
        }
    }

    /// Forgets through which address the peer is reached: another way leads there now (P79).
    pub fn leave_source(&self, id: PeerId, now: Tick) {
        if let Some(member) = self.members.get(&id) {
            member.tunnel.link().leave_source(now);
        }
    }

    /// Forgets through which address each peer is reached: the port or the mark changed (P80).
    pub fn clear_sources(&self) {
        for member in self.members.values() {
            member.tunnel.link().clear_source();
        }
    }
}
