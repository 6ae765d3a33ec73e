//! Each operation of `Zmm` does what that of `Plain` does. On this the tests of `Plain` rest, which
//! say that the algorithm is right.

use super::{forms::Random, has_avx512};
use crate::{
    BLOCK_LEN,
    avx512::Zmm,
    plain::Plain,
    vector::{Vector, transpose64, transpose128},
};

/// Where words of 32, 44, 52 and 64 bits, signs and carries end.
const EDGES: [u64; 20] = [
    0,
    1,
    2,
    0xffff_fffe,
    0xffff_ffff,
    1 << 32,
    0xffff_ffff_0000_0000,
    (1 << 44) - 1,
    1 << 44,
    (1 << 51) - 1,
    1 << 51,
    (1 << 52) - 1,
    1 << 52,
    (1 << 52) + 1,
    0xfff0_0000_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0x8000_0000_8000_0000,
    0xffff_ffff_ffff_fffe,
    u64::MAX,
];

/// Vectors of edges alone, of edges and others, and of anything.
fn inputs() -> Vec<[u64; 8]> {
    let mut random = Random(1);
    let mut inputs: Vec<_> = EDGES.iter().map(|&edge| [edge; 8]).collect();
    for _ in 0..60 {
        inputs.push([(); 8].map(|()| EDGES[random.below(EDGES.len())]));
        inputs.push([(); 8].map(|()| random.next()));
        inputs.push([(); 8].map(|()| {
            let shift = random.below(64);
            if random.below(2) == 0 {
                random.next() >> shift
            } else {
                EDGES[random.below(EDGES.len())]
            }
        }));
    }
    inputs
}

/// One value in both forms.
#[derive(Clone, Copy)]
struct Both {
    plain: Plain,
    zmm: Zmm,
}

impl Both {
    fn new(words: &[u64; 8]) -> Self {
        Self {
            plain: Plain::from64(words),
            zmm: Zmm::from64(words),
        }
    }

    #[track_caller]
    fn assert_same(plain: Plain, zmm: Zmm, what: &str) {
        assert_eq!(plain.to64(), zmm.to64(), "{what}");
    }
}

/// All inputs in both forms; none where there is no AVX-512.
fn values() -> Vec<Both> {
    if !has_avx512() {
        return Vec::new();
    }
    inputs().iter().map(Both::new).collect()
}

#[test]
fn what_goes_in_comes_out() {
    let mut random = Random(2);
    for words in inputs() {
        let plain = Plain::from64(&words);
        assert_eq!(plain.to64(), words);
        if !has_avx512() {
            continue;
        }
        assert_eq!(Zmm::from64(&words).to64(), words);
        let words32: [u32; 16] = std::array::from_fn(|i| (words[i / 2] >> (32 * (i % 2))) as u32);
        Both::assert_same(Plain::from32(&words32), Zmm::from32(&words32), "from32");
        assert_eq!(Plain::from32(&words32).to64(), words);
        let (x, y) = (words[0], words32[1]);
        assert_eq!(Plain::splat64(x).to64(), [x; 8]);
        Both::assert_same(Plain::splat64(x), Zmm::splat64(x), "splat64");
        assert_eq!(
            Plain::splat32(y).to64(),
            [u64::from(y) << 32 | u64::from(y); 8]
        );
        Both::assert_same(Plain::splat32(y), Zmm::splat32(y), "splat32");

        // Wherever a block lies.
        let bytes = random.bytes(2 * BLOCK_LEN);
        let at = random.below(BLOCK_LEN);
        let block: &[u8; BLOCK_LEN] = bytes[at..].first_chunk().unwrap();
        Both::assert_same(Plain::load(block), Zmm::load(block), "load");
        // SAFETY: `block` is as long as a block.
        let zmm = unsafe { Zmm::load_at(block.as_ptr()) };
        Both::assert_same(Plain::load(block), zmm, "load_at");
        // SAFETY: `block` is as long as a block.
        let plain = unsafe { Plain::load_at(block.as_ptr()) };
        Both::assert_same(plain, zmm, "load_at");

        let stored = |store: &dyn Fn(&mut [u8; BLOCK_LEN])| {
            let mut bytes = bytes.clone();
            store(bytes[at..].first_chunk_mut().unwrap());
            bytes
        };
        let expected = stored(&|to| plain.store(to));
        assert_eq!(expected, bytes);
        let value = Both::new(&words);
        let expected = stored(&|to| value.plain.store(to));
        assert_eq!(stored(&|to| value.zmm.store(to)), expected);
        let by_pointer = stored(&|to| {
            // SAFETY: `to` is as long as a block.
            unsafe { value.zmm.store_at(to.as_mut_ptr()) }
        });
        assert_eq!(by_pointer, expected);
        let by_pointer = stored(&|to| {
            // SAFETY: `to` is as long as a block.
            unsafe { value.plain.store_at(to.as_mut_ptr()) }
        });
        assert_eq!(by_pointer, expected);
    }
}

