//! Two gateways, and somebody between them who may do anything: he delivers, repeats, changes and
//! invents datagrams, at any time and in any order.
//!
//! Data messages of his own are authentic, because the cipher is none. Handshakes are real: he
//! changes the messages that the gateways make, and makes their mac1 right again, as anybody can
//! who knows the receiver's public key.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use std::collections::BTreeSet;

use weapon_core::{GatewayConfig, PeerConfig, PeerId};
use weapon_noise::{CookieJar, Identity, PresharedKey, PrivateKey, PublicKey, Remote, Tick};
use weapon_wire::{
    Flow, VnetHeader,
    message::{DATA_OVERHEAD, Kind, data_counter, data_receiver, kind, write_data_header},
};

use crate::{
    input::Input,
    null_cipher::NullCipher,
    plain,
    site::{Sent, Site},
};

/// Steps of one input; more only make it slow.
const STEPS_MAX: usize = 96;
/// Datagrams that can be repeated.
const RECORDED_MAX: usize = 64;
/// Calls of a timer before it must have come to rest.
const CALLS_MAX: usize = 1000;

/// Whence what nobody can authenticate comes.
const STRANGER: ([u8; 4], u16) = ([203, 0, 113, 9], 9);

struct World {
    now: Tick,
    sites: [Site; 2],
    keys: [PublicKey; 2],
    /// What was sent, by whom; the first have not been delivered if they are in `fresh`.
    recorded: Vec<(usize, Vec<u8>)>,
    fresh: Vec<(usize, Vec<u8>)>,
    /// Receiver indices that each site was addressed by.
    indices: [Vec<u32>; 2],
    /// Receiver and counter of every data message: a nonce is used once.
    nonces: BTreeSet<(usize, u32, u64)>,
    stranger: Identity,
}

fn private_key(site: usize) -> PrivateKey {
    PrivateKey::from_bytes(&[0x11 + site as u8; 32])
}

fn address(site: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + site as u8], 1000))
}

fn peer(us: usize, keys: &[PublicKey; 2]) -> PeerConfig {
    let them = 1 - us;
    PeerConfig {
        name: format!("site-{them}"),
        public_key: keys[them],
        preshared_key: None,
        endpoint: Some(address(them)),
        endpoint_pinned: false,
        networks: vec![
            format!("10.0.{them}.0/24").parse().unwrap(),
            format!("fd00:{them:x}::/64").parse().unwrap(),
        ],
        persistent_keepalive: (us == 1).then_some(Duration::from_secs(25)),
    }
}

/// What the bytes say happens to two gateways.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::new();
    if input.u8() & 1 == 0 {
        world.connect();
    }
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
        world.check_strangers_place();
    }
    for site in &world.sites {
        let _ = site.gateway.status(world.now);
    }
}

impl World {
    fn new() -> Self {
        let keys = [private_key(0).public(), private_key(1).public()];
        let site = |us: usize| {
            let config = GatewayConfig {
                private_key: private_key(us),
                mtu: 1420,
                addresses: vec![IpAddr::from([10, 0, us as u8, 1])],
                mappings: Vec::new(),
                policy: None,
                timestamp_mark: None,
                cipher: &NullCipher,
            };
            let mut site = Site::new(private_key(us), us as u64, config);
            site.address = address(us);
            site
        };
        let mut world = Self {
            now: Tick::default() + Duration::from_secs(1000),
            sites: [site(0), site(1)],
            keys,
            recorded: Vec::new(),
            fresh: Vec::new(),
            indices: [Vec::new(), Vec::new()],
            nonces: BTreeSet::new(),
            stranger: Identity::new(PrivateKey::from_bytes(&[0x33; 32])),
        };
        for us in 0..2 {
            world.sites[us].gateway.add_peers([peer(us, &keys)]);
            world.sites[us].control(world.now, |gateway, env| gateway.up(env));
            world.flush(us);
        }
        world
    }

