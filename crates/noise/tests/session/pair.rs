//! Two tunnels, each with its host, on a [`Network`] in virtual time.
//!
//! The host plays gateway and lanes: deadlines are asked for after each call into a tunnel and when
//! a lane's stamp says so, and never else, so a wake-up that is lost shows as a timer that is late.

use core::{net::SocketAddr, time::Duration};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use weapon_noise::{
    Entropy, EntropyNotReady, Identity, Keypair, Link, OpenError, PresharedKey, PrivateKey, Role,
    Seeded, Tai64n, Tick, TimestampGuard, Tunnel, TunnelConfig, TunnelHost, open_initiation,
    random_u32,
};
use weapon_wire::{
    Endpoint, Source,
    message::{
        CookieReply, DATA_HEADER_LEN, DATA_OVERHEAD, Initiation, Kind, Response, data_receiver,
        kind,
    },
};

use crate::{
    cipher::cipher,
    network::{Datagram, Network},
};

/// Which of the two.
pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

/// Wall clock at tick zero, in seconds.
const EPOCH: u64 = 1_700_000_000;

/// What was put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Initiation,
    Response,
    Cookie,
    Keepalive,
    Data,
}

/// What a tunnel sees of its gateway.
pub(crate) struct Host {
    now: Tick,
    pub(crate) entropy: Seeded,
    pub(crate) entropy_ready: bool,
    not_ready: NotReady,
    pub(crate) timestamps: TimestampGuard,
    /// Added to the wall clock, in seconds.
    pub(crate) wall_skew: i64,
    /// Receiver indices that are taken, and their keypairs.
    pub(crate) indices: BTreeMap<u32, Option<Arc<Keypair>>>,
    pub(crate) parked: VecDeque<Vec<u8>>,
    pub(crate) parked_dropped: usize,
    pub(crate) completed: Vec<(Tick, Role)>,
    /// Initiations that were not answered in time.
    pub(crate) unanswered: u32,
    outbox: Vec<(Endpoint, Vec<u8>)>,
}

