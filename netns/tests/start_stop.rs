//! Started and stopped a thousand times, everything returns to what it was: descriptors, threads,
//! memory, sockets, and the namespace itself (P103).

use std::fs;
use std::io;
use std::time::Instant;

use weapon_core::{Gateway, GatewayConfig, PeerConfig, TimestampStore};
use weapon_engine::{Engine, EngineConfig, Event};
use weapon_io::netlink;
use weapon_io::tun::{Offloads, Tun, TunConfig};
use weapon_io::udp::{Udp, UdpConfig};
use weapon_netns::plan::private_key;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Host, Pair, Traces, link, ready, until};
use weapon_noise::{Backend, Tai64n};

#[path = "../../crates/noise/tests/cipher/mod.rs"]
mod cipher;
use cipher::cipher;

const ROUNDS: usize = 1000;

/// Rounds after which everything that is made once has been made.
const WARM_UP: usize = 20;

/// How often the memory is looked at.
const PARTS: usize = 4;

/// Growth of all rounds that is none: what the allocator keeps for later.
const GROWTH_BYTES_MAX: u64 = 2 << 20;

/// Keeps nothing: the gateway of this test sends nothing.
struct NoStore;

impl TimestampStore for NoStore {
    fn persist(&mut self, _mark: Tai64n) -> bool {
        true
    }
}

/// Starts an engine with a device and sockets of the kernel, in the namespace of this thread, and
/// stops it.
fn one_round(number: usize) {
    let tun = Tun::open(&TunConfig {
        name: "w-round".to_owned(),
        mtu: 1420,
        offloads: Offloads {
            tcp: true,
            udp: true,
        },
        queues: 1,
    });
    let tun = tun.unwrap_or_else(|error| panic!("round {number}: {error}"));
    let config = UdpConfig {
        port: 51_820,
        ..UdpConfig::default()
    };
    let udp = Udp::bind(&config).unwrap_or_else(|error| panic!("round {number}: {error}"));
    let mut gateway = Gateway::new(GatewayConfig {
        private_key: private_key(),
        mtu: 1420,
        addresses: Vec::new(),
        mappings: Vec::new(),
        policy: None,
        timestamp_mark: None,
        cipher: cipher(),
    });
    gateway.add_peers([PeerConfig {
        name: "peer".to_owned(),
        public_key: private_key().public(),
        preshared_key: None,
        endpoint: Some(([192, 0, 2, 2], 51_820).into()),
        endpoint_pinned: false,
        networks: vec!["10.98.0.0/16".parse().expect("a network")],
        persistent_keepalive: Some(std::time::Duration::from_secs(1)),
    }]);
    let engine = Engine::start(
        gateway,
        tun,
        vec![udp],
        EngineConfig {
            up: true,
            rebind: Box::new(move || Udp::bind_lanes(&config, 1).map_err(io::Error::other)),
            store: Box::new(NoStore),
            on_event: Box::new(|event| match event {
                Event::Unanswered { .. } | Event::Happened(_) => {}
                event => panic!("{event:?}"),
            }),
        },
    );
    let engine = engine.unwrap_or_else(|error| panic!("round {number}: {error}"));
    assert!(engine.status().expect("an engine that runs").gateway.up);
    engine.stop();
}

/// tokio makes a pair of sockets when its first runtime starts, and keeps it. They would be in the
/// namespace of the thread that comes first, and hold it.
fn start_tokio_here() {
    let started = netlink::block_on(async |_| Ok(()));
    started.expect("a runtime");
}

/// What a process holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    threads: usize,
    mappings: usize,
}

fn held() -> Held {
    let count = |path: &str| fs::read_dir(path).expect("/proc").count();
    let mappings = fs::read_to_string("/proc/self/maps").expect("/proc");
    Held {
        descriptors: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        mappings: mappings.lines().count(),
    }
}

fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").expect("/proc");
    let pages = text
        .split_whitespace()
        .nth(1)
        .and_then(|it| it.parse::<u64>().ok());
    pages.expect("a number of pages") * 4096
}

#[test]
fn p103_a_thousand_rounds_leave_nothing() {
    if !ready(&[]) {
        return;
    }
    start_tokio_here();
    let (host, witness) = (Host::new("round"), Host::new("witness"));
    // When the namespace of `round` is gone, so is this end of the cable.
    link(
        (&host, "eth0", &["192.0.2.1/24"]),
        (&witness, "eth0", &["192.0.2.2/24"]),
    );
    let start = Instant::now();
    let (before, after, growth) = host.enter(|| {
        let threads = held().threads;
        // The kernel wakes who joins a thread before it takes the thread off its list, so one that
        // is gone may be listed for a moment.
        let held_at_rest = || {
            until("as many threads as in the beginning", PATIENCE, || {
                Some(held()).filter(|now| now.threads == threads)
            })
        };
        for number in 0..WARM_UP {
            one_round(number);
        }
        let before = held_at_rest();
        // What is lost in a round is lost in each; the allocator keeps something for later now and
        // then. So the part of the rounds counts in which the least was gained.
        let parts = [0; PARTS].map(|_| {
            let resident = resident_bytes();
            for number in 0..(ROUNDS - WARM_UP) / PARTS {
                one_round(number);
            }
            resident_bytes().saturating_sub(resident)
        });
        let growth = parts.into_iter().min().unwrap_or_default() * PARTS as u64;
        (before, held_at_rest(), growth)
    });
    println!(
        "{ROUNDS} rounds in {:?}, {} KiB grown, {after:?}",
        start.elapsed(),
        growth >> 10
    );
    assert_eq!(
        (after.descriptors, after.threads),
        (before.descriptors, before.threads)
    );
    // The allocator may have split or joined a few.
    assert!(
        after.mappings <= before.mappings + 20,
        "{before:?}, {after:?}"
    );
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes");
    assert!(!host.run("ip -o link").contains("w-round"));
    drop(host);
    until("nothing holds the namespace", PATIENCE, || {
        (!witness.run("ip -o link").contains("eth0")).then_some(())
    });
}

/// The same with the program, and what it has on disk.
#[test]
fn p103_the_program_leaves_nothing_either() {
    if !ready(&[]) {
        return;
    }
    start_tokio_here();
    let pair = Pair::new();
    let before = Traces::of(&pair.one, &pair.home);
    for _ in 0..25 {
        let one = pair.start();
        assert_eq!(one.stop().code(), Some(0));
    }
    assert_eq!(Traces::of(&pair.one, &pair.home), before);
    let Pair { one, other, .. } = pair;
    drop(one);
    until("nothing holds the namespace", PATIENCE, || {
        (!other.run("ip -o link").contains("eth0")).then_some(())
    });
}
