//! A watch on the wire: what gateways send is looked at before the network gets it.

use core::fmt;
use std::collections::BTreeMap;

use weapon_noise::{
    CookieChecker, Identity, Seeded, Tick, Verdict,
    protocol::{HANDSHAKE_DS, REKEY_TIMEOUT},
};
use weapon_wire::message::{DATA_OVERHEAD, Kind, data_counter, data_receiver, kind};

use crate::{
    host::{Sent, private_key},
    packet::MARKER,
    violation::Violation,
};

/// What was put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wire {
    /// Asks for a session.
    Initiation,
    /// Completes it.
    Response,
    /// Asks for proof of an address.
    Cookie,
    /// An empty packet.
    Keepalive,
    /// An inner packet.
    Data,
}

/// What it has seen.
pub(crate) struct Watch {
    /// By whose key an initiation is meant for a gateway.
    keys: Vec<CookieChecker>,
    /// When the last initiation went from one to another.
    initiations: BTreeMap<(usize, usize), Tick>,
    /// The next counter of each sender and receiver index.
    counters: BTreeMap<(usize, u32), u64>,
    /// Messages of each sender.
    counts: BTreeMap<(usize, Wire), usize>,
    /// Nobody has anything to say.
    pub(crate) is_silent: bool,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    pub(crate) fn new(hosts: usize) -> Self {
        let key = |host| CookieChecker::new(&Identity::new(private_key(host)));
        Self {
            keys: (0..hosts).map(key).collect(),
            initiations: BTreeMap::new(),
            counters: BTreeMap::new(),
            counts: BTreeMap::new(),
            is_silent: false,
        }
    }

    /// `host` has lost what it knew of its handshakes with `peer`, or with all.
    pub(crate) fn forget(&mut self, host: usize, peer: Option<usize>) {
        self.initiations
            .retain(|&(from, to), _| from != host || peer.is_some_and(|peer| peer != to));
    }

    /// Messages that `host` has sent.
    pub(crate) fn count(&self, host: usize, wire: Wire) -> usize {
        self.counts.get(&(host, wire)).copied().unwrap_or(0)
    }

    /// `host` sends; `far` is who is at that address.
    ///
    /// # Errors
    /// If it must not.
    pub(crate) fn look(
        &mut self,
        host: usize,
        sent: &Sent,
        far: Option<usize>,
        now: Tick,
    ) -> Result<Wire, Violation> {
        let bytes = &sent.bytes;
        let kind = kind(bytes).map_err(|_| Violation::NotWireGuard { host })?;
        let wire = match kind {
            Kind::Initiation => Wire::Initiation,
            Kind::Response => Wire::Response,
            Kind::CookieReply => Wire::Cookie,
            Kind::Data if bytes.len() == DATA_OVERHEAD => Wire::Keepalive,
            Kind::Data => Wire::Data,
        };
        *self.counts.entry((host, wire)).or_default() += 1;
        if self.is_silent {
            return Err(Violation::NotSilent { host });
        }
        if shows_payload(bytes) {
            return Err(Violation::InClear { host });
        }
        let is_marked = matches!(wire, Wire::Initiation | Wire::Response);
        if sent.tos != if is_marked { HANDSHAKE_DS } else { 0 } {
            return Err(Violation::WrongMark { host });
        }
        match wire {
            Wire::Initiation => self.look_at_initiation(host, bytes, far, now)?,
            Wire::Data | Wire::Keepalive => self.look_at_data(host, bytes)?,
            Wire::Response | Wire::Cookie => {}
        }
        Ok(wire)
    }

    /// P28. Whose key it is meant for says mac1: an address may be that of another by now.
    fn look_at_initiation(
        &mut self,
        host: usize,
        bytes: &[u8],
        far: Option<usize>,
        now: Tick,
    ) -> Result<(), Violation> {
        let nobody = core::net::SocketAddr::from(([0, 0, 0, 0], 0));
        let mut entropy = Seeded::danger_new(0);
        let all = 0..self.keys.len();
        let mut is_for = |peer: &usize| {
            let verdict = self.keys[*peer].check(bytes, nobody, now, false, &mut entropy);
            matches!(verdict, Verdict::Proceed)
        };
        let Some(peer) = far.into_iter().chain(all).find(&mut is_for) else {
            return Err(Violation::InitiationForNobody { host });
        };
        if let Some(last) = self.initiations.insert((host, peer), now) {
            let after = now.since(last);
            if after < REKEY_TIMEOUT {
                return Err(Violation::InitiationTooEarly { host, peer, after });
            }
        }
        Ok(())
    }

    /// P58 and P59: from zero, by one each.
    fn look_at_data(&mut self, host: usize, bytes: &[u8]) -> Result<(), Violation> {
        let (receiver, counter) = (data_receiver(bytes), data_counter(bytes));
        let next = self.counters.entry((host, receiver)).or_default();
        let expected = *next;
        *next = counter.wrapping_add(1);
        if counter != expected {
            return Err(Violation::WrongCounter {
                host,
                receiver,
                expected,
                counter,
            });
        }
        Ok(())
    }
}

/// Whether the start of a payload is to be seen.
fn shows_payload(bytes: &[u8]) -> bool {
    let starts = bytes.iter().enumerate();
    starts
        .filter(|(_, byte)| **byte == MARKER[0])
        .any(|(at, _)| bytes[at..].starts_with(&MARKER))
}
