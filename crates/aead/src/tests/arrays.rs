//! The whole algorithm on arrays, against RustCrypto: small enough for Miri, which watches every
//! access to memory (`cargo +nightly miri test -p weapon-aead --lib tests::arrays`). Keys are none
//! of [`crate::Key`]'s, because those have a part in aws-lc, which it cannot run.

use chacha20poly1305::{ChaCha20Poly1305, KeyInit, aead::AeadInOut};

use super::forms::Random;
use crate::{
    BLOCK_LEN, Opening, Sealing, TAG_LEN, batch,
    plain::{self, Plain},
};

/// One packet. Its buffers are as long as they must be: what goes beyond leaves an allocation.
struct Packet {
    counter: u64,
    head_len: usize,
    /// After the head.
    rest: Vec<u8>,
    /// With the head in it before it is sealed.
    out: Vec<u8>,
    sealed: Vec<u8>,
    plaintext: Vec<u8>,
}

impl Packet {
    fn new(random: &mut Random, counter: u64, len: usize) -> Self {
        let padding = random.below(17).min(len) * random.below(2);
        let plaintext = random.bytes(len - padding);
        let head_len = match random.below(3) {
            0 => 0,
            1 => plaintext.len(),
            _ => random.below(plaintext.len() / BLOCK_LEN + 1) * BLOCK_LEN,
        };
        let (head, rest) = plaintext.split_at(head_len);
        let mut out = random.bytes(len + TAG_LEN);
        out[..head_len].copy_from_slice(head);
        let mut padded = plaintext.clone();
        padded.resize(len, 0);
        let mut sealed = padded.clone();
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&counter.to_le_bytes());
        let tag = ChaCha20Poly1305::new(&KEY.into())
            .encrypt_inout_detached((&nonce).into(), b"", sealed.as_mut_slice().into())
            .unwrap();
        sealed.extend_from_slice(&tag);
        Self {
            counter,
            head_len,
            rest: rest.to_vec(),
            out,
            sealed,
            plaintext: padded,
        }
    }

    fn sealing(&mut self) -> Sealing<'_> {
        Sealing::with_head(self.counter, self.head_len, &self.rest, &mut self.out)
    }
}

const KEY: [u8; 32] = [0x5a; 32];
const WORDS: [u32; 8] = [0x5a5a_5a5a; 8];

/// What seals and what opens.
type Cipher = (
    fn(&[u32; 8], &mut [Sealing<'_>]),
    fn(&[u32; 8], &mut [Opening<'_>]),
);

fn check(random: &mut Random, lens: &[usize]) {
    check_with(random, lens, (batch::seal::<Plain>, batch::open::<Plain>));
    if lens.iter().all(|&len| len <= BLOCK_LEN) {
        check_with(random, lens, (plain::seal, plain::open));
    }
}

fn check_with(random: &mut Random, lens: &[usize], (seal, open): Cipher) {
    // Across the end of the counter's low word.
    let mut packets: Vec<_> = ((1 << 32) - 3..)
        .zip(lens)
        .map(|(counter, &len)| Packet::new(random, counter, len))
        .collect();

    let mut sealings: Vec<_> = packets.iter_mut().map(Packet::sealing).collect();
    assert!(sealings.iter().all(Sealing::is_valid));
    sealings.iter_mut().for_each(Sealing::pad_in_place);
    seal(&WORDS, &mut sealings);
    for (i, packet) in packets.iter().enumerate() {
        assert_eq!(packet.out, packet.sealed, "packet {i} of {lens:?}");
    }

    // About every fourth is forged, and half of them are opened in place.
    let mut expected = Vec::new();
    let mut bodies = Vec::new();
    let mut inputs = Vec::new();
    for packet in &packets {
        let mut sealed = packet.sealed.clone();
        let is_forged = random.below(4) == 0;
        if is_forged {
            let bit = random.below(sealed.len() * 8);
            sealed[bit / 8] ^= 1 << (bit % 8);
        }
        let (input, body) = if random.below(2) == 0 {
            (Vec::new(), sealed)
        } else {
            (sealed, random.bytes(packet.plaintext.len()))
        };
        let mut after = body.clone();
        if !is_forged {
            after[..packet.plaintext.len()].copy_from_slice(&packet.plaintext);
        }
        expected.push((is_forged, after));
        bodies.push(body);
        inputs.push(input);
    }
    let mut openings: Vec<_> = bodies
        .iter_mut()
        .zip(&inputs)
        .zip(&packets)
        .map(|((body, input), packet)| Opening::apart(packet.counter, input, body))
        .collect();
    open(&WORDS, &mut openings);
    for (i, opening) in openings.iter().enumerate() {
        assert_eq!(
            opening.is_authentic(),
            !expected[i].0,
            "packet {i} of {lens:?}"
        );
    }
    for (i, (body, (_, after))) in bodies.iter().zip(&expected).enumerate() {
        assert_eq!(body, after, "packet {i} of {lens:?}");
    }
}

#[test]
fn superpackets() {
    let mut random = Random(1);
    let lens: &[usize] = if cfg!(miri) {
        &[64, 65, 200]
    } else {
        &[
            1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 200, 256, 320, 333, 576, 1420,
        ]
    };
    for &len in lens {
        check(&mut random, &[len; 8]);
        check(
            &mut random,
            &[len, len, len, len, len, len, len, len, len / 2],
        );
    }
}

#[test]
fn packets_of_all_lengths() {
    let mut random = Random(2);
    check(&mut random, &[0]);
    check(&mut random, &[0; 8]);
    check(&mut random, &[0, 1, 0, 16, 0, 64, 0, 65, 0]);
    check(&mut random, &[130, 128, 0, 64, 129]);
    let rounds = if cfg!(miri) { 2 } else { 300 };
    for round in 0..rounds {
        let longest = if round % 2 == 0 { 250 } else { BLOCK_LEN };
        let lens: Vec<_> = (0..1 + random.below(12))
            .map(|_| random.below(longest + 1))
            .collect();
        check(&mut random, &lens);
    }
}
