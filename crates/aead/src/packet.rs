//! Packets: slices of the caller, and what to do with them.

use core::{fmt, ops::Range};

use crate::{BLOCK_LEN, TAG_LEN, hash::OCTET, nonce::Nonce, vector::Vector};

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

/// The tag is not that of the message under this key, nonce and additional data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAuthentic;

impl fmt::Display for NotAuthentic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not authentic")
    }
}

impl core::error::Error for NotAuthentic {}

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
    pub(crate) nonce: Nonce,
    pub(crate) head_len: usize,
    pub(crate) plaintext: &'a [u8],
    pub(crate) out: &'a mut [u8],
    /// Whether the slices fit together.
    is_valid: bool,
}

impl<'a> Sealing<'a> {
    /// All of the plaintext is elsewhere. `out` is at least [`TAG_LEN`] bytes longer; zeros pad
    /// what it is longer than that.
    #[inline]
    pub fn apart(counter: u64, plaintext: &'a [u8], out: &'a mut [u8]) -> Self {
        Self::with_head(counter, 0, plaintext, out)
    }

    /// All of the plaintext is in `out`, in front of [`TAG_LEN`] bytes for the tag.
    #[inline]
    pub fn in_place(counter: u64, out: &'a mut [u8]) -> Self {
        let head_len = out.len().saturating_sub(TAG_LEN);
        Self::with_head(counter, head_len, &[], out)
    }

    /// The first `head_len` bytes of the plaintext are in `out`, the others elsewhere.
    /// `head_len` is a multiple of [`BLOCK_LEN`], unless nothing follows but padding.
    #[inline]
    pub fn with_head(
        counter: u64,
        head_len: usize,
        plaintext: &'a [u8],
        out: &'a mut [u8],
    ) -> Self {
        Self {
            nonce: Nonce::of_wireguard(counter),
            is_valid: fit(head_len, plaintext.len(), out.len()),
            head_len,
            plaintext,
            out,
        }
    }

    /// With another nonce: 96 bits, all of them the caller's (RFC 8439).
    #[must_use]
    pub fn with_nonce(mut self, nonce: &[u8; 12]) -> Self {
        self.nonce = Nonce::new(nonce);
        self
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
    #[inline(always)]
    pub(crate) fn text_len(&self) -> usize {
        self.out.len() - TAG_LEN
    }

    /// The ciphertext, as far as it was made.
    #[inline(always)]
    pub(crate) fn text(&self) -> &[u8] {
        &self.out[..self.text_len()]
    }

    #[inline(always)]
    pub(crate) fn tag_mut(&mut self) -> &mut [u8] {
        let len = self.text_len();
        &mut self.out[len..]
    }

    /// Encrypts a block with its key stream. The packet's first block has number 1.
    #[inline(always)]
    fn encrypt<V: Vector>(&mut self, block: u32, key_stream: V) {
        let at = (block as usize - 1) * BLOCK_LEN;
        let len = self.text_len();
        let to = &mut self.out[at..len];
        if at < self.head_len {
            xor_in_place(to, key_stream);
        } else {
            let at = at - self.head_len;
            xor(self.plaintext.get(at..).unwrap_or_default(), to, key_stream);
        }
    }

    /// Zeros the padding of a packet whose plaintext is all in place.
    #[inline(always)]
    pub(crate) fn pad_in_place(&mut self) {
        if self.plaintext.is_empty() {
            let len = self.text_len();
            self.out[self.head_len..len].fill(0);
            self.head_len = len;
        }
    }

    #[inline(always)]
    pub(crate) fn is_valid(&self) -> bool {
        self.is_valid
    }
}

/// Whether a packet's slices to seal fit together.
#[inline]
fn fit(head_len: usize, plaintext_len: usize, out_len: usize) -> bool {
    let Some(room) = out_len.checked_sub(TAG_LEN) else {
        return false;
    };
    let Some(room) = room.checked_sub(head_len) else {
        return false;
    };
    room >= plaintext_len
        && (plaintext_len == 0 || head_len.is_multiple_of(BLOCK_LEN))
        && is_short_enough(out_len)
}

/// One packet to open, with WireGuard's nonce and no additional data.
#[derive(Debug)]
pub struct Opening<'a> {
    pub(crate) nonce: Nonce,
    /// Ciphertext and tag; empty if they are in `out`.
    pub(crate) sealed: &'a [u8],
    pub(crate) out: &'a mut [u8],
    /// Bytes of ciphertext, if the slices fit together.
    text_len: usize,
    /// Whether they do.
    is_valid: bool,
    pub(crate) is_authentic: bool,
}

impl<'a> Opening<'a> {
    /// `body` is ciphertext and tag, and holds the plaintext afterwards. The tag stays.
    #[inline]
    pub fn in_place(counter: u64, body: &'a mut [u8]) -> Self {
        Self::apart(counter, &[], body)
    }

