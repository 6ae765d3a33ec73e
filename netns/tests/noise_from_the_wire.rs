//! Whatever anybody sends to the port of a running gateway: no answer, no growth, no harm to the
//! tunnel (P08, P10).

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use weapon_core::HANDSHAKE_QUEUE_MAX;
use weapon_netns::traffic::Pings;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Host, Packet, Pair, Tap, Weapon, ready, until};

/// Where the gateway under fire listens.
const TARGETS: [&str; 2] = ["192.0.2.1:51820", "[2001:db8::1]:51820"];

/// Of both families together.
const DATAGRAMS: usize = 100_000;

/// Datagrams between two looks at what came back. The gateway's socket holds as many.
const BATCH_LEN: usize = 1000;
/// The same for messages whose mac1 is right: fewer than what is a load for the gateway, however
/// slowly it gets to them. Under load a cookie is the right answer.
const RECORDED_BATCH_LEN: usize = HANDSHAKE_QUEUE_MAX / 8 - 28;
/// Bytes after which it is waited at the latest: half of what its socket's buffer holds.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// P08.
const GROWTH_BYTES_MAX: u64 = 1 << 20;

/// The longest that fits into an IPv4 packet.
const LONGEST: usize = 65_507;

/// The same on every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    /// Of any length, or with the type and length of one of WireGuard's messages.
    fn noise(&mut self) -> Vec<u8> {
        let (kind, len) = match self.below(8) {
            0 => (1, 148),
            1 => (2, 92),
            2 => (3, 64),
            3 => (4, 32),
            4 => (4, 32 + self.below(100) * 16),
            5 => (1 + self.below(4) as u8, self.below(200)),
            _ => (0, self.below(1472)),
        };
        let mut datagram = vec![0; len];
        self.fill(&mut datagram);
        if kind != 0
            && let Some(head) = datagram.first_chunk_mut::<4>()
        {
            *head = [kind, 0, 0, 0];
        }
        datagram
    }

    /// A recorded message with one to three bits flipped.
    fn flipped(&mut self, recorded: &[Vec<u8>]) -> Vec<u8> {
        let original = &recorded[self.below(recorded.len())];
        let mut message = original.clone();
        let covered = message.len() - trailer_len(original);
        // Apart, so that none takes another back.
        let first = self.below(covered * 8);
        for number in 0..=self.below(3) {
            let bit = (first + number * 7) % (covered * 8);
            message[bit / 8] ^= 1 << (bit % 8);
        }
        message
    }
}

/// mac2 is not looked at unless the gateway is under load, and then a cookie is the right answer:
/// a handshake message that is flipped there alone is a recording, which has a test of its own.
fn trailer_len(message: &[u8]) -> usize {
    if matches!(message.first(), Some(1 | 2)) {
        16
    } else {
        0
    }
}

/// A gateway under fire, its peer, and what was heard of their first exchange.
struct Range {
    pair: Pair,
    gateway: Weapon,
    /// Kept alive: the peer, through which pings come.
    _peer: Weapon,
    tap: Tap,
    recorded: Vec<Vec<u8>>,
    batch_len: usize,
}

impl Range {
    fn new() -> Self {
        let pair = Pair::new();
        let mut tap = Tap::new(&pair.one, "eth0");
        // Both have begun a handshake: initiations, responses and data came in.
        let (gateway, mut peer) = pair.start_both();
        for _ in 0..2 {
            pair.other.ping("10.99.0.1");
            pair.other.ping("fd99::1");
            assert_eq!(peer.process().ended(), None);
            pair.other.run("ip link set w-other down");
            until("the peer notices", PATIENCE, || {
                (peer.status()["up"] == false).then_some(())
            });
            pair.other.run("ip link set w-other up");
            pair.other
                .run("ip addr replace fd99::2/64 dev w-other nodad");
        }
        pair.other.ping("10.99.0.1");
        let all = tap.packets();
        let recorded: Vec<Vec<u8>> = all
            .into_iter()
            .filter(|packet| packet.is_udp() && packet.payload.len() >= 32)
            .map(|packet| packet.payload)
            .collect();
        for kind in [1, 2, 4] {
            let count = recorded.iter().filter(|it| it[0] == kind).count();
            assert!(count > 0, "a message of type {kind} was recorded");
        }
        Self {
            pair,
            gateway,
            _peer: peer,
            tap,
            recorded,
            batch_len: BATCH_LEN,
        }
    }

    /// Sends datagrams to both addresses of the gateway, never faster than it reads, and looks at
    /// all that it sends.
    fn fire(&mut self, count: usize, mut datagram: impl FnMut(usize) -> Vec<u8>) {
        let sockets = TARGETS.map(|target| Gun::new(&self.pair.other, target));
        let before = self.received();
        let mut batch_bytes = 0;
        for number in 0..count {
            let gun = &sockets[number % sockets.len()];
            let datagram = datagram(number);
            batch_bytes += datagram.len();
            gun.send(&datagram);
            if (number + 1) % self.batch_len == 0
                || number + 1 == count
                || batch_bytes > BATCH_BYTES_MAX
            {
                batch_bytes = 0;
                let goal = before + number as u64 + 1;
                until("the gateway has read all", PATIENCE, || {
                    (self.received() >= goal).then_some(())
                });
                // Its control loop answers when it has dealt with what the lanes had for it.
                self.gateway.status();
                self.look_at_answers();
            }
        }
        for gun in &sockets {
            gun.nothing_came();
        }
    }

