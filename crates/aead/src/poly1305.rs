//! Poly1305 (RFC 8439 section 2.5) of eight messages side by side.
//!
//! A number below 2^130 is three limbs of 44, 44 and 42 bits, and limb *k* of all eight messages is
//! one vector. Four blocks of each message are absorbed at a time (Horner's rule in r^4):
//!
//! ```text
//!  h = (h + m0) r^4 + m1 r^3 + m2 r^2 + m3 r
//! ```
//!
//! so that one chain of carries serves four blocks. Limbs are products of 52-bit multiplications;
//! how large they can become is computed by a test.

use crate::vector::Vector;

/// Limbs of 44, 44 and 42 bits, each with some room above.
pub(crate) type Limbs<V> = [V; 3];

const MASK44: u64 = (1 << 44) - 1;
const MASK42: u64 = (1 << 42) - 1;

/// r is clamped (RFC 8439 section 2.5): bits that would make carries are zero.
const CLAMP: [u64; 2] = [0x0fff_fffc_0fff_ffff, 0x0fff_fffc_0fff_fffc];

/// The bit above a full block, 2^128, in the third limb.
pub(crate) const TOP: u64 = 1 << (128 - 88);

/// A power of r.
#[derive(Clone, Copy)]
pub(crate) struct Power<V> {
    r: Limbs<V>,
    /// 20 times limbs 1 and 2. What passes 2^132 comes back times 4 * 5, as 2^130 = 5.
    s: [V; 2],
}

/// Sums of the low and of the high halves of products.
#[derive(Clone, Copy)]
pub(crate) struct Products<V> {
    pub(crate) low: Limbs<V>,
    pub(crate) high: Limbs<V>,
}

/// Eight messages being hashed.
#[derive(Clone, Copy)]
pub(crate) struct Poly1305<V> {
    pub(crate) h: Limbs<V>,
    /// r, r^2, r^3, r^4.
    pub(crate) powers: [Power<V>; 4],
    /// s of the RFC: what is added at the end.
    pad: [V; 2],
}

/// Cuts 128 bits in two words into limbs and sets `top`.
#[inline(always)]
pub(crate) fn limbs<V: Vector>(low: V, high: V, top: V) -> Limbs<V> {
    let mask = V::splat64(MASK44);
    [
        low.and(mask),
        low.funnel64::<44>(high).and(mask),
        high.shr64::<24>().or(top),
    ]
}

#[inline(always)]
pub(crate) fn sum<V: Vector>(a: Limbs<V>, b: Limbs<V>) -> Limbs<V> {
    [a[0].add64(b[0]), a[1].add64(b[1]), a[2].add64(b[2])]
}

impl<V: Vector> Power<V> {
    #[inline(always)]
    fn new(r: Limbs<V>) -> Self {
        Self {
            r,
            s: [times20(r[1]), times20(r[2])],
        }
    }
}

