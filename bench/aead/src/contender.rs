//! Who seals and opens: our own, and the libraries. Each gets its key once and a nonce per packet,
//! and works from one buffer into another, as a gateway does. Libraries that only work in place
//! copy first, which is about 2 % of their time at 1420 bytes.

use arrayvec::ArrayVec;
use aws_lc_rs::aead as aws;
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit,
    aead::{AeadInOut, inout::InOutBuf},
};
use openssl::{cipher::Cipher, cipher_ctx::CipherCtx};
use ring::aead as ring;
use weapon_aead::{Backend, Key, Opening, Sealing, TAG_LEN};

use crate::batch::Batch;

/// The key of all of them.
const KEY: [u8; 32] = [0x5a; 32];

/// One way to seal and open a batch.
pub trait Contender {
    /// Its name in the tables.
    fn name(&self) -> &'static str;
    /// Seals all packets.
    fn seal(&mut self, batch: &mut Batch);
    /// Opens all packets; whether all were authentic.
    fn open(&mut self, batch: &mut Batch) -> bool;
}

/// All of them: ours first, then what is compared with, then the others.
pub fn all() -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(Weapon::new(Backend::detect().backend)),
        Box::new(AwsLc::new()),
        Box::new(Ring::new()),
        Box::new(RustCrypto::new()),
        Box::new(OpenSsl::new()),
    ]
}

fn nonce(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

struct Weapon(Key);

impl Weapon {
    fn new(backend: Backend) -> Self {
        Self(Key::new(&KEY, backend))
    }
}

/// Packets of a batch, on the stack, as a gateway has them. It is filled where it lies: collected
/// into one, it would be moved, all 7 KB of it.
type List<T> = ArrayVec<T, 128>;

impl Contender for Weapon {
    fn name(&self) -> &'static str {
        "weapon-aead"
    }

    fn seal(&mut self, batch: &mut Batch) {
        let is_one = batch.count() == 1;
        let mut packets = batch
            .to_seal()
            .map(|(counter, plain, wire)| Sealing::apart(counter, plain, wire));
        let sealed = if is_one {
            // A gateway makes no list of one packet either.
            let mut packet = packets.next().expect("there is one");
            self.0.seal_many(std::slice::from_mut(&mut packet))
        } else {
            let mut list = List::new();
            list.extend(packets);
            self.0.seal_many(&mut list)
        };
        sealed.expect("the lengths of a batch fit");
    }

    fn open(&mut self, batch: &mut Batch) -> bool {
        let mut packets = List::new();
        packets.extend(
            batch
                .to_open()
                .map(|(counter, wire, opened)| Opening::apart(counter, wire, opened)),
        );
        self.0.open_many(&mut packets);
        packets.iter().all(Opening::is_authentic)
    }
}

struct AwsLc(aws::LessSafeKey);

impl AwsLc {
    fn new() -> Self {
        let key = aws::UnboundKey::new(&aws::CHACHA20_POLY1305, &KEY);
        Self(aws::LessSafeKey::new(key.expect("32 bytes are a key")))
    }
}

impl Contender for AwsLc {
    fn name(&self) -> &'static str {
        "aws-lc-rs"
    }

    fn seal(&mut self, batch: &mut Batch) {
        for (counter, plain, wire) in batch.to_seal() {
            let nonce = aws::Nonce::assume_unique_for_key(nonce(counter));
            let (text, tag) = wire.split_at_mut(plain.len());
            self.0
                .seal_out_of_place_scatter(nonce, aws::Aad::empty(), plain, text, &[], tag)
                .expect("the lengths of a batch fit");
        }
    }

    fn open(&mut self, batch: &mut Batch) -> bool {
        batch.to_open().all(|(counter, wire, opened)| {
            let nonce = aws::Nonce::assume_unique_for_key(nonce(counter));
            let (text, tag) = wire.split_at(opened.len());
            self.0
                .open_separate_gather(nonce, aws::Aad::empty(), text, tag, opened)
                .is_ok()
        })
    }
}

struct Ring {
    key: ring::LessSafeKey,
    scratch: Vec<u8>,
}

impl Ring {
    fn new() -> Self {
        let key = ring::UnboundKey::new(&ring::CHACHA20_POLY1305, &KEY);
        Self {
            key: ring::LessSafeKey::new(key.expect("32 bytes are a key")),
            scratch: Vec::new(),
        }
    }
}

