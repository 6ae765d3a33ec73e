//! What an opened packet may do: roam always, enter the site only with an address of its peer.

use core::{net::SocketAddr, time::Duration};

use weapon_core::{DropReason, HANDSHAKE_QUEUE_MAX};
use weapon_wire::{VnetHeader, message::DATA_OVERHEAD};

use crate::{
    packets::{udp, v4, v6},
    world::{A, B, C, Wire, World, address},
};

/// What `us` would send `them` if its gateway let anything pass.
fn sealed(world: &World, us: usize, plaintext: &[u8]) -> Vec<u8> {
    let fib = world.sites[us].fib.load_full();
    let keypair = fib.peers[0].link.sending(world.now).expect("a session");
    let keypair = keypair.as_deref().unwrap();
    let counter = keypair.reserve(1).unwrap();
    let mut message = vec![0; plaintext.len() + DATA_OVERHEAD];
    keypair.seal(counter, plaintext, 0, &mut message).unwrap();
    message
}

fn receive(world: &mut World, us: usize, from: SocketAddr, mut bytes: Vec<u8>) {
    let stride = bytes.len();
    world.receive(us, from, &mut bytes, stride);
}

fn endpoint(world: &World, us: usize) -> SocketAddr {
    let status = world.sites[us].gateway.status(world.now);
    status.peers[0].endpoint.expect("an endpoint")
}

fn elsewhere() -> SocketAddr {
    "198.51.100.9:9".parse().unwrap()
}

#[test]
fn p50_what_fails_inside_still_counts_for_roaming_and_timers() {
    let mut world = World::connected(1);
    let wrong_source = udp(v4(7, 7), v4(B, 1), b"spoofed");
    let cases = [
        (b"not IP".to_vec(), DropReason::InnerMalformed),
        (wrong_source, DropReason::WrongSource),
    ];
    let before = world.sites[B].overlay.0.len();
    for (number, (inner, reason)) in cases.into_iter().enumerate() {
        world.forget();
        let from = SocketAddr::new(elsewhere().ip(), 100 + number as u16);
        let message = sealed(&world, A, &inner);
        receive(&mut world, B, from, message);
        assert_eq!(world.sites[B].dropped(reason), 1);
        assert_eq!(endpoint(&world, B), from);
        let status = world.sites[B].gateway.status(world.now);
        assert_eq!(status.peers[0].last_received_age, Some(Duration::ZERO));
        world.drive(Duration::from_secs(11));
        assert_eq!(world.sent(B, Wire::Keepalive), [10_000]);
    }
    assert_eq!(world.sites[B].overlay.0.len(), before);
}

#[test]
fn p77_data_moves_the_endpoint_but_replays_and_forgeries_do_not() {
    let mut world = World::connected(2);
    let message = sealed(&world, A, &udp(v4(A, 1), v4(B, 1), b"once"));
    let mut forged = message.clone();
    *forged.last_mut().unwrap() ^= 1;
    receive(&mut world, B, elsewhere(), forged);
    assert_eq!(endpoint(&world, B), address(A));
    receive(&mut world, B, address(A), message.clone());
    receive(&mut world, B, elsewhere(), message);
    assert_eq!(endpoint(&world, B), address(A));
    assert_eq!(
        world.sites[B].drops(),
        [(DropReason::Replayed, 1), (DropReason::Forged, 1)]
    );
    let keepalive = sealed(&world, A, &[]);
    receive(&mut world, B, elsewhere(), keepalive);
    assert_eq!(endpoint(&world, B), elsewhere());
}

#[test]
fn p77_handshakes_move_the_endpoint() {
    let mut world = World::connected(3);
    world.sites[A].address = elsewhere();
    world.sites[B].address = "198.51.100.8:8".parse().unwrap();
    world.control(A, |gateway, env| {
        gateway.down(env);
        gateway.up(env);
    });
    world.ping(A, B, b"asks for a session").unwrap();
    let (_, initiation) = world.messages(A, Wire::Initiation).next().unwrap();
    let bytes = initiation.bytes.clone();
    receive(&mut world, B, elsewhere(), bytes);
    assert_eq!(world.count(B, Wire::Response), 1);
    assert_eq!(endpoint(&world, B), elsewhere(), "by the initiation");

    assert_eq!(endpoint(&world, A), address(B));
    world.drive(Duration::from_millis(10));
    assert_eq!(
        endpoint(&world, A),
        world.sites[B].address,
        "by the response"
    );
}

