//! A nonce.

/// A nonce of 96 bits: four bytes that are zeros with WireGuard, and its counter (paper 5.4.6).
///
/// In two numbers, and read as them: what was just written is slow to load in other pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nonce {
    pub(crate) first: u32,
    pub(crate) counter: u64,
}

impl Nonce {
    #[inline]
    pub(crate) fn of_wireguard(counter: u64) -> Self {
        Self { first: 0, counter }
    }

    pub(crate) fn new(&[a, b, c, d, counter @ ..]: &[u8; 12]) -> Self {
        Self {
            first: u32::from_le_bytes([a, b, c, d]),
            counter: u64::from_le_bytes(counter),
        }
    }

    /// In three words, as the state of ChaCha20 has it.
    #[inline(always)]
    pub(crate) fn words(self) -> [u32; 3] {
        [self.first, self.counter as u32, (self.counter >> 32) as u32]
    }

    #[cfg(feature = "library")]
    #[inline(always)]
    pub(crate) fn to_bytes(self) -> [u8; 12] {
        let number = u128::from(self.first) | u128::from(self.counter) << 32;
        let [nonce @ .., _, _, _, _] = number.to_le_bytes();
        nonce
    }
}
