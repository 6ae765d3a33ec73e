//! Two engines with their threads, a device without a kernel each, and a network without one
//! between them.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    io,
    net::SocketAddr,
    os::fd::BorrowedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use weapon_core::{DropReason, Gateway, GatewayConfig, PeerConfig, TimestampStore};
use weapon_engine::{Engine, EngineConfig, EngineStatus, Event};
use weapon_io::{
    tun::{
        Offloads,
        memory::{self, Crossing, Host},
    },
    udp::{
        Arrival, Family, Socket, Sockets, Train,
        memory::{MemoryUdp, Network},
    },
};
use weapon_noise::{Backend, PrivateKey, Tai64n};
use weapon_wire::VnetHeader;

#[path = "../../noise/tests/cipher/mod.rs"]
mod cipher;
use cipher::cipher;

/// What anything that must happen is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

struct Site {
    engine: Engine,
    host: Host,
    events: mpsc::Receiver<Event>,
    rebinds: Arc<AtomicU32>,
}

/// Keeps the mark in memory.
struct Store(Arc<Mutex<Option<Tai64n>>>);

impl TimestampStore for Store {
    fn persist(&mut self, mark: Tai64n) -> bool {
        *self.0.lock().unwrap() = Some(mark);
        true
    }
}

fn key(site: u8) -> PrivateKey {
    PrivateKey::from_bytes(&[site + 1; 32])
}

fn address(site: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, site + 1], 51820))
}

/// Where handshake messages come in: a kernel would have it at the same address.
fn door(site: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, site + 101], 51820))
}

fn bind(site: u8, network: &Network) -> io::Result<Sockets<MemoryUdp>> {
    Ok(Sockets {
        lanes: vec![network.bind(address(site), true)?],
        doors: vec![network.bind(door(site), true)?],
    })
}

/// Site 0 or 1, which knows the other one.
fn start(site: u8, network: &Network) -> Site {
    start_towards(site, network, address(1 - site), false)
}

/// Site 0 or 1, for which the other one is at `remote`, perhaps for ever.
fn start_towards(site: u8, network: &Network, remote: SocketAddr, is_pinned: bool) -> Site {
    let other = 1 - site;
    let mut gateway = Gateway::new(GatewayConfig {
        private_key: key(site),
        mtu: 1420,
        addresses: Vec::new(),
        mappings: Vec::new(),
        policy: None,
        timestamp_mark: None,
        cipher: cipher(),
    });
    gateway.add_peers([PeerConfig {
        name: "other".into(),
        public_key: key(other).public(),
        preshared_key: None,
        endpoint: Some(remote),
        endpoint_pinned: is_pinned,
        networks: vec![format!("10.0.{other}.0/24").parse().unwrap()],
        persistent_keepalive: None,
    }]);
    let (device, host) = memory::pair(Offloads::default()).unwrap();
    let sockets = bind(site, network).unwrap();
    let (event, events) = mpsc::channel();
    let rebinds = Arc::new(AtomicU32::new(0));
    let (network, count) = (network.clone(), Arc::clone(&rebinds));
    let config = EngineConfig {
        up: true,
        rebind: Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            bind(site, &network)
        }),
        store: Box::new(Store(Arc::default())),
        on_event: Box::new(move |what| drop(event.send(what))),
    };
    let engine = Engine::start(gateway, device, sockets, config).unwrap();
    Site {
        engine,
        host,
        events,
        rebinds,
    }
}

