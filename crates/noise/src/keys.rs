//! The three kinds of keys that people handle: private, public, preshared; and their text.

use core::{fmt, str::FromStr};

use base64ct::{Base64, Encoding};
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::{self, Scalar, SecretKey32};

/// Bytes of every key.
pub const KEY_LEN: usize = 32;
/// Characters of every key's text.
pub const KEY_TEXT_LEN: usize = 44;

/// Why a text is not a key. Never repeats the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 44 characters.
    #[error("a key has 44 characters of base64, this has {found}")]
    Length {
        /// Bytes of the text.
        found: usize,
    },
    /// A character that base64 does not have, or padding elsewhere than at the end.
    #[error("character {position} of the key is not base64")]
    Character {
        /// Counted from 1.
        position: usize,
    },
    /// 44 characters that do not end in exactly one `=`, hence not 32 bytes.
    #[error("a key ends in one \"=\"")]
    Padding,
    /// The unused bits of the last character are not zero: two texts for one key.
    #[error("the last character before \"=\" is not what 32 bytes encode to: a typing error?")]
    NotCanonical,
}

/// A gateway's private key. Clamped (RFC 7748 §5), erased on drop, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(SecretKey32);

impl PrivateKey {
    /// The key of 32 random bytes; they are clamped, so that what is stored is what is used.
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Self {
        Self::clamp(SecretKey32::from_bytes(bytes))
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.scalar().public())
    }

    /// The secret bytes, for the interfaces that hand them on (UAPI, key files).
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        self.0.expose()
    }

    /// The secret as text, erased on drop.
    pub fn to_base64(&self) -> Zeroizing<String> {
        encode(self.expose())
    }

    pub(crate) fn scalar(&self) -> Scalar {
        Scalar::new(self.expose())
    }

    fn clamp(mut key: SecretKey32) -> Self {
        let bytes = key.expose_mut();
        bytes[0] &= 0b1111_1000;
        bytes[31] &= 0b0111_1111;
        bytes[31] |= 0b0100_0000;
        Self(key)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

impl FromStr for PrivateKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(Self::clamp)
    }
}

/// A public key: a peer's name in the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_LEN]);

impl PublicKey {
    /// The key in `bytes`; every 32 bytes are one, though not all can be agreed with (see
    /// [`Remote::is_low_order`](crate::Remote::is_low_order)).
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(|key| Self(*key.expose()))
    }
}

/// A secret that two peers share besides their keys. 32 zero bytes mean that there is none (paper
/// §5.2). Erased on drop, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PresharedKey(SecretKey32);

impl PresharedKey {
    /// The key in `bytes`.
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Self {
        Self(SecretKey32::from_bytes(bytes))
    }

    /// No preshared key: 32 zero bytes.
    pub fn none() -> Self {
        Self(SecretKey32::zero())
    }

    /// Whether these are the 32 zero bytes that mean none.
    pub fn is_none(&self) -> bool {
        *self == Self::none()
    }

    /// The secret bytes, for the interfaces that hand them on (UAPI, key files).
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        self.0.expose()
    }

    /// The secret as text, erased on drop.
    pub fn to_base64(&self) -> Zeroizing<String> {
        encode(self.expose())
    }

    pub(crate) fn secret(&self) -> &SecretKey32 {
        &self.0
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(..)")
    }
}

impl FromStr for PresharedKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(Self)
    }
}

/// The private key of the site `name` under a secret that all sites share; see
/// `docs/shared-secret.md`.
///
/// HKDF-SHA256 with salt `weapon v1 site key` and the name, length first, as info.
pub fn derive_site_keys(secret: &[u8; KEY_LEN], name: &str) -> PrivateKey {
    let key = crypto::hkdf_sha256(
        b"weapon v1 site key",
        secret,
        &[&length(name), name.as_bytes()],
    );
    PrivateKey::clamp(key)
}

/// The preshared key between the sites `one` and `other` under a secret that all sites share, the
/// same whichever is named first; see `docs/shared-secret.md`.
///
/// HKDF-SHA256 with salt `weapon v1 psk` and both names, sorted, each length first, as info.
pub fn derive_psk(secret: &[u8; KEY_LEN], one: &str, other: &str) -> PresharedKey {
    let (first, second) = if one <= other {
        (one, other)
    } else {
        (other, one)
    };
    PresharedKey(crypto::hkdf_sha256(
        b"weapon v1 psk",
        secret,
        &[
            &length(first),
            first.as_bytes(),
            &length(second),
            second.as_bytes(),
        ],
    ))
}

/// Eight bytes, big-endian: with the length in front, no two lists of names read alike.
fn length(name: &str) -> [u8; 8] {
    (name.len() as u64).to_be_bytes()
}

/// Base64 in constant time, as the text may be a secret.
fn encode(bytes: &[u8; KEY_LEN]) -> Zeroizing<String> {
    Zeroizing::new(Base64::encode_string(bytes))
}

fn decode(text: &str) -> Result<SecretKey32, KeyError> {
    if text.len() != KEY_TEXT_LEN {
        return Err(KeyError::Length { found: text.len() });
    }
    let mut key = SecretKey32::zero();
    // One byte more than a key, so that 44 characters without padding have room.
    let mut bytes = Zeroizing::new([0; KEY_LEN + 1]);
    match Base64::decode(text, bytes.as_mut_slice()) {
        Ok(decoded) if decoded.len() == KEY_LEN => {
            key.expose_mut().copy_from_slice(decoded);
            Ok(key)
        }
        Ok(decoded) => {
            debug_assert_ne!(decoded.len(), KEY_LEN);
            Err(KeyError::Padding)
        }
        Err(_) => Err(why_not(text)),
    }
}

/// What is wrong with 44 characters that were refused. Takes a time that depends on them: what is
/// not a key is not a secret.
fn why_not(text: &str) -> KeyError {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let (digits, end) = text.as_bytes().split_at(KEY_TEXT_LEN - 2);
    if let Some(position) = digits.iter().position(|byte| !digit(byte)) {
        return KeyError::Character {
            position: position + 1,
        };
    }
    match end {
        [last, b'='] if digit(last) => KeyError::NotCanonical,
        [b'=', _] => KeyError::Padding,
        [last, _] if !digit(last) => KeyError::Character {
            position: KEY_TEXT_LEN - 1,
        },
        [_, last] if !digit(last) => KeyError::Character {
            position: KEY_TEXT_LEN,
        },
        _ => KeyError::Padding,
    }
}

impl Zeroize for PresharedKey {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}
