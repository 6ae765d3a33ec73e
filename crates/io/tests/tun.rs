//! TUN devices of the running kernel, each test in a network namespace of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    cell::Cell,
    io::{self, IoSlice, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    thread,
    time::{Duration, Instant},
};

use weapon_io::{
    netlink::block_on,
    poll::{Epoll, Events, Interest},
    tun::{Device, Offloads, PARTS_MAX, READ_BYTES, Tun, TunConfig, TunError, is_gone},
};
use weapon_wire::{Flow, VnetHeader, split::Superpacket};

fn config(name: &str) -> TunConfig {
    TunConfig {
        name: name.into(),
        mtu: 1420,
        offloads: Offloads {
            tcp: true,
            udp: true,
        },
        queues: 1,
    }
}

/// Runs `test` on a thread in a fresh network namespace.
fn in_namespace(test: impl FnOnce() + Send) {
    let Some(namespace) = support::namespace() else {
        return;
    };
    namespace.enter(test).unwrap();
}

/// Opens a device with 10.7.0.1/24 and fd07::1/64, up.
fn open_up(name: &str) -> Tun {
    let tun = Tun::open(&config(name)).unwrap();
    // No router solicitations and the like among the packets of a test.
    let quiet = format!("/proc/sys/net/ipv6/conf/{name}/addr_gen_mode");
    std::fs::write(quiet, "1").unwrap();
    block_on(async |netlink| {
        netlink
            .add_address(tun.ifindex(), "10.7.0.1/24".parse().unwrap())
            .await?;
        netlink
            .add_address(tun.ifindex(), "fd07::1/64".parse().unwrap())
            .await?;
        netlink.set_up(tun.ifindex()).await
    })
    .unwrap();
    tun
}

