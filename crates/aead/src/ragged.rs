//! Lanes for packets of unequal length, or fewer than eight: one packet after the other.

use crate::{
    hash::OCTET,
    lanes::{GROUP, Lanes},
    packet::Packets,
    vector::Vector,
};

/// Consecutive lanes with consecutive blocks of one packet.
#[derive(Clone, Copy, Default)]
pub(crate) struct Run {
    pub(crate) packet: usize,
    /// The first is 1.
    pub(crate) block: u32,
    pub(crate) lane: usize,
    pub(crate) len: usize,
}

/// What the lanes of a group make.
#[derive(Default)]
pub(crate) struct Runs {
    runs: [Run; GROUP],
    len: usize,
}

impl Runs {
    #[inline(always)]
    pub(crate) fn as_slice(&self) -> &[Run] {
        self.runs.get(..self.len).unwrap_or_default()
    }

    #[inline(always)]
    fn push(&mut self, run: Run) {
        if let Some(place) = self.runs.get_mut(self.len) {
            *place = run;
            self.len += 1;
        }
    }
}

/// Where we are: the next packet and block.
#[derive(Clone, Copy)]
pub(crate) struct Ragged {
    packet: usize,
    block: u32,
}

impl Ragged {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self {
            packet: 0,
            block: 1,
        }
    }

    /// Whether there is nothing left.
    #[inline(always)]
    pub(crate) fn is_done(&self, packets: &(impl Packets + ?Sized)) -> bool {
        self.packet == packets.count()
    }

    /// Fills the lanes from `lane` on, as far as there are blocks.
    #[inline(always)]
    pub(crate) fn fill<V: Vector>(
        &mut self,
        mut lane: usize,
        lanes: &mut Lanes<V>,
        runs: &mut Runs,
        packets: &(impl Packets + ?Sized),
    ) {
        runs.len = 0;
        while self.packet < packets.count() {
            let left = (packets.blocks(self.packet) + 1 - self.block) as usize;
            if left == 0 {
                self.packet += 1;
                self.block = 1;
                continue;
            }
            if lane == GROUP {
                break;
            }
            let len = left.min(GROUP - lane);
            lanes.set_run(lane, self.block, packets.nonce(self.packet));
            runs.push(Run {
                packet: self.packet,
                block: self.block,
                lane,
                len,
            });
            lane += len;
            self.block += len as u32;
        }
    }
}
