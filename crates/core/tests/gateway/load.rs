//! Cookies between two gateways, one of them under load.

use core::time::Duration;

use weapon_core::{DropReason, HANDSHAKE_QUEUE_MAX};
use weapon_wire::message::{CookieReply, Initiation};

use crate::world::{A, B, Wire, World, address};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const LOADED: usize = HANDSHAKE_QUEUE_MAX / 8;

/// Whether each initiation of A has a mac2.
fn has_mac2(world: &World) -> Vec<bool> {
    world
        .messages(A, Wire::Initiation)
        .map(|(_, sent)| Initiation::parse(&sent.bytes).unwrap().mac2 != [0; 16])
        .collect()
}

#[test]
fn p66_p69_an_initiator_gets_a_cookie_and_comes_again_with_it() {
    let mut world = World::new(1, 2);
    world.sites[B].backlog = LOADED;
    world.ping(A, B, b"data").unwrap();
    world.drive(secs(4));
    assert_eq!(world.sent(B, Wire::Cookie), [10]);
    let (_, cookie) = world.messages(B, Wire::Cookie).next().unwrap();
    assert_eq!(cookie.bytes.len(), CookieReply::LEN);
    assert_eq!(cookie.tos, 0, "handshakes alone are AF41");
    assert_eq!(world.sites[B].drops(), [(DropReason::CookieRequired, 1)]);
    assert_eq!(world.log.len(), 2, "no immediate resend");
    assert_eq!(world.sites[A].drops(), []);

    world.drive(secs(2));
    assert_eq!(has_mac2(&world), [false, true]);
    assert_eq!(world.count(B, Wire::Response), 1);
    assert_eq!(world.payloads(B), [b"data".to_vec()]);
}

#[test]
fn p66_a_responder_gets_a_cookie_too() {
    let mut world = World::new(2, 2);
    world.sites[A].backlog = LOADED;
    world.ping(A, B, b"data").unwrap();
    world.drive(secs(4));
    assert_eq!(world.count(B, Wire::Response), 1);
    assert_eq!(world.sent(A, Wire::Cookie), [20]);
    assert_eq!(world.sites[A].drops(), [(DropReason::CookieRequired, 1)]);
    assert_eq!(world.payloads(B).len(), 0);
    world.drive(secs(2));
    assert_eq!(world.count(B, Wire::Response), 2);
    assert_eq!(world.payloads(B), [b"data".to_vec()]);
}

#[test]
fn p65_p73_load_ends_a_second_after_the_queue_was_long() {
    let mut world = World::new(3, 2);
    world.sites[B].backlog = LOADED - 2;
    world.ping(A, B, b"data").unwrap();
    world.drive(secs(1));
    assert_eq!(world.count(B, Wire::Cookie), 0, "just below an eighth");
    assert_eq!(world.count(B, Wire::Response), 1);

    let mut world = World::new(3, 2);
    world.sites[B].backlog = LOADED;
    world.deliver(B);
    world.sites[B].backlog = 0;
    world.drive(Duration::from_millis(980));
    world.ping(A, B, b"data").unwrap();
    world.drive(Duration::from_millis(10));
    assert_eq!(world.count(B, Wire::Cookie), 1, "990 ms later");
    world.drive(secs(6));
    assert_eq!(world.count(B, Wire::Cookie), 1);
    assert_eq!(world.payloads(B), [b"data".to_vec()]);
}

#[test]
fn p69_a_cookie_reply_changes_nothing_else() {
    let mut world = World::new(4, 2);
    world.sites[B].backlog = LOADED;
    world.ping(A, B, b"data").unwrap();
    world.drive(Duration::from_millis(10));
    let (_, reply) = world.messages(B, Wire::Cookie).next().unwrap();
    let mut reply = reply.bytes.clone();
    let elsewhere = "198.51.100.9:9".parse().unwrap();
    let deadline = world.sites[A].gateway.poll_timeout();
    let mut forged = reply.clone();
    forged[40] ^= 1;
    for (mut bytes, refused) in [(forged, 1), (reply.clone(), 1)] {
        world.receive(A, elsewhere, &mut bytes, CookieReply::LEN);
        assert_eq!(world.sites[A].dropped(DropReason::CookieInvalid), refused);
    }
    world.receive(A, elsewhere, &mut reply, CookieReply::LEN);
    assert_eq!(world.sites[A].dropped(DropReason::CookieInvalid), 2, "once");
    let status = world.sites[A].gateway.status(world.now);
    assert_eq!(status.peers[0].endpoint, Some(address(B)));
    assert_eq!(status.peers[0].received_bytes, 0);
    assert_eq!(world.sites[A].gateway.poll_timeout(), deadline);
    assert_eq!(world.count(A, Wire::Initiation), 1);
}

#[test]
fn p70_a_cookie_is_used_for_115_seconds_and_then_no_more() {
    let mut world = World::new(5, 2);
    world.sites[B].backlog = LOADED;
    world.ping(A, B, b"data").unwrap();
    world.drive(secs(1));
    world.cut_off(B);
    for _ in 0..125 {
        world.ping(A, B, b"keeps trying").unwrap();
        world.drive(secs(1));
    }
    let times = world.sent(A, Wire::Initiation);
    for (at, has_mac2) in times.iter().zip(has_mac2(&world)) {
        let expected = *at >= 20 && *at < 115_020;
        assert_eq!(has_mac2, expected, "at {at} ms");
    }
    assert!(times.iter().any(|at| *at > 115_020));
}

#[test]
fn p71_a_proven_address_is_limited_to_a_burst() {
    let mut world = World::new(6, 2);
    world.sites[B].backlog = LOADED;
    world.ping(A, B, b"data").unwrap();
    world.drive(secs(6));
    let (_, second) = world.messages(A, Wire::Initiation).nth(1).unwrap();
    let bytes = second.bytes.clone();
    for _ in 0..10 {
        world.receive(B, address(A), &mut bytes.clone(), Initiation::LEN);
    }
    let replayed = world.sites[B].dropped(DropReason::InitiationReplayed);
    let limited = world.sites[B].dropped(DropReason::RateLimited);
    assert_eq!((replayed, limited), (5, 5));
}
