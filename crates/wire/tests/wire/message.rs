//! Messages: type and length decide, and nothing panics.

use proptest::prelude::*;
use weapon_wire::{
    Malformed,
    message::{self, CookieReply, Initiation, Kind, Response},
};

fn datagram(message_type: u32, len: usize) -> Vec<u8> {
    let mut datagram = vec![0x5a; len];
    datagram[..4].copy_from_slice(&message_type.to_le_bytes());
    datagram
}

#[test]
fn p01_lengths_are_exact() {
    for len in 0..4 {
        assert_eq!(message::kind(&vec![1; len]), Err(Malformed::Truncated));
    }
    let exact = [
        (1, 148, Kind::Initiation),
        (2, 92, Kind::Response),
        (3, 64, Kind::CookieReply),
    ];
    for (message_type, exact_len, kind) in exact {
        for len in 4..2000 {
            let wanted = if len == exact_len {
                Ok(kind)
            } else {
                Err(Malformed::WrongLength)
            };
            assert_eq!(message::kind(&datagram(message_type, len)), wanted);
        }
    }
    for len in 4..2000 {
        let wanted = if len >= 32 {
            Ok(Kind::Data)
        } else {
            Err(Malformed::WrongLength)
        };
        assert_eq!(message::kind(&datagram(4, len)), wanted);
    }
}

#[test]
fn p02_reserved_bytes_are_zero() {
    for (message_type, len) in [(1u32, 148), (2, 92), (3, 64), (4, 32)] {
        assert!(message::kind(&datagram(message_type, len)).is_ok());
        for bit in 8..32 {
            let reserved = datagram(message_type | 1 << bit, len);
            assert_eq!(message::kind(&reserved), Err(Malformed::UnknownType));
        }
        // Big-endian is another type.
        assert!(message::kind(&datagram(message_type.swap_bytes(), len)).is_err());
    }
}

#[test]
fn p03_unknown_types_are_refused() {
    for message_type in (0..=255).filter(|value| !(1..=4).contains(value)) {
        for len in [4, 32, 64, 92, 148] {
            let unknown = datagram(message_type, len);
            assert_eq!(message::kind(&unknown), Err(Malformed::UnknownType));
        }
    }
}

#[test]
fn p10_largest_datagrams_are_told_apart() {
    for len in [65_507, 65_535, 1 << 20] {
        assert_eq!(message::kind(&datagram(4, len)), Ok(Kind::Data));
        for message_type in 1..4 {
            let oversized = datagram(message_type, len);
            assert_eq!(message::kind(&oversized), Err(Malformed::WrongLength));
            assert!(Initiation::parse(&oversized).is_none());
            assert!(Response::parse(&oversized).is_none());
            assert!(CookieReply::parse(&oversized).is_none());
        }
    }
}

#[test]
fn fields_lie_where_the_paper_puts_them() {
    let mut bytes = vec![0; 148];
    bytes[0] = 1;
    bytes[4..8].copy_from_slice(&0x0403_0201u32.to_le_bytes());
    for (at, fill) in [(8, 0xe0), (40, 0xe1), (88, 0xe2), (116, 0xe3), (132, 0xe4)] {
        bytes[at..].fill(fill);
    }
    let initiation = Initiation::parse(&bytes).unwrap();
    assert_eq!(initiation.sender.get(), 0x0403_0201);
    assert_eq!(initiation.ephemeral, [0xe0; 32]);
    assert_eq!(initiation.encrypted_static, [0xe1; 48]);
    assert_eq!(initiation.encrypted_timestamp, [0xe2; 28]);
    assert_eq!(initiation.mac1, [0xe3; 16]);
    assert_eq!(initiation.mac2, [0xe4; 16]);
    assert_eq!(initiation.as_bytes(), bytes);

    let mut bytes = vec![0; 92];
    bytes[0] = 2;
    bytes[4] = 8;
    bytes[8] = 9;
    for (at, fill) in [(12, 0xe0), (44, 0xe1), (60, 0xe2), (76, 0xe3)] {
        bytes[at..].fill(fill);
    }
    let response = Response::parse(&bytes).unwrap();
    assert_eq!((response.sender.get(), response.receiver.get()), (8, 9));
    assert_eq!(response.ephemeral, [0xe0; 32]);
    assert_eq!(response.encrypted_nothing, [0xe1; 16]);
    assert_eq!((response.mac1, response.mac2), ([0xe2; 16], [0xe3; 16]));

    let mut bytes = vec![0; 64];
    bytes[0] = 3;
    bytes[4] = 7;
    bytes[8..32].fill(0xe0);
    bytes[32..].fill(0xe1);
    let reply = CookieReply::parse(&bytes).unwrap();
    assert_eq!(reply.receiver.get(), 7);
    assert_eq!(
        (reply.nonce, reply.encrypted_cookie),
        ([0xe0; 24], [0xe1; 32])
    );
}

#[test]
fn a_zeroed_message_has_its_type() {
    assert_eq!(
        message::kind(Initiation::zeroed().as_bytes()),
        Ok(Kind::Initiation)
    );
    assert_eq!(
        message::kind(Response::zeroed().as_bytes()),
        Ok(Kind::Response)
    );
    let mut reply = CookieReply::zeroed();
    assert_eq!(message::kind(reply.as_bytes()), Ok(Kind::CookieReply));
    reply.as_mut_bytes()[63] = 1;
    assert_eq!(reply.encrypted_cookie[31], 1);
    assert!(
        Response::parse(&[2; 92]).is_none(),
        "the type is checked, too"
    );
}

#[test]
fn data_header_is_little_endian() {
    let mut slot = [0xaa; 33];
    message::write_data_header(&mut slot, 0x0102_0304, 0x0506_0708_090a_0b0c);
    let wanted = [4, 0, 0, 0, 4, 3, 2, 1, 0xc, 0xb, 0xa, 9, 8, 7, 6, 5];
    assert_eq!(slot[..16], wanted);
    assert_eq!(slot[16..], [0xaa; 17]);
    assert_eq!(message::kind(&slot), Ok(Kind::Data));
    assert_eq!(message::data_receiver(&slot), 0x0102_0304);
    assert_eq!(message::data_counter(&slot), 0x0506_0708_090a_0b0c);
}

proptest! {
    #[test]
    fn p10_any_datagram_is_judged(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if message::kind(&bytes) == Ok(Kind::Data) {
            message::data_receiver(&bytes);
            message::data_counter(&bytes);
        }
        prop_assert_eq!(
            Initiation::parse(&bytes).is_some(),
            message::kind(&bytes) == Ok(Kind::Initiation)
        );
    }
}
