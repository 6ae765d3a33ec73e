//! Poly1305 against big integers: keys and messages that make carries where they are rare, each in
//! every lane, with the others in other states.

use num_bigint::BigUint;

use super::{
    forms::{Random, in_both_forms},
    interval::LARGEST,
};
use crate::{
    poly1305::{Poly1305, TOP, four_blocks},
    vector::Vector,
};

/// A message and its key, of any bits.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) r: u128,
    pub(super) s: u128,
    /// Each with or without 2^128.
    pub(super) blocks: Vec<(u128, bool)>,
}

impl Message {
    /// As RFC 8439 section 2.5 cuts it.
    pub(super) fn of_bytes(key: &[u8; 32], bytes: &[u8]) -> Self {
        let blocks = bytes.chunks(16).map(|chunk| {
            let mut block = [0; 17];
            block[..chunk.len()].copy_from_slice(chunk);
            block[chunk.len()] = 1;
            (
                u128::from_le_bytes(*block.first_chunk().unwrap()),
                block[16] != 0,
            )
        });
        Self {
            r: u128::from_le_bytes(*key.first_chunk().unwrap()),
            s: u128::from_le_bytes(*key.last_chunk().unwrap()),
            blocks: blocks.collect(),
        }
    }

    /// The tag: RFC 8439 section 2.5.1, line by line.
    fn tag(&self) -> u128 {
        let r = self.r & 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff;
        let mut h = BigUint::from(0u8);
        for &(block, has_top) in &self.blocks {
            h += block;
            h += BigUint::from(u8::from(has_top)) << 128;
            h = h * r % prime();
        }
        low128(&(h + self.s))
    }
}

fn prime() -> BigUint {
    (BigUint::from(1u8) << 130) - 5u8
}

fn low128(x: &BigUint) -> u128 {
    let low: BigUint = x % (BigUint::from(1u8) << 128);
    low.try_into().unwrap()
}

fn low_words<V: Vector>(numbers: [u128; 8]) -> V {
    V::from64(&numbers.map(|number| number as u64))
}

fn high_words<V: Vector>(numbers: [u128; 8]) -> V {
    V::from64(&numbers.map(|number| (number >> 64) as u64))
}

/// The tags of eight messages, which end together.
pub(super) fn tags<V: Vector>(messages: &[&Message; 8]) -> [u128; 8] {
    let (r, s) = (
        messages.map(|message| message.r),
        messages.map(|message| message.s),
    );
    let mut poly = Poly1305::<V>::new([low_words(r), high_words(r), low_words(s), high_words(s)]);
    let longest = messages.iter().map(|message| message.blocks.len()).max();
    let len = longest.unwrap().next_multiple_of(4);
    let block = |at: usize| {
        messages.map(|message| {
            let lead = len - message.blocks.len();
            at.checked_sub(lead)
                .map_or((0, false), |at| message.blocks[at])
        })
    };
    for step in 0..len / 4 {
        let blocks: [_; 4] = std::array::from_fn(|i| block(step * 4 + i));
        let words = std::array::from_fn(|i| {
            let numbers = blocks[i / 2].map(|(number, _)| number);
            if i % 2 == 0 {
                low_words(numbers)
            } else {
                high_words(numbers)
            }
        });
        let tops = blocks.map(|lanes| V::from64(&lanes.map(|(_, has)| u64::from(has) * TOP)));
        poly.absorb(&words, &tops);
    }
    finished(&poly)
}

fn finished<V: Vector>(poly: &Poly1305<V>) -> [u128; 8] {
    let [low, high] = poly.finish().map(V::to64);
    std::array::from_fn(|lane| u128::from(low[lane]) | u128::from(high[lane]) << 64)
}

/// Each message in each lane, beside others each time.
fn check<V: Vector>(messages: &[Message]) {
    let expected: Vec<_> = messages.iter().map(Message::tag).collect();
    for first in 0..messages.len() {
        // Not simply the next ones: those often differ in one bit only.
        let lanes: [_; 8] = std::array::from_fn(|lane| (first + lane * 7) % messages.len());
        let made = tags::<V>(&lanes.map(|i| &messages[i]));
        for (lane, i) in lanes.into_iter().enumerate() {
            assert_eq!(made[lane], expected[i], "lane {lane}: {:x?}", messages[i]);
        }
    }
}

