//! Poly1305 over eight ciphertexts as ChaCha20-Poly1305 has it (RFC 8439 section 2.8, without
//! additional data): the ciphertext, zeros up to a multiple of 16, and a block with the lengths.
//!
//! Eight ciphertexts are absorbed four blocks at a time. They are laid so that all of them end
//! together; what a shorter one lacks stands in front of it and counts for nothing. The lengths
//! come last, alone, so that ciphertexts of whole steps have no step that is not whole:
//!
//! ```text
//!  lane 0 | block 0 | block 1 | block 2 | block 3 || block 4 | ... | block 7 || lengths
//!  lane 1 | nothing | nothing | nothing | block 0 || block 1 | ... | block 4 || lengths
//! ```

use crate::{
    BLOCK_LEN,
    poly1305::{self, Poly1305, TOP},
    vector::{Vector, transpose64},
};

/// Messages that are hashed together.
pub(crate) const OCTET: usize = 8;

/// Blocks of Poly1305 in one step, and bytes in a block.
const STEP: usize = 4;
const BYTES: usize = 16;

/// Eight messages on their way to their tags.
pub(crate) struct Hash<V> {
    pub(crate) poly: Poly1305<V>,
    lens: [usize; OCTET],
    /// Bytes of nothing in front of each message.
    leads: [usize; OCTET],
    /// All messages have one length.
    is_level: bool,
    step: usize,
    steps: usize,
    /// Steps in which every lane has four whole blocks of its message.
    smooth: core::ops::Range<usize>,
}

impl<V: Vector> Hash<V> {
    /// `keys` are the first blocks of the key streams, `lens` the lengths of the messages. A lane
    /// without a message has the length of another.
    #[inline(always)]
    pub(crate) fn new(keys: &[V; OCTET], lens: &[usize; OCTET]) -> Self {
        let [r0, r1, s0, s1, ..] = transpose64(*keys);
        let poly = Poly1305::new([r0, r1, s0, s1]);
        let (mut shortest, mut longest) = (lens[0], lens[0]);
        for &len in lens {
            shortest = shortest.min(len);
            longest = longest.max(len);
        }
        let is_level = shortest == longest;
        let steps = blocks(longest).div_ceil(STEP);
        let lead = |len| (steps * STEP - blocks(len)) * BYTES;
        let mut leads = [lead(longest); OCTET];
        let mut end = leads[0] + longest;
        if !is_level {
            for lane in 0..OCTET {
                leads[lane] = lead(lens[lane]);
                end = end.min(leads[lane] + lens[lane]);
            }
        }
        Self {
            poly,
            lens: *lens,
            leads,
            is_level,
            step: 0,
            steps,
            smooth: lead(shortest).div_ceil(BLOCK_LEN)..end / BLOCK_LEN,
        }
    }

    /// Of no messages.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self {
            poly: Poly1305::none(),
            lens: [0; OCTET],
            leads: [0; OCTET],
            is_level: true,
            step: 0,
            steps: 0,
            smooth: 0..0,
        }
    }

    /// Takes the next step if it is not smooth, as far as there are `blocks` of each message.
    #[inline(always)]
    pub(crate) fn rough_step(&mut self, blocks: usize, messages: &[&[u8]; OCTET]) {
        if self.step < self.steps.min(blocks) && !self.smooth.contains(&self.step) {
            let (words, tops) = self.ragged_words(messages);
            self.poly.absorb(&words, &tops);
        }
    }

    /// How many of the next steps are smooth.
    #[inline(always)]
    pub(crate) fn smooth_steps(&self) -> usize {
        if self.smooth.contains(&self.step) {
            self.smooth.end - self.step
        } else {
            0
        }
    }

    /// Steps taken.
    #[inline(always)]
    pub(crate) fn taken(&self) -> usize {
        self.step
    }

    /// Takes all steps that are left.
    #[inline(always)]
    pub(crate) fn all_steps(&mut self, messages: &[&[u8]; OCTET]) {
        while self.step < self.steps {
            let smooth = self.smooth_steps();
            if smooth == 0 {
                self.rough_step(self.steps, messages);
                continue;
            }
            let starts = self.starts(messages.map(<[u8]>::as_ptr));
            for step in 0..smooth {
                // SAFETY: this step is smooth: each lane has a block of its message for it.
                let words = unsafe { words_at(&starts, step * BLOCK_LEN) };
                self.poly.absorb(&words, &[V::splat64(TOP); STEP]);
            }
            self.skip(smooth);
        }
    }

    /// Where in each message the next step begins, if that is smooth.
    #[inline(always)]
    pub(crate) fn starts(&self, mut messages: [*const u8; OCTET]) -> [*const u8; OCTET] {
        for (message, lead) in messages.iter_mut().zip(&self.leads) {
            *message = message.wrapping_add(self.step * BLOCK_LEN - lead);
        }
        messages
    }

    /// So many steps were taken elsewhere.
    #[inline(always)]
    pub(crate) fn skip(&mut self, steps: usize) {
        self.step += steps;
    }

    /// As [`words_at`], where messages begin or end; and the bit above each block, or none above
    /// what is no block.
    #[inline(always)]
    fn ragged_words(&mut self, messages: &[&[u8]; OCTET]) -> ([V; 8], [V; STEP]) {
        let words = transpose64([
            self.window(0, messages),
            self.window(1, messages),
            self.window(2, messages),
            self.window(3, messages),
            self.window(4, messages),
            self.window(5, messages),
            self.window(6, messages),
            self.window(7, messages),
        ]);
        let at = self.step * BLOCK_LEN;
        let tops = [
            self.tops(at),
            self.tops(at + BYTES),
            self.tops(at + 2 * BYTES),
            self.tops(at + 3 * BYTES),
        ];
        self.step += 1;
        (words, tops)
    }

    /// The bit above the blocks `at` bytes from the start of the longest message.
    #[inline(always)]
    fn tops(&self, at: usize) -> V {
        let top = |lead: usize| if lead <= at { TOP } else { 0 };
        per_lane(&self.leads, self.is_level, top)
    }

    #[inline(always)]
    fn window(&self, lane: usize, messages: &[&[u8]; OCTET]) -> V {
        let at = (self.step * BLOCK_LEN) as isize - self.leads[lane] as isize;
        V::load_window(messages[lane], at)
    }

    /// Two words of each tag, once all steps were taken.
    #[inline(always)]
    fn finish(&mut self) -> [V; 2] {
        let lens = per_lane(&self.lens, self.is_level, |len| len as u64);
        self.poly.absorb_lens(lens);
        self.poly.finish()
    }

    /// The tags, once all steps were taken.
    #[inline(always)]
    pub(crate) fn tags(mut self) -> [[u8; BYTES]; OCTET] {
        tags(self.finish())
    }

    /// As [`compare`], once all steps were taken.
    #[inline(always)]
    pub(crate) fn compare<'a>(mut self, tag: impl Fn(usize) -> &'a [u8; BYTES]) -> u8 {
        compare(self.finish(), tag)
    }
}

