//! The primitives of the protocol under the paper's names (§5.4): DH, AEAD, XAEAD, HASH, MAC, KDF.

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, UnparsedPublicKey, X25519},
    encoding::{AsBigEndian, Curve25519SeedBin},
    hkdf,
};
use blake2::{
    Blake2s256, Blake2sMac, Digest,
    digest::{FixedOutput, KeyInit, Update, consts::U16},
};
use chacha20poly1305::{XChaCha20Poly1305, XNonce, aead::AeadInOut};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of an AEAD tag.
pub(crate) const TAG_LEN: usize = weapon_wire::message::TAG_LEN;

/// 32 secret bytes on the heap: moving the value moves a pointer, so that no copies stay behind on
/// the stack, and dropping it erases them.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey32(Box<[u8; 32]>);

impl SecretKey32 {
    /// All zero, to be filled in place.
    pub(crate) fn zero() -> Self {
        Self(Box::new([0; 32]))
    }

    /// A copy of `bytes`; the caller's own copy is the caller's to erase.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut key = Self::zero();
        key.0.copy_from_slice(bytes);
        key
    }

    /// The secret itself, for the cipher it is meant for.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The place of the secret, for whoever fills it.
    pub(crate) fn expose_mut(&mut self) -> &mut [u8; 32] {
        &mut self.0
    }
}

impl core::fmt::Debug for SecretKey32 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SecretKey32(..)")
    }
}

impl PartialEq for SecretKey32 {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for SecretKey32 {}

/// The result of a Diffie-Hellman was zero: the other key is one of the low-order points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LowOrder;

/// An authentication tag did not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadTag;

/// An X25519 private key, expanded for use; aws-lc erases it when freed.
pub(crate) struct Scalar(agreement::PrivateKey);

impl Scalar {
    /// The scalar of `bytes`; clamping happens in the multiplication (RFC 7748 §5).
    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        let key = agreement::PrivateKey::from_private_key(&X25519, bytes);
        Self(key.expect("any 32 bytes are an X25519 private key"))
    }

    /// DH-PUBLIC: the public key.
    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    pub(crate) fn public(&self) -> [u8; 32] {
        #[cfg(test)]
        count::note();
        let public = self
            .0
            .compute_public_key()
            .expect("the key is an X25519 key");
        let mut bytes = [0; 32];
        bytes.copy_from_slice(public.as_ref());
        bytes
    }

    /// A copy of the secret, for [`KeyLog`](crate::KeyLog) alone.
    #[cold]
    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    pub(crate) fn export(&self) -> SecretKey32 {
        let bytes: Curve25519SeedBin<'_> = self.0.as_be_bytes().expect("the key is an X25519 key");
        let mut key = SecretKey32::zero();
        key.0.copy_from_slice(bytes.as_ref());
        key
    }

    /// DH with `public`.
    ///
    /// # Errors
    /// [`LowOrder`] where the result is zero (RFC 7748 §6.1). aws-lc refuses these as well; the
    /// check here does not depend on that.
    pub(crate) fn agree(&self, public: &[u8; 32]) -> Result<SecretKey32, LowOrder> {
        #[cfg(test)]
        count::note();
        let public = UnparsedPublicKey::new(&X25519, public);
        agreement::agree(&self.0, public, LowOrder, |shared| {
            let mut key = SecretKey32::zero();
            key.0.copy_from_slice(shared);
            if bool::from(key.0.as_slice().ct_eq(&[0; 32])) {
                return Err(LowOrder);
            }
            Ok(key)
        })
    }
}

#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
fn chacha20_poly1305(key: &SecretKey32) -> LessSafeKey {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key.expose());
    LessSafeKey::new(key.expect("the key has 32 bytes"))
}

