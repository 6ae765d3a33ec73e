//! A batch that is sealed and opened by one backend, by aws-lc and by RustCrypto.

use chacha20poly1305::{ChaCha20Poly1305, KeyInit, aead::AeadInOut};
use weapon_aead::{Backend, Key, Opening, Sealing, TAG_LEN};

use crate::{arena::Arena, random::Random};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Nonce {
    Counter(u64),
    Bytes([u8; 12]),
}

impl Nonce {
    fn bytes(self) -> [u8; 12] {
        match self {
            Self::Counter(counter) => {
                let mut bytes = [0; 12];
                bytes[4..].copy_from_slice(&counter.to_le_bytes());
                bytes
            }
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// How a packet lies in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) nonce: Nonce,
    /// Bytes of plaintext that are where their ciphertext will be.
    pub(crate) head_len: usize,
    /// Bytes of plaintext that are elsewhere.
    pub(crate) plaintext_len: usize,
    pub(crate) padding: usize,
    /// Where the plaintext begins behind a multiple of 64, and where the packet.
    pub(crate) offsets: [usize; 2],
    /// When it is opened.
    pub(crate) is_opened_in_place: bool,
}

impl Packet {
    /// All of the plaintext is elsewhere.
    pub(crate) fn apart(counter: u64, len: usize) -> Self {
        Self {
            nonce: Nonce::Counter(counter),
            head_len: 0,
            plaintext_len: len,
            padding: 0,
            offsets: [0, 0],
            is_opened_in_place: false,
        }
    }

    pub(crate) fn in_place(counter: u64, len: usize) -> Self {
        Self {
            head_len: len,
            plaintext_len: 0,
            is_opened_in_place: true,
            ..Self::apart(counter, len)
        }
    }

    /// About `len` bytes in a shape that `random` chooses; exactly so many with the padding.
    pub(crate) fn random(random: &mut Random, counter: u64, len: usize) -> Self {
        let padding = random.below(41).min(len) * random.below(2);
        let len = len - padding;
        let head_len = match random.below(3) {
            0 => 0,
            1 => len,
            _ => random.below(len / 64 + 1) * 64,
        };
        let nonce = if random.below(4) == 0 {
            let mut bytes = [0; 12];
            random.fill(&mut bytes);
            Nonce::Bytes(bytes)
        } else {
            Nonce::Counter(counter)
        };
        Self {
            nonce,
            head_len,
            plaintext_len: len - head_len,
            padding,
            offsets: [random.below(64), random.below(64)],
            is_opened_in_place: random.below(2) == 0,
        }
    }

    /// Bytes that are encrypted.
    pub(crate) fn text_len(&self) -> usize {
        self.head_len + self.plaintext_len + self.padding
    }

    fn sealing<'a>(&self, plaintext: &'a [u8], out: &'a mut [u8]) -> Sealing<'a> {
        let counter = match self.nonce {
            Nonce::Counter(counter) => counter,
            Nonce::Bytes(_) => 0,
        };
        let sealing = if self.plaintext_len == 0 && self.padding == 0 {
            Sealing::in_place(counter, out)
        } else if self.head_len == 0 {
            Sealing::apart(counter, plaintext, out)
        } else {
            Sealing::with_head(counter, self.head_len, plaintext, out)
        };
        match self.nonce {
            Nonce::Counter(_) => sealing,
            Nonce::Bytes(bytes) => sealing.with_nonce(&bytes),
        }
    }

    pub(crate) fn opening<'a>(&self, sealed: &'a [u8], out: &'a mut [u8]) -> Opening<'a> {
        match self.nonce {
            Nonce::Counter(counter) => Opening::apart(counter, sealed, out),
            Nonce::Bytes(bytes) => Opening::apart(0, sealed, out).with_nonce(&bytes),
        }
    }
}

/// Where the packets of a batch are before they are sealed.
pub(crate) struct Unsealed {
    plaintexts: Arena,
    /// With the heads.
    wire: Arena,
}

impl Unsealed {
    fn new(random: &mut Random, packets: &[Packet]) -> Self {
        let plaintexts = packets
            .iter()
            .map(|packet| (packet.plaintext_len, packet.offsets[0]));
        let plaintexts = Arena::new(random, plaintexts);
        let wire = packets
            .iter()
            .map(|packet| (packet.text_len() + TAG_LEN, packet.offsets[1]));
        let wire = Arena::new(random, wire);
        Self { plaintexts, wire }
    }

    /// What one backend makes of it.
    fn seal(&self, key: &Key, packets: &[Packet]) -> Arena {
        let mut sealed = self.wire.clone();
        let mut sealings: Vec<_> = sealed
            .all_mut()
            .into_iter()
            .zip(packets)
            .enumerate()
            .map(|(i, (out, packet))| packet.sealing(self.plaintexts.get(i), out))
            .collect();
        key.seal_many(&mut sealings).unwrap();
        sealed
    }

    /// The plaintexts where the ciphertexts will be, padding included.
    fn in_place(&self, packets: &[Packet]) -> Arena {
        let mut all = self.wire.clone();
        for (i, packet) in packets.iter().enumerate() {
            let text_len = packet.text_len();
            let rest = &mut all.get_mut(i)[packet.head_len..text_len];
            let (plaintext, padding) = rest.split_at_mut(packet.plaintext_len);
            plaintext.copy_from_slice(self.plaintexts.get(i));
            padding.fill(0);
        }
        all
    }
}

/// A batch, and what it should become according to RustCrypto.
pub(crate) struct Batch<'a> {
    pub(crate) packets: &'a [Packet],
    pub(crate) sealed: Arena,
    /// The sealed one after it was opened in place.
    pub(crate) opened: Arena,
}

impl<'a> Batch<'a> {
    /// Seals `packets` with `backend`, with aws-lc and with RustCrypto, who must agree about every
    /// byte of the packets and of what is between them.
    pub(crate) fn seal(
        random: &mut Random,
        key: &[u8; 32],
        backend: Backend,
        packets: &'a [Packet],
    ) -> Self {
        let unsealed = Unsealed::new(random, packets);
        let mut opened = unsealed.in_place(packets);
        let mut sealed = opened.clone();
        let cipher = ChaCha20Poly1305::new(key.into());
        for (i, packet) in packets.iter().enumerate() {
            let text_len = packet.text_len();
            let (text, tag) = sealed.get_mut(i).split_at_mut(text_len);
            let nonce = packet.nonce.bytes();
            let made = cipher
                .encrypt_inout_detached((&nonce).into(), b"", text.into())
                .unwrap();
            tag.copy_from_slice(&made);
            opened.get_mut(i)[text_len..].copy_from_slice(&made);
        }
        for backend in [backend, Backend::library()] {
            let made = unsealed.seal(&Key::new(key, backend), packets);
            made.assert_same(&sealed, &format!("sealed by {}", backend.name()));
        }
        Self {
            packets,
            sealed,
            opened,
        }
    }