impl Host {
    fn new(seed: u64) -> Self {
        Self {
            now: Tick::default(),
            entropy: Seeded::danger_new(seed),
            entropy_ready: true,
            not_ready: NotReady,
            timestamps: TimestampGuard::new(None),
            wall_skew: 0,
            indices: BTreeMap::new(),
            parked: VecDeque::new(),
            parked_dropped: 0,
            completed: Vec::new(),
            unanswered: 0,
            outbox: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Tick {
        self.now
    }

    /// Seals `payload` as the outbound way does. Whether a handshake is wanted, and whether the
    /// control loop must look.
    fn seal(&mut self, link: &Link, payload: &[u8]) -> Option<(bool, bool)> {
        let endpoint = link.endpoint().as_deref().copied()?;
        let keypair = link.sending(self.now)?;
        let keypair = keypair.as_ref()?;
        let counter = keypair.reserve(1)?;
        let mut slot = vec![0; payload.len() + DATA_OVERHEAD];
        keypair.seal(counter, payload, 0, &mut slot).unwrap();
        self.outbox.push((endpoint, slot));
        let wake = link.activity.note_sent(self.now, true);
        Some((keypair.wants_rekey_on_send(self.now), wake))
    }
}

struct NotReady;

impl Entropy for NotReady {
    fn fill(&mut self, _out: &mut [u8]) -> Result<(), EntropyNotReady> {
        Err(EntropyNotReady)
    }
}

impl TunnelHost for Host {
    fn reserve_index(&mut self) -> Result<u32, EntropyNotReady> {
        let index = random_u32(self.entropy())?;
        assert!(self.indices.insert(index, None).is_none());
        Ok(index)
    }

    fn activate_index(&mut self, index: u32, keypair: &Arc<Keypair>) {
        let slot = self.indices.get_mut(&index).expect("a reserved index");
        *slot = Some(Arc::clone(keypair));
    }

    fn release_index(&mut self, index: u32) {
        assert!(self.indices.remove(&index).is_some(), "released twice");
    }

    fn timestamp(&mut self) -> Option<Tai64n> {
        let nanos = self.now.as_nanos();
        let seconds = (EPOCH + nanos / 1_000_000_000).saturating_add_signed(self.wall_skew);
        let wall = Tai64n::from_unix(seconds, (nanos % 1_000_000_000) as u32);
        let stamp = self.timestamps.next(wall);
        if let Some(mark) = stamp.reserve {
            self.timestamps.persisted(mark);
        }
        Some(stamp.timestamp)
    }

    fn entropy(&mut self) -> &mut dyn Entropy {
        if self.entropy_ready {
            &mut self.entropy
        } else {
            &mut self.not_ready
        }
    }

    fn send(&mut self, to: &Endpoint, message: &[u8]) {
        self.outbox.push((*to, message.to_vec()));
    }

    fn release_parked(&mut self, link: &Link) -> usize {
        let mut sent = 0;
        while let Some(payload) = self.parked.pop_front() {
            sent += usize::from(self.seal(link, &payload).is_some());
        }
        sent
    }

    fn drop_parked(&mut self) {
        self.parked_dropped += self.parked.len();
        self.parked.clear();
    }

    fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    fn handshake_completed(&mut self, role: Role) {
        self.completed.push((self.now, role));
    }

    fn handshake_unanswered(&mut self, _link: &Link) {
        self.unanswered += 1;
    }
}

/// One end.
pub(crate) struct Side {
    pub(crate) identity: Identity,
    pub(crate) tunnel: Tunnel,
    pub(crate) host: Host,
    pub(crate) address: SocketAddr,
    deadline: Option<Tick>,
    /// Payloads that arrived, keepalives apart.
    pub(crate) delivered: Vec<Vec<u8>>,
    /// How data messages were refused.
    pub(crate) refused: Vec<OpenError>,
    /// Data messages with an index that nobody has.
    pub(crate) unknown: usize,
    /// Timer calls.
    pub(crate) wakes: usize,
}

impl Side {
    fn call<R>(
        &mut self,
        now: Tick,
        act: impl FnOnce(&mut Tunnel, &Identity, &mut Host) -> R,
    ) -> R {
        self.host.now = now;
        let result = act(&mut self.tunnel, &self.identity, &mut self.host);
        self.look();
        result
    }

    /// What the control loop does when a lane's stamp asks for it.
    fn look(&mut self) {
        self.deadline = self.tunnel.poll_timeout().map(|(at, _)| at);
    }

    pub(crate) fn deadline(&self) -> Option<Tick> {
        self.deadline
    }
}

/// Both ends and what is between them.
pub(crate) struct Pair {
    pub(crate) now: Tick,
    pub(crate) start: Tick,
    pub(crate) sides: [Side; 2],
    pub(crate) network: Network,
    /// Everything that was put on the wire: when, by whom, what.
    pub(crate) log: Vec<(Tick, usize, Wire)>,
    /// The same as bytes, where it went, if somebody records.
    pub(crate) recorded: Option<Vec<(usize, Endpoint, Vec<u8>)>>,
}

impl Pair {
    /// Two sides that know each other, both up.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_keepalive(seed, [None, None])
    }

    pub(crate) fn with_keepalive(seed: u64, keepalive: [Option<Duration>; 2]) -> Self {
        let key = |side: u8| {
            let mut bytes = [0; 32];
            Seeded::danger_new(seed ^ (u64::from(side) << 32))
                .fill(&mut bytes)
                .unwrap();
            PrivateKey::from_bytes(&bytes)
        };
        let psk = || Some(PresharedKey::from_bytes(&[9; 32]));
        let addresses: [SocketAddr; 2] = [
            "192.0.2.1:1000".parse().unwrap(),
            "192.0.2.2:2000".parse().unwrap(),
        ];
        let now = Tick::default() + Duration::from_secs(1000);
        let side = |us: usize| {
            let identity = Identity::new(key(us as u8 + 1));
            let config = TunnelConfig {
                public_key: key(2 - us as u8).public(),
                preshared_key: psk(),
                persistent_keepalive: keepalive[us],
                cipher: cipher(),
            };
            let tunnel = Tunnel::new(&identity, config);
            tunnel
                .link()
                .set_endpoint(Some(Endpoint::new(addresses[1 - us])));
            Side {
                identity,
                tunnel,
                host: Host::new(seed.wrapping_mul(3) + us as u64),
                address: addresses[us],
                deadline: None,
                delivered: Vec::new(),
                refused: Vec::new(),
                unknown: 0,
                wakes: 0,
            }
        };
        let mut pair = Self {
            now,
            start: now,
            sides: [side(A), side(B)],
            network: Network::new(seed),
            log: Vec::new(),
            recorded: None,
        };
        for us in [A, B] {
            pair.control(us, |tunnel, identity, host| {
                let now = host.now;
                tunnel.up(identity, now, host);
            });
        }
        pair
    }

    /// A pair with a session, made by A at the start, and nobody waiting for anything.
    pub(crate) fn connected(seed: u64) -> Self {
        let mut pair = Self::new(seed);
        pair.send(A, b"first");
        pair.drive(Duration::from_millis(100));
        assert_eq!(pair.sides[B].delivered, [b"first".to_vec()]);
        pair
    }

    /// Calls into a tunnel as the control loop does.
    pub(crate) fn control<R>(
        &mut self,
        us: usize,
        act: impl FnOnce(&mut Tunnel, &Identity, &mut Host) -> R,
    ) -> R {
        let result = self.sides[us].call(self.now, act);
        self.flush(us);
        result
    }

    /// A packet from the overlay of `us`, the way that `core::outbound` goes.
    pub(crate) fn send(&mut self, us: usize, payload: &[u8]) {
        let side = &mut self.sides[us];
        side.host.now = self.now;
        let link = Arc::clone(side.tunnel.link());
        match side.host.seal(&link, payload) {
            Some((wants_rekey, wake)) => {
                if wake {
                    side.look();
                }
                if wants_rekey {
                    self.want_session(us);
                }
            }
            None => {
                side.host.parked.push_back(payload.to_vec());
                self.want_session(us);
            }
        }
        self.flush(us);
    }

    pub(crate) fn want_session(&mut self, us: usize) {
        self.control(us, |tunnel, identity, host| {
            let now = host.now;
            tunnel.want_session(identity, now, host);
        });
    }

    /// Hands over what the host of `us` sends.
    fn flush(&mut self, us: usize) {
        for (to, bytes) in core::mem::take(&mut self.sides[us].host.outbox) {
            let wire = match kind(&bytes).unwrap() {
                Kind::Initiation => Wire::Initiation,
                Kind::Response => Wire::Response,
                Kind::CookieReply => Wire::Cookie,
                Kind::Data if bytes.len() == DATA_OVERHEAD => Wire::Keepalive,
                Kind::Data => Wire::Data,
            };
            self.log.push((self.now, us, wire));
            if let Some(recorded) = &mut self.recorded {
                recorded.push((us, to, bytes.clone()));
            }
            let from = self.sides[us].address;
            let to = to.remote;
            self.network.send(self.now, Datagram { from, to, bytes });
        }
    }

    /// A datagram arrives at `us`, the way that `core::inbound` and the gateway go.
    pub(crate) fn receive(&mut self, us: usize, from: SocketAddr, bytes: &mut [u8]) {
        let from = Endpoint::new(from).with_source(Source {
            address: self.sides[us].address.ip(),
            interface: 7,
        });
        match kind(bytes) {
            Ok(Kind::Data) => self.receive_data(us, &from, bytes),
            Ok(Kind::Initiation) => {
                let message = *Initiation::parse(bytes).unwrap();
                self.control(us, |tunnel, identity, host| {
                    let now = host.now;
                    if let Ok(opened) = open_initiation(identity, &message)
                        && *opened.remote_public() == tunnel.public_key()
                    {
                        let _refused = tunnel.accept_initiation(opened, &from, now, host);
                    }
                });
            }
            Ok(Kind::Response) => {
                let message = *Response::parse(bytes).unwrap();
                self.control(us, |tunnel, identity, host| {
                    let now = host.now;
                    let _refused = tunnel.accept_response(identity, &message, &from, now, host);
                });
            }
            Ok(Kind::CookieReply) => {
                let message = *CookieReply::parse(bytes).unwrap();
                self.control(us, |tunnel, _, host| {
                    let _refused = tunnel.accept_cookie(&message, host.now);
                });
            }
            Err(_) => {}
        }
        self.flush(us);
    }

    fn receive_data(&mut self, us: usize, from: &Endpoint, bytes: &mut [u8]) {
        let now = self.now;
        let side = &mut self.sides[us];
        let known = side.host.indices.get(&data_receiver(bytes));
        let Some(Some(keypair)) = known.cloned() else {
            side.unknown += 1;
            return;
        };
        let opened = keypair.open_run(now).and_then(|mut run| run.open(bytes));
        let len = match opened {
            Ok(len) => len,
            Err(error) => {
                side.refused.push(error);
                return;
            }
        };
        let link = Arc::clone(side.tunnel.link());
        link.roam(from, now);
        if len != 0 {
            let payload = &bytes[DATA_HEADER_LEN..][..len];
            side.delivered.push(payload.to_vec());
        }
        let confirms = keypair.confirm();
        if link.activity.note_received(now, len != 0) {
            side.look();
        }
        if confirms {
            self.control(us, |tunnel, _, host| tunnel.confirmed(host));
        }
        if keypair.wants_rekey_on_receive(now) {
            self.want_session(us);
        }
    }

    /// Lets `duration` pass.
    pub(crate) fn drive(&mut self, duration: Duration) {
        self.drive_until(self.now + duration);
    }

    /// Lets everything happen that is due until `end`.
    pub(crate) fn drive_until(&mut self, end: Tick) {
        while let Some(next) = self.next_event().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            while let Some(mut datagram) = self.network.arrive(self.now) {
                let to = |side: &Side| side.address == datagram.to;
                if let Some(us) = self.sides.iter().position(to) {
                    self.receive(us, datagram.from, &mut datagram.bytes);
                }
            }
            for us in [A, B] {
                if self.sides[us].deadline.is_some_and(|at| at <= self.now) {
                    self.sides[us].wakes += 1;
                    self.control(us, |tunnel, identity, host| {
                        let now = host.now;
                        tunnel.handle_timeout(identity, now, host);
                    });
                    let next = self.sides[us].deadline;
                    assert!(next.is_none_or(|at| at > self.now), "a deadline moves on");
                }
            }
        }
        self.now = end;
    }

