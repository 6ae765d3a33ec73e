//! Gateways that are killed and start again, and peers that come and go.

use weapon_sim::{Step, Wire};

use crate::{lost, ms, secs, send, talk, world};

fn restart(host: usize) -> Step {
    Step::Restart { host, down_ms: 200 }
}

#[test]
fn p45_a_responder_that_restarted_is_missed_after_15_s() {
    let mut world = world(1, 2);
    world.happens(talk(0, 1, 1000, secs(60)));
    world.drive(ms(20_500));
    world.happens(restart(1));
    world.drive(ms(14_400));
    assert_eq!(lost(&world, 0, 1, ms(14_400)), 14, "nobody has noticed");
    // 15.333 s after the first that was not answered, and a round trip.
    world.drive(ms(1600));
    world.drive(secs(20));
    assert_eq!(lost(&world, 0, 1, secs(20)), 0);
}

#[test]
fn a_responder_that_restarted_and_sends_is_back_at_once() {
    let mut world = world(2, 2);
    world.happens(talk(0, 1, 100, secs(60)));
    world.happens(talk(1, 0, 100, secs(60)));
    world.drive(ms(20_050));
    world.happens(restart(1));
    world.drive(ms(400));
    world.drive(secs(20));
    assert_eq!(lost(&world, 0, 1, secs(20)), 0);
    assert_eq!(lost(&world, 1, 0, secs(20)), 0);
}

#[test]
fn c07_both_are_killed_in_turns_each_20_s() {
    let mut world = world(3, 2);
    world.happens(talk(0, 1, 100, secs(610)));
    world.happens(talk(1, 0, 100, secs(610)));
    world.drive(ms(50));
    for number in 0..30 {
        world.drive(secs(14));
        let lost = lost(&world, 0, 1, secs(14)) + lost(&world, 1, 0, secs(14));
        assert_eq!(lost, 0, "after {number} kills");
        world.happens(restart(number % 2));
        // Whoever was killed has forgotten when it last asked, the other may have to wait (P28).
        world.drive(secs(6));
    }
}

#[test]
fn p29_without_room_on_the_disk_nothing_begins_and_with_it_all_does() {
    let mut world = world(4, 2);
    world.happens(Step::FillDisk { host: 0 });
    world.happens(send(0, 1));
    world.drive(secs(30));
    assert_eq!(world.sent(0, Wire::Initiation), 0);
    world.happens(Step::ClearDisk { host: 0 });
    world.drive(ms(5400));
    assert_eq!(lost(&world, 0, 1, secs(40)), 0);
}

#[test]
fn p102_a_removed_peer_is_not_heard_until_it_is_added_again() {
    let mut world = world(5, 2);
    world.happens(talk(0, 1, 100, secs(30)));
    world.drive(ms(5050));
    world.happens(Step::RemovePeer { host: 1, peer: 0 });
    world.drive(ms(5000));
    assert_eq!(lost(&world, 0, 1, secs(5)), 50);
    world.happens(Step::AddPeer { host: 1, peer: 0 });
    world.happens(send(1, 0));
    world.drive(ms(100));
    world.drive(secs(10));
    assert_eq!(lost(&world, 0, 1, secs(10)), 0);
    assert_eq!(lost(&world, 1, 0, secs(11)), 0);
}

#[test]
fn p85_p88_nobody_speaks_in_the_name_of_another() {
    let mut world = world(6, 3);
    for (from, to, as_of) in [(0, 1, 2), (0, 1, 1), (2, 1, 0)] {
        world.happens(Step::Spoof { from, to, as_of });
        world.drive(secs(2));
        assert_eq!(lost(&world, from, to, secs(2)), 1);
        world.drive(secs(1));
        world.happens(send(from, to));
        world.drive(secs(2));
        assert_eq!(lost(&world, from, to, secs(2)), 0);
    }
}
