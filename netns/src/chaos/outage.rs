//! Links and processes that are away for a while: C05, C07, C08.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::check::{Check, Form};
use crate::lab::{Host, until};
use crate::pair::Pair;
use crate::traffic::{Pace, Stream};
use crate::wire::{Impairment, Wire};

/// One retry: REKEY_TIMEOUT of the WireGuard paper, its jitter of a third of a second, and the
/// handshake itself.
const RECOVERY_TIME_MAX: Duration = Duration::from_millis(5_400);

/// How long it is waited for a tunnel that does not recover in time.
const PATIENCE: Duration = Duration::from_secs(30);

/// The other end, inside the tunnel.
const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 99, 0, 2));

/// Pings until an answer comes; says how long that took.
fn recovery(host: &Host) -> Duration {
    let start = Instant::now();
    until("a ping through the tunnel", PATIENCE, || {
        host.ping_once(THERE, Duration::from_millis(100)).ok()
    });
    start.elapsed()
}

/// Whether somebody speaks during the outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Idle,
    Busy,
}

/// Pings in vain for as long as it says, or does nothing.
fn pass(host: &Host, time: Duration, traffic: Traffic) {
    let end = Instant::now() + time;
    if traffic == Traffic::Idle {
        std::thread::sleep(time);
    }
    while Instant::now() < end {
        let answer = host.ping_once(THERE, Duration::from_millis(100));
        assert!(answer.is_err(), "an answer although nobody can hear");
    }
}

/// C05.
pub(super) fn cut(form: Form) -> Vec<Check> {
    let outages: &[u64] = form.pick(&[1, 3], &[1, 30, 200, 600]);
    let cases = outages
        .iter()
        .flat_map(|&seconds| [Traffic::Idle, Traffic::Busy].map(|traffic| (seconds, traffic)));
    let times: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .map(|(seconds, traffic)| {
                let run = move || cut_for(Duration::from_secs(seconds), traffic);
                (seconds, traffic, scope.spawn(run))
            })
            .collect();
        let ended = running.into_iter().map(|(seconds, traffic, thread)| {
            (
                seconds,
                traffic,
                thread.join().expect("a tunnel that recovers"),
            )
        });
        ended.collect()
    });
    let check = |(seconds, traffic, time)| {
        let what = format!("{traffic:?}, {seconds} s without the link: back after");
        Check::within(what, RECOVERY_TIME_MAX, time)
    };
    times.into_iter().map(check).collect()
}

fn cut_for(time: Duration, traffic: Traffic) -> Duration {
    let (one, other) = (Host::new("one"), Host::new("other"));
    let wire = Wire::lay(
        (&one, "eth0", &["192.0.2.1/24"]),
        (&other, "eth0", &["192.0.2.2/24"]),
        5,
    );
    let pair = Pair::between(one, other);
    let _gateways = pair.start_both();
    wire.set(Impairment {
        cut: true,
        ..Impairment::default()
    });
    pass(&pair.one, time, traffic);
    wire.set(Impairment::default());
    recovery(&pair.one)
}

/// C08.
pub(super) fn stopped(form: Form) -> Vec<Check> {
    let seconds = form.pick(2, 200);
    let of = move |traffic| move || stopped_for(Duration::from_secs(seconds), traffic);
    std::thread::scope(|scope| {
        let running = [Traffic::Idle, Traffic::Busy].map(|traffic| scope.spawn(of(traffic)));
        let ended = running.map(|thread| thread.join().expect("a tunnel that recovers"));
        ended.into_iter().flatten().collect()
    })
}

fn stopped_for(time: Duration, traffic: Traffic) -> [Check; 2] {
    let pair = Pair::new();
    let (_one, mut other) = pair.start_both();
    other.process().signal(Signal::STOP);
    pass(&pair.one, time, traffic);
    other.process().signal(Signal::CONT);
    let recovered = recovery(&pair.one);
    let seconds = time.as_secs();
    let what = format!("{traffic:?}, the peer stopped for {seconds} s: back after");
    let ended = other.process().ended().is_some();
    [
        Check::within(what, RECOVERY_TIME_MAX, recovered),
        Check::none("gateways that crashed", u64::from(ended)),
    ]
}

/// C07. Both know where the other is and keep alive: whoever was killed speaks first.
pub(super) fn killed(form: Form) -> Vec<Check> {
    let mut pair = Pair::new();
    pair.plan.peers[0].keepalive = Some(1);
    pair.other_plan.peers[0].keepalive = Some(1);
    pair.other_plan.peers[0].endpoint = Some("192.0.2.1:51820".to_owned());
    let (one, other) = pair.start_both();
    let mut running = [Some(one), Some(other)];
    let pace = Pace {
        bytes: None,
        pause: Duration::from_millis(5),
    };
    let stream = Stream::start(&pair.other, &pair.one, "10.99.0.1", pace);
    let mut worst = Duration::ZERO;
    let (kills, pause) = form.pick((2, 1), (6, 20));
    for number in 0..kills {
        std::thread::sleep(Duration::from_secs(pause));
        let side = number % 2;
        if let Some(mut killed) = running[side].take() {
            killed.process().signal(Signal::KILL);
        }
        running[side] = Some(if side == 0 {
            pair.start()
        } else {
            pair.start_other()
        });
        let start = Instant::now();
        stream.expect_progress(1 << 20);
        worst = worst.max(start.elapsed());
    }
    let bytes = stream.finish();
    let what = format!("{kills} kills, 1 MiB more over the same TCP connection, at worst after");
    let right = format!("{} MB, each right", bytes / 1_000_000);
    vec![
        Check::within(what, RECOVERY_TIME_MAX, worst),
        Check::new("bytes of the connection", "all right", right, true),
    ]
}
