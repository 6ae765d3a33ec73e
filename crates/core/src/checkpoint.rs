//! HOT Stop 4 of both ways: what is known passes, what is not is judged by the rules, and all of it
//! is remembered.
//!
//! Both ways look at addresses as peers know them: outbound after the source was mapped, inbound
//! before the destination is. So a rule means the same on all gateways, and what an ICMP error
//! quotes has the addresses of the flow that it is about.
//!
//! A gateway that only watches flows (`flows` without rules) comes here too: there nothing dies.

use std::sync::Arc;

use weapon_noise::Tick;
use weapon_wire::{
    Flow, Piece, Transport,
    tcp::{ACK, PSH},
};

use crate::{
    DropReason, PeerId, Policy,
    filter::{Action, Direction, Filter, RuleId, Subject},
    flows::{
        Denials, Entry, Event, EventKind, EventQueue, FlowTable, FragmentKey, Fragments, Key,
        Known, Outcome, Passage, Place, are_flags_absurd,
    },
};

mod foresight;
pub(crate) use foresight::Foresight;
mod ruling;
pub use ruling::Ruling;

/// The rules of the moment, and what is remembered of the packets that have passed.
#[derive(Debug)]
pub struct Checkpoint {
    filter: Arc<Filter>,
    memory: Arc<Memory>,
    /// Whether anything may die here.
    enforces: bool,
}

/// What stays when rules are changed.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) flows: FlowTable,
    fragments: Fragments,
    denials: Denials,
}

impl Memory {
    pub(crate) fn new(flows: usize, seed: [u64; 2], events: Arc<EventQueue>) -> Self {
        Self {
            flows: FlowTable::new(flows, seed, events),
            fragments: Fragments::new(seed),
            denials: Denials::new(seed),
        }
    }
}

/// A packet or superpacket at the checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traveller<'a> {
    pub(crate) direction: Direction,
    pub(crate) peer: PeerId,
    pub(crate) flow: &'a Flow,
    /// The packet, from its IP header on.
    pub(crate) bytes: &'a [u8],
    pub(crate) now: Tick,
    /// How many packets it becomes, or was.
    pub(crate) packets: u64,
    /// Bytes of these.
    pub(crate) total: u64,
}

/// The flow that passed last in one turn of a lane: a packet that is like the one before needs no
/// look at the table. It is settled at the end of the turn.
#[derive(Debug, Default)]
pub(crate) struct Last(Option<Passed>);

#[derive(Clone, Copy, Debug)]
struct Passed {
    direction: Direction,
    peer: PeerId,
    flow: Flow,
    place: Place,
    /// What has passed since the table was told.
    since: Passage,
}

impl Checkpoint {
    pub(crate) fn new(filter: Arc<Filter>, memory: Arc<Memory>, enforces: bool) -> Self {
        Self {
            filter,
            memory,
            enforces,
        }
    }

    /// A checkpoint by itself, of a gateway with these peers, for whoever tries rules out.
    #[cold]
    pub fn of(policy: &Policy, peers: Vec<(PeerId, Box<str>)>) -> Self {
        let default = policy.default.unwrap_or(Action::Allow);
        let filter = Filter::new(default, &policy.rules, peers, None);
        let memory = Memory::new(policy.flows_max, policy.seed, Arc::default());
        Self::new(Arc::new(filter), Arc::new(memory), policy.default.is_some())
    }

    /// Whether this packet may pass, from or to `peer`; it is remembered as every packet is.
    ///
    /// # Errors
    /// Why it dies; no packet at all is [`DropReason::InnerMalformed`].
    #[cold]
    pub fn try_packet(
        &self,
        direction: Direction,
        peer: PeerId,
        packet: &[u8],
        now: Tick,
    ) -> Result<(), DropReason> {
        let flow = Flow::parse(packet).map_err(|_| DropReason::InnerMalformed)?;
        let traveller = Traveller {
            direction,
            peer,
            flow: &flow,
            bytes: packet,
            now,
            packets: 1,
            total: flow.total_len as u64,
        };
        let mut last = Last::default();
        let result = self.pass(&traveller, &mut last);
        self.settle(&mut last);
        result
    }

    /// The rules.
    pub fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    /// The flows.
    pub fn flows(&self) -> &FlowTable {
        &self.memory.flows
    }

