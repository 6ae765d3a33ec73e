//! UDP trains over the loopback device of the running kernel.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use weapon_io::{
    namespace::Namespace,
    netlink::block_on,
    poll::{Epoll, Events, Interest},
    udp::{
        Family, Receiver, SEGMENTS_MAX, SendReport, Sender, Socket, TRAIN_BYTES_MAX, Udp,
        UdpConfig, UdpError, memory::Network,
    },
};
use weapon_wire::{Endpoint, Source};

/// What arrived, one entry for each train.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Arrived {
    from: Endpoint,
    tos: u8,
    /// The kernel joined its datagrams, not the receiver.
    by_gro: bool,
    stride: usize,
    bytes: Vec<u8>,
}

fn bind() -> Udp {
    Udp::bind(&UdpConfig::default()).unwrap()
}

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => [127, 0, 0, 1].into(),
        Family::V6 => [0, 0, 0, 0, 0, 0, 0, 1].into(),
    }
}

fn endpoint(family: Family, socket: &Udp) -> Endpoint {
    Endpoint::new((loopback(family), socket.port()).into())
}

/// Sends `datagrams` in one flush.
fn send(socket: &impl Socket, to: Endpoint, tos: u8, datagrams: &[Vec<u8>]) -> SendReport {
    let mut sender = Sender::new();
    for datagram in datagrams {
        let slot = sender.slot(socket, &to, datagram.len());
        slot.copy_from_slice(datagram);
        sender.commit(datagram.len(), tos);
    }
    sender.flush(socket)
}

/// Receives until `bytes` bytes are there.
fn receive(socket: &impl Socket, family: Family, bytes: usize) -> Vec<Arrived> {
    let mut receiver = Receiver::new(4);
    let epoll = Epoll::new().unwrap();
    epoll
        .add(socket.fd(family).unwrap(), 1, Interest::Readable)
        .unwrap();
    let mut arrived = Vec::new();
    let mut missing = bytes;
    let deadline = Instant::now() + Duration::from_secs(10);
    while missing > 0 {
        assert!(
            Instant::now() < deadline,
            "{missing} of {bytes} bytes are missing"
        );
        epoll
            .wait(&mut Events::with_capacity(1), Some(1000))
            .unwrap();
        for index in 0..receiver.receive(socket, family).unwrap() {
            let train = receiver.train(index);
            let (stride, len) = (train.stride, train.len);
            let slots = train.bytes.chunks(stride);
            let bytes: Vec<u8> = slots
                .flat_map(|slot| &slot[..len.min(slot.len())])
                .copied()
                .collect();
            missing = missing.saturating_sub(bytes.len());
            arrived.push(Arrived {
                from: train.from,
                tos: train.tos,
                by_gro: stride == len && bytes.len() > len,
                stride: len,
                bytes,
            });
        }
    }
    assert_eq!(receiver.truncated(), 0);
    arrived
}

/// Datagrams of `lengths`, no two alike.
fn datagrams(lengths: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let fill = |(index, len): (usize, usize)| {
        (0..len)
            .map(|at| (index * 31 + at + at / 251) as u8)
            .collect()
    };
    lengths.into_iter().enumerate().map(fill).collect()
}

fn cut(arrived: &[Arrived]) -> Vec<Vec<u8>> {
    let chunks = arrived
        .iter()
        .flat_map(|train| train.bytes.chunks(train.stride));
    chunks.map(<[u8]>::to_vec).collect()
}

/// Runs `test` on a thread in a fresh network namespace whose loopback device is up.
fn in_namespace(test: impl FnOnce() + Send) {
    let Some(namespace) = support::namespace() else {
        return;
    };
    namespace
        .enter(|| {
            loopback_up(None);
            test();
        })
        .unwrap();
}

fn loopback_up(mtu: Option<u32>) {
    block_on(async |netlink| {
        let index = netlink.link("lo").await?.index;
        if let Some(mtu) = mtu {
            netlink.set_mtu(index, mtu).await?;
        }
        netlink.set_up(index).await
    })
    .unwrap();
}