/// r: none, one, two, the highest bit, what clamping leaves of all ones, single limbs of it.
const RS: [u128; 10] = [
    0,
    1,
    2,
    4,
    1 << 123,
    u128::MAX,
    0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff,
    (1 << 44) - 1,
    ((1 << 44) - 1) << 44,
    u128::MAX << 88,
];

const SS: [u128; 5] = [0, 1, u128::MAX, u64::MAX as u128, !(u64::MAX as u128)];

fn edges_of_keys_and_messages<V: Vector>() {
    let ones = (u128::MAX, true);
    let zero = (0, true);
    let mut messages = Vec::new();
    for r in RS {
        for s in SS {
            for count in [1, 2, 3, 4, 5, 8, 9] {
                for block in [
                    ones,
                    zero,
                    (1, true),
                    (u128::MAX, false),
                    (u128::MAX - 4, true),
                ] {
                    messages.push((r, s, vec![block; count]));
                }
            }
            messages.push((r, s, Vec::new()));
        }
    }
    let messages: Vec<_> = messages
        .into_iter()
        .map(|(r, s, blocks)| Message { r, s, blocks })
        .collect();
    check::<V>(&messages);
}

/// With r = 1 the blocks add up: h ends around 2^130 - 5, where it is reduced or is not, and around
/// 2^128 and 2^129; with each s, so that tags wrap or just do not.
fn sums_around_the_prime<V: Vector>() {
    let mut messages = Vec::new();
    for s in SS {
        for below in 0..12 {
            for (tops, first) in [(4, 0), (3, u128::MAX), (2, u128::MAX), (1, u128::MAX)] {
                let mut blocks = vec![(first.wrapping_sub(below), true)];
                blocks.resize(tops, (0, true));
                messages.push(Message { r: 1, s, blocks });
            }
            // The sum of all ones goes around more than once.
            let mut blocks = vec![(u128::MAX, true); 16];
            blocks.push((below, true));
            messages.push(Message { r: 1, s, blocks });
            // What remains is 2^128 and more of them: 2^128 - s is where a tag wraps.
            let blocks = vec![(s.wrapping_neg().wrapping_add(below).wrapping_sub(6), false)];
            messages.push(Message { r: 1, s, blocks });
        }
    }
    check::<V>(&messages);
}

fn random_messages<V: Vector>() {
    let mut random = Random(1);
    let mut number = || u128::from(random.next()) << 64 | u128::from(random.next());
    let mut messages = Vec::new();
    for i in 0..200 {
        messages.push(Message {
            r: number(),
            s: number(),
            blocks: (0..i % 33).map(|_| (number(), true)).collect(),
        });
    }
    check::<V>(&messages);
}

/// What is left of h when all was absorbed is any three limbs within the bounds that are computed
/// elsewhere: all of these where a carry begins or does not.
fn any_limbs_become_a_tag<V: Vector>() {
    let mut random = Random(2);
    let around = |end: u64, largest: u64| {
        let near = (0..7).flat_map(move |i| [i, end.saturating_sub(i), end + i]);
        let mut limbs: Vec<_> = near.chain([largest, largest - 1]).collect();
        limbs.retain(|&limb| limb <= largest);
        limbs
    };
    let [first, second, third] = LARGEST;
    let mut limbs = Vec::new();
    for h0 in around(1 << 44, first) {
        for h1 in around(1 << 44, second) {
            for h2 in around(1 << 42, third) {
                limbs.push([h0, h1, h2]);
            }
        }
    }
    limbs.extend((0..500).map(|_| LARGEST.map(|largest| random.next() % (largest + 1))));
    for s in SS {
        let mut poly = Poly1305::<V>::new([
            V::splat64(0),
            V::splat64(0),
            V::splat64(s as u64),
            V::splat64((s >> 64) as u64),
        ]);
        for chunk in limbs.chunks(8) {
            let lanes: [_; 8] = std::array::from_fn(|lane| chunk[lane % chunk.len()]);
            poly.h = std::array::from_fn(|limb| V::from64(&lanes.map(|h| h[limb])));
            for ([h0, h1, h2], tag) in lanes.into_iter().zip(finished(&poly)) {
                let h = BigUint::from(h0) + (BigUint::from(h1) << 44) + (BigUint::from(h2) << 88);
                let expected = low128(&(h % prime() + s));
                assert_eq!(tag, expected, "{h0:#x} {h1:#x} {h2:#x}, s {s:#x}");
            }
        }
    }
}

