//! Ping and capture across a veth pair of two fresh namespaces.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weapon_io::capture::{Capture, CaptureFilter};
use weapon_io::namespace::Namespace;
use weapon_io::netlink::{Netlink, NetlinkError, block_on};
use weapon_io::ping::{Ping, PingError};

const PATIENCE: Duration = Duration::from_secs(2);

/// Two namespaces with a veth pair `eth0` between them: .1 and .2, ::1 and ::2.
fn pair() -> Option<(Namespace, Namespace)> {
    let (one, two) = (support::namespace()?, support::namespace()?);
    let two_fd = &two;
    let plug = async |netlink: &Netlink, host: u8| -> Result<(), NetlinkError> {
        let eth0 = netlink.link("eth0").await?.index;
        for address in [format!("192.0.2.{host}/24"), format!("2001:db8::{host}/64")] {
            netlink.add_address(eth0, address.parse().unwrap()).await?;
        }
        // The kernel's own "host unreachable" comes by way of loopback.
        netlink.set_up(netlink.link("lo").await?.index).await?;
        netlink.set_up(eth0).await
    };
    one.enter(|| {
        block_on(async |netlink| {
            netlink.add_veth("eth0", "peer").await?;
            let peer = netlink.link("peer").await?.index;
            netlink.rename(peer, "eth0.moving").await?;
            netlink.move_link(peer, two_fd).await?;
            plug(netlink, 1).await
        })
    })
    .unwrap()
    .unwrap();
    two.enter(|| {
        block_on(async |netlink| {
            let moved = netlink.link("eth0.moving").await?.index;
            netlink.rename(moved, "eth0").await?;
            plug(netlink, 2).await
        })
    })
    .unwrap()
    .unwrap();
    one.enter(wait_for_link).unwrap();
    Some((one, two))
}

