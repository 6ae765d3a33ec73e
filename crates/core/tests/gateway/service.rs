//! Limits and marks: what is too much dies and is counted, what passes is what it would be without
//! them, and a change disturbs nobody.

use core::time::Duration;

use weapon_core::{
    Ahead, DropReason, GatewayChange, GroupService, Hypothesis, PeerChange, PeerService, RateLimit,
    RateLimits, ServiceStatus, Services,
};
use weapon_noise::protocol::HANDSHAKE_DS;
use weapon_wire::ecn::{CE, ECT_0, ECT_1, NOT_ECT};

use crate::{
    packets::{plain, udp, v4},
    superpackets::superpacket,
    world::{A, B, C, Wire, World, peer, public_key},
};

/// Bytes in a second of which nothing is lost in sums: 31,250 in 16 ms.
const RATE: u64 = 1_953_125;
/// 10 packets of [`small`].
const BURST: u64 = 1280;
/// Expedited forwarding (RFC 3246).
const EF: u8 = 46;

/// A packet of 128 bytes from A to a host at `them`.
fn small(them: usize, number: u8) -> Vec<u8> {
    plain(&udp(v4(A, 5), v4(them, 6), &[number; 100]))
}

fn limit(burst_bytes: u64) -> Option<RateLimit> {
    Some(RateLimit {
        bytes_per_second: RATE,
        burst_bytes,
    })
}

fn outbound(burst_bytes: u64) -> RateLimits {
    RateLimits {
        outbound: limit(burst_bytes),
        inbound: None,
    }
}

/// What the peer `them` gets.
fn gets(them: usize, limits: RateLimits, dscp: u8) -> PeerService {
    PeerService {
        public_key: public_key(them),
        dscp,
        limits,
        groups: Vec::new(),
    }
}

fn of_peers(peers: Vec<PeerService>) -> Services {
    Services {
        groups: Vec::new(),
        peers,
    }
}

/// From here on these hold at `site`.
fn set(world: &mut World, site: usize, services: Services) {
    let change = GatewayChange {
        services: Some(services),
        ..GatewayChange::default()
    };
    world.control(site, |gateway, env| gateway.change(change, env));
}

fn service(world: &World, site: usize, them: usize) -> Option<ServiceStatus> {
    let status = world.sites[site].gateway.status(world.now);
    let mut peers = status.peers.into_iter();
    let found = peers.find(|peer| peer.public_key == public_key(them));
    found.and_then(|peer| peer.service)
}

/// A reads these in one turn; how many it takes, and what comes out at the other ends.
fn carry(world: &mut World, reads: &[Vec<u8>]) -> usize {
    world.sites[B].overlay.0.clear();
    let results = world.sites[A].read_all(world.now, reads);
    let refused = results.iter().filter(|result| result.is_err());
    assert!(
        refused
            .clone()
            .all(|it| *it == Err(DropReason::OutboundLimit))
    );
    let taken = results.len() - refused.count();
    world.deliver(A);
    world.drive(Duration::from_millis(16));
    taken
}

#[test]
fn what_is_too_much_outbound_dies_and_the_rest_of_the_turn_arrives() {
    let mut world = World::connected(1);
    world.switch_offloads_off(B);
    set(&mut world, A, of_peers(vec![gets(B, outbound(BURST), 0)]));
    let reads: Vec<_> = (0..15).map(|number| small(B, number)).collect();
    assert_eq!(carry(&mut world, &reads), 10);
    let arrived: Vec<u8> = world.payloads(B).iter().map(|payload| payload[0]).collect();
    assert_eq!(arrived, (0..10).collect::<Vec<u8>>());
    let drops = world.sites[A].drops();
    assert_eq!(drops, [(DropReason::OutboundLimit, 5)]);
    let status = service(&world, A, B).unwrap();
    let own = (None, limit(BURST).unwrap());
    assert_eq!(status.outbound.limits, [own]);
    assert_eq!(status.outbound.dropped_packets, 5);
    assert_eq!(status.outbound.dropped_bytes, 5 * 128);
    assert_eq!(status.inbound.limits, []);
    // Time has passed, and the bucket is full again.
    assert_eq!(carry(&mut world, &reads), 10);
    // Where a packet is refused, a smaller one behind it may pass.
    let large = plain(&udp(v4(A, 5), v4(B, 6), &[7; 1300]));
    let reads = [small(B, 1), large, small(B, 2)];
    assert_eq!(carry(&mut world, &reads), 2);
    assert_eq!(world.payloads(B), [vec![1; 100], vec![2; 100]]);
}

