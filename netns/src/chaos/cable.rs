//! Bad cables: C01 to C04.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::check::{Check, Form};
use crate::lab::{Host, until};
use crate::pair::Pair;
use crate::traffic::transfer;
use crate::volley::{Arrival, Volley};
use crate::weapon::{PATIENCE, Weapon};
use crate::wire::{Impairment, Wire};

/// Every run meets the same misfortune, as far as it sends the same.
const SEED: u64 = 20_220_202;

/// Pings are repeated until they get through; a handshake may need some initiations of 5 s each.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(60);

/// A pair with a wire between its hosts.
fn wired() -> (Pair, Wire) {
    let (one, other) = (Host::new("one"), Host::new("other"));
    let wire = Wire::lay(
        (&one, "eth0", &["192.0.2.1/24", "2001:db8::1/64"]),
        (&other, "eth0", &["192.0.2.2/24", "2001:db8::2/64"]),
        SEED,
    );
    (Pair::between(one, other), wire)
}

/// Nobody has ended, and nobody has panicked.
fn alive(gateways: [&mut Weapon; 2]) -> Check {
    let mut dead = 0;
    for weapon in gateways {
        let is_dead = weapon.process().ended().is_some();
        dead += u64::from(is_dead || weapon.log().contains("panicked"));
    }
    Check::none("gateways that crashed", dead)
}

/// C01.
pub(super) fn loss(form: Form) -> Vec<Check> {
    let (pair, wire) = wired();
    let (mut one, mut other) = pair.start_both();
    wire.set(Impairment {
        loss: 0.2,
        ..Impairment::default()
    });
    let mut tries: Vec<u64> = (0..form.pick(3, 41))
        .map(|_| {
            // Set down, a gateway forgets its sessions.
            pair.one.run("ip link set w-one down");
            let without = |up: bool| {
                until("the gateway notices", PATIENCE, || {
                    (one.status()["up"] == up).then_some(())
                });
            };
            without(false);
            let before = wire.there().initiations.load(Relaxed);
            pair.one.run("ip link set w-one up");
            without(true);
            pair.one.ping_within("10.99.0.2", HANDSHAKE_TIME_MAX);
            wire.there().initiations.load(Relaxed) - before
        })
        .collect();
    tries.sort_unstable();
    let (median, most) = (tries[tries.len() / 2], tries[tries.len() - 1]);
    let measured = format!(
        "median {median}, most {most}, of {} handshakes",
        tries.len()
    );
    let handshakes = Check::new(
        "initiations of a handshake",
        "median ≤ 3",
        measured,
        median <= 3,
    );

    // The shortest pause before TCP sends again is 200 ms, a thousand times this cable's round
    // trip: nothing would be learnt from waiting for it.
    for host in [&pair.one, &pair.other] {
        host.sysctl("net.ipv4.tcp_rto_min_us", "5000");
    }
    let bytes = form.pick(2_000_000, 100_000_000);
    let start = Instant::now();
    // Each byte is compared; a difference is a panic.
    transfer(&pair.other, &pair.one, "10.99.0.1", bytes);
    let seconds = start.elapsed().as_secs_f64();
    let lost = wire.back().lost.load(Relaxed) as f64 / wire.back().datagrams.load(Relaxed) as f64;
    let measured = format!(
        "all of them, in {seconds:.0} s, {:.1} % of packets lost",
        lost * 100.0
    );
    let required = format!("{} MB, each byte right", bytes / 1_000_000);
    let download = Check::new("download", required, measured, true);
    vec![handshakes, download, alive([&mut one, &mut other])]
}

/// Numbered datagrams both ways through a bad cable.
fn volleys(form: Form, impairment: Impairment) -> (Vec<Arrival>, Wire, (Weapon, Weapon)) {
    let (pair, wire) = wired();
    let gateways = pair.start_both();
    wire.set(impairment);
    let volley = Volley {
        count: form.pick(8_000, 200_000),
        len: 200,
        pause: Duration::from_micros(100),
    };
    let ways = [
        (&pair.one, &pair.other, "10.99.0.2"),
        (&pair.other, &pair.one, "fd99::1"),
    ];
    let arrivals = ways.map(|(from, to, address)| volley.send(from, to, address));
    (arrivals.to_vec(), wire, gateways)
}

fn sum(arrivals: &[Arrival], count: impl Fn(&Arrival) -> u32) -> u64 {
    arrivals.iter().map(|it| u64::from(count(it))).sum()
}

/// Not held to a number: a socket may have no room on a busy machine.
fn delivered(arrivals: &[Arrival]) -> String {
    let (sent, came) = (sum(arrivals, |it| it.sent), sum(arrivals, |it| it.came));
    format!("{came} of {sent} delivered")
}

/// C02.
pub(super) fn reordering(form: Form) -> Vec<Check> {
    let impairment = Impairment {
        shuffle: 4000,
        ..Impairment::default()
    };
    let (arrivals, wire, (mut one, mut other)) = volleys(form, impairment);
    let replayed = one.drops("replayed") + other.drops("replayed");
    let moved = wire.there().moved.load(Relaxed) + wire.back().moved.load(Relaxed);
    let measured = format!("{replayed}, {moved} moved, {}", delivered(&arrivals));
    vec![
        Check::new("packets taken for replays", "0", measured, replayed == 0),
        Check::none("delivered twice", sum(&arrivals, |it| it.again)),
        alive([&mut one, &mut other]),
    ]
}

/// C03.
pub(super) fn duplication(form: Form) -> Vec<Check> {
    let impairment = Impairment {
        duplicate: 0.5,
        ..Impairment::default()
    };
    let (arrivals, wire, (mut one, mut other)) = volleys(form, impairment);
    let doubled = wire.there().doubled.load(Relaxed) + wire.back().doubled.load(Relaxed);
    let replayed = one.drops("replayed") + other.drops("replayed");
    let again = sum(&arrivals, |it| it.again);
    let measured = format!("{again}, {doubled} doubled, {}", delivered(&arrivals));
    vec![
        Check::new("delivered twice", "0", measured, again == 0),
        // What sockets have no room for is lost, copies too.
        Check::new(
            "copies counted as `replayed`",
            "some, and no more than there were",
            format!("{replayed} of {doubled}"),
            replayed > 0 && replayed <= doubled,
        ),
        alive([&mut one, &mut other]),
    ]
}

/// C04.
pub(super) fn corruption(form: Form) -> Vec<Check> {
    let impairment = Impairment {
        flip: 0.01,
        ..Impairment::default()
    };
    let (arrivals, wire, (mut one, mut other)) = volleys(form, impairment);
    let flipped = wire.there().flipped.load(Relaxed) + wire.back().flipped.load(Relaxed);
    let corrupt = sum(&arrivals, |it| it.corrupt);
    let measured = format!("{corrupt}, {flipped} flipped, {}", delivered(&arrivals));
    vec![
        Check::new("corrupt packets delivered", "0", measured, corrupt == 0),
        alive([&mut one, &mut other]),
    ]
}