/// A link that was just set up loses packets for a moment: the kernel starts its queue in a work
/// item (`linkwatch`), whose turn may come late.
fn wait_for_link() {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut ping = Ping::open(ip("192.0.2.2"), b"is it up").unwrap();
    while let Err(error) = ping.once(Duration::from_millis(100)) {
        assert!(Instant::now() < deadline, "{error}");
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Whether a frame that contains `needle` was captured on its way out; looks at all frames so
/// far. What comes back may be an ICMP error that quotes it.
fn saw(capture: &mut Capture, needle: &[u8]) -> bool {
    let mut found = false;
    while let Some(frame) = capture.read().unwrap() {
        let mut windows = frame.bytes.windows(needle.len());
        found |= frame.outgoing && windows.any(|window| window == needle);
    }
    found
}

#[test]
fn ping_answers_over_both_families() {
    let Some((one, _two)) = pair() else { return };
    one.enter(|| {
        for remote in ["192.0.2.2", "2001:db8::2"] {
            for payload_len in [0, 1, 48, 1400] {
                let mut ping = Ping::open(ip(remote), &vec![7; payload_len]).unwrap();
                for _ in 0..3 {
                    let round_trip = ping.once(PATIENCE).unwrap();
                    assert!(round_trip < PATIENCE && !round_trip.is_zero());
                }
            }
        }
    })
    .unwrap();
}

#[test]
fn pings_at_the_same_time_do_not_mix() {
    let Some((one, _two)) = pair() else { return };
    let threads: Vec<_> = (0..4)
        .map(|_| {
            one.spawn("ping", || {
                let mut ping = Ping::open(ip("192.0.2.2"), b"payload").unwrap();
                (0..200).try_for_each(|_| ping.once(PATIENCE).map(|_| ()))
            })
            .unwrap()
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap().unwrap().unwrap());
}

#[test]
fn ping_says_why_there_is_no_answer() {
    let Some((one, _two)) = pair() else { return };
    one.enter(|| {
        for remote in ["198.51.100.1", "2001:db8:ffff::1"] {
            let error = Ping::open(ip(remote), b"").unwrap_err();
            assert!(matches!(error, PingError::Unreachable { .. }), "{error}");
        }
        // Nobody has this address: first silence, then the kernel gives up asking for it.
        let mut ping = Ping::open(ip("192.0.2.77"), b"").unwrap();
        let error = ping.once(Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, PingError::Timeout { .. }), "{error}");
        let error = ping.once(Duration::from_secs(10)).unwrap_err();
        assert!(matches!(error, PingError::Unreachable { .. }), "{error}");
    })
    .unwrap();
}

#[test]
fn capture_sees_both_directions_with_their_time() {
    let Some((one, _two)) = pair() else { return };
    one.enter(|| {
        let mut capture = Capture::open("eth0", CaptureFilter::Everything).unwrap();
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut ping = Ping::open(ip("192.0.2.2"), b"a payload to be found").unwrap();
        ping.once(PATIENCE).unwrap();
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut directions = Vec::new();
        while let Some(frame) = capture.read().unwrap() {
            if !frame.bytes.ends_with(b"a payload to be found") {
                continue;
            }
            let slack = Duration::from_millis(1);
            assert!(
                frame.at + slack >= before && frame.at <= after + slack,
                "{:?}",
                frame.at
            );
            assert_eq!(
                frame.bytes[12..14],
                [8, 0],
                "the Ethernet header comes first"
            );
            directions.push(frame.outgoing);
        }
        assert_eq!(directions, [true, false]);
        assert_eq!(capture.lost().unwrap(), 0);
    })
    .unwrap();
}

#[test]
fn filter_hides_one_udp_port_alone() {
    let Some((one, _two)) = pair() else { return };
    one.enter(|| {
        let mut capture = Capture::open("eth0", CaptureFilter::AllButUdpPort(51820)).unwrap();
        for (local, remote) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            // First of all, so that nothing below has to wait for a neighbour to be found.
            Ping::open(ip(remote), b"51820 by ping")
                .unwrap()
                .once(PATIENCE)
                .unwrap();
            assert!(saw(&mut capture, b"51820 by ping"), "{local}");
            let sent = |from: u16, to: u16, text: &str| {
                let socket = UdpSocket::bind((ip(local), from)).unwrap();
                socket.send_to(text.as_bytes(), (ip(remote), to)).unwrap();
            };
            sent(51820, 7, "from the hidden port");
            sent(0, 51820, "to the hidden port");
            assert!(!saw(&mut capture, b"hidden port"), "{local}");
            sent(0, 51821, "neither from nor to");
            assert!(saw(&mut capture, b"neither from nor to"), "{local}");
        }
        // Larger than the MTU: the later fragments have no ports and are shown.
        let socket = UdpSocket::bind("192.0.2.1:51820").unwrap();
        socket.send_to(&[b'x'; 4000], "192.0.2.2:51820").unwrap();
        assert!(saw(&mut capture, b"xxxxxxxx"));
    })
    .unwrap();
}

#[test]
fn frames_that_nobody_reads_are_counted() {
    let Some((one, _two)) = pair() else { return };
    one.enter(|| {
        let capture = Capture::open("eth0", CaptureFilter::Everything).unwrap();
        let socket = UdpSocket::bind("192.0.2.1:0").unwrap();
        let start = Instant::now();
        while capture.lost().unwrap() == 0 {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "the buffer never fills"
            );
            for _ in 0..1000 {
                // An answer "port unreachable" to an earlier one may come back as an error.
                let _ = socket.send_to(&[0; 1400], "192.0.2.2:9");
            }
        }
        assert_eq!(capture.lost().unwrap(), 0, "counted since the last call");
    })
    .unwrap();
}

#[test]
fn capture_on_no_interface_is_an_error() {
    let Some(one) = support::namespace() else {
        return;
    };
    one.enter(|| {
        let error = Capture::open("nonesuch", CaptureFilter::Everything).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{error}");
    })
    .unwrap();
}
