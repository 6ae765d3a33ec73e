//! Noise's symmetric state (Noise §5.2): chaining key and transcript hash.

use crate::crypto::{self, BadTag, SecretKey32, TAG_LEN};

/// Chaining key and hash of one handshake.
#[derive(Clone)]
pub(crate) struct SymmetricState {
    chaining_key: SecretKey32,
    hash: [u8; 32],
}

impl SymmetricState {
    /// The state before the first message: construction, prologue, then the responder's static key
    /// as IK's pre-message (paper §5.4.2, the first three lines).
    pub(crate) fn new(prologue: &[u8], responder_static: &[u8; 32]) -> Self {
        // The construction's name is longer than a hash, hence hashed (Noise §5.2).
        let construction = crypto::hash(&[crate::protocol::CONSTRUCTION]);
        let mut state = Self {
            chaining_key: SecretKey32::from_bytes(&construction),
            hash: construction,
        };
        state.mix_hash(prologue);
        state.mix_hash(responder_static);
        state
    }

    /// H := HASH(H ‖ data)
    pub(crate) fn mix_hash(&mut self, data: &[u8]) {
        self.hash = crypto::hash(&[&self.hash, data]);
    }

    /// C := KDF1(C, input). Noise derives a key here as well, which the pattern never uses.
    pub(crate) fn mix(&mut self, input: &[u8]) {
        crypto::kdf(&mut self.chaining_key, input, &mut []);
    }

    /// (C, κ) := KDF2(C, input)
    pub(crate) fn mix_key(&mut self, input: &SecretKey32) -> SecretKey32 {
        let mut key = SecretKey32::zero();
        crypto::kdf(&mut self.chaining_key, input.expose(), &mut [&mut key]);
        key
    }

    /// (C, τ, κ) := KDF3(C, psk); H := HASH(H ‖ τ)
    pub(crate) fn mix_psk(&mut self, psk: &SecretKey32) -> SecretKey32 {
        let mut hashed = SecretKey32::zero();
        let mut key = SecretKey32::zero();
        crypto::kdf(
            &mut self.chaining_key,
            psk.expose(),
            &mut [&mut hashed, &mut key],
        );
        self.mix_hash(hashed.expose());
        key
    }

    /// Seals `plaintext` into `out`, longer by a tag; the ciphertext enters the hash.
    pub(crate) fn seal(&mut self, key: &SecretKey32, plaintext: &[u8], out: &mut [u8]) {
        crypto::seal(key, 0, &self.hash, plaintext, out);
        self.mix_hash(out);
    }

    /// Opens `sealed` into `out`, shorter by a tag; the ciphertext enters the hash.
    pub(crate) fn open(
        &mut self,
        key: &SecretKey32,
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), BadTag> {
        debug_assert_eq!(sealed.len(), out.len().saturating_add(TAG_LEN));
        crypto::open(key, 0, &self.hash, sealed, out)?;
        self.mix_hash(sealed);
        Ok(())
    }

    /// (T1, T2) := KDF2(C, ε): the initiator's sending key, then the responder's (paper §5.4.5).
    pub(crate) fn split(mut self) -> (SecretKey32, SecretKey32) {
        let mut second = SecretKey32::zero();
        crypto::kdf(&mut self.chaining_key, &[], &mut [&mut second]);
        (self.chaining_key, second)
    }

    /// The chaining key.
    #[cfg(test)]
    pub(crate) fn chaining_key(&self) -> &[u8; 32] {
        self.chaining_key.expose()
    }

    /// Noise's handshake hash.
    #[cfg(test)]
    pub(crate) fn handshake_hash(&self) -> [u8; 32] {
        self.hash
    }
}
