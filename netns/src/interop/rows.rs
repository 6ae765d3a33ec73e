//! What is tried with each peer. A row that does not hold panics and says why; one that holds may
//! have a note.

use std::time::{Duration, Instant};

use weapon_io::ping::Ping;

use super::bed::{Bed, Setup};
use crate::flood::Flood;
use crate::gateway::Kind;
use crate::lab::{Host, until};
use crate::tap::{Packet, Tap};
use crate::traffic::{Pings, transfer};
use crate::weapon::PATIENCE;

/// Over TCP, in each direction. An emulated processor takes some seconds for it.
const TRANSFER_BYTES: u64 = 10_000_000;

/// REKEY_AFTER_TIME of the WireGuard paper, section 6.2, and a lost initiation.
const REKEY_BY: Duration = Duration::from_secs(130);

/// How long keepalives are counted, one a second.
const KEEPALIVE_TIME: Duration = Duration::from_secs(5);
/// How many must come in it.
const KEEPALIVES_MIN: usize = 3;
/// How long a ping of somebody who has moved may take.
const ROAMED_WITHIN: Duration = Duration::from_secs(2);

/// The length of a data message without data.
const KEEPALIVE_LEN: usize = 32;

/// Initiations in a second: more than anybody answers without a cookie, and what an emulated
/// processor can at least receive.
const FLOOD_PER_SECOND: u64 = 30_000;
const FLOOD_PER_SECOND_EMULATED: u64 = 1_000;

/// How long a handshake may take under load: a few initiations, one each five seconds.
const UNDER_LOAD_TIME_MAX: Duration = Duration::from_secs(30);

/// Types of messages, the first byte of each.
const COOKIE_REPLY: u8 = 3;

/// Something that is tried with each peer.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) cost: Cost,
    pub(super) run: fn(Kind) -> Note,
}

/// What is said of a row that holds, if anything.
pub(super) type Note = Option<String>;

/// When a row is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// It sleeps through its two minutes, beside all others.
    Sleeps,
    /// Some seconds.
    Short,
    /// It takes the whole machine: alone, at the end.
    Alone,
}

const fn row(name: &'static str, run: fn(Kind) -> Note) -> Row {
    Row {
        name,
        cost: Cost::Short,
        run,
    }
}

/// All of them, in the order of the table.
pub(super) const ROWS: [Row; 21] = [
    row("we begin, over IPv4", |kind| {
        begins(kind, false, false, false)
    }),
    row("we begin, over IPv6", |kind| {
        begins(kind, false, true, false)
    }),
    row("they begin, over IPv4", |kind| {
        begins(kind, true, false, false)
    }),
    row("they begin, over IPv6", |kind| {
        begins(kind, true, true, false)
    }),
    row("we begin, preshared key", |kind| {
        begins(kind, false, false, true)
    }),
    row("they begin, preshared key", |kind| {
        begins(kind, true, true, true)
    }),
    row("preshared keys differ: no session", keys_differ),
    row("small packets", small_packets),
    row("big packets, whole and in fragments", big_packets),
    row("TCP both ways inside IPv4", |kind| {
        tcp(kind, ["10.99.0.2", "10.99.0.1"], false)
    }),
    row("TCP both ways inside IPv6", |kind| {
        tcp(kind, ["fd99::2", "fd99::1"], true)
    }),
    row("we restart", we_restart),
    row("they restart", they_restart),
    row("we roam", we_roam),
    row("they roam", they_roam),
    row("we keep alive, each second", |kind| {
        keeps_alive(kind, false)
    }),
    row("they keep alive, each second", |kind| {
        keeps_alive(kind, true)
    }),
    Row {
        name: "rekey after 120 s, we began",
        cost: Cost::Sleeps,
        run: |kind| rekeys(kind, false),
    },
    Row {
        name: "rekey after 120 s, they began",
        cost: Cost::Sleeps,
        run: |kind| rekeys(kind, true),
    },
    Row {
        name: "we are under load, they need a cookie",
        cost: Cost::Alone,
        run: |kind| under_load(kind, false),
    },
    Row {
        name: "they are under load, we need a cookie",
        cost: Cost::Alone,
        run: |kind| under_load(kind, true),
    },
];

