//! ChaCha20 (RFC 8439 section 2.3), sixteen blocks side by side.
//!
//! Word *w* of the state of all sixteen blocks is one vector: lane *i* of each belongs to block
//! *i*. The blocks need not follow each other, nor be of one packet: each lane has a counter and a
//! nonce of its own.

use crate::{
    lanes::Lanes,
    vector::{Vector, transpose128},
};

/// "expand 32-byte k" (RFC 8439 section 2.3).
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// The state before the first round: the key is one for all lanes, counter and nonce each lane's.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a, V> {
    pub(crate) key: &'a [u32; 8],
    pub(crate) lanes: Lanes<V>,
}

/// For four columns or diagonals: `a += b; d ^= a; d <<<= BITS`.
macro_rules! step {
    ($v:ident, $bits:literal, $(($a:literal, $b:literal, $d:literal)),*) => {
        $( $v[$a] = $v[$a].add32($v[$b]); )*
        $( $v[$d] = $v[$d].xor($v[$a]); )*
        $( $v[$d] = $v[$d].rotate32::<$bits>(); )*
    };
}

impl<V: Vector> Input<'_, V> {
    #[inline(always)]
    pub(crate) fn state(&self) -> [V; 16] {
        [
            V::splat32(CONSTANTS[0]),
            V::splat32(CONSTANTS[1]),
            V::splat32(CONSTANTS[2]),
            V::splat32(CONSTANTS[3]),
            V::splat32(self.key[0]),
            V::splat32(self.key[1]),
            V::splat32(self.key[2]),
            V::splat32(self.key[3]),
            V::splat32(self.key[4]),
            V::splat32(self.key[5]),
            V::splat32(self.key[6]),
            V::splat32(self.key[7]),
            self.lanes.counter,
            self.lanes.nonce[0],
            self.lanes.nonce[1],
            self.lanes.nonce[2],
        ]
    }

    /// Twenty rounds; row *i* is the key stream of lane *i*.
    #[inline(always)]
    pub(crate) fn key_stream(&self) -> [V; 16] {
        let mut v = self.state();
        for _ in 0..10 {
            double_round(&mut v);
        }
        self.finish(v)
    }

    /// Adds the input (RFC 8439 section 2.3) and turns columns of words into rows of blocks.
    #[inline(always)]
    pub(crate) fn finish(&self, v: [V; 16]) -> [V; 16] {
        let input = self.state();
        let mut v = v;
        for i in 0..16 {
            v[i] = v[i].add32(input[i]);
        }
        let (a, b, c, d) = (quad(&v, 0), quad(&v, 4), quad(&v, 8), quad(&v, 12));
        let [r0, r4, r8, r12] = transpose128([a[0], b[0], c[0], d[0]]);
        let [r1, r5, r9, r13] = transpose128([a[1], b[1], c[1], d[1]]);
        let [r2, r6, r10, r14] = transpose128([a[2], b[2], c[2], d[2]]);
        let [r3, r7, r11, r15] = transpose128([a[3], b[3], c[3], d[3]]);
        [
            r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15,
        ]
    }
}

/// Words `i` to `i + 3` of lanes 0, 4, 8, 12, then of 1, 5, 9, 13, and so on.
#[inline(always)]
fn quad<V: Vector>(v: &[V; 16], i: usize) -> [V; 4] {
    let (ab0, ab1) = (v[i].zip_low32(v[i + 1]), v[i].zip_high32(v[i + 1]));
    let (cd0, cd1) = (v[i + 2].zip_low32(v[i + 3]), v[i + 2].zip_high32(v[i + 3]));
    [
        ab0.zip_low64(cd0),
        ab0.zip_high64(cd0),
        ab1.zip_low64(cd1),
        ab1.zip_high64(cd1),
    ]
}

/// Columns, then diagonals (RFC 8439 section 2.3), two at a time: that keeps both ports busy with
/// the fewest values in flight.
#[inline(always)]
pub(crate) fn double_round<V: Vector>(v: &mut [V; 16]) {
    columns_first(v);
    columns_second(v);
    diagonals_first(v);
    diagonals_second(v);
}

/// The first half of four quarter rounds on columns.
#[inline(always)]
pub(crate) fn columns_first<V: Vector>(v: &mut [V; 16]) {
    step!(v, 16, (0, 4, 12), (1, 5, 13));
    step!(v, 16, (2, 6, 14), (3, 7, 15));
    step!(v, 12, (8, 12, 4), (9, 13, 5));
    step!(v, 12, (10, 14, 6), (11, 15, 7));
}

/// The second half.
#[inline(always)]
pub(crate) fn columns_second<V: Vector>(v: &mut [V; 16]) {
    step!(v, 8, (0, 4, 12), (1, 5, 13));
    step!(v, 8, (2, 6, 14), (3, 7, 15));
    step!(v, 7, (8, 12, 4), (9, 13, 5));
    step!(v, 7, (10, 14, 6), (11, 15, 7));
}

/// The first half of four quarter rounds on diagonals.
#[inline(always)]
pub(crate) fn diagonals_first<V: Vector>(v: &mut [V; 16]) {
    step!(v, 16, (0, 5, 15), (1, 6, 12));
    step!(v, 16, (2, 7, 13), (3, 4, 14));
    step!(v, 12, (10, 15, 5), (11, 12, 6));
    step!(v, 12, (8, 13, 7), (9, 14, 4));
}

/// The second half.
#[inline(always)]
pub(crate) fn diagonals_second<V: Vector>(v: &mut [V; 16]) {
    step!(v, 8, (0, 5, 15), (1, 6, 12));
    step!(v, 8, (2, 7, 13), (3, 4, 14));
    step!(v, 7, (10, 15, 5), (11, 12, 6));
    step!(v, 7, (8, 13, 7), (9, 14, 4));
}