#[test]
fn p77_cookie_replies_and_replayed_handshakes_move_nothing() {
    let mut world = World::new(10, 2);
    world.sites[B].backlog = HANDSHAKE_QUEUE_MAX / 8;
    world.sites[B].address = elsewhere();
    world.ping(A, B, b"asks for a session").unwrap();
    let (_, sent) = world.messages(A, Wire::Initiation).next().unwrap();
    let initiation = sent.bytes.clone();
    receive(&mut world, B, address(A), initiation);
    assert_eq!(world.count(B, Wire::Cookie), 1);
    world.drive(Duration::from_millis(10));
    assert_eq!(world.sites[A].drops(), [], "the cookie is good");
    assert_eq!(endpoint(&world, A), address(B), "and authenticates nobody");

    let mut world = World::connected(11);
    world.control(A, |gateway, env| {
        gateway.down(env);
        gateway.up(env);
    });
    world.ping(A, B, b"asks for a session").unwrap();
    let (_, sent) = world.messages(A, Wire::Initiation).next().unwrap();
    let initiation = sent.bytes.clone();
    world.drive(Duration::from_secs(1));
    assert_eq!(world.count(B, Wire::Response), 1);
    let mut forged = initiation.clone();
    forged[50] ^= 1;
    for replayed in [initiation, forged] {
        receive(&mut world, B, elsewhere(), replayed);
        assert_eq!(endpoint(&world, B), address(A));
    }
    assert_eq!(world.count(B, Wire::Response), 1);
}

#[test]
fn p83_a_pinned_endpoint_stays() {
    let mut world = World::new(4, 2);
    let fib = world.sites[B].fib.load_full();
    fib.peers[0].link.set_endpoint_pinned(true);
    world.ping(A, B, b"data").unwrap();
    world.drive(Duration::from_secs(1));
    let keepalive = sealed(&world, A, &[]);
    receive(&mut world, B, elsewhere(), keepalive);
    assert_eq!(
        endpoint(&world, B),
        address(A),
        "roaming mischief is in vain"
    );
    let learned = fib.peers[0].link.endpoint().as_deref().copied();
    assert!(learned.unwrap().source.is_some(), "the source is learned");
}

#[test]
fn p85_the_inner_source_must_route_back_to_the_peer() {
    let mut world = World::new(5, 3);
    let everything = ["0.0.0.0/0", "::/0"];
    let from_a = world.id(B, A);
    for network in everything {
        let network = network.parse().unwrap();
        world.sites[B].gateway.add_network(from_a, network);
    }
    world.ping(A, B, b"own address").unwrap();
    world.drive(Duration::from_secs(1));
    assert_eq!(world.payloads(B).len(), 1);

    for (source, passes) in [
        (v4(A, 9), true),
        (v6(A, 9), true),
        ("8.8.8.8".parse().unwrap(), true),
        (v4(C, 9), false),
        (v6(C, 9), false),
    ] {
        let destination = if source.is_ipv4() { v4(B, 1) } else { v6(B, 1) };
        let before = world.sites[B].overlay.0.len();
        let message = sealed(&world, A, &udp(source, destination, b"from?"));
        receive(&mut world, B, address(A), message);
        let passed = world.sites[B].overlay.0.len() - before;
        assert_eq!(passed, usize::from(passes), "{source}");
    }
    assert_eq!(world.sites[B].drops(), [(DropReason::WrongSource, 2)]);
}

#[test]
fn p85_each_source_of_a_train_is_checked() {
    let mut world = World::new(12, 3);
    world.ping(A, B, b"asks for a session").unwrap();
    world.drive(Duration::from_secs(1));
    world.switch_offloads_off(B);
    let before = world.payloads(B).len();
    let mut train = Vec::new();
    for (number, site) in [A, C, A, 7, A, A].into_iter().enumerate() {
        let inner = udp(v4(site, 1), v4(B, 1), &[number as u8; 20]);
        train.extend_from_slice(&sealed(&world, A, &inner));
    }
    world.receive(B, address(A), &mut train, 80);
    let passed: Vec<u8> = world.payloads(B)[before..].iter().map(|it| it[0]).collect();
    assert_eq!(passed, [0, 2, 4, 5]);
    assert_eq!(world.sites[B].drops(), [(DropReason::WrongSource, 2)]);
}

