//! One message, with additional data (RFC 8439 section 2.8): for those who have no library. One
//! lane of eight does the work of Poly1305.

use subtle::ConstantTimeEq;

use crate::{
    BLOCK_LEN, NotAuthentic, TAG_LEN,
    chacha20::Input,
    lanes::{GROUP, Lanes},
    nonce::Nonce,
    poly1305::{Poly1305, TOP},
    vector::{Vector, transpose64},
};

pub(crate) fn seal<V: Vector>(
    key: &[u32; 8],
    nonce: &[u8; 12],
    aad: &[u8],
    text: &mut [u8],
) -> [u8; TAG_LEN] {
    let one_time_key = apply::<V>(key, nonce, text);
    tag(one_time_key, aad, text)
}

pub(crate) fn open<V: Vector>(
    key: &[u32; 8],
    nonce: &[u8; 12],
    aad: &[u8],
    text: &mut [u8],
    expected: &[u8; TAG_LEN],
) -> Result<(), NotAuthentic> {
    let one_time_key = apply::<V>(key, nonce, &mut []);
    if !bool::from(tag(one_time_key, aad, text).ct_eq(expected)) {
        return Err(NotAuthentic);
    }
    apply::<V>(key, nonce, text);
    Ok(())
}

/// Encrypts or decrypts `text`, and returns the first block of the key stream.
fn apply<V: Vector>(key: &[u32; 8], nonce: &[u8; 12], text: &mut [u8]) -> V {
    let mut lanes = Lanes::<V>::none();
    lanes.set_run(0, 0, Nonce::new(nonce));
    let mut rows = Input { key, lanes }.key_stream();
    let first = rows[0];
    let mut next = 1;
    for block in text.chunks_mut(BLOCK_LEN) {
        if next == GROUP {
            lanes.advance(GROUP as u32);
            rows = Input { key, lanes }.key_stream();
            next = 0;
        }
        let plain = V::load_window(block, 0);
        plain.xor(rows[next]).store_start(block);
        next += 1;
    }
    first
}

/// The tag of additional data and ciphertext, each padded to whole blocks, and of their lengths.
fn tag<V: Vector>(one_time_key: V, aad: &[u8], text: &[u8]) -> [u8; TAG_LEN] {
    let [r0, r1, s0, s1, ..] = transpose64([one_time_key; 8]);
    let mut poly = Poly1305::new([r0, r1, s0, s1]);
    let lens = [aad.len() as u64, text.len() as u64].map(u64::to_le_bytes);
    let lens = lens.as_flattened();
    let blocks = [aad, text, lens]
        .into_iter()
        .flat_map(|part| part.chunks(TAG_LEN));
    let count = aad.len().div_ceil(TAG_LEN) + text.len().div_ceil(TAG_LEN) + 1;
    // Blocks of nothing in front, so that four at a time come out even.
    let nothing = count.next_multiple_of(4) - count;
    let zero = V::splat64(0);
    let mut words = [zero; 8];
    let mut tops = [zero; 4];
    for (i, block) in (nothing..).zip(blocks) {
        let mut bytes = [0; TAG_LEN];
        bytes[..block.len()].copy_from_slice(block);
        let value = u128::from_le_bytes(bytes);
        let place = i % 4;
        words[2 * place] = V::splat64(value as u64);
        words[2 * place + 1] = V::splat64((value >> 64) as u64);
        tops[place] = V::splat64(TOP);
        if place == 3 {
            poly.absorb(&words, &tops);
        }
    }
    let [low, high] = poly.finish().map(V::to64);
    let tag = u128::from(low[0]) | u128::from(high[0]) << 64;
    tag.to_le_bytes()
}