impl<V: Vector> Products<V> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        let zero = V::splat64(0);
        Self {
            low: [zero; 3],
            high: [zero; 3],
        }
    }

    #[inline(always)]
    fn add_one(&mut self, limb: usize, a: V, b: V) {
        self.low[limb] = self.low[limb].add_product_low(a, b);
        self.high[limb] = self.high[limb].add_product_high(a, b);
    }

    /// Adds `a` times a power of r.
    #[inline(always)]
    fn add(&mut self, a: Limbs<V>, power: &Power<V>) {
        self.add_part::<0>(a, power);
        self.add_part::<1>(a, power);
        self.add_part::<2>(a, power);
        self.add_part::<3>(a, power);
    }

    /// A quarter of the work of `add`, for those who have something to do in between.
    #[inline(always)]
    pub(crate) fn add_part<const PART: usize>(&mut self, a: Limbs<V>, power: &Power<V>) {
        let ([r0, r1, r2], [s1, s2]) = (power.r, power.s);
        match PART {
            0 => {
                self.add_one(0, a[0], r0);
                self.add_one(1, a[0], r1);
            }
            1 => {
                self.add_one(2, a[0], r2);
                self.add_one(0, a[1], s2);
            }
            2 => {
                self.add_one(1, a[1], r0);
                self.add_one(2, a[1], r1);
            }
            _ => {
                self.add_one(0, a[2], s1);
                self.add_one(1, a[2], s2);
                self.add_one(2, a[2], r0);
            }
        }
    }

    /// Brings the limbs back to about their size. The high halves stand 52 bits above the low
    /// ones, which is 8 bits above the next limb, or 10 above what comes back to the first.
    #[inline(always)]
    pub(crate) fn carry(self) -> Limbs<V> {
        let (mask44, mask42) = (V::splat64(MASK44), V::splat64(MASK42));
        let ([d0, low1, low2], [high0, high1, high2]) = (self.low, self.high);
        let d1 = low1.add64(high0.shl64::<8>()).add64(d0.shr64::<44>());
        let d2 = low2.add64(high1.shl64::<8>()).add64(d1.shr64::<44>());
        let carry = high2.shl64::<10>().add64(d2.shr64::<42>());
        let h0 = d0.and(mask44).add64(carry.add64(carry.shl64::<2>()));
        [
            h0.and(mask44),
            d1.and(mask44).add64(h0.shr64::<44>()),
            d2.and(mask42),
        ]
    }
}

/// A limb times 20. A multiplication of 52 bits, because compilers make one of 64 bits out of
/// shifts and a sum, and that takes four times as long.
#[inline(always)]
fn times20<V: Vector>(x: V) -> V {
    V::splat64(0).add_product_low(x, V::splat64(20))
}

#[inline(always)]
fn select<V: Vector>(mask: V, yes: V, no: V) -> V {
    no.xor(no.xor(yes).and(mask))
}

/// Block `i` of each message.
#[inline(always)]
pub(crate) fn block<V: Vector>(words: &[V; 8], tops: &[V; 4], i: usize) -> Limbs<V> {
    limbs(words[2 * i], words[2 * i + 1], tops[i])
}

#[inline(always)]
fn product<V: Vector>(a: Limbs<V>, power: &Power<V>) -> Limbs<V> {
    let mut products = Products::new();
    products.add(a, power);
    products.carry()
}

impl<V: Vector> Poly1305<V> {
    /// Of no messages.
    #[inline(always)]
    pub(crate) fn none() -> Self {
        let limbs = [V::splat64(0); 3];
        let power = Power {
            r: limbs,
            s: [limbs[0]; 2],
        };
        Self {
            h: limbs,
            powers: [power; 4],
            pad: [limbs[0]; 2],
        }
    }

    /// `keys` are the 64-bit words of the eight one-time keys: r in two, then s in two.
    #[inline(always)]
    pub(crate) fn new(keys: [V; 4]) -> Self {
        let (r1, pad) = key(keys);
        let r2 = Power::new(product(r1.r, &r1));
        let r3 = Power::new(product(r2.r, &r1));
        let r4 = Power::new(product(r2.r, &r2));
        Self {
            h: [V::splat64(0); 3],
            powers: [r1, r2, r3, r4],
            pad,
        }
    }

    /// Absorbs four blocks of each message: words 2 *i* and 2 *i* + 1 of `words` are block *i*,
    /// `tops[i]` its bit 2^128. A block of zeros without that bit in front of a message changes
    /// nothing: so messages of unequal length end together.
    #[inline(always)]
    pub(crate) fn absorb(&mut self, words: &[V; 8], tops: &[V; 4]) {
        let [r1, r2, r3, r4] = &self.powers;
        let mut products = Products::new();
        products.add(block(words, tops, 1), r3);
        products.add(block(words, tops, 2), r2);
        products.add(block(words, tops, 3), r1);
        // What depends on the blocks before comes last.
        products.add(sum(self.h, block(words, tops, 0)), r4);
        self.h = products.carry();
    }

