//! What each lane of ChaCha20 needs: a counter and a nonce.

use crate::{hash::OCTET, nonce::Nonce, packet::Packets, vector::Vector};

/// Lanes of ChaCha20. A group is two halves of an octet's lanes each.
pub(crate) const GROUP: usize = 2 * OCTET;

const NUMBERS: [u32; GROUP] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Counter and nonce of each lane.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<V> {
    pub(crate) counter: V,
    pub(crate) nonce: [V; 3],
}

impl<V: Vector> Lanes<V> {
    /// Zeros.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        let zero = V::splat32(0);
        Self {
            counter: zero,
            nonce: [zero; 3],
        }
    }

    /// The same block of eight packets in each half: `low`, and `high`.
    #[inline(always)]
    pub(crate) fn of_octet(packets: &(impl Packets + ?Sized), low: u32, high: u32) -> Self {
        let mut firsts = [0; GROUP];
        let mut counters = [0; OCTET];
        let (mut is_wireguard, mut is_run) = (true, true);
        for lane in 0..OCTET {
            let Nonce { first, counter } = packets.nonce(packets.of_lane(lane));
            counters[lane] = counter;
            firsts[lane] = first;
            firsts[OCTET + lane] = first;
            is_wireguard &= first == 0;
            is_run &= counters[lane] == counters[0].wrapping_add(lane as u64);
        }
        // Loading what was just written word by word is slow.
        let counters = if is_run {
            V::splat64(counters[0]).add64(V::from64(&[0, 1, 2, 3, 4, 5, 6, 7]))
        } else {
            V::from64(&counters)
        };
        let firsts = if is_wireguard {
            V::splat32(0)
        } else {
            V::from32(&firsts)
        };
        Self {
            counter: V::splat32(low).set32_from(OCTET, high),
            nonce: [
                firsts,
                counters.even_words(counters),
                counters.odd_words(counters),
            ],
        }
    }

    /// Every lane goes on by so many blocks.
    #[inline(always)]
    pub(crate) fn advance(&mut self, blocks: u32) {
        self.counter = self.counter.add32(V::splat32(blocks));
    }

    /// The lanes from `lane` on make consecutive blocks.
    #[inline(always)]
    pub(crate) fn set_run(&mut self, lane: usize, block: u32, nonce: Nonce) {
        let first = V::splat32(block.wrapping_sub(lane as u32));
        let counter = first.add32(V::from32(&NUMBERS));
        self.counter = self.counter.replace32_from(lane, counter);
        self.set_nonce(lane, nonce.words());
    }

    #[inline(always)]
    fn set_nonce(&mut self, lane: usize, nonce: [u32; 3]) {
        self.nonce[0] = self.nonce[0].set32_from(lane, nonce[0]);
        self.nonce[1] = self.nonce[1].set32_from(lane, nonce[1]);
        self.nonce[2] = self.nonce[2].set32_from(lane, nonce[2]);
    }
}