#[test]
fn a_train_arrives_as_a_train_in_both_families() {
    let (ours, theirs) = (bind(), bind());
    assert!(
        ours.gso() && theirs.gro(),
        "Linux 5.0 is the oldest that is known to work"
    );
    for (family, _) in theirs.fds() {
        let sent = datagrams([1452; 40].into_iter().chain([301]));
        let report = send(&ours, endpoint(family, &theirs), 0, &sent);
        let bytes = 40 * 1452 + 301;
        assert_eq!(
            (report.sent, report.sent_bytes, report.failed),
            (41, bytes, 0)
        );
        let arrived = receive(&theirs, family, bytes);
        assert_eq!(cut(&arrived), sent);
        assert_eq!(
            arrived.len(),
            1,
            "the loopback device keeps a train together"
        );
        assert_eq!(arrived[0].stride, 1452);
        let from = (loopback(family), ours.port());
        assert_eq!(arrived[0].from.remote, from.into());
        let source = Source {
            address: loopback(family),
            interface: 1,
        };
        assert_eq!(
            arrived[0].from.source,
            Some(source),
            "lo has the index 1 everywhere"
        );
    }
}

#[test]
fn p10_the_longest_datagrams_and_trains_are_received() {
    let (ours, theirs) = (bind(), bind());
    for (family, _) in theirs.fds() {
        let to = endpoint(family, &theirs);
        let long = datagrams([TRAIN_BYTES_MAX]);
        assert_eq!(send(&ours, to, 0, &long).sent, 1);
        assert_eq!(cut(&receive(&theirs, family, TRAIN_BYTES_MAX)), long);

        let full = datagrams([1452; 45]);
        assert_eq!(send(&ours, to, 0, &full).sent, 45);
        let arrived = receive(&theirs, family, 45 * 1452);
        assert_eq!((cut(&arrived), arrived.len()), (full, 1));

        let many = datagrams([33; SEGMENTS_MAX]);
        let report = send(&ours, to, 0, &many);
        assert_eq!((report.sent, report.gso_refused), (SEGMENTS_MAX, 0));
        assert_eq!(cut(&receive(&theirs, family, 33 * SEGMENTS_MAX)), many);

        let too_long = vec![vec![0; TRAIN_BYTES_MAX + 100]];
        let report = send(&ours, to, 0, &too_long);
        assert_eq!((report.sent, report.failed), (0, 1));
        assert_eq!(report.last_error, Some(libc::EMSGSIZE));
    }
}

#[test]
fn one_flush_reaches_many() {
    let ours = bind();
    let theirs: Vec<_> = (0..3).map(|_| bind()).collect();
    let mut sender = Sender::new();
    let mut expected = BTreeMap::<_, Vec<Vec<u8>>>::new();
    let all = datagrams((0..240).map(|index| 40 + index % 7));
    for (index, datagram) in all.iter().enumerate() {
        let peer = index / 5 % theirs.len();
        let family = Family::ALL[index / 2 % theirs[peer].fds().count()];
        let to = endpoint(family, &theirs[peer]);
        sender.slot(&ours, &to, 100)[..datagram.len()].copy_from_slice(datagram);
        sender.commit(datagram.len(), 0);
        expected
            .entry((peer, family == Family::V4))
            .or_default()
            .push(datagram.clone());
    }
    let report = sender.flush(&ours);
    assert_eq!(
        (report.sent, report.failed, report.last_error),
        (240, 0, None)
    );
    for ((peer, is_v4), expected) in expected {
        let family = if is_v4 { Family::V4 } else { Family::V6 };
        let bytes = expected.iter().map(Vec::len).sum();
        assert_eq!(cut(&receive(&theirs[peer], family, bytes)), expected);
    }
}

