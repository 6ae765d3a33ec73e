//! Gateways that get other addresses.

use weapon_sim::{Step, Wire};

use crate::{lost, ms, secs, send, talk, world};

#[test]
fn c06_a_gateway_that_moves_each_2_s_loses_what_was_on_its_way_to_the_old_place() {
    let mut world = world(1, 2);
    world.happens(talk(0, 1, 50, secs(100)));
    world.happens(talk(1, 0, 50, secs(100)));
    world.drive(ms(2025));
    for _ in 0..48 {
        world.happens(Step::Roam { host: 0 });
        world.drive(secs(2));
    }
    world.drive(secs(3));
    assert_eq!(lost(&world, 0, 1, secs(102)), 0);
    let lost = lost(&world, 1, 0, secs(102));
    // One that is on its way, and one that is sent before the peer is heard.
    assert!(lost <= 48 * 2, "{lost}");
    let initiations = world.sent(0, Wire::Initiation) + world.sent(1, Wire::Initiation);
    assert!(initiations <= 2, "moving needs no handshake");
}

#[test]
fn p77_a_silent_gateway_that_moved_is_found_when_it_speaks() {
    let mut world = world(2, 2);
    world.happens(send(0, 1));
    world.drive(secs(30));
    world.happens(Step::Roam { host: 0 });
    world.happens(send(1, 0));
    world.drive(secs(5));
    assert_eq!(lost(&world, 1, 0, secs(5)), 1, "nobody knows where it is");
    world.happens(send(0, 1));
    world.drive(ms(50));
    world.happens(send(1, 0));
    world.drive(ms(50));
    assert_eq!(lost(&world, 1, 0, ms(60)), 0);
}

#[test]
fn p31_recordings_do_not_move_the_endpoint_of_a_gateway_that_restarted() {
    let mut world = world(3, 2);
    for _ in 0..5 {
        world.happens(send(0, 1));
        world.drive(secs(130));
    }
    world.happens(Step::Restart {
        host: 1,
        down_ms: 100,
    });
    world.drive(secs(1));
    let answers = world.sent(1, Wire::Response);
    // Ever newer ones: each is new to a gateway that knows nothing.
    world.happens(Step::Replay { host: 1, count: 32 });
    world.drive(secs(1));
    assert!(
        world.sent(1, Wire::Response) > answers,
        "it can't know better"
    );
    // Its own initiation must wait for 5 s after that (P28), and goes to the right place.
    world.happens(send(1, 0));
    world.drive(ms(5400));
    assert_eq!(lost(&world, 1, 0, ms(5400)), 0);
    world.happens(send(0, 1));
    world.drive(ms(100));
    assert_eq!(lost(&world, 0, 1, ms(150)), 0);
}

#[test]
fn p64_recordings_bring_nothing_and_are_not_answered() {
    let mut world = world(4, 2);
    world.happens(talk(0, 1, 100, secs(30)));
    world.drive(secs(60));
    let count = |world: &weapon_sim::World| {
        let kinds = [Wire::Response, Wire::Keepalive, Wire::Data, Wire::Cookie];
        kinds.map(|wire| world.sent(1, wire))
    };
    let before = count(&world);
    for _ in 0..10 {
        world.happens(Step::Replay { host: 1, count: 32 });
        world.drive(secs(10));
    }
    world.assert_well();
    assert_eq!(count(&world), before);
}
