//! The three kinds of keys that people handle: private, public, preshared; and their text.

use core::{fmt, str::FromStr};

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

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
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
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
            position: position.saturating_add(1),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn p21_a_private_key_is_clamped_when_stored() {
        // The kernel's netns.sh: a key that starts with "/" reads back with "+" in its place.
        let text = format!("/{}=", "/".repeat(41) + "8");
        assert_eq!(text.len(), KEY_TEXT_LEN);
        let key: PrivateKey = text.parse().unwrap();
        assert!(key.to_base64().starts_with("+P"), "{}", *key.to_base64());
        assert_eq!(key.expose()[0], 0b1111_1000);
        assert_eq!(key.expose()[31], 0b0111_1111);

        let zero = PrivateKey::from_bytes(&[0; 32]);
        assert_eq!(zero.expose()[31], 0b0100_0000);
    }

    #[test]
    fn p21_the_same_private_key_again_is_equal() {
        let key = PrivateKey::from_bytes(&[0xff; 32]);
        assert_eq!(key, PrivateKey::from_bytes(key.expose()));
        assert_eq!(key, key.to_base64().parse().unwrap());
        assert_ne!(key, PrivateKey::from_bytes(&[0x7f; 32]));
    }

    #[test]
    fn secrets_are_not_printed() {
        let bytes = [0xa5; 32];
        let private = PrivateKey::from_bytes(&bytes);
        let psk = PresharedKey::from_bytes(&bytes);
        assert_eq!(
            format!("{private:?} {psk:?}"),
            "PrivateKey(..) PresharedKey(..)"
        );
    }

    #[test]
    fn public_keys_show_and_sort_as_their_bytes() {
        let key = PublicKey::from_bytes([0; 32]);
        let text = "A".repeat(43) + "=";
        assert_eq!(key.to_string(), text);
        assert_eq!(format!("{key:?}"), format!("PublicKey({text})"));
        assert!(key < PublicKey::from_bytes([1; 32]));
    }

    #[test]
    fn a_text_that_is_no_key_says_why() {
        let good = "A".repeat(42) + "E=";
        assert!(good.parse::<PublicKey>().is_ok());
        let cases = [
            (String::new(), KeyError::Length { found: 0 }),
            (good[..43].to_owned(), KeyError::Length { found: 43 }),
            ("0".repeat(64), KeyError::Length { found: 64 }),
            (format!("{good}\n"), KeyError::Length { found: 45 }),
            ("A".repeat(44), KeyError::Padding),
            ("A".repeat(42) + "==", KeyError::Padding),
            ("A".repeat(42) + "=A", KeyError::Padding),
            ("A".repeat(42) + "F=", KeyError::NotCanonical),
            ("A".repeat(41) + "==E", KeyError::Character { position: 42 }),
            (
                "A".repeat(9) + "_" + &"A".repeat(33) + "=",
                KeyError::Character { position: 10 },
            ),
            (
                "A".repeat(40) + "ö" + "A=",
                KeyError::Character { position: 41 },
            ),
            ("A".repeat(42) + ".=", KeyError::Character { position: 43 }),
            ("A".repeat(43) + " ", KeyError::Character { position: 44 }),
        ];
        for (text, why) in cases {
            assert_eq!(text.parse::<PublicKey>(), Err(why), "{text}");
            assert_eq!(text.parse::<PrivateKey>().err(), Some(why), "{text}");
            assert_eq!(text.parse::<PresharedKey>().err(), Some(why), "{text}");
        }
    }

    #[test]
    fn keys_of_a_shared_secret_are_what_the_document_says() {
        // docs/shared-secret.md names these, so that other programs can be held against them.
        let secret = core::array::from_fn(|i| i as u8);
        let site_a = derive_site_keys(&secret, "site-a");
        let site_b = derive_site_keys(&secret, "site-b");
        let psk = derive_psk(&secret, "site-a", "site-b");
        assert_eq!(
            *site_a.to_base64(),
            "kBuCAmjimudZuCECuHjwQsH99OV6zOB4mtydU/DHvHE="
        );
        assert_eq!(
            *site_b.to_base64(),
            "wK3Bv4/6gyKhMDrD88GKpiM09UN7/TCJj1OG26nmdng="
        );
        assert_eq!(
            *psk.to_base64(),
            "TTLARtf8+R67W60w9wA6y0tjjVUEGyFn7PMpiqORGoc="
        );
    }

    #[test]
    fn derived_psks_do_not_depend_on_who_asks_but_on_both_names() {
        let secret = [3; 32];
        assert_eq!(derive_psk(&secret, "a", "b"), derive_psk(&secret, "b", "a"));
        assert_ne!(derive_psk(&secret, "a", "b"), derive_psk(&secret, "a", "c"));
        // Without the lengths these would read alike.
        assert_ne!(
            derive_psk(&secret, "a", "bc"),
            derive_psk(&secret, "ab", "c")
        );
        assert_ne!(
            derive_psk(&secret, "a", "b"),
            derive_psk(&[4; 32], "a", "b")
        );
    }

    proptest! {
        #[test]
        fn text_and_bytes_are_inverse(bytes: [u8; 32]) {
            let key = PublicKey::from_bytes(bytes);
            prop_assert_eq!(key.to_string().parse(), Ok(key));
            let psk = PresharedKey::from_bytes(&bytes);
            prop_assert_eq!(psk.to_base64().parse(), Ok(psk));
            let private = PrivateKey::from_bytes(&bytes);
            prop_assert_eq!(private.to_base64().parse(), Ok(private));
        }

        #[test]
        fn no_malformed_text_yields_a_key(text in "[A-Za-z0-9+/=_ ö-]{40,48}") {
            if let Ok(key) = text.parse::<PublicKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }

        #[test]
        fn no_damaged_text_yields_its_key(bytes: [u8; 32], place in 0_usize..44, other: char) {
            let key = PublicKey::from_bytes(bytes);
            let mut text: Vec<char> = key.to_string().chars().collect();
            prop_assume!(text[place] != other);
            text[place] = other;
            let text: String = text.into_iter().collect();
            prop_assert_ne!(text.parse(), Ok(key));
        }
    }
}
