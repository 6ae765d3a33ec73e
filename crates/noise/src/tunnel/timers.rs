//! When a tunnel must act by itself, and what it then does (paper section 6; kernel `timers.c`).

use core::time::Duration;

use super::{Tunnel, TunnelHost};
use crate::{
    Tick,
    handshake::Identity,
    protocol::{
        KEEPALIVE_TIMEOUT, MAX_TIMER_HANDSHAKES, REKEY_TIMEOUT, REKEY_TIMEOUT_JITTER_MAX,
        ZERO_KEYS_AFTER_TIME,
    },
};

/// Deadlines that are not derived from activity, and what they need to know.
#[derive(Debug, Default)]
pub(super) struct Timers {
    pub(super) up: bool,
    pub(super) retransmit_at: Option<Tick>,
    pub(super) zero_keys_at: Option<Tick>,
    pub(super) last_sent_handshake: Option<Tick>,
    /// Retransmissions since data last asked for a session (P36, P37).
    pub(super) attempts: u32,
    /// Added to the 15 s after which an unanswered packet starts a handshake.
    pub(super) no_answer_jitter: Duration,
    /// Base of the persistent keepalive while no packet has passed yet.
    pub(super) keepalive_base: Option<Tick>,
}

impl Tunnel {
    /// The next deadline and what it is for. By asking, the caller promises to call
    /// [`Tunnel::handle_timeout`] then.
    pub fn poll_timeout(&self) -> Option<(Tick, &'static str)> {
        let timers = &self.timers;
        if !timers.up {
            return None;
        }
        let deadlines = [
            (timers.retransmit_at, "handshake retransmission"),
            (self.passive_keepalive_at(), "passive keepalive"),
            (self.no_answer_at(), "no answer"),
            (timers.zero_keys_at, "key erasure"),
            (self.persistent_keepalive_at(), "persistent keepalive"),
        ];
        deadlines
            .into_iter()
            .filter_map(|(at, reason)| Some((at?, reason)))
            .min_by_key(|&(at, _)| at)
    }

    fn passive_keepalive_at(&self) -> Option<Tick> {
        Some(self.link.activity.peer_waits.look()? + KEEPALIVE_TIMEOUT)
    }

    fn no_answer_at(&self) -> Option<Tick> {
        Some(self.link.activity.we_wait.look()? + self.no_answer_timeout())
    }

    fn no_answer_timeout(&self) -> Duration {
        KEEPALIVE_TIMEOUT
            .saturating_add(REKEY_TIMEOUT)
            .saturating_add(self.timers.no_answer_jitter)
    }

    fn persistent_keepalive_at(&self) -> Option<Tick> {
        let base = self
            .link
            .activity
            .last_traversal()
            .max(self.timers.keepalive_base)?;
        Some(base + self.persistent_keepalive?)
    }

    /// Does whatever is due at `now`.
    pub fn handle_timeout(&mut self, identity: &Identity, now: Tick, host: &mut dyn TunnelHost) {
        if !self.timers.up {
            return;
        }
        let due = |at: Option<Tick>| at.is_some_and(|at| at <= now);
        // First: after a long suspend everything is due at once, and what the others start must not
        // be erased.
        if due(self.timers.zero_keys_at) {
            self.erase(host);
        }
        if due(self.timers.retransmit_at) {
            self.retransmit(identity, now, host);
        }
        let activity = &self.link.activity;
        if activity.peer_waits.is_due(KEEPALIVE_TIMEOUT, now) {
            activity.peer_waits.end();
            let another = activity.take_more_received();
            self.send_keepalive(identity, now, host);
            if another {
                self.link.activity.peer_waits.restart(now);
            }
        }
        let timeout = self.no_answer_timeout();
        if self.link.activity.we_wait.is_due(timeout, now) {
            self.link.activity.we_wait.end();
            self.timers.no_answer_jitter = jitter(host);
            self.link.clear_source();
            self.want_session(identity, now, host);
        }
        if due(self.persistent_keepalive_at()) {
            self.timers.keepalive_base = Some(now);
            self.send_keepalive(identity, now, host);
        }
    }

    /// 5 s without a response: once more, or give up (P35, P36, P38).
    fn retransmit(&mut self, identity: &Identity, now: Tick, host: &mut dyn TunnelHost) {
        self.timers.retransmit_at = None;
        if self.timers.attempts > MAX_TIMER_HANDSHAKES {
            host.handshake_unanswered(&self.link);
            self.link.activity.peer_waits.end();
            host.drop_parked();
            self.timers
                .zero_keys_at
                .get_or_insert(now + ZERO_KEYS_AFTER_TIME);
            return;
        }
        self.timers.attempts = self.timers.attempts.saturating_add(1);
        self.link.clear_source();
        self.start_handshake(identity, now, host);
    }
}

/// U[0, 333] ms, so that two peers do not initiate in step for ever (paper 6.1; P35).
pub(super) fn jitter(host: &mut dyn TunnelHost) -> Duration {
    let mut random = [0; 4];
    if host.entropy().fill(&mut random).is_err() {
        return Duration::ZERO;
    }
    REKEY_TIMEOUT_JITTER_MAX.mul_f64(f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
}