    /// Opens all packets as each of them wants it, and looks at every byte.
    pub(crate) fn open(&self, random: &mut Random, key: &Key) {
        let name = key.backend().name();
        let (mut in_place, mut in_place_after) = (self.sealed.clone(), self.sealed.clone());
        let mut apart = self.output(random);
        let mut apart_after = apart.clone();
        for (i, packet) in self.packets.iter().enumerate() {
            if packet.is_opened_in_place {
                in_place_after
                    .get_mut(i)
                    .copy_from_slice(self.opened.get(i));
            } else {
                let text = &self.opened.get(i)[..packet.text_len()];
                apart_after.get_mut(i).copy_from_slice(text);
            }
        }
        let mut openings: Vec<_> = in_place
            .all_mut()
            .into_iter()
            .zip(apart.all_mut())
            .zip(self.packets)
            .enumerate()
            .map(|(i, ((body, out), packet))| {
                if packet.is_opened_in_place {
                    packet.opening(&[], body)
                } else {
                    packet.opening(self.sealed.get(i), out)
                }
            })
            .collect();
        key.open_many(&mut openings);
        assert!(
            openings.iter().all(Opening::is_authentic),
            "opened by {name}"
        );
        in_place.assert_same(&in_place_after, &format!("opened in place by {name}"));
        apart.assert_same(&apart_after, &format!("opened apart by {name}"));
    }

    /// Room for the plaintexts.
    pub(crate) fn output(&self, random: &mut Random) -> Arena {
        let texts = self
            .packets
            .iter()
            .map(|packet| (packet.text_len(), packet.offsets[0]));
        Arena::new(random, texts)
    }
}

/// Seals and opens `packets` with `backend` and the two others.
pub(crate) fn check(random: &mut Random, backend: Backend, packets: &[Packet]) {
    let key = random.key();
    let batch = Batch::seal(random, &key, backend, packets);
    batch.open(random, &Key::new(&key, backend));
}