#[test]
fn shifts() {
    macro_rules! check {
        ($value:ident: $($name:ident $($bits:literal)*;)*) => { $( $(
            let (plain, zmm) = ($value.plain.$name::<$bits>(), $value.zmm.$name::<$bits>());
            Both::assert_same(plain, zmm, concat!(stringify!($name), " ", $bits));
        )* )* };
    }
    for value in values() {
        check!(value:
            shl64 0 1 2 4 8 10 20 24 31 32 33 42 44 52 63;
            shr64 0 1 2 4 8 10 20 24 31 32 33 42 44 52 63;
            rotate32 1 7 8 12 16 24 31;
        );
    }
}

#[test]
fn of_two() {
    macro_rules! check {
        ($a:ident $b:ident: $($name:ident)*) => { $(
            let (plain, zmm) = ($a.plain.$name($b.plain), $a.zmm.$name($b.zmm));
            Both::assert_same(plain, zmm, stringify!($name));
        )* };
    }
    macro_rules! check_funnel {
        ($a:ident $b:ident: $($bits:literal)*) => { $(
            let plain = $a.plain.funnel64::<$bits>($b.plain);
            let zmm = $a.zmm.funnel64::<$bits>($b.zmm);
            Both::assert_same(plain, zmm, concat!("funnel64 ", $bits));
        )* };
    }
    let values = values();
    for &a in &values {
        assert_eq!(a.plain.nonzero64(), a.zmm.nonzero64());
        for &b in &values {
            check!(a b: add32 xor and or add64 sub64 less64);
            check!(a b: zip_low32 zip_high32 zip_low64 zip_high64);
            check!(a b: even_words odd_words even_quarters odd_quarters);
            check_funnel!(a b: 1 8 20 31 32 33 44 52 63);
        }
    }
}

#[test]
fn nonzero_words_one_by_one() {
    for bits in 0..=u8::MAX {
        for word in EDGES.into_iter().filter(|&edge| edge != 0) {
            let words = std::array::from_fn(|i| if bits >> i & 1 != 0 { word } else { 0 });
            assert_eq!(Plain::from64(&words).nonzero64(), bits);
            if has_avx512() {
                assert_eq!(Zmm::from64(&words).nonzero64(), bits);
            }
        }
    }
}

#[test]
fn products() {
    let values = values();
    let mut random = Random(3);
    for &a in &values {
        for &b in &values {
            let Both { plain, zmm } = values[random.below(values.len())];
            let low = plain.add_product_low(a.plain, b.plain);
            Both::assert_same(low, zmm.add_product_low(a.zmm, b.zmm), "add_product_low");
            let high = plain.add_product_high(a.plain, b.plain);
            Both::assert_same(high, zmm.add_product_high(a.zmm, b.zmm), "add_product_high");
        }
    }
}

