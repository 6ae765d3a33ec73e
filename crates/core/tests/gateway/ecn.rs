//! P92: congestion marks cross the tunnel in both directions, and DSCP does not.

use core::{net::IpAddr, time::Duration};

use weapon_wire::{
    Flow, VnetHeader,
    ecn::{CE, ECT_0, ECT_1, NOT_ECT},
};

use crate::{
    packets::{plain, udp, v4, v6},
    site::Sent,
    superpackets::superpacket,
    world::{A, B, Wire, World, address},
};

/// The packet with this DS field and, if it is IPv4, a header checksum that fits.
fn with_tos(mut packet: Vec<u8>, tos: u8) -> Vec<u8> {
    if packet[0] >> 4 == 6 {
        packet[0] = 0x60 | tos >> 4;
        packet[1] = packet[1] & 0x0f | tos << 4;
        return packet;
    }
    packet[1] = tos;
    packet[10..12].fill(0);
    let sum = weapon_wire::checksum::partial(&packet[..20]);
    packet[10..12].copy_from_slice(&weapon_wire::checksum::finish(sum).to_be_bytes());
    packet
}

fn small(ends: (IpAddr, IpAddr), tos: u8, payload: &[u8]) -> Vec<u8> {
    with_tos(udp(ends.0, ends.1, payload), tos)
}

/// From A to B, in either family.
fn ends() -> [(IpAddr, IpAddr); 2] {
    [(v4(A, 5), v4(B, 6)), (v6(A, 5), v6(B, 6))]
}

/// A superpacket of TCP as it is read from the overlay, with this DS field.
fn super_read(is_v6: bool, tos: u8, payload: &[u8]) -> Vec<u8> {
    let sent = superpacket(is_v6, true, 1000, payload);
    [&sent.vnet.to_bytes()[..], &with_tos(sent.packet, tos)].concat()
}

/// What A sends of all this in one turn.
fn read_all(world: &mut World, reads: &[Vec<u8>]) -> Vec<Sent> {
    let now = world.now;
    let results = world.sites[A].read_all(now, reads);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    core::mem::take(&mut world.sites[A].outbox.sent)
}

/// What B writes when these arrive as trains of equal lengths, all with this DS field.
fn received(world: &mut World, sent: &[Sent], tos: u8) -> Vec<(VnetHeader, Vec<u8>)> {
    world.sites[B].overlay.0.clear();
    let now = world.now;
    for train in sent.chunk_by(|one, next| one.bytes.len() == next.bytes.len()) {
        let stride = train[0].bytes.len();
        let mut bytes: Vec<u8> = train.iter().flat_map(|sent| sent.bytes.clone()).collect();
        world.sites[B].receive_marked(now, address(A), &mut bytes, stride, tos);
    }
    core::mem::take(&mut world.sites[B].overlay.0)
}

fn traffic_class(packet: &[u8]) -> u8 {
    Flow::parse(packet).unwrap().traffic_class
}

#[test]
fn p92_data_carries_the_inner_ecn_and_no_dscp() {
    let mut world = World::connected(1);
    for (inner, outer) in [
        (NOT_ECT, NOT_ECT),
        (ECT_1, ECT_1),
        (ECT_0, ECT_0),
        (CE, ECT_0),
    ] {
        for dscp in [0, 0x2e, 0x3f] {
            let tos = dscp << 2 | inner;
            for ends in ends() {
                let read = plain(&small(ends, tos, b"one"));
                let sent = read_all(&mut world, &[read]);
                assert_eq!((sent.len(), sent[0].tos), (1, outer));
            }
            for is_v6 in [false, true] {
                let sent = read_all(&mut world, &[super_read(is_v6, tos, &[7; 4500])]);
                assert_eq!(sent.len(), 5);
                assert!(sent.iter().all(|sent| sent.tos == outer), "each segment");
            }
        }
    }
}

