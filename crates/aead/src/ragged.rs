//! Lanes for packets of unequal length, or fewer than eight: one packet after the other.

use crate::{
    lanes::{GROUP, Lanes},
    packet::Packets,
    vector::Vector,
};

/// Where the next group begins.
#[derive(Clone, Copy)]
pub(crate) struct Ragged {
    packet: usize,
    /// The first is 1.
    block: u32,
}

/// Consecutive lanes with consecutive blocks of one packet.
struct Run {
    packet: usize,
    block: u32,
    lane: usize,
    len: usize,
}

impl Ragged {
    #[inline(always)]
    pub(crate) fn new<P: Packets + ?Sized>(octet: &P) -> Self {
        let mut start = Self {
            packet: 0,
            block: 1,
        };
        start.skip_done(octet);
        start
    }

    /// Of no packets.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self {
            packet: 0,
            block: 1,
        }
    }

    /// Whether there is nothing left.
    #[inline(always)]
    pub(crate) fn is_done<P: Packets + ?Sized>(&self, octet: &P) -> bool {
        self.packet == octet.count()
    }

    /// Sets the lanes from `lane` on to what the next group makes.
    #[inline(always)]
    pub(crate) fn set<V: Vector, P: Packets + ?Sized>(
        mut self,
        mut lane: usize,
        lanes: &mut Lanes<V>,
        octet: &P,
    ) {
        while let Some(run) = self.next(lane, octet) {
            lanes.set_run(run.lane, run.block, octet.nonce(run.packet));
            lane += run.len;
        }
    }

    /// Encrypts or decrypts with the rows from `lane` on, and goes on to the next group.
    #[inline(always)]
    pub(crate) fn apply<V: Vector, P: Packets + ?Sized>(
        &mut self,
        mut lane: usize,
        rows: &[V; GROUP],
        octet: &mut P,
    ) {
        while let Some(run) = self.next(lane, octet) {
            let rows = rows.iter().skip(run.lane).take(run.len);
            for (block, &row) in (run.block..).zip(rows) {
                octet.apply(run.packet, block, row);
            }
            lane += run.len;
        }
    }

    /// The run from `lane` on.
    #[inline(always)]
    fn next<P: Packets + ?Sized>(&mut self, lane: usize, octet: &P) -> Option<Run> {
        if lane == GROUP || self.is_done(octet) {
            return None;
        }
        let left = octet.blocks(self.packet) - self.block + 1;
        let run = Run {
            packet: self.packet,
            block: self.block,
            lane,
            len: (left as usize).min(GROUP - lane),
        };
        self.block += run.len as u32;
        self.skip_done(octet);
        Some(run)
    }

    #[inline(always)]
    fn skip_done<P: Packets + ?Sized>(&mut self, octet: &P) {
        while self.packet < octet.count() && self.block > octet.blocks(self.packet) {
            self.packet += 1;
            self.block = 1;
        }
    }
}
