//! Cryptokey routing: the table against a naive one, and what becomes of packets without a route.

use core::net::IpAddr;
use std::{collections::BTreeMap, sync::Arc};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weapon_core::{DropReason, Peer, PeerId, Routes};
use weapon_noise::Link;

use crate::{
    network::Dice,
    packets::{plain, udp, v4, v6},
    world::{A, B, World, peer},
};

/// Prefixes of each family in a small part of the address space, so that they nest and collide.
fn random_network(dice: &mut Dice) -> IpNet {
    let roll = dice.roll();
    let len = dice.roll();
    if dice.happens(50) {
        let address = 0x0a00_0000 | (roll as u32 & 0x000f_ffff);
        IpNet::V4(Ipv4Net::new(address.into(), (len % 33) as u8).unwrap())
    } else {
        let address = (0xfd00_u128 << 112) | u128::from(roll & 0xff) | u128::from(roll >> 56) << 64;
        let address = address | u128::from(roll >> 48 & 0xff) << 24;
        IpNet::V6(Ipv6Net::new(address.into(), (len % 129) as u8).unwrap())
    }
}

/// A network as the naive table knows it: family, length, and the bits that count.
type Key = (bool, u8, u128);

fn key(address: IpAddr, len: u8) -> Key {
    let (bits, width) = match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ignored = width - u32::from(len);
    let bits = bits.checked_shr(ignored).unwrap_or(0);
    (address.is_ipv4(), len, bits)
}

/// Every length is looked up, the longest first.
fn naive_lookup(table: &BTreeMap<Key, PeerId>, address: IpAddr) -> Option<PeerId> {
    let len_max = if address.is_ipv4() { 32 } else { 128 };
    let lens = (0..=len_max).rev();
    lens.into_iter()
        .find_map(|len| table.get(&key(address, len)).copied())
}

/// Some peer.
fn nobody(number: u32) -> Arc<Peer> {
    Arc::new(Peer::new(
        PeerId(number),
        "nobody",
        Arc::new(Link::default()),
    ))
}

fn lookup(routes: &Routes, address: IpAddr) -> Option<PeerId> {
    let peer = routes.lookup(address).map(|peer| peer.id);
    // Whoever wants the prefix too is told the same.
    let with_network = routes.lookup_network(address);
    assert_eq!(with_network.map(|(_, peer)| peer.id), peer);
    if let Some((network, owner)) = with_network {
        assert!(network.contains(&address) && routes.has(owner.id, network));
    }
    peer
}

#[test]
fn p86_a_million_random_routes_agree_with_a_naive_table() {
    const PEERS: u64 = 16;
    let peers: Vec<_> = (0..PEERS as u32).map(nobody).collect();
    let mut dice = Dice(86);
    let mut routes = Routes::default();
    let mut naive = BTreeMap::new();
    let mut moved = 0;
    for step in 0..1_000_000_u32 {
        let network = random_network(&mut dice);
        let peer = PeerId(dice.below(PEERS) as u32);
        let masked = key(network.addr(), network.prefix_len());
        if dice.happens(10) {
            let owned = naive.get(&masked) == Some(&peer);
            if owned {
                naive.remove(&masked);
            }
            assert_eq!(routes.remove(network, peer), owned, "only from its owner");
        } else {
            let before = naive.insert(masked, peer);
            moved += u32::from(before.is_some_and(|before| before != peer));
            let displaced = routes.insert(network, &peers[peer.0 as usize]);
            assert_eq!(displaced.map(|peer| peer.id), before);
        }
        if step % 50 == 0 {
            let address = random_network(&mut dice).addr();
            assert_eq!(lookup(&routes, address), naive_lookup(&naive, address));
        }
        if step % 100_000 == 0 {
            let peer = PeerId(dice.below(PEERS) as u32);
            routes.remove_peers(&[peer].into());
            naive.retain(|_, owner| *owner != peer);
            assert_eq!(routes.len(), naive.len());
        }
    }
    assert!(moved > 100_000, "prefixes change hands: {moved}");
    let all = routes.iter();
    let all: BTreeMap<Key, PeerId> = all
        .map(|(network, peer)| (key(network.addr(), network.prefix_len()), peer.id))
        .collect();
    assert!(all == naive);
    for peer in 0..PEERS {
        routes.remove_peers(&[PeerId(peer as u32)].into());
    }
    assert!(routes.is_empty());
    assert!(routes.iter().next().is_none());
    assert_eq!(lookup(&routes, v4(0, 1)), None);
}

#[test]
fn p86_host_bits_are_masked() {
    let mut routes = Routes::default();
    routes.insert("10.1.2.3/16".parse().unwrap(), &nobody(1));
    let shown: Vec<String> = routes.iter().map(|(net, _)| net.to_string()).collect();
    assert_eq!(shown, ["10.1.0.0/16"]);
    assert!(!routes.remove("10.1.9.9/16".parse().unwrap(), PeerId(2)));
    assert!(routes.remove("10.1.9.9/16".parse().unwrap(), PeerId(1)));
}

