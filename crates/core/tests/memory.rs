//! What a peer costs in memory, counted as the pages that the process has of its own: so what the
//! allocator and the cipher's C code take is in it.
//!
//! One test, in a program of its own: others beside it would be counted too.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use core::{net::SocketAddr, time::Duration};
use std::{fs, sync::Arc};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weapon_core::{GatewayConfig, HandshakeMessage, Peer, PeerConfig, PeerId, Routes, Upcalls};
use weapon_noise::{
    Backend, CookieJar, Identity, Keypair, Link, PrivateKey, PublicKey, Remote, Seeded, Tai64n,
    Tick, initiate,
};
use weapon_wire::{
    Endpoint,
    message::{DATA_OVERHEAD, Response},
};

#[path = "../../noise/tests/cipher/mod.rs"]
mod cipher;
use cipher::cipher;

#[allow(
    dead_code,
    reason = "made for the tests of whole gateways, which use all of it"
)]
#[path = "gateway/site.rs"]
mod site;
use site::{EPOCH, Site};

/// Peers that are configured.
const PEERS: u32 = 10_000;

/// Peers that have sessions: enough to divide by, and done in a few seconds.
const BUSY: u32 = 2_000;

/// What the project promises, for a peer in the configuration and for one with a session.
const BYTES_PER_PEER_MAX: u64 = 4096;

/// Networks of a large site, and what each may cost: scattered ones share little of the tree.
const PREFIXES: u32 = 100_000;
const BYTES_PER_NETWORK_MAX: u64 = 256;

/// Bytes of memory that belong to this process alone and to no file.
fn own_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").expect("/proc");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.unwrap().trim().parse::<u64>().unwrap() * 1024
}

fn private_key(number: u32) -> PrivateKey {
    let mut bytes = [3; 32];
    bytes[8..12].copy_from_slice(&number.to_le_bytes());
    PrivateKey::from_bytes(&bytes)
}

fn address(number: u32) -> SocketAddr {
    let [_, _, high, low] = number.to_be_bytes();
    SocketAddr::from(([198, 18, high, low], 51_820))
}

fn peer(number: u32) -> PeerConfig {
    let [_, _, high, low] = number.to_be_bytes();
    PeerConfig {
        name: format!("branch-{number:05}"),
        public_key: private_key(number).public(),
        preshared_key: None,
        endpoint: Some(address(number)),
        endpoint_pinned: false,
        networks: vec![
            format!("10.{high}.{low}.0/24").parse().unwrap(),
            format!("fd00:{number:x}::/64").parse().unwrap(),
        ],
        persistent_keepalive: None,
    }
}

fn gateway(key: PrivateKey) -> Site {
    let config = GatewayConfig {
        private_key: key.clone(),
        mtu: 1420,
        addresses: Vec::new(),
        mappings: Vec::new(),
        policy: None,
        timestamp_mark: None,
        cipher: cipher(),
    };
    Site::new(key, 1, config)
}

/// The moment `seconds` after the start.
fn at(seconds: u64) -> Tick {
    Tick::default() + Duration::from_secs(seconds)
}

/// Peer `number` asks for a session, gets it, and sends a packet with it.
fn connect(site: &mut Site, us: PublicKey, number: u32, seconds: u64) {
    let now = at(seconds);
    let from = address(number);
    let identity = Identity::new(private_key(number));
    let remote = Remote::new(&identity, us, None);
    let stamp = Tai64n::from_unix(EPOCH + seconds, 0);
    let mut entropy = Seeded::danger_new(u64::from(number) << 32 | seconds);
    let (awaiting, mut message) =
        initiate(&identity, &remote, number, stamp, &mut entropy).unwrap();
    CookieJar::new().sign(&remote, message.as_mut_bytes(), now);
    let message = HandshakeMessage::new(message.as_bytes(), Endpoint::new(from)).unwrap();
    assert!(site.mail.handshake(message));
    site.deliver(now);

    let answer = site.outbox.sent.pop().expect("a response");
    let response = Response::parse(&answer.bytes).unwrap();
    let keys = awaiting.finish(&identity, &remote, response).unwrap();
    let keypair = Keypair::new(&keys, now, cipher());
    let mut datagram = [0; DATA_OVERHEAD];
    let counter = keypair.reserve(1).unwrap();
    keypair.seal(counter, &[], 0, &mut datagram).unwrap();
    site.receive(now, from, &mut datagram, DATA_OVERHEAD);
    site.deliver(now);
}

/// The network of 256 addresses, or the /64, with this number, scattered over the address space.
fn scattered(number: u32) -> [IpNet; 2] {
    let v4 = number.wrapping_mul(0x9e37_79b1) & 0x00ff_ffff;
    let v6 = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8;
    [
        Ipv4Net::new_assert((v4 << 8).into(), 24).into(),
        Ipv6Net::new_assert(((0xfd << 120) | u128::from(v6) << 64).into(), 64).into(),
    ]
}

/// Bytes of an IPv4 and of an IPv6 network among many.
fn network_costs() -> [u64; 2] {
    let peer = Arc::new(Peer::new(PeerId(0), "peer", Arc::new(Link::default())));
    let mut routes = Routes::default();
    let costs = [0, 1].map(|family| {
        let before = own_bytes();
        for number in 0..PREFIXES {
            routes.insert(scattered(number)[family], &peer);
        }
        own_bytes().saturating_sub(before) / u64::from(PREFIXES)
    });
    assert_eq!(routes.len(), 2 * PREFIXES as usize);
    costs
}

/// Bytes of a peer when it is configured, when it has a session, and when it has two keypairs. The
/// gateway comes along, so that what is counted next does not get its memory.
fn peer_costs() -> ([u64; 3], Site) {
    // What is made once is made before it counts.
    let key = private_key(u32::MAX);
    let us = key.public();
    let mut small = gateway(key.clone());
    small.gateway.add_peers([peer(1)]);
    small.control(at(1), |gateway, env| gateway.up(env));
    connect(&mut small, us, 1, 2);

    let empty = own_bytes();
    let mut site = gateway(key);
    site.gateway.add_peers((0..PEERS).map(peer));
    site.control(at(1), |gateway, env| gateway.up(env));
    let configured = own_bytes();
    (0..BUSY).for_each(|number| connect(&mut site, us, number, 10));
    let with_session = own_bytes();
    (0..BUSY).for_each(|number| connect(&mut site, us, number, 130));
    let with_two = own_bytes();

    let status = site.gateway.status(at(131));
    let busy = status.peers.iter().filter(|peer| peer.session.is_some());
    assert_eq!(busy.count(), BUSY as usize);
    let idle = (configured - empty) / u64::from(PEERS);
    let session = (with_session - configured) / u64::from(BUSY);
    let second = (with_two - with_session) / u64::from(BUSY);
    ([idle, idle + session, idle + session + second], site)
}

#[test]
fn a_peer_costs_less_than_4_kib() {
    let ([idle, with_session, with_two], _site) = peer_costs();
    println!("bytes: a peer {idle}, with a session {with_session}, with two keypairs {with_two}");
    assert!(idle < BYTES_PER_PEER_MAX, "{idle} bytes");
    assert!(with_session < BYTES_PER_PEER_MAX, "{with_session} bytes");
    let networks = network_costs();
    println!("bytes: a network of IPv4 and of IPv6 {networks:?}");
    let greatest = networks.into_iter().max().unwrap();
    assert!(greatest < BYTES_PER_NETWORK_MAX, "{greatest} bytes");
}