/// Noise's nonce: four zero bytes, then the counter in little endian (paper §5.4, AEAD).
fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// AEAD: seals `plaintext` into `out`, which is longer by [`TAG_LEN`].
#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
pub(crate) fn seal(
    key: &SecretKey32,
    counter: u64,
    authenticated: &[u8],
    plaintext: &[u8],
    out: &mut [u8],
) {
    let (ciphertext, tag) = out.split_at_mut(plaintext.len());
    chacha20_poly1305(key)
        .seal_out_of_place_scatter(
            nonce(counter),
            Aad::from(authenticated),
            plaintext,
            ciphertext,
            &[],
            tag,
        )
        .expect("the output is longer by a tag");
}

/// AEAD: opens `sealed` into `out`, which is shorter by [`TAG_LEN`].
///
/// # Errors
/// [`BadTag`]; what `out` then holds is not to be used.
pub(crate) fn open(
    key: &SecretKey32,
    counter: u64,
    authenticated: &[u8],
    sealed: &[u8],
    out: &mut [u8],
) -> Result<(), BadTag> {
    let (ciphertext, tag) = sealed.split_at(out.len());
    debug_assert_eq!(tag.len(), TAG_LEN);
    chacha20_poly1305(key)
        .open_separate_gather(
            nonce(counter),
            Aad::from(authenticated),
            ciphertext,
            tag,
            out,
        )
        .map_err(|_| BadTag)
}

/// XAEAD: seals a cookie under a random nonce (paper §5.4.7).
#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
pub(crate) fn seal_cookie(
    key: &[u8; 32],
    nonce: &[u8; 24],
    authenticated: &[u8],
    cookie: &[u8; 16],
) -> [u8; 32] {
    let mut sealed = [0; 32];
    let (text, tag) = sealed.split_at_mut(16);
    text.copy_from_slice(cookie);
    let made = XChaCha20Poly1305::new(key.into())
        .encrypt_inout_detached(&XNonce::from(*nonce), authenticated, text.into())
        .expect("16 bytes are not too long");
    tag.copy_from_slice(&made);
    sealed
}

/// XAEAD: opens a sealed cookie in place; its first 16 bytes are then the cookie.
///
/// # Errors
/// [`BadTag`]; what `sealed` then holds is not to be used.
pub(crate) fn open_cookie(
    key: &[u8; 32],
    nonce: &[u8; 24],
    authenticated: &[u8],
    sealed: &mut [u8; 32],
) -> Result<(), BadTag> {
    let (text, tag) = sealed.split_at_mut(16);
    let mut expected = [0; 16];
    expected.copy_from_slice(tag);
    XChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(
            &XNonce::from(*nonce),
            authenticated,
            text.into(),
            &expected.into(),
        )
        .map_err(|_| BadTag)
}

/// HASH: BLAKE2s-256 of the parts in a row.
pub(crate) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Blake2s256::new();
    for part in parts {
        Digest::update(&mut hasher, part);
    }
    hasher.finalize().into()
}

/// MAC: keyed BLAKE2s-128 of the parts in a row. The key has at most 32 bytes.
#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
pub(crate) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = Blake2sMac::<U16>::new_from_slice(key).expect("a key of at most 32 bytes");
    for part in parts {
        Update::update(&mut mac, part);
    }
    mac.finalize_fixed().into()
}

/// HMAC: HMAC-BLAKE2s-256 of the parts in a row, straight into its place.
///
/// Written out because the `hmac` crate's form for BLAKE2 leaves its padded key in memory.
fn hmac(key: &[u8; 32], parts: &[&[u8]], out: &mut [u8; 32]) {
    const BLOCK_LEN: usize = 64;
    let mut pad = zeroize::Zeroizing::new([0x36_u8; BLOCK_LEN]);
    for (pad, key) in pad.iter_mut().zip(key) {
        *pad ^= key;
    }
    let mut inner = Blake2s256::new();
    Digest::update(&mut inner, pad.as_slice());
    for part in parts {
        Digest::update(&mut inner, part);
    }
    for byte in pad.iter_mut() {
        *byte ^= 0x36 ^ 0x5c;
    }
    Digest::finalize_into(inner, out.into());
    let mut outer = Blake2s256::new();
    Digest::update(&mut outer, pad.as_slice());
    Digest::update(&mut outer, out.as_slice());
    Digest::finalize_into(outer, out.into());
}

