//! A flood of handshake messages that nobody has written: what puts a gateway under load.

use std::net::SocketAddr;
use std::time::Duration;

use weapon_io::udp::{SEGMENTS_MAX, Sender, Udp, UdpConfig};
use weapon_noise::protocol::HANDSHAKE_DS;
use weapon_wire::Endpoint;
use weapon_wire::message::Initiation;

use crate::lab::{Host, until};
use crate::weapon::PATIENCE;

/// More trains than a gateway's queue of handshakes holds, at some sixty messages each.
const TRAINS: usize = 32;

/// Floods the gateway at `to` from `host`.
#[track_caller]
pub fn flood(host: &Host, to: SocketAddr) {
    let mut message = [0; Initiation::LEN];
    message[0] = 1;
    host.enter(|| {
        let udp = Udp::bind(&UdpConfig::default()).expect("a socket");
        let mut sender = Sender::new();
        for _ in 0..TRAINS * SEGMENTS_MAX {
            let slot = sender.slot(&udp, &Endpoint::new(to), Initiation::LEN);
            slot.copy_from_slice(&message);
            sender.commit(Initiation::LEN, HANDSHAKE_DS);
        }
        sender.flush(&udp);
    });
}

/// Floods the gateway at `to` from `host`, and lets `client` ask for a session by setting its
/// interface down and up, until `is_answered` has seen the cookie reply. The client must have a
/// persistent keepalive.
#[track_caller]
pub fn until_cookie(
    host: &Host,
    to: SocketAddr,
    (client, interface): (&Host, &str),
    mut is_answered: impl FnMut() -> bool,
) {
    until("the gateway asks for a cookie", PATIENCE, || {
        client.run(&format!("ip link set {interface} down"));
        client.run(&format!("ip link set {interface} up"));
        // It is under load for a second, but begins to be only while there is a queue.
        for _ in 0..20 {
            flood(host, to);
            std::thread::sleep(Duration::from_millis(5));
        }
        is_answered().then_some(())
    });
}
