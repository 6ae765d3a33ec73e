//! A keypair: the two transport keys of one session, their send counter and replay window.
//! HOT
//!
//! Immutable but for the counter, the window and two flags, so that lanes and the control loop
//! share it without a lock around the keys. Paper sections 5.4.5 and 5.4.6.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use weapon_wire::message::{
    DATA_HEADER_LEN, DATA_OVERHEAD, TAG_LEN, data_counter, data_receiver, write_data_header,
};

use crate::{
    Cipher, LibraryCipher, Tick, TransportKey,
    handshake::{Role, SessionKeys},
    protocol::{
        KEEPALIVE_TIMEOUT, REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES,
        REKEY_AFTER_TIME, REKEY_TIMEOUT,
    },
    replay::ReplayWindow,
};

/// Zero bytes that pad a plaintext to a multiple of 16.
static PADDING: [u8; 16] = [0; 16];

/// Why a datagram was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The key is 180 s old or its counter is used up (P42, P60).
    #[error("key expired")]
    Expired,
    /// The counter was seen before or is below the window.
    #[error("replayed or too old")]
    Replayed,
    /// The tag is wrong.
    #[error("not authentic")]
    Forged,
}

/// Sealing failed: the slot has the wrong length. A local fault, never a peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("slot does not fit the plaintext")]
pub struct SealError;

/// The transport keys of one session.
#[derive(Debug)]
pub struct Keypair {
    role: Role,
    local_index: u32,
    remote_index: u32,
    created: Tick,
    sealing: Box<dyn TransportKey>,
    opening: Box<dyn TransportKey>,
    /// The next counter to send. Never wraps, never used twice: only [`Keypair::reserve`] moves it.
    send_counter: AtomicU64,
    replay: Mutex<ReplayWindow>,
    /// Set once the initiator asked for a new session because this one is about to expire (P40).
    last_minute: AtomicBool,
    /// When a lane last asked for a new session, in nanoseconds; 0 is never.
    rekey_asked: AtomicU64,
    /// Set once a packet was opened with this keypair.
    confirmed: AtomicBool,
}

impl Keypair {
    /// The keypair of a finished handshake, born at `now`, with the cipher of the protocol.
    pub fn new(keys: &SessionKeys, now: Tick) -> Self {
        Self::with_cipher(keys, now, &LibraryCipher)
    }

    /// As [`Keypair::new`], with another cipher.
    pub fn with_cipher(keys: &SessionKeys, now: Tick, cipher: &dyn Cipher) -> Self {
        Self {
            role: keys.role,
            local_index: keys.local_index,
            remote_index: keys.remote_index,
            created: now,
            sealing: cipher.key(keys.send.expose()),
            opening: cipher.key(keys.receive.expose()),
            send_counter: AtomicU64::new(0),
            replay: Mutex::new(ReplayWindow::default()),
            last_minute: AtomicBool::new(false),
            rekey_asked: AtomicU64::new(0),
            confirmed: AtomicBool::new(keys.role == Role::Initiator),
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
        self.send_counter.load(Ordering::Relaxed)
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
    ///
    /// The lane that was told so asks the control loop to look, and may find that it was asked
    /// already. Both sides of that question are in one total order, or the loop could look before
    /// it sees the flag, and nobody would ask again.
    pub fn confirm(&self) -> bool {
        !self.confirmed.load(Ordering::Relaxed) && !self.confirmed.swap(true, Ordering::SeqCst)
    }

    /// Whether the peer is known to have the key: always as initiator.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::SeqCst)
    }

    /// Takes `count` consecutive counters and returns the first, or nothing when
    /// REJECT_AFTER_MESSAGES would be reached. Counters are handed out once, whatever the number of
    /// threads (P59).
    pub fn reserve(&self, count: u64) -> Option<u64> {
        self.send_counter
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                next.checked_add(count)
                    .filter(|&end| end <= REJECT_AFTER_MESSAGES)
            })
            .ok()
    }

    /// Seals `plaintext`, followed by `padding` (at most 15) zero bytes, into `slot` as a complete
    /// data message. `counter` comes from [`Keypair::reserve`] and is used once.
    ///
    /// # Errors
    /// [`SealError`] if `slot` is not `plaintext.len() + padding + DATA_OVERHEAD` long.
    pub fn seal(
        &self,
        counter: u64,
        plaintext: &[u8],
        padding: usize,
        slot: &mut [u8],
    ) -> Result<(), SealError> {
        let padding = PADDING.get(..padding).ok_or(SealError)?;
        if slot.len() != plaintext.len() + padding.len() + DATA_OVERHEAD {
            return Err(SealError);
        }
        let (header, body) = slot.split_at_mut(DATA_HEADER_LEN);
        write_data_header(header, self.remote_index, counter);
        let (ciphertext, tail) = body.split_at_mut(plaintext.len());
        self.sealing
            .seal(counter, plaintext, ciphertext, padding, tail)
            .map_err(|_| SealError)
    }

    /// Starts opening a run of datagrams. The window stays locked for the run: all datagrams of a
    /// session reach us through one socket, so nobody waits, and one lock serves up to 64 of them.
    pub fn open_run(&self, now: Tick) -> Result<OpenRun<'_>, OpenError> {
        if now.since(self.created) >= REJECT_AFTER_TIME {
            return Err(OpenError::Expired);
        }
        let window = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(OpenRun {
            keypair: self,
            window,
        })
    }
}

/// Datagrams of one session being opened.
#[derive(Debug)]
pub struct OpenRun<'a> {
    keypair: &'a Keypair,
    window: MutexGuard<'a, ReplayWindow>,
}

impl OpenRun<'_> {
    /// Opens the data message `datagram` in place and returns the length of the plaintext, which
    /// then stands at `datagram[DATA_HEADER_LEN..]`. The window moves only after the tag was found
    /// right (P62). Of a forged datagram, the body is not left as it was, and nothing of what it
    /// would decrypt to is there either.
    ///
    /// # Errors
    /// [`OpenError`], and nothing has changed.
    pub fn open(&mut self, datagram: &mut [u8]) -> Result<usize, OpenError> {
        debug_assert_eq!(data_receiver(datagram), self.keypair.local_index);
        let counter = data_counter(datagram);
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(OpenError::Expired);
        }
        if !self.window.would_accept(counter) {
            return Err(OpenError::Replayed);
        }
        let body = datagram
            .get_mut(DATA_HEADER_LEN..)
            .ok_or(OpenError::Forged)?;
        let plaintext_len = body.len().checked_sub(TAG_LEN).ok_or(OpenError::Forged)?;
        self.keypair
            .opening
            .open(counter, body)
            .map_err(|_| OpenError::Forged)?;
        if self.window.commit(counter) {
            Ok(plaintext_len)
        } else {
            Err(OpenError::Replayed)
        }
    }
}
