//! A story is tried: its steps happen, then all faults end, and the tunnels must be back.
//!
//! # When a tunnel must be back
//!
//! At the moment `H` all faults end, and from then on the sites that the story names send a packet
//! each [`PROBE_INTERVAL`]. Packets that are offered from `H` + [`BACK_AFTER`] on must be
//! delivered. The time is the sum of what may take its time one after the other, at worst:
//!
//! 1. What was on its way at `H`, on a line as slow as stories have, arrives, and says what is no
//!    longer so: 2.6 s.
//! 2. The first packet is offered: `PROBE_INTERVAL`, 2 s.
//! 3. The sender believes in a session that the peer has lost. That nothing comes back it notices
//!    after KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter (P45): 15.333 s.
//! 4. Its initiation must wait, because it has just answered one, or an earlier one was lost before
//!    `H` (P28, P35): REKEY_TIMEOUT + jitter, 5.333 s.
//! 5. Initiation and response on good lines: 40 ms.
//!
//! Together 25.306 s.
//!
//! No retry is in it: on a good line the first initiation is answered. The 20 attempts, after which
//! a gateway gives up, are not either: the next packet begins anew (P37). Nor are cookies, which
//! stories of four gateways do not see.
//!
//! # A packet that is offered alone
//!
//! In half of the stories each of the named sites sends one packet before that, and waits. If its
//! gateway has no session, the packet waits for one, and must be delivered although no other asks
//! for it: after [`ALONE_TIME_MAX`], which is 1, 4 and 5 of the list above, and once more
//! REKEY_TIMEOUT + jitter, because the peer refuses an initiation 20 ms after another one that was
//! on its way (P27). That is demanded where the receiver is where it was.
//!
//! # Which tunnel must be back
//!
//! That from one gateway to another whose configurations name each other, if
//!
//! - the other has an address of its own and has not moved: the sender's configuration has it, and
//!   nobody but the other itself can change what the sender believes; or
//! - this holds the other way round, and the other sends too: it opens the sender's NAT, and says
//!   where it is.
//!
//! Of all other pairs nothing is demanded: that two gateways that moved at the same time find each
//! other is more than the protocol promises. Tests of single scenarios demand more.

use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use weapon_core::DropReason;
use weapon_noise::{
    Backend, Tick,
    protocol::{KEEPALIVE_TIMEOUT, REKEY_TIMEOUT, REKEY_TIMEOUT_JITTER_MAX},
};

use crate::{
    failure::Failure,
    happen::Offer,
    sabotage::Sabotage,
    story::{Probes, Story},
    violation::Violation,
    world::World,
};

/// From one packet of a site to the next when the faults are over.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// The longest that a datagram is on its way in a story: twice 300 ms and 1000 ms of jitter.
const STRAY_TIME_MAX: Duration = Duration::from_millis(2600);

/// Initiation and response on good lines.
const HANDSHAKE_TIME: Duration = Duration::from_millis(40);

/// After this the tunnels must be back. The module says why.
pub const BACK_AFTER: Duration = STRAY_TIME_MAX
    .saturating_add(PROBE_INTERVAL)
    .saturating_add(KEEPALIVE_TIMEOUT)
    .saturating_add(REKEY_TIMEOUT)
    .saturating_add(REKEY_TIMEOUT_JITTER_MAX)
    .saturating_add(REKEY_TIMEOUT)
    .saturating_add(REKEY_TIMEOUT_JITTER_MAX)
    .saturating_add(HANDSHAKE_TIME);

/// After this a packet that waited for a session alone must be delivered. The module says why.
pub const ALONE_TIME_MAX: Duration = STRAY_TIME_MAX
    .saturating_add(REKEY_TIMEOUT)
    .saturating_add(REKEY_TIMEOUT_JITTER_MAX)
    .saturating_add(REKEY_TIMEOUT)
    .saturating_add(REKEY_TIMEOUT_JITTER_MAX)
    .saturating_add(HANDSHAKE_TIME);

/// For how long packets must then be delivered.
const PROVEN_FOR: Duration = Duration::from_secs(6);

