//! Addresses and interfaces that change under load: C06, C09.

use std::time::{Duration, Instant};

use super::check::{Check, Form};
use crate::lab::{Host, until};
use crate::pair::Pair;
use crate::traffic::{Pace, Pings, Stream};
use crate::weapon::PATIENCE;
use crate::wire::Dice;

/// C06.
const STALL_MAX: Duration = Duration::from_secs(1);

/// Between two addresses.
const MOVE_EACH: Duration = Duration::from_secs(2);

/// What is steadily loaded without taking the machine away from others.
const PACE: Pace = Pace {
    bytes: None,
    pause: Duration::from_millis(2),
};

/// The longest time in which a stream stood still, looked at for `time`.
fn longest_stall(stream: &Stream, time: Duration) -> Duration {
    let end = Instant::now() + time;
    let (mut last, mut since, mut longest) = (stream.received(), Instant::now(), Duration::ZERO);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
        let received = stream.received();
        if received != last {
            longest = longest.max(since.elapsed());
            (last, since) = (received, Instant::now());
        }
    }
    longest.max(since.elapsed())
}

/// C06. Who moves downloads, and says a word each 100 ms: that tells the other where he is.
pub(super) fn addresses(form: Form) -> Vec<Check> {
    let pair = Pair::new();
    pair.one
        .sysctl("net.ipv4.conf.eth0.promote_secondaries", "1");
    let (_one, _other) = pair.start_both();
    let stream = Stream::start(&pair.other, &pair.one, "10.99.0.1", PACE);
    let pings = Pings::start(&pair.one, "10.99.0.2", Duration::from_millis(100));
    stream.expect_progress(1 << 20);
    let mut address = 1;
    let mut worst = Duration::ZERO;
    let moves = form.pick(2, 20);
    for _ in 0..moves {
        let new = if address == 250 {
            11
        } else {
            address.max(10) + 1
        };
        for line in [
            format!("ip address add 192.0.2.{new}/24 dev eth0"),
            format!("ip address del 192.0.2.{address}/24 dev eth0"),
        ] {
            pair.one.run(&line);
        }
        address = new;
        worst = worst.max(longest_stall(&stream, MOVE_EACH));
    }
    drop(pings.finish());
    let bytes = stream.finish();
    let right = format!("{} MB, each right", bytes / 1_000_000);
    vec![
        Check::within(
            format!("{moves} addresses: longest stall"),
            STALL_MAX,
            worst,
        ),
        Check::new("bytes of the download", "all right", right, true),
    ]
}

/// C09.
pub(super) fn interface(form: Form) -> Vec<Check> {
    let pair = Pair::new();
    let (mut one, _other) = pair.start_both();
    let stream = Stream::start(&pair.one, &pair.other, "10.99.0.2", PACE);
    let goes_on = || stream.expect_progress(256 << 10);
    goes_on();
    let mut dice = Dice::new(9);
    let rounds = form.pick(2, 25);
    for _ in 0..rounds {
        for mtu in [1280, 65_535, 1280 + dice.below(64_000), 1420] {
            pair.one.run(&format!("ip link set w-one mtu {mtu}"));
            goes_on();
        }
        pair.one.run("ip link set w-one down");
        pair.one.run("ip link set w-one up");
        until("the gateway notices", PATIENCE, || {
            (one.status()["up"] == true).then_some(())
        });
        goes_on();
        for (old, new) in [("w-one", "w-two"), ("w-two", "w-one")] {
            // Older kernels rename only what is down.
            let line = format!("ip link set {old} name {new}");
            if pair.one.attempt(&line).is_err() {
                pair.one.run(&format!("ip link set {old} down"));
                pair.one.run(&line);
                pair.one.run(&format!("ip link set {new} up"));
            }
            goes_on();
        }
    }
    let bytes = stream.finish();
    let right = format!("{} MB, each right", bytes / 1_000_000);
    let what = format!("{rounds} rounds of MTU 1280 to 65535, down, up, rename: bytes of a stream");
    let mut checks = vec![Check::new(what, "all right", right, true)];

    let elsewhere = Host::new("elsewhere");
    pair.one.move_link("w-one", &elsewhere);
    let start = Instant::now();
    let mut ended = None;
    while start.elapsed() < Duration::from_secs(3) && ended.is_none() {
        ended = one.process().ended();
        std::thread::sleep(Duration::from_millis(20));
    }
    let panicked = one.log().contains("panicked");
    let (measured, good) = match ended {
        Some(status) => (format!("ended, {status}"), status.code() == Some(0)),
        None => ("runs".to_owned(), one.status()["pid"].is_number()),
    };
    checks.push(Check::new(
        "the interface in another namespace: the gateway",
        "runs, or ends in order",
        measured,
        good && !panicked,
    ));
    checks
}
