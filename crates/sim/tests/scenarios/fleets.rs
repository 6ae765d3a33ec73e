//! Many gateways, and much time.

use core::time::Duration;

use weapon_sim::{Probes, Step, Story, Wire, World};

use crate::{cipher, lost, secs, send, world};

const DAY: u64 = 86_400;

/// What a handshake message costs a control loop: four X25519 operations and what is around them.
const HANDSHAKE_COST: Duration = Duration::from_micros(250);

#[test]
fn c15_a_thousand_peers_that_restart_at_once_are_back_within_10_s() {
    const PEERS: usize = 1000;
    let story = Story::quiet(1, PEERS + 1);
    let star = (1..=PEERS).flat_map(|peer| [(0, peer), (peer, 0)]);
    let mut world = World::with_peers(&story, cipher(), star);
    world.set_handshake_cost(HANDSHAKE_COST);
    for peer in 1..=PEERS {
        world.happens(send(peer, 0));
    }
    world.drive(secs(30));
    for host in 0..=PEERS {
        world.happens(Step::Restart { host, down_ms: 100 });
    }
    world.drive(secs(1));
    for peer in 1..=PEERS {
        world.happens(send(peer, 0));
    }
    world.drive(secs(10));
    world.assert_well();
    let missing = (1..=PEERS).filter(|&peer| world.delivered(peer, 0, secs(10)) != (1, 1));
    assert_eq!(missing.count(), 0);
    // All came at once, so most were asked to prove where they are.
    assert!(world.sent(0, Wire::Cookie) > PEERS / 2);
    for peer in 1..=PEERS {
        world.happens(send(0, peer));
    }
    world.drive(secs(1));
    let missing = (1..=PEERS).filter(|&peer| lost(&world, 0, peer, secs(1)) != 0);
    assert_eq!(missing.count(), 0);
}

#[test]
fn thirty_days_of_ten_gateways() {
    let mut world = world(2, 10);
    // Each hour each site has something to say to another one, and to hear.
    for hour in 0..30 * 24 {
        for from in 0..10 {
            let to = (from + 1 + (hour / 10 + from) % 9) % 10;
            world.happens(Step::Send {
                from,
                to,
                count: 3,
                len: 500,
                is_v6: hour % 2 == 0,
            });
            world.drive(secs(20));
            world.happens(send(to, from));
            world.drive(secs(340));
        }
        world.assert_well();
    }
    assert_eq!(world.elapsed(), secs(30 * DAY));
    let offered = 30 * 24 * 10 * 4;
    let mut delivered = 0;
    for from in 0..10 {
        for to in 0..10 {
            let (here, of) = world.delivered(from, to, secs(30 * DAY));
            assert_eq!(here, of);
            delivered += here;
        }
    }
    assert_eq!(delivered, offered);
}

#[test]
fn ten_gateways_of_whom_one_after_the_other_fails_are_all_back() {
    let mut world = world(3, 10);
    for host in 0..10 {
        for other in (0..10).filter(|&other| other != host) {
            world.happens(send(host, other));
        }
        world.drive(secs(7));
        world.happens(Step::Boot {
            host,
            down_ms: 3000,
        });
        world.drive(secs(1));
    }
    world.heal();
    let (tunnels, packets) = world.probe(Probes::Both);
    world.assert_well();
    assert_eq!(tunnels, 90);
    assert!(packets >= 90 * 3);
}