/// A UDP packet without checksum from a host of `site` to one of the other.
fn packet(site: u8, payload: &[u8]) -> Vec<u8> {
    let len = (28 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend([10, 0, site, 9, 10, 0, 1 - site, 9]);
    packet.extend([0x30, 0x39, 0x30, 0x39]);
    packet.extend((len - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Site {
    fn send(&self, packet: &[u8]) {
        assert!(self.host.send(VnetHeader::default(), packet));
    }

    #[track_caller]
    fn receive(&self) -> Crossing {
        until("a packet", || self.host.receive())
    }

    fn status(&self) -> EngineStatus {
        self.engine.status().unwrap()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        let drops = self.status().drops;
        drops.iter().find(|&&(found, _)| found == reason).unwrap().1
    }
}

#[test]
fn packets_pass_in_both_directions_and_in_order() {
    let network = Network::default();
    let (one, other) = (start(0, &network), start(1, &network));
    // The first is parked until the session is there; the others follow it.
    for number in 0..50_u8 {
        one.send(&packet(0, &[number; 100]));
        assert_eq!(other.receive().packet, packet(0, &[number; 100]));
        other.send(&packet(1, &[number; 1392]));
        assert_eq!(one.receive().packet, packet(1, &[number; 1392]));
    }
    let status = one.status();
    assert_eq!(status.outbound_segments, 50);
    assert_eq!(status.inbound_superpackets, 50);
    assert_eq!((status.send_failures, status.write_failures), (0, 0));
    assert!(status.drops.iter().all(|&(_, count)| count == 0));
    assert!(status.gateway.peers[0].session.is_some());
}

/// A handshake begins at the door and goes on at the lane, where its response comes from. A peer
/// that does not follow stays at the door with its data.
#[test]
fn p74_what_comes_to_the_door_is_handled_by_the_control_loop() {
    for is_pinned in [false, true] {
        let network = Network::default();
        let one = start_towards(0, &network, door(1), is_pinned);
        let other = start(1, &network);
        for number in 0..5_u8 {
            one.send(&packet(0, &[number; 100]));
            assert_eq!(other.receive().packet, packet(0, &[number; 100]));
            other.send(&packet(1, &[number; 200]));
            assert_eq!(one.receive().packet, packet(1, &[number; 200]));
        }
        let remote = one.status().gateway.peers[0].endpoint.unwrap();
        assert_eq!(remote, if is_pinned { door(1) } else { address(1) });
        assert!(other.status().drops.iter().all(|&(_, count)| count == 0));
    }
}

#[test]
fn p84_what_nobody_has_is_counted_and_answered() {
    let one = start(0, &Network::default());
    let mut lost = packet(0, b"lost");
    lost[16..20].copy_from_slice(&[10, 7, 7, 7]);
    one.send(&lost);
    let answer = one.receive().packet;
    assert_eq!(answer[9], 1, "ICMP");
    assert_eq!(&answer[20..22], &[3, 1], "host unreachable");
    assert_eq!(one.dropped(DropReason::NoRoute), 1);
}

#[test]
fn p99_down_closes_the_socket_and_up_opens_it_again() {
    let network = Network::default();
    let (one, other) = (start(0, &network), start(1, &network));
    one.send(&packet(0, b"before"));
    assert_eq!(other.receive().packet, packet(0, b"before"));

    one.engine.set_up(false);
    assert!(!one.status().gateway.up);
    assert!(one.status().gateway.peers[0].session.is_none());
    // Its address is free: everybody has let go of the socket.
    drop(until("free addresses", || bind(0, &network).ok()));

    one.engine.set_up(true);
    until("up", || one.status().gateway.up.then_some(()));
    one.send(&packet(0, b"after"));
    assert_eq!(other.receive().packet, packet(0, b"after"));
    assert!(one.rebinds.load(Ordering::Relaxed) >= 1);
}

/// Up and down so fast that a lane is still busy with the wake-up before: it must not sleep over
/// the one that tells it to let go of its socket.
#[test]
fn p99_a_flap_leaves_nobody_with_a_socket() {
    let network = Network::default();
    let one = start(0, &network);
    for _ in 0..1500 {
        one.engine.set_up(true);
        until("up", || one.status().gateway.up.then_some(()));
        one.engine.set_up(false);
        drop(until("free addresses", || bind(0, &network).ok()));
    }
    one.engine.stop();
}

/// With another port, or another mark, another address of ours may be the right one.
#[test]
fn p80_sockets_bound_anew_know_no_sources() {
    let network = Network::default();
    let (one, other) = (start(0, &network), start(1, &network));
    one.send(&packet(0, b"there"));
    assert_eq!(other.receive().packet, packet(0, b"there"));
    other.send(&packet(1, b"and back"));
    assert_eq!(one.receive().packet, packet(1, b"and back"));
    let source = || one.status().gateway.peers[0].source;
    assert!(source().is_some());
    one.engine.set_up(false);
    one.engine.set_up(true);
    until("up", || one.status().gateway.up.then_some(()));
    assert_eq!(source(), None);
}

#[test]
fn p99_a_port_that_is_taken_for_a_while_is_had_in_the_end() {
    let network = Network::default();
    let (one, other) = (start(0, &network), start(1, &network));
    one.engine.set_up(false);
    let taken = until("a free address", || network.bind(address(0), true).ok());
    one.engine.set_up(true);
    until("a few tries", || {
        (one.rebinds.load(Ordering::Relaxed) >= 3).then_some(())
    });
    assert!(!one.status().gateway.up);
    drop(taken);
    until("up", || one.status().gateway.up.then_some(()));
    one.send(&packet(0, b"at last"));
    assert_eq!(other.receive().packet, packet(0, b"at last"));
}

#[test]
fn a_deleted_device_is_told() {
    let one = start(0, &Network::default());
    one.host.delete();
    let event = one.events.recv_timeout(PATIENCE).unwrap();
    assert_eq!(event, Event::DeviceGone);
    one.engine.stop();
}

#[test]
fn a_socket_that_is_free_again_after_the_stop() -> io::Result<()> {
    let network = Network::default();
    let one = start(0, &network);
    assert!(network.bind(address(0), true).is_err(), "it is in use");
    one.engine.stop();
    network.bind(address(0), true).map(drop)
}

/// A socket whose lane hangs as long as somebody holds the gate.
struct Gated {
    socket: MemoryUdp,
    gate: Arc<Mutex<()>>,
    is_entered: Arc<AtomicBool>,
}

impl Socket for Gated {
    fn fd(&self, family: Family) -> Option<BorrowedFd<'_>> {
        self.socket.fd(family)
    }

    fn gso(&self) -> bool {
        self.socket.gso()
    }

    fn send(&self, buffer: &[u8], trains: &[Train]) -> io::Result<usize> {
        self.socket.send(buffer, trains)
    }

    fn wait_writable(&self, family: Family, timeout_ms: u32) -> bool {
        self.socket.wait_writable(family, timeout_ms)
    }

    fn receive(
        &self,
        family: Family,
        buffer: &mut [u8],
        arrivals: &mut [Arrival],
    ) -> io::Result<usize> {
        self.is_entered.store(true, Ordering::Release);
        drop(self.gate.lock());
        self.socket.receive(family, buffer, arrivals)
    }
}

#[test]
fn a_lane_that_hangs_does_not_answer_though_all_else_does() {
    let network = Network::default();
    let (gate, is_entered) = (Arc::new(Mutex::new(())), Arc::new(AtomicBool::new(false)));
    let socket = Gated {
        socket: network.bind(address(0), true).unwrap(),
        gate: Arc::clone(&gate),
        is_entered: Arc::clone(&is_entered),
    };
    let gateway = Gateway::new(GatewayConfig {
        private_key: key(0),
        mtu: 1420,
        addresses: Vec::new(),
        mappings: Vec::new(),
        policy: None,
        timestamp_mark: None,
        cipher: cipher(),
    });
    let (device, _host) = memory::pair(Offloads::default()).unwrap();
    let config = EngineConfig {
        up: true,
        rebind: Box::new(|| Err(io::ErrorKind::Unsupported.into())),
        store: Box::new(Store(Arc::default())),
        on_event: Box::new(drop),
    };
    let engine = Engine::start(gateway, device, vec![socket], config).unwrap();
    let answered = || engine.have_threads_answered().then_some(());
    engine.ask_threads();
    until("all threads answer", answered);

    let closed = gate.lock().unwrap();
    let stranger = network.bind(address(1), true).unwrap();
    let train = Train {
        to: weapon_wire::Endpoint::new(address(0)),
        tos: 0,
        start: 0,
        len: 4,
        stride: 4,
    };
    assert_eq!(stranger.send(b"what", &[train]).unwrap(), 1);
    until("the lane hangs", || {
        is_entered.load(Ordering::Acquire).then_some(())
    });
    engine.ask_threads();
    // The control loop has gone round.
    engine.status().unwrap();
    assert!(!engine.have_threads_answered());
    drop(closed);
    until("the lane is back", answered);
}