    fn next_event(&self) -> Option<Tick> {
        let timers = self.sides.iter().filter_map(|side| side.deadline);
        timers.chain(self.network.next_arrival()).min()
    }

    /// Milliseconds since the start at which `us` sent `wire`.
    pub(crate) fn sent(&self, us: usize, wire: Wire) -> Vec<u64> {
        self.log
            .iter()
            .filter(|&&(_, side, sent)| side == us && sent == wire)
            .map(|&(at, _, _)| at.since(self.start).as_millis() as u64)
            .collect()
    }

    /// How often `us` sent `wire`.
    pub(crate) fn count(&self, us: usize, wire: Wire) -> usize {
        self.sent(us, wire).len()
    }

    /// Nothing that was sent so far counts.
    pub(crate) fn forget(&mut self) {
        self.log.clear();
        self.start = self.now;
    }

    /// The time `duration` ago.
    pub(crate) fn now_minus(&self, duration: Duration) -> Tick {
        Tick::from_nanos(self.now.as_nanos() - duration.as_nanos() as u64)
    }

    /// Nothing arrives at `us` any more.
    pub(crate) fn cut_off(&mut self, us: usize) {
        self.network.dead.push(self.sides[us].address);
    }

    /// The keypair that `us` sends with.
    pub(crate) fn keypair(&self, us: usize) -> Arc<Keypair> {
        Arc::clone(self.sides[us].tunnel.sessions().current().unwrap())
    }
}
