//! A batch of packets, eight at a time: an *octet*.
//!
//! ```text
//!  K  the first block of each packet's key stream, half of which is the one-time key of Poly1305
//!  D  all other blocks, which encrypt or decrypt
//!  H  Poly1305 over the ciphertexts
//!
//!  seal   K D, and H of what was encrypted while the rest is
//!  open   K, H, compare, D
//! ```
//!
//! Sixteen blocks are made at once, a *group*. In an octet of eight packets with equally many
//! blocks, that is two blocks of each packet; in any other, packet after packet, so that no lane
//! is idle but for the last group's. Opening decrypts a packet only after its tag was found right.

use core::ops::Range;

use crate::{
    BLOCK_LEN, Opening, Sealing,
    chacha20::Input,
    hash::{Hash, OCTET},
    lanes::{GROUP, Lanes},
    packet::{Packets, Pointers},
    ragged::Ragged,
    vector::Vector,
    woven::{apply, apply_and_hash, fetch_first, key_stream_and_hash},
};

/// Seals packets that are valid. `key` is the key's words.
///
/// The end of an octet is hashed while the next one begins.
#[inline(always)]
pub(crate) fn seal<V: Vector>(key: &[u32; 8], packets: &mut [Sealing<'_>]) {
    let mut before: &mut [Sealing<'_>] = &mut [];
    let mut hash = Hash::<V>::none();
    for octet in packets.chunks_mut(OCTET) {
        let lens = octet.lens();
        let mut work = Work::<V>::new(key, octet, &lens);
        if work.is_even {
            fetch_first::<V>(&pointers(octet), 0);
        }
        let rows = work.first_rows(&mut hash, before);
        finish(hash, before);
        hash = Hash::new(&first_half(&rows), &lens);
        work.begin(octet, &rows);
        while !work.is_done(octet) {
            hash.rough_step(work.blocks_done(), &octet.texts());
            let done = work.blocks_done();
            work.stretch(octet, Some((&mut hash, None, done)));
            work.next(octet);
        }
        before = octet;
    }
    finish(hash, before);
    V::clear_registers();
}

/// Takes the last steps of `hash` and writes the tags.
#[inline(always)]
fn finish<V: Vector>(mut hash: Hash<V>, octet: &mut [Sealing<'_>]) {
    if octet.is_empty() {
        return;
    }
    hash.all_steps(&octet.texts());
    for (packet, tag) in octet.iter_mut().zip(hash.tags()) {
        packet.tag_mut().copy_from_slice(&tag);
    }
}

/// Opens packets that are valid. `key` is the key's words.
///
/// The tags of an octet are found while the one before it is decrypted.
#[inline(always)]
pub(crate) fn open<V: Vector>(key: &[u32; 8], packets: &mut [Opening<'_>]) {
    let octets = packets.len().div_ceil(OCTET);
    let mut work = Work::<V>::idle(key);
    for number in 0..=octets {
        let (before, octet) = packets.split_at_mut(packets.len().min(number * OCTET));
        let before = &mut before[number.saturating_sub(1) * OCTET..];
        let octet = octet.get_mut(..OCTET.min(octet.len())).unwrap_or_default();
        if octet.is_empty() {
            while !work.is_done(before) {
                work.stretch(before, None);
                work.next(before);
            }
            break;
        }
        let lens = octet.lens();
        let mut next = Work::<V>::new(key, octet, &lens);
        let rows = next.input().key_stream();
        let mut hash = Hash::new(&first_half(&rows), &lens);
        while !work.is_done(before) {
            hash.rough_step(usize::MAX, &octet.texts());
            work.stretch(before, Some((&mut hash, Some(octet.texts()), usize::MAX)));
            work.next(before);
        }
        hash.all_steps(&octet.texts());
        let authentic = hash.compare(|lane| octet[octet.of_lane(lane)].tag());
        for (lane, packet) in octet.iter_mut().enumerate() {
            packet.is_authentic = authentic >> lane & 1 != 0;
        }
        next.begin(octet, &rows);
        work = next;
    }
    V::clear_registers();
}

/// A hash, the messages it is of if they are not those that are worked on, and how many whole
/// blocks of them are there.
type Meanwhile<'a, 'm, V> = (&'a mut Hash<V>, Option<[&'m [u8]; OCTET]>, usize);

/// An octet's key stream on its way.
struct Work<'a, V> {
    key: &'a [u32; 8],
    lanes: Lanes<V>,
    is_even: bool,
    /// The next block of an even octet, and its last.
    block: u32,
    last: u32,
    /// Blocks that lie whole in every packet of an even octet.
    whole: Range<u32>,
    ragged: Ragged,
}

impl<'a, V: Vector> Work<'a, V> {
    /// Nothing to do.
    #[inline(always)]
    fn idle(key: &'a [u32; 8]) -> Self {
        Self {
            key,
            lanes: Lanes::none(),
            is_even: true,
            block: 1,
            last: 0,
            whole: 0..0,
            ragged: Ragged::none(),
        }
    }

    /// The first group makes the keys and, in the other half, the first blocks.
    #[inline(always)]
    fn new<P: Packets + ?Sized>(key: &'a [u32; 8], octet: &P, lens: &[usize; OCTET]) -> Self {
        let blocks = |len: usize| len.div_ceil(BLOCK_LEN) as u32;
        let (mut shortest, mut longest) = (lens[0], lens[0]);
        for &len in lens {
            shortest = shortest.min(len);
            longest = longest.max(len);
        }
        let mut work = Self {
            key,
            lanes: Lanes::of_octet(octet, 0, 1),
            is_even: octet.count() == OCTET && blocks(shortest) == blocks(longest),
            block: 2,
            last: blocks(longest),
            whole: 0..0,
            ragged: Ragged::new(octet),
        };
        if !work.is_even {
            work.ragged.set(OCTET, &mut work.lanes, octet);
        }
        work
    }

    /// The first group, while `hash`, which is of the octet `before`, takes two steps, or as many
    /// as are smooth.
    #[inline(always)]
    fn first_rows<P: Packets + ?Sized>(&self, hash: &mut Hash<V>, before: &P) -> [V; GROUP] {
        let steps = hash.smooth_steps();
        if steps == 0 {
            return self.input().key_stream();
        }
        let starts = hash.starts(before.texts().map(<[u8]>::as_ptr));
        if steps == 1 {
            // SAFETY: this step is smooth: each lane has a block of its message for it.
            unsafe { key_stream_and_hash::<V, 1>(self.input(), hash, &starts) }
        } else {
            // SAFETY: these steps are smooth: each lane has a block of its message for each.
            unsafe { key_stream_and_hash::<V, 2>(self.input(), hash, &starts) }
        }
    }

    #[inline(always)]
    fn input(&self) -> Input<'a, V> {
        Input {
            key: self.key,
            lanes: self.lanes,
        }
    }

    /// Whole blocks that were made of every packet.
    #[inline(always)]
    fn blocks_done(&self) -> usize {
        if self.is_even {
            self.block as usize - 1
        } else {
            0
        }
    }

    #[inline(always)]
    fn is_done<P: Packets + ?Sized>(&self, octet: &P) -> bool {
        if self.is_even {
            self.block > self.last
        } else {
            self.ragged.is_done(octet)
        }
    }

    /// Encrypts or decrypts with what is not keys in the first group.
    #[inline(always)]
    fn begin<P: Packets + ?Sized>(&mut self, octet: &mut P, rows: &[V; GROUP]) {
        if !self.is_even {
            self.ragged.apply(OCTET, rows, octet);
            self.ragged.set(0, &mut self.lanes, octet);
            return;
        }
        self.whole = 1..u32::MAX;
        for lane in 0..OCTET {
            let whole = octet.whole_blocks(lane);
            self.whole.start = self.whole.start.max(whole.start);
            self.whole.end = self.whole.end.min(whole.end);
        }
        self.apply_half::<OCTET, P>(octet, rows, 1);
        self.lanes.advance(2);
    }

    /// Makes the next group, if there is one, and encrypts or decrypts with it.
    #[inline(always)]
    fn next<P: Packets + ?Sized>(&mut self, octet: &mut P) {
        if self.is_done(octet) {
            return;
        }
        let rows = self.input().key_stream();
        if !self.is_even {
            self.ragged.apply(0, &rows, octet);
            self.ragged.set(0, &mut self.lanes, octet);
            return;
        }
        self.apply_half::<0, P>(octet, &rows, self.block);
        self.apply_half::<OCTET, P>(octet, &rows, self.block + 1);
        self.block += 2;
        self.lanes.advance(2);
    }

    /// Makes the next groups of an even octet as long as their blocks are whole. In each group, two
    /// steps of a hash are taken, as long as they are smooth: of another octet's messages, or of
    /// this one's, as far as there are blocks.
    #[inline(always)]
    fn stretch<P: Packets + ?Sized>(&mut self, octet: &mut P, hash: Option<Meanwhile<'_, '_, V>>) {
        if !self.is_even || !self.whole.contains(&self.block) {
            return;
        }
        let mut groups = ((self.whole.end - self.block) / 2) as usize;
        let at = (self.block as usize - 1) * BLOCK_LEN;
        let text = pointers(octet);
        match hash {
            None => {
                // SAFETY: two blocks for each group are whole, from `block` on, in every packet.
                unsafe { apply(self.input(), &text, at, groups) };
            }
            Some((hash, messages, blocks)) => {
                groups = groups.min(hash.smooth_steps() / 2);
                if groups == 0 || hash.taken() + 2 > blocks {
                    return;
                }
                let input = self.input();
                if let Some(messages) = messages {
                    let starts = hash.starts(messages.map(<[u8]>::as_ptr));
                    // SAFETY: two blocks for each group are whole, from `block` on, in every
                    // packet. As many steps are smooth: each lane has a block of its message for
                    // each.
                    unsafe { apply_and_hash::<V, false>(input, &text, at, groups, hash, &starts) };
                } else {
                    let starts = hash.starts(text.map(|text| text.to.cast_const()));
                    // SAFETY: as above.
                    unsafe { apply_and_hash::<V, true>(input, &text, at, groups, hash, &starts) };
                }
            }
        }
        self.block += 2 * groups as u32;
        self.lanes.advance(2 * groups as u32);
    }

    /// One block of each of eight packets, with the lanes from `FIRST` on.
    #[inline(always)]
    fn apply_half<const FIRST: usize, P: Packets + ?Sized>(
        &self,
        octet: &mut P,
        rows: &[V; GROUP],
        block: u32,
    ) {
        if block > self.last {
            return;
        }
        let is_whole = self.whole.contains(&block);
        let at = (block as usize - 1) * BLOCK_LEN;
        macro_rules! row {
            ($($lane:literal)*) => { $(
                let row = rows[FIRST + $lane];
                if is_whole {
                    // SAFETY: `block` is whole in every packet of the octet.
                    unsafe { octet.pointers($lane).apply(at, row) };
                } else {
                    octet.apply($lane, block, row);
                }
            )* };
        }
        row!(0 1 2 3 4 5 6 7);
    }
}

#[inline(always)]
fn pointers<P: Packets + ?Sized>(octet: &mut P) -> [Pointers; OCTET] {
    [
        octet.pointers(0),
        octet.pointers(1),
        octet.pointers(2),
        octet.pointers(3),
        octet.pointers(4),
        octet.pointers(5),
        octet.pointers(6),
        octet.pointers(7),
    ]
}

#[inline(always)]
fn first_half<V: Vector>(rows: &[V; GROUP]) -> [V; OCTET] {
    let [a, b, c, d, e, f, g, h, ..] = *rows;
    [a, b, c, d, e, f, g, h]
}
