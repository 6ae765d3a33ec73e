//! A keypair: the two transport keys of one session, their send counter and replay window.
//! HOT
//!
//! Immutable but for the counter, the window and two flags, so that lanes and the control loop
//! share it without a lock around the keys. Paper sections 5.4.5 and 5.4.6.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;

use crate::{
    Cipher, Tick, TransportKey,
    confirmation::Confirmation,
    handshake::{Role, SessionKeys},
    protocol::{
        KEEPALIVE_TIMEOUT, REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES,
        REKEY_AFTER_TIME, REKEY_TIMEOUT,
    },
    replay::ReplayWindow,
    send_counter::SendCounter,
};

/// The transport keys of one session.
#[derive(Debug)]
pub struct Keypair {
    role: Role,
    local_index: u32,
    remote_index: u32,
    created: Tick,
    pub(crate) sealing: Box<dyn TransportKey>,
    pub(crate) opening: Box<dyn TransportKey>,
    send_counter: SendCounter,
    pub(crate) replay: Mutex<ReplayWindow>,
    /// Set once the initiator asked for a new session because this one is about to expire (P40).
    last_minute: AtomicBool,
    /// When a lane last asked for a new session, in nanoseconds; 0 is never.
    rekey_asked: AtomicU64,
    confirmed: Confirmation,
}

impl Keypair {
    /// The keypair of a finished handshake, born at `now`.
    pub fn new(keys: &SessionKeys, now: Tick, cipher: &dyn Cipher) -> Self {
        Self {
            role: keys.role,
            local_index: keys.local_index,
            remote_index: keys.remote_index,
            created: now,
            sealing: cipher.key(keys.send.expose()),
            opening: cipher.key(keys.receive.expose()),
            send_counter: SendCounter::new(0),
            replay: Mutex::new(ReplayWindow::default()),
            last_minute: AtomicBool::new(false),
            rekey_asked: AtomicU64::new(0),
            confirmed: Confirmation::new(keys.role == Role::Initiator),
        }
    }

    /// Our side of the handshake that made this session.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The index that the peer writes into data messages to us.
    pub fn local_index(&self) -> u32 {
        self.local_index
    }

    /// The index that we write into data messages to the peer.
    pub fn remote_index(&self) -> u32 {
        self.remote_index
    }

    /// When the session was derived.
    pub fn created(&self) -> Tick {
        self.created
    }

    /// Packets sealed so far.
    pub fn sent_count(&self) -> u64 {
        self.send_counter.next()
    }

    /// Whether REJECT_AFTER_TIME and REJECT_AFTER_MESSAGES still allow sending.
    pub fn may_send(&self, now: Tick) -> bool {
        now.since(self.created) < REJECT_AFTER_TIME && self.sent_count() < REJECT_AFTER_MESSAGES
    }

    /// Whether a packet sent now should start a new handshake (paper 6.2; P39, P41).
    pub fn wants_rekey_on_send(&self, now: Tick) -> bool {
        self.sent_count() > REKEY_AFTER_MESSAGES
            || (self.role == Role::Initiator && now.since(self.created) >= REKEY_AFTER_TIME)
    }

    /// As [`Keypair::wants_rekey_on_send`], but true once a second at most: while the handshake
    /// runs, a lane need not ask for it with each superpacket.
    pub fn asks_for_rekey(&self, now: Tick) -> bool {
        const INTERVAL_NANOS: u64 = 1_000_000_000;
        if !self.wants_rekey_on_send(now) {
            return false;
        }
        let now = now.as_nanos();
        let asked = self.rekey_asked.load(Ordering::Relaxed);
        if asked != 0 && now.saturating_sub(asked) < INTERVAL_NANOS {
            return false;
        }
        self.rekey_asked.store(now, Ordering::Relaxed);
        true
    }

    /// Whether a packet received now should start a new handshake (paper 6.2; P40). True at most
    /// once a keypair.
    pub fn wants_rekey_on_receive(&self, now: Tick) -> bool {
        const LAST_MINUTE: core::time::Duration = REJECT_AFTER_TIME
            .saturating_sub(KEEPALIVE_TIMEOUT)
            .saturating_sub(REKEY_TIMEOUT);
        self.role == Role::Initiator
            && now.since(self.created) >= LAST_MINUTE
            && !self.last_minute.swap(true, Ordering::Relaxed)
    }

    /// True for the first call on a responder's keypair: the peer has proven that it has the key
    /// (P54).
    pub fn confirm(&self) -> bool {
        self.confirmed.give()
    }

    /// Whether the peer is known to have the key: always as initiator.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.is_given()
    }

    /// Takes `count` consecutive counters and returns the first, or nothing when
    /// REJECT_AFTER_MESSAGES would be reached. Counters are handed out once, whatever the number of
    /// threads (P59).
    pub fn reserve(&self, count: u64) -> Option<u64> {
        self.send_counter.reserve(count)
    }
}
