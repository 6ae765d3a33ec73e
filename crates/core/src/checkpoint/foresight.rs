//! What the checkpoint would say of a packet that nobody sends: nothing is remembered of it.

use weapon_noise::Tick;
use weapon_wire::{Flow, Transport};

use super::Checkpoint;
use crate::{
    DropReason, PeerId,
    filter::{Action, Direction, Subject, Verdict},
    flows::{FlowRecord, Key},
};

/// Why a packet would pass, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Foresight {
    /// Its flow is known.
    Known(Box<FlowRecord>),
    /// A rule decides, or the default.
    Judged(Verdict),
    /// A rule allows it, and it dies all the same: its flow can have no place, or no record.
    Refused(Verdict, DropReason),
    /// It dies before rules are asked.
    Unruled(DropReason),
}

impl Checkpoint {
    /// What would become of a whole packet with these headers. One of TCP that has a flow is taken
    /// for one that goes on with it, whatever its flags are.
    pub(crate) fn foresee(
        &self,
        direction: Direction,
        peer: PeerId,
        (flow, transport): (&Flow, &Transport),
        now: Tick,
    ) -> Foresight {
        if *transport == Transport::Truncated {
            return Foresight::Unruled(DropReason::TransportMalformed);
        }
        let flows = &self.memory.flows;
        let key = Key::of(direction, peer, flow, transport);
        let ahead = key.map(|(key, _)| flows.foresee(&key, peer, &self.filter, now));
        if let Some(Ok(record)) = ahead {
            return Foresight::Known(Box::new(record));
        }
        let verdict = self.verdict_alone(direction, peer, flow, transport);
        let has_room = ahead.and_then(Result::err).unwrap_or(true);
        match verdict.action {
            // Whoever only watches insists on this, and on no more.
            Action::Allow if flows.events().denies_new() => {
                Foresight::Refused(verdict, DropReason::NotRecorded)
            }
            Action::Allow if !has_room && self.enforces => {
                Foresight::Refused(verdict, DropReason::FlowTableFull)
            }
            Action::Allow | Action::Deny => Foresight::Judged(verdict),
        }
    }

    /// What the rules say of a packet, whether it has a flow or not.
    pub(crate) fn verdict_alone(
        &self,
        direction: Direction,
        peer: PeerId,
        flow: &Flow,
        transport: &Transport,
    ) -> Verdict {
        let subject = Subject::new(direction, peer, flow, transport);
        self.filter.judge(&subject)
    }
}
