//! The operations in safe Rust, on arrays: slow, everywhere, and easy to be sure of.

use crate::{
    BLOCK_LEN, Opening, Sealing, batch,
    hash::OCTET,
    short::{self, are_short},
    vector::Vector,
};

/// Sixteen words of 32 bits in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain(pub(crate) [u32; 16]);

/// Seals on arrays.
#[inline(never)]
pub(crate) fn seal(key: &[u32; 8], packets: &mut [Sealing<'_>]) {
    if are_short(packets) {
        for octet in packets.chunks_mut(OCTET) {
            short::seal::<Plain>(key, octet);
        }
    } else {
        batch::seal::<Plain>(key, packets);
    }
}

/// Opens on arrays.
#[inline(never)]
pub(crate) fn open(key: &[u32; 8], packets: &mut [Opening<'_>]) {
    if are_short(packets) {
        for octet in packets.chunks_mut(OCTET) {
            short::open::<Plain>(key, octet);
        }
    } else {
        batch::open::<Plain>(key, packets);
    }
}

const MASK52: u64 = (1 << 52) - 1;

impl Plain {
    fn words64(self) -> [u64; 8] {
        core::array::from_fn(|i| u64::from(self.0[2 * i]) | u64::from(self.0[2 * i + 1]) << 32)
    }

    fn of64(words: [u64; 8]) -> Self {
        Self(core::array::from_fn(|i| {
            (words[i / 2] >> (32 * (i % 2))) as u32
        }))
    }

    fn map64(self, f: impl Fn(u64) -> u64) -> Self {
        Self::of64(self.words64().map(f))
    }

    fn zip64(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let (a, b) = (self.words64(), other.words64());
        Self::of64(core::array::from_fn(|i| f(a[i], b[i])))
    }

    fn zip32(self, other: Self, f: impl Fn(u32, u32) -> u32) -> Self {
        Self(core::array::from_fn(|i| f(self.0[i], other.0[i])))
    }

    /// Word *i* of each quarter is word `order[i].1` of that quarter of `self` or, if `order[i].0`,
    /// of `other`.
    fn shuffle(self, other: Self, order: [(bool, usize); 4]) -> Self {
        Self(core::array::from_fn(|i| {
            let (from_other, word) = order[i % 4];
            let from = if from_other { &other.0 } else { &self.0 };
            from[i / 4 * 4 + word]
        }))
    }

    fn quarters(self, other: Self, first: usize) -> Self {
        Self(core::array::from_fn(|i| {
            let from = if i < 8 { &self.0 } else { &other.0 };
            from[(i / 4 % 2 * 2 + first) * 4 + i % 4]
        }))
    }

    fn product(a: u64, b: u64) -> u128 {
        u128::from(a & MASK52) * u128::from(b & MASK52)
    }
}

impl Vector for Plain {
    fn splat32(x: u32) -> Self {
        Self([x; 16])
    }

    fn splat64(x: u64) -> Self {
        Self::of64([x; 8])
    }

    fn from32(x: &[u32; 16]) -> Self {
        Self(*x)
    }

    fn from64(x: &[u64; 8]) -> Self {
        Self::of64(*x)
    }

    fn to64(self) -> [u64; 8] {
        self.words64()
    }

    fn set32_from(mut self, first: usize, x: u32) -> Self {
        self.0.iter_mut().skip(first).for_each(|word| *word = x);
        self
    }

    fn replace32_from(mut self, first: usize, other: Self) -> Self {
        self.0[first..].copy_from_slice(&other.0[first..]);
        self
    }

    fn load(bytes: &[u8; BLOCK_LEN]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        Self(core::array::from_fn(|i| u32::from_le_bytes(words[i])))
    }

    fn store(self, bytes: &mut [u8; BLOCK_LEN]) {
        for (to, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *to = word.to_le_bytes();
        }
    }

    unsafe fn load_at(bytes: *const u8) -> Self {
        // SAFETY: the caller vouches for the bytes; an array of bytes needs no alignment.
        Self::load(unsafe { &*bytes.cast() })
    }

    unsafe fn store_at(self, bytes: *mut u8) {
        // SAFETY: the caller vouches for the bytes; an array of bytes needs no alignment.
        self.store(unsafe { &mut *bytes.cast() });
    }

    fn load_window(bytes: &[u8], at: isize) -> Self {
        let mut block = [0; BLOCK_LEN];
        for (i, to) in block.iter_mut().enumerate() {
            let from = at.checked_add_unsigned(i).map(usize::try_from);
            if let Some(&byte) = from.and_then(|from| bytes.get(from.ok()?)) {
                *to = byte;
            }
        }
        Self::load(&block)
    }

    fn store_start(self, bytes: &mut [u8]) {
        let mut block = [0; BLOCK_LEN];
        self.store(&mut block);
        let len = bytes.len().min(BLOCK_LEN);
        bytes[..len].copy_from_slice(&block[..len]);
    }

    fn add32(self, other: Self) -> Self {
        self.zip32(other, u32::wrapping_add)
    }

    fn rotate32<const BITS: i32>(self) -> Self {
        Self(self.0.map(|x| x.rotate_left(BITS as u32)))
    }

    fn xor(self, other: Self) -> Self {
        self.zip32(other, |a, b| a ^ b)
    }

    fn and(self, other: Self) -> Self {
        self.zip32(other, |a, b| a & b)
    }

    fn or(self, other: Self) -> Self {
        self.zip32(other, |a, b| a | b)
    }

    fn add64(self, other: Self) -> Self {
        self.zip64(other, u64::wrapping_add)
    }

    fn sub64(self, other: Self) -> Self {
        self.zip64(other, u64::wrapping_sub)
    }

    fn shl64<const BITS: u32>(self) -> Self {
        self.map64(|x| x << BITS)
    }

    fn shr64<const BITS: u32>(self) -> Self {
        self.map64(|x| x >> BITS)
    }

    fn funnel64<const BITS: i32>(self, high: Self) -> Self {
        self.zip64(high, |low, high| low >> BITS | high << (64 - BITS))
    }

    fn add_product_low(self, a: Self, b: Self) -> Self {
        self.add64(a.zip64(b, |a, b| Self::product(a, b) as u64 & MASK52))
    }

    fn add_product_high(self, a: Self, b: Self) -> Self {
        self.add64(a.zip64(b, |a, b| (Self::product(a, b) >> 52) as u64))
    }

    fn less64(self, other: Self) -> Self {
        self.zip64(other, |a, b| u64::from(a < b))
    }

    fn nonzero64(self) -> u8 {
        let words = self.words64().into_iter().enumerate();
        words.fold(0, |bits, (i, word)| bits | u8::from(word != 0) << i)
    }

    fn zip_low32(self, other: Self) -> Self {
        self.shuffle(other, [(false, 0), (true, 0), (false, 1), (true, 1)])
    }

    fn zip_high32(self, other: Self) -> Self {
        self.shuffle(other, [(false, 2), (true, 2), (false, 3), (true, 3)])
    }

    fn zip_low64(self, other: Self) -> Self {
        self.shuffle(other, [(false, 0), (false, 1), (true, 0), (true, 1)])
    }

    fn zip_high64(self, other: Self) -> Self {
        self.shuffle(other, [(false, 2), (false, 3), (true, 2), (true, 3)])
    }

    fn even_words(self, other: Self) -> Self {
        Self(core::array::from_fn(|i| {
            if i < 8 {
                self.0[2 * i]
            } else {
                other.0[2 * i - 16]
            }
        }))
    }

    fn odd_words(self, other: Self) -> Self {
        Self(core::array::from_fn(|i| {
            if i < 8 {
                self.0[2 * i + 1]
            } else {
                other.0[2 * i - 15]
            }
        }))
    }

    fn even_quarters(self, other: Self) -> Self {
        self.quarters(other, 0)
    }

    fn odd_quarters(self, other: Self) -> Self {
        self.quarters(other, 1)
    }
}
