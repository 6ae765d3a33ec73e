#![no_main]
//! Batches of any shape through the fastest backend, against RustCrypto: lengths, counters at the
//! edges, where plaintexts lie, and which packets are forged.

use arbitrary::{Arbitrary, Unstructured};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit,
    aead::{AeadInOut, inout::InOutBuf},
};
use libfuzzer_sys::fuzz_target;
use weapon_aead::{BLOCK_LEN, Backend, Key, Opening, Sealing, TAG_LEN};

/// More than a superpacket has, and more than two octets of every size.
const PACKETS_MAX: usize = 70;

/// Longer than any datagram of an Ethernet, short enough for many of them a second.
const LEN_MAX: usize = 9000;

/// What may never be written, on both sides of every buffer.
const GUARD: usize = 80;
const GUARD_BYTE: u8 = 0xc3;

#[derive(Debug)]
struct Case {
    key: [u8; 32],
    counter: Counter,
    payload: Payload,
    packets: Vec<Packet>,
}

/// Where counters start: what is added to them crosses the edge.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Counter {
    Small(u8),
    BeforeLowWordWraps(u8),
    BeforeLast(u8),
    Any(u64),
    /// Of RFC 8439: all 96 bits are the caller's.
    Nonce([u8; 12]),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Payload {
    Zeros,
    Ones,
    Mixed(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Packet {
    /// For datagrams alike, as in a superpacket, that of the first packet counts.
    len: u16,
    is_like_first: bool,
    place: Place,
    padding: u8,
    offset: u8,
    opens_in_place: bool,
    forgery: Option<(u16, u8)>,
}

/// Where the plaintext is when the packet is sealed.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Place {
    Apart,
    InPlace,
    /// So many blocks are in place.
    Head(u8),
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (key, counter, payload) = (u.arbitrary()?, u.arbitrary()?, u.arbitrary()?);
        let count = u.int_in_range(1..=PACKETS_MAX)?;
        let mut packets = Vec::with_capacity(count);
        for _ in 0..count {
            packets.push(u.arbitrary()?);
        }
        Ok(Self {
            key,
            counter,
            payload,
            packets,
        })
    }
}

/// A packet with all of its bytes.
struct Datagram {
    counter: u64,
    nonce: [u8; 12],
    plaintext: Vec<u8>,
    head_len: usize,
    offset: usize,
    /// Guard, offset, ciphertext, tag, guard.
    wire: Vec<u8>,
    opens_in_place: bool,
    opened: Vec<u8>,
    forgery: Option<(u16, u8)>,
}

impl Datagram {
    fn new(case: &Case, index: usize) -> Self {
        let packet = case.packets[index];
        let len = match packet.is_like_first {
            true => case.packets[0].len,
            false => packet.len,
        };
        let len = usize::from(len) % (LEN_MAX + 1);
        let (counter, nonce) = nonce(case.counter, index);
        let padding_len = match packet.place {
            Place::Apart | Place::Head(_) => usize::from(packet.padding % 17),
            Place::InPlace => 0,
        };
        let text_len = len + padding_len;
        let head_len = match packet.place {
            Place::Apart => 0,
            Place::InPlace => len,
            Place::Head(blocks) => {
                (usize::from(blocks) * BLOCK_LEN).min(len / BLOCK_LEN * BLOCK_LEN)
            }
        };
        let mut plaintext = payload(case.payload, index, len);
        let offset = usize::from(packet.offset % 64);
        let mut wire = vec![GUARD_BYTE; GUARD + offset + text_len + TAG_LEN + GUARD];
        wire[GUARD + offset..][..head_len].copy_from_slice(&plaintext[..head_len]);
        plaintext.resize(text_len, 0);
        Self {
            counter,
            nonce,
            plaintext,
            head_len,
            offset,
            wire,
            opens_in_place: packet.opens_in_place,
            opened: vec![GUARD_BYTE; GUARD + offset + text_len + GUARD],
            forgery: packet.forgery,
        }
    }

    fn sealed_len(&self) -> usize {
        self.plaintext.len() + TAG_LEN
    }

    fn sealed(&self) -> &[u8] {
        &self.wire[GUARD + self.offset..][..self.sealed_len()]
    }

    fn check_guards(&self) {
        let text_len = self.plaintext.len();
        for (buffer, len) in [(&self.wire, text_len + TAG_LEN), (&self.opened, text_len)] {
            let (before, rest) = buffer.split_at(GUARD + self.offset);
            let outside = before.iter().chain(&rest[len..]);
            assert!(
                outside.copied().all(|byte| byte == GUARD_BYTE),
                "it wrote outside"
            );
        }
    }
}

fn nonce(counter: Counter, index: usize) -> (u64, [u8; 12]) {
    let first = match counter {
        Counter::Small(back) => u64::from(back),
        Counter::BeforeLowWordWraps(back) => (1 << 32) - u64::from(back),
        Counter::BeforeLast(back) => u64::MAX - u64::from(back),
        Counter::Any(counter) => counter,
        Counter::Nonce(mut nonce) => {
            nonce[4] = nonce[4].wrapping_add(index as u8);
            return (0, nonce);
        }
    };
    let counter = first.wrapping_add(index as u64);
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    (counter, nonce)
}