    /// `sealed` is ciphertext and tag; `plaintext` is [`TAG_LEN`] bytes shorter.
    #[inline]
    pub fn apart(counter: u64, sealed: &'a [u8], plaintext: &'a mut [u8]) -> Self {
        let is_in_place = sealed.is_empty();
        let sealed_len = if is_in_place {
            plaintext.len()
        } else {
            sealed.len()
        };
        let text_len = sealed_len.wrapping_sub(TAG_LEN);
        Self {
            nonce: Nonce::of_wireguard(counter),
            is_valid: sealed_len >= TAG_LEN
                && (is_in_place || plaintext.len() == text_len)
                && is_short_enough(text_len),
            text_len,
            sealed,
            out: plaintext,
            is_authentic: false,
        }
    }

    /// Whether the tag was right. If not, there is nothing of the plaintext in the output: it is as
    /// it was, or, where aws-lc looked, erased.
    pub fn is_authentic(&self) -> bool {
        self.is_authentic
    }

    /// Notes that the packet is authentic, if its slices fit: for a cipher of another crate's.
    pub fn accept(&mut self) {
        self.is_authentic = self.is_valid();
    }

    /// With another nonce: 96 bits, all of them the caller's (RFC 8439).
    #[must_use]
    pub fn with_nonce(mut self, nonce: &[u8; 12]) -> Self {
        self.nonce = Nonce::new(nonce);
        self
    }

    /// The last eight bytes of the nonce: WireGuard's counter.
    pub fn counter(&self) -> u64 {
        self.nonce.counter
    }

    /// Ciphertext and tag.
    pub(crate) fn sealed(&self) -> &[u8] {
        if self.sealed.is_empty() {
            self.out
        } else {
            self.sealed
        }
    }

    #[inline(always)]
    pub(crate) fn is_valid(&self) -> bool {
        self.is_valid
    }

    /// Bytes of ciphertext of a valid packet.
    #[inline(always)]
    pub(crate) fn text_len(&self) -> usize {
        self.text_len
    }

    /// The ciphertext.
    #[inline(always)]
    pub(crate) fn text(&self) -> &[u8] {
        &self.sealed()[..self.text_len()]
    }

    #[inline(always)]
    pub(crate) fn tag(&self) -> &[u8; TAG_LEN] {
        self.sealed()
            .last_chunk()
            .expect("a valid packet has a tag")
    }

    /// Decrypts a block with its key stream. The packet's first block has number 1.
    #[inline(always)]
    fn decrypt<V: Vector>(&mut self, block: u32, key_stream: V) {
        let at = (block as usize - 1) * BLOCK_LEN;
        let len = self.text_len();
        if self.sealed.is_empty() {
            xor_in_place(&mut self.out[at..len], key_stream);
        } else {
            xor(&self.sealed[at..len], &mut self.out[at..], key_stream);
        }
    }
}

/// The first block of `to` becomes that of `from`, or zeros where `from` ends, with the key stream.
#[inline(always)]
fn xor<V: Vector>(from: &[u8], to: &mut [u8], key_stream: V) {
    match (from.first_chunk(), to.first_chunk_mut()) {
        (Some(from), Some(to)) => V::load(from).xor(key_stream).store(to),
        _ => V::load_window(from, 0).xor(key_stream).store_start(to),
    }
}

#[inline(always)]
fn xor_in_place<V: Vector>(text: &mut [u8], key_stream: V) {
    match text.first_chunk_mut() {
        Some(block) => V::load(block).xor(key_stream).store(block),
        None => V::load_window(text, 0).xor(key_stream).store_start(text),
    }
}

/// Where the first byte of a packet's text is read and written. Only [`Packets::whole_blocks`] may
/// be: if the first blocks are elsewhere, `from` may point to where nothing is.
#[derive(Clone, Copy)]
pub(crate) struct Pointers {
    pub(crate) from: *const u8,
    pub(crate) to: *mut u8,
}

impl Pointers {
    /// Encrypts or decrypts the block `at` bytes behind the first, and returns what it is now.
    ///
    /// # Safety
    /// That block is whole: it can be read and written.
    #[inline(always)]
    pub(crate) unsafe fn apply<V: Vector>(self, at: usize, key_stream: V) -> V {
        // SAFETY: the caller vouches for this block of `from`.
        let block = unsafe { V::load_at(self.from.wrapping_add(at)) }.xor(key_stream);
        // SAFETY: the caller vouches for this block of `to`.
        unsafe { block.store_at(self.to.wrapping_add(at)) };
        block
    }
}