    /// Whether there are rules; else flows are only watched.
    pub fn enforces(&self) -> bool {
        self.enforces
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Whether there is nothing that [`Checkpoint::sweep`] would look at.
    pub(crate) fn is_idle(&self) -> bool {
        self.memory.flows.is_empty() && !self.memory.denials.has_rest(&self.filter)
    }

    /// Ends flows whose time is over, and tells what was denied without being told.
    #[cold]
    pub fn sweep(&self, now: Tick) {
        self.memory.flows.sweep(now);
        let events = self.memory.flows.events();
        if events.is_open() {
            let offer = |event| events.offer(event);
            self.memory.denials.tell_rest(&self.filter, now, offer);
        }
    }

    /// Ends all flows, as nobody watches them any longer, and tells of each, and of what was denied
    /// without being told. Not by the queue: there is no room in it for so many.
    #[cold]
    pub fn end(&self, now: Tick, mut tell: impl FnMut(Event)) {
        self.memory.flows.end_all(now, &mut tell);
        self.memory.denials.tell_rest(&self.filter, now, tell);
    }

    /// Whether `traveller` may go on.
    #[inline]
    pub(crate) fn pass(
        &self,
        traveller: &Traveller<'_>,
        last: &mut Last,
    ) -> Result<(), DropReason> {
        let piece = Piece::of(traveller.bytes, traveller.flow);
        let transport = Transport::of(traveller.bytes, traveller.flow);
        if piece == Piece::Whole && last.goes_on(traveller, transport) {
            return Ok(());
        }
        self.settle(last);
        match self.judge(traveller, piece, transport, last) {
            Ok(()) => Ok(()),
            // Who only watches lets pass what he does not understand.
            Err((reason, _)) if !self.enforces && reason != DropReason::NotRecorded => Ok(()),
            Err((reason, rule)) => {
                self.tell_denied(traveller, transport, reason, rule);
                Err(reason)
            }
        }
    }

    /// Tells the table what has passed since it was asked last.
    #[inline]
    pub(crate) fn settle(&self, last: &mut Last) {
        if let Some(passed) = last.0.take()
            && passed.since.packets != 0
        {
            self.memory.flows.settle(passed.place, &passed.since);
        }
    }

    #[inline]
    fn judge(
        &self,
        traveller: &Traveller<'_>,
        piece: Piece,
        transport: Transport,
        last: &mut Last,
    ) -> Result<(), (DropReason, RuleId)> {
        if piece != Piece::Whole {
            return self.judge_fragment(traveller, piece, transport);
        }
        let (place, is_steady) = self.judge_whole(traveller, transport)?;
        if let Some(place) = place.filter(|_| is_steady && traveller.flow.ports.is_some()) {
            last.0 = Some(Passed {
                direction: traveller.direction,
                peer: traveller.peer,
                flow: *traveller.flow,
                place,
                since: Passage {
                    now: traveller.now,
                    packets: 0,
                    bytes: 0,
                    flags: None,
                },
            });
        }
        Ok(())
    }

    /// A packet with its transport header. Returns the place of its flow, if it has one, and
    /// whether another packet like it would change nothing there.
    #[inline]
    fn judge_whole(
        &self,
        traveller: &Traveller<'_>,
        transport: Transport,
    ) -> Result<(Option<Place>, bool), (DropReason, RuleId)> {
        let Traveller {
            direction,
            peer,
            flow,
            ..
        } = *traveller;
        let flags = match transport {
            Transport::Truncated => return Err(unruled(DropReason::TransportMalformed)),
            Transport::Tcp(flags) if are_flags_absurd(flags) => {
                return Err(unruled(DropReason::TransportMalformed));
            }
            Transport::Tcp(flags) => Some(flags),
            Transport::Icmp(icmp) if icmp.is_error(flow.source) && self.is_related(traveller) => {
                return Ok((None, false));
            }
            Transport::Icmp(_) | Transport::Other => None,
        };
        let subject = Subject::new(direction, peer, flow, &transport);
        let is_opener = match transport {
            // An answer begins nothing, but may belong to something.
            Transport::Icmp(icmp) => !icmp.is_echo_reply(flow.source),
            Transport::Tcp(_) | Transport::Other | Transport::Truncated => true,
        };
        let key = Key::of(direction, peer, flow, &transport);
        let passage = traveller.passage(flags);
        let flows = &self.memory.flows;
        let is_asked =
            |(key, from_low): (Key, bool)| flows.has((key, !from_low), &self.filter, traveller.now);
        let Some(key) = key.filter(|key| is_opener || is_asked(*key)) else {
            return self.judge_alone(&subject, &passage);
        };
        match flows.pass(&self.filter, &subject, key, &passage) {
            Outcome::Passes { place, is_steady } => Ok((place, is_steady)),
            Outcome::Dies { reason, rule } => Err((reason, rule)),
        }
    }

    /// Of what begins no flow: the rules alone decide.
    #[cold]
    fn judge_alone(
        &self,
        subject: &Subject,
        passage: &Passage,
    ) -> Result<(Option<Place>, bool), (DropReason, RuleId)> {
        let verdict = self.filter.judge(subject);
        if verdict.action == Action::Deny {
            return Err((DropReason::Denied, verdict.rule));
        }
        if self.memory.flows.events().denies_new() {
            return Err((DropReason::NotRecorded, verdict.rule));
        }
        self.filter.count_allowed(verdict.rule, passage.packets);
        Ok((None, false))
    }

    /// Whether an ICMP error is about a packet of a flow: one that went the other way, from the
    /// host that the error goes to.
    #[cold]
    fn is_related(&self, traveller: &Traveller<'_>) -> bool {
        let Some((quoted, transport)) = Transport::quoted(traveller.bytes, traveller.flow) else {
            return false;
        };
        let direction = traveller.direction.reversed();
        // Nobody is to be told of errors of errors (RFC 1122 section 3.2.2).
        let key = Key::of(direction, traveller.peer, &quoted, &transport);
        quoted.source == traveller.flow.destination
            && key.is_some_and(|key| self.memory.flows.has(key, &self.filter, traveller.now))
    }

    #[cold]
    fn judge_fragment(
        &self,
        traveller: &Traveller<'_>,
        piece: Piece,
        transport: Transport,
    ) -> Result<(), (DropReason, RuleId)> {
        let fragments = &self.memory.fragments;
        let now = traveller.now;
        match piece {
            Piece::Whole => Ok(()),
            Piece::Nested => Err(unruled(DropReason::FragmentOverlap)),
            Piece::Later(fragment) => {
                match fragments.find(&traveller.fragment_key(fragment.id), fragment, now) {
                    Known::Passed(place) => {
                        if let Some(place) = place {
                            let flows = &self.memory.flows;
                            flows.settle(place, &traveller.passage(None));
                        }
                        Ok(())
                    }
                    Known::Overlaps => Err(unruled(DropReason::FragmentOverlap)),
                    Known::Nothing => Err(unruled(DropReason::FragmentUnknown)),
                }
            }
            Piece::First(fragment) => {
                let key = traveller.fragment_key(fragment.id);
                if !fragments.agrees(&key, fragment, now) {
                    return Err(unruled(DropReason::FragmentOverlap));
                }
                // Ports that are in the next fragment nobody can judge.
                if transport == Transport::Truncated {
                    fragments.spoil(&key, now);
                    return Err(unruled(DropReason::FragmentTiny));
                }
                match self.judge_whole(traveller, transport) {
                    Ok((place, _)) => {
                        fragments.note(key, fragment, now, place);
                        Ok(())
                    }
                    Err(denied) => {
                        fragments.spoil(&key, now);
                        Err(denied)
                    }
                }
            }
        }
    }

    #[cold]
    fn tell_denied(
        &self,
        traveller: &Traveller<'_>,
        transport: Transport,
        reason: DropReason,
        rule: RuleId,
    ) {
        let Some(tally) = self.filter.tally(rule) else {
            return;
        };
        tally.count(Action::Deny, traveller.packets);
        let events = self.memory.flows.events();
        let event = traveller.event(transport, rule);
        let denials = &self.memory.denials;
        denials.tell(event, reason, traveller.packets, tally, events);
    }
}

/// What dies whatever the rules say is counted with those that no rule has named.
fn unruled(reason: DropReason) -> (DropReason, RuleId) {
    (reason, RuleId::DEFAULT)
}

impl Traveller<'_> {
    #[inline]
    fn passage(&self, flags: Option<u8>) -> Passage {
        Passage {
            now: self.now,
            packets: self.packets,
            bytes: self.total,
            flags,
        }
    }