    /// Datagrams that the gateway has read.
    fn received(&self) -> u64 {
        let status = self.gateway.status();
        status["counters"]["inbound_datagrams"]
            .as_u64()
            .expect("a counter")
    }

    /// Nothing goes out but to the peer's own port.
    fn look_at_answers(&mut self) {
        let peer: SocketAddr = "192.0.2.2:51820".parse().expect("an address");
        let answers: Vec<Packet> = self
            .tap
            .outgoing()
            .into_iter()
            .filter(|packet| !(packet.is_udp() && packet.remote() == peer))
            .collect();
        assert!(answers.is_empty(), "{answers:?}");
    }

    fn resident_bytes(&mut self) -> u64 {
        // What strangers send comes to the gateway's own process alone.
        let id = *self.gateway.process().all_ids().last().expect("a process");
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a number of KiB") << 10
    }

    fn drops(&self) -> u64 {
        let status = self.gateway.status();
        let drops = status["drops"].as_object().expect("drops by reason");
        drops.values().filter_map(serde_json::Value::as_u64).sum()
    }

    /// The peer is where it was, and reaches us at once.
    fn tunnel_is_well(&mut self) {
        assert_eq!(
            self.gateway.process().ended(),
            None,
            "{}",
            self.gateway.log()
        );
        assert_eq!(self.gateway.peer("other")["endpoint"], "192.0.2.2:51820");
        for (host, remote) in [
            (&self.pair.one, "10.99.0.2"),
            (&self.pair.other, "10.99.0.1"),
        ] {
            let remote: IpAddr = remote.parse().expect("an address");
            let answer = host.ping_once(remote, Duration::from_secs(5));
            assert!(answer.is_ok(), "{answer:?}");
        }
    }
}

/// A socket that shoots at one address.
struct Gun(UdpSocket);

impl Gun {
    fn new(host: &Host, target: &str) -> Self {
        let target: SocketAddr = target.parse().expect("an address");
        let any = if target.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = host.enter(|| UdpSocket::bind(any)).expect("a socket");
        socket.connect(target).expect("a connected socket");
        socket
            .set_nonblocking(true)
            .expect("a socket that never waits");
        Self(socket)
    }

    fn send(&self, datagram: &[u8]) {
        loop {
            match self.0.send(datagram) {
                Ok(_) => return,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                }
                Err(error) => panic!("{} bytes: {error}", datagram.len()),
            }
        }
    }

    fn nothing_came(&self) {
        let got = self.0.recv(&mut [0; 2048]);
        let error = got.expect_err("no answer");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
    }
}

#[test]
fn p08_noise_is_met_with_silence() {
    if !ready(&[]) {
        return;
    }
    let mut range = Range::new();
    let mut random = Random(1);
    let recorded = std::mem::take(&mut range.recorded);
    range.look_at_answers();
    let resident = range.resident_bytes();
    let drops = range.drops();
    let pings = Pings::start(&range.pair.other, "10.99.0.1", Duration::from_millis(20));
    range.fire(DATAGRAMS, |number| match number % 4 {
        0 | 1 => random.noise(),
        _ => random.flipped(&recorded),
    });
    let count = pings.finish();
    assert!(count.sent > 10 && count.lost.is_empty(), "{count:?}");
    let growth = range.resident_bytes().saturating_sub(resident);
    println!("{} KiB grown, pings: {count:?}", growth >> 10);
    assert!(growth < GROWTH_BYTES_MAX, "{growth} bytes grown");
    // Every one of them has a named reason.
    assert_eq!(range.drops() - drops, DATAGRAMS as u64);
    range.tunnel_is_well();
}

/// Recordings of true messages, from elsewhere: silence, and the peer stays where it was.
#[test]
fn recordings_are_met_with_silence() {
    if !ready(&[]) {
        return;
    }
    let mut range = Range::new();
    range.batch_len = RECORDED_BATCH_LEN;
    let mut random = Random(2);
    let recorded = std::mem::take(&mut range.recorded);
    let drops = range.drops();
    let count = 20 * recorded.len();
    range.fire(count, |number| {
        let mut message = recorded[number % recorded.len()].clone();
        let len = message.len();
        // Every other one with bits flipped in mac2, where it has one.
        if number / recorded.len() % 2 == 1 && trailer_len(&message) > 0 {
            message[len - 1 - random.below(16)] ^= 1 << random.below(8);
        }
        message
    });
    assert_eq!(range.drops() - drops, count as u64);
    range.tunnel_is_well();
}

#[test]
fn p10_longest_datagrams_do_no_harm() {
    if !ready(&[]) {
        return;
    }
    let mut range = Range::new();
    let mut random = Random(3);
    let drops = range.drops();
    let pings = Pings::start(&range.pair.other, "10.99.0.1", Duration::from_millis(20));
    let count = 200;
    range.fire(count, |number| {
        let mut datagram = vec![0; LONGEST - number / 2 % 3];
        random.fill(&mut datagram);
        // Half of them look like data, the others like nothing.
        if number % 4 < 2 {
            datagram[..4].copy_from_slice(&[4, 0, 0, 0]);
        }
        datagram
    });
    let lost = pings.finish().lost;
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(range.drops() - drops, count as u64);
    range.tunnel_is_well();
}