#[test]
fn p85_p88_a_more_specific_network_of_another_peer_blocks_at_once() {
    let mut world = World::new(6, 3);
    world.ping(A, B, b"allowed").unwrap();
    world.drive(Duration::from_secs(1));
    let c = world.id(B, C);
    let network = "10.0.0.5/32".parse().unwrap();
    world.sites[B].gateway.add_network(c, network);
    let message = sealed(&world, A, &udp(v4(A, 5), v4(B, 1), b"spoofed now"));
    receive(&mut world, B, elsewhere(), message);
    assert_eq!(world.payloads(B).len(), 1);
    assert_eq!(world.sites[B].drops(), [(DropReason::WrongSource, 1)]);
    assert_eq!(endpoint(&world, B), elsewhere(), "it roams all the same");
}

#[test]
fn p87_only_whole_ip_packets_enter_and_padding_does_not() {
    let mut world = World::connected(7);
    world.switch_offloads_off(B);
    let good = udp(v4(A, 1), v4(B, 1), b"payload");
    let good6 = udp(v6(A, 1), v6(B, 1), b"payload");
    let edit = |packet: &[u8], at: usize, value: u8| {
        let mut packet = packet.to_vec();
        packet[at] = value;
        packet
    };
    let bad = [
        good[..19].to_vec(),
        good6[..39].to_vec(),
        edit(&good, 0, 0x55),
        edit(&good, 3, 19),
        edit(&good, 3, good.len() as u8 + 1),
        edit(&edit(&good6, 4, 0xff), 5, 0xff),
        edit(&edit(&good6, 4, 0xff), 5, 0xd8),
        vec![0x40],
        vec![0; 16],
    ];
    let before = world.sites[B].overlay.0.len();
    for inner in &bad {
        let message = sealed(&world, A, inner);
        receive(&mut world, B, address(A), message);
    }
    let malformed = (DropReason::InnerMalformed, bad.len() as u64);
    assert_eq!(world.sites[B].drops(), [malformed]);
    assert_eq!(world.sites[B].overlay.0.len(), before);

    for packet in [&good, &good6] {
        let mut padded = packet.clone();
        padded.resize(packet.len().next_multiple_of(16) + 16, 0);
        let message = sealed(&world, A, &padded);
        receive(&mut world, B, address(A), message);
        let (vnet, written) = world.sites[B].overlay.0.last().unwrap();
        assert_eq!(*vnet, VnetHeader::default());
        assert!(written == packet, "cut to its length");
    }
}

#[test]
fn p60_a_counter_at_the_limit_is_refused() {
    let mut world = World::connected(8);
    for counter in [weapon_noise::protocol::REJECT_AFTER_MESSAGES, u64::MAX] {
        let mut message = sealed(&world, A, &[]);
        message[8..16].copy_from_slice(&counter.to_le_bytes());
        receive(&mut world, B, address(A), message);
    }
    assert_eq!(world.sites[B].drops(), [(DropReason::SessionExpired, 2)]);
}

#[test]
fn a_bad_datagram_does_not_stop_its_train() {
    let mut world = World::connected(9);
    let mut train = Vec::new();
    for number in 0..10_u8 {
        let inner = udp(v4(A, 1), v4(B, 1), &[number; 20]);
        let mut message = sealed(&world, A, &inner);
        match number {
            2 => message[0] = 9,
            3 => message[4] ^= 1,
            5 => message[30] ^= 1,
            _ => {}
        }
        train.extend_from_slice(&message);
    }
    let replayed = train[..80].to_vec();
    train.extend_from_slice(&replayed);
    let before = world.sites[B].overlay.0.len();
    world.receive(B, address(A), &mut train, 80);
    let written = &world.sites[B].overlay.0[before..];
    let payload: Vec<u8> = written
        .iter()
        .flat_map(|(_, packet)| packet[28..].to_vec())
        .collect();
    let expected: Vec<u8> = [0, 1, 4, 6, 7, 8, 9]
        .iter()
        .flat_map(|n| [*n; 20])
        .collect();
    assert_eq!(payload, expected, "in order");
    let drops = [
        (DropReason::NotWireGuard, 1),
        (DropReason::UnknownIndex, 1),
        (DropReason::Replayed, 1),
        (DropReason::Forged, 1),
    ];
    assert_eq!(world.sites[B].drops(), drops);
}
