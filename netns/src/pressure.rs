//! A flood of handshake messages that nobody has written: what puts a gateway under load. It comes
//! from many networks, as a flood from one is that one's load alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use weapon_core::HANDSHAKE_QUEUE_MAX;
use weapon_io::udp::{Sender, Udp, UdpConfig};
use weapon_noise::protocol::HANDSHAKE_DS;
use weapon_wire::message::Initiation;
use weapon_wire::{Endpoint, Source};

use crate::lab::{Host, until};
use crate::weapon::PATIENCE;

/// Networks that it comes from, and messages of each at a time: together they nearly fill a
/// gateway's queue of handshakes, and no network is a flood by itself, nor are two that the gateway
/// does not tell apart.
const NETWORKS: u8 = 64;
const MESSAGES: usize = HANDSHAKE_QUEUE_MAX / 32 / 2 - 1;

/// The flood's addresses, in the family of `to`.
fn sources(to: SocketAddr) -> impl Iterator<Item = IpAddr> {
    (0..NETWORKS).map(move |network| match to {
        SocketAddr::V4(_) => Ipv4Addr::new(172, 31, network, 1).into(),
        SocketAddr::V6(_) => Ipv6Addr::new(0xfd31, network.into(), 0, 0, 0, 0, 0, 1).into(),
    })
}

/// Floods the gateway at `to` from `host`, which has the addresses.
#[track_caller]
fn flood(host: &Host, to: SocketAddr) {
    let mut message = [0; Initiation::LEN];
    message[0] = 1;
    host.enter(|| {
        let udp = Udp::bind(&UdpConfig::default()).expect("a socket");
        let mut sender = Sender::new();
        for address in sources(to) {
            let source = Source {
                address,
                interface: 0,
            };
            let to = Endpoint::new(to).with_source(source);
            for _ in 0..MESSAGES {
                let slot = sender.slot(&udp, &to, Initiation::LEN);
                slot.copy_from_slice(&message);
                sender.commit(Initiation::LEN, HANDSHAKE_DS);
            }
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
    for address in sources(to) {
        // Without a prefix length it is a host's.
        host.run(&format!("ip address add {address} dev lo"));
    }
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
