//! Sites with the same addresses: what peers see, and what the hosts behind a gateway see.

use core::{net::IpAddr, time::Duration};

use etherparse::Ipv4HeaderSlice;
use ipnet::IpNet;
use weapon_core::{DropReason, GatewayChange, PrefixMapping, SessionStatus};
use weapon_wire::{Flow, icmp};

use crate::{
    packets::{plain, udp, v4},
    world::{A, B, World},
};

fn mapping(inside: &str, outside: &str) -> PrefixMapping {
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    PrefixMapping {
        inside: net(inside),
        outside: net(outside),
    }
}

fn set(world: &mut World, us: usize, mappings: Vec<PrefixMapping>) {
    let change = GatewayChange {
        mappings: Some(mappings),
        ..GatewayChange::default()
    };
    world.control(us, |gateway, env| gateway.change(change, env));
}

/// Two sites, both 192.168.1.0/24 and fd00:77::/64, that know each other by other prefixes.
fn overlapping(seed: u64) -> World {
    let mut world = World::connected(seed);
    for us in [A, B] {
        let mappings = vec![
            mapping("192.168.1.0/24", &format!("10.0.{us}.0/24")),
            mapping("fd00:77::/64", &format!("fd00:{us:x}::/64")),
        ];
        set(&mut world, us, mappings);
        world.switch_offloads_off(us);
        world.sites[us].overlay.0.clear();
    }
    world
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What came out at `us`, the last of it.
fn arrived(world: &mut World, us: usize) -> Vec<u8> {
    world.drive(Duration::from_secs(1));
    let (_, packet) = world.sites[us].overlay.0.pop().expect("a packet");
    packet
}

fn ends(packet: &[u8]) -> (IpAddr, IpAddr) {
    let flow = Flow::parse(packet).unwrap();
    (flow.source, flow.destination)
}

#[test]
fn hosts_with_the_same_addresses_reach_each_other() {
    let mut world = overlapping(1);
    for (here, there, seen) in [
        ("192.168.1.5", "10.0.1.6", ("10.0.0.5", "192.168.1.6")),
        ("fd00:77::5", "fd00:1::6", ("fd00::5", "fd00:77::6")),
    ] {
        let packet = udp(ip(here), ip(there), b"hello");
        world.read(A, plain(&packet)).unwrap();
        let expected = udp(ip(seen.0), ip(seen.1), b"hello");
        assert_eq!(arrived(&mut world, B), expected);

        // The answer, to the address that was seen.
        let answer = udp(ip(seen.1), ip(seen.0), b"hello yourself");
        world.read(B, plain(&answer)).unwrap();
        let expected = udp(ip(there), ip(here), b"hello yourself");
        assert_eq!(arrived(&mut world, A), expected);
    }
    for us in [A, B] {
        assert_eq!(world.sites[us].drops(), []);
    }
}

#[test]
fn an_error_is_about_the_packet_that_its_receiver_has_sent() {
    let mut world = overlapping(2);
    let packet = udp(ip("192.168.1.5"), ip("10.0.1.6"), b"is there a port?");
    world.read(A, plain(&packet)).unwrap();
    let there = arrived(&mut world, B);

    let mut error = [0; icmp::ERROR_LEN_MAX];
    let len = icmp::unreachable(&there, Some(ip("192.168.1.6")), &mut error).unwrap();
    world.read(B, plain(&error[..len])).unwrap();
    let error = arrived(&mut world, A);
    assert_eq!(ends(&error), (ip("10.0.1.6"), ip("192.168.1.5")));
    let header = Ipv4HeaderSlice::from_slice(&error).unwrap().to_header();
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    // What is quoted is what was sent, as far as it goes.
    assert_eq!(error[28..], packet[..error.len() - 28]);
}

#[test]
fn what_nobody_has_is_answered_to_whom_the_host_is() {
    let mut world = overlapping(3);
    let packet = udp(ip("192.168.1.5"), v4(9, 9), b"who is there");
    assert_eq!(world.read(A, plain(&packet)), Err(DropReason::NoRoute));
    let (_, error) = world.sites[A].overlay.0.pop().expect("an answer");
    assert_eq!(ends(&error), (v4(9, 9), ip("192.168.1.5")));
    assert_eq!(error[28..], packet[..error.len() - 28]);
}

#[test]
fn an_address_on_the_wrong_side_is_nobodys() {
    let mut world = overlapping(4);
    // A host that calls itself as a neighbour is called outside.
    let packet = udp(ip("10.0.0.5"), ip("10.0.1.6"), b"");
    assert_eq!(world.read(A, plain(&packet)), Err(DropReason::NotMapped));
    // A peer that asks for an address that only hosts there have.
    let mut one = World::connected(5);
    set(&mut one, B, vec![mapping("10.0.1.0/24", "10.9.1.0/24")]);
    one.sites[B].overlay.0.clear();
    one.ping(A, B, b"hello").unwrap();
    one.drive(Duration::from_secs(1));
    assert_eq!(one.sites[B].drops(), [(DropReason::NotMapped, 1)]);
    assert!(one.sites[B].overlay.0.is_empty());
}

#[test]
fn a_packet_that_waited_for_a_session_is_mapped_once() {
    // Each prefix is the other's outside: mapped twice, it would be back.
    let mut world = World::new(6, 2);
    let swapped = vec![
        mapping("192.168.1.0/24", "10.0.0.0/24"),
        mapping("10.0.0.0/24", "192.168.1.0/24"),
    ];
    set(&mut world, A, swapped);
    let packet = udp(ip("192.168.1.5"), v4(B, 6), b"early");
    world.read(A, plain(&packet)).unwrap();
    world.drive(Duration::from_secs(5));
    assert_eq!(world.payloads(B), [b"early".to_vec()]);
    assert_eq!(ends(&world.sites[B].overlay.0[0].1).0, v4(A, 5));
}

#[test]
fn a_mapping_comes_and_goes_while_the_session_stays() {
    let mut world = overlapping(7);
    let session = world.sites[A].gateway.status(world.now).peers[0].session;
    let packet = udp(ip("192.168.1.5"), ip("10.0.1.6"), b"1");
    world.read(A, plain(&packet)).unwrap();
    assert_eq!(ends(&arrived(&mut world, B)).0, ip("10.0.0.5"));

    set(&mut world, A, Vec::new());
    world.read(A, plain(&packet)).unwrap();
    world.drive(Duration::from_secs(1));
    let dropped = world.sites[B].dropped(DropReason::WrongSource);
    assert_eq!(dropped, 1, "the peer does not know that address");
    let after = world.sites[A].gateway.status(world.now).peers[0].session;
    let role = |session: Option<SessionStatus>| session.map(|it| it.role);
    assert_eq!(role(after), role(session));
}
