//! The long middle of an octet: whole blocks of eight packets, two of each in a group, and two
//! steps of Poly1305. Nothing is decided here but when to stop.
//!
//! The twenty rounds wait for each other and leave about a sixth of the processor's vector units
//! idle. Hashing in those gaps costs less than hashing afterwards. The order of the work is that of
//! the source: [`Vector::weave`] keeps the compiler from sorting it apart.

use crate::{
    BLOCK_LEN,
    chacha20::{
        Input, columns_first, columns_second, diagonals_first, diagonals_second, double_round,
    },
    hash::{Hash, OCTET},
    lanes::GROUP,
    packet::Pointers,
    poly1305::{Limbs, Power, Products, TOP, block, sum},
    vector::{Vector, transpose128},
};

/// Encrypts or decrypts `groups` groups, the first of which has the lanes of `input`.
///
/// # Safety
/// From `at` on, two blocks for each group can be read and written where `text` points to.
#[inline(always)]
pub(crate) unsafe fn apply<V: Vector>(
    mut input: Input<'_, V>,
    text: &[Pointers; OCTET],
    at: usize,
    groups: usize,
) {
    for group in 0..groups {
        let rows = input.key_stream();
        // SAFETY: the caller's promise covers this group.
        unsafe { apply_rows(&rows, text, at + group * 2 * BLOCK_LEN) };
        input.lanes.advance(2);
    }
}

/// Groups after which the lines are written that are fetched now. A group takes longer than a line
/// takes from the cache of all cores.
const GROUPS_AHEAD: usize = 2;

/// Fetches the lines where the first groups from block `at` on will be written, as many as
/// [`apply_and_hash`] begins too late for.
#[inline(always)]
pub(crate) fn fetch_first<V: Vector>(text: &[Pointers; OCTET], at: usize) {
    for group in 0..GROUPS_AHEAD {
        fetch::<V>(text, at + group * 2 * BLOCK_LEN);
    }
}

/// Fetches the lines where a group will be written.
#[inline(always)]
fn fetch<V: Vector>(text: &[Pointers; OCTET], at: usize) {
    for text in text {
        V::prefetch(text.to.wrapping_add(at));
        V::prefetch(text.to.wrapping_add(at + BLOCK_LEN));
    }
}

/// As [`apply`]; and `hash` takes two steps, which are smooth, in each group. With `FETCH`, the
/// lines that are written are fetched before.
///
/// # Safety
/// As for [`apply`]; and from each of `messages` on, two blocks can be read for each group.
#[inline(always)]
pub(crate) unsafe fn apply_and_hash<V: Vector, const FETCH: bool>(
    mut input: Input<'_, V>,
    text: &[Pointers; OCTET],
    at: usize,
    groups: usize,
    hash: &mut Hash<V>,
    messages: &[*const u8; OCTET],
) {
    let mut h = hash.poly.h;
    for group in 0..groups {
        if FETCH {
            fetch::<V>(text, at + (group + GROUPS_AHEAD) * 2 * BLOCK_LEN);
        }
        let mut v = input.state();
        for half in 0..2 {
            let message_at = (2 * group + half) * BLOCK_LEN;
            // SAFETY: the caller's promise covers this step.
            unsafe {
                five_rounds_and_step(&mut v, &hash.poly.powers, &mut h, messages, message_at)
            };
        }
        let rows = input.finish(v);
        // SAFETY: the caller's promise covers this group.
        unsafe { apply_rows(&rows, text, at + group * 2 * BLOCK_LEN) };
        input.lanes.advance(2);
    }
    hash.poly.h = h;
    hash.skip(2 * groups);
}

/// The key stream of a group, while `hash` takes one step or two, which are smooth.
///
/// # Safety
/// From each of `messages` on, a block can be read for each step.
#[inline(always)]
pub(crate) unsafe fn key_stream_and_hash<V: Vector, const STEPS: usize>(
    input: Input<'_, V>,
    hash: &mut Hash<V>,
    messages: &[*const u8; OCTET],
) -> [V; GROUP] {
    const { assert!(STEPS <= 2) };
    let mut v = input.state();
    let mut h = hash.poly.h;
    for step in 0..STEPS {
        let at = step * BLOCK_LEN;
        // SAFETY: the caller's promise covers this step.
        unsafe { five_rounds_and_step(&mut v, &hash.poly.powers, &mut h, messages, at) };
    }
    for _ in 5 * STEPS..10 {
        double_round(&mut v);
    }
    hash.poly.h = h;
    hash.skip(STEPS);
    input.finish(v)
}

