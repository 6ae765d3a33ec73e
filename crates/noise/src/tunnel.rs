//! A tunnel: one peer's handshakes, sessions and timers, as the control loop owns them.
//!
//! What happens comes in as a method call with the time; what is to be done goes out through
//! [`TunnelHost`]. The deadlines are asked for with [`Tunnel::poll_timeout`]. Paper section 6;
//! kernel `timers.c`, `send.c`, `receive.c`, `noise.c`.

use core::time::Duration;
use std::sync::Arc;

use weapon_wire::{
    Endpoint,
    message::{CookieReply, DATA_OVERHEAD, Initiation, Response},
};

use crate::{
    Attempts, Cipher, Keypair, Link, Tick, Trouble,
    cookie::CookieJar,
    entropy::EntropyNotReady,
    gate::{InitiationGate, Refused},
    handshake::{
        AwaitingResponse, HandshakeError, Identity, OpenedInitiation, Remote, Role,
        fresh_ephemeral, initiate,
    },
    key_log::HandshakeSecrets,
    keys::{PresharedKey, PublicKey},
    protocol::{REKEY_TIMEOUT, ZERO_KEYS_AFTER_TIME},
    sessions::Sessions,
};

mod host;
pub use host::TunnelHost;
mod timers;
use timers::{Timers, jitter};

/// Why a handshake message was dropped without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The message does not authenticate.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A replay or a flood (P26, P27).
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no pending initiation with this index (P19).
    #[error("response to nothing")]
    Unasked,
    /// The kernel has no randomness yet (P104).
    #[error("no randomness yet")]
    EntropyNotReady,
    /// The cookie reply does not belong to our last message (P69).
    #[error("cookie reply not accepted")]
    Cookie,
}

impl From<EntropyNotReady> for Rejected {
    fn from(_: EntropyNotReady) -> Self {
        Self::EntropyNotReady
    }
}

/// Settings of a tunnel.
#[derive(Debug)]
pub struct TunnelConfig {
    /// The peer's static public key.
    pub public_key: PublicKey,
    /// The pre-shared key, mixed into every handshake.
    pub preshared_key: Option<PresharedKey>,
    /// An empty packet this long after the last one in either direction; none if `None` or zero
    /// (P48).
    pub persistent_keepalive: Option<Duration>,
    /// What seals and opens data messages.
    pub cipher: &'static dyn Cipher,
}

/// One peer's tunnel.
#[derive(Debug)]
pub struct Tunnel {
    remote: Remote,
    link: Arc<Link>,
    sessions: Sessions,
    pending: Option<AwaitingResponse>,
    cookies: CookieJar,
    gate: InitiationGate,
    /// The peer has used a session that it asked for: it was there, and knows no timestamps of its
    /// own above the gate's greatest. From then on what passes the gate is no recording.
    gate_is_proven: bool,
    timers: Timers,
    attempts: Attempts,
    persistent_keepalive: Option<Duration>,
    cipher: &'static dyn Cipher,
}

impl Tunnel {
    /// A tunnel without a session, its interface down.
    pub fn new(identity: &Identity, config: TunnelConfig) -> Self {
        Self {
            remote: Remote::new(identity, config.public_key, config.preshared_key),
            link: Arc::new(Link::default()),
            sessions: Sessions::default(),
            pending: None,
            cookies: CookieJar::new(),
            gate: InitiationGate::default(),
            gate_is_proven: false,
            timers: Timers::default(),
            attempts: Attempts::default(),
            persistent_keepalive: config.persistent_keepalive.filter(is_some_time),
            cipher: config.cipher,
        }
    }

    /// The half that lanes use.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// The peer's static public key.
    pub fn public_key(&self) -> PublicKey {
        *self.remote.public()
    }

    /// The three slots.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What became of the handshakes since the last one that did.
    pub fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    /// Why there is no session, if there should be one at `now`.
    pub fn trouble(&self, now: Tick) -> Option<Trouble> {
        if self.remote.is_low_order() {
            return Some(Trouble::LowOrder);
        }
        self.attempts.trouble(now)
    }

