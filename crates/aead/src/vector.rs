//! The operations of the algorithm: 512 bits as sixteen words of 32 bits or eight of 64.
//!
//! The algorithm is written once over this trait. [`Plain`](crate::plain::Plain) runs it on any
//! processor and under an interpreter that sees every error of memory; `Zmm` runs it with AVX-512.
//! Every operation takes the same time whatever the values are; only lengths and offsets, which
//! everybody on the way can see, choose what runs.

use crate::BLOCK_LEN;

/// Sixteen little-endian words of 32 bits, or eight of 64.
pub(crate) trait Vector: Copy {
    /// `x` in every 32-bit word.
    fn splat32(x: u32) -> Self;
    /// `x` in every 64-bit word.
    fn splat64(x: u64) -> Self;
    /// Word *i* is `x[i]`.
    fn from32(x: &[u32; 16]) -> Self;
    /// Word *i* is `x[i]`.
    fn from64(x: &[u64; 8]) -> Self;
    /// Its 64-bit words.
    fn to64(self) -> [u64; 8];

    /// `x` in the 32-bit words from `first` on.
    fn set32_from(self, first: usize, x: u32) -> Self;
    /// The 32-bit words of `other` from `first` on.
    fn replace32_from(self, first: usize, other: Self) -> Self;

    /// A whole block.
    fn load(bytes: &[u8; BLOCK_LEN]) -> Self;
    /// A whole block.
    fn store(self, bytes: &mut [u8; BLOCK_LEN]);
    /// A whole block.
    ///
    /// # Safety
    /// [`BLOCK_LEN`] bytes can be read at `bytes`.
    unsafe fn load_at(bytes: *const u8) -> Self;
    /// A whole block.
    ///
    /// # Safety
    /// [`BLOCK_LEN`] bytes can be written at `bytes`.
    unsafe fn store_at(self, bytes: *mut u8);
    /// A hint: the cache line that `bytes` points into will be written soon. It need not exist.
    #[inline(always)]
    fn prefetch(_bytes: *mut u8) {}
    /// The block that begins `at` bytes behind the start of `bytes`, or before it; zeros wherever
    /// there is nothing of `bytes`.
    fn load_window(bytes: &[u8], at: isize) -> Self;
    /// Its first bytes, as many as there are in `bytes`; [`BLOCK_LEN`] at most.
    fn store_start(self, bytes: &mut [u8]);

    /// Sums of 32-bit words, modulo 2^32.
    fn add32(self, other: Self) -> Self;
    /// Rotates 32-bit words left.
    fn rotate32<const BITS: i32>(self) -> Self;
    /// Exclusive or.
    fn xor(self, other: Self) -> Self;
    /// And.
    fn and(self, other: Self) -> Self;
    /// Or.
    fn or(self, other: Self) -> Self;
    /// Sums of 64-bit words, modulo 2^64.
    fn add64(self, other: Self) -> Self;
    /// Differences of 64-bit words, modulo 2^64.
    fn sub64(self, other: Self) -> Self;
    /// Shifts 64-bit words left.
    fn shl64<const BITS: u32>(self) -> Self;
    /// Shifts 64-bit words right.
    fn shr64<const BITS: u32>(self) -> Self;
    /// The low 64 bits of `high:self` shifted right, by 1 to 63.
    fn funnel64<const BITS: i32>(self, high: Self) -> Self;
    /// Adds the low 52 bits of the products of the low 52 bits of `a` and `b`.
    fn add_product_low(self, a: Self, b: Self) -> Self;
    /// Adds the bits from 52 upwards of those products.
    fn add_product_high(self, a: Self, b: Self) -> Self;
    /// 1 in each 64-bit word that is less than that of `other`, both without sign; else 0.
    fn less64(self, other: Self) -> Self;
    /// One bit for each 64-bit word that is not zero, the first word's lowest.
    fn nonzero64(self) -> u8;

    // In each quarter of 128 bits:
    /// The first two 32-bit words of `self` and `other`, alternating.
    fn zip_low32(self, other: Self) -> Self;
    /// The last two 32-bit words of `self` and `other`, alternating.
    fn zip_high32(self, other: Self) -> Self;
    /// The first 64-bit word of `self`, then that of `other`.
    fn zip_low64(self, other: Self) -> Self;
    /// The second 64-bit word of `self`, then that of `other`.
    fn zip_high64(self, other: Self) -> Self;

    /// The lower halves of the 64-bit words of `self`, then those of `other`.
    fn even_words(self, other: Self) -> Self;
    /// The upper halves of the 64-bit words of `self`, then those of `other`.
    fn odd_words(self, other: Self) -> Self;
    /// Quarters 0 and 2 of `self`, then of `other`.
    fn even_quarters(self, other: Self) -> Self;
    /// Quarters 1 and 3 of `self`, then of `other`.
    fn odd_quarters(self, other: Self) -> Self;

    /// Keeps the compiler from moving work on these values across this point: two streams of
    /// instructions that were woven stay so. No effect on values.
    #[inline(always)]
    fn weave(_state: &mut [Self; 16], _low: &mut [Self; 3], _high: &mut [Self; 3]) {}

    /// As [`Vector::weave`].
    #[inline(always)]
    fn weave4(_state: &mut [Self; 16], _others: &mut [Self; 4]) {}

    /// Leaves nothing of the values in registers.
    fn clear_registers() {}
}

/// Eight rows of eight 64-bit words become eight columns.
#[inline(always)]
pub(crate) fn transpose64<V: Vector>(rows: [V; 8]) -> [V; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    // Words 0, 2, 4, 6 of two rows, and words 1, 3, 5, 7.
    let (ab0, ab1) = (a.zip_low64(b), a.zip_high64(b));
    let (cd0, cd1) = (c.zip_low64(d), c.zip_high64(d));
    let (ef0, ef1) = (e.zip_low64(f), e.zip_high64(f));
    let (gh0, gh1) = (g.zip_low64(h), g.zip_high64(h));
    let [q0, q2, q4, q6] = transpose128([ab0, cd0, ef0, gh0]);
    let [q1, q3, q5, q7] = transpose128([ab1, cd1, ef1, gh1]);
    [q0, q1, q2, q3, q4, q5, q6, q7]
}

/// Four rows of four quarters become four columns.
#[inline(always)]
pub(crate) fn transpose128<V: Vector>(rows: [V; 4]) -> [V; 4] {
    let [a, b, c, d] = rows;
    let (ab_even, ab_odd) = (a.even_quarters(b), a.odd_quarters(b));
    let (cd_even, cd_odd) = (c.even_quarters(d), c.odd_quarters(d));
    [
        ab_even.even_quarters(cd_even),
        ab_odd.even_quarters(cd_odd),
        ab_even.odd_quarters(cd_even),
        ab_odd.odd_quarters(cd_odd),
    ]
}
