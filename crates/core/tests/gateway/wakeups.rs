//! No wish of a lane is lost, and nobody is woken for nothing.

use core::{net::SocketAddr, time::Duration};

use weapon_core::{Attention, PeerConfig};
use weapon_noise::{PrivateKey, Role};

use crate::{
    packets::{plain, udp, v4},
    world::{A, B, C, Wire, World, address, peer},
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_parked_packets_ask_for_is_served_at_once() {
    let mut world = World::new(1, 2);
    world.ping(A, B, b"parked").unwrap();
    world.drive(secs(60));
    let fib = world.sites[A].fib.load_full();
    assert!(
        fib.peers[0].ask(Attention::Deadlines),
        "an attention that nobody takes would never be queued again"
    );
    let _taken = fib.peers[0].take_attention();
}

#[test]
fn p45_a_session_that_began_with_parked_packets_notices_a_silent_peer() {
    let mut world = World::new(2, 2);
    world.ping(A, B, b"parked").unwrap();
    world.drive(secs(60));
    world.cut_off(B);
    world.forget();
    world.ping(A, B, b"anybody?").unwrap();
    world.drive(secs(16));
    let initiations = world.sent(A, Wire::Initiation);
    assert_eq!(initiations.len(), 1);
    assert!((15_000..=15_333).contains(&initiations[0]));
}

#[test]
fn p54_a_responder_that_parked_packets_follows_later_sessions() {
    let mut world = World::new(3, 2);
    world.ping(A, B, b"one").unwrap();
    world.drive(Duration::from_millis(15));
    assert_eq!(world.count(B, Wire::Response), 1);
    world.ping(B, A, b"waits for the session").unwrap();
    assert_eq!(world.sites[B].gateway.status(world.now).peers[0].parked, 1);
    world.drive(secs(130));
    assert_eq!(world.payloads(A), [b"waits for the session".to_vec()]);

    world.ping(A, B, b"asks for a new session").unwrap();
    world.drive(secs(1));
    world.ping(A, B, b"confirms it").unwrap();
    world.drive(secs(1));
    let session = world.sites[B].gateway.status(world.now).peers[0].session;
    let session = session.expect("a session");
    assert_eq!(session.role, Role::Responder);
    assert!(session.age < secs(3), "{session:?}");
}

#[test]
fn asking_for_the_deadline_is_no_promise_to_a_tunnel() {
    let mut world = World::connected(4);
    let before = world.sites[A].gateway.poll_timeout();
    let read = plain(&udp(v4(A, 1), v4(B, 1), b"data"));
    world.sites[A].read(world.now, read).unwrap();
    assert_eq!(world.sites[A].mail.attention.len(), 1);
    assert_eq!(world.sites[A].gateway.poll_timeout(), before);
    world.deliver(A);
    let (at, reason) = world.sites[A].gateway.poll_timeout().unwrap();
    assert_eq!(reason, "no answer");
    assert!(at.since(world.now) >= secs(15));
}

const DAY: u64 = 86_400;

const IDLE: u32 = 10_000;

/// Where no site is.
fn idle_address(number: u32) -> SocketAddr {
    let [_, _, high, low] = number.to_be_bytes();
    SocketAddr::from(([198, 18, high, low], 51_820))
}

/// Gives A many more peers, of whom nobody ever hears.
fn add_idle_peers(world: &mut World) {
    let peers = (0..IDLE).map(|number| {
        let mut bytes = [3; 32];
        bytes[8..12].copy_from_slice(&number.to_le_bytes());
        let network = format!("10.{}.{}.0/24", 1 + number / 256, number % 256);
        PeerConfig {
            public_key: PrivateKey::from_bytes(&bytes).public(),
            endpoint: Some(idle_address(number)),
            networks: vec![network.parse().unwrap()],
            ..peer(A, 2)
        }
    });
    world.control(A, |gateway, env| {
        gateway.down(env);
        gateway.add_peers(peers);
        gateway.up(env);
    });
}

#[test]
fn p48_only_peers_that_are_to_be_kept_alive_have_deadlines() {
    let mut world = World::new(7, 3);
    add_idle_peers(&mut world);
    for them in [B, C] {
        let id = world.id(A, them);
        world.control(A, |gateway, env| {
            gateway.set_persistent_keepalive(id, Some(secs(25)), env);
        });
    }
    world.drive(secs(1));
    world.forget();
    let wakes = world.sites[A].wakes;
    world.drive(secs(DAY));
    assert!(world.count(A, Wire::Keepalive) > 2 * 3000);
    let ours = world.log.iter().filter(|(_, us, ..)| *us == A);
    let (to_both, to_others): (Vec<_>, Vec<_>) =
        ours.partition(|(.., sent)| [address(B), address(C)].contains(&sent.to.remote));
    assert!(to_others.is_empty(), "{:?}", to_others.first());
    assert!(
        world.sites[A].wakes - wakes <= 2 * to_both.len(),
        "{} wakes for {} messages",
        world.sites[A].wakes - wakes,
        to_both.len()
    );

    for them in [B, C] {
        let id = world.id(A, them);
        world.control(A, |gateway, env| {
            gateway.set_persistent_keepalive(id, None, env);
        });
    }
    world.drive(secs(600));
    assert_eq!(world.sites[A].gateway.poll_timeout(), None);
}

#[test]
fn p51_ten_thousand_idle_peers_wake_nobody() {
    let mut world = World::new(5, 2);
    add_idle_peers(&mut world);
    assert_eq!(world.sites[A].gateway.poll_timeout(), None);
    world.drive(secs(30 * DAY));
    assert_eq!((world.sites[A].wakes, world.log.len()), (0, 0));
    assert_eq!(world.sites[A].gateway.poll_timeout(), None);
    world.ping(A, B, b"one of them is busy").unwrap();
    world.drive(secs(30));
    world.forget();
    let wakes = world.sites[A].wakes;
    world.drive(secs(3600));
    assert_eq!(
        world.sites[A].wakes - wakes,
        1,
        "that one's keys are erased"
    );
    assert_eq!(world.log.len(), 0);
    assert_eq!(world.sites[A].gateway.poll_timeout(), None);

    let status = world.sites[A].gateway.status(world.now);
    assert_eq!(status.peers.len(), 10_001);
    assert_eq!(status.peers[0].networks.len(), 2);
    let named = status.peers[300].networks[0].to_string();
    assert_eq!(named, "10.2.43.0/24", "each has its own");
}

#[test]
fn peers_that_are_due_at_the_same_moment_all_get_their_turn() {
    let mut world = World::new(6, 4);
    for them in 1..4 {
        let id = world.id(A, them);
        world.control(A, |gateway, env| {
            gateway.set_persistent_keepalive(id, Some(secs(25)), env);
        });
    }
    world.network.dead = (1..4).map(address).collect();
    world.drive(secs(12));
    assert!(world.count(A, Wire::Initiation) >= 9, "each three times");
    world.network.dead.clear();
    world.drive(secs(60));
    let status = world.sites[A].gateway.status(world.now);
    assert!(status.peers.iter().all(|peer| peer.session.is_some()));
    assert!(world.count(A, Wire::Keepalive) >= 9);
}
