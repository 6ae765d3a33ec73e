//! How large the limbs of Poly1305 become: the code that absorbs runs on ranges in place of
//! numbers, from any keys and any message, until another step widens nothing. What holds then holds
//! for ever: no sum passes 64 bits, and no factor passes the 52 that the processor multiplies.
//!
//! The long middle of a superpacket adds up the same products, in another order.

use core::cell::Cell;

use crate::{
    BLOCK_LEN,
    poly1305::{Poly1305, TOP, absorb_four_and_lens, key},
    vector::Vector,
};

/// The limbs of h after any number of blocks, at most. That `finish` copes with these is tested
/// beside it.
pub(super) const LARGEST: [u64; 3] = [(1 << 44) - 1, (1 << 44) + 0xff, (1 << 42) - 1];

/// What the sums of products stay below.
const LARGEST_SUM: u64 = 1 << 56;

thread_local! {
    /// The largest sum so far.
    static SUM: Cell<u64> = const { Cell::new(0) };
}

/// Every number from `low` to `high`, in each of eight words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    low: u64,
    high: u64,
}

impl Interval {
    const ANY: Self = Self {
        low: 0,
        high: u64::MAX,
    };

    const fn of(low: u64, high: u64) -> Self {
        Self { low, high }
    }

    fn union(self, other: Self) -> Self {
        Self::of(self.low.min(other.low), self.high.max(other.high))
    }

    /// As a factor: the processor would ignore what is above 52 bits.
    #[track_caller]
    fn factor(self) -> [u128; 2] {
        assert!(
            self.high < 1 << 52,
            "a factor of {:#x} is cut off",
            self.high
        );
        [self.low.into(), self.high.into()]
    }
}

/// All bits that numbers up to `x` can have.
fn bits_to(x: u64) -> u64 {
    u64::MAX.checked_shr(x.leading_zeros()).unwrap_or(0)
}

impl Vector for Interval {
    fn splat64(x: u64) -> Self {
        Self::of(x, x)
    }

    fn and(self, other: Self) -> Self {
        // A mask of all low bits leaves alone what fits it.
        for (x, mask) in [(self, other), (other, self)] {
            if mask.low == mask.high && mask.high == bits_to(mask.high) && x.high <= mask.high {
                return x;
            }
        }
        Self::of(0, self.high.min(other.high))
    }

    fn or(self, other: Self) -> Self {
        Self::of(self.low.max(other.low), bits_to(self.high | other.high))
    }

    #[track_caller]
    fn add64(self, other: Self) -> Self {
        let high = self.high.checked_add(other.high);
        let high = high.expect("a sum passes 64 bits");
        SUM.set(SUM.get().max(high));
        Self::of(self.low + other.low, high)
    }

    #[track_caller]
    fn shl64<const BITS: u32>(self) -> Self {
        assert!(self.high.leading_zeros() >= BITS, "a shift passes 64 bits");
        Self::of(self.low << BITS, self.high << BITS)
    }

    fn shr64<const BITS: u32>(self) -> Self {
        Self::of(self.low >> BITS, self.high >> BITS)
    }

    /// Cuts words of a message and of keys, which are anything.
    fn funnel64<const BITS: i32>(self, _high: Self) -> Self {
        Self::ANY
    }

    #[track_caller]
    fn add_product_low(self, a: Self, b: Self) -> Self {
        let ([_, a], [_, b]) = (a.factor(), b.factor());
        let largest = (a * b).min((1 << 52) - 1) as u64;
        self.add64(Self::of(0, largest))
    }

    #[track_caller]
    fn add_product_high(self, a: Self, b: Self) -> Self {
        let (a, b) = (a.factor(), b.factor());
        self.add64(Self::of(
            ((a[0] * b[0]) >> 52) as u64,
            ((a[1] * b[1]) >> 52) as u64,
        ))
    }

