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
    ragged::{Ragged, Runs},
    vector::Vector,
    woven::{apply, apply_and_hash},
};

/// Seals packets that are valid. `key` is the key's words.
#[inline(always)]
pub(crate) fn seal<V: Vector>(key: &[u32; 8], packets: &mut [Sealing<'_>]) {
    for octet in packets.chunks_mut(OCTET) {
        seal_octet::<V>(key, octet);
    }
    V::clear_registers();
}

/// Opens packets that are valid. `key` is the key's words.
#[inline(always)]
pub(crate) fn open<V: Vector>(key: &[u32; 8], packets: &mut [Opening<'_>]) {
    for octet in packets.chunks_mut(OCTET) {
        open_octet::<V>(key, octet);
    }
    V::clear_registers();
}

#[inline(always)]
fn seal_octet<V: Vector>(key: &[u32; 8], octet: &mut [Sealing<'_>]) {
    let mut work = Work::<V>::new(key, octet);
    let mut hash = Hash::new(&work.keys(), octet.lens());
    work.apply_first(octet);
    while !work.is_done() {
        work.stretch(octet, Some(&mut hash));
        // What was encrypted so far is hashed meanwhile.
        hash.steps(2, work.blocks_done(), &octet.texts());
        work.next(octet);
    }
    hash.steps(usize::MAX, usize::MAX, &octet.texts());
    for (packet, tag) in octet.iter_mut().zip(hash.tags()) {
        packet.tag_mut().copy_from_slice(&tag);
    }
}

#[inline(always)]
fn open_octet<V: Vector>(key: &[u32; 8], octet: &mut [Opening<'_>]) {
    let mut work = Work::<V>::new(key, octet);
    let mut hash = Hash::new(&work.keys(), octet.lens());
    hash.steps(usize::MAX, usize::MAX, &octet.texts());
    let authentic = hash.compare(|lane| octet[octet.of_lane(lane)].tag());
    for (lane, packet) in octet.iter_mut().enumerate() {
        packet.is_authentic = authentic >> lane & 1 != 0;
    }
    if authentic == 0 {
        return;
    }
    work.apply_first(octet);
    while !work.is_done() {
        work.stretch(octet, None);
        work.next(octet);
    }
}

/// An octet's key stream on its way.
struct Work<'a, V> {
    key: &'a [u32; 8],
    lanes: Lanes<V>,
    rows: [V; GROUP],
    is_even: bool,
    /// The next block of an even octet, and its last.
    block: u32,
    last: u32,
    /// Blocks that lie whole in every packet of an even octet.
    whole: Range<u32>,
    ragged: Ragged,
    runs: Runs,
}

impl<'a, V: Vector> Work<'a, V> {
    /// Makes the first group: the keys and, in the other half, the first blocks.
    #[inline(always)]
    fn new<P: Packets + ?Sized>(key: &'a [u32; 8], octet: &P) -> Self {
        let mut work = Self {
            key,
            lanes: Lanes::of_octet(octet, 0, 1),
            rows: [V::splat32(0); GROUP],
            is_even: octet.is_even(),
            block: 2,
            last: octet.blocks(0),
            whole: 0..0,
            ragged: Ragged::new(),
            runs: Runs::default(),
        };
        if !work.is_even {
            work.ragged.fill(OCTET, &mut work.lanes, &mut work.runs, octet);
        }
        work.rows = work.input().key_stream();
        work
    }

    #[inline(always)]
    fn input(&self) -> Input<'a, V> {
        Input {
            key: self.key,
            lanes: self.lanes,
        }
    }

    /// The keys, in the first group.
    #[inline(always)]
    fn keys(&self) -> [V; OCTET] {
        let [a, b, c, d, e, f, g, h, ..] = self.rows;
        [a, b, c, d, e, f, g, h]
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
    fn is_done(&self) -> bool {
        if self.is_even {
            self.block > self.last
        } else {
            self.runs.as_slice().is_empty()
        }
    }

    /// Encrypts or decrypts with what is not keys in the first group.
    #[inline(always)]
    fn apply_first<P: Packets + ?Sized>(&mut self, octet: &mut P) {
        if self.is_even {
            self.whole = 1..u32::MAX;
            for lane in 0..OCTET {
                let whole = octet.whole_blocks(lane);
                self.whole.start = self.whole.start.max(whole.start);
                self.whole.end = self.whole.end.min(whole.end);
            }
            self.apply_half::<OCTET, P>(octet, 1);
            self.lanes.advance(2);
        } else {
            self.apply_runs(octet);
        }
    }

    /// Makes the next groups of an even octet as long as their blocks are whole, and takes two
    /// steps of `hash` in each as long as they are smooth. Leaves the last group to [`Work::next`].
    #[inline(always)]
    fn stretch<P: Packets + ?Sized>(&mut self, octet: &mut P, hash: Option<&mut Hash<V>>) {
        if !self.is_even || !self.whole.contains(&self.block) {
            return;
        }
        // Not the last block: there is always one left for `next`.
        let end = self.whole.end.min(self.last);
        let mut groups = (end.saturating_sub(self.block) / 2) as usize;
        let at = (self.block as usize - 1) * BLOCK_LEN;
        match hash {
            None => {
                let text = pointers(octet);
                // SAFETY: two blocks for each group are whole, from `block` on, in every packet.
                unsafe { apply(self.input(), &text, at, groups) };
            }
            Some(hash) => {
                groups = groups.min(hash.smooth_steps() / 2);
                if hash.taken() + 2 > self.blocks_done() {
                    return;
                }
                let text = pointers(octet);
                let mut messages = [core::ptr::null(); OCTET];
                for lane in 0..OCTET {
                    let start = text[lane].to.cast_const();
                    messages[lane] = start.wrapping_add(hash.next_at(lane));
                }
                // SAFETY: two blocks for each group are whole, from `block` on, in every packet.
                // As many steps are smooth: each lane has a block for each.
                unsafe { apply_and_hash(self.input(), &text, at, groups, hash, &messages) };
            }
        }
        self.block += 2 * groups as u32;
        self.lanes.advance(2 * groups as u32);
    }

    /// Makes the next group, and encrypts or decrypts with it.
    #[inline(always)]
    fn next<P: Packets + ?Sized>(&mut self, octet: &mut P) {
        self.rows = self.input().key_stream();
        if self.is_even {
            self.apply_half::<0, P>(octet, self.block);
            self.apply_half::<OCTET, P>(octet, self.block + 1);
            self.block += 2;
            self.lanes.advance(2);
        } else {
            self.apply_runs(octet);
        }
    }

    #[inline(always)]
    fn apply_runs<P: Packets + ?Sized>(&mut self, octet: &mut P) {
        for run in self.runs.as_slice() {
            let rows = self.rows.iter().skip(run.lane).take(run.len);
            for (block, &row) in (run.block..).zip(rows) {
                octet.apply(run.packet, block, row);
            }
        }
        self.ragged.fill(0, &mut self.lanes, &mut self.runs, octet);
    }

    /// One block of each of eight packets, with the lanes from `FIRST` on.
    #[inline(always)]
    fn apply_half<const FIRST: usize, P: Packets + ?Sized>(&self, octet: &mut P, block: u32) {
        if block > self.last {
            return;
        }
        let is_whole = self.whole.contains(&block);
        let at = (block as usize - 1) * BLOCK_LEN;
        macro_rules! row {
            ($($lane:literal)*) => { $(
                let row = self.rows[FIRST + $lane];
                if is_whole {
                    let Pointers { from, to } = octet.pointers($lane);
                    // SAFETY: `block` is whole in every packet of the octet.
                    let text = unsafe { V::load_at(from.wrapping_add(at)) };
                    // SAFETY: as above.
                    unsafe { text.xor(row).store_at(to.wrapping_add(at)) };
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