#[test]
fn without_gso_and_gro_datagrams_go_one_by_one() {
    let config = UdpConfig {
        gso: false,
        gro: false,
        ..UdpConfig::default()
    };
    let (ours, theirs) = (Udp::bind(&config).unwrap(), Udp::bind(&config).unwrap());
    assert!(!ours.gso() && !theirs.gro());
    let sent = datagrams([700; 20]);
    assert_eq!(
        send(&ours, endpoint(Family::V4, &theirs), 0, &sent).sent,
        20
    );
    let arrived = receive(&theirs, Family::V4, 20 * 700);
    assert_eq!(cut(&arrived), sent);
    assert!(arrived.iter().all(|train| !train.by_gro));

    // Trains to a receiver that takes none are cut by the kernel.
    let sent = datagrams([700; 20]);
    assert_eq!(
        send(&bind(), endpoint(Family::V4, &theirs), 0, &sent).sent,
        20
    );
    assert_eq!(cut(&receive(&theirs, Family::V4, 20 * 700)), sent);
}

#[test]
fn p79_a_reply_leaves_from_the_address_that_was_asked() {
    let (ours, theirs) = (bind(), bind());
    let asked: SocketAddr = ([127, 7, 7, 7], theirs.port()).into();
    send(&ours, Endpoint::new(asked), 0, &datagrams([10]));
    let question = receive(&theirs, Family::V4, 10).remove(0);
    assert_eq!(
        question.from.source.map(|source| source.address),
        Some(asked.ip())
    );

    let report = send(&theirs, question.from, 0, &datagrams([20; 3]));
    assert_eq!((report.sent, report.stale_sources), (3, 0));
    let answer = receive(&ours, Family::V4, 60).remove(0);
    assert_eq!(answer.from.remote, asked);
}

#[test]
fn p80_a_source_that_is_not_ours_is_dropped_at_once() {
    let (ours, theirs) = (bind(), bind());
    for (family, _) in theirs.fds() {
        let address = match family {
            Family::V4 => "192.0.2.77",
            Family::V6 => "2001:db8::77",
        };
        for interface in [0, 1, 9_999_999] {
            let source = Source {
                address: address.parse().unwrap(),
                interface,
            };
            let to = endpoint(family, &theirs).with_source(source);
            let sent = datagrams([100; 4]);
            let mut sender = Sender::new();
            for datagram in &sent {
                sender.slot(&ours, &to, 100).copy_from_slice(datagram);
                sender.commit(100, 0);
            }
            let report = sender.flush(&ours);
            assert_eq!(
                (report.sent, report.failed, report.gso_refused),
                (4, 0, 0),
                "{to:?}"
            );
            assert_eq!(sender.stale_sources().collect::<Vec<_>>(), [to]);
            let arrived = receive(&theirs, family, 400);
            assert_eq!(cut(&arrived), sent);
            assert_eq!(arrived[0].from.remote.ip(), loopback(family));
        }
    }
}

#[test]
fn p92_dscp_and_ecn_cross_in_both_families() {
    let (ours, theirs) = (bind(), bind());
    for (family, _) in theirs.fds() {
        for tos in [0x88, 0x01, 0x02, 0x03, 0x8a, 0] {
            let report = send(&ours, endpoint(family, &theirs), tos, &datagrams([50; 3]));
            assert_eq!(report.sent, 3);
            let arrived = receive(&theirs, family, 150);
            assert!(
                arrived.iter().all(|train| train.tos == tos),
                "{tos:#x}: {arrived:?}"
            );
        }
    }
}

#[test]
fn p93_what_is_longer_than_the_mtu_is_fragmented() {
    in_namespace(|| {
        loopback_up(Some(1300));
        let (ours, theirs) = (bind(), bind());
        for (family, _) in theirs.fds() {
            let to = endpoint(family, &theirs);
            let sent = datagrams([4000]);
            assert_eq!(send(&ours, to, 0, &sent).sent, 1);
            assert_eq!(cut(&receive(&theirs, family, 4000)), sent);

            // UDP_SEGMENT makes no fragments, which only the kernel finds out.
            let sent = datagrams([1452; 20]);
            let report = send(&ours, to, 0, &sent);
            assert_eq!((report.sent, report.failed, report.gso_refused), (20, 0, 1));
            assert_eq!(cut(&receive(&theirs, family, 20 * 1452)), sent);
        }
    });
}