/// KDF_n: HKDF over HMAC-BLAKE2s (Noise §4.3, paper §5.4). `chaining_key` is replaced by the first
/// output, the others go into `outputs` (at most two).
pub(crate) fn kdf(chaining_key: &mut SecretKey32, input: &[u8], outputs: &mut [&mut SecretKey32]) {
    let mut extracted = SecretKey32::zero();
    hmac(chaining_key.expose(), &[input], extracted.expose_mut());
    hmac(extracted.expose(), &[&[1]], chaining_key.expose_mut());
    let mut previous: &SecretKey32 = chaining_key;
    for (number, output) in (2_u8..).zip(outputs) {
        hmac(
            extracted.expose(),
            &[previous.expose(), &[number]],
            output.expose_mut(),
        );
        previous = output;
    }
}

/// HKDF-SHA256 (RFC 5869) into 32 bytes.
#[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
pub(crate) fn hkdf_sha256(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> SecretKey32 {
    let mut key = SecretKey32::zero();
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, hkdf::HKDF_SHA256)
        .and_then(|output| output.fill(key.expose_mut()))
        .expect("32 bytes are one block of output");
    key
}

/// Whether two MACs are the same, in constant time.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// How many X25519 operations this thread has made: what a flood must not be able to cost us.
#[cfg(test)]
pub(crate) mod count {
    use std::cell::Cell;

    thread_local!(static OPERATIONS: Cell<u64> = const { Cell::new(0) });

    pub(crate) fn note() {
        OPERATIONS.set(OPERATIONS.get() + 1);
    }

    pub(crate) fn x25519_operations() -> u64 {
        OPERATIONS.get()
    }
}