impl Contender for Ring {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn seal(&mut self, batch: &mut Batch) {
        for (counter, plain, wire) in batch.to_seal() {
            let nonce = ring::Nonce::assume_unique_for_key(nonce(counter));
            let (text, tag) = wire.split_at_mut(plain.len());
            text.copy_from_slice(plain);
            let made = self
                .key
                .seal_in_place_separate_tag(nonce, ring::Aad::empty(), text)
                .expect("the lengths of a batch fit");
            tag.copy_from_slice(made.as_ref());
        }
    }

    fn open(&mut self, batch: &mut Batch) -> bool {
        let (key, scratch) = (&self.key, &mut self.scratch);
        batch.to_open().all(|(counter, wire, opened)| {
            let nonce = ring::Nonce::assume_unique_for_key(nonce(counter));
            // It wants the tag behind the text, for which there is no room where it goes.
            scratch.clear();
            scratch.extend_from_slice(wire);
            match key.open_in_place(nonce, ring::Aad::empty(), scratch) {
                Ok(text) => {
                    opened.copy_from_slice(text);
                    true
                }
                Err(_) => false,
            }
        })
    }
}

struct RustCrypto(ChaCha20Poly1305);

impl RustCrypto {
    fn new() -> Self {
        Self(ChaCha20Poly1305::new(&KEY.into()))
    }
}

impl Contender for RustCrypto {
    fn name(&self) -> &'static str {
        "RustCrypto"
    }

    fn seal(&mut self, batch: &mut Batch) {
        for (counter, plain, wire) in batch.to_seal() {
            let (text, tag) = wire.split_at_mut(plain.len());
            let buffers = InOutBuf::new(plain, text).expect("their lengths are equal");
            let made = self
                .0
                .encrypt_inout_detached(&nonce(counter).into(), &[], buffers)
                .expect("the lengths of a batch fit");
            tag.copy_from_slice(&made);
        }
    }

    fn open(&mut self, batch: &mut Batch) -> bool {
        batch.to_open().all(|(counter, wire, opened)| {
            let (text, tag) = wire.split_at(opened.len());
            let buffers = InOutBuf::new(text, opened).expect("their lengths are equal");
            let tag: [u8; TAG_LEN] = tag.try_into().expect("a tag has its length");
            self.0
                .decrypt_inout_detached(&nonce(counter).into(), &[], buffers, &tag.into())
                .is_ok()
        })
    }
}

struct OpenSsl {
    sealing: CipherCtx,
    opening: CipherCtx,
}

impl OpenSsl {
    fn new() -> Self {
        let context = || CipherCtx::new().expect("OpenSSL has memory");
        let (mut sealing, mut opening) = (context(), context());
        let cipher = Some(Cipher::chacha20_poly1305());
        sealing
            .encrypt_init(cipher, Some(&KEY), None)
            .expect("OpenSSL has this cipher");
        opening
            .decrypt_init(cipher, Some(&KEY), None)
            .expect("OpenSSL has this cipher");
        Self { sealing, opening }
    }
}

impl Contender for OpenSsl {
    fn name(&self) -> &'static str {
        "OpenSSL"
    }

    fn seal(&mut self, batch: &mut Batch) {
        let context = &mut self.sealing;
        for (counter, plain, wire) in batch.to_seal() {
            let (text, tag) = wire.split_at_mut(plain.len());
            context
                .encrypt_init(None, None, Some(&nonce(counter)))
                .and_then(|()| context.cipher_update(plain, Some(text)))
                .and_then(|_| context.cipher_final(&mut []))
                .and_then(|_| context.tag(tag))
                .expect("the lengths of a batch fit");
        }
    }

    fn open(&mut self, batch: &mut Batch) -> bool {
        let context = &mut self.opening;
        batch.to_open().all(|(counter, wire, opened)| {
            let (text, tag) = wire.split_at(opened.len());
            context
                .decrypt_init(None, None, Some(&nonce(counter)))
                .and_then(|()| context.set_tag(tag))
                .and_then(|()| context.cipher_update(text, Some(opened)))
                .and_then(|_| context.cipher_final(&mut []))
                .is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else something other than ChaCha20-Poly1305 is timed.
    #[test]
    fn all_seal_alike_and_open_what_they_sealed() {
        for (size, count) in [(64, 1), (576, 8), (1420, 45)] {
            let mut wires = Vec::new();
            for mut contender in all() {
                let mut batch = Batch::new(size, count);
                contender.seal(&mut batch);
                assert!(contender.open(&mut batch), "{}", contender.name());
                assert!(batch.is_opened(), "{}", contender.name());
                wires.push(batch.wire().to_vec());
            }
            assert!(wires.windows(2).all(|pair| pair[0] == pair[1]));
        }
    }
}