    /// Both have a session that works.
    fn connect(&mut self) {
        self.read(0, plain_read(&udp(0, 1, b"first")));
        for _ in 0..4 {
            for (from, datagram) in core::mem::take(&mut self.fresh) {
                self.receive(1 - from, address(from), datagram.clone(), datagram.len());
            }
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let step = input.u8();
        let us = usize::from(step >> 7);
        match step & 15 {
            0 => self.pass(Duration::from_millis(input.u16().into())),
            1 => self.pass(Duration::from_secs(input.u8().into())),
            2 | 3 => self.deliver_fresh(),
            4 => self.repeat(us, input),
            5 => self.change(us, input),
            6 => self.invent(us, input),
            7 => self.forge_data(us, input),
            8 => self.read(us, input.bytes(usize::from(step >> 4 & 7) * 32).to_vec()),
            9 => {
                let payload = vec![step; usize::from(input.u8()) * 6];
                self.read(us, plain_read(&udp(us, 1 - us, &payload)));
            }
            10 => self.configure(us, input),
            11 => self.sites[us].chance.is_ready = step & 16 == 0,
            12 => self.sites[us].disk.is_full = step & 16 != 0,
            13 => self.sites[us].backlog = usize::from(input.u8()) * 32,
            14 => self.sites[us].wall_skew = i64::from(input.u32() as i32),
            _ => self.pass(Duration::from_millis(20)),
        }
    }

    /// Time passes; whoever wants to be called is.
    fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..CALLS_MAX {
            let due = |us: usize| {
                self.sites[us]
                    .gateway
                    .poll_timeout()
                    .map(|(at, _)| (at, us))
            };
            let first = [due(0), due(1)].into_iter().flatten().min();
            let Some((at, us)) = first.filter(|&(at, _)| at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            self.sites[us].control(self.now, |gateway, env| gateway.handle_timeout(env));
            self.flush(us);
            let next = self.sites[us].gateway.poll_timeout();
            assert!(
                next.is_none_or(|(next, _)| next > self.now),
                "a timer that is due again at once: {next:?}"
            );
        }
        panic!("a timer that does not come to rest");
    }

    /// The next datagram arrives as it was sent.
    fn deliver_fresh(&mut self) {
        if !self.fresh.is_empty() {
            let (from, datagram) = self.fresh.remove(0);
            let len = datagram.len();
            self.receive(1 - from, address(from), datagram, len);
        }
    }

    fn record(&self, input: &mut Input<'_>) -> Option<(usize, Vec<u8>)> {
        let back = usize::from(input.u8()) % self.recorded.len().max(1);
        self.recorded.iter().rev().nth(back).cloned()
    }

    /// A datagram that was sent comes, perhaps again, perhaps to its own sender.
    fn repeat(&mut self, us: usize, input: &mut Input<'_>) {
        if let Some((from, datagram)) = self.record(input) {
            let len = datagram.len();
            self.receive(us, address(from), datagram, len);
        }
    }

    /// A datagram that was sent comes changed.
    fn change(&mut self, us: usize, input: &mut Input<'_>) {
        let Some((from, mut datagram)) = self.record(input) else {
            return;
        };
        let (at, bits, how) = (input.u16(), input.u8(), input.u8());
        let at = usize::from(at) % datagram.len();
        datagram[at] ^= bits;
        let is_handshake = matches!(kind(&datagram), Ok(Kind::Initiation | Kind::Response));
        if is_handshake && how & 1 == 0 {
            let remote = Remote::new(&self.stranger, self.keys[us], None);
            CookieJar::new().sign(&remote, &mut datagram, self.now);
        }
        if how & 6 == 6 {
            datagram.truncate(at);
        }
        let len = datagram.len();
        self.receive(us, address(from), datagram, len);
    }

    /// Bytes from nowhere, as one datagram or many.
    fn invent(&mut self, us: usize, input: &mut Input<'_>) {
        let (stride, len) = (usize::from(input.u8()), usize::from(input.u8()) * 2);
        let mut bytes = input.bytes(len).to_vec();
        let shape = input.u8();
        if shape & 3 == 1 && bytes.len() >= 4 {
            // A message of the handshake by type and length.
            let (message_type, len) = [(1, 148), (2, 92), (3, 64)][usize::from(shape >> 2) % 3];
            bytes.resize(len, shape);
            bytes[..4].copy_from_slice(&[message_type, 0, 0, 0]);
            if shape & 64 != 0 && message_type != 3 {
                let remote = Remote::new(&self.stranger, self.keys[us], None);
                CookieJar::new().sign(&remote, &mut bytes, self.now);
            }
            if let Some(&index) = self.indices[us].last() {
                bytes[8..12].copy_from_slice(&index.to_le_bytes());
            }
            self.receive(us, STRANGER.into(), bytes, len);
            return;
        }
        // Data would be authentic.
        if !bytes
            .chunks(stride.max(1))
            .any(|it| kind(it) == Ok(Kind::Data))
        {
            self.receive(us, STRANGER.into(), bytes, stride);
        }
    }

    /// Data messages that are authentic to a receiver without a cipher.
    fn forge_data(&mut self, us: usize, input: &mut Input<'_>) {
        let (count, shape) = (1 + usize::from(input.u8() & 7), input.u8());
        let back = usize::from(shape & 3);
        let Some(&index) = self.indices[us].iter().rev().nth(back) else {
            return;
        };
        let mut counter = match shape >> 2 & 3 {
            0 | 1 => input.u16().into(),
            2 => input.u64(),
            _ => u64::MAX - u64::from(input.u16()),
        };
        let packet = match shape >> 4 & 3 {
            0 => {
                let len = input.u8();
                input.bytes(len.into()).to_vec()
            }
            1 => Vec::new(),
            // As a peer's site sends it, and a few bytes otherwise.
            _ => {
                let mut packet = udp(1 - us, us, &[shape; 40]);
                let at = usize::from(input.u8()) % packet.len();
                packet[at] ^= input.u8();
                packet
            }
        };
        let stride = packet.len() + DATA_OVERHEAD;
        let mut train = Vec::new();
        for _ in 0..count {
            let mut datagram = vec![0; stride];
            write_data_header(&mut datagram, index, counter);
            datagram[16..16 + packet.len()].copy_from_slice(&packet);
            train.extend(datagram);
            counter = counter.wrapping_add(1);
        }
        if shape & 64 != 0 {
            train.truncate(train.len().saturating_sub(usize::from(input.u8())));
        }
        self.receive(us, address(1 - us), train, stride);
    }

    /// The user changes something.
    fn configure(&mut self, us: usize, input: &mut Input<'_>) {
        let what = input.u8();
        let config = peer(us, &self.keys);
        let id = self.sites[us].gateway.peer_by_key(&config.public_key);
        self.sites[us].control(self.now, |gateway, env| match (what & 7, id) {
            (0, _) => gateway.down(env),
            (1, _) => gateway.up(env),
            (2, None) => drop(gateway.add_peer(config, env)),
            (2, Some(id)) => gateway.remove_peer(id, env),
            (3, Some(id)) => {
                let key = PresharedKey::from_bytes(&[what >> 3 & 1; 32]);
                gateway.set_preshared_key(id, (what & 16 != 0).then_some(key));
            }
            (4, Some(id)) => gateway.set_addresses(id, vec![address(1 - us), address(us)], env),
            (5, Some(id)) => {
                let interval = Duration::from_secs(u64::from(what >> 3));
                gateway.set_persistent_keepalive(id, (what & 8 != 0).then_some(interval), env);
            }
            (6, _) => gateway.set_private_key(private_key(us + usize::from(what >> 7) * 3), env),
            (7, Some(id)) => gateway.leave_source(id, env.now.tick),
            _ => gateway.clear_sources(),
        });
        self.keys[us] = self.sites[us].gateway.public_key();
        self.flush(us);
        self.deliver(us);
    }

    fn receive(&mut self, us: usize, from: SocketAddr, mut bytes: Vec<u8>, stride: usize) {
        let messages = self.sites[us].mail.handshakes.len();
        let (now, site) = (self.now, &mut self.sites[us]);
        site.receive(now, from, &mut bytes, stride);
        for (_, packet) in site.overlay.0.drain(..) {
            check_source(&packet, us);
        }
        let asked: usize = site.mail.handshakes[messages..]
            .iter()
            .map(|message| message.bytes().len())
            .sum();
        let is_authentic = bytes
            .chunks(stride.max(1))
            .any(|it| kind(it) == Ok(Kind::Data));
        self.deliver(us);
        let answer: usize = self
            .take_answers(us)
            .iter()
            .filter(|answer| kind(answer) != Ok(Kind::Data))
            .map(Vec::len)
            .sum();
        // Who is not known gets no more than he gives.
        assert!(is_authentic || answer <= asked, "it amplifies");
    }

    fn read(&mut self, us: usize, read: Vec<u8>) {
        let _ = self.sites[us].read(self.now, read);
        self.deliver(us);
        self.flush(us);
    }

    /// The control loop takes its mail.
    fn deliver(&mut self, us: usize) {
        self.sites[us].deliver(self.now);
        self.sites[us].overlay.0.clear();
    }

    fn flush(&mut self, us: usize) {
        self.take_answers(us);
    }

    /// Notes what was sent, and hands it over.
    fn take_answers(&mut self, us: usize) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        for Sent { bytes, .. } in core::mem::take(&mut self.sites[us].outbox.sent) {
            match kind(&bytes).expect("what is sent is a message") {
                Kind::Data => {
                    let nonce = (us, data_receiver(&bytes), data_counter(&bytes));
                    assert!(
                        self.nonces.insert(nonce),
                        "a nonce was used twice: {nonce:?}"
                    );
                    self.note_index(1 - us, data_receiver(&bytes));
                }
                Kind::Initiation | Kind::Response => {
                    self.note_index(us, data_receiver(&bytes));
                }
                Kind::CookieReply => {}
            }
            for queue in [&mut self.recorded, &mut self.fresh] {
                queue.push((us, bytes.clone()));
                if queue.len() > RECORDED_MAX {
                    queue.remove(0);
                }
            }
            answers.push(bytes);
        }
        answers
    }