#[test]
fn words_from_one_on() {
    let values = values();
    let mut random = Random(4);
    for &a in &values {
        let b = values[random.below(values.len())];
        let x = random.next() as u32;
        for first in 0..=16 {
            let plain = a.plain.set32_from(first, x);
            Both::assert_same(plain, a.zmm.set32_from(first, x), "set32_from");
            let plain = a.plain.replace32_from(first, b.plain);
            Both::assert_same(plain, a.zmm.replace32_from(first, b.zmm), "replace32_from");
        }
    }
}

/// The bytes around what is read are none of zero: if one of them is seen, it shows.
#[test]
fn windows() {
    if !has_avx512() {
        return;
    }
    let around: Vec<u8> = (0..400).map(|i| (i % 251) as u8 + 1).collect();
    for len in 0..=130 {
        let bytes = &around[135..][..len];
        for at in -130..=130 {
            let (plain, zmm) = (Plain::load_window(bytes, at), Zmm::load_window(bytes, at));
            Both::assert_same(plain, zmm, &format!("{len} bytes at {at}"));
        }
        for at in [isize::MIN, isize::MIN + 1, isize::MAX - 64, isize::MAX] {
            let (plain, zmm) = (Plain::load_window(bytes, at), Zmm::load_window(bytes, at));
            Both::assert_same(plain, zmm, &format!("{len} bytes at {at}"));
        }
    }
}

#[test]
fn starts_are_stored() {
    let words = [0x0102_0304_0506_0708; 8];
    for len in 0..=130 {
        let mut expected = [0xaa; 300];
        let written = len.min(BLOCK_LEN);
        for (i, byte) in expected[100..][..written].iter_mut().enumerate() {
            *byte = 8 - (i % 8) as u8;
        }
        let mut bytes = [0xaa; 300];
        Plain::from64(&words).store_start(&mut bytes[100..][..len]);
        assert_eq!(bytes, expected);
        if has_avx512() {
            let mut bytes = [0xaa; 300];
            Zmm::from64(&words).store_start(&mut bytes[100..][..len]);
            assert_eq!(bytes, expected);
        }
    }
}

#[test]
fn weaving_changes_nothing() {
    let values = values();
    let mut random = Random(5);
    for _ in 0..values.len() {
        let mut some = || values[random.below(values.len())];
        let before: [_; 22] = std::array::from_fn(|_| some());
        let zmm = before.map(|value| value.zmm);
        let mut state: [_; 16] = zmm[..16].try_into().unwrap();
        let mut low: [_; 3] = zmm[16..19].try_into().unwrap();
        let mut high: [_; 3] = zmm[19..].try_into().unwrap();
        Zmm::weave(&mut state, &mut low, &mut high);
        for (after, before) in state.iter().chain(&low).chain(&high).zip(&before) {
            Both::assert_same(before.plain, *after, "weave");
        }
        let mut others: [_; 4] = zmm[16..20].try_into().unwrap();
        Zmm::weave4(&mut state, &mut others);
        for (after, before) in state.iter().chain(&others).zip(&before) {
            Both::assert_same(before.plain, *after, "weave4");
        }
    }
}

fn rows_become_columns<V: Vector>() {
    let row = |row: u64| std::array::from_fn(|column| row << 32 | column as u64);
    let rows: [_; 8] = std::array::from_fn(|i| V::from64(&row(i as u64)));
    for (i, column) in transpose64(rows).into_iter().enumerate() {
        let expected: [_; 8] = std::array::from_fn(|row| (row as u64) << 32 | i as u64);
        assert_eq!(column.to64(), expected);
    }
    let rows: [_; 4] = std::array::from_fn(|i| V::from64(&row(i as u64)));
    for (i, column) in transpose128(rows).into_iter().enumerate() {
        let word = |at: usize| (at as u64 / 2) << 32 | (2 * i + at % 2) as u64;
        assert_eq!(column.to64(), std::array::from_fn(word));
    }
}

super::forms::in_both_forms!(rows_become_columns);
