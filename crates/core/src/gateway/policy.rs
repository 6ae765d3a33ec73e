//! Rules and flows of a gateway: what is wanted, and what is made of it for the peers of the
//! moment.

use core::time::Duration;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weapon_noise::Tick;

use super::Gateway;
use crate::{
    Checkpoint, PeerId,
    checkpoint::Memory,
    filter::{Action, Filter, Rule},
    flows::EventQueue,
};

/// How long a flow whose time is over may stay in the table. A look at all of the largest table
/// takes some milliseconds.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Which packets may pass, and what is remembered of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What happens to flows, for whoever opens the queue; the same one whatever the policy is.
    pub fn flow_events(&self) -> &Arc<EventQueue> {
        &self.flow_events
    }

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

    /// Ends the flows that were `watched`, if that is over. Lanes must know it.
    pub(super) fn end_unwatched(&self, watched: Option<Arc<Checkpoint>>, now: Tick) {
        if let Some(watched) = watched.filter(|_| self.checkpoint.is_none()) {
            watched.end(now, |event| self.flow_events.offer(event));
        }
    }

    /// When flows are to be looked at whose time is over. Without flows there is nothing to look
    /// at, and the first packet of one makes the control loop ask again, as it does for the
    /// tunnel's timers.
    pub(super) fn sweep_deadline(&self) -> Option<(Tick, &'static str)> {
        let checkpoint = self.checkpoint.as_ref()?;
        let at = self.swept + SWEEP_INTERVAL;
        (!checkpoint.is_idle()).then_some((at, "flows"))
    }

    /// Looks at them, if it is time for it.
    pub(super) fn sweep(&mut self, now: Tick) {
        let is_due = self.sweep_deadline().is_some_and(|(at, _)| at <= now);
        if let Some(checkpoint) = self.checkpoint.as_ref().filter(|_| is_due) {
            self.swept = now;
            checkpoint.sweep(now);
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
            None => {
                let events = Arc::clone(&self.flow_events);
                Arc::new(Memory::new(policy.flows_max, policy.seed, events))
            }
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