/// All limbs full before each kind of block.
fn full_limbs_absorb<V: Vector>() {
    for r in RS {
        for h in [
            LARGEST,
            [LARGEST[0], 0, 0],
            [0, LARGEST[1], 0],
            [0, 0, LARGEST[2]],
        ] {
            for block in [0, 1, u128::MAX] {
                let (low, high) = (V::splat64(block as u64), V::splat64((block >> 64) as u64));
                let zero = V::splat64(0);
                let r_words = [r as u64, (r >> 64) as u64].map(V::splat64);
                let mut poly = Poly1305::<V>::new([r_words[0], r_words[1], zero, zero]);
                poly.h = h.map(V::splat64);
                let words = [low, high, low, high, low, high, low, high];
                poly.absorb(&words, &[V::splat64(TOP); 4]);
                let clamped = r & 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff;
                let mut expected =
                    BigUint::from(h[0]) + (BigUint::from(h[1]) << 44) + (BigUint::from(h[2]) << 88);
                for _ in 0..4 {
                    expected += block;
                    expected += BigUint::from(1u8) << 128;
                    expected = expected * clamped % prime();
                }
                assert_eq!(
                    finished(&poly),
                    [low128(&expected); 8],
                    "r {r:#x}, h {h:x?}"
                );
            }
        }
    }
}

/// As [`tags`], of messages of at most four blocks, with one behind them that holds a length.
fn short_tags<V: Vector>(messages: &[&Message; 8], len: u64) -> [u128; 8] {
    let (r, s) = (
        messages.map(|message| message.r),
        messages.map(|message| message.s),
    );
    let block = |at: usize| {
        messages.map(|message| {
            let lead = 4 - message.blocks.len();
            at.checked_sub(lead)
                .map_or((0, false), |at| message.blocks[at])
        })
    };
    let words = std::array::from_fn(|i| {
        let numbers = block(i / 2).map(|(number, _)| number);
        if i % 2 == 0 {
            low_words(numbers)
        } else {
            high_words(numbers)
        }
    });
    let tops = std::array::from_fn(|i| V::from64(&block(i).map(|(_, has)| u64::from(has) * TOP)));
    let keys = [low_words(r), high_words(r), low_words(s), high_words(s)];
    let [low, high] = four_blocks(keys, &words, &tops, V::splat64(len)).map(V::to64);
    std::array::from_fn(|lane| u128::from(low[lane]) | u128::from(high[lane]) << 64)
}

fn short_messages_with_their_length<V: Vector>() {
    let mut random = Random(3);
    let mut messages = Vec::new();
    for (i, r) in (0..).zip(RS.into_iter().cycle().take(40)) {
        for s in SS {
            for block in [
                0,
                1,
                u128::MAX,
                u128::MAX - 4,
                u128::from(random.next()) << 64,
            ] {
                let blocks = vec![(block, true); i % 5];
                messages.push(Message { r, s, blocks });
            }
        }
    }
    for len in [0, 1, 64, u64::MAX] {
        let expected: Vec<_> = messages
            .iter()
            .map(|message| {
                let mut blocks = message.blocks.clone();
                blocks.push((u128::from(len) << 64, true));
                Message { blocks, ..*message }.tag()
            })
            .collect();
        for first in 0..messages.len() {
            let lanes: [_; 8] = std::array::from_fn(|lane| (first + lane * 7) % messages.len());
            let made = short_tags::<V>(&lanes.map(|i| &messages[i]), len);
            assert_eq!(made, lanes.map(|i| expected[i]), "from {first} on");
        }
    }
}

in_both_forms! {
    short_messages_with_their_length
    edges_of_keys_and_messages
    sums_around_the_prime
    random_messages
    any_limbs_become_a_tag
    full_limbs_absorb
}