#[test]
fn a_closed_port_stops_neither_sending_nor_receiving() {
    let (ours, theirs) = (bind(), bind());
    let closed = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for _ in 0..10 {
        send(&ours, Endpoint::new(closed), 0, &datagrams([10; 2]));
        assert_eq!(
            send(&theirs, endpoint(Family::V4, &ours), 0, &datagrams([30])).sent,
            1
        );
        assert_eq!(cut(&receive(&ours, Family::V4, 30)), datagrams([30]));
    }
}

#[test]
fn p96_port_0_tries_again_until_both_families_are_free() {
    in_namespace(|| {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40003").unwrap();
        let taken: Vec<_> = (40000..40003)
            .map(|port| UdpSocket::bind(("::1", port)).unwrap())
            .collect();
        let udp = bind();
        assert_eq!(udp.port(), 40003);
        drop(udp);

        let last = UdpSocket::bind(("::1", 40003)).unwrap();
        let error = Udp::bind(&UdpConfig::default()).err();
        assert!(
            matches!(error, Some(UdpError::PortInUse { .. })),
            "{error:?}"
        );
        drop(last);
        drop(taken);
        assert!(Udp::bind(&UdpConfig::default()).is_ok());
    });
}

#[test]
fn p96_a_host_without_ipv6_addresses_is_no_failure() {
    in_namespace(|| {
        std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        let (ours, theirs) = (bind(), bind());
        let to = endpoint(Family::V4, &theirs);
        assert_eq!(send(&ours, to, 0, &datagrams([10])).sent, 1);
        assert_eq!(cut(&receive(&theirs, Family::V4, 10)), datagrams([10]));
        let to = endpoint(Family::V6, &theirs);
        assert_eq!(send(&ours, to, 0, &datagrams([10])).failed, 1);
    });
}

#[test]
fn sockets_belong_to_the_namespace_they_were_bound_in() {
    let Some(namespace) = support::namespace() else {
        return;
    };
    let bind_there = |namespace: &Namespace| namespace.enter(bind).unwrap();
    let there = bind_there(&namespace);
    let config = UdpConfig {
        port: there.port(),
        ..UdpConfig::default()
    };
    let here = Udp::bind(&config);
    // Somebody else may have the port here; but the one there does not.
    if let Ok(here) = here {
        assert_eq!(here.port(), there.port());
    }
    assert!(namespace.enter(|| Udp::bind(&config).is_err()).unwrap());
}

#[test]
fn the_twin_without_a_kernel_behaves_alike() {
    let network = Network::default();
    let ours = network.bind("192.0.2.1:1".parse().unwrap(), true).unwrap();
    let theirs = network.bind("192.0.2.2:2".parse().unwrap(), true).unwrap();
    assert!(network.bind(theirs.address(), true).is_err());

    let sent = datagrams([100, 100, 30]);
    let to = Endpoint::new(theirs.address());
    assert_eq!(send(&ours, to, 3, &sent).sent, 3);
    let nobody = Endpoint::new("192.0.2.3:3".parse().unwrap());
    assert_eq!(send(&ours, nobody, 0, &sent).sent, 3);
    let arrived = receive(&theirs, Family::V4, 230);
    assert_eq!((cut(&arrived), arrived.len(), arrived[0].tos), (sent, 1, 3));

    let answer = datagrams([7]);
    assert_eq!(send(&theirs, arrived[0].from, 0, &answer).sent, 1);
    assert_eq!(cut(&receive(&ours, Family::V4, 7)), answer);
    assert!(theirs.fd(Family::V6).is_none());
    assert_eq!(Receiver::new(1).receive(&theirs, Family::V6).unwrap(), 0);
    drop(ours);
    assert!(network.bind("192.0.2.1:1".parse().unwrap(), false).is_ok());
}
