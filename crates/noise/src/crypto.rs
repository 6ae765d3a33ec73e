//! The primitives of the protocol under the paper's names (§5.4): DH, AEAD, XAEAD, HASH, MAC, KDF.

use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, UnparsedPublicKey, X25519},
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
    pub(crate) fn new(bytes: &[u8; 32]) -> Self {
        let key = agreement::PrivateKey::from_private_key(&X25519, bytes);
        Self(key.expect("any 32 bytes are an X25519 private key"))
    }

    /// DH-PUBLIC: the public key.
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