fn begins(kind: Kind, they_begin: bool, over_ipv6: bool, with_preshared_key: bool) -> Note {
    let setup = Setup {
        they_begin,
        over_ipv6,
        with_preshared_key,
        ..Setup::default()
    };
    let bed = Bed::start(kind, setup);
    bed.ping_all();
    bed.expect_roles();
    let place = match over_ipv6 {
        false => "192.0.2.2:51820",
        true => "[2001:db8::2]:51820",
    };
    bed.expect_endpoint(place);
    None
}

fn keys_differ(kind: Kind) -> Note {
    let bed = Bed::with(kind, Setup::default(), |ours, theirs| {
        ours.peers[0].preshared_key = Some(crate::plan::preshared_key());
        theirs.peers[0].preshared_key = Some(crate::plan::preshared_key());
    });
    let mut tap = Tap::new(&bed.one, "eth0");
    let there = [10, 99, 0, 2].into();
    let answer = bed.one.ping_once(there, Duration::from_secs(2));
    assert!(answer.is_err(), "an answer with another preshared key");
    assert!(bed.peer()["session"].is_null(), "a session");
    let packets = tap.packets();
    assert!(
        packets.iter().any(|it| it.outgoing && it.is_udp()),
        "we did not begin"
    );
    // They answer the initiation, into which the preshared key does not go; we see that it is not
    // theirs.
    let heard = packets.iter().filter(|it| !it.outgoing && it.is_udp());
    let refused = bed.weapon().drops("handshake_invalid");
    assert_eq!(refused, heard.count() as u64, "responses refused");
    None
}

/// Pings with as many bytes of payload as given.
fn ping(host: &Host, remote: &str, payload_len: usize) {
    let remote = remote.parse().expect("an address");
    let payload: Vec<u8> = (0..payload_len).map(|at| (at % 251) as u8).collect();
    let answered = host.enter(|| Ping::open(remote, &payload)?.once(Duration::from_secs(10)));
    answered.unwrap_or_else(|error| panic!("{payload_len} bytes to {remote}: {error}"));
}

fn ping_ways(bed: &Bed, len: usize) {
    for (host, remote) in [
        (&bed.one, "10.99.0.2"),
        (&bed.one, "fd99::2"),
        (&bed.other, "10.99.0.1"),
        (&bed.other, "fd99::1"),
    ] {
        ping(host, remote, len);
    }
}

fn small_packets(kind: Kind) -> Note {
    let bed = Bed::start(kind, Setup::default());
    bed.ping_all();
    // All remainders of the 16 bytes to which messages are padded.
    for len in 1..=33 {
        ping_ways(&bed, len);
    }
    assert_eq!(bed.weapon().drops("inner_malformed"), 0);
    None
}

fn big_packets(kind: Kind) -> Note {
    let bed = Bed::start(kind, Setup::default());
    bed.ping_all();
    let mut tap = Tap::new(&bed.one, "eth0");
    // The MTU is 1420; IP and ICMP headers are 28 and 48 bytes long.
    for (host, remote, len) in [
        (&bed.one, "10.99.0.2", 1392),
        (&bed.one, "fd99::2", 1372),
        (&bed.other, "10.99.0.1", 1392),
        (&bed.other, "fd99::1", 1372),
    ] {
        for len in len - 17..=len {
            ping(host, remote, len);
        }
    }
    let packets = tap.packets();
    let longest = |ours: bool| {
        let of_side = packets.iter().filter(|it| it.outgoing == ours);
        of_side.map(|it| it.payload.len()).max().unwrap_or(0)
    };
    // Padding must not make a packet longer than the MTU: 1420 and 32 bytes around it.
    assert_eq!(longest(true), 1452, "our longest UDP payload");
    let theirs = longest(false);
    for len in [1393, 4000, 20_000] {
        ping_ways(&bed, len);
    }
    (theirs != 1452).then(|| {
        format!("it pads beyond the MTU: its UDP payloads are up to {theirs} bytes, not 1452")
    })
}