/// How long a packet may wait for a new session meanwhile (P28), and be on its way.
const LATE_TIME_MAX: Duration = Duration::from_secs(6);

/// After so long without a packet nothing is sent any more: 15.333 s until the last packet that was
/// not answered leads to a handshake, and 20 attempts of 5.333 s if nobody answers that (P36).
/// Keepalives, at most two and 10 s apart (P43, P44), are over before.
const QUIET_AFTER: Duration = Duration::from_secs(125);

/// For how long it must be silent then (P51).
const SILENT_FOR: Duration = Duration::from_secs(3600);

/// What a story that went well tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tale {
    /// Virtual time that passed.
    pub elapsed: Duration,
    /// Packets that were demanded, and delivered.
    pub demanded: usize,
    /// Tunnels of which that was demanded, each direction for itself.
    pub tunnels: usize,
    /// So long after the end of all faults the last packet was offered to one of them that was not
    /// delivered: never more than [`BACK_AFTER`].
    pub slowest: Duration,
}

/// Tries `story`.
///
/// # Errors
/// The rule that was broken, and what happened before.
pub fn run(story: &Story, cipher: &'static Backend) -> Result<Tale, Box<Failure>> {
    run_sabotaged(story, cipher, None)
}

/// The same, in a world where gateway 1 does something wrong.
///
/// # Errors
/// The rule that was broken, and what happened before.
pub fn run_sabotaged(
    story: &Story,
    cipher: &'static Backend,
    sabotage: Option<Sabotage>,
) -> Result<Tale, Box<Failure>> {
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(story, cipher);
        if let Some(sabotage) = sabotage {
            world.sabotage(sabotage);
        }
        let tale = world.tell(story);
        let failure = world.violation().cloned().map(|violation| Failure {
            violation,
            elapsed: world.elapsed(),
            story: story.clone(),
            history: world.history(),
        });
        (tale, failure)
    }));
    match attempt {
        Ok((tale, None)) => Ok(tale),
        Ok((_, Some(failure))) => Err(Box::new(failure)),
        Err(panic) => Err(Box::new(Failure {
            violation: Violation::Panicked {
                what: what_panicked(&*panic),
            },
            elapsed: Duration::ZERO,
            story: story.clone(),
            history: Vec::new(),
        })),
    }
}

