//! A key, and which way a batch goes.

use core::fmt;

use zeroize::Zeroizing;

use crate::{
    Backend, LengthError, Opening, Sealing, backend::Kind, batch, library::LibraryKey, plain::Plain,
};

/// One key of ChaCha20-Poly1305. It erases itself when it is dropped.
pub struct Key {
    backend: Backend,
    words: Zeroizing<[u32; 8]>,
    library: LibraryKey,
}

impl Key {
    /// A key of 32 bytes.
    pub fn new(key: &[u8; 32], backend: Backend) -> Self {
        let (chunks, _) = key.as_chunks::<4>();
        Self {
            backend,
            words: Zeroizing::new(core::array::from_fn(|i| u32::from_le_bytes(chunks[i]))),
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
            Kind::Avx512(avx512) => {
                packets.iter_mut().for_each(Sealing::pad_in_place);
                avx512.seal(&self.words, packets);
            }
            Kind::Plain => {
                packets.iter_mut().for_each(Sealing::pad_in_place);
                batch::seal::<Plain>(&self.words, packets);
            }
            Kind::Library => packets
                .iter_mut()
                .for_each(|packet| self.library.seal(packet)),
        }
        Ok(())
    }

    /// Opens all `packets`, each of which says afterwards whether it is authentic. One that is not,
    /// or whose slices do not fit, does not disturb the others.
    pub fn open_many(&self, packets: &mut [Opening<'_>]) {
        // One that does not fit is never seen by what opens: it would read and write beyond slices.
        for run in packets.chunk_by_mut(|a, b| a.is_valid() == b.is_valid()) {
            if run.first().is_some_and(Opening::is_valid) {
                self.open_valid(run);
            } else {
                run.iter_mut()
                    .for_each(|packet| packet.is_authentic = false);
            }
        }
    }

    fn open_valid(&self, packets: &mut [Opening<'_>]) {
        match self.backend.0 {
            Kind::Avx512(avx512) => avx512.open(&self.words, packets),
            Kind::Plain => batch::open::<Plain>(&self.words, packets),
            Kind::Library => {
                for packet in packets {
                    packet.is_authentic = self.library.open(packet);
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
