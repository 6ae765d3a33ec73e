//! Superpackets go through two gateways and come out as they were.

use core::time::Duration;

use etherparse::PacketBuilder;
use weapon_wire::{VnetHeader, checksum};

use crate::{
    network::Dice,
    packets::{v4, v6},
    world::{A, B, MTU, Wire, World},
};

/// A superpacket as Linux hands it over: lengths of the whole, the checksum field holds the
/// pseudo-header's sum.
pub(crate) struct Super {
    pub(crate) vnet: VnetHeader,
    pub(crate) packet: Vec<u8>,
}

pub(crate) fn superpacket(is_v6: bool, is_tcp: bool, gso_size: u16, payload: &[u8]) -> Super {
    let (source, destination) = if is_v6 {
        (v6(A, 9), v6(B, 9))
    } else {
        (v4(A, 9), v4(B, 9))
    };
    let ip = match (source, destination) {
        (core::net::IpAddr::V4(source), core::net::IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), 64)
        }
        (core::net::IpAddr::V6(source), core::net::IpAddr::V6(destination)) => {
            PacketBuilder::ipv6(source.octets(), destination.octets(), 64)
        }
        _ => unreachable!("both are of one family"),
    };
    let mut packet = Vec::new();
    if is_tcp {
        let tcp = ip.tcp(40_000, 443, 0xffff_ff00, 1000).ack(77).psh();
        tcp.write(&mut packet, payload).unwrap();
    } else {
        ip.udp(40_000, 443).write(&mut packet, payload).unwrap();
    }
    let ip_len = if is_v6 { 40 } else { 20 };
    let (protocol, transport_len, offset) = if is_tcp { (6, 20, 16) } else { (17, 8, 6) };
    let len = packet.len() - ip_len;
    let sum = checksum::pseudo_header(source, destination, protocol, len);
    let field = ip_len + offset;
    packet[field..field + 2].copy_from_slice(&checksum::fold(sum).to_be_bytes());
    let gso_type = match (is_tcp, is_v6) {
        (true, false) => VnetHeader::GSO_TCPV4,
        (true, true) => VnetHeader::GSO_TCPV6,
        (false, _) => VnetHeader::GSO_UDP_L4,
    };
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type,
        hdr_len: (ip_len + transport_len) as u16,
        gso_size,
        csum_start: ip_len as u16,
        csum_offset: offset as u16,
    };
    Super { vnet, packet }
}

fn random_superpacket(dice: &mut Dice) -> Super {
    let gso_size = 1 + dice.below(MTU as u64 - 60);
    let segments = 2 + dice.below(39);
    let rest = 1 + dice.below(gso_size);
    let payload: Vec<u8> = (0..gso_size * (segments - 1) + rest)
        .map(|_| dice.roll() as u8)
        .collect();
    superpacket(
        dice.happens(50),
        dice.happens(50),
        gso_size as u16,
        &payload,
    )
}

fn assert_came_out(world: &mut World, sent: &Super) {
    let written = core::mem::take(&mut world.sites[B].overlay.0);
    assert_eq!(written.len(), 1, "merged into one");
    let (vnet, packet) = &written[0];
    assert_eq!(*vnet, sent.vnet);
    assert!(*packet == sent.packet, "byte for byte");
}

#[test]
fn a_superpacket_comes_out_as_it_went_in() {
    let mut world = World::connected(1);
    world.sites[B].overlay.0.clear();
    let mut dice = Dice(1);
    for _ in 0..100 {
        let sent = random_superpacket(&mut dice);
        let mut read = sent.vnet.to_bytes().to_vec();
        read.extend_from_slice(&sent.packet);
        world.read(A, read).unwrap();
        world.drive(Duration::from_millis(11));
        assert_came_out(&mut world, &sent);
    }
    assert_eq!(world.sites[A].drops(), []);
    assert_eq!(world.sites[B].drops(), []);
}

#[test]
fn p34_a_parked_superpacket_comes_out_as_it_went_in() {
    let mut world = World::new(2, 2);
    let sent = random_superpacket(&mut Dice(2));
    let mut read = sent.vnet.to_bytes().to_vec();
    read.extend_from_slice(&sent.packet);
    world.read(A, read).unwrap();
    world.drive(Duration::from_secs(1));
    assert_came_out(&mut world, &sent);
}

#[test]
fn p98_a_parked_packet_leaves_with_the_checksum_that_it_needed() {
    for (is_v6, is_tcp) in [(false, false), (false, true), (true, false), (true, true)] {
        let sent = superpacket(is_v6, is_tcp, 0, b"the first of a connection");
        let whole = VnetHeader {
            gso_type: VnetHeader::GSO_NONE,
            ..sent.vnet
        };
        let mut came_out = [World::new(4, 2), World::connected(4)].map(|mut world| {
            world.switch_offloads_off(B);
            world.sites[B].overlay.0.clear();
            let mut read = whole.to_bytes().to_vec();
            read.extend_from_slice(&sent.packet);
            world.read(A, read).unwrap();
            world.drive(Duration::from_secs(1));
            core::mem::take(&mut world.sites[B].overlay.0)
        });
        let [parked, direct] = &mut came_out;
        assert_eq!(direct.len(), 1);
        assert_eq!(parked, direct, "IPv6 {is_v6}, TCP {is_tcp}");
        let ip_len = if is_v6 { 40 } else { 20 };
        let (source, destination) = if is_v6 {
            (v6(A, 9), v6(B, 9))
        } else {
            (v4(A, 9), v4(B, 9))
        };
        let packet = &parked[0].1;
        let protocol = if is_tcp { 6 } else { 17 };
        let sum = checksum::pseudo_header(source, destination, protocol, packet.len() - ip_len)
            + checksum::partial(&packet[ip_len..]);
        assert_eq!(checksum::finish(sum), 0, "IPv6 {is_v6}, TCP {is_tcp}");
    }
}

#[test]
fn p58_each_segment_has_the_next_counter() {
    let mut world = World::connected(3);
    let sent = superpacket(false, true, 1000, &[7; 5500]);
    let mut read = sent.vnet.to_bytes().to_vec();
    read.extend_from_slice(&sent.packet);
    world.read(A, read).unwrap();
    let counters: Vec<u64> = world
        .messages(A, Wire::Data)
        .map(|(_, sent)| weapon_wire::message::data_counter(&sent.bytes))
        .collect();
    let first = counters[0];
    let expected: Vec<u64> = (first..first + 6).collect();
    assert_eq!(counters, expected);
    let status = world.sites[A].gateway.status(world.now);
    assert_eq!(status.peers[0].session.unwrap().sent_packets, first + 6);
}

#[test]
fn p89_segments_are_padded_to_16_but_not_past_the_mtu() {
    let mut world = World::connected(4);
    for len in [1, 2, 15, 16, 17, 1370, 1378, 1380, 1391, 1392] {
        world.forget();
        world.ping(A, B, &vec![1; len]).unwrap();
        let inner = len + 28;
        let sealed = world.messages(A, Wire::Data).next().unwrap().1.bytes.len();
        assert_eq!(sealed - 32, inner.next_multiple_of(16).min(MTU), "{len}");
        world.drive(Duration::from_millis(11));
    }
    assert_eq!(world.payloads(B).last().unwrap().len(), 1392);
}
