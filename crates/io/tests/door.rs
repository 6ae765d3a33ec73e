//! What the kernel gives to which of the sockets that share a port.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
};

use weapon_io::udp::{Family, Receiver, Socket, Udp, UdpConfig};

/// Enough that four lanes all get some.
const SENDERS: usize = 64;

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => [127, 0, 0, 1].into(),
        Family::V6 => [0, 0, 0, 0, 0, 0, 0, 1].into(),
    }
}

/// A message of this type and length.
fn message(kind: u8, len: usize) -> Vec<u8> {
    let mut message = vec![0xcc; len];
    message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    message
}

/// All that has come: who sent it, the first byte and the length.
fn received(socket: &Udp, family: Family) -> Vec<(SocketAddr, u8, usize)> {
    let mut receiver = Receiver::new(8);
    let mut all = Vec::new();
    loop {
        let trains = receiver.receive(socket, family).unwrap();
        if trains == 0 {
            return all;
        }
        for index in 0..trains {
            let train = receiver.train(index);
            for slot in train.bytes.chunks(train.stride) {
                let datagram = &slot[..train.len.min(slot.len())];
                all.push((train.from.remote, datagram[0], datagram.len()));
            }
        }
    }
}

fn what_comes_to(lanes: usize, family: Family) {
    let sockets = Udp::bind_lanes(&UdpConfig::default(), lanes).unwrap();
    assert_eq!(sockets.lanes.len(), lanes);
    assert!(!sockets.doors.is_empty(), "Linux 4.5 or newer");
    if sockets.lanes[0].fd(family).is_none() {
        eprintln!("skipped: the host has no IPv6");
        return;
    }
    let target = SocketAddr::new(loopback(family), sockets.lanes[0].port());
    let senders = (0..SENDERS).map(|_| UdpSocket::bind((loopback(family), 0)).unwrap());
    let senders: Vec<_> = senders.collect();
    let handshakes = [(1, 148), (2, 92), (3, 64), (9, 40)];
    for sender in &senders {
        for (kind, len) in handshakes.into_iter().chain([(4, 32), (4, 1000)]) {
            sender.send_to(&message(kind, len), target).unwrap();
        }
    }
    // Too short to be anything.
    senders[0].send_to(&[1], target).unwrap();

    let at_doors = sockets.doors.iter().map(|door| received(door, family));
    // All of one network come to one door.
    let mut at_doors = at_doors.filter(|all| !all.is_empty());
    let at_door = at_doors.next().unwrap();
    assert!(at_doors.next().is_none());
    assert_eq!(at_door.len(), SENDERS * handshakes.len());
    for (_, kind, len) in at_door {
        assert!(handshakes.contains(&(kind, len)), "{kind}, {len} bytes");
    }
    let mut lanes_of = BTreeMap::<_, BTreeSet<_>>::new();
    let mut data = 0;
    for (number, lane) in sockets.lanes.iter().enumerate() {
        for (from, kind, len) in received(lane, family) {
            if len == 1 {
                assert_eq!(number, 0, "what is too short goes to the first");
                continue;
            }
            assert_eq!(kind, 4);
            data += 1;
            lanes_of.entry(from).or_default().insert(number);
        }
    }
    assert_eq!(data, 2 * SENDERS);
    assert_eq!(lanes_of.len(), SENDERS);
    assert!(lanes_of.values().all(|lanes| lanes.len() == 1));
    let used: BTreeSet<_> = lanes_of.values().flatten().collect();
    assert_eq!(used.len(), lanes, "each lane has some");
}

#[test]
fn p74_data_comes_to_one_lane_and_all_else_to_the_door() {
    for family in Family::ALL {
        what_comes_to(1, family);
    }
}

#[test]
fn each_sender_has_one_of_several_lanes() {
    for family in Family::ALL {
        what_comes_to(4, family);
    }
}

#[test]
fn p74_networks_have_different_doors() {
    let sockets = Udp::bind_lanes(&UdpConfig::default(), 1).unwrap();
    let target = SocketAddr::new(loopback(Family::V4), sockets.lanes[0].port());
    // All of 127/8 is this host's. The networks are in no regular series, as none would be hashed.
    let networks = (0..256_u32).map(|number| (number * number * 7 + number) % 65_536);
    let networks: BTreeSet<_> = networks.collect();
    for network in &networks {
        for host in [1, 254] {
            let address = Ipv4Addr::from_bits(127 << 24 | network << 8 | host);
            let sender = UdpSocket::bind((address, 0)).unwrap();
            sender.send_to(&message(1, 148), target).unwrap();
        }
    }
    let mut doors_of = BTreeMap::<_, BTreeSet<_>>::new();
    let mut most = 0;
    for (number, door) in sockets.doors.iter().enumerate() {
        let all = received(door, Family::V4);
        most = most.max(all.len());
        for (from, ..) in all {
            let IpAddr::V4(address) = from.ip() else {
                panic!("{from}");
            };
            let network = address.to_bits() >> 8;
            doors_of.entry(network).or_default().insert(number);
        }
    }
    assert_eq!(doors_of.len(), networks.len());
    assert!(doors_of.values().all(|doors| doors.len() == 1));
    assert!(
        most < networks.len(),
        "{most} at one door: half of all, or more"
    );
}

#[test]
fn the_doors_have_the_port_of_the_lanes_and_there_is_always_one_lane() {
    let sockets = Udp::bind_lanes(&UdpConfig::default(), 0).unwrap();
    assert_eq!(sockets.lanes.len(), 1);
    let port = sockets.lanes[0].port();
    assert!(sockets.doors.iter().all(|door| door.port() == port));
}
