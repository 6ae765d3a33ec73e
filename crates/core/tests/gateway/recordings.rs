//! An attacker who has recorded everything, and clocks that go wrong.

use core::time::Duration;

use weapon_core::{DropReason, GatewayConfig};
use weapon_wire::message::Initiation;

use crate::{
    cipher::cipher,
    site::Site,
    world::{A, B, Wire, World, address, config, peer, private_key},
};

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn elsewhere() -> core::net::SocketAddr {
    "198.51.100.9:9".parse().unwrap()
}

/// What `us` sent of `wire`, as bytes.
fn recorded(world: &World, us: usize, wire: Wire) -> Vec<Vec<u8>> {
    let messages = world.messages(us, wire);
    messages.map(|(_, sent)| sent.bytes.clone()).collect()
}

/// The process of `us` is killed and starts again; only the disk survives.
fn restart(world: &mut World, us: usize) {
    let old = &world.sites[us];
    let settings = GatewayConfig {
        mappings: Vec::new(),
        policy: None,
        timestamp_mark: old.disk.mark,
        cipher: cipher(),
        ..config(us)
    };
    let mut site = Site::new(private_key(us), 1000 + old.wakes as u64, settings);
    site.address = old.address;
    site.wall_skew = old.wall_skew;
    world.sites[us] = site;
    let them = 1 - us;
    world.control(us, |gateway, env| {
        gateway.add_peers([peer(us, them)]);
        gateway.up(env);
    });
}

#[test]
fn p64_a_million_recorded_packets_deliver_nothing() {
    let mut world = World::connected(1);
    world.network.latency = Duration::ZERO;
    const RECORDED: usize = 1000;
    for number in 0..RECORDED as u32 {
        world.ping(A, B, &number.to_be_bytes()).unwrap();
        world.drive(Duration::from_micros(1));
    }
    let recorded = recorded(&world, A, Wire::Data);
    assert_eq!(recorded.len(), RECORDED);
    let written = world.sites[B].overlay.0.len();
    assert_eq!(written, RECORDED + 1);
    let stride = recorded[0].len();
    for round in 0..1_000_000 / RECORDED {
        for packets in recorded.chunks(50) {
            let mut train = packets.concat();
            world.sites[B].receive(world.now, elsewhere(), &mut train, stride);
        }
        if round % 100 == 0 {
            world.deliver(B);
        }
    }
    assert_eq!(world.sites[B].overlay.0.len(), written);
    assert_eq!(world.sites[B].drops(), [(DropReason::Replayed, 1_000_000)]);
    let status = world.sites[B].gateway.status(world.now);
    assert_eq!(status.peers[0].endpoint, Some(address(A)));
}

#[test]
fn p26_p27_a_recorded_initiation_is_answered_once() {
    let mut world = World::connected(2);
    world.control(A, |gateway, env| {
        gateway.down(env);
        gateway.up(env);
    });
    world.ping(A, B, b"a new session").unwrap();
    world.drive(secs(1));
    let initiation = recorded(&world, A, Wire::Initiation).remove(0);
    assert_eq!(world.count(B, Wire::Response), 1);
    for _ in 0..100 {
        world.receive(B, elsewhere(), &mut initiation.clone(), Initiation::LEN);
        world.drive(secs(1));
    }
    assert_eq!(world.count(B, Wire::Response), 1);
    assert_eq!(world.sites[B].dropped(DropReason::InitiationReplayed), 100);
    let status = world.sites[B].gateway.status(world.now);
    assert_eq!(status.peers[0].endpoint, Some(address(A)));
}