    /// Absorbs the last block of each message (RFC 8439 section 2.8): how many bytes of additional
    /// data there are, which is none, and how many of ciphertext.
    #[inline(always)]
    pub(crate) fn absorb_lens(&mut self, lens: V) {
        let block = limbs(V::splat64(0), lens, V::splat64(TOP));
        self.h = product(sum(self.h, block), &self.powers[0]);
    }

    /// The eight tags, in two words each.
    #[inline(always)]
    pub(crate) fn finish(&self) -> [V; 2] {
        finish(self.h, self.pad)
    }
}

/// The eight tags, in two words each, of messages of four blocks and one of lengths. As
///
/// ```text
///  ((m0 r + m1) r^2 + m2 r + m3) r^2 + lens r
/// ```
///
/// they are three multiplications deep, where [`Poly1305`] would be five.
#[inline(always)]
pub(crate) fn four_blocks<V: Vector>(
    keys: [V; 4],
    words: &[V; 8],
    tops: &[V; 4],
    lens: V,
) -> [V; 2] {
    let (r1, pad) = key(keys);
    finish(absorb_four_and_lens(r1, words, tops, lens), pad)
}

/// All that [`four_blocks`] does but for the end.
#[inline(always)]
pub(crate) fn absorb_four_and_lens<V: Vector>(
    r1: Power<V>,
    words: &[V; 8],
    tops: &[V; 4],
    lens: V,
) -> Limbs<V> {
    let r2 = Power::new(product(r1.r, &r1));
    let h = sum(product(block(words, tops, 0), &r1), block(words, tops, 1));
    let mut products = Products::new();
    products.add(block(words, tops, 2), &r1);
    products.add(h, &r2);
    let h = sum(products.carry(), block(words, tops, 3));
    let mut products = Products::new();
    products.add(limbs(V::splat64(0), lens, V::splat64(TOP)), &r1);
    products.add(h, &r2);
    products.carry()
}

/// r and s out of the 64-bit words of the eight one-time keys.
#[inline(always)]
pub(crate) fn key<V: Vector>(words: [V; 4]) -> (Power<V>, [V; 2]) {
    let r = limbs(
        words[0].and(V::splat64(CLAMP[0])),
        words[1].and(V::splat64(CLAMP[1])),
        V::splat64(0),
    );
    (Power::new(r), [words[2], words[3]])
}

#[inline(always)]
fn finish<V: Vector>(h: Limbs<V>, pad: [V; 2]) -> [V; 2] {
    let (mask44, mask42) = (V::splat64(MASK44), V::splat64(MASK42));
    // Twice around, so that every limb is within its bits: h < 2^130.
    let [mut h0, mut h1, mut h2] = h;
    for _ in 0..2 {
        h2 = h2.add64(h1.shr64::<44>());
        h1 = h1.and(mask44);
        let carry = h2.shr64::<42>();
        h2 = h2.and(mask42);
        h0 = h0.add64(carry.add64(carry.shl64::<2>()));
        h1 = h1.add64(h0.shr64::<44>());
        h0 = h0.and(mask44);
    }
    // g = h + 5 - 2^130 is taken if that is not negative: h was not below 2^130 - 5.
    let g0 = h0.add64(V::splat64(5));
    let g1 = h1.add64(g0.shr64::<44>());
    let g2 = h2.add64(g1.shr64::<44>());
    let (g0, g1) = (g0.and(mask44), g1.and(mask44));
    let takes_g = V::splat64(0).sub64(g2.shr64::<42>());
    let g2 = g2.and(mask42);
    let h0 = select(takes_g, g0, h0);
    let h1 = select(takes_g, g1, h1);
    let h2 = select(takes_g, g2, h2);

    let low = h0.or(h1.shl64::<44>());
    let high = h1.shr64::<20>().or(h2.shl64::<24>());
    let tag_low = low.add64(pad[0]);
    let carry = tag_low.less64(low);
    [tag_low, high.add64(pad[1]).add64(carry)]
}