#[test]
fn of_a_superpacket_the_first_segments_leave() {
    let mut world = World::connected(2);
    world.switch_offloads_off(B);
    set(&mut world, A, of_peers(vec![gets(B, outbound(3000), 0)]));
    // Of IPv4 and UDP 1028 bytes each, the last one 128.
    let payload: Vec<u8> = (0..5100).map(|at| (at / 1000) as u8).collect();
    let sent = superpacket(false, false, 1000, &payload);
    let read = [&sent.vnet.to_bytes(), &sent.packet[..]].concat();
    assert_eq!(carry(&mut world, core::slice::from_ref(&read)), 1);
    assert_eq!(world.payloads(B), [vec![0; 1000], vec![1; 1000]]);
    let drops = world.sites[A].drops();
    assert_eq!(drops, [(DropReason::OutboundLimit, 4)]);
    let status = service(&world, A, B).unwrap();
    assert_eq!(status.outbound.dropped_packets, 4);
    assert_eq!(status.outbound.dropped_bytes, 3 * 1028 + 128);
    // None at all is as many more.
    let twice = [read.clone(), read];
    assert_eq!(carry(&mut world, &twice), 1);
    let drops = world.sites[A].drops();
    assert_eq!(drops, [(DropReason::OutboundLimit, 4 + 4 + 6)]);
    assert_eq!(world.sites[B].drops(), []);
}

#[test]
fn what_is_too_much_inbound_dies_after_it_was_authenticated() {
    let mut world = World::connected(3);
    world.switch_offloads_off(B);
    let inbound = RateLimits {
        outbound: None,
        inbound: limit(BURST),
    };
    set(&mut world, B, of_peers(vec![gets(A, inbound, 0)]));
    let before = world.sites[B].gateway.status(world.now).peers[0].received_packets;
    let reads: Vec<_> = (0..15).map(|number| small(B, number)).collect();
    assert_eq!(carry(&mut world, &reads), 15);
    let arrived: Vec<u8> = world.payloads(B).iter().map(|payload| payload[0]).collect();
    assert_eq!(arrived, (0..10).collect::<Vec<u8>>());
    let drops = world.sites[B].drops();
    assert_eq!(drops, [(DropReason::InboundLimit, 5)]);
    let status = service(&world, B, A).unwrap();
    assert_eq!(status.inbound.dropped_packets, 5);
    assert_eq!(status.inbound.dropped_bytes, 5 * 128);
    assert_eq!(status.outbound.dropped_packets, 0);
    // They are authentic, and count for the timers and totals.
    let after = world.sites[B].gateway.status(world.now).peers[0].received_packets;
    assert_eq!(after - before, 15);
}

#[test]
fn members_of_a_group_share_its_limit_and_their_own_hold_too() {
    let mut world = World::new(4, 3);
    for them in [B, C] {
        world.ping(A, them, b"first").unwrap();
        world.drive(Duration::from_secs(1));
        world.switch_offloads_off(them);
    }
    let member = |them, limits| PeerService {
        groups: vec!["phones".to_owned(), "unlimited".to_owned()],
        ..gets(them, limits, 0)
    };
    let group = |name: &str, limits| GroupService {
        name: name.to_owned(),
        limits,
    };
    let services = Services {
        groups: vec![
            group("phones", outbound(BURST)),
            group("unlimited", RateLimits::default()),
        ],
        peers: vec![
            member(B, RateLimits::default()),
            member(C, outbound(BURST / 2)),
        ],
    };
    set(&mut world, A, services);
    // B alone may have all of it.
    let to_b: Vec<_> = (0..12).map(|number| small(B, number)).collect();
    assert_eq!(carry(&mut world, &to_b), 10);
    // C has no more than its own.
    let to_c: Vec<_> = (0..12).map(|number| small(C, number)).collect();
    assert_eq!(carry(&mut world, &to_c), 5);
    // Together they have no more than B alone; what one takes the other has not.
    let both: Vec<_> = (0..8).flat_map(|it| [small(B, it), small(C, it)]).collect();
    assert_eq!(carry(&mut world, &both), 10);
    let status = service(&world, A, C).unwrap();
    let of_group = (Some("phones".to_owned()), limit(BURST).unwrap());
    let own = (None, limit(BURST / 2).unwrap());
    assert_eq!(status.outbound.limits, [own, of_group]);
    let dropped = |them| service(&world, A, them).unwrap().outbound.dropped_packets;
    assert_eq!((dropped(B), dropped(C)), (2 + 3, 7 + 3));
}