#[test]
fn p86_a_network_moves_to_the_peer_that_gets_it() {
    let mut world = World::new(1, 3);
    let network: IpNet = "10.0.1.0/24".parse().unwrap();
    let other = world.id(A, 2);
    world.sites[A].gateway.add_network(other, network);
    let status = world.sites[A].gateway.status(world.now);
    assert!(!status.peers[0].networks.contains(&network));
    assert!(status.peers[1].networks.contains(&network));
    let fib = world.sites[A].fib.load_full();
    assert_eq!(fib.route(v4(B, 1)).unwrap().id, other);
    let not_the_owner = world.id(A, B);
    world.sites[A]
        .gateway
        .remove_network(not_the_owner, network);
    let fib = world.sites[A].fib.load_full();
    assert_eq!(fib.route(v4(B, 1)).unwrap().id, other, "not its to remove");
}

fn icmp_answers(world: &mut World, packet: &[u8]) -> Vec<Vec<u8>> {
    let written = core::mem::take(&mut world.sites[A].overlay.0);
    for (vnet, answer) in &written {
        assert_eq!(vnet.gso_type, 0);
        let parsed = SlicedPacket::from_ip(answer).unwrap();
        let quoted = match (parsed.net.unwrap(), parsed.transport.unwrap()) {
            (NetSlice::Ipv4(ip), TransportSlice::Icmpv4(icmp)) => {
                // Not ours: Linux would drop that as a martian.
                assert_eq!(ip.header().source_addr().octets(), packet[16..20]);
                assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 1));
                icmp.payload().to_vec()
            }
            (NetSlice::Ipv6(ip), TransportSlice::Icmpv6(icmp)) => {
                assert_eq!(IpAddr::from(ip.header().source_addr()), v6(A, 1));
                assert_eq!((icmp.type_u8(), icmp.code_u8()), (1, 3));
                icmp.payload().to_vec()
            }
            other => panic!("{other:?}"),
        };
        assert!(packet.starts_with(&quoted) && quoted.len() >= 28);
    }
    written.into_iter().map(|(_, answer)| answer).collect()
}

#[test]
fn p84_no_route_is_told_to_the_sender() {
    let mut world = World::new(2, 2);
    for (source, destination) in [(v4(A, 5), v4(9, 9)), (v6(A, 5), v6(9, 9))] {
        let packet = udp(source, destination, b"who is there");
        let result = world.read(A, plain(&packet));
        assert_eq!(result, Err(DropReason::NoRoute));
        assert_eq!(icmp_answers(&mut world, &packet).len(), 1);
    }
    assert_eq!(world.sites[A].drops(), [(DropReason::NoRoute, 2)]);
    assert_eq!(world.log.len(), 0);
}

#[test]
fn p84_a_peer_without_an_address_is_unreachable() {
    let mut world = World::without_peers(3, 2);
    let mut config = peer(A, B);
    config.endpoint = None;
    world.control(A, |gateway, env| {
        gateway.up(env);
        gateway.add_peer(config, env);
    });
    let packet = udp(v4(A, 5), v4(B, 9), b"where are you");
    let result = world.read(A, plain(&packet));
    assert_eq!(result, Err(DropReason::NoEndpoint));
    assert_eq!(icmp_answers(&mut world, &packet).len(), 1);
}

#[test]
fn a_packet_parked_for_a_peer_without_an_address_is_told_as_well() {
    let mut world = World::new(4, 2);
    let packet = udp(v4(A, 5), v4(B, 9), b"too late");
    let id = world.id(A, B);
    let fib = world.sites[A].fib.load_full();
    fib.peers[0].link.set_endpoint(None);
    world.control(A, |gateway, env| {
        gateway.park(id, plain(&packet).into(), env);
    });
    assert_eq!(icmp_answers(&mut world, &packet).len(), 1);
    assert_eq!(world.sites[A].drops(), [(DropReason::NoEndpoint, 1)]);
    assert_eq!(world.sites[A].gateway.status(world.now).peers[0].parked, 0);
}

#[test]
fn p84_errors_are_not_answered_and_not_flooded() {
    let mut world = World::new(5, 2);
    let packet = udp(v4(A, 5), v4(9, 9), b"who is there");
    for _ in 0..3000 {
        let _no_route = world.read(A, plain(&packet));
    }
    let answers = icmp_answers(&mut world, &packet);
    assert_eq!(answers.len(), 1000, "a second's worth");
    // An ICMP error to nowhere gets no answer.
    world.drive(core::time::Duration::from_secs(2));
    let mut error = answers[0].clone();
    error[12..16].copy_from_slice(&[10, 0, 0, 5]);
    error[16..20].copy_from_slice(&[10, 0, 9, 9]);
    let _no_route = world.read(A, plain(&error));
    assert_eq!(world.sites[A].overlay.0.len(), 0);
}