    fn splat32(_x: u32) -> Self {
        unreachable!()
    }
    fn from32(_x: &[u32; 16]) -> Self {
        unreachable!()
    }
    fn from64(_x: &[u64; 8]) -> Self {
        unreachable!()
    }
    fn to64(self) -> [u64; 8] {
        unreachable!()
    }
    fn set32_from(self, _first: usize, _x: u32) -> Self {
        unreachable!()
    }
    fn replace32_from(self, _first: usize, _other: Self) -> Self {
        unreachable!()
    }
    fn load(_bytes: &[u8; BLOCK_LEN]) -> Self {
        unreachable!()
    }
    fn store(self, _bytes: &mut [u8; BLOCK_LEN]) {
        unreachable!()
    }
    unsafe fn load_at(_bytes: *const u8) -> Self {
        unreachable!()
    }
    unsafe fn store_at(self, _bytes: *mut u8) {
        unreachable!()
    }
    fn load_window(_bytes: &[u8], _at: isize) -> Self {
        unreachable!()
    }
    fn store_start(self, _bytes: &mut [u8]) {
        unreachable!()
    }
    fn add32(self, _other: Self) -> Self {
        unreachable!()
    }
    fn rotate32<const BITS: i32>(self) -> Self {
        unreachable!()
    }
    fn xor(self, _other: Self) -> Self {
        unreachable!()
    }
    fn sub64(self, _other: Self) -> Self {
        unreachable!()
    }
    fn less64(self, _other: Self) -> Self {
        unreachable!()
    }
    fn nonzero64(self) -> u8 {
        unreachable!()
    }
    fn zip_low32(self, _other: Self) -> Self {
        unreachable!()
    }
    fn zip_high32(self, _other: Self) -> Self {
        unreachable!()
    }
    fn zip_low64(self, _other: Self) -> Self {
        unreachable!()
    }
    fn zip_high64(self, _other: Self) -> Self {
        unreachable!()
    }
    fn even_words(self, _other: Self) -> Self {
        unreachable!()
    }
    fn odd_words(self, _other: Self) -> Self {
        unreachable!()
    }
    fn even_quarters(self, _other: Self) -> Self {
        unreachable!()
    }
    fn odd_quarters(self, _other: Self) -> Self {
        unreachable!()
    }
}

#[test]
fn limbs_never_overflow() {
    let mut poly = Poly1305::new([Interval::ANY; 4]);
    // A block has its highest bit or, in front of a message, has not.
    let tops = [Interval::of(0, TOP); 4];
    let mut rounds = 0;
    loop {
        let before = poly.h;
        poly.absorb(&[Interval::ANY; 8], &tops);
        for (after, before) in poly.h.iter_mut().zip(before) {
            *after = after.union(before);
        }
        if poly.h == before {
            break;
        }
        rounds += 1;
        assert!(rounds < 100, "the limbs go on growing: {:x?}", poly.h);
    }
    println!(
        "h {:x?} after {rounds} rounds, largest sum {:#x}",
        poly.h,
        SUM.get()
    );
    for _ in 0..2 {
        for (limb, largest) in poly.h.iter().zip(LARGEST) {
            assert!(
                limb.high <= largest,
                "{:#x} is above {largest:#x}",
                limb.high
            );
        }
        poly.absorb_lens(Interval::ANY);
    }
    let (r, _) = key([Interval::ANY; 4]);
    let h = absorb_four_and_lens(r, &[Interval::ANY; 8], &tops, Interval::ANY);
    for (limb, largest) in h.iter().zip(LARGEST) {
        assert!(limb.high <= largest, "four blocks: {:#x}", limb.high);
    }
    assert!(rounds >= 1, "nothing was absorbed");
    assert!(SUM.get() < LARGEST_SUM, "a sum of {:#x}", SUM.get());
}

/// The ranges hold what `Plain` computes: else the proof above would prove nothing.
#[test]
fn ranges_hold_numbers() {
    use super::forms::Random;
    use crate::plain::Plain;

    let mut random = Random(1);
    let mut poly = Poly1305::new([Interval::ANY; 4]);
    for _ in 0..10 {
        poly.absorb(&[Interval::ANY; 8], &[Interval::of(0, TOP); 4]);
        let mut some = || Plain::splat64(random.next() | random.next());
        let mut numbers = Poly1305::new([some(), some(), some(), some()]);
        for _ in 0..20 {
            let words = [(); 8].map(|()| some());
            numbers.absorb(&words, &[Plain::splat64(TOP); 4]);
            for (number, limb) in numbers.h.iter().zip(poly.h) {
                let number = number.to64()[0];
                assert!(
                    (limb.low..=limb.high).contains(&number),
                    "{number:#x} in {limb:x?}"
                );
            }
        }
    }
}
