//! The cipher of data messages: what seals and opens with one transport key.
//! HOT
//!
//! Chosen once, when a gateway is made; there is one in this crate, that of the protocol. The seam
//! is here so that a measurement can put an empty cipher in its place and tell what the data path
//! costs without one.

use core::fmt;

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// The tag is wrong, or a slice has not the length that it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot seal or open")]
pub struct CipherError;

/// Makes transport keys.
pub trait Cipher: fmt::Debug + Send + Sync {
    /// A key for one direction of one session. It erases itself when it is dropped.
    fn key(&self, secret: &[u8; 32]) -> Box<dyn TransportKey>;
}

/// One direction of one session (paper 5.4.6). A counter is used once.
pub trait TransportKey: fmt::Debug + Send + Sync {
    /// Encrypts `plaintext` into `ciphertext`, which is as long, and `padding` into `tail`, which
    /// has 16 bytes more for the tag. The slices do not overlap.
    ///
    /// # Errors
    /// [`CipherError`] if the lengths are not so.
    fn seal(
        &self,
        counter: u64,
        plaintext: &[u8],
        ciphertext: &mut [u8],
        padding: &[u8],
        tail: &mut [u8],
    ) -> Result<(), CipherError>;

    /// Decrypts `body`, ciphertext and tag, in place.
    ///
    /// # Errors
    /// [`CipherError`] if the tag is wrong; no plaintext is in `body` then.
    fn open(&self, counter: u64, body: &mut [u8]) -> Result<(), CipherError>;
}

/// ChaCha20-Poly1305 of aws-lc, one packet at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct LibraryCipher;

impl Cipher for LibraryCipher {
    #[cold]
    fn key(&self, secret: &[u8; 32]) -> Box<dyn TransportKey> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, secret)
            .expect("a ChaCha20-Poly1305 key is 32 bytes long");
        Box::new(LibraryKey(LessSafeKey::new(key)))
    }
}

#[derive(Debug)]
struct LibraryKey(LessSafeKey);

impl TransportKey for LibraryKey {
    fn seal(
        &self,
        counter: u64,
        plaintext: &[u8],
        ciphertext: &mut [u8],
        padding: &[u8],
        tail: &mut [u8],
    ) -> Result<(), CipherError> {
        self.0
            .seal_out_of_place_scatter(
                nonce(counter),
                Aad::empty(),
                plaintext,
                ciphertext,
                padding,
                tail,
            )
            .map_err(|_| CipherError)
    }

    fn open(&self, counter: u64, body: &mut [u8]) -> Result<(), CipherError> {
        self.0
            .open_in_place(nonce(counter), Aad::empty(), body)
            .map(drop)
            .map_err(|_| CipherError)
    }
}

/// Four zero bytes and the counter, little-endian (paper 5.4.6).
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
