//! Peers whose endpoint is a name: where they are looked for.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use weapon_engine::Event;

use super::{Daemon, End, engine_end};
use crate::{
    config::{Config, PeerConfig},
    port::Port,
    resolver::{self, LookUps, Resolved, Unresolved},
};

/// Begins to look the names up. What they find comes out of the other end.
pub(super) fn look_up(
    unresolved: Unresolved,
    config: &Config,
    port: &Port,
) -> (LookUps, mpsc::Receiver<Resolved>) {
    let (mut look_ups, resolved) = LookUps::new();
    if config.takes_all() {
        look_ups.set_mark(port.fwmark());
    }
    look_ups.begin(unresolved);
    (look_ups, resolved)
}

impl Daemon {
    /// The file has other `peers` now; those that are `moved` have another endpoint, or are new.
    pub(super) fn follow_names(&mut self, peers: &[PeerConfig], moved: &BTreeSet<String>) {
        let names: BTreeSet<&str> = peers.iter().map(|peer| peer.name.as_str()).collect();
        let is_kept = |name: &str| names.contains(name) && !moved.contains(name);
        self.look_ups.retain(is_kept);
        self.facts.unresolved.retain(|name, _| is_kept(name));
        let moved = resolver::unresolved(peers.iter().filter(|peer| moved.contains(&peer.name)));
        self.facts.unresolved.extend(resolver::written(&moved));
        self.look_ups.begin(moved);
    }

    /// A name was looked up. The file may have changed since it was asked for.
    pub(super) fn resolved(&mut self, found: Resolved) {
        if self.look_ups.is_wanted(&found) {
            self.facts.unresolved.remove(&found.peer);
            self.engine.set_addresses(&found.peer, found.addresses);
        }
    }

    /// What the engine tells by itself; the end, if it cannot go on.
    pub(super) fn engine_event(&self, event: Option<Event>) -> Option<End> {
        let Some(Event::Unanswered { peer, next }) = event else {
            return Some(engine_end(event));
        };
        if let Some(remote) = next {
            tracing::info!(peer = &*peer, %remote, "no answer; this address is tried next");
        }
        self.look_ups.again(&peer);
        None
    }
}
