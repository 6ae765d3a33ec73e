//! Clocks that step, machines that sleep.

use weapon_sim::{Step, Wire};

use crate::{lost, ms, secs, send, talk, world};

const TEN_YEARS: i64 = 315_360_000;

fn step_clock(seconds: i64) -> Step {
    Step::StepClock { host: 0, seconds }
}

#[test]
fn p30_c16_a_clock_that_is_10_years_ahead_for_a_minute_disturbs_nothing() {
    let mut world = world(1, 2);
    world.happens(talk(0, 1, 1000, secs(600)));
    world.drive(ms(115_500));
    world.happens(step_clock(TEN_YEARS));
    world.drive(secs(60));
    world.happens(step_clock(-TEN_YEARS));
    world.drive(secs(450));
    assert_eq!(lost(&world, 0, 1, secs(620)), 0);
    let initiations = world.sent(0, Wire::Initiation);
    assert!(
        (5..=6).contains(&initiations),
        "each 120 s one: {initiations}"
    );
}

#[test]
fn p30_the_same_with_a_kill_in_between_costs_one_handshake() {
    let mut world = world(2, 2);
    world.happens(talk(0, 1, 1000, secs(600)));
    world.drive(ms(100_500));
    world.happens(step_clock(TEN_YEARS));
    // The next handshake is in ten years.
    world.drive(secs(60));
    world.happens(step_clock(-TEN_YEARS));
    let before = world.sent(0, Wire::Initiation);
    world.happens(Step::Restart {
        host: 0,
        down_ms: 10,
    });
    world.drive(secs(30));
    assert_eq!(lost(&world, 0, 1, secs(30)), 0);
    assert_eq!(world.sent(0, Wire::Initiation) - before, 1);
}

#[test]
fn p29_a_machine_that_boots_in_1970_is_heard_at_once() {
    let mut world = world(3, 2);
    world.happens(send(0, 1));
    world.drive(secs(30));
    for _ in 0..5 {
        world.happens(Step::Boot {
            host: 0,
            down_ms: 2000,
        });
        world.drive(secs(3));
        world.happens(send(0, 1));
        world.drive(ms(100));
        assert_eq!(lost(&world, 0, 1, ms(150)), 0);
    }
}

#[test]
fn c16_steps_of_a_second_each_second_disturb_nothing() {
    let mut world = world(4, 2);
    world.happens(talk(0, 1, 1000, secs(300)));
    world.happens(talk(1, 0, 1000, secs(300)));
    for number in 0..300 {
        world.happens(step_clock(if number % 3 == 0 { 1 } else { -1 }));
        world.drive(secs(1));
    }
    world.drive(secs(1));
    assert_eq!(lost(&world, 0, 1, secs(302)), 0);
    assert_eq!(lost(&world, 1, 0, secs(302)), 0);
}

#[test]
fn p32_p42_keys_age_while_a_machine_sleeps() {
    for asleep in [200, 3 * 3600] {
        let mut world = world(5, 2);
        world.happens(send(0, 1));
        world.drive(secs(30));
        world.happens(Step::Suspend {
            host: 0,
            ms: asleep * 1000,
        });
        world.drive(secs(u64::from(asleep)));
        let before = world.sent(0, Wire::Initiation);
        world.happens(send(0, 1));
        world.drive(ms(100));
        assert_eq!(lost(&world, 0, 1, ms(150)), 0, "after {asleep} s");
        let more = world.sent(0, Wire::Initiation) - before;
        assert_eq!(more, 1, "a new session after {asleep} s");
    }
}

#[test]
fn c08_a_gateway_that_was_stopped_for_200_s_goes_on() {
    for (host, stopped) in [(0, 200), (1, 200), (1, 20)] {
        let mut world = world(6, 2);
        world.happens(talk(0, 1, 500, secs(600)));
        world.happens(talk(1, 0, 500, secs(600)));
        world.drive(secs(50));
        world.happens(Step::Stop {
            host,
            ms: stopped * 1000,
        });
        world.drive(secs(u64::from(stopped)));
        world.drive(ms(5600));
        world.drive(secs(20));
        assert_eq!(lost(&world, 0, 1, secs(20)), 0, "{host}, {stopped} s");
        assert_eq!(lost(&world, 1, 0, secs(20)), 0, "{host}, {stopped} s");
    }
}
