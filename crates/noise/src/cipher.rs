//! The cipher of data messages: what seals and opens with one transport key.
//! HOT
//!
//! Chosen once, when a gateway is made: a [`Backend`] of ChaCha20-Poly1305, which is the
//! protocol's. The seam is here so that a measurement can put an empty cipher in its place and tell
//! what the data path costs without one.

use core::fmt;

use weapon_aead::{Backend, Key, LengthError, Opening, Sealing};

/// Makes transport keys.
pub trait Cipher: fmt::Debug + Send + Sync {
    /// A key for one direction of one session. It erases itself when it is dropped.
    fn key(&self, secret: &[u8; 32]) -> Box<dyn TransportKey>;
}

/// One direction of one session (paper 5.4.6). Many packets at once, because that is cheaper for
/// each of them.
pub trait TransportKey: fmt::Debug + Send + Sync {
    /// Seals all `packets`. A counter is used once.
    ///
    /// # Errors
    /// [`LengthError`] if the slices of one do not fit together; none was sealed then.
    fn seal_many(&self, packets: &mut [Sealing<'_>]) -> Result<(), LengthError>;

    /// Opens all `packets`, each of which says afterwards whether it is authentic. One that is not
    /// does not disturb the others, and nothing of its plaintext is released.
    fn open_many(&self, packets: &mut [Opening<'_>]);
}

impl Cipher for Backend {
    #[cold]
    fn key(&self, secret: &[u8; 32]) -> Box<dyn TransportKey> {
        Box::new(Key::new(secret, *self))
    }
}

impl TransportKey for Key {
    fn seal_many(&self, packets: &mut [Sealing<'_>]) -> Result<(), LengthError> {
        Self::seal_many(self, packets)
    }

    fn open_many(&self, packets: &mut [Opening<'_>]) {
        Self::open_many(self, packets);
    }
}
