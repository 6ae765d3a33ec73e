//! P89 to P91: how long a data message is, and that any packet fits into one.

use weapon_core::{Mtus, padding};
use weapon_wire::message::{DATA_HEADER_LEN, DATA_OVERHEAD};

use crate::{
    packets::{plain, udp, v4},
    site::Sent,
    world::{A, B, MTU, World, address},
};

/// A packet of `len` bytes from A to B as a data message.
fn sent(world: &mut World, len: usize) -> Sent {
    let read = plain(&udp(v4(A, 5), v4(B, 6), &vec![0xff; len - 28]));
    let now = world.now;
    world.sites[A].read(now, read).unwrap();
    let mut sent = core::mem::take(&mut world.sites[A].outbox.sent);
    assert_eq!(sent.len(), 1);
    sent.remove(0)
}

/// To a multiple of 16, but never past the MTU; of what is longer than the MTU, what would be left
/// after full ones is padded (kernel `send.c:calculate_skb_padding`).
#[test]
fn p89_padding_is_that_of_the_kernel() {
    for (len, mtu, zeros) in [
        (0, 1420, 0),
        (1, 1420, 15),
        (16, 1420, 0),
        (1407, 1420, 1),
        (1408, 1420, 0),
        (1409, 1420, 11),
        (1419, 1420, 1),
        (1420, 1420, 0),
        // 1297 would become 1312: as far as the MTU goes, which here is no multiple of 16.
        (1297, 1300, 3),
        (1297, 1299, 2),
        (1421, 1420, 15),
        (2840, 1420, 0),
        (2841, 1420, 15),
        (4255, 1420, 5),
        (65_535, 1420, 9),
        // No MTU is known.
        (1409, 0, 15),
        (65_535, 0, 1),
    ] {
        assert_eq!(padding(len, mtu), zeros, "{len} bytes, MTU {mtu}");
    }
}

/// Which route a packet took is not known, but that its MTU is not below the packet.
#[test]
fn p89_padding_stops_at_the_mtu_of_a_route() {
    let mtus = Mtus::new(1300, vec![1299, 0, 600, 1299, 9000]);
    assert_eq!(mtus.interface(), 1300);
    for (len, zeros) in [
        (593, 7),
        (600, 0),
        (601, 7),
        (1297, 2),
        (1299, 0),
        (1300, 0),
        (1301, 15),
    ] {
        assert_eq!(mtus.padding(len), zeros, "{len} bytes");
    }
    let many = Mtus::new(1300, (1000..1200).rev().collect());
    assert_eq!((many.padding(999), many.padding(1007)), (1, 0));
    assert_eq!(many.padding(1199), 1, "one too many to be known");
    assert_eq!(Mtus::default().padding(1409), 15);
}

#[test]
fn p89_padding_is_zero_and_keepalives_have_none() {
    let mut world = World::connected(1);
    for len in [28, 29, 44, 1409, 1420, 1421, 4001] {
        let mut message = sent(&mut world, len).bytes;
        let stride = message.len();
        // It is opened where it lies.
        world.receive(B, address(A), &mut message, stride);
        let behind = &message[DATA_HEADER_LEN..stride - 16][len..];
        assert_eq!(behind.len(), padding(len, MTU));
        assert!(behind.iter().all(|&byte| byte == 0), "{len}: {behind:?}");
    }
    assert_eq!(DATA_OVERHEAD, 32, "the length of a keepalive");
}

/// P90: 40 bytes of IPv6, 8 of UDP and 32 of ours are what 1500 have more than 1420.
#[test]
fn p90_a_full_packet_fills_an_ethernet_frame_over_ipv6() {
    let mut world = World::connected(2);
    assert_eq!(MTU, 1500 - 80);
    assert_eq!(sent(&mut world, MTU).bytes.len() + 8 + 40, 1500);
}

/// P91: somebody may have given the device another MTU where we cannot see it.
#[test]
fn p91_the_longest_packet_passes_whatever_the_mtu_is_known_to_be() {
    let mut world = World::connected(3);
    for mtu in [1420, 0, 576, 65_535] {
        world.sites[A].gateway.set_mtus(Mtus::new(mtu, Vec::new()));
        for len in [1500, 34_736, 65_534, 65_535] {
            let mut message = sent(&mut world, len).bytes;
            let stride = message.len();
            assert_eq!(stride, len + padding(len, mtu) + DATA_OVERHEAD);
            world.sites[B].overlay.0.clear();
            world.receive(B, address(A), &mut message, stride);
            let payloads = world.payloads(B);
            assert!(payloads == [vec![0xff; len - 28]], "{len} bytes, MTU {mtu}");
        }
    }
}
