//! A peer whose public key is a point of low order may be configured, but nothing is ever sent to
//! it: the shared secret would be known to everybody (P16).

use std::time::Duration;

use weapon_netns::plan::Plan;
use weapon_netns::{Pair, Tap, ready};
use weapon_noise::PublicKey;

/// The u-coordinates of small order on Curve25519 and its twist, and those that are the same
/// modulo the prime 2^255 - 19.
fn low_order_points() -> [[u8; 32]; 7] {
    let hex = |text: &str| -> [u8; 32] {
        let digits: Vec<u8> = (0..64)
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits"))
            .collect();
        digits.try_into().expect("32 bytes")
    };
    // Little-endian: the prime less one, the prime, the prime and one.
    let near_prime = |first: u8| {
        let mut point = [0xff; 32];
        point[0] = first;
        point[31] = 0x7f;
        point
    };
    let mut one = [0; 32];
    one[0] = 1;
    [
        [0; 32],
        one,
        hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
        near_prime(0xec),
        near_prime(0xed),
        near_prime(0xee),
    ]
}

#[test]
fn p16_low_order_points_are_met_with_silence() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    pair.plan.peers.clear();
    for (number, point) in low_order_points().into_iter().enumerate() {
        let mut peer = Plan::new(&format!("low-{number}"), &[]).as_peer(&[]);
        peer.public_key = PublicKey::from_bytes(point);
        peer.endpoint = Some(format!("192.0.2.2:{}", 1000 + number));
        peer.networks = vec![format!("10.98.{number}.0/24")];
        peer.keepalive = Some(1);
        pair.plan.peers.push(peer);
    }
    // One more, with a good key: it shows that the tap hears, and that the gateway speaks.
    let mut good = Plan::new("good", &[]).as_peer(&["10.97.0.0/24"]);
    good.endpoint = Some("192.0.2.2:2000".to_owned());
    good.keepalive = Some(1);
    pair.plan.peers.push(good);

    let mut tap = Tap::new(&pair.one, "eth0");
    let mut one = pair.start();
    assert_eq!(one.status()["peers"].as_array().map(Vec::len), Some(8));
    // Packets for them are no reason either.
    for number in 0..7 {
        let lost = pair
            .one
            .ping_once([10, 98, number, 1].into(), Duration::from_millis(50));
        assert!(lost.is_err());
    }
    std::thread::sleep(Duration::from_secs(2));
    let sent = tap.outgoing();
    let ports: Vec<_> = sent.iter().map(|packet| packet.remote().port()).collect();
    assert!(
        !ports.is_empty() && ports.iter().all(|port| *port == 2000),
        "{ports:?}"
    );
    one.process().signal(rustix::process::Signal::TERM);
    let status = one.process().wait(weapon_netns::weapon::PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}: {}", one.log());
}
