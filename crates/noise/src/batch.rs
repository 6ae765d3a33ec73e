//! Data messages of one session, many at once (paper 5.4.6).
//! HOT
//!
//! The packets of a superpacket, or of a run of small ones, have one key: the cipher does them side
//! by side, at a fraction of what each would cost alone. What surrounds it is done for each packet,
//! in order: headers and counters before sealing, the replay window before and after opening.

use std::sync::{MutexGuard, PoisonError};

use arrayvec::ArrayVec;
use weapon_aead::{Opening, Sealing};
use weapon_wire::{
    SEGMENTS_MAX,
    message::{DATA_HEADER_LEN, DATA_OVERHEAD, data_counter, data_receiver, write_data_header},
};

use crate::{
    Keypair, Tick,
    protocol::{REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME},
    replay::ReplayWindow,
};

/// Most packets of a batch: as many as a superpacket has segments.
pub const BATCH_MAX: usize = SEGMENTS_MAX;

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

/// Sealing failed: a slot has the wrong length, or there are more than counters were reserved for.
/// A local fault, never a peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("slot does not fit the plaintext")]
pub struct SealError;

/// Packets that are sealed in one call.
#[derive(Debug)]
pub struct SealBatch<'a> {
    keypair: &'a Keypair,
    /// The next packet's counter.
    counter: u64,
    /// Where the counters that were reserved end.
    end: u64,
    packets: ArrayVec<Sealing<'a>, BATCH_MAX>,
}

impl Keypair {
    /// A batch of up to `count` packets, or nothing when REJECT_AFTER_MESSAGES would be reached.
    /// Their counters are taken together; one that no packet comes for is never used.
    // Inlined, so that the kilobytes of an empty batch are not moved.
    #[inline]
    pub fn seal_batch(&self, count: usize) -> Option<SealBatch<'_>> {
        let counter = self.reserve(count as u64)?;
        Some(SealBatch {
            keypair: self,
            counter,
            end: counter.saturating_add(count as u64),
            packets: ArrayVec::new(),
        })
    }

    /// Seals `plaintext`, followed by `padding` zero bytes, into `slot` as a complete data message:
    /// a batch of one. `counter` comes from [`Keypair::reserve`] and is used once.
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
        let text_len = plaintext.len().saturating_add(padding);
        if slot.len() != text_len.saturating_add(DATA_OVERHEAD) {
            return Err(SealError);
        }
        let (header, body) = slot.split_at_mut(DATA_HEADER_LEN);
        write_data_header(header, self.remote_index(), counter);
        let mut packet = Sealing::apart(counter, plaintext, body);
        self.sealing
            .seal_many(core::slice::from_mut(&mut packet))
            .map_err(|_| SealError)
    }

    /// Starts opening a run of datagrams. The window stays locked for the run: all datagrams of a
    /// session reach us through one socket, so nobody waits, and one lock serves all of them.
    pub fn open_run(&self, now: Tick) -> Result<OpenRun<'_>, OpenError> {
        if now.since(self.created()) >= REJECT_AFTER_TIME {
            return Err(OpenError::Expired);
        }
        let window = self.replay.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(OpenRun {
            keypair: self,
            window,
        })
    }
}

impl<'a> SealBatch<'a> {
    /// Adds a packet, which becomes the whole of `slot` as a data message. Its first `head_len`
    /// bytes stand behind the place of the header already, `rest` follows, and zeros pad it.
    ///
    /// # Errors
    /// [`SealError`] if `slot` is too short for a message, or there is no counter left.
    pub fn push(
        &mut self,
        slot: &'a mut [u8],
        head_len: usize,
        rest: &'a [u8],
    ) -> Result<(), SealError> {
        if self.counter == self.end || slot.len() < DATA_OVERHEAD {
            return Err(SealError);
        }
        let (header, body) = slot.split_at_mut(DATA_HEADER_LEN);
        write_data_header(header, self.keypair.remote_index(), self.counter);
        let packet = Sealing::with_head(self.counter, head_len, rest, body);
        self.packets.try_push(packet).map_err(|_| SealError)?;
        self.counter = self.counter.saturating_add(1);
        Ok(())
    }

    /// Seals all that were added since the last time.
    ///
    /// # Errors
    /// [`SealError`] if the slices of one do not fit together; none was sealed then.
    pub fn seal(&mut self) -> Result<(), SealError> {
        let sealed = self.keypair.sealing.seal_many(&mut self.packets);
        self.packets.clear();
        sealed.map_err(|_| SealError)
    }
}

/// What became of each datagram of a batch, in order: the length of its plaintext, which stands at
/// `datagram[DATA_HEADER_LEN..]`.
pub type Opened = ArrayVec<Result<usize, OpenError>, BATCH_MAX>;

/// Datagrams of one session being opened.
#[derive(Debug)]
pub struct OpenRun<'a> {
    keypair: &'a Keypair,
    window: MutexGuard<'a, ReplayWindow>,
}

impl OpenRun<'_> {
    /// Opens up to [`BATCH_MAX`] data messages in place; what is beyond is not looked at. The
    /// window moves only after a tag was found right (P62), in the order of the datagrams, so that
    /// of two with one counter the first passes. Of a forged datagram the body may not be left as
    /// it was, and nothing of what it would decrypt to is there either.
    ///
    /// `opened`, which is the caller's so that it need not be moved, says what became of each.
    pub fn open_many<'a>(
        &mut self,
        datagrams: impl Iterator<Item = &'a mut [u8]>,
        opened: &mut Opened,
    ) {
        opened.clear();
        let mut candidates = ArrayVec::<Opening<'_>, BATCH_MAX>::new();
        for datagram in datagrams.take(BATCH_MAX) {
            let len = datagram.len();
            let candidate = self.candidate(datagram);
            // Hopes the best; the tag and the batch's own counters have a say below.
            opened.push(candidate.map(|candidate| {
                candidates.push(candidate);
                len.saturating_sub(DATA_OVERHEAD)
            }));
        }
        self.keypair.opening.open_many(&mut candidates);
        let kept = opened.iter_mut().filter(|outcome| outcome.is_ok());
        for (outcome, candidate) in kept.zip(&candidates) {
            if !candidate.is_authentic() {
                *outcome = Err(OpenError::Forged);
            } else if !self.window.commit(candidate.counter()) {
                *outcome = Err(OpenError::Replayed);
            }
        }
    }

    /// Opens one datagram: a batch of one.
    ///
    /// # Errors
    /// [`OpenError`], and the window has not moved.
    pub fn open(&mut self, datagram: &mut [u8]) -> Result<usize, OpenError> {
        let mut opened = Opened::new();
        self.open_many(core::iter::once(datagram), &mut opened);
        opened.pop().unwrap_or(Err(OpenError::Forged))
    }

    /// What is worth opening, as far as can be told without the key.
    fn candidate<'a>(&self, datagram: &'a mut [u8]) -> Result<Opening<'a>, OpenError> {
        if datagram.len() < DATA_OVERHEAD {
            return Err(OpenError::Forged);
        }
        debug_assert_eq!(data_receiver(datagram), self.keypair.local_index());
        let counter = data_counter(datagram);
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(OpenError::Expired);
        }
        if !self.window.would_accept(counter) {
            return Err(OpenError::Replayed);
        }
        let body = datagram.get_mut(DATA_HEADER_LEN..);
        Ok(Opening::in_place(counter, body.ok_or(OpenError::Forged)?))
    }
}