#[cfg(test)]
mod vectors;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        assert_eq!(text.len() % 2, 0);
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    pub(crate) fn key(text: &str) -> [u8; 32] {
        unhex(text).try_into().unwrap()
    }

    /// The points of order 1, 2, 4 and 8, and the encodings of the first two above the prime
    /// (RFC 7748 §6.1, <https://cr.yp.to/ecdh.html#validate>): the seven of the kernel's netns.sh.
    pub(crate) const LOW_ORDER: [&str; 7] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];

    #[test]
    fn p16_low_order_points_are_not_agreed_with() {
        for text in LOW_ORDER {
            let mut point = key(text);
            for seed in 1..20 {
                let scalar = Scalar::new(&[seed; 32]);
                point[31] &= 0x7f;
                assert_eq!(scalar.agree(&point).err(), Some(LowOrder), "{text}");
                point[31] |= 0x80; // the bit that X25519 ignores
                assert_eq!(scalar.agree(&point).err(), Some(LowOrder), "{text}");
            }
        }
        // The base point is not among them.
        let mut base = [0; 32];
        base[0] = 9;
        assert!(Scalar::new(&[1; 32]).agree(&base).is_ok());
    }

    #[test]
    fn x25519_of_rfc_7748() {
        // RFC 7748 §5.2, the first vector
        let scalar = key("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
        let point = key("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
        let result = key("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
        assert_eq!(
            Scalar::new(&scalar).agree(&point).unwrap().expose(),
            &result
        );
    }

    #[test]
    fn what_is_exported_is_the_secret() {
        let secret = key("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
        let scalar = Scalar::new(&secret);
        let again = Scalar::new(scalar.export().expose());
        assert_eq!(again.public(), scalar.public());
    }

    #[test]
    fn blake2s_of_rfc_7693() {
        let digest = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982";
        assert_eq!(hash(&[b"abc"]), key(digest));
        assert_eq!(hash(&[b"a", b"", b"bc"]), key(digest));
    }

    #[test]
    fn hkdf_sha256_of_rfc_5869() {
        // RFC 5869 appendix A.1, the first 32 of its 42 bytes.
        let output = hkdf_sha256(
            &unhex("000102030405060708090a0b0c"),
            &[0x0b; 22],
            &[&unhex("f0f1f2f3f4"), &unhex("f5f6f7f8f9")],
        );
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf";
        assert_eq!(output.expose(), &key(expected));
    }

    #[test]
    fn p05_macs_differ_by_a_single_bit_anywhere() {
        let made = mac(b"key", &[b"message"]);
        assert!(same(&made, &made.clone()));
        for bit in 0..128 {
            let mut other = made;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!same(&made, &other), "bit {bit}");
        }
        assert!(!same(&made, &made[..15]));
    }

    #[test]
    fn empty_plaintext_is_a_tag() {
        let key = SecretKey32::from_bytes(&[7; 32]);
        let mut sealed = [0; TAG_LEN];
        seal(&key, 0, b"hash", &[], &mut sealed);
        assert_eq!(open(&key, 0, b"hash", &sealed, &mut []), Ok(()));
        assert_eq!(open(&key, 1, b"hash", &sealed, &mut []), Err(BadTag));
        assert_eq!(open(&key, 0, b"hasj", &sealed, &mut []), Err(BadTag));
    }

    #[test]
    fn p101_secrets_are_erased_and_not_printed() {
        fn erased_on_drop<T: ZeroizeOnDrop>() {}
        erased_on_drop::<SecretKey32>();
        erased_on_drop::<crate::PrivateKey>();
        erased_on_drop::<crate::PresharedKey>();
        erased_on_drop::<Blake2sMac<U16>>();
        erased_on_drop::<XChaCha20Poly1305>();

        let mut secret = SecretKey32::from_bytes(&[0xab; 32]);
        assert_eq!(format!("{secret:?}"), "SecretKey32(..)");
        secret.zeroize();
        assert_eq!(secret.expose(), &[0; 32]);
    }

    proptest! {
        #[test]
        fn x25519_agrees_with_dalek(private: [u8; 32], other: [u8; 32]) {
            let ours = Scalar::new(&private);
            let theirs = x25519_dalek::StaticSecret::from(private);
            let public = x25519_dalek::PublicKey::from(&theirs);
            prop_assert_eq!(ours.public(), public.to_bytes());

            let other = x25519_dalek::PublicKey::from(&x25519_dalek::StaticSecret::from(other));
            let shared = ours.agree(other.as_bytes()).unwrap();
            let expected = theirs.diffie_hellman(&other);
            prop_assert_eq!(shared.expose(), expected.as_bytes());
        }

        #[test]
        fn seal_and_open_are_inverse(
            secret: [u8; 32],
            counter: u64,
            text in prop::collection::vec(any::<u8>(), 0..100),
            damage: prop::sample::Index,
        ) {
            let key = SecretKey32::from_bytes(&secret);
            let mut sealed = vec![0; text.len() + TAG_LEN];
            seal(&key, counter, b"ad", &text, &mut sealed);
            let mut opened = vec![0; text.len()];
            prop_assert_eq!(open(&key, counter, b"ad", &sealed, &mut opened), Ok(()));
            prop_assert_eq!(&opened, &text);
            let place = damage.index(sealed.len());
            sealed[place] ^= 1;
            prop_assert_eq!(open(&key, counter, b"ad", &sealed, &mut opened), Err(BadTag));
        }

        #[test]
        fn cookies_open_under_their_key_nonce_and_mac(
            secret: [u8; 32], nonce: [u8; 24], ad: [u8; 16], cookie: [u8; 16],
            damage in 0_usize..256,
        ) {
            let sealed = seal_cookie(&secret, &nonce, &ad, &cookie);
            let mut opened = sealed;
            prop_assert_eq!(open_cookie(&secret, &nonce, &ad, &mut opened), Ok(()));
            prop_assert_eq!(&opened[..16], &cookie);
            let mut damaged = sealed;
            damaged[damage / 8] ^= 1 << (damage % 8);
            prop_assert_eq!(open_cookie(&secret, &nonce, &ad, &mut damaged), Err(BadTag));
        }
    }
}