/// The next packet for which `wanted` holds, or a panic after ten seconds.
fn read_until(tun: &Tun, wanted: impl Fn(&VnetHeader, &Flow) -> bool) -> (VnetHeader, Vec<u8>) {
    let epoll = Epoll::new().unwrap();
    epoll.add(tun, 1, Interest::Readable).unwrap();
    let mut buffer = vec![0; READ_BYTES];
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        match tun.read(0, &mut buffer) {
            Ok(len) => {
                let vnet = VnetHeader::parse(&buffer[..len]).unwrap();
                let packet = &buffer[VnetHeader::LEN..len];
                if Flow::parse(packet).is_ok_and(|flow| wanted(&vnet, &flow)) {
                    return (vnet, packet.to_vec());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                epoll
                    .wait(&mut Events::with_capacity(1), Some(1000))
                    .unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("no such packet within ten seconds");
}

/// Exchanges the addresses of an IPv4 packet, which leaves its checksums right.
fn turn_round(packet: &mut [u8]) {
    let (source, destination) = packet[12..20].split_at_mut(4);
    source.swap_with_slice(destination);
}

/// Lets what leaves to 10.7.0.2 come back from there, as if it were another host with the
/// address 10.7.0.1, until `is_done`. Says how many superpackets came back whole.
fn mirror(
    tun: &Tun,
    write_parts: usize,
    change: impl Fn(&mut VnetHeader),
    is_done: impl Fn() -> bool,
) -> usize {
    let epoll = Epoll::new().unwrap();
    epoll.add(tun, 1, Interest::Readable).unwrap();
    let mut buffer = vec![0; READ_BYTES];
    let mut superpackets = 0;
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_done() {
        assert!(
            Instant::now() < deadline,
            "the transfer takes more than twenty seconds"
        );
        epoll.wait(&mut Events::with_capacity(1), Some(20)).unwrap();
        while let Ok(len) = tun.read(0, &mut buffer) {
            let mut vnet = VnetHeader::parse(&buffer[..len]).unwrap();
            change(&mut vnet);
            let packet = &mut buffer[VnetHeader::LEN..len];
            if packet[0] >> 4 != 4 {
                continue;
            }
            turn_round(packet);
            superpackets += usize::from(vnet.gso_type != VnetHeader::GSO_NONE);
            let part_len = packet.len().div_ceil(write_parts);
            let parts: Vec<_> = packet.chunks(part_len).map(IoSlice::new).collect();
            tun.write(0, &vnet, &parts).unwrap();
        }
    }
    superpackets
}

#[test]
fn an_interface_appears_as_it_was_asked_for_and_goes_with_its_file() {
    in_namespace(|| {
        let tun = Tun::open(&config("weapon0")).unwrap();
        assert_eq!(tun.name(), "weapon0");
        assert_eq!(
            tun.offloads(),
            Offloads {
                tcp: true,
                udp: true
            }
        );
        let link = block_on(async |netlink| netlink.link("weapon0").await).unwrap();
        assert_eq!(
            (link.index, link.mtu, link.up),
            (tun.ifindex(), 1420, false)
        );
        drop(tun);
        let gone = block_on(async |netlink| netlink.link("weapon0").await);
        assert!(gone.is_err());
    });
}

#[test]
fn u11_a_second_gateway_cannot_attach_itself() {
    in_namespace(|| {
        let _tun = Tun::open(&config("weapon0")).unwrap();
        let error = Tun::open(&config("weapon0")).err().unwrap();
        assert!(
            matches!(&error, TunError::NameInUse { name } if name == "weapon0"),
            "{error}"
        );
        // Also the name of an interface that is no TUN.
        let error = Tun::open(&config("lo")).err().unwrap();
        assert!(matches!(error, TunError::NameInUse { .. }), "{error}");
    });
}

#[test]
fn u12_names_are_checked_and_patterns_replaced() {
    in_namespace(|| {
        let bad = [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a:b",
            "a\0b",
            "a\tb",
            "a\u{b}b",
            "sixteen-bytes-xx",
        ];
        for name in bad {
            let error = Tun::open(&config(name)).err().unwrap();
            assert!(
                matches!(error, TunError::BadName { .. }),
                "{name:?}: {error}"
            );
        }
        let names = ["fifteen-bytes-x", "wg%d", "wg%d", "grün"];
        let tuns = names.map(|name| Tun::open(&config(name)).unwrap());
        let given = tuns.each_ref().map(Tun::name);
        assert_eq!(given, ["fifteen-bytes-x", "wg0", "wg1", "grün"]);
        let error = Tun::open(&config("%d%d")).err().unwrap();
        assert!(matches!(error, TunError::BadName { .. }), "{error}");
    });
}

#[test]
fn an_mtu_that_cannot_be_is_told_and_leaves_nothing_behind() {
    in_namespace(|| {
        for mtu in [67, 65_536, u32::MAX] {
            let error = Tun::open(&TunConfig {
                mtu,
                ..config("weapon0")
            })
            .err()
            .unwrap();
            assert!(matches!(error, TunError::BadMtu { .. }), "{error}");
        }
        let tun = Tun::open(&TunConfig {
            mtu: 0,
            ..config("weapon0")
        })
        .unwrap();
        let link = block_on(async |netlink| netlink.link(tun.name()).await).unwrap();
        assert_eq!(link.mtu, 1500);
    });
}

#[test]
fn offloads_that_are_not_wanted_are_not_had() {
    in_namespace(|| {
        for (tcp, udp, granted) in [
            (false, false, false),
            (true, false, true),
            (false, true, false),
        ] {
            let offloads = Offloads { tcp, udp };
            let tun = Tun::open(&TunConfig {
                offloads,
                ..config("weapon0")
            })
            .unwrap();
            assert_eq!(
                tun.offloads(),
                Offloads {
                    tcp: granted,
                    udp: false
                }
            );
        }
    });
}

#[test]
fn an_empty_device_would_block_and_a_down_one_is_not_gone() {
    in_namespace(|| {
        let tun = Tun::open(&config("weapon0")).unwrap();
        let error = tun.read(0, &mut [0; 100]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let error = tun
            .write(0, &VnetHeader::default(), &[IoSlice::new(&[0x45; 20])])
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        assert!(!is_gone(&error));
    });
}

#[test]
fn u08_a_deleted_device_is_reported_at_once() {
    in_namespace(|| {
        let tun = open_up("weapon0");
        let epoll = Epoll::new().unwrap();
        epoll.add(tun.as_fd(), 9, Interest::Readable).unwrap();
        let mut events = Events::with_capacity(1);
        while tun.read(0, &mut [0; 2000]).is_ok() {}
        let index = tun.ifindex();
        block_on(async |netlink| netlink.delete_link(index).await).unwrap();

        let before = Instant::now();
        assert_eq!(epoll.wait(&mut events, Some(5000)).unwrap(), 1);
        assert!(before.elapsed() < Duration::from_millis(100));
        let event = events.iter().next().unwrap();
        assert!(event.failed && event.token == 9, "{event:?}");
        assert!(is_gone(&tun.read(0, &mut [0; 100]).unwrap_err()));
        let written = tun.write(0, &VnetHeader::default(), &[IoSlice::new(&[0x45; 20])]);
        assert!(is_gone(&written.unwrap_err()));
        // The name is free, though our file is still open.
        Tun::open(&config("weapon0")).unwrap();
    });
}

#[test]
fn a_datagram_of_a_local_socket_is_read_with_its_header() {
    in_namespace(|| {
        let tun = open_up("weapon0");
        for (from, to) in [("10.7.0.1:5", "10.7.0.2:6"), ("[fd07::1]:5", "[fd07::2]:6")] {
            let socket = UdpSocket::bind(from).unwrap();
            socket.send_to(b"over the tunnel", to).unwrap();
            let (vnet, packet) = read_until(&tun, |_, flow| flow.ports == Some((5, 6)));
            assert_eq!(vnet.gso_type, VnetHeader::GSO_NONE);
            assert!(packet.ends_with(b"over the tunnel"));
            // Checksums are left to us, and can be completed.
            assert_eq!(vnet.flags, VnetHeader::NEEDS_CSUM);
            assert_eq!(Superpacket::parse(&vnet, &packet).unwrap().segments(), 1);
        }
    });
}

/// Sends 10 MB by TCP into the device and back, byte for byte. Says how many superpackets came
/// back.
fn transfer(tun: &Tun, write_parts: usize, change: impl Fn(&mut VnetHeader)) -> usize {
    // To itself, by way of an address that is not its own: see `mirror`.
    let listener = TcpListener::bind("10.7.0.1:80").unwrap();
    let server = thread::spawn(move || {
        let mut received = Vec::new();
        let (mut stream, from) = listener.accept().unwrap();
        stream.read_to_end(&mut received).unwrap();
        (received, from)
    });
    let client = thread::spawn(|| {
        let sent: Vec<u8> = (0..10 << 20)
            .map(|at: usize| (at ^ (at >> 9)) as u8)
            .collect();
        TcpStream::connect("10.7.0.2:80")
            .unwrap()
            .write_all(&sent)
            .unwrap();
        sent
    });
    let is_done = || client.is_finished() && server.is_finished();
    let superpackets = mirror(tun, write_parts, change, is_done);
    let (received, from) = server.join().unwrap();
    assert!(received == client.join().unwrap(), "every byte has crossed");
    assert_eq!(from.ip().to_string(), "10.7.0.2");
    superpackets
}

#[test]
fn tcp_crosses_in_superpackets_that_are_taken_back() {
    in_namespace(|| {
        for parts in [1, 3, 50] {
            let tun = open_up("weapon0");
            let superpackets = transfer(&tun, parts, |_| {});
            assert!(superpackets > 50, "{superpackets} superpackets");
            assert_eq!(tun.offloads(), config("").offloads);
        }
    });
}

#[test]
fn superpackets_that_the_kernel_refuses_are_written_as_segments() {
    in_namespace(|| {
        let tun = open_up("weapon0");
        // A header beyond the packet is refused by the kernel and ignored by us.
        transfer(&tun, 7, |vnet| {
            if vnet.gso_type != VnetHeader::GSO_NONE {
                vnet.hdr_len = u16::MAX;
            }
        });
        assert_eq!(
            tun.offloads(),
            Offloads::default(),
            "refused again and again"
        );
    });
}

#[test]
fn a_few_refused_superpackets_do_not_switch_offloads_off() {
    in_namespace(|| {
        let tun = open_up("weapon0");
        let count = Cell::new(0);
        transfer(&tun, 7, |vnet| {
            if vnet.gso_type != VnetHeader::GSO_NONE {
                count.set(count.get() + 1);
                if count.get() % 4 != 0 {
                    vnet.hdr_len = u16::MAX;
                }
            }
        });
        assert!(count.get() > 50);
        assert_eq!(tun.offloads(), config("").offloads);
    });
}

#[test]
fn more_parts_than_are_possible_are_refused() {
    in_namespace(|| {
        let tun = open_up("weapon0");
        let mut packet = vec![0; 20 + 8 + PARTS_MAX];
        let len = u16::try_from(packet.len()).unwrap();
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        let parts: Vec<_> = packet.chunks(1).map(IoSlice::new).collect();
        let error = tun.write(0, &VnetHeader::default(), &parts).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        tun.write(0, &VnetHeader::default(), &parts[..PARTS_MAX])
            .unwrap();
    });
}

#[test]
fn without_permission_the_error_says_so() {
    in_namespace(|| {
        // A thread of its own loses its capabilities; others keep theirs.
        let none = rustix::thread::CapabilitySet::empty();
        let sets = rustix::thread::CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        };
        let outcome = thread::spawn(move || {
            rustix::thread::set_capabilities(None, sets).unwrap();
            Tun::open(&config("weapon0")).err()
        });
        let error = outcome.join().unwrap();
        assert!(
            matches!(error, Some(TunError::Permission { .. })),
            "{error:?}"
        );
    });
}
