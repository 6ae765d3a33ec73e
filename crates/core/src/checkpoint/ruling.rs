//! What was decided on a packet, for who looks: found out anew, so that a packet at which nobody
//! looks carries nothing along.

use std::sync::Arc;

use weapon_wire::{Piece, Transport};

use super::{Checkpoint, Traveller};
use crate::{
    DropReason, Fate,
    filter::{Action, Verdict},
    flows::Key,
};

/// Who has decided on a packet, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The rule of this name, or the default; of a packet that goes on with a flow, the one that
    /// allows the flow.
    Rule(Action, Arc<str>),
    /// It is an ICMP error about a flow that is known.
    Related,
}

impl Checkpoint {
    /// Who has decided that this became of `traveller`, right after it was here. `None` where that
    /// cannot be said: nothing is decided, it died before or after or whatever the rules say, it is
    /// a fragment behind the first one, or the rules have become others.
    #[cold]
    pub(crate) fn ruling(&self, traveller: &Traveller<'_>, fate: Fate) -> Option<Ruling> {
        if !self.enforces {
            return None;
        }
        let piece = Piece::of(traveller.bytes, traveller.flow);
        let transport = Transport::of(traveller.bytes, traveller.flow);
        if matches!(piece, Piece::Later(_) | Piece::Nested) {
            return None;
        }
        let action = match fate {
            Fate::Passed | Fate::Parked => Action::Allow,
            Fate::Dropped(DropReason::Denied) => Action::Deny,
            Fate::Dropped(_) => return None,
        };
        if action == Action::Allow
            && let Transport::Icmp(icmp) = transport
            && icmp.is_error(traveller.flow.source)
            && self.is_related(traveller)
        {
            return Some(Ruling::Related);
        }
        let verdict = self.verdict(traveller, &transport, action);
        // Another decision than was made is that of other rules.
        let rule = (verdict.action == action).then_some(verdict.rule)?;
        Some(Ruling::Rule(action, Arc::clone(self.filter.name(rule)?)))
    }

    /// What the packet's flow has of the rules, if it has passed with one; else what they say.
    fn verdict(&self, traveller: &Traveller<'_>, transport: &Transport, action: Action) -> Verdict {
        let Traveller {
            direction,
            peer,
            flow,
            now,
            ..
        } = *traveller;
        let key = Key::of(direction, peer, flow, transport).filter(|_| action == Action::Allow);
        let known = key.and_then(|(key, _)| self.memory.flows.rule_of(&key, now));
        match known {
            Some(rule) => Verdict { action, rule },
            None => self.verdict_alone(direction, peer, flow, transport),
        }
    }
}