/// Packets that are sealed together keep each its own.
#[test]
fn p92_packets_of_one_turn_do_not_share_their_ecn() {
    let mut world = World::connected(2);
    let inner = [NOT_ECT, ECT_0, CE, ECT_1, NOT_ECT, NOT_ECT, CE];
    let reads: Vec<_> = (0..)
        .zip(inner)
        .map(|(number, ecn)| plain(&small(ends()[usize::from(number) % 2], ecn, &[number; 40])))
        .collect();
    let sent = read_all(&mut world, &reads);
    let outer: Vec<u8> = sent.iter().map(|sent| sent.tos).collect();
    assert_eq!(
        outer,
        [NOT_ECT, ECT_0, ECT_0, ECT_1, NOT_ECT, NOT_ECT, ECT_0]
    );
}

#[test]
fn p92_a_parked_packet_keeps_its_ecn_and_handshakes_are_af41() {
    let mut world = World::new(3, 2);
    world
        .read(A, plain(&small(ends()[0], ECT_0, b"first")))
        .unwrap();
    world.drive(Duration::from_secs(30));
    let tos =
        |us, wire| -> Vec<u8> { world.messages(us, wire).map(|(_, sent)| sent.tos).collect() };
    assert_eq!(tos(A, Wire::Initiation), [0x88]);
    assert_eq!(tos(B, Wire::Response), [0x88]);
    assert_eq!(tos(A, Wire::Data), [ECT_0]);
    assert_eq!(tos(B, Wire::Keepalive), [0], "nothing is inside");
}

#[test]
fn p92_a_mark_on_the_way_comes_into_packets_that_know_ecn() {
    let mut world = World::connected(4);
    for (inner, outer, expected) in [
        (NOT_ECT, CE, NOT_ECT),
        (ECT_0, CE, CE),
        (ECT_1, CE, CE),
        (CE, CE, CE),
        (CE, ECT_0, CE),
        (ECT_0, ECT_1, ECT_1),
        (ECT_0, NOT_ECT, ECT_0),
    ] {
        let tos = 0xb8 | inner;
        for ends in ends() {
            // Alone it is written as it came, but for the mark.
            let packet = small(ends, tos, b"one");
            let sent = read_all(&mut world, &[plain(&packet)]);
            world.switch_offloads_off(B);
            let written = received(&mut world, &sent, outer);
            let expected = with_tos(packet, 0xb8 | expected);
            assert_eq!(written, [(VnetHeader::default(), expected)]);
            world.switch_offloads_on(B);
        }
        for is_v6 in [false, true] {
            let read = super_read(is_v6, tos, &[7; 4500]);
            let sent = read_all(&mut world, core::slice::from_ref(&read));
            let written = received(&mut world, &sent[..4], outer);
            assert_eq!(written.len(), 1, "one superpacket as before");
            let packet = &written[0].1;
            assert_eq!(traffic_class(packet), 0xb8 | expected);
            let sum = weapon_wire::checksum::partial(&packet[..20]);
            assert!(is_v6 || weapon_wire::checksum::finish(sum) == 0);
        }
    }
    assert_eq!(world.sites[B].drops(), []);
}

/// A train that was marked, of segments some of which were so before: what differs is not merged.
#[test]
fn p92_segments_of_different_ecn_are_not_merged() {
    let mut world = World::connected(5);
    let reads =
        [ECT_0, CE, NOT_ECT, NOT_ECT, ECT_0].map(|ecn| plain(&small(ends()[0], ecn, &[ecn; 100])));
    let sent = read_all(&mut world, &reads);
    let classes = |written: &[(VnetHeader, Vec<u8>)]| -> Vec<(u8, usize)> {
        let of = |(vnet, packet): &(VnetHeader, Vec<u8>)| {
            let segments = (packet.len() - 28) / usize::from(vnet.gso_size.max(100));
            (traffic_class(packet), segments)
        };
        written.iter().map(of).collect()
    };
    let unmarked = received(&mut world, &sent, ECT_0);
    let expected = [(ECT_0, 1), (CE, 1), (NOT_ECT, 2), (ECT_0, 1)];
    assert_eq!(classes(&unmarked), expected);
    let sent = read_all(&mut world, &reads);
    let marked = received(&mut world, &sent, CE);
    assert_eq!(classes(&marked), [(CE, 2), (NOT_ECT, 2), (CE, 1)]);
}
