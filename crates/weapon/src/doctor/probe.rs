//! What is not known until somebody sends: a packet into the tunnel, so that a handshake begins,
//! and a byte to a port that is silent, so that its host may say that it is closed.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep, timeout},
};

use super::peers::Probe;
use crate::{
    marked::mark_socket,
    report::{Peer, Report},
};

/// Peers that are sent a packet at most.
const PROVOKED_MAX: usize = 32;

/// How long to wait for a session or a reason: an initiation is repeated after 5 s and a third.
const PROVOKED_TIME_MAX: Duration = Duration::from_millis(6500);

/// How often to look.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The port that discards (RFC 863). Nobody needs to listen there.
const DISCARD: u16 = 9;

/// Bytes to a silent port, and how long each waits for an ICMP error.
const PROBES: usize = 3;
const PROBE_TIME: Duration = Duration::from_millis(250);

/// Sends a packet to each peer without a session, and waits until its handshake is through or it is
/// known why not. `report` is as new as that then.
pub async fn provoke(report: &mut Report, ask: &dyn Fn() -> Option<Report>) {
    if !report.up {
        return;
    }
    let waits = |peer: &Peer| peer.session.is_none() && peer.endpoint.is_some();
    let waiting = report.peers.iter().filter(|peer| waits(peer));
    let waiting: Vec<&Peer> = waiting.take(PROVOKED_MAX).collect();
    let mut sent = BTreeSet::new();
    for peer in waiting {
        let networks = peer.networks.iter().filter_map(|it| it.parse().ok());
        let mut samples = networks.filter_map(|network| sample(network, &BTreeSet::new()));
        if let Some(to) = samples.next()
            && push(&report.interface, to).await.is_ok()
        {
            sent.insert(peer.public_key.clone());
        }
    }
    let deadline = Instant::now() + PROVOKED_TIME_MAX;
    let is_open = |peer: &Peer| {
        sent.contains(&peer.public_key) && waits(peer) && peer.handshake.trouble.is_none()
    };
    while report.peers.iter().any(is_open) && Instant::now() < deadline {
        sleep(LOOK_INTERVAL).await;
        match ask() {
            Some(newer) => *report = newer,
            None => return,
        }
    }
}

/// Sends an empty datagram to `to` through the tunnel, whatever the routes say.
async fn push(interface: &str, to: IpAddr) -> io::Result<()> {
    let socket = UdpSocket::bind((unspecified(to), 0)).await?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.send_to(&[], (to, DISCARD)).await.map(drop)
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// An address of `network` that is none of `own`, near its beginning.
pub fn sample(network: IpNet, own: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    if network.prefix_len() == 0 {
        // Of "everything", an address that is nobody's (RFC 5737, RFC 3849).
        return Some(match network {
            IpNet::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
            IpNet::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        });
    }
    let mut hosts = network.hosts().take(own.len().saturating_add(2));
    let is_anycast = |it: &IpAddr| it.is_ipv6() && *it == network.network();
    let is_sole = network.prefix_len() == network.max_prefix_len();
    hosts.find(|it| !own.contains(it) && (is_sole || !is_anycast(it)))
}

/// Sends bytes to `address` that no gateway answers, and hears whether its host complains. They go
/// as the gateway's messages do, whose mark is `mark`.
pub async fn port(address: SocketAddr, mark: u32) -> Probe {
    match try_port(address, mark).await {
        Ok(probe) => probe,
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Probe::Closed,
            io::ErrorKind::PermissionDenied => Probe::NotSent,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Probe::Unreachable
            }
            _ => Probe::Silence,
        },
    }
}

async fn try_port(address: SocketAddr, mark: u32) -> io::Result<Probe> {
    let socket = UdpSocket::bind((unspecified(address.ip()), 0)).await?;
    if mark_socket(&socket, mark).is_err() {
        // Without the right to it nothing is heard: unmarked, it may go into the tunnel.
        return Ok(Probe::Silence);
    }
    socket.connect(address).await?;
    for _ in 0..PROBES {
        socket.send(&[0]).await?;
        let mut answer = [0; 1];
        if let Ok(heard) = timeout(PROBE_TIME, socket.recv(&mut answer)).await {
            heard?;
        }
    }
    Ok(Probe::Silence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_host_and_not_ours() {
        let own: BTreeSet<IpAddr> = ["10.0.0.1", "fd00::1"].map(|it| it.parse().unwrap()).into();
        for (network, expected) in [
            ("10.0.0.0/24", Some("10.0.0.2")),
            ("10.1.0.0/24", Some("10.1.0.1")),
            ("10.0.0.1/32", None),
            ("10.9.9.9/32", Some("10.9.9.9")),
            ("fd00::/64", Some("fd00::2")),
            ("fd00::7/128", Some("fd00::7")),
            ("0.0.0.0/0", Some("192.0.2.1")),
        ] {
            let expected = expected.map(|it| it.parse().unwrap());
            assert_eq!(
                sample(network.parse().unwrap(), &own),
                expected,
                "{network}"
            );
        }
    }

    fn run<T>(what: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(what)
    }

    #[test]
    fn a_closed_port_is_not_a_silent_one() {
        let open = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = open.local_addr().unwrap();
        assert_eq!(run(port(address, 0)), Probe::Silence);
        drop(open);
        assert_eq!(run(port(address, 0)), Probe::Closed);
    }
}