    /// The index that a response to our pending initiation carries.
    pub fn pending_index(&self) -> Option<u32> {
        self.pending.as_ref().map(AwaitingResponse::local_index)
    }

    /// The interface came up: persistent keepalives start with one at once (P48, P99).
    pub fn up(&mut self, identity: &Identity, now: Tick, host: &mut dyn TunnelHost) {
        self.timers.up = true;
        self.timers.keepalive_base = Some(now);
        self.timers.no_answer_jitter = jitter(host);
        self.link.activity.reset();
        if self.persistent_keepalive.is_some() {
            self.send_keepalive(identity, now, host);
        }
    }

    /// The interface went down, or the peer is removed: timers stopped, handshake and sessions
    /// erased, parked packets dropped (P52, P99).
    pub fn down(&mut self, host: &mut dyn TunnelHost) {
        self.erase(host);
        self.timers = Timers::default();
        self.attempts.settle();
    }

    /// The pre-shared key, if there is one.
    pub fn preshared_key(&self) -> Option<&PresharedKey> {
        Some(self.remote.psk()).filter(|key| !key.is_none())
    }

    /// Changes the pre-shared key. The live session goes on; the next handshake uses it (P23).
    pub fn set_preshared_key(&mut self, key: Option<PresharedKey>) {
        self.remote.set_psk(key);
        self.attempts.settle();
    }

    /// Changes the interval of the persistent keepalive; from none to some sends one at once (P48).
    pub fn set_persistent_keepalive(
        &mut self,
        interval: Option<Duration>,
        identity: &Identity,
        now: Tick,
        host: &mut dyn TunnelHost,
    ) {
        let interval = interval.filter(is_some_time);
        let starts = self.persistent_keepalive.is_none() && interval.is_some();
        self.persistent_keepalive = interval;
        self.timers.keepalive_base = Some(now);
        if starts && self.timers.up {
            self.send_keepalive(identity, now, host);
        }
    }

    /// Our static key changed: nothing is sent with old keypairs any more, and a new handshake may
    /// start at once (P21). What the peer still sends with the old session is opened until it ends.
    pub fn set_identity(&mut self, identity: &Identity, host: &mut dyn TunnelHost) {
        self.remote.set_identity(identity);
        self.drop_pending(host);
        self.link.publish(None);
        if let Some(keypair) = self.sessions.stop_sending() {
            host.release_index(keypair.local_index());
        }
        self.timers.last_sent_handshake = None;
        self.attempts.settle();
    }

    /// Something was parked, or a keypair is old: a session is wanted because of new data (P34,
    /// P37, P39 to P41).
    pub fn want_session(&mut self, identity: &Identity, now: Tick, host: &mut dyn TunnelHost) {
        self.timers.attempts = 0;
        self.start_handshake(identity, now, host);
    }

    /// Sends an initiation unless the last handshake message is less than 5 s old (P28).
    fn start_handshake(&mut self, identity: &Identity, now: Tick, host: &mut dyn TunnelHost) {
        if self.remote.is_low_order() {
            // There will never be a session with such a key (P16).
            host.drop_parked();
            return;
        }
        if !self.timers.up {
            return;
        }
        if let Some(last) = self.timers.last_sent_handshake
            && now.since(last) < REKEY_TIMEOUT
        {
            // Nothing else may come that asks again, so the parked packets ask for themselves.
            if self.timers.retransmit_at.is_none() && host.has_parked() {
                self.timers.retransmit_at = Some(last + REKEY_TIMEOUT);
            }
            return;
        }
        if self.pending.is_some() {
            host.handshake_unanswered(&self.link);
        }
        let Some(endpoint) = self.link.endpoint().as_deref().copied() else {
            return;
        };
        self.timers.last_sent_handshake = Some(now);
        self.timers.retransmit_at = Some(now + REKEY_TIMEOUT + jitter(host));
        self.send_initiation(identity, &endpoint, now, host);
    }

