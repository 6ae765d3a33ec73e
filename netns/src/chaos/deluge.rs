//! Floods of initiations: C14, P74.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::check::{Check, Form};
use crate::flood::Flood;
use crate::lab::{Host, link, until};
use crate::pair::Pair;
use crate::volley::Volley;

/// P74.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(2);
/// P74.
const LOSS_MAX: f64 = 0.01;

/// A flood: from where, and how many initiations a second.
struct Deluge {
    what: &'static str,
    sources: Vec<IpAddr>,
    target: &'static str,
    /// Where the honest one finds the gateway: by the same family, at another address.
    endpoint: &'static str,
    per_second: u64,
}

/// From one address, from all of a /24, and from many of a /64.
fn deluges() -> [Deluge; 3] {
    let v4 = |last: u8| IpAddr::from([203, 0, 113, last]);
    let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 2, 0, 5, last, 7, 9]);
    [
        Deluge {
            what: "50 000/s from one address",
            sources: vec![v4(2)],
            target: "198.51.100.1:51820",
            endpoint: "192.0.2.1:51820",
            per_second: 50_000,
        },
        Deluge {
            what: "200 000/s from a /24",
            sources: (2..=254).map(v4).collect(),
            target: "198.51.100.1:51820",
            endpoint: "192.0.2.1:51820",
            per_second: 200_000,
        },
        Deluge {
            what: "200 000/s from a /64",
            sources: (1..=250).map(v6).collect(),
            target: "[2001:db8:1::1]:51820",
            endpoint: "[2001:db8::1]:51820",
            per_second: 200_000,
        },
    ]
}

/// C14, P74.
pub(super) fn initiations(form: Form) -> Vec<Check> {
    let count = form.pick(1, 3);
    let all = deluges().into_iter().take(count);
    all.flat_map(|deluge| withstand(&deluge, form)).collect()
}

/// A host at a second cable of `one`, to which whole networks belong.
fn attacker(one: &Host) -> Host {
    let third = Host::new("third");
    link(
        (one, "eth1", &["198.51.100.1/24", "2001:db8:1::1/64"]),
        (&third, "eth0", &["198.51.100.2/24", "2001:db8:1::2/64"]),
    );
    third.sysctl("net.ipv6.ip_nonlocal_bind", "1");
    for (host, line) in [
        (&third, "ip route add local 203.0.113.0/24 dev lo"),
        (&third, "ip -6 route add local 2001:db8:2::/64 dev lo"),
        (one, "ip route add 203.0.113.0/24 via 198.51.100.2"),
        (one, "ip -6 route add 2001:db8:2::/64 via 2001:db8:1::2"),
    ] {
        host.run(line);
    }
    third
}

fn withstand(deluge: &Deluge, form: Form) -> Vec<Check> {
    let mut pair = Pair::new();
    // The honest one speaks first.
    pair.other_plan.peers[0].endpoint = Some(deluge.endpoint.to_owned());
    let third = attacker(&pair.one);
    let one = pair.start();
    let public_key = pair.plan.private_key.public();
    let target = deluge.target.parse().expect("an address");
    let rate = deluge.per_second;
    let flood = Flood::start(&third, &deluge.sources, target, public_key, rate);
    std::thread::sleep(Duration::from_secs(1));

    // The honest one comes, at another address.
    let mut times = Vec::new();
    for _ in 0..form.pick(1, 5) {
        let other = pair.start_other();
        let start = Instant::now();
        until(
            "a session in spite of the flood",
            Duration::from_secs(30),
            || {
                let answer = pair
                    .other
                    .ping_once([10, 99, 0, 1].into(), Duration::from_millis(50));
                answer.ok()
            },
        );
        times.push(start.elapsed());
        drop(other);
    }
    let _other = pair.start_other();
    pair.other.ping_within("10.99.0.1", Duration::from_secs(30));
    let volley = Volley {
        count: form.pick(3_000, 20_000),
        len: 1_000,
        pause: Duration::from_micros(500),
    };
    let arrival = volley.send(&pair.other, &pair.one, "10.99.0.1");
    let count = flood.finish();
    let rate = format!("{} ({}/s sent)", deluge.what, count.per_second());
    let worst = times.into_iter().max().unwrap_or_default();
    let loss = arrival.loss();
    let refused = [
        "handshake_queue_full",
        "cookie_required",
        "handshake_invalid",
        "rate_limited",
    ];
    let refused: u64 = refused.into_iter().map(|reason| one.drops(reason)).sum();
    vec![
        // A flood that does not arrive proves nothing.
        Check::new(
            format!("{rate}: initiations refused"),
            "most of them",
            format!("{refused} of {}", count.sent),
            refused > count.sent / 10,
        ),
        Check::within(
            format!("{rate}: handshake of another"),
            HANDSHAKE_TIME_MAX,
            worst,
        ),
        Check::new(
            format!("{rate}: its data packets lost"),
            "< 1 %",
            format!("{:.2} %", loss * 100.0),
            loss < LOSS_MAX,
        ),
    ]
}
