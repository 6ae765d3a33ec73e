//! aws-lc: single packets, and processors without AVX-512.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::{NotAuthentic, Opening, Sealing, TAG_LEN};

/// A key of aws-lc, which erases itself.
#[derive(Debug)]
pub(crate) struct LibraryKey(LessSafeKey);

impl LibraryKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key)
            .expect("a ChaCha20-Poly1305 key is 32 bytes long");
        Self(LessSafeKey::new(key))
    }

    /// Seals a packet that is valid.
    #[inline(always)]
    pub(crate) fn seal(&self, packet: &mut Sealing<'_>) {
        let nonce = Nonce::assume_unique_for_key(packet.nonce.to_bytes());
        let len = packet.text_len();
        let (text, tag) = packet.out.split_at_mut(len);
        let sealed = if packet.head_len == 0 && packet.plaintext.len() == len {
            self.0
                .seal_out_of_place_scatter(nonce, Aad::empty(), packet.plaintext, text, &[], tag)
        } else {
            let (plaintext, padding) = text[packet.head_len..].split_at_mut(packet.plaintext.len());
            plaintext.copy_from_slice(packet.plaintext);
            padding.fill(0);
            self.0
                .seal_in_place_separate_tag(nonce, Aad::empty(), text)
                .map(|made| tag.copy_from_slice(made.as_ref()))
        };
        sealed.expect("the lengths were checked");
    }

    /// Seals one message in place and returns the tag.
    pub(crate) fn seal_one(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let made = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), text)
            .expect("a slice is not longer than what one nonce may encrypt");
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(made.as_ref());
        tag
    }

    /// Opens one message in place.
    pub(crate) fn open_one(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), NotAuthentic> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::from(aad), tag, text)
            .map(drop)
            .map_err(|_| NotAuthentic)
    }

    /// Opens a packet; false if it is not authentic.
    #[inline(always)]
    pub(crate) fn open(&self, packet: &mut Opening<'_>) -> bool {
        let nonce = Nonce::assume_unique_for_key(packet.nonce.to_bytes());
        if packet.sealed.is_empty() {
            return self
                .0
                .open_in_place(nonce, Aad::empty(), packet.out)
                .is_ok();
        }
        let (ciphertext, tag) = packet.sealed.split_at(packet.sealed.len() - TAG_LEN);
        self.0
            .open_separate_gather(nonce, Aad::empty(), ciphertext, tag, packet.out)
            .is_ok()
    }
}
