//! Single scenarios, whose numbers are known in advance.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use core::time::Duration;

use weapon_sim::{Step, Story, World};

#[path = "../cipher/mod.rs"]
mod cipher;
use cipher::cipher;

mod clocks;
mod fleets;
mod lines;
mod nats;
mod restarts;
mod roaming;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// `count` gateways with addresses of their own, nothing sent yet.
fn world(seed: u64, count: usize) -> World {
    World::new(&Story::quiet(seed, count), cipher())
}

/// A packet each `every_ms` for `duration`.
fn talk(from: usize, to: usize, every_ms: u16, duration: Duration) -> Step {
    let count = duration.as_millis() as u64 / u64::from(every_ms);
    Step::Talk {
        from,
        to,
        every_ms,
        count: count as u16,
    }
}

/// One packet.
fn send(from: usize, to: usize) -> Step {
    Step::Send {
        from,
        to,
        count: 1,
        len: 100,
        is_v6: true,
    }
}

/// How many of the packets of the last `duration` did not come out.
fn lost(world: &World, from: usize, to: usize, duration: Duration) -> usize {
    world.assert_well();
    let (delivered, offered) = world.delivered(from, to, duration);
    assert!(offered > 0, "nothing was offered");
    offered - delivered
}