/// Four blocks of each message, `at` bytes behind `starts`: words 2 *i* and 2 *i* + 1 are block
/// *i*.
///
/// # Safety
/// [`BLOCK_LEN`] bytes can be read there.
#[inline(always)]
unsafe fn words_at<V: Vector>(starts: &[*const u8; OCTET], at: usize) -> [V; 8] {
    macro_rules! rows {
        ($($lane:literal)*) => {
            // SAFETY: the caller vouches for these bytes.
            [ $( unsafe { V::load_at(starts[$lane].wrapping_add(at)) } ),* ]
        };
    }
    transpose64(rows!(0 1 2 3 4 5 6 7))
}

/// Two words of each tag of ciphertexts that end within one step: `blocks` are their windows, see
/// [`window`], and `lens` their lengths.
#[inline(always)]
pub(crate) fn one_step<V: Vector>(
    keys: &[V; OCTET],
    blocks: &[V; OCTET],
    lens: &[usize; OCTET],
) -> [V; 2] {
    let [r0, r1, s0, s1, ..] = transpose64(*keys);
    let words = transpose64(*blocks);
    let mut is_level = true;
    for len in lens {
        is_level &= *len == lens[0];
    }
    let tops = [
        tops(lens, is_level, 0),
        tops(lens, is_level, 1),
        tops(lens, is_level, 2),
        tops(lens, is_level, 3),
    ];
    let lens = per_lane(lens, is_level, |len| len as u64);
    poly1305::four_blocks([r0, r1, s0, s1], &words, &tops, lens)
}

/// A message that ends with the one step there is; zeros in front of it.
#[inline(always)]
pub(crate) fn window<V: Vector>(message: &[u8]) -> V {
    match message.first_chunk() {
        Some(block) => V::load(block),
        None => V::load_window(message, -((lead(message.len()) * BYTES) as isize)),
    }
}

/// Blocks of nothing in front of a message that ends with the one step there is.
#[inline(always)]
fn lead(len: usize) -> usize {
    STEP - blocks(len)
}

/// The bit above a block of that step, or none above what is no block.
#[inline(always)]
fn tops<V: Vector>(lens: &[usize; OCTET], is_level: bool, block: usize) -> V {
    let top = |len| if lead(len) <= block { TOP } else { 0 };
    per_lane(lens, is_level, top)
}

/// A word for each lane, made of its number. `is_level` says that all numbers are one.
#[inline(always)]
fn per_lane<V: Vector>(numbers: &[usize; OCTET], is_level: bool, word: impl Fn(usize) -> u64) -> V {
    if is_level {
        V::splat64(word(numbers[0]))
    } else {
        V::from64(&numbers.map(word))
    }
}

/// The tags whose words these are.
#[inline(always)]
pub(crate) fn tags<V: Vector>([low, high]: [V; 2]) -> [[u8; BYTES]; OCTET] {
    // Whole tags, of every second lane each.
    let words = [low.zip_low64(high).to64(), low.zip_high64(high).to64()];
    core::array::from_fn(|lane| {
        let [low, high] = [0, 1].map(|word| words[lane % 2][lane / 2 * 2 + word]);
        let tag = u128::from(low) | u128::from(high) << 64;
        tag.to_le_bytes()
    })
}

/// One bit for each lane: whether its tag is that of the message. Takes the same time wherever they
/// differ.
#[inline(always)]
pub(crate) fn compare<'a, V: Vector>(
    [low, high]: [V; 2],
    tag: impl Fn(usize) -> &'a [u8; BYTES],
) -> u8 {
    let tags: [u128; OCTET] = core::array::from_fn(|lane| u128::from_le_bytes(*tag(lane)));
    let tags_low = V::from64(&tags.map(|tag| tag as u64));
    let tags_high = V::from64(&tags.map(|tag| (tag >> 64) as u64));
    let difference = low.xor(tags_low).or(high.xor(tags_high));
    !difference.nonzero64()
}

/// Blocks of Poly1305 that hold ciphertext.
#[inline(always)]
fn blocks(len: usize) -> usize {
    len.div_ceil(BYTES)
}