    /// A fresh ephemeral, index and timestamp each time, also for a retransmission (P17).
    fn send_initiation(
        &mut self,
        identity: &Identity,
        endpoint: &Endpoint,
        now: Tick,
        host: &mut dyn TunnelHost,
    ) {
        let Some(timestamp) = host.timestamp() else {
            return;
        };
        let Ok(index) = host.reserve_index() else {
            return;
        };
        let Ok((pending, mut message)) =
            initiate(identity, &self.remote, index, timestamp, host.entropy())
        else {
            host.release_index(index);
            return;
        };
        self.drop_pending(host);
        if let Some(log) = host.key_log() {
            log.note_handshake(&pending.secrets(&self.remote));
        }
        self.pending = Some(pending);
        self.cookies.sign(&self.remote, message.as_mut_bytes(), now);
        host.send(endpoint, message.as_bytes());
        self.attempts.note_sent(now);
        self.note_sent(now, message.as_bytes().len());
    }

    /// An initiation that names this peer: answers it, if it is authentic and new.
    ///
    /// # Errors
    /// [`Rejected`]; nothing was sent and nothing changed.
    pub fn accept_initiation(
        &mut self,
        opened: OpenedInitiation,
        from: &Endpoint,
        now: Tick,
        host: &mut dyn TunnelHost,
    ) -> Result<(), Rejected> {
        let verified = opened.verify(&self.remote)?;
        self.gate.admit(verified.timestamp(), now)?;
        let ephemeral = fresh_ephemeral(host.entropy())?;
        let index = host.reserve_index()?;
        let (mut response, keys) = match verified.respond_with(&self.remote, index, &ephemeral) {
            Ok(answer) => answer,
            Err(error) => {
                host.release_index(index);
                return Err(error.into());
            }
        };
        if let Some(log) = host.key_log() {
            let secrets = HandshakeSecrets::new(Role::Responder, &self.remote, &ephemeral);
            log.note_handshake(&secrets);
        }
        // After a restart, recordings of before look like new messages, one after the other: they
        // get answers, but do not move the endpoint. The peer's first data packet does (P31).
        if self.gate_is_proven {
            self.link.roam(from, now);
        }
        self.note_received(now, size_of::<Initiation>());
        let keypair = Keypair::new(&keys, now, self.cipher);
        self.install(Arc::new(keypair), false, now, host);
        self.timers.last_sent_handshake = Some(now);
        self.cookies
            .sign(&self.remote, response.as_mut_bytes(), now);
        host.send(from, response.as_bytes());
        self.attempts.note_answer();
        self.note_sent(now, size_of::<Response>());
        Ok(())
    }

    /// A response with [`Tunnel::pending_index`]: the session is there (P19, P49).
    ///
    /// # Errors
    /// [`Rejected`]; the pending initiation waits on.
    pub fn accept_response(
        &mut self,
        identity: &Identity,
        response: &Response,
        from: &Endpoint,
        now: Tick,
        host: &mut dyn TunnelHost,
    ) -> Result<(), Rejected> {
        let pending = self
            .pending
            .as_ref()
            .filter(|pending| pending.local_index() == response.receiver.get())
            .ok_or(Rejected::Unasked)?;
        let keys = match pending.finish(identity, &self.remote, response) {
            Ok(keys) => keys,
            Err(error) => {
                self.attempts.note_invalid_response();
                return Err(error.into());
            }
        };
        self.pending = None;
        self.attempts.note_response(now);
        self.link.roam(from, now);
        self.note_received(now, size_of::<Response>());
        let keypair = Keypair::new(&keys, now, self.cipher);
        // Any order of the two keys will do that both ends see.
        let yields = identity.public() > self.remote.public();
        self.install(Arc::new(keypair), yields, now, host);
        self.complete(Role::Initiator, host);
        if host.release_parked(&self.link) == 0 {
            self.send_keepalive(identity, now, host);
        }
        Ok(())
    }

