//! A route that leads a peer's endpoint into the tunnel itself: what we send would come back to us
//! to be sent. It must not explode (P97), as in the kernel's own test.

use std::net::UdpSocket;
use std::time::Duration;

use weapon_netns::{Pair, Weapon, ready};

/// P97, for ten packets as large as a ping.
const SENT_BYTES_MAX: u64 = 70_000;

/// Bytes that the interface was given by the host: what the loop makes of them among them.
fn sent_bytes(pair: &Pair) -> u64 {
    let path = "/proc/thread-self/net/dev";
    let text = pair.one.enter(|| std::fs::read_to_string(path));
    let text = text.expect("a list of interfaces");
    let line = text.lines().find(|line| line.contains("w-one:"));
    // Name, eight columns of what came, then what went.
    let column = line.and_then(|line| line.split_whitespace().nth(9)?.parse().ok());
    column.expect("a number of bytes")
}

/// What we have sent to the peer, by our own count.
fn peer_bytes(weapon: &Weapon) -> u64 {
    weapon.peer("other")["sent_bytes"]
        .as_u64()
        .expect("a counter")
}

#[test]
fn p97_a_routing_loop_does_not_explode() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    // The peer's own endpoint is among its networks: a full tunnel without a way around it.
    pair.plan.peers[0].networks.push("192.0.2.2/32".to_owned());
    let _other = pair.start_other();
    let one = pair.start();
    // That route is left out, as the host is in that network. A session first: else the loop would
    // end where packets wait for one.
    pair.one.ping("10.99.0.2");
    pair.one.run("ip route add 192.0.2.2/32 dev w-one");
    let (before, peer_before) = (sent_bytes(&pair), peer_bytes(&one));
    let socket = pair.one.enter(|| UdpSocket::bind("0.0.0.0:0"));
    let socket = socket.expect("a socket");
    for _ in 0..10 {
        // As large as `ping` makes them.
        let _ = socket.send_to(&[0; 64], "10.99.0.2:9");
    }
    std::thread::sleep(Duration::from_secs(3));
    let sent = sent_bytes(&pair) - before;
    let to_peer = peer_bytes(&one) - peer_before;
    assert!(sent < SENT_BYTES_MAX, "{sent} bytes through the interface");
    assert!(to_peer < SENT_BYTES_MAX, "{to_peer} bytes to the peer");
    assert!(one.drops("routing_loop") > 0, "{:#}", one.status()["drops"]);
    assert_eq!(one.stop().code(), Some(0));
}