    /// `us` is addressed by `index`: handshake messages name their sender where data names its
    /// receiver.
    fn note_index(&mut self, us: usize, index: u32) {
        if !self.indices[us].contains(&index) {
            self.indices[us].push(index);
        }
    }

    /// Nothing that a stranger sends makes a gateway send to him.
    fn check_strangers_place(&self) {
        for (us, site) in self.sites.iter().enumerate() {
            let fib = site.fib.load();
            for peer in &fib.peers {
                let endpoint = peer.link.endpoint();
                let remote = endpoint.as_deref().map(|endpoint| endpoint.remote);
                assert_ne!(remote, Some(STRANGER.into()), "{us} follows a stranger");
            }
            let unknown = PeerId(u32::MAX);
            assert!(fib.peers.iter().all(|peer| peer.id != unknown));
        }
    }
}

/// Whatever comes out of the tunnel comes from the peer's networks (P85).
fn check_source(packet: &[u8], us: usize) {
    let flow = Flow::parse(packet).expect("only packets come out");
    let them = 1 - us;
    let is_theirs = match flow.source {
        IpAddr::V4(source) => source.octets()[..3] == [10, 0, them as u8],
        IpAddr::V6(source) => source.segments()[..4] == [0xfd00, them as u16, 0, 0],
    };
    assert!(is_theirs, "{} is not theirs", flow.source);
}

fn plain_read(packet: &[u8]) -> Vec<u8> {
    [&VnetHeader::default().to_bytes(), packet].concat()
}

/// A UDP packet from one site to another.
fn udp(from: usize, to: usize, payload: &[u8]) -> Vec<u8> {
    let len = 28 + payload.len();
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0];
    packet.extend([10, 0, from as u8, 5, 10, 0, to as u8, 6]);
    packet.extend([4, 87, 8, 174, 0, 0, 0, 0]);
    packet.extend_from_slice(payload);
    plain::put(&mut packet, 2, len as u16);
    plain::put(&mut packet, 24, (len - 20) as u16);
    plain::fix_header(&mut packet);
    plain::fix_transport(&mut packet, 17, 20);
    packet
}
