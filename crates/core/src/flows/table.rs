//! HOT The flow table: sets of flows, each behind a lock of its own.
//!
//! A packet locks the one set in which its flow can be, for as long as a look at sixteen tags takes
//! and an update of two cache lines. `docs/decisions/0020-filter-and-flows.md` says why that is a
//! lock, and what it costs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrayvec::ArrayVec;
use weapon_noise::Tick;
use weapon_wire::tcp::RST;

use super::{
    Entry, FlowRecord, Key, Passage,
    counts::{Counts, FlowCounts},
    event::{EndReason, Event, EventKind, EventQueue},
    set::{Set, WAYS},
    state::{State, Step},
};
use crate::{
    DropReason, PeerId,
    filter::{Action, Filter, RuleId, Subject},
};

/// Flows of a table at most: 150 MB of them.
pub const FLOWS_MAX: usize = 1 << 20;

/// Why there is nobody in a full set who would make room is for the set to say. A packet changes
/// two flows at most, and begins one of them.
type Told = ArrayVec<Event, 3>;

/// The flows of a gateway.
#[derive(Debug)]
pub struct FlowTable {
    sets: Box<[Mutex<Set>]>,
    seed: [u64; 2],
    /// A flow whose time is over counts as one that is there until somebody meets it.
    counts: Counts,
    events: Arc<EventQueue>,
}

/// Where a flow is, as long as it is the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    set: u32,
    place: u32,
    generation: u32,
    is_reply: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It passes. A packet like it, if there is nothing else in its headers, would pass as well and
    /// change nothing, if `is_steady`.
    Passes {
        place: Option<Place>,
        is_steady: bool,
    },
    /// It dies.
    Dies { reason: DropReason, rule: RuleId },
}

impl Outcome {
    /// It passes, and the next one is to be looked at like it.
    const WITHOUT_PLACE: Self = Self::Passes {
        place: None,
        is_steady: false,
    };
}

/// A part of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The flows that were asked for.
    pub flows: Vec<FlowRecord>,
    /// Where the next part begins, if there is one.
    pub next: Option<usize>,
}

impl FlowTable {
    /// A table for `flows` flows, or up to twice as many; `seed` is random. What happens to them is
    /// told to `events`.
    pub fn new(flows: usize, seed: [u64; 2], events: Arc<EventQueue>) -> Self {
        let sets = flows.min(FLOWS_MAX).div_ceil(WAYS).next_power_of_two();
        Self {
            sets: (0..sets).map(|_| Mutex::default()).collect(),
            seed,
            counts: Counts::default(),
            events,
        }
    }

    /// How many flows there is room for.
    pub fn capacity(&self) -> usize {
        self.sets.len().saturating_mul(WAYS)
    }

    /// How many flows there are. One whose time is over counts until somebody looks.
    pub fn len(&self) -> usize {
        usize::try_from(self.counts.there()).unwrap_or(usize::MAX)
    }