/// An octet: one to eight packets, as the algorithm sees them.
pub(crate) trait Packets {
    /// How many there are.
    fn count(&self) -> usize;
    /// A packet's nonce.
    fn nonce(&self, packet: usize) -> Nonce;
    /// Bytes to encrypt or decrypt.
    fn text_len(&self, packet: usize) -> usize;
    /// The ciphertext.
    fn text(&self, packet: usize) -> &[u8];
    /// The blocks that lie whole in one slice and need no look at where they are.
    fn whole_blocks(&self, packet: usize) -> Range<u32>;
    /// Encrypts or decrypts a block. The first has number 1.
    fn apply<V: Vector>(&mut self, packet: usize, block: u32, key_stream: V);
    /// Where the text of a packet is read and written. Bytes of whole blocks can be.
    fn pointers(&mut self, packet: usize) -> Pointers;

    /// The ciphertexts of an octet, lane by lane.
    #[inline(always)]
    fn texts(&self) -> [&[u8]; OCTET] {
        [
            self.text(self.of_lane(0)),
            self.text(self.of_lane(1)),
            self.text(self.of_lane(2)),
            self.text(self.of_lane(3)),
            self.text(self.of_lane(4)),
            self.text(self.of_lane(5)),
            self.text(self.of_lane(6)),
            self.text(self.of_lane(7)),
        ]
    }

    /// The lengths of an octet's ciphertexts, lane by lane.
    #[inline(always)]
    fn lens(&self) -> [usize; OCTET] {
        let mut lens = [0; OCTET];
        for (lane, len) in lens.iter_mut().enumerate() {
            *len = self.text_len(self.of_lane(lane));
        }
        lens
    }

    /// Blocks to encrypt or decrypt.
    #[inline(always)]
    fn blocks(&self, packet: usize) -> u32 {
        self.text_len(packet).div_ceil(BLOCK_LEN) as u32
    }

    /// The packet of a lane. A lane without one does the work of the last.
    #[inline(always)]
    fn of_lane(&self, lane: usize) -> usize {
        lane.min(self.count() - 1)
    }
}

impl Packets for [Sealing<'_>] {
    #[inline(always)]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn nonce(&self, packet: usize) -> Nonce {
        self[packet].nonce
    }

    #[inline(always)]
    fn text_len(&self, packet: usize) -> usize {
        self[packet].text_len()
    }

    #[inline(always)]
    fn text(&self, packet: usize) -> &[u8] {
        self[packet].text()
    }

    #[inline(always)]
    fn apply<V: Vector>(&mut self, packet: usize, block: u32, key_stream: V) {
        self[packet].encrypt(block, key_stream);
    }

    #[inline(always)]
    fn whole_blocks(&self, packet: usize) -> Range<u32> {
        let packet = &self[packet];
        let (first, end) = if packet.plaintext.is_empty() {
            (0, packet.head_len)
        } else {
            (packet.head_len, packet.head_len + packet.plaintext.len())
        };
        (first / BLOCK_LEN + 1) as u32..(end / BLOCK_LEN + 1) as u32
    }

    #[inline(always)]
    fn pointers(&mut self, packet: usize) -> Pointers {
        let packet = &mut self[packet];
        let to = packet.out.as_mut_ptr();
        let from = if packet.plaintext.is_empty() {
            to.cast_const()
        } else {
            packet.plaintext.as_ptr().wrapping_sub(packet.head_len)
        };
        Pointers { from, to }
    }
}

impl Packets for [Opening<'_>] {
    #[inline(always)]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn nonce(&self, packet: usize) -> Nonce {
        self[packet].nonce
    }

    #[inline(always)]
    fn text_len(&self, packet: usize) -> usize {
        self[packet].text_len()
    }

    #[inline(always)]
    fn text(&self, packet: usize) -> &[u8] {
        self[packet].text()
    }

    #[inline(always)]
    fn apply<V: Vector>(&mut self, packet: usize, block: u32, key_stream: V) {
        let packet = &mut self[packet];
        if packet.is_authentic {
            packet.decrypt(block, key_stream);
        }
    }

    #[inline(always)]
    fn whole_blocks(&self, packet: usize) -> Range<u32> {
        let packet = &self[packet];
        if packet.is_authentic {
            1..(packet.text_len() / BLOCK_LEN + 1) as u32
        } else {
            0..0
        }
    }

    #[inline(always)]
    fn pointers(&mut self, packet: usize) -> Pointers {
        let packet = &mut self[packet];
        let to = packet.out.as_mut_ptr();
        let from = if packet.sealed.is_empty() {
            to.cast_const()
        } else {
            packet.sealed.as_ptr()
        };
        Pointers { from, to }
    }
}

/// A block counter of 32 bits, the first of which makes the one-time key (RFC 8439 section 2.8).
#[inline]
fn is_short_enough(len: usize) -> bool {
    len as u64 <= BLOCK_LEN as u64 * (u32::MAX as u64 - 1)
}
