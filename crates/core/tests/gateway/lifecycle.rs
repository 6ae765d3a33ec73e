//! Up, down, add, remove: what ends, ends at once.

use core::time::Duration;

use weapon_core::DropReason;

use crate::{
    network::Dice,
    packets::{plain, udp, v4},
    world::{A, B, Wire, World, peer},
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn p99_down_erases_and_up_greets_those_to_be_kept_alive() {
    let mut world = World::connected(1);
    let id = world.id(A, B);
    world.control(A, |gateway, env| {
        gateway.set_persistent_keepalive(id, Some(secs(25)), env);
    });
    world.ping(A, B, b"data").unwrap();
    world.control(A, |gateway, env| gateway.down(env));
    assert_eq!(world.sites[A].gateway.poll_timeout(), None);
    assert_eq!(
        world.sites[A].gateway.status(world.now).peers[0].session,
        None
    );
    world.forget();
    world.drive(secs(11));
    assert_eq!(world.log.len(), 1, "B's keepalive");
    assert_eq!(world.sites[A].dropped(DropReason::UnknownIndex), 1);

    world.control(A, |gateway, env| gateway.up(env));
    assert_eq!(world.sent(A, Wire::Initiation), [11_000]);
    world.drive(secs(1));
    assert_eq!(world.count(A, Wire::Keepalive), 1);
}

#[test]
fn p99_down_drops_what_was_parked() {
    let mut world = World::new(2, 2);
    world.cut_off(B);
    for _ in 0..3 {
        world.ping(A, B, b"parked").unwrap();
    }
    world.control(A, |gateway, env| gateway.down(env));
    assert_eq!(world.sites[A].drops(), [(DropReason::NoSession, 3)]);
    world.control(A, |gateway, env| gateway.up(env));
    assert_eq!(world.sites[A].gateway.poll_timeout(), None, "nothing to do");
}

#[test]
fn p11_while_down_nothing_is_sent_or_answered() {
    let mut world = World::connected(3);
    world.control(A, |gateway, env| gateway.down(env));
    world.ping(A, B, b"parked by a lane").unwrap();
    assert_eq!(world.sites[A].dropped(DropReason::InterfaceDown), 1);
    world.control(B, |gateway, env| {
        gateway.down(env);
        gateway.up(env);
    });
    world.ping(B, A, b"asks").unwrap();
    world.drive(secs(30));
    assert!(world.count(B, Wire::Initiation) >= 5);
    let answered = world.log.iter().filter(|entry| entry.1 == A);
    assert_eq!(answered.count(), 0);
    assert!(world.sites[A].dropped(DropReason::InterfaceDown) >= 6);
}

#[test]
fn p52_no_timer_outlives_its_peer_in_1000_random_steps() {
    let mut dice = Dice(52);
    let mut world = World::new(4, 2);
    let mut interval_on = false;
    for _ in 0..1000 {
        match dice.below(6) {
            0 => world.control(A, |gateway, env| gateway.up(env)),
            1 => world.control(A, |gateway, env| gateway.down(env)),
            2 => {
                world.control(A, |gateway, env| gateway.add_peer(peer(A, B), env));
            }
            3 => {
                let key = crate::world::public_key(B);
                if let Some(id) = world.sites[A].gateway.peer_by_key(&key) {
                    if dice.happens(50) {
                        world.control(A, |gateway, env| gateway.remove_peer(id, env));
                    } else {
                        interval_on = !interval_on;
                        let interval = interval_on.then_some(secs(1 + dice.below(30)));
                        world.control(A, |gateway, env| {
                            gateway.set_persistent_keepalive(id, interval, env);
                        });
                    }
                }
            }
            _ => {
                let _no_route = world.ping(A, B, b"data");
                let _no_route = world.ping(B, A, b"data");
            }
        }
        let has_peer = !world.sites[A].fib.load().peers.is_empty();
        if !world.sites[A].gateway.is_up() || !has_peer {
            assert_eq!(world.sites[A].gateway.poll_timeout(), None);
            let wakes = world.sites[A].wakes;
            world.drive(Duration::from_millis(dice.below(20_000)));
            assert_eq!(world.sites[A].wakes, wakes);
        } else {
            world.drive(Duration::from_millis(dice.below(20_000)));
        }
    }
    world.control(A, |gateway, env| gateway.up(env));
    world.control(A, |gateway, env| gateway.add_peer(peer(A, B), env));
    world.drive(secs(1));
    let before = world.payloads(B).len();
    world.ping(A, B, b"after all that").unwrap();
    world.drive(secs(7));
    assert!(world.payloads(B).len() > before);
}

#[test]
fn p104_without_entropy_nothing_is_answered_or_asked() {
    let mut world = World::new(5, 2);
    world.sites[B].chance.is_ready = false;
    world.ping(A, B, b"asks").unwrap();
    world.drive(secs(4));
    assert_eq!(world.sites[B].drops(), [(DropReason::EntropyNotReady, 1)]);
    world.ping(B, A, b"asks too").unwrap();
    world.sites[B].backlog = 1000;
    world.drive(secs(4));
    assert!(world.log.iter().all(|entry| entry.1 == A));
    assert!(world.sites[B].dropped(DropReason::EntropyNotReady) >= 2);

    // Ready at last, everything goes.
    world.sites[B].backlog = 0;
    world.sites[B].chance.is_ready = true;
    world.drive(secs(12));
    assert_eq!(world.payloads(B), [b"asks".to_vec()]);
    assert_eq!(world.payloads(A), [b"asks too".to_vec()]);
}

#[test]
fn p29_without_a_disk_for_the_mark_nothing_is_initiated() {
    let mut world = World::new(6, 2);
    world.sites[A].disk.is_full = true;
    world.ping(A, B, b"asks").unwrap();
    world.drive(secs(12));
    assert_eq!(world.log.len(), 0);
    assert!(
        world.sites[A].disk.writes >= 2,
        "tried again with each retry"
    );
    world.sites[A].disk.is_full = false;
    world.drive(secs(6));
    assert_eq!(world.payloads(B), [b"asks".to_vec()]);
    let writes = world.sites[A].disk.writes;
    world.drive(secs(125));
    world.ping(A, B, b"the next handshake").unwrap();
    world.drive(secs(1));
    assert_eq!(
        world.sites[A].disk.writes, writes,
        "ten minutes are reserved"
    );
}

#[test]
fn status_shows_what_is_parked_and_who_has_which_network() {
    let mut world = World::new(7, 3);
    world.cut_off(B);
    world
        .read(A, plain(&udp(v4(A, 1), v4(B, 1), b"parked")))
        .unwrap();
    let status = world.sites[A].gateway.status(world.now);
    assert_eq!(status.peers.len(), 2);
    assert_eq!(status.peers[0].parked, 1);
    for (site, peer) in [(1, &status.peers[0]), (2, &status.peers[1])] {
        let networks: Vec<String> = peer.networks.iter().map(ToString::to_string).collect();
        assert_eq!(
            networks,
            [format!("10.0.{site}.0/24"), format!("fd00:{site}::/64")]
        );
    }
}