fn tcp(kind: Kind, [there, here]: [&str; 2], over_ipv6: bool) -> Note {
    let setup = Setup {
        over_ipv6,
        ..Setup::default()
    };
    let bed = Bed::start(kind, setup);
    bed.ping_all();
    let count = |name: &str| {
        bed.weapon().status()["counters"][name]
            .as_u64()
            .unwrap_or(0)
    };
    transfer(&bed.one, &bed.other, there, TRANSFER_BYTES);
    let (superpackets, segments) = (count("outbound_superpackets"), count("outbound_segments"));
    assert!(
        segments > 2 * superpackets,
        "{superpackets} superpackets of {segments} packets"
    );
    transfer(&bed.other, &bed.one, here, TRANSFER_BYTES);
    bed.ping_once(false);
    Some(format!(
        "{:.0} packets a superpacket",
        segments as f64 / superpackets as f64
    ))
}

fn we_restart(kind: Kind) -> Note {
    let mut bed = Bed::start(kind, Setup::default());
    for _ in 0..2 {
        bed.ping_all();
        bed.restart_ours();
    }
    bed.ping_all();
    bed.expect_roles();
    None
}

fn they_restart(kind: Kind) -> Note {
    let setup = Setup {
        they_begin: true,
        ..Setup::default()
    };
    let mut bed = Bed::start(kind, setup);
    for _ in 0..2 {
        bed.ping_all();
        bed.restart_theirs();
    }
    bed.ping_all();
    bed.expect_roles();
    None
}

fn we_roam(kind: Kind) -> Note {
    let bed = Bed::start(kind, Setup::default());
    bed.ping_all();
    let before = bed.peer()["latest_handshake"].clone();
    for (old, new) in [("192.0.2.1", "192.0.2.11"), ("192.0.2.11", "192.0.2.12")] {
        bed.one.run(&format!("ip address add {new}/24 dev eth0"));
        bed.one.run(&format!("ip address del {old}/24 dev eth0"));
        bed.one.ping("10.99.0.2");
        bed.ping_once(true);
    }
    assert_eq!(
        bed.peer()["latest_handshake"],
        before,
        "a handshake was needed"
    );
    None
}

fn they_roam(kind: Kind) -> Note {
    let mut bed = Bed::start(kind, Setup::default());
    bed.ping_all();
    let mut note = None;
    for (old, new) in [("192.0.2.2", "192.0.2.22"), ("192.0.2.22", "192.0.2.23")] {
        bed.run_theirs(&format!("ip address add {new}/24 dev eth0"));
        bed.run_theirs(&format!("ip address del {old}/24 dev eth0"));
        let here = [10, 99, 0, 1].into();
        let answered = |_| bed.other.ping_once(here, ROAMED_WITHIN).is_ok();
        if !(0..3).any(answered) {
            let told = bed.tell_theirs("192.0.2.1:51820");
            let remedy = if told {
                "`wg set` has told it our endpoint again"
            } else {
                "a restart"
            };
            note = Some(format!(
                "only after {remedy}: by itself it goes on sending from the address that is gone"
            ));
            bed.other.ping("10.99.0.1");
        }
        bed.expect_endpoint(&format!("{new}:51820"));
        bed.ping_once(false);
    }
    note
}

