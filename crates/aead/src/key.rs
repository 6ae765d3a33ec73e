//! A key, and which way a batch goes.

use core::fmt;

use zeroize::Zeroizing;

#[cfg(feature = "library")]
use crate::library::LibraryKey;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
use crate::share;
use crate::{
    Backend, LengthError, NotAuthentic, Opening, Sealing, TAG_LEN,
    backend::Kind,
    plain::{self, Plain},
    single,
};

/// One key of ChaCha20-Poly1305. It erases itself when it is dropped.
pub struct Key {
    backend: Backend,
    words: Zeroizing<[u32; 8]>,
    #[cfg(feature = "library")]
    library: LibraryKey,
}

impl Key {
    /// A key of 32 bytes.
    pub fn new(key: &[u8; 32], backend: Backend) -> Self {
        let (chunks, _) = key.as_chunks::<4>();
        Self {
            backend,
            words: Zeroizing::new(core::array::from_fn(|i| u32::from_le_bytes(chunks[i]))),
            #[cfg(feature = "library")]
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
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            Kind::Avx512 {
                proof,
                with_library,
            } => {
                if with_library && packets.len() <= share::FEW {
                    self.seal_each(packets);
                    return Ok(());
                }
                let vectors = share::vectors(packets, with_library, share::SEAL);
                let (vectors, rest) = packets.split_at_mut(vectors);
                vectors.iter_mut().for_each(Sealing::pad_in_place);
                if !vectors.is_empty() {
                    proof.seal(&self.words, vectors);
                }
                self.seal_each(rest);
            }
            Kind::Plain => {
                packets.iter_mut().for_each(Sealing::pad_in_place);
                plain::seal(&self.words, packets);
            }
            #[cfg(feature = "library")]
            Kind::Library => self.seal_each(packets),
        }
        Ok(())
    }

    /// Opens all `packets`, each of which says afterwards whether it is authentic. One that is not,
    /// or whose slices do not fit, does not disturb the others.
    pub fn open_many(&self, packets: &mut [Opening<'_>]) {
        match self.backend.0 {
            #[cfg(all(target_arch = "x86_64", feature = "std"))]
            Kind::Avx512 {
                proof,
                with_library,
            } => {
                if with_library && packets.len() <= share::FEW {
                    self.open_each_valid(packets);
                    return;
                }
                for packets in valid_runs(packets) {
                    let vectors = share::vectors(packets, with_library, share::OPEN);
                    let (vectors, rest) = packets.split_at_mut(vectors);
                    if !vectors.is_empty() {
                        proof.open(&self.words, vectors);
                    }
                    self.open_each(rest);
                }
            }
            Kind::Plain => {
                for packets in valid_runs(packets) {
                    plain::open(&self.words, packets);
                }
            }
            #[cfg(feature = "library")]
            Kind::Library => self.open_each_valid(packets),
        }
    }

    /// Seals one message in place, with any nonce and with additional data that are authenticated
    /// but not encrypted (RFC 8439 section 2.8). Returns the tag. A nonce is used once in a key's
    /// life.
    pub fn seal_one(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        #[cfg(feature = "library")]
        if self.backend.0 != Kind::Plain {
            return self.library.seal_one(nonce, aad, text);
        }
        single::seal::<Plain>(&self.words, nonce, aad, text)
    }

    /// Opens one message in place.
    ///
    /// # Errors
    /// [`NotAuthentic`] if the tag is wrong; nothing of the plaintext is in `text` then.
    pub fn open_one(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), NotAuthentic> {
        #[cfg(feature = "library")]
        if self.backend.0 != Kind::Plain {
            return self.library.open_one(nonce, aad, text, tag);
        }
        single::open::<Plain>(&self.words, nonce, aad, text, tag)
    }

    /// With the library, one after the other. Without it, there is nothing left for it.
    #[inline(always)]
    #[cfg(any(feature = "library", all(target_arch = "x86_64", feature = "std")))]
    fn seal_each(&self, packets: &mut [Sealing<'_>]) {
        #[cfg(feature = "library")]
        for packet in packets {
            self.library.seal(packet);
        }
        #[cfg(not(feature = "library"))]
        debug_assert!(packets.is_empty());
    }

    /// As [`Key::seal_each`]; those whose slices do not fit are not authentic.
    #[inline(always)]
    #[cfg(any(feature = "library", all(target_arch = "x86_64", feature = "std")))]
    fn open_each_valid(&self, packets: &mut [Opening<'_>]) {
        #[cfg(feature = "library")]
        for packet in packets {
            packet.is_authentic = packet.is_valid() && self.library.open(packet);
        }
        #[cfg(not(feature = "library"))]
        debug_assert!(packets.is_empty());
    }

    /// As [`Key::seal_each`].
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    fn open_each(&self, packets: &mut [Opening<'_>]) {
        #[cfg(feature = "library")]
        for packet in packets {
            packet.is_authentic = self.library.open(packet);
        }
        #[cfg(not(feature = "library"))]
        debug_assert!(packets.is_empty());
    }
}

/// The packets whose slices fit, mostly all of them at once. The others are not authentic, and what
/// opens never sees them: it would read and write beyond their slices.
fn valid_runs<'p, 'a>(
    packets: &'p mut [Opening<'a>],
) -> impl Iterator<Item = &'p mut [Opening<'a>]> {
    for packet in &mut *packets {
        packet.is_authentic = false;
    }
    packets.split_mut(|packet| !packet.is_valid())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
