//! Seals: a key that goes forward and cannot be turned back.
//!
//! The key of the first seal is made by chance. Whoever is given it, once, can check all seals;
//! that is the verification key. After each seal the key becomes its own hash, and what it was is
//! erased. Whoever breaks in finds the key of the next seal: he can invent what comes, and change
//! nothing that is sealed.

use std::fmt;

use anyhow::Context as _;
use aws_lc_rs::{constant_time::verify_slices_are_equal, digest, hmac};
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

use super::line::{Hash, bytes, from_hex, hex};

/// Seals that one key can have before it: reckoning it takes some seconds then.
pub const EPOCHS_MAX: u64 = 1 << 26;

/// The word before a verification key.
const KEY_WORD: &str = "weapon-audit-key-1";
/// The word before what is kept beside the log.
const STATE_WORD: &str = "weapon-audit-state-1";

const LABEL_NEXT: &[u8] = b"weapon audit: next key";
const LABEL_ID: &[u8] = b"weapon audit: id of key";

/// Which verification key belongs to a log: 16 digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(String);

impl KeyId {
    /// As it is written in the log.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of one seal. It is erased when it goes.
pub struct SealKey {
    id: KeyId,
    epoch: u64,
    key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({}, {})", self.id, self.epoch)
    }
}

impl SealKey {
    /// A new one, for the first seal.
    ///
    /// # Errors
    /// The kernel gives no randomness.
    pub fn generate() -> anyhow::Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        let mut filled = 0;
        while filled < key.len() {
            let more = getrandom(&mut key[filled..], GetRandomFlags::empty());
            filled += more.context("the kernel gives no randomness")?;
        }
        Ok(Self::first(key))
    }

    fn first(key: Zeroizing<[u8; 32]>) -> Self {
        let id = hash(LABEL_ID, &key);
        let (id, _) = id.split_at(8);
        Self {
            id: KeyId(hex(id)),
            epoch: 0,
            key,
        }
    }

    /// Which verification key belongs to it.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Seals before it.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The seal over a body that comes after the record with this hash, and so over all before.
    pub fn mac(&self, before: Hash, body: &str) -> Hash {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.key);
        let mut context = hmac::Context::with_key(&key);
        context.update(&before.0);
        context.update(body.as_bytes());
        Hash(bytes(context.sign().as_ref()))
    }

    /// Whether `mac` is that seal.
    pub fn is_mac(&self, mac: Hash, before: Hash, body: &str) -> bool {
        verify_slices_are_equal(&mac.0, &self.mac(before, body).0).is_ok()
    }

    /// The key of the next seal. There is no way back.
    pub fn advance(&mut self) {
        self.key = Zeroizing::new(hash(LABEL_NEXT, &self.key));
        self.epoch += 1;
    }
}

fn hash(label: &[u8], key: &[u8; 32]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(label);
    context.update(key);
    bytes(context.finish().as_ref())
}

/// What an operator keeps, far from the gateway: the key of the first seal.
pub struct VerificationKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerificationKey")
    }
}

impl VerificationKey {
    /// That of the key of a first seal.
    pub fn of(first: &SealKey) -> Self {
        debug_assert_eq!(first.epoch, 0, "what it was before is gone");
        Self(first.key.clone())
    }

    /// In a file. Lines that begin with `#` are for people.
    ///
    /// # Errors
    /// There is no key in it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut lines = text.lines().map(str::trim);
        let line = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        let key = line.and_then(|line| line.strip_prefix(KEY_WORD));
        let key = key.and_then(|digits| from_hex(digits.trim()));
        let key = key.ok_or("not a verification key; one begins with weapon-audit-key-1")?;
        Ok(Self(Zeroizing::new(key)))
    }

    /// As a line of a file.
    pub fn text(&self) -> Zeroizing<String> {
        let digits = Zeroizing::new(hex(&*self.0));
        Zeroizing::new(format!("{KEY_WORD} {}\n", &*digits))
    }

    /// Which one it is.
    pub fn id(&self) -> KeyId {
        self.first().id
    }

    /// The key of the first seal.
    pub fn first(&self) -> SealKey {
        SealKey::first(self.0.clone())
    }

    /// The key of the seal with so many before it; nothing if those are more than ever were.
    pub fn at(&self, epoch: u64) -> Option<SealKey> {
        let mut key = self.first();
        if epoch > EPOCHS_MAX {
            return None;
        }
        while key.epoch < epoch {
            key.advance();
        }
        Some(key)
    }
}

/// What is kept beside the log between two seals: the next key, and what the last one sealed.
#[derive(Debug)]
pub struct SealState {
    /// The next key.
    pub key: SealKey,
    /// The number of the last seal's record; 0 before there is one.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

impl SealState {
    /// As a file.
    pub fn text(&self) -> Zeroizing<String> {
        let Self { key, seq, hash } = self;
        let digits = Zeroizing::new(hex(&*key.key));
        let (id, epoch) = (&key.id, key.epoch);
        Zeroizing::new(format!(
            "{STATE_WORD} {id} {epoch} {} {seq} {hash}\n",
            &*digits
        ))
    }

    /// Of a file; nothing if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.strip_suffix('\n')?.strip_prefix(STATE_WORD)?;
        let words: Vec<&str> = line.strip_prefix(' ')?.split(' ').collect();
        let [id, epoch, key, seq, hash] = words[..] else {
            return None;
        };
        let is_id = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(Self {
            key: SealKey {
                id: KeyId(is_id.then(|| id.to_owned())?),
                epoch: epoch.parse().ok()?,
                key: Zeroizing::new(from_hex(key)?),
            },
            seq: seq.parse().ok()?,
            hash: Hash::parse(hash)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::line::GENESIS;

    #[test]
    fn the_verification_key_makes_every_key() {
        let mut key = SealKey::generate().unwrap();
        let verification = VerificationKey::of(&key);
        let text = verification.text();
        let verification = VerificationKey::parse(&format!("# for people\n\n{}", &*text)).unwrap();
        assert_eq!(verification.id(), *key.id());
        for _ in 0..5 {
            key.advance();
        }
        let mac = key.mac(GENESIS, "body");
        let same = verification.at(5).unwrap();
        assert!(same.is_mac(mac, GENESIS, "body"));
        assert!(!same.is_mac(mac, GENESIS, "bodY"));
        assert!(!same.is_mac(mac, Hash([1; 32]), "body"));
        assert!(!verification.at(4).unwrap().is_mac(mac, GENESIS, "body"));
        assert!(verification.at(u64::MAX).is_none());
        assert!(VerificationKey::parse("weapon-audit-key-1 12").is_err());
    }

    #[test]
    fn the_state_comes_back() {
        let mut key = SealKey::generate().unwrap();
        key.advance();
        let state = SealState {
            key,
            seq: 9,
            hash: Hash([7; 32]),
        };
        let text = state.text();
        let again = SealState::parse(&text).unwrap();
        assert_eq!(again.text(), text);
        assert_eq!(SealState::parse(&text[..text.len() - 2]).map(|_| ()), None);
        assert_eq!(SealState::parse("").map(|_| ()), None);
        // Nothing of a key is shown by mistake.
        let shown = format!(
            "{state:?} {:?}",
            VerificationKey::of(&SealKey::generate().unwrap())
        );
        let digits = text.split(' ').nth(3).unwrap();
        assert!(!shown.contains(digits));
    }
}
