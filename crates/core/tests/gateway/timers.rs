//! Timers as whole gateways with lanes keep them.

use core::time::Duration;

use weapon_core::DropReason;
use weapon_noise::{Role, protocol::REJECT_AFTER_MESSAGES, protocol::REKEY_AFTER_MESSAGES};

use crate::{
    packets::{plain, udp, v4},
    site::EPOCH,
    world::{A, B, Wire, World, address},
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Uses up counters of the session that `us` sends with.
fn use_up(world: &World, us: usize, counters: u64) {
    let fib = world.sites[us].fib.load_full();
    let keypair = fib.peers[0].link.sending(world.now).expect("a session");
    let used = keypair.as_deref().unwrap().sent_count();
    keypair
        .as_deref()
        .unwrap()
        .reserve(counters - used)
        .unwrap();
}

#[test]
fn p34_parked_packets_keep_their_order_and_the_oldest_go() {
    let mut world = World::new(1, 2);
    for number in 0..130_u8 {
        world.ping(A, B, &[number]).unwrap();
    }
    assert_eq!(world.sent(A, Wire::Initiation), [0]);
    world.drive(secs(1));
    let expected: Vec<u8> = (2..130).collect();
    assert_eq!(world.payloads(B).concat(), expected, "merged, in order");
    assert_eq!(world.sites[A].drops(), [(DropReason::ParkOverflow, 2)]);
}

#[test]
fn p36_twenty_initiations_then_parked_packets_are_counted_as_dropped() {
    let mut world = World::new(2, 2);
    world.cut_off(B);
    for _ in 0..3 {
        world.ping(A, B, b"anybody there?").unwrap();
    }
    world.drive(secs(107));
    let initiations = world.sent(A, Wire::Initiation);
    assert_eq!(initiations.len(), 20);
    assert!((95_000..=101_400).contains(&initiations[19]));
    assert_eq!(world.sites[A].drops(), [(DropReason::NoSession, 3)]);
    world.drive(secs(3600));
    assert_eq!(world.log.len(), 20);
    assert_eq!(world.sites[A].gateway.poll_timeout(), None);
}

#[test]
fn p39_the_initiator_rekeys_after_120_s_when_it_sends() {
    let mut world = World::new(3, 2);
    world.ping(A, B, b"at 0").unwrap();
    world.drive(secs(120));
    world.ping(A, B, b"the key is 119.98 s old").unwrap();
    world.drive(Duration::from_millis(30));
    assert_eq!(world.count(A, Wire::Initiation), 1);
    world.ping(A, B, b"the key is 120.01 s old").unwrap();
    assert_eq!(world.sent(A, Wire::Initiation), [0, 120_030]);
    world.drive(secs(1));
    for _ in 0..100 {
        world.ping(A, B, b"with the new key").unwrap();
        world.drive(Duration::from_millis(100));
    }
    assert_eq!(world.count(A, Wire::Initiation), 2);
    assert_eq!(world.payloads(B).len(), 103);
}

#[test]
fn p39_the_responder_never_rekeys_on_age() {
    let mut world = World::new(4, 2);
    world.ping(A, B, b"at 0").unwrap();
    world.drive(secs(125));
    for _ in 0..35 {
        world.ping(B, A, b"old key").unwrap();
        world.drive(secs(1));
    }
    assert_eq!(world.count(B, Wire::Initiation), 0);
    assert_eq!(
        world.count(A, Wire::Initiation),
        2,
        "its own keepalive rekeys"
    );
}

#[test]
fn p40_the_initiator_rekeys_when_it_receives_in_the_last_15_s() {
    let mut world = World::new(5, 2);
    world.ping(A, B, b"at 0").unwrap();
    world.drive(Duration::from_millis(165_000));
    world.ping(B, A, b"arrives at 164.99 s").unwrap();
    world.drive(Duration::from_millis(10));
    assert_eq!(world.count(A, Wire::Initiation), 1);
    world.drive(Duration::from_millis(20));
    world.cut_off(B);
    for _ in 0..40 {
        world.ping(B, A, b"arrives after 165.02 s").unwrap();
        world.drive(Duration::from_millis(100));
    }
    assert_eq!(world.sent(A, Wire::Initiation), [0, 165_040]);
    assert_eq!(world.count(A, Wire::Keepalive), 0);
}

#[test]
fn p41_many_messages_ask_for_a_new_key_in_both_roles() {
    for us in [A, B] {
        let mut world = World::connected(6);
        use_up(&world, us, REKEY_AFTER_MESSAGES);
        let them = 1 - us;
        world.ping(us, them, b"message 2^60 + 1").unwrap();
        assert_eq!(world.sent(us, Wire::Initiation), [0]);
        world.drive(secs(1));
        let session = world.sites[us].gateway.status(world.now).peers[0].session;
        let session = session.unwrap();
        assert_eq!(session.role, Role::Initiator);
        assert!(session.sent_packets < 5, "{session:?}");
        assert_eq!(world.payloads(them).last().unwrap(), b"message 2^60 + 1");
    }
}

#[test]
fn p42_a_key_of_180_s_or_without_counters_is_not_used() {
    let mut world = World::connected(7);
    world.drive(secs(150));
    world.ping(A, B, b"waits").unwrap();
    assert_eq!(world.count(A, Wire::Data), 0);
    assert_eq!(world.sent(A, Wire::Initiation), [150_000]);
    world.drive(secs(1));
    assert_eq!(world.payloads(B).last().unwrap(), b"waits");

    let mut world = World::connected(8);
    use_up(&world, B, REJECT_AFTER_MESSAGES);
    world.ping(B, A, b"waits").unwrap();
    assert_eq!(world.count(B, Wire::Data), 0);
    assert_eq!(world.sent(B, Wire::Initiation), [0]);
    world.drive(secs(1));
    assert_eq!(world.payloads(A).last().unwrap(), b"waits");
}

#[test]
fn p42_a_key_of_180_s_does_not_open() {
    let mut world = World::connected(9);
    world.drive(secs(149));
    world.network.latency = secs(3);
    world
        .ping(B, A, b"sent before 180 s, arrives after")
        .unwrap();
    let before = world.payloads(A).len();
    world.drive(secs(4));
    assert_eq!(world.payloads(A).len(), before);
    assert_eq!(world.sites[A].drops(), [(DropReason::SessionExpired, 1)]);
}

#[test]
fn p43_p44_received_data_is_answered_by_keepalives() {
    let mut world = World::connected(10);
    world.ping(A, B, b"once").unwrap();
    world.drive(secs(60));
    assert_eq!(world.sent(B, Wire::Keepalive), [10_010]);
    world.forget();
    world.ping(A, B, b"twice").unwrap();
    world.drive(secs(5));
    world.ping(A, B, b"twice").unwrap();
    world.drive(secs(60));
    assert_eq!(world.sent(B, Wire::Keepalive), [10_010, 20_010]);
    assert_eq!(world.count(A, Wire::Keepalive), 0);
}

#[test]
fn p48_a_persistent_keepalive_starts_when_it_is_set() {
    let mut world = World::new(11, 2);
    let id = world.id(A, B);
    world.control(A, |gateway, env| {
        gateway.set_persistent_keepalive(id, Some(secs(25)), env);
    });
    world.drive(secs(100));
    let keepalives = world.sent(A, Wire::Keepalive);
    assert_eq!(keepalives, [20, 25_020, 50_020, 75_020]);
    world.control(A, |gateway, env| {
        gateway.set_persistent_keepalive(id, None, env);
    });
    world.drive(secs(3600));
    assert_eq!(world.count(A, Wire::Keepalive), 4);
}

#[test]
fn p53_latest_handshake_is_wall_time() {
    let mut world = World::new(12, 2);
    assert_eq!(
        world.sites[A].gateway.status(world.now).peers[0].last_handshake,
        None
    );
    world.ping(A, B, b"data").unwrap();
    world.drive(secs(77));
    for (us, millis) in [(A, 20), (B, 30)] {
        let status = world.sites[us].gateway.status(world.now);
        let at = status.peers[0].last_handshake.expect("a handshake");
        assert_eq!(at.seconds, EPOCH + 1000);
        assert_eq!(at.nanos, millis * 1_000_000);
    }
}

#[test]
fn p56_a_rekey_loses_no_packet_on_a_reordering_network() {
    /// Packets of 1500 bytes in 100 ms at 1 Gbit/s would be 8127; the window is 8128.
    const PER_100_MS: u64 = 8000;
    let mut world = World::connected(13);
    world.drive(Duration::from_millis(89_900));
    let before = world.sites[B].overlay.0.len();
    let drops = world.sites[B].drops();
    world.network.jitter = Duration::from_millis(100);
    let mut sent = 0_u64;
    for _ in 0..40 {
        for _ in 0..PER_100_MS / 20 {
            let read = plain(&udp(v4(A, 5), v4(B, 6), &sent.to_be_bytes()));
            world.read(A, read).unwrap();
            sent += 1;
        }
        world.log.clear();
        world.drive(Duration::from_millis(5));
    }
    world.network.jitter = Duration::ZERO;
    world.drive(secs(1));
    assert_eq!(world.sites[B].drops(), drops);
    let delivered = &world.sites[B].overlay.0[before..];
    assert!(
        world.sites[B].gateway.status(world.now).peers[0]
            .session
            .unwrap()
            .age
            < secs(3)
    );
    let bytes: usize = delivered.iter().map(|(_, packet)| packet.len()).sum();
    assert!(bytes as u64 >= sent * 8);
    assert_eq!(udp_payload_bytes(delivered), sent * 8);
}

/// Payload bytes of single and merged UDP packets.
fn udp_payload_bytes(written: &[(weapon_wire::VnetHeader, Vec<u8>)]) -> u64 {
    written
        .iter()
        .map(|(_, packet)| packet.len() as u64 - 28)
        .sum()
}

#[test]
fn p80_configuration_and_rebinding_clear_the_source() {
    let mut world = World::connected(14);
    let source = |world: &World| {
        let fib = world.sites[A].fib.load_full();
        let endpoint = fib.peers[0].link.endpoint().as_deref().copied();
        endpoint.unwrap().source
    };
    assert!(source(&world).is_some());
    world.sites[A].gateway.clear_sources();
    assert_eq!(source(&world), None);
    world.ping(B, A, b"learned again").unwrap();
    world.drive(secs(1));
    assert!(source(&world).is_some());
    let id = world.id(A, B);
    world.control(A, |gateway, env| gateway.set_endpoint(id, address(B), env));
    assert_eq!(source(&world), None);
}
