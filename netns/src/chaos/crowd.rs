//! Many peers that come at once: C15.

use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use weapon_noise::{
    AwaitingResponse, CookieJar, Entropy, EntropyNotReady, Identity, PrivateKey, PublicKey, Remote,
    Tai64n, Tick, initiate,
};
use weapon_wire::message::{CookieReply, Initiation, Response};

use super::check::{Check, Form};
use crate::lab::{Host, link};
use crate::plan::{Plan, private_key};
use crate::weapon::{Home, Weapon};

/// C15.
const PEERS: usize = 1000;

/// REKEY_TIMEOUT of the WireGuard paper: a peer that was not answered comes again.
const RETRY: Duration = Duration::from_secs(5);

/// The first try and one more, with or without a cookie.
const TIME_MAX: Duration = Duration::from_millis(10_800);

/// When it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel's randomness.
struct Kernel;

impl Entropy for Kernel {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyNotReady> {
        weapon_io::entropy::fill(bytes).map_err(|_| EntropyNotReady)
    }
}

/// One of the crowd, at an address of its own.
struct Peer {
    identity: Identity,
    remote: Remote,
    jar: CookieJar,
    socket: UdpSocket,
    awaiting: Option<AwaitingResponse>,
    tries: u64,
    cookies: u64,
    served: bool,
}

impl Peer {
    fn new(number: usize, key: &PrivateKey, hub: PublicKey, host: &Host) -> Self {
        let identity = Identity::new(PrivateKey::from_bytes(key.expose()));
        let remote = Remote::new(&identity, hub, None);
        let [.., high, low] = (number as u32 + 256).to_be_bytes();
        let place = SocketAddr::from(([198, 18, high, low], 51_820));
        let socket = host.enter(|| UdpSocket::bind(place)).expect("a socket");
        socket.connect("192.0.2.1:51820").expect("a route");
        socket.set_nonblocking(true).expect("no waiting");
        Self {
            identity,
            remote,
            jar: CookieJar::new(),
            socket,
            awaiting: None,
            tries: 0,
            cookies: 0,
            served: false,
        }
    }

    fn knock(&mut self, index: u32) {
        let (seconds, nanos) = weapon_io::clock::realtime();
        let stamp = Tai64n::from_unix(seconds, nanos);
        let made = initiate(&self.identity, &self.remote, index, stamp, &mut Kernel);
        let (awaiting, mut message): (_, Initiation) = made.expect("an initiation");
        self.jar.sign(&self.remote, message.as_mut_bytes(), now());
        self.awaiting = Some(awaiting);
        self.tries += 1;
        // What the link does not take is lost, as elsewhere.
        let _ = self.socket.send(message.as_bytes());
    }

    fn listen(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let datagram = &buffer[..len];
            if let Some(reply) = CookieReply::parse(datagram) {
                self.cookies += u64::from(self.jar.accept(&self.remote, reply, now()));
            } else if let Some(response) = Response::parse(datagram)
                && let Some(awaiting) = &self.awaiting
            {
                let finished = awaiting.finish(&self.identity, &self.remote, response);
                self.served |= finished.is_ok();
            }
        }
    }
}

fn now() -> Tick {
    Tick::from_nanos(weapon_io::clock::boottime_nanos())
}

/// C15. The gateway itself has just started too.
pub(super) fn restart(form: Form) -> Vec<Check> {
    let (hub_host, crowd_host, home) = (Host::new("hub"), Host::new("crowd"), Home::new());
    link(
        (&hub_host, "eth0", &["192.0.2.1/24"]),
        (&crowd_host, "eth0", &["192.0.2.2/24"]),
    );
    crowd_host.run("ip route add local 198.18.0.0/15 dev lo");
    hub_host.run("ip route add 198.18.0.0/15 via 192.0.2.2");
    let keys: Vec<PrivateKey> = (0..PEERS).map(|_| private_key()).collect();
    let hub = Plan::new("hub", &["10.255.0.1/24"]);
    let mut text = hub.toml();
    for (number, key) in keys.iter().enumerate() {
        let (high, low) = (number >> 8, number & 255);
        write!(
            text,
            "\n[[peer]]\nname = \"branch-{number}\"\npublic_key = \"{}\"\n\
             networks = [\"10.{high}.{low}.0/24\"]\n",
            key.public()
        )
        .expect("room in a string");
    }
    let public = hub.private_key.public();
    let mut checks = Vec::new();
    for round in 1..=form.pick(1, 3) {
        let mut weapon = Weapon::start_with(&hub_host, &home, "hub.toml", &text);
        let peers = keys.iter().enumerate();
        let peers = peers.map(|(number, key)| Peer::new(number, key, public, &crowd_host));
        checks.extend(come(round, peers.collect()));
        checks.push(Check::none(
            "gateways that crashed",
            u64::from(weapon.process().ended().is_some()),
        ));
    }
    checks
}

fn come(round: u32, mut crowd: Vec<Peer>) -> Vec<Check> {
    let start = Instant::now();
    let mut wave = 0;
    while start.elapsed() < PATIENCE && crowd.iter().any(|peer| !peer.served) {
        if start.elapsed() >= RETRY * wave {
            wave += 1;
            for (number, peer) in crowd.iter_mut().enumerate() {
                if !peer.served {
                    peer.knock(wave << 16 | number as u32);
                }
            }
        }
        for peer in &mut crowd {
            peer.listen();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let time = start.elapsed();
    let served = crowd.iter().filter(|peer| peer.served).count();
    let tries: u64 = crowd.iter().map(|peer| peer.tries).sum();
    let cookies: u64 = crowd.iter().map(|peer| peer.cookies).sum();
    let measured = format!("{served}, with {tries} initiations and {cookies} cookies");
    vec![
        Check::new(
            format!("round {round}: peers with a session"),
            PEERS.to_string(),
            measured,
            served == PEERS,
        ),
        Check::within(
            format!("round {round}: the last of them after"),
            TIME_MAX,
            time,
        ),
    ]
}
