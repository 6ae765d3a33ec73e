//! Randomness as an argument: what the state machines draw from, and a seeded one for tests.

use blake2::{Blake2s256, Digest};
use zeroize::Zeroizing;

/// A cryptographically secure source of random bytes.
pub trait Entropy {
    /// Fills all of `out`.
    ///
    /// # Errors
    /// [`EntropyNotReady`] where the source would have to wait (`getrandom(2)` early after boot);
    /// `out` must then not be used. No handshake is sent or answered in that case.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyNotReady>;
}

/// The system's random number generator is not initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's random number generator is not initialised")]
pub struct EntropyNotReady;

/// A uniformly random `u32`, as sender indices must be: none can be foretold from another.
///
/// # Errors
/// [`EntropyNotReady`] as from the source.
pub fn random_u32(entropy: &mut dyn Entropy) -> Result<u32, EntropyNotReady> {
    let mut bytes = [0; 4];
    entropy.fill(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Reproducible bytes from a seed, **for tests and simulations only**: whoever knows the seed knows
/// every key. BLAKE2s over seed and block number.
pub struct Seeded {
    seed: Zeroizing<[u8; 32]>,
    block: u64,
}

impl Seeded {
    /// The reproducible source of `seed`, **for tests and simulations only**.
    pub fn danger_new(seed: u64) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        if let Some(first) = bytes.first_chunk_mut() {
            *first = seed.to_le_bytes();
        }
        Self {
            seed: bytes,
            block: 0,
        }
    }
}

impl Entropy for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyNotReady> {
        for chunk in out.chunks_mut(32) {
            let block = Blake2s256::new()
                .chain_update(self.seed.as_slice())
                .chain_update(self.block.to_le_bytes())
                .finalize();
            for (out, byte) in chunk.iter_mut().zip(block) {
                *out = byte;
            }
            self.block = self.block.wrapping_add(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn seeds_differ_and_repeat() {
        let draw = |seed| {
            let mut bytes = [0; 100];
            Seeded::danger_new(seed).fill(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1)[..32], draw(1)[32..64]);
    }

    #[test]
    fn p18_indices_are_four_bytes_of_the_entropy_source() {
        struct Script(Vec<u8>);
        impl Entropy for Script {
            fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyNotReady> {
                let rest = self.0.split_off(out.len());
                out.copy_from_slice(&self.0);
                self.0 = rest;
                Ok(())
            }
        }
        // Nothing is derived, counted or kept: each index is four fresh bytes.
        let mut script = Script(vec![1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(random_u32(&mut script), Ok(1));
        assert_eq!(random_u32(&mut script), Ok(u32::MAX));
        assert_eq!(random_u32(&mut script), Ok(0));

        let mut entropy = Seeded::danger_new(7);
        let drawn: BTreeSet<u32> = (0..1000)
            .map(|_| random_u32(&mut entropy).unwrap())
            .collect();
        assert_eq!(drawn.len(), 1000);
    }
}
