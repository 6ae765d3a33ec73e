//! Octets of packets that are no longer than a block, such as acknowledgments and handshakes of
//! TCP: one group makes their keys and all of their key stream, and one step hashes them.
//!
//! It is what [`batch`](crate::batch) does, without what long packets need. The stack that has to
//! be wiped afterwards is a third.

use crate::{
    BLOCK_LEN, Opening, Sealing,
    chacha20::Input,
    hash::{self, OCTET},
    lanes::{GROUP, Lanes},
    packet::Packets,
    vector::Vector,
};

/// Whether all of them are short.
pub(crate) fn are_short<P: Packets + ?Sized>(packets: &P) -> bool {
    (0..packets.count()).all(|packet| packets.text_len(packet) <= BLOCK_LEN)
}

/// Seals an octet of packets that are valid and short. `key` is the key's words.
///
/// One octet and no more: what does not change from one to the next, a compiler would keep on the
/// stack, and that has to be wiped.
#[inline(always)]
pub(crate) fn seal<V: Vector>(key: &[u32; 8], octet: &mut [Sealing<'_>]) {
    let (keys, rows) = key_stream::<V, _>(key, octet);
    let lens = octet.lens();
    let blocks = if are_blocks(octet) {
        apply_whole(octet, &rows)
    } else {
        apply(octet, &rows);
        windows(octet)
    };
    let tags = hash::tags(hash::one_step(&keys, &blocks, &lens));
    for (packet, tag) in octet.iter_mut().zip(tags) {
        packet.tag_mut().copy_from_slice(&tag);
    }
    V::clear_registers();
}

/// Opens an octet of packets that are valid and short. `key` is the key's words.
#[inline(always)]
pub(crate) fn open<V: Vector>(key: &[u32; 8], octet: &mut [Opening<'_>]) {
    let (keys, rows) = key_stream::<V, _>(key, octet);
    let words = hash::one_step(&keys, &windows(octet), &octet.lens());
    let authentic = hash::compare(words, |lane| octet[octet.of_lane(lane)].tag());
    for (lane, packet) in octet.iter_mut().enumerate() {
        packet.is_authentic = authentic >> lane & 1 != 0;
    }
    if are_blocks(octet) {
        apply_whole(octet, &rows);
    } else {
        apply(octet, &rows);
    }
    V::clear_registers();
}

/// Whether there are eight packets of one whole block each to encrypt or decrypt, as
/// acknowledgments of TCP are.
#[inline(always)]
fn are_blocks<P: Packets + ?Sized>(octet: &P) -> bool {
    octet.count() == OCTET && (0..OCTET).all(|packet| octet.whole_blocks(packet).contains(&1))
}

/// The ciphertexts as they are hashed.
#[inline(always)]
fn windows<V: Vector, P: Packets + ?Sized>(octet: &P) -> [V; OCTET] {
    let texts = octet.texts();
    [
        hash::window(texts[0]),
        hash::window(texts[1]),
        hash::window(texts[2]),
        hash::window(texts[3]),
        hash::window(texts[4]),
        hash::window(texts[5]),
        hash::window(texts[6]),
        hash::window(texts[7]),
    ]
}

/// The block with the one-time key, and the one behind it, of each packet.
#[inline(always)]
fn key_stream<V: Vector, P: Packets + ?Sized>(
    key: &[u32; 8],
    octet: &P,
) -> ([V; OCTET], [V; OCTET]) {
    let lanes = Lanes::of_octet(octet, 0, 1);
    let mut rows: [V; GROUP] = Input { key, lanes }.key_stream();
    // Else a compiler puts off the second half to where it is used, and spills what it is made of.
    V::weave4(&mut rows, &mut [V::splat64(0); 4]);
    let [
        k0,
        k1,
        k2,
        k3,
        k4,
        k5,
        k6,
        k7,
        d0,
        d1,
        d2,
        d3,
        d4,
        d5,
        d6,
        d7,
    ] = rows;
    (
        [k0, k1, k2, k3, k4, k5, k6, k7],
        [d0, d1, d2, d3, d4, d5, d6, d7],
    )
}

/// Encrypts or decrypts what there is.
#[inline(always)]
fn apply<V: Vector, P: Packets + ?Sized>(octet: &mut P, rows: &[V; OCTET]) {
    macro_rules! row {
        ($($lane:literal)*) => { $(
            if $lane < octet.count() && octet.text_len($lane) != 0 {
                octet.apply($lane, 1, rows[$lane]);
            }
        )* };
    }
    row!(0 1 2 3 4 5 6 7);
}

/// As `apply`, of eight packets of one whole block each. Returns what they are now.
#[inline(always)]
fn apply_whole<V: Vector, P: Packets + ?Sized>(octet: &mut P, rows: &[V; OCTET]) -> [V; OCTET] {
    macro_rules! rows {
        ($($lane:literal)*) => { [ $(
            // SAFETY: the first block of each packet is whole.
            unsafe { octet.pointers($lane).apply(0, rows[$lane]) }
        ),* ] };
    }
    rows!(0 1 2 3 4 5 6 7)
}