/// Five of the ten double rounds, while four blocks of each message are absorbed.
///
/// # Safety
/// A block of the key stream's length can be read `at` bytes behind each of `messages`.
#[inline(always)]
unsafe fn five_rounds_and_step<V: Vector>(
    v: &mut [V; 16],
    powers: &[Power<V>; 4],
    h: &mut Limbs<V>,
    messages: &[*const u8; OCTET],
    at: usize,
) {
    let tops = [V::splat64(TOP); 4];
    // SAFETY: the caller vouches for these blocks.
    let words = unsafe { load(v, messages, at) };
    let [r1, r2, r3, r4] = powers;
    let mut products = Products::new();
    multiply(v, &mut products, block(&words, &tops, 1), r3);
    multiply(v, &mut products, block(&words, &tops, 2), r2);
    multiply(v, &mut products, block(&words, &tops, 3), r1);
    let first = sum(*h, block(&words, &tops, 0));
    multiply(v, &mut products, first, r4);
    *h = products.carry();
}

/// # Safety
/// From `at` on, two blocks can be read and written where `text` points to.
#[inline(always)]
unsafe fn apply_rows<V: Vector>(rows: &[V; 16], text: &[Pointers; OCTET], at: usize) {
    macro_rules! blocks {
        ($($lane:literal)*) => { $(
            for second in 0..2 {
                let at = at + second * BLOCK_LEN;
                // SAFETY: the caller vouches for this block.
                unsafe { text[$lane].apply(at, rows[second * OCTET + $lane]) };
            }
        )* };
    }
    blocks!(0 1 2 3 4 5 6 7);
}

/// A double round, while four blocks of each message are brought into columns.
///
/// # Safety
/// A block can be read `at` bytes behind each of `messages`.
#[inline(always)]
unsafe fn load<V: Vector>(v: &mut [V; 16], messages: &[*const u8; OCTET], at: usize) -> [V; 8] {
    macro_rules! row {
        ($lane:literal) => {
            // SAFETY: the caller vouches for this block.
            unsafe { V::load_at(messages[$lane].wrapping_add(at)) }
        };
    }
    columns_first(v);
    let (a, b, c, d) = (row!(0), row!(1), row!(2), row!(3));
    let (ab, cd) = (
        (a.zip_low64(b), a.zip_high64(b)),
        (c.zip_low64(d), c.zip_high64(d)),
    );
    let mut abcd = [ab.0, ab.1, cd.0, cd.1];
    V::weave4(v, &mut abcd);
    columns_second(v);
    let (e, f, g, h) = (row!(4), row!(5), row!(6), row!(7));
    let (ef, gh) = (
        (e.zip_low64(f), e.zip_high64(f)),
        (g.zip_low64(h), g.zip_high64(h)),
    );
    let mut efgh = [ef.0, ef.1, gh.0, gh.1];
    V::weave4(v, &mut efgh);
    diagonals_first(v);
    let mut even = transpose128([abcd[0], abcd[2], efgh[0], efgh[2]]);
    V::weave4(v, &mut even);
    diagonals_second(v);
    let mut odd = transpose128([abcd[1], abcd[3], efgh[1], efgh[3]]);
    V::weave4(v, &mut odd);
    let ([q0, q2, q4, q6], [q1, q3, q5, q7]) = (even, odd);
    [q0, q1, q2, q3, q4, q5, q6, q7]
}

/// A double round, while a block of each message is multiplied by a power of r.
#[inline(always)]
fn multiply<V: Vector>(
    v: &mut [V; 16],
    products: &mut Products<V>,
    block: Limbs<V>,
    power: &Power<V>,
) {
    columns_first(v);
    products.add_part::<0>(block, power);
    V::weave(v, &mut products.low, &mut products.high);
    columns_second(v);
    products.add_part::<1>(block, power);
    V::weave(v, &mut products.low, &mut products.high);
    diagonals_first(v);
    products.add_part::<2>(block, power);
    V::weave(v, &mut products.low, &mut products.high);
    diagonals_second(v);
    products.add_part::<3>(block, power);
    V::weave(v, &mut products.low, &mut products.high);
}