    /// A cookie reply for our last message: kept for the next one, nothing else (P69).
    ///
    /// # Errors
    /// [`Rejected::Cookie`].
    pub fn accept_cookie(&mut self, reply: &CookieReply, now: Tick) -> Result<(), Rejected> {
        if self.cookies.accept(&self.remote, reply, now) {
            self.attempts.note_cookie();
            Ok(())
        } else {
            Err(Rejected::Cookie)
        }
    }

    /// A lane opened a first packet: if it was the responder's new keypair's, both sides have it
    /// (P54).
    pub fn confirmed(&mut self, host: &mut dyn TunnelHost) {
        let Some(rotated) = self.sessions.confirm() else {
            return;
        };
        if let Some(old) = rotated {
            host.release_index(old.local_index());
        }
        self.link.publish(self.sessions.current().cloned());
        self.gate_is_proven = true;
        self.complete(Role::Responder, host);
        host.release_parked(&self.link);
    }

    fn install(
        &mut self,
        keypair: Arc<Keypair>,
        yields: bool,
        now: Tick,
        host: &mut dyn TunnelHost,
    ) {
        host.activate_index(keypair.local_index(), &keypair);
        for old in self.sessions.install(keypair, yields).into_iter().flatten() {
            host.release_index(old.local_index());
        }
        self.link.publish(self.sessions.current().cloned());
        self.timers.zero_keys_at = Some(now + ZERO_KEYS_AFTER_TIME);
    }

    fn complete(&mut self, role: Role, host: &mut dyn TunnelHost) {
        self.timers.retransmit_at = None;
        self.timers.attempts = 0;
        self.attempts.note_completed();
        host.handshake_completed(role);
    }

    /// An empty data message; without a session, a handshake that will be followed by one.
    fn send_keepalive(&mut self, identity: &Identity, now: Tick, host: &mut dyn TunnelHost) {
        let Some(endpoint) = self.link.endpoint().as_deref().copied() else {
            return;
        };
        let Some(keypair) = self.link.sending(now) else {
            self.want_session(identity, now, host);
            return;
        };
        let Some(keypair) = keypair.as_ref() else {
            return;
        };
        let Some(counter) = keypair.reserve(1) else {
            return;
        };
        let mut message = [0; DATA_OVERHEAD];
        if keypair.seal(counter, &[], 0, &mut message).is_err() {
            return;
        }
        host.send(&endpoint, &message);
        self.note_sent(now, DATA_OVERHEAD);
        if keypair.wants_rekey_on_send(now) {
            self.want_session(identity, now, host);
        }
    }

    /// Sends nobody's data, so the stamps wake nobody.
    fn note_sent(&self, now: Tick, bytes: usize) {
        let _wake = self.link.activity.note_sent(now, false);
        self.link.traffic.note_sent(1, bytes as u64);
    }

    fn note_received(&self, now: Tick, bytes: usize) {
        let _wake = self.link.activity.note_received(now, false);
        self.link.traffic.note_received(1, bytes as u64);
    }

    /// Erases handshake, sessions and parked packets (P47).
    fn erase(&mut self, host: &mut dyn TunnelHost) {
        self.drop_pending(host);
        self.link.publish(None);
        for keypair in self.sessions.erase().into_iter().flatten() {
            host.release_index(keypair.local_index());
        }
        self.link.activity.reset();
        host.drop_parked();
        self.timers.zero_keys_at = None;
        self.timers.retransmit_at = None;
    }

    fn drop_pending(&mut self, host: &mut dyn TunnelHost) {
        if let Some(pending) = self.pending.take() {
            host.release_index(pending.local_index());
        }
    }
}

/// Zero seconds mean "off" in WireGuard's configuration.
fn is_some_time(interval: &Duration) -> bool {
    !interval.is_zero()
}