fn payload(payload: Payload, index: usize, len: usize) -> Vec<u8> {
    let seed = match payload {
        Payload::Zeros => return vec![0; len],
        Payload::Ones => return vec![0xff; len],
        Payload::Mixed(seed) => seed,
    };
    // Weyl's sequence, folded: every byte differs from its neighbours'.
    let byte = |at: usize| {
        let mixed = (seed ^ (at + index * 7919) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as u8
    };
    (0..len).map(byte).collect()
}

/// What RustCrypto makes of it: ciphertext and tag.
fn expected(oracle: &ChaCha20Poly1305, datagram: &Datagram) -> Vec<u8> {
    let mut text = datagram.plaintext.clone();
    let buffers = InOutBuf::from(text.as_mut_slice());
    let tag = oracle
        .encrypt_inout_detached(&datagram.nonce.into(), &[], buffers)
        .expect("it is short enough");
    text.extend_from_slice(&tag);
    text
}

fn seal(key: &Key, oracle: &ChaCha20Poly1305, datagrams: &mut [Datagram], is_general: bool) {
    let mut packets: Vec<_> = datagrams
        .iter_mut()
        .map(|datagram| {
            let (head_len, sealed_len) = (datagram.head_len, datagram.sealed_len());
            let text_len = datagram.wire.len() - 2 * GUARD - datagram.offset - TAG_LEN;
            // Padding is not handed over: it is made.
            let end = text_len - trailing_padding(&datagram.plaintext, datagram.head_len);
            let out = &mut datagram.wire[GUARD + datagram.offset..][..sealed_len];
            let rest = &datagram.plaintext[head_len..end];
            let packet = Sealing::with_head(datagram.counter, head_len, rest, out);
            match is_general {
                true => packet.with_nonce(&datagram.nonce),
                false => packet,
            }
        })
        .collect();
    key.seal_many(&mut packets).expect("the lengths fit");
    for datagram in datagrams {
        assert!(
            datagram.sealed() == expected(oracle, datagram),
            "it is sealed otherwise"
        );
        datagram.check_guards();
    }
}

/// Zeros at the end that may as well be padding, at most 16.
fn trailing_padding(plaintext: &[u8], head_len: usize) -> usize {
    let rest = plaintext[head_len..].iter().rev().take(16);
    rest.take_while(|&&byte| byte == 0).count()
}

fn open(key: &Key, datagrams: &mut [Datagram], is_general: bool) {
    let before: Vec<Vec<u8>> = datagrams.iter_mut().map(forge).collect();
    let mut packets: Vec<_> = datagrams
        .iter_mut()
        .map(|datagram| {
            let (at, len) = (GUARD + datagram.offset, datagram.sealed_len());
            let wire = &mut datagram.wire[at..][..len];
            let packet = match datagram.opens_in_place {
                true => Opening::in_place(datagram.counter, wire),
                false => {
                    let opened = &mut datagram.opened[at..][..len - TAG_LEN];
                    Opening::apart(datagram.counter, wire, opened)
                }
            };
            match is_general {
                true => packet.with_nonce(&datagram.nonce),
                false => packet,
            }
        })
        .collect();
    key.open_many(&mut packets);
    let authentic: Vec<bool> = packets.iter().map(Opening::is_authentic).collect();
    for ((datagram, before), is_authentic) in datagrams.iter().zip(before).zip(authentic) {
        assert_eq!(is_authentic, datagram.forgery.is_none());
        datagram.check_guards();
        let text_len = datagram.plaintext.len();
        let (text, untouched) = if datagram.opens_in_place {
            (&datagram.sealed()[..text_len], &before[..text_len])
        } else {
            assert!(datagram.sealed() == before, "it wrote where it should read");
            let opened = &datagram.opened[GUARD + datagram.offset..][..text_len];
            (opened, &[GUARD_BYTE; LEN_MAX + 17][..text_len])
        };
        if is_authentic {
            assert!(text == datagram.plaintext, "it is opened otherwise");
        } else {
            let is_erased = text.iter().all(|&byte| byte == 0);
            assert!(text == untouched || is_erased, "it released a forgery");
        }
    }
}

/// Flips a bit if the packet is to be forged; what is on the wire then.
fn forge(datagram: &mut Datagram) -> Vec<u8> {
    let (at, len) = (GUARD + datagram.offset, datagram.sealed_len());
    if let Some((byte, bit)) = datagram.forgery {
        datagram.wire[at + usize::from(byte) % len] ^= 1 << (bit % 8);
    }
    datagram.wire[at..][..len].to_vec()
}

fuzz_target!(|case: Case| {
    let key = Key::new(&case.key, Backend::detect().backend);
    let oracle = ChaCha20Poly1305::new(&case.key.into());
    let is_general = matches!(case.counter, Counter::Nonce(_));
    let mut datagrams: Vec<_> = (0..case.packets.len())
        .map(|index| Datagram::new(&case, index))
        .collect();
    seal(&key, &oracle, &mut datagrams, is_general);
    open(&key, &mut datagrams, is_general);
});