fn what_panicked(panic: &(dyn core::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without a word".to_owned())
}

impl World {
    /// The whole story. It ends early when a rule is broken.
    fn tell(&mut self, story: &Story) -> Tale {
        for (at, step) in &story.steps {
            let at = Duration::from_millis(*at);
            self.drive(at.saturating_sub(self.elapsed()));
            if self.violation().is_some() {
                return Tale::default();
            }
            self.happens(*step);
            self.check_drops();
        }
        let end = Duration::from_millis(story.end_ms());
        self.drive(end.saturating_sub(self.elapsed()));
        self.heal();
        if story.alone_first {
            self.probe_alone(story.probes);
        }
        let end = self.now;
        let (tunnels, demanded) = self.probe(story.probes);
        let slowest = self.slowest(story.probes, end);
        self.fall_silent();
        self.check_drops();
        Tale {
            elapsed: self.elapsed(),
            demanded,
            tunnels,
            slowest,
        }
    }

    /// Each site sends one packet: if it waits for a session, it must be delivered.
    fn probe_alone(&mut self, probes: Probes) {
        let begin = self.now;
        let mut waiting = Vec::new();
        for (from, to) in self.probed(probes) {
            self.offer(Offer::single(from, to));
            if self.hosts[from].has_parked_one(to, self.now) {
                waiting.push((from, to));
            }
        }
        self.drive(ALONE_TIME_MAX);
        for (from, to) in waiting {
            if self.network.is_where_it_was(to) && self.model.are_peers(from, to) {
                self.demand(from, to, begin, begin);
            }
        }
    }

    /// Sites send, and what must be delivered is. Returns how many tunnels and packets that were.
    pub fn probe(&mut self, probes: Probes) -> (usize, usize) {
        let begin = self.now;
        while self.now.since(begin) < BACK_AFTER + PROVEN_FOR && self.violation().is_none() {
            for (from, to) in self.probed(probes) {
                self.offer(Offer::single(from, to));
            }
            self.drive(PROBE_INTERVAL);
        }
        let until = self.now;
        self.drive(LATE_TIME_MAX);
        let demanded: Vec<_> = self
            .probed(probes)
            .filter(|&(from, to)| self.is_demanded(from, to, probes))
            .collect();
        let mut packets = 0;
        for &(from, to) in &demanded {
            packets += self.demand(from, to, begin + BACK_AFTER, until);
        }
        (demanded.len(), packets)
    }

    fn slowest(&self, probes: Probes, since: Tick) -> Duration {
        self.probed(probes)
            .filter(|&(from, to)| self.is_demanded(from, to, probes))
            .filter_map(|(from, to)| self.model.last_lost(from, to, since))
            .map(|lost| lost.since(since))
            .max()
            .unwrap_or_default()
    }

    /// What was offered in this time must be delivered. Returns how many packets that were.
    pub(crate) fn demand(&mut self, from: usize, to: usize, since: Tick, until: Tick) -> usize {
        let (delivered, offered) = self.model.delivered(from, to, since, until);
        if delivered != offered {
            self.fail(Violation::NotDelivered {
                from,
                to,
                lost: offered - delivered,
                offered,
            });
        }
        offered
    }

    fn probed(&self, probes: Probes) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = self.hosts.len();
        let pairs = (0..count).flat_map(move |from| (0..count).map(move |to| (from, to)));
        pairs.filter(move |&(from, to)| is_probed(from, to, probes))
    }

    fn is_demanded(&self, from: usize, to: usize, probes: Probes) -> bool {
        let is_found = self.network.is_where_it_was(to)
            || (self.network.is_where_it_was(from) && is_probed(to, from, probes));
        is_found && self.model.are_peers(from, to)
    }

    /// Nobody sends any more: soon nothing is on the wire, and an hour later there are no keys.
    pub(crate) fn fall_silent(&mut self) {
        if self.has_keepalives() {
            return;
        }
        self.drive(QUIET_AFTER);
        self.watch.is_silent = true;
        if self.sabotage == Some(Sabotage::Chatter) {
            self.happens(crate::step::Step::Send {
                from: Sabotage::HOST,
                to: 0,
                count: 1,
                len: 16,
                is_v6: false,
            });
        }
        self.drive(SILENT_FOR);
        if self.violation().is_some() {
            return;
        }
        for host in 0..self.hosts.len() {
            let gateway = &self.hosts[host].gateway;
            let status = gateway.status(self.now);
            let has_keys = status.peers.iter().any(|peer| peer.session.is_some());
            if has_keys || gateway.poll_timeout().is_some() {
                self.fail(Violation::KeysNotErased { host });
            }
        }
    }

    /// No packet died of what cannot happen here. Core has no log; these are its errors.
    pub(crate) fn check_drops(&mut self) {
        for host in 0..self.hosts.len() {
            for &reason in DropReason::ALL {
                let count = self.hosts[host].dropped(reason);
                if count != 0 && !self.is_explained(reason) {
                    self.fail(Violation::UnexpectedDrop {
                        host,
                        reason,
                        count,
                    });
                }
            }
        }
    }

    fn is_explained(&self, reason: DropReason) -> bool {
        match reason {
            DropReason::OutboundMalformed
            | DropReason::InnerMalformed
            | DropReason::SealFailed
            | DropReason::ControlBusy
            | DropReason::EntropyNotReady => false,
            DropReason::NotWireGuard
            | DropReason::Forged
            | DropReason::InvalidMac1
            | DropReason::HandshakeInvalid => self.causes.corruption,
            // A flipped bit in the counter makes it one that was seen already.
            DropReason::Replayed => self.causes.repetition || self.causes.corruption,
            DropReason::WrongSource | DropReason::UnknownPeer => self.causes.foreign_source,
            _ => true,
        }
    }
}

fn is_probed(from: usize, to: usize, probes: Probes) -> bool {
    match probes {
        Probes::Both => from != to,
        Probes::Down => from > to,
        Probes::Up => from < to,
    }
}