    /// How many flows there were, and what has become of them.
    #[cold]
    pub fn counts(&self) -> FlowCounts {
        self.counts.now()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has happened to flows, for whoever opens the queue.
    pub fn events(&self) -> &Arc<EventQueue> {
        &self.events
    }

    /// A packet wants to pass that says of itself `key`, sent by the end that stands first in it if
    /// `from_low`. If it belongs to a flow it passes; if not, the rules decide.
    #[inline]
    pub(crate) fn pass(
        &self,
        filter: &Filter,
        subject: &Subject,
        (key, from_low): (Key, bool),
        passage: &Passage,
    ) -> Outcome {
        let (index, tag) = self.locate(&key);
        let Some(mut set) = self.set(index as usize) else {
            return Outcome::Dies {
                reason: DropReason::FlowTableFull,
                rule: RuleId::DEFAULT,
            };
        };
        if let Some(place) = set.find(tag, &key)
            && let Some(entry) = set.at(place)
            && !entry.is_over(passage.now)
            && entry.epoch >= filter.epoch()
        {
            let is_reply = from_low != entry.is_opener_low;
            if let Step::Goes(state) = entry.step(passage.flags, is_reply) {
                if is_reply && entry.packets[1] == 0 {
                    entry.note_reply(passage);
                }
                entry.state = state;
                entry.count(passage, is_reply);
                let is_steady = entry.is_steady(passage.flags, is_reply);
                let place = Place {
                    set: index,
                    place: place as u32,
                    generation: entry.generation,
                    is_reply,
                };
                return Outcome::Passes {
                    place: Some(place),
                    is_steady,
                };
            }
        }
        let mut told = Told::new_const();
        let new = New {
            filter,
            subject,
            key,
            from_low,
            index,
            tag,
        };
        let outcome = self.begin(&mut set, &new, passage, &mut told);
        drop(set);
        for event in told {
            self.events.offer(event);
        }
        outcome
    }

    /// As [`FlowTable::pass`], where the packet does not simply go on with its flow.
    #[inline(never)]
    fn begin(&self, set: &mut Set, new: &New<'_>, passage: &Passage, told: &mut Told) -> Outcome {
        let now = passage.now;
        let place = set.find(new.tag, &new.key);
        let mut step = Step::Anew;
        if let Some(entry) = place.and_then(|place| set.at(place)) {
            if entry.is_over(now) {
                self.end(set, place, EndReason::Timeout, now, told);
            } else if !judged_again(entry, new.filter) {
                self.end(set, place, EndReason::Policy, now, told);
            } else {
                let is_reply = new.from_low != entry.is_opener_low;
                step = entry.step(passage.flags, is_reply);
                if let Step::Goes(state) = step {
                    // The rules have changed, and allow it still.
                    entry.state = state;
                    entry.count(passage, is_reply);
                    return Outcome::WITHOUT_PLACE;
                }
            }
        }
        let verdict = new.filter.judge(new.subject);
        let dies = |reason| Outcome::Dies {
            reason,
            rule: verdict.rule,
        };
        if verdict.action == Action::Deny {
            return dies(DropReason::Denied);
        }
        if self.events.denies_new() {
            return dies(DropReason::NotRecorded);
        }
        let is_reset = passage.flags.is_some_and(|flags| flags & RST != 0);
        if step == Step::Apart || is_reset {
            new.filter.count_allowed(verdict.rule, passage.packets);
            return Outcome::WITHOUT_PLACE;
        }
        let still_there = set.find(new.tag, &new.key);
        self.end(set, still_there, EndReason::Reopened, now, told);
        let Some((place, reason)) = set.room(new.subject.peer, now) else {
            self.counts.refuse(passage.packets);
            return dies(DropReason::FlowTableFull);
        };
        if let Some(reason) = reason {
            self.end(set, Some(place), reason, now, told);
        }
        new.filter.count_allowed(verdict.rule, passage.packets);
        let mut entry = Entry::new(new.key, new.from_low, new.subject.direction, passage);
        entry.rule = verdict.rule.0;
        entry.epoch = new.filter.epoch();
        if self.events.wants_starts() {
            told.push(entry.event(EventKind::Start, now));
        }
        let is_steady = entry.is_steady(passage.flags, false);
        let generation = set.put(place, new.tag, entry);
        self.counts.begin();
        Outcome::Passes {
            place: Some(Place {
                set: new.index,
                place: place as u32,
                generation,
                is_reply: false,
            }),
            is_steady,
        }
    }

    /// Ends the flow at `place`, if there is one.
    fn end(
        &self,
        set: &mut Set,
        place: Option<usize>,
        reason: EndReason,
        now: Tick,
        told: &mut Told,
    ) {
        let Some(place) = place else { return };
        let Some(entry) = set.at(place) else { return };
        if self.events.is_open() {
            // Three are told at most: this flow ends, another one for its room, and one begins.
            let _there_is_room = told.try_push(entry.event(EventKind::End(reason), now));
        }
        set.clear(place);
        self.counts.end(reason);
    }

    /// Whether there is a flow that the packet with this key would go on with, whose other packets
    /// go the other way: an ICMP error that quotes it belongs to it. The flow does not live longer
    /// for it.
    #[cold]
    pub(crate) fn has(&self, (key, from_low): (Key, bool), filter: &Filter, now: Tick) -> bool {
        let Some((mut set, tag)) = self.set_of(&key) else {
            return false;
        };
        let Some(place) = set.find(tag, &key) else {
            return false;
        };
        let Some(entry) = set.at(place) else {
            return false;
        };
        // It quotes what the end has really sent.
        let is_reply = from_low != entry.is_opener_low;
        let sent = entry.packets.get(usize::from(is_reply)).copied();
        !entry.is_over(now) && sent.is_some_and(|sent| sent != 0) && judged_again(entry, filter)
    }

    /// The flow with this key, if its packets pass whatever the rules say; else whether there is a
    /// place for another one of `peer`. Nothing changes.
    #[cold]
    pub(crate) fn foresee(
        &self,
        key: &Key,
        peer: PeerId,
        filter: &Filter,
        now: Tick,
    ) -> Result<FlowRecord, bool> {
        let (mut set, tag) = self.set_of(key).ok_or(false)?;
        let place = set.find(tag, key);
        let Some(entry) = place.and_then(|place| set.at(place)).copied() else {
            return Err(set.room(peer, now).is_some());
        };
        // The one that is there would be judged again, and this is a copy of it.
        let mut judged = entry;
        if entry.is_over(now) || !judged_again(&mut judged, filter) {
            return Err(true);
        }
        Ok(FlowRecord::of(&judged, filter, now))
    }

    /// The rule that lets the flow pass, if there is one with this key. It does not live longer for
    /// being asked.
    #[cold]
    pub(crate) fn rule_of(&self, key: &Key, now: Tick) -> Option<RuleId> {
        let (mut set, tag) = self.set_of(key)?;
        let place = set.find(tag, key)?;
        let entry = set.at(place)?;
        (!entry.is_over(now)).then_some(RuleId(entry.rule))
    }

    /// More packets have passed of the flow at `place`, if it is there still.
    #[inline]
    pub(crate) fn settle(&self, place: Place, passage: &Passage) {
        let Some(mut set) = self.set(place.set as usize) else {
            return;
        };
        if let Some(entry) = set.at(place.place as usize)
            && entry.generation == place.generation
        {
            entry.count(passage, place.is_reply);
        }
    }

    /// The set in which the flow with this key is, if it is anywhere; and its tag there.
    #[cold]
    fn set_of(&self, key: &Key) -> Option<(MutexGuard<'_, Set>, u32)> {
        let (index, tag) = self.locate(key);
        Some((self.set(index as usize)?, tag))
    }

    /// Which set that is, and the tag.
    #[inline]
    fn locate(&self, key: &Key) -> (u32, u32) {
        let hash = key.hash(self.seed);
        let index = (hash >> 32) as u32 & (self.sets.len() as u32).wrapping_sub(1);
        // No flow has the tag of an empty place.
        (index, (hash as u32).max(1))
    }

    #[inline]
    fn set(&self, index: usize) -> Option<MutexGuard<'_, Set>> {
        // Nothing panics while it holds a set; and if it did, a flow is whole or not there.
        let set = self.sets.get(index)?;
        Some(set.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rules were changed: each flow is judged again, as it was when it began, and is over if
    /// it would not begin now, or its peer is gone. A lane that meets a flow before does the same.
    #[cold]
    pub fn judge_again(&self, filter: &Filter, now: Tick) {
        self.end_where(now, |entry| {
            if !filter.knows(entry.peer()) {
                return Some(EndReason::PeerGone);
            }
            (!judged_again(entry, filter)).then_some(EndReason::Policy)
        });
    }

    /// Ends the flows whose time is over. What nobody asks for is found so.
    #[cold]
    pub fn sweep(&self, now: Tick) {
        self.end_where(now, |entry| {
            entry.is_over(now).then_some(EndReason::Timeout)
        });
    }

    /// Ends all flows, as nobody watches them any longer.
    #[cold]
    pub(crate) fn end_all(&self, now: Tick, tell: impl FnMut(Event)) {
        self.end_each(now, |_| Some(EndReason::Unwatched), tell);
    }

    #[cold]
    fn end_where(&self, now: Tick, why: impl Fn(&mut Entry) -> Option<EndReason>) {
        self.end_each(now, why, |event| self.events.offer(event));
    }

    #[cold]
    fn end_each(
        &self,
        now: Tick,
        why: impl Fn(&mut Entry) -> Option<EndReason>,
        mut tell: impl FnMut(Event),
    ) {
        for set in &self.sets {
            let mut told: ArrayVec<Event, WAYS> = ArrayVec::new();
            let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
            for place in 0..WAYS {
                let Some(entry) = set.at(place) else { continue };
                let Some(reason) = why(entry) else { continue };
                told.push(entry.event(EventKind::End(reason), now));
                set.clear(place);
                self.counts.end(reason);
            }
            drop(set);
            for event in told {
                tell(event);
            }
        }
    }

    /// Flows that `wanted` says yes to, from `cursor` on (0 is the beginning), and no more than
    /// `limit`, rounded up to whole sets.
    #[cold]
    pub fn list(
        &self,
        filter: &Filter,
        now: Tick,
        cursor: usize,
        limit: usize,
        wanted: impl Fn(&FlowRecord) -> bool,
    ) -> Page {
        let mut flows = Vec::new();
        for (index, set) in self.sets.iter().enumerate().skip(cursor) {
            if flows.len() >= limit {
                return Page {
                    flows,
                    next: Some(index),
                };
            }
            let set = set.lock().unwrap_or_else(PoisonError::into_inner);
            let there = set.flows().filter(|(_, entry)| !entry.is_over(now));
            let records = there.map(|(_, entry)| FlowRecord::of(entry, filter, now));
            flows.extend(records.filter(|record| wanted(record)));
        }
        Page { flows, next: None }
    }
}

/// What there is of a packet that may begin a flow.
struct New<'a> {
    filter: &'a Filter,
    subject: &'a Subject,
    key: Key,
    from_low: bool,
    index: u32,
    tag: u32,
}

/// Whether the flow is allowed, also by a filter that is newer than the one that has allowed it.
/// One that is older has no say: a lane may have it for some moments longer.
fn judged_again(entry: &mut Entry, filter: &Filter) -> bool {
    if entry.epoch >= filter.epoch() {
        return true;
    }
    let verdict = filter.judge(&entry.subject());
    entry.epoch = filter.epoch();
    entry.rule = verdict.rule.0;
    verdict.action == Action::Allow
}

impl core::fmt::Display for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.label())
    }
}
