//! Rules and flows of a gateway: what is wanted, and what is made of it for the peers of the
//! moment.

use std::sync::Arc;

use weapon_noise::Tick;

use super::Gateway;
use crate::{
    Checkpoint, PeerId,
    checkpoint::Memory,
    filter::{Action, Filter, Rule},
};

/// Which packets may pass, and what is remembered of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of packets that no rule matches. `None`: there is no filter, and flows are
    /// watched alone.
    pub default: Option<Action>,
    /// The rules; the first that matches decides.
    pub rules: Vec<Rule>,
    /// How many flows are remembered, rounded up to what the table is made of. A gateway that runs
    /// keeps the table that it has.
    pub flows_max: usize,
    /// Random, so that nobody foretells which flows share a set of the table.
    pub seed: [u64; 2],
}

impl Gateway {
    /// Changes the rules; `None` ends filter and flow table. Flows that there are go on if they
    /// would be allowed to begin now, and are over if not.
    pub(super) fn set_policy(&mut self, policy: Option<Policy>) {
        self.checkpoint = self.made_of(policy.as_ref());
        self.policy = policy;
    }

    /// Peers may have come, gone and changed their names.
    pub(super) fn refresh_policy(&mut self) {
        let Some(checkpoint) = &self.checkpoint else {
            return;
        };
        if !checkpoint.filter().is_of(&self.names()) {
            self.checkpoint = self.made_of(self.policy.as_ref());
        }
    }

    /// Judges all flows by the newest rules. Lanes must know them.
    pub(super) fn judge_again(&self, now: Tick) {
        if let Some(checkpoint) = &self.checkpoint {
            checkpoint.flows().judge_again(checkpoint.filter(), now);
        }
    }

    fn made_of(&self, policy: Option<&Policy>) -> Option<Arc<Checkpoint>> {
        let policy = policy?;
        let before = self.checkpoint.as_ref();
        let filter = Filter::new(
            policy.default.unwrap_or(Action::Allow),
            &policy.rules,
            self.names(),
            before.map(|before| &**before.filter()),
        );
        let memory = match before {
            Some(before) => Arc::clone(before.memory()),
            None => Arc::new(Memory::new(policy.flows_max, policy.seed)),
        };
        let enforces = policy.default.is_some();
        Some(Arc::new(Checkpoint::new(
            Arc::new(filter),
            memory,
            enforces,
        )))
    }

    fn names(&self) -> Vec<(PeerId, Box<str>)> {
        let members = self.members.iter();
        members
            .map(|(id, member)| (*id, member.peer.name.as_ref().into()))
            .collect()
    }
}