/// Who has what, and who is found, as the kernel's `selftest/allowedips.c` has it: nested networks,
/// one that is given away, host bits, and both families.
#[test]
fn p86_the_kernels_table() {
    let given = [
        (0, "192.168.4.0/24"),
        (1, "192.168.4.4/32"),
        (2, "192.168.0.0/16"),
        (3, "192.95.5.64/27"),
        // The same network, by an address in it.
        (2, "192.95.5.65/27"),
        (3, "2607:5300:6000:6b00::c05f:543/128"),
        (2, "2607:5300:6000:6b00::/64"),
        (4, "::/0"),
        (5, "::/0"),
        (6, "2404:6800::/32"),
        (7, "2404:6800:4004:800:dead:beef:dead:beef/64"),
        (0, "2404:6800:4004:800:dead:beef:dead:beef/128"),
        (2, "2444:6800:40e4:800:deae:beef:def:beef/128"),
        (1, "2444:6800:f0e4:800:eeae:beef::/98"),
        (6, "64.15.112.0/20"),
        (7, "64.15.123.211/25"),
        (0, "10.0.0.0/25"),
        (1, "10.0.0.128/25"),
        (0, "10.1.0.0/30"),
        (1, "10.1.0.4/30"),
        (2, "10.1.0.8/29"),
        (3, "10.1.0.16/29"),
    ];
    let found = [
        (Some(0), "192.168.4.20"),
        (Some(0), "192.168.4.0"),
        (Some(1), "192.168.4.4"),
        (Some(2), "192.168.200.182"),
        (Some(2), "192.95.5.68"),
        (None, "192.95.5.96"),
        (Some(3), "2607:5300:6000:6b00::c05f:543"),
        (Some(2), "2607:5300:6000:6b00::c02e:1ee"),
        (Some(5), "2607:5300:6000:6b01::"),
        (Some(6), "2404:6800:4004:806::1006"),
        (Some(6), "2404:6800:4004:806:0:1234:0:5678"),
        (Some(5), "2404:67ff:4004:806:0:1234:0:5678"),
        (Some(5), "2404:6801:4004:806:0:1234:0:5678"),
        (Some(7), "2404:6800:4004:800:0:1234:0:5678"),
        (Some(7), "2404:6800:4004:800::"),
        (Some(7), "2404:6800:4004:800:1010:1010:1010:1010"),
        (Some(0), "2404:6800:4004:800:dead:beef:dead:beef"),
        (Some(6), "64.15.116.26"),
        (Some(6), "64.15.127.3"),
        (Some(6), "64.15.123.1"),
        (Some(7), "64.15.123.128"),
        (Some(7), "64.15.123.129"),
        (Some(0), "10.0.0.52"),
        (Some(1), "10.0.0.220"),
        (Some(0), "10.1.0.2"),
        (Some(1), "10.1.0.6"),
        (Some(2), "10.1.0.10"),
        (Some(3), "10.1.0.20"),
    ];
    let peers: Vec<_> = (0..8).map(nobody).collect();
    let mut routes = Routes::default();
    for (peer, network) in given {
        routes.insert(network.parse().unwrap(), &peers[peer]);
    }
    for (peer, address) in found {
        let owner = lookup(&routes, address.parse().unwrap());
        assert_eq!(owner, peer.map(PeerId), "{address}");
    }
}

/// Single addresses whose leading bits differ as much as they can, and a network within another:
/// nothing is left of a peer that is removed.
#[test]
fn p86_a_removed_peer_is_found_no_more() {
    let (gone, stays) = (nobody(0), nobody(1));
    let mut routes = Routes::default();
    assert!(routes.is_empty());
    let hosts = ["1.0.0.0", "64.0.0.0", "128.0.0.0", "192.0.0.0", "255.0.0.0"];
    let networks = ["192.168.0.0/16", "192.168.0.0/24"];
    for host in hosts {
        routes.insert(format!("{host}/32").parse().unwrap(), &gone);
    }
    for network in networks {
        routes.insert(network.parse().unwrap(), &gone);
    }
    routes.insert("192.168.1.0/24".parse().unwrap(), &stays);
    routes.insert("fd00::1/128".parse().unwrap(), &gone);
    routes.insert("fd00::/64".parse().unwrap(), &stays);
    routes.remove_peers(&[gone.id].into());
    for address in hosts.into_iter().chain(["192.168.0.1"]) {
        assert_eq!(lookup(&routes, address.parse().unwrap()), None, "{address}");
    }
    let kept = lookup(&routes, "192.168.1.1".parse().unwrap());
    assert_eq!(kept, Some(stays.id));
    let kept = lookup(&routes, "fd00::1".parse().unwrap());
    assert_eq!(kept, Some(stays.id));
    assert_eq!(routes.len(), 2);
    assert!(!routes.is_empty());
}
