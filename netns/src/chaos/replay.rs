//! Recorded data packets, replayed: P64.

use std::net::UdpSocket;
use std::time::Duration;

use super::check::{Check, Form};
use crate::lab::until;
use crate::pair::Pair;
use crate::tap::Tap;
use crate::volley::Volley;
use crate::weapon::{PATIENCE, Weapon};

/// Data packets that are sent to be recorded.
const RECORDED: u32 = 1000;
/// Bytes of each.
const LEN: usize = 100;
/// How long it is as a message: its IP and UDP headers, padded to 16, and 32 around it.
const MESSAGE_LEN: usize = (LEN + 28).next_multiple_of(16) + 32;

fn counter(weapon: &Weapon, name: &str) -> u64 {
    let status = weapon.status();
    status["counters"][name].as_u64().expect("a counter")
}

/// P64. They are sent no faster than the gateway reads: one that was lost proves nothing.
pub(super) fn recorded(form: Form) -> Vec<Check> {
    let total: u64 = form.pick(50_000, 1_000_000);
    let pair = Pair::new();
    let (one, _other) = pair.start_both();
    let mut tap = Tap::new(&pair.one, "eth0");
    let volley = Volley {
        count: RECORDED,
        len: LEN,
        pause: Duration::from_micros(200),
    };
    let arrival = volley.send(&pair.other, &pair.one, "10.99.0.1");
    assert!(arrival.came > RECORDED / 2, "{arrival:?}");
    let packets = tap.packets();
    let incoming = packets.into_iter().filter(|it| !it.outgoing && it.is_udp());
    let trains: Vec<Vec<u8>> = incoming.map(|it| it.payload).collect();
    // Many are seen as a train, which nobody would take as one message.
    let recorded: Vec<&[u8]> = trains
        .iter()
        .flat_map(|train| train.chunks(MESSAGE_LEN))
        .filter(|it| it.first() == Some(&4) && it.len() == MESSAGE_LEN)
        .collect();
    assert!(recorded.len() > 100, "{} recorded", recorded.len());

    let socket = pair
        .other
        .enter(|| UdpSocket::bind("192.0.2.2:0"))
        .expect("a socket");
    socket.connect("192.0.2.1:51820").expect("a route");
    let delivered = counter(&one, "inbound_superpackets");
    let refused = one.drops("replayed");
    let heard = counter(&one, "inbound_datagrams");
    let mut sent = 0;
    while sent < total {
        for datagram in &recorded {
            sent += u64::from(socket.send(datagram).is_ok());
        }
        until("the gateway has read them", PATIENCE, || {
            (counter(&one, "inbound_datagrams") - heard >= sent).then_some(())
        });
    }
    let delivered = counter(&one, "inbound_superpackets") - delivered;
    let refused = one.drops("replayed") - refused;
    let endpoint = one.peer("other")["endpoint"].clone();
    vec![
        Check::none(format!("of {sent} packets delivered"), delivered),
        Check::new(
            "counted as `replayed`",
            sent.to_string(),
            refused.to_string(),
            refused == sent,
        ),
        Check::new(
            "the peer is believed to be",
            "where it is",
            endpoint.to_string(),
            endpoint == "192.0.2.2:51820",
        ),
    ]
}
