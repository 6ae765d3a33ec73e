//! The forms the algorithm runs in.

/// Makes two tests of each check: on arrays, and in AVX-512 where the processor has it.
macro_rules! in_both_forms {
    ($($check:ident)*) => { $(
        mod $check {
            #[test]
            fn on_arrays() {
                super::$check::<crate::plain::Plain>();
            }

            #[test]
            fn in_avx512() {
                if crate::tests::has_avx512() {
                    super::$check::<crate::avx512::Zmm>();
                }
            }
        }
    )* };
}
pub(crate) use in_both_forms;

/// SplitMix64: looks random and is the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}