#[test]
fn what_waits_for_a_session_is_taken_when_it_leaves() {
    let mut world = World::new(5, 2);
    world.switch_offloads_off(B);
    set(&mut world, A, of_peers(vec![gets(B, outbound(BURST), 0)]));
    let reads: Vec<_> = (0..15).map(|number| small(B, number)).collect();
    // All of them wait, and then there is room for ten.
    assert_eq!(carry(&mut world, &reads), 15);
    world.drive(Duration::from_secs(1));
    assert_eq!(world.payloads(B).len(), 10);
    let drops = world.sites[A].drops();
    assert_eq!(drops, [(DropReason::OutboundLimit, 5)]);
}

/// The DS fields of what A has sent of `wire` since it was forgotten.
fn ds_fields(world: &World, wire: Wire) -> Vec<u8> {
    world.messages(A, wire).map(|(_, sent)| sent.tos).collect()
}

/// The packet with this DS field. Nobody looks at its checksum.
fn with_tos(mut read: Vec<u8>, tos: u8) -> Vec<u8> {
    read[weapon_wire::VnetHeader::LEN + 1] = tos;
    read
}

#[test]
fn data_of_a_peer_has_its_mark_beside_ecn_and_handshakes_keep_theirs() {
    let mut world = World::new(6, 3);
    let services = of_peers(vec![gets(B, RateLimits::default(), EF)]);
    set(&mut world, A, services);
    for them in [B, C] {
        world.ping(A, them, b"first").unwrap();
        world.drive(Duration::from_secs(1));
    }
    assert_eq!(ds_fields(&world, Wire::Initiation), [HANDSHAKE_DS; 2]);
    assert_eq!(ds_fields(&world, Wire::Data), [EF << 2, 0]);
    // In one turn: runs of both, with all of ECN, and what is inside stays there.
    for (inner, outer) in [
        (NOT_ECT, NOT_ECT),
        (ECT_1, ECT_1),
        (ECT_0, ECT_0),
        (CE, ECT_0),
    ] {
        world.forget();
        let reads = [B, B, C, B].map(|them| with_tos(small(them, 1), 0x20 | inner));
        assert_eq!(carry(&mut world, &reads), 4);
        let marked = EF << 2 | outer;
        assert_eq!(
            ds_fields(&world, Wire::Data),
            [marked, marked, outer, marked]
        );
        let arrived = world.sites[B].overlay.0.iter();
        assert!(arrived.clone().count() > 0);
        arrived.for_each(|(_, packet)| assert_eq!(packet[1], 0x20 | inner));
    }
    world.forget();
    let sent = superpacket(false, true, 1000, &[7; 2500]);
    let read = [&sent.vnet.to_bytes(), &sent.packet[..]].concat();
    assert_eq!(carry(&mut world, &[read]), 1);
    assert_eq!(ds_fields(&world, Wire::Data), [EF << 2; 3]);
    // A keepalive is data too, and tells nothing more.
    world.forget();
    let id = world.id(A, B);
    world.control(A, |gateway, env| {
        gateway.set_persistent_keepalive(id, Some(Duration::from_secs(1)), env);
    });
    world.drive(Duration::from_secs(3));
    let keepalives = ds_fields(&world, Wire::Keepalive);
    assert!(!keepalives.is_empty() && keepalives.iter().all(|ds| *ds == EF << 2));
    // And back.
    set(&mut world, A, Services::default());
    world.forget();
    assert_eq!(carry(&mut world, &[small(B, 1)]), 1);
    assert_eq!(ds_fields(&world, Wire::Data), [0]);
    assert_eq!(service(&world, A, B), None);
}

