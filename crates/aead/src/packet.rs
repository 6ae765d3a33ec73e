//! Packets: slices of the caller, and what to do with them.

use core::fmt;

use crate::{BLOCK_LEN, TAG_LEN};

/// The slices of a packet do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthError {
    /// Which packet of the batch it is.
    pub index: usize,
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.index;
        write!(
            f,
            "packet {index} of the batch: its slices do not fit together"
        )
    }
}

impl core::error::Error for LengthError {}

/// One packet to seal, with WireGuard's nonce and no additional data.
///
/// ```text
///  out  | head | ................... | tag |     before: only the head is filled
///              | plaintext | padding |
///  out  | ciphertext                 | tag |     afterwards
/// ```
///
/// The head is plaintext that stands where its ciphertext will stand already: headers that were
/// made for this packet, with the first bytes of its payload. The padding is zeros, as many as
/// there is room for.
#[derive(Debug)]
pub struct Sealing<'a> {
    pub(crate) counter: u64,
    pub(crate) head_len: usize,
    pub(crate) plaintext: &'a [u8],
    pub(crate) out: &'a mut [u8],
}

impl<'a> Sealing<'a> {
    /// All of the plaintext is elsewhere. `out` is at least [`TAG_LEN`] bytes longer; zeros pad
    /// what it is longer than that.
    pub fn apart(counter: u64, plaintext: &'a [u8], out: &'a mut [u8]) -> Self {
        Self::with_head(counter, 0, plaintext, out)
    }

    /// All of the plaintext is in `out`, in front of [`TAG_LEN`] bytes for the tag.
    pub fn in_place(counter: u64, out: &'a mut [u8]) -> Self {
        let head_len = out.len().saturating_sub(TAG_LEN);
        Self::with_head(counter, head_len, &[], out)
    }

    /// The first `head_len` bytes of the plaintext are in `out`, the others elsewhere.
    /// `head_len` is a multiple of [`BLOCK_LEN`], unless nothing follows but padding.
    pub fn with_head(
        counter: u64,
        head_len: usize,
        plaintext: &'a [u8],
        out: &'a mut [u8],
    ) -> Self {
        Self {
            counter,
            head_len,
            plaintext,
            out,
        }
    }

    /// Puts plaintext and padding where their ciphertext will stand, and returns all of the text,
    /// head included, and the room for the tag: for a cipher of another crate's. Nothing if the
    /// slices do not fit.
    pub fn lay_out(&mut self) -> Option<(&mut [u8], &mut [u8])> {
        if !self.is_valid() {
            return None;
        }
        let (text, tag) = self.out.split_at_mut(self.out.len() - TAG_LEN);
        let (plaintext, padding) = text[self.head_len..].split_at_mut(self.plaintext.len());
        plaintext.copy_from_slice(self.plaintext);
        padding.fill(0);
        Some((text, tag))
    }

    /// Bytes that are encrypted, padding included.
    pub(crate) fn len(&self) -> usize {
        self.out.len() - TAG_LEN
    }

    pub(crate) fn is_valid(&self) -> bool {
        let Some(room) = self.out.len().checked_sub(TAG_LEN) else {
            return false;
        };
        let Some(room) = room.checked_sub(self.head_len) else {
            return false;
        };
        room >= self.plaintext.len()
            && (self.plaintext.is_empty() || self.head_len.is_multiple_of(BLOCK_LEN))
            && is_short_enough(self.out.len())
    }
}

/// One packet to open, with WireGuard's nonce and no additional data.
#[derive(Debug)]
pub struct Opening<'a> {
    pub(crate) counter: u64,
    /// Ciphertext and tag; empty if they are in `out`.
    pub(crate) sealed: &'a [u8],
    pub(crate) out: &'a mut [u8],
    pub(crate) is_authentic: bool,
}

impl<'a> Opening<'a> {
    /// `body` is ciphertext and tag, and holds the plaintext afterwards. The tag stays.
    pub fn in_place(counter: u64, body: &'a mut [u8]) -> Self {
        Self::apart(counter, &[], body)
    }

    /// `sealed` is ciphertext and tag; `plaintext` is [`TAG_LEN`] bytes shorter.
    pub fn apart(counter: u64, sealed: &'a [u8], plaintext: &'a mut [u8]) -> Self {
        Self {
            counter,
            sealed,
            out: plaintext,
            is_authentic: false,
        }
    }

    /// Whether the tag was right. If not, there is nothing of the plaintext in the output: it is as
    /// it was, or, when aws-lc opened in place, erased.
    pub fn is_authentic(&self) -> bool {
        self.is_authentic
    }

    /// Notes that the packet is authentic, if its slices fit: for a cipher of another crate's.
    pub fn accept(&mut self) {
        self.is_authentic = self.len().is_some();
    }

    /// The nonce's counter.
    pub fn counter(&self) -> u64 {
        self.counter
    }

    /// Ciphertext and tag.
    pub(crate) fn sealed(&self) -> &[u8] {
        if self.sealed.is_empty() {
            self.out
        } else {
            self.sealed
        }
    }

    /// Bytes of ciphertext; nothing if the slices do not fit together.
    pub(crate) fn len(&self) -> Option<usize> {
        let len = self.sealed().len().checked_sub(TAG_LEN)?;
        let fits = self.sealed.is_empty() || self.out.len() == len;
        (fits && is_short_enough(len)).then_some(len)
    }
}

/// A block counter of 32 bits, the first of which makes the one-time key (RFC 8439 section 2.8).
fn is_short_enough(len: usize) -> bool {
    len as u64 <= BLOCK_LEN as u64 * (u32::MAX as u64 - 1)
}