#[test]
fn p31_recordings_give_a_restarted_responder_no_session_and_no_endpoint() {
    let mut world = World::new(3, 2);
    for _ in 0..4 {
        world.control(A, |gateway, env| {
            gateway.down(env);
            gateway.up(env);
        });
        world.ping(A, B, b"data").unwrap();
        world.drive(secs(1));
    }
    let initiations = recorded(&world, A, Wire::Initiation);
    assert_eq!(initiations.len(), 4);
    let data = recorded(&world, A, Wire::Data);

    restart(&mut world, B);
    world.forget();
    // One after the other, each newer than the one before.
    for initiation in &initiations {
        for _ in 0..3 {
            world.receive(B, elsewhere(), &mut initiation.clone(), Initiation::LEN);
            world.drive(Duration::from_millis(50));
        }
    }
    assert_eq!(world.count(B, Wire::Response), 4, "each once");
    for message in &data {
        world.receive(B, elsewhere(), &mut message.clone(), message.len());
    }
    let status = world.sites[B].gateway.status(world.now);
    assert_eq!(status.peers[0].endpoint, Some(address(A)), "unmoved");
    assert_eq!(status.peers[0].session, None);
    assert_eq!(world.sites[B].overlay.0.len(), 0);

    // The true peer is heard.
    world.control(A, |gateway, env| {
        gateway.down(env);
        gateway.up(env);
    });
    world.ping(A, B, b"the real one").unwrap();
    world.drive(secs(1));
    assert_eq!(world.payloads(B), [b"the real one".to_vec()]);
}

#[test]
fn p31_a_recording_does_not_evict_the_session_that_is_sent_with() {
    let mut world = World::connected(4);
    world.control(A, |gateway, env| {
        gateway.down(env);
        gateway.up(env);
    });
    world.ping(A, B, b"lost on the way").unwrap();
    world.network.lose_all();
    let mut initiation = recorded(&world, A, Wire::Initiation).remove(0);
    restart(&mut world, B);
    // B reaches A by itself; then an initiation is replayed to it that it never saw.
    world.drive(secs(6));
    world.ping(B, A, b"by our own session").unwrap();
    world.drive(secs(6));
    assert!(
        world.sites[B].gateway.status(world.now).peers[0]
            .session
            .is_some()
    );
    let before = world.sites[B].gateway.status(world.now).peers[0].session;
    world.receive(B, elsewhere(), &mut initiation, Initiation::LEN);
    world.ping(B, A, b"still by the same").unwrap();
    world.drive(secs(1));
    let after = world.sites[B].gateway.status(world.now).peers[0].session;
    assert_eq!(after.unwrap().role, before.unwrap().role);
    assert_eq!(world.payloads(A).last().unwrap(), b"still by the same");
    let status = world.sites[B].gateway.status(world.now);
    assert_eq!(status.peers[0].endpoint, Some(address(A)));
}

#[test]
fn p30_ten_years_ahead_for_a_minute_and_back() {
    const TEN_YEARS: i64 = 10 * 365 * 86_400;
    for is_killed in [false, true] {
        let mut world = World::connected(5);
        world.sites[A].wall_skew = TEN_YEARS;
        if is_killed {
            restart(&mut world, A);
        }
        world.drive(secs(125));
        world.ping(A, B, b"in the future").unwrap();
        world.drive(secs(60));
        assert_eq!(world.payloads(B).last().unwrap(), b"in the future");
        let future = recorded(&world, A, Wire::Initiation);

        world.sites[A].wall_skew = 0;
        if is_killed {
            restart(&mut world, A);
        }
        world.drive(secs(125));
        world.forget();
        world.ping(A, B, b"back in time").unwrap();
        world.drive(secs(1));
        assert_eq!(world.count(A, Wire::Initiation), 1, "one handshake");
        assert_eq!(world.payloads(B).last().unwrap(), b"back in time");

        // The recording of the future does not out-date us (CVE-2021-46873).
        restart(&mut world, B);
        for mut initiation in future {
            world.receive(B, elsewhere(), &mut initiation, Initiation::LEN);
        }
        world.control(A, |gateway, env| {
            gateway.down(env);
            gateway.up(env);
        });
        world.ping(A, B, b"not locked out").unwrap();
        world.drive(secs(6));
        assert_eq!(world.payloads(B).last().unwrap(), b"not locked out");
    }
}

#[test]
fn p29_timestamps_grow_across_restarts_with_a_dead_clock() {
    let mut world = World::connected(6);
    let boot = -(crate::site::EPOCH as i64);
    for round in 0..5_u8 {
        world.sites[A].wall_skew = boot;
        restart(&mut world, A);
        world.ping(A, B, &[round]).unwrap();
        world.drive(secs(1));
        assert_eq!(world.payloads(B).last().unwrap(), &[round]);
    }
    assert_eq!(world.sites[B].dropped(DropReason::InitiationReplayed), 0);
}