fn keeps_alive(kind: Kind, theirs: bool) -> Note {
    let setup = Setup {
        our_keepalive: (!theirs).then_some(1),
        their_keepalive: theirs.then_some(1),
        they_begin: theirs,
        ..Setup::default()
    };
    let bed = Bed::start(kind, setup);
    // Nobody asks for anything: it begins by itself.
    until("a session", PATIENCE, || {
        (!bed.peer()["session"].is_null()).then_some(())
    });
    let mut tap = Tap::new(&bed.one, "eth0");
    std::thread::sleep(KEEPALIVE_TIME);
    let packets = tap.packets();
    let kept =
        |it: &&Packet| it.is_udp() && it.outgoing != theirs && it.payload.len() == KEEPALIVE_LEN;
    let count = packets.iter().filter(kept).count();
    assert!(
        count >= KEEPALIVES_MIN,
        "{count} keepalives in {KEEPALIVE_TIME:?}"
    );
    bed.ping_all();
    None
}

fn rekeys(kind: Kind, they_begin: bool) -> Note {
    let setup = Setup {
        they_begin,
        ..Setup::default()
    };
    let bed = Bed::start(kind, setup);
    bed.ping_all();
    bed.expect_roles();
    let start = Instant::now();
    let began = bed.peer()["latest_handshake"].as_u64();
    let pause = Duration::from_millis(200);
    let pings = [
        Pings::start(&bed.one, "10.99.0.2", pause),
        Pings::start(&bed.other, "fd99::1", pause),
    ];
    let renewed = loop {
        let latest = bed.peer()["latest_handshake"].as_u64();
        if let Some(latest) = latest.filter(|_| latest != began) {
            break latest;
        }
        assert!(
            start.elapsed() < REKEY_BY,
            "no new handshake within {REKEY_BY:?}"
        );
        std::thread::sleep(Duration::from_millis(500));
    };
    std::thread::sleep(Duration::from_secs(2));
    let counts = pings.map(Pings::finish);
    bed.expect_roles();
    for count in &counts {
        assert!(count.lost.is_empty(), "pings lost: {count:?}");
    }
    began.map(|began| format!("after {} s", renewed - began))
}

/// A flood of initiations from another port of our address, so that nobody is served by an
/// account of his own; then a handshake of the honest ones.
fn under_load(kind: Kind, theirs: bool) -> Note {
    let setup = Setup {
        they_begin: !theirs,
        ..Setup::default()
    };
    let mut bed = Bed::start(kind, setup);
    bed.ping_all();
    let (target, of) = if theirs {
        ("192.0.2.2:51820", &bed.other_plan)
    } else {
        ("192.0.2.1:51820", &bed.plan)
    };
    let rate = if theirs && kind == Kind::Kernel {
        FLOOD_PER_SECOND_EMULATED
    } else {
        FLOOD_PER_SECOND
    };
    let source = [192, 0, 2, 1].into();
    let target = target.parse().expect("an address");
    let flood = Flood::start(&bed.one, &[source], target, of.private_key.public(), rate);
    std::thread::sleep(Duration::from_secs(1));
    let mut tap = Tap::new(&bed.one, "eth0");
    if theirs {
        bed.restart_ours();
    } else {
        bed.restart_theirs();
    }
    let (host, remote) = if theirs {
        (&bed.one, "10.99.0.2")
    } else {
        (&bed.other, "10.99.0.1")
    };
    // A refused initiation is repeated after five seconds, with the cookie. The tap is emptied
    // meanwhile: it has no room for a flood.
    let remote = remote.parse().expect("an address");
    let mut cookie = false;
    let start = Instant::now();
    until(
        "a session in spite of the flood",
        UNDER_LOAD_TIME_MAX,
        || {
            let answer = host.ping_once(remote, Duration::from_millis(200));
            let is_cookie = |it: &Packet| {
                let between_gateways = it.is_udp() && it.ports == Some((51_820, 51_820));
                between_gateways
                    && it.outgoing != theirs
                    && it.payload.first() == Some(&COOKIE_REPLY)
            };
            cookie |= tap.packets().iter().any(is_cookie);
            answer.ok()
        },
    );
    let time = start.elapsed();
    let count = flood.finish();
    let how = if cookie {
        "with a cookie"
    } else {
        "without a cookie"
    };
    Some(format!(
        "{how}, after {:.1} s, {} initiations/s",
        time.as_secs_f64(),
        count.per_second()
    ))
}
