//! A batch of packets of one length, as a superpacket is cut: plaintexts side by side, and
//! datagrams with room for WireGuard's header in front of each.

use weapon_aead::TAG_LEN;

/// Bytes in front of each ciphertext: WireGuard's header.
const HEADER_LEN: usize = 16;

/// Plaintexts, what they are sealed to, and what that is opened to.
#[derive(Clone, Debug)]
pub struct Batch {
    size: usize,
    plain: Vec<u8>,
    wire: Vec<u8>,
    opened: Vec<u8>,
}

impl Batch {
    /// `count` packets of `size` bytes, not all alike.
    pub fn new(size: usize, count: usize) -> Self {
        Self {
            size,
            plain: (0..size * count)
                .map(|at| (at * 31 + at / 251) as u8)
                .collect(),
            wire: vec![0; (HEADER_LEN + size + TAG_LEN) * count],
            opened: vec![0; size * count],
        }
    }

    /// Bytes of plaintext in all packets.
    pub fn bytes(&self) -> usize {
        self.plain.len()
    }

    /// How many packets there are.
    pub fn count(&self) -> usize {
        self.plain.len() / self.size
    }

    /// For each packet its counter, its plaintext, and where ciphertext and tag go.
    pub fn to_seal(&mut self) -> impl Iterator<Item = (u64, &[u8], &mut [u8])> {
        let plain = self.plain.chunks_exact(self.size);
        let wire = self.wire.chunks_exact_mut(HEADER_LEN + self.size + TAG_LEN);
        (0..)
            .zip(plain.zip(wire))
            .map(|(counter, (plain, wire))| (counter, plain, &mut wire[HEADER_LEN..]))
    }

    /// For each packet its counter, ciphertext with tag, and where the plaintext goes.
    pub fn to_open(&mut self) -> impl Iterator<Item = (u64, &[u8], &mut [u8])> {
        let wire = self.wire.chunks_exact(HEADER_LEN + self.size + TAG_LEN);
        let opened = self.opened.chunks_exact_mut(self.size);
        (0..)
            .zip(wire.zip(opened))
            .map(|(counter, (wire, opened))| (counter, &wire[HEADER_LEN..], opened))
    }

    /// Ciphertexts and tags, headers included.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Whether what was opened is what was sealed.
    pub fn is_opened(&self) -> bool {
        self.plain == self.opened
    }

    /// Forgets what was opened.
    pub fn forget(&mut self) {
        self.opened.fill(0);
    }
}