    #[cold]
    fn fragment_key(&self, id: u32) -> FragmentKey {
        let flow = self.flow;
        FragmentKey {
            direction: self.direction,
            peer: self.peer,
            source: flow.source,
            destination: flow.destination,
            // RFC 8200 section 4.5: of IPv6 it says nothing which packet it is.
            protocol: if flow.source.is_ipv4() {
                flow.protocol
            } else {
                0
            },
            id,
        }
    }

    #[cold]
    fn event(&self, transport: Transport, rule: RuleId) -> Event {
        let passage = self.passage(match transport {
            Transport::Tcp(flags) => Some(flags),
            Transport::Icmp(_) | Transport::Other | Transport::Truncated => None,
        });
        let entry = Entry::new(Key::default(), true, self.direction, &passage);
        let flow = self.flow;
        let kind = EventKind::Suppressed(0);
        Event {
            peer: self.peer,
            source: flow.source,
            destination: flow.destination,
            protocol: flow.protocol,
            ports: flow.ports,
            icmp_kind: transport.icmp_kind(),
            rule,
            ..entry.event(kind, self.now)
        }
    }
}

impl Last {
    /// Whether the traveller is like the one before; then it has passed.
    #[inline]
    fn goes_on(&mut self, traveller: &Traveller<'_>, transport: Transport) -> bool {
        let Some(passed) = &mut self.0 else {
            return false;
        };
        let is_plain = match transport {
            Transport::Tcp(flags) => flags & !PSH == ACK,
            Transport::Other => true,
            Transport::Icmp(_) | Transport::Truncated => false,
        };
        let (flow, before) = (traveller.flow, &passed.flow);
        let is_same = is_plain
            && flow.source == before.source
            && flow.destination == before.destination
            && flow.ports == before.ports
            && flow.protocol == before.protocol
            && traveller.peer == passed.peer
            && traveller.direction == passed.direction;
        if is_same {
            let since = &mut passed.since;
            since.packets = since.packets.saturating_add(traveller.packets);
            since.bytes = since.bytes.saturating_add(traveller.total);
        }
        is_same
    }
}

#[cfg(test)]
mod tests;
