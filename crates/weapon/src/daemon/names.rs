//! Peers whose endpoint is a name: where they are looked for.

use weapon_engine::Event;

use super::{Daemon, End, engine_end};
use crate::resolver::Resolved;

impl Daemon {
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