#[test]
fn a_change_keeps_sessions_and_what_it_does_not_touch() {
    let mut world = World::connected(7);
    let both = RateLimits {
        outbound: limit(BURST),
        inbound: limit(BURST),
    };
    set(&mut world, A, of_peers(vec![gets(B, both, 0)]));
    let reads: Vec<_> = (0..15).map(|number| small(B, number)).collect();
    let first = world.sites[A].read_all(world.now, &reads);
    assert_eq!(first.iter().filter(|it| it.is_ok()).count(), 10);
    // The same moment: what was taken stays taken, whatever else is changed.
    let inbound = RateLimits {
        inbound: limit(2 * BURST),
        ..both
    };
    set(&mut world, A, of_peers(vec![gets(B, inbound, EF)]));
    assert_eq!(carry(&mut world, &[small(B, 1)]), 0);
    let status = service(&world, A, B).unwrap();
    assert_eq!((status.dscp, status.outbound.dropped_packets), (EF, 6));
    // Another limit holds at once, and what was dropped stays counted.
    set(
        &mut world,
        A,
        of_peers(vec![gets(B, outbound(2 * BURST), EF)]),
    );
    let reads: Vec<_> = (0..25).map(|number| small(B, number)).collect();
    assert_eq!(carry(&mut world, &reads), 20);
    let status = service(&world, A, B).unwrap();
    assert_eq!(status.outbound.dropped_packets, 11);
    assert_eq!(world.sent(A, Wire::Initiation), [], "the session stays");
}

#[test]
fn who_is_removed_and_added_again_gets_the_same() {
    let mut world = World::connected(8);
    set(&mut world, A, of_peers(vec![gets(B, outbound(BURST), EF)]));
    let id = world.id(A, B);
    world.control(A, |gateway, env| {
        gateway.remove_peer(id, env);
        gateway.add_peer(peer(A, B), env)
    });
    assert_ne!(world.id(A, B), id);
    world.ping(A, B, b"again").unwrap();
    world.drive(Duration::from_secs(1));
    let reads: Vec<_> = (0..15).map(|number| small(B, number)).collect();
    assert_eq!(carry(&mut world, &reads), 10);
    assert_eq!(service(&world, A, B).unwrap().dscp, EF);
}

/// As `wg set` changes a peer: it knows nothing of limits.
#[test]
fn other_changes_leave_limits_and_another_name_too() {
    let mut world = World::connected(9);
    set(&mut world, A, of_peers(vec![gets(B, outbound(BURST), 0)]));
    let change = GatewayChange {
        peers: vec![PeerChange {
            name: Some("renamed".to_owned()),
            replace_networks: true,
            networks: peer(A, B)
                .networks
                .into_iter()
                .map(weapon_core::NetworkChange::Give)
                .collect(),
            ..PeerChange::of(public_key(B))
        }],
        ..GatewayChange::default()
    };
    world.control(A, |gateway, env| gateway.change(change, env));
    let reads: Vec<_> = (0..15).map(|number| small(B, number)).collect();
    assert_eq!(carry(&mut world, &reads), 10);
}

#[test]
fn what_a_limit_does_is_foreseen() {
    let mut world = World::connected(11);
    // Nothing is granted while we look.
    let once = |burst_bytes| {
        Some(RateLimit {
            bytes_per_second: 0,
            burst_bytes,
        })
    };
    let both = RateLimits {
        outbound: once(BURST),
        inbound: once(BURST / 2),
    };
    let member = PeerService {
        groups: vec!["phones".to_owned()],
        ..gets(B, both, 0)
    };
    let services = Services {
        groups: vec![GroupService {
            name: "phones".to_owned(),
            limits: RateLimits {
                outbound: once(BURST / 4),
                inbound: None,
            },
        }],
        peers: vec![member],
    };
    set(&mut world, A, services);
    for (us, them, whose, passing) in [(A, B, Some("phones"), 2), (B, A, None, 5)] {
        let from = (us == B).then_some("site-1");
        let packet = udp(v4(us, 5), v4(them, 6), &[0; 100]);
        let hypothesis = Hypothesis {
            source: v4(us, 5),
            destination: v4(them, 6),
            protocol: 17,
            ports: (50_000, 50_001),
            len: packet.len(),
        };
        let mut passed = 0;
        for _ in 0..7 {
            let gateway = &world.sites[A].gateway;
            let seen = gateway.examine(&hypothesis, from, world.now).unwrap();
            let ahead = seen.limit.as_ref().expect("there is one");
            let limits = if us == A { BURST / 4 } else { BURST / 2 };
            assert_eq!(ahead.group.as_deref(), whose);
            assert_eq!(ahead.limit.burst_bytes, limits);
            assert_eq!(ahead.room_bytes, limits.saturating_sub(passed * 128));
            world.sites[them].overlay.0.clear();
            let _ = world.read(us, plain(&packet));
            world.drive(Duration::from_millis(16));
            let arrived = world.payloads(them).len() as u64;
            assert_eq!(seen.ahead == Ahead::Passes, arrived == 1, "{seen:?}");
            passed += arrived;
        }
        assert_eq!(passed, passing);
    }
}
