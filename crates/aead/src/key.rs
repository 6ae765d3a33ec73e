//! A key, and which way a batch goes.

use core::fmt;

use crate::{Backend, LengthError, Opening, Sealing, backend::Kind, library::LibraryKey};

/// One key of ChaCha20-Poly1305. It erases itself when it is dropped.
pub struct Key {
    backend: Backend,
    library: LibraryKey,
}

impl Key {
    /// A key of 32 bytes.
    pub fn new(key: &[u8; 32], backend: Backend) -> Self {
        Self {
            backend,
            library: LibraryKey::new(key),
        }
    }

    /// What seals and opens.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Seals all `packets`. A counter is used once in a key's life.
    ///
    /// # Errors
    /// [`LengthError`] names the first packet whose slices do not fit; none was sealed then.
    pub fn seal_many(&self, packets: &mut [Sealing<'_>]) -> Result<(), LengthError> {
        if let Some(index) = packets.iter().position(|packet| !packet.is_valid()) {
            return Err(LengthError { index });
        }
        match self.backend.0 {
            Kind::Library => packets
                .iter_mut()
                .for_each(|packet| self.library.seal(packet)),
        }
        Ok(())
    }

    /// Opens all `packets`, each of which says afterwards whether it is authentic. One that is not,
    /// or whose slices do not fit, does not disturb the others.
    pub fn open_many(&self, packets: &mut [Opening<'_>]) {
        match self.backend.0 {
            Kind::Library => {
                for packet in packets {
                    packet.is_authentic = packet.len().is_some() && self.library.open(packet);
                }
            }
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
