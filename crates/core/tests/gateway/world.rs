//! Gateways on one network, each with its site behind it: 10.0.N.0/24 and fd00:N::/64.

use core::{net::SocketAddr, time::Duration};

use weapon_core::{DropReason, Env, Gateway, GatewayConfig, PeerConfig, PeerId};
use weapon_noise::{Entropy, PresharedKey, PrivateKey, PublicKey, Seeded, Tick};
use weapon_wire::{
    MergeLimits,
    message::{DATA_OVERHEAD, Kind, kind},
};

use crate::{
    cipher::cipher,
    network::{Datagram, Network},
    packets::{plain, udp, v4, v6},
    site::{Sent, Site},
};

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
pub(crate) const C: usize = 2;

pub(crate) const MTU: usize = 1420;

/// What was put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Initiation,
    Response,
    Cookie,
    Keepalive,
    Data,
}

pub(crate) struct World {
    pub(crate) now: Tick,
    pub(crate) start: Tick,
    pub(crate) sites: Vec<Site>,
    pub(crate) network: Network,
    /// Everything that was put on the wire: when, by whom, what.
    pub(crate) log: Vec<(Tick, usize, Wire, Sent)>,
}

/// The static key of a site.
pub(crate) fn private_key(site: usize) -> PrivateKey {
    let mut bytes = [0; 32];
    let mut seeded = Seeded::danger_new(0xabcd + site as u64);
    seeded.fill(&mut bytes).unwrap();
    PrivateKey::from_bytes(&bytes)
}

pub(crate) fn public_key(site: usize) -> PublicKey {
    private_key(site).public()
}

pub(crate) fn address(site: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1 + site as u8], 1000 + site as u16))
}

/// What `us` is told of `them`.
pub(crate) fn peer(us: usize, them: usize) -> PeerConfig {
    let psk = [7 + (us + them) as u8; 32];
    PeerConfig {
        name: format!("site-{them}"),
        public_key: public_key(them),
        preshared_key: Some(PresharedKey::from_bytes(&psk)),
        endpoint: Some(address(them)),
        endpoint_pinned: false,
        networks: vec![
            format!("10.0.{them}.0/24").parse().unwrap(),
            format!("fd00:{them:x}::/64").parse().unwrap(),
        ],
        persistent_keepalive: None,
    }
}

/// The settings of a site's gateway.
pub(crate) fn config(site: usize) -> GatewayConfig {
    GatewayConfig {
        private_key: private_key(site),
        mtu: MTU,
        addresses: vec![v4(site, 1), v6(site, 1)],
        mappings: Vec::new(),
        policy: None,
        timestamp_mark: None,
        cipher: cipher(),
    }
}

impl World {
    /// Gateways that know each other, all up.
    pub(crate) fn new(seed: u64, count: usize) -> Self {
        let mut world = Self::without_peers(seed, count);
        for us in 0..count {
            let others = (0..count).filter(|&them| them != us);
            let peers: Vec<_> = others.map(|them| peer(us, them)).collect();
            world.sites[us].gateway.add_peers(peers);
            world.control(us, |gateway, env| gateway.up(env));
        }
        world
    }

    /// Gateways without peers, down.
    pub(crate) fn without_peers(seed: u64, count: usize) -> Self {
        let now = Tick::default() + Duration::from_secs(1000);
        let site = |us: usize| {
            let mut site = Site::new(private_key(us), seed * 64 + us as u64, config(us));
            site.address = address(us);
            site
        };
        Self {
            now,
            start: now,
            sites: (0..count).map(site).collect(),
            network: Network::new(seed),
            log: Vec::new(),
        }
    }

    /// Two gateways with a session that A asked for, and nobody waiting for anything.
    pub(crate) fn connected(seed: u64) -> Self {
        let mut world = Self::new(seed, 2);
        world.ping(A, B, b"first").unwrap();
        world.drive(Duration::from_millis(100));
        world.ping(B, A, b"answer").unwrap();
        world.drive(Duration::from_secs(30));
        assert_eq!(world.payloads(B), [b"first".to_vec()]);
        world.forget();
        world
    }

    /// Calls a gateway as the control loop does.
    pub(crate) fn control<R>(
        &mut self,
        us: usize,
        act: impl FnOnce(&mut Gateway, &mut Env<'_>) -> R,
    ) -> R {
        let result = self.sites[us].control(self.now, act);
        self.flush(us);
        result
    }

    /// The peer of `us` that is `them`.
    pub(crate) fn id(&self, us: usize, them: usize) -> PeerId {
        let gateway = &self.sites[us].gateway;
        gateway.peer_by_key(&public_key(them)).expect("a peer")
    }

    /// A host behind `us` sends a UDP packet to one behind `them`.
    pub(crate) fn ping(
        &mut self,
        us: usize,
        them: usize,
        payload: &[u8],
    ) -> Result<(), DropReason> {
        self.read(us, plain(&udp(v4(us, 5), v4(them, 6), payload)))
    }

    /// The gateway `us` reads from its overlay.
    pub(crate) fn read(&mut self, us: usize, read: Vec<u8>) -> Result<(), DropReason> {
        let result = self.sites[us].read(self.now, read);
        self.flush(us);
        self.deliver(us);
        result
    }

    pub(crate) fn deliver(&mut self, us: usize) {
        self.sites[us].deliver(self.now);
        self.flush(us);
    }

    /// Hands over what `us` sends.
    fn flush(&mut self, us: usize) {
        for sent in core::mem::take(&mut self.sites[us].outbox.sent) {
            let wire = match kind(&sent.bytes).unwrap() {
                Kind::Initiation => Wire::Initiation,
                Kind::Response => Wire::Response,
                Kind::CookieReply => Wire::Cookie,
                Kind::Data if sent.bytes.len() == DATA_OVERHEAD => Wire::Keepalive,
                Kind::Data => Wire::Data,
            };
            let datagram = Datagram {
                from: self.sites[us].address,
                to: sent.to.remote,
                bytes: sent.bytes.clone(),
            };
            self.network.send(self.now, datagram);
            self.log.push((self.now, us, wire, sent));
        }
    }

    /// Datagrams arrive at `us` from `from` in one train, as GRO makes them.
    pub(crate) fn receive(&mut self, us: usize, from: SocketAddr, bytes: &mut [u8], stride: usize) {
        self.sites[us].receive(self.now, from, bytes, stride);
        self.deliver(us);
    }

    /// Lets `duration` pass.
    pub(crate) fn drive(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.next_event().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            self.arrivals();
            for us in 0..self.sites.len() {
                let due = self.sites[us].gateway.poll_timeout();
                if due.is_some_and(|(at, _)| at <= self.now) {
                    self.sites[us].wakes += 1;
                    self.control(us, |gateway, env| gateway.handle_timeout(env));
                    let next = self.sites[us].gateway.poll_timeout();
                    assert!(next.is_none_or(|(at, _)| at > self.now), "{next:?}");
                }
            }
        }
        self.now = end;
    }

    fn next_event(&self) -> Option<Tick> {
        let deadlines = self.sites.iter().filter_map(|site| {
            let (at, _) = site.gateway.poll_timeout()?;
            Some(at)
        });
        deadlines.chain(self.network.next_arrival()).min()
    }

    /// What arrives now; datagrams of equal length from one sender become a train.
    fn arrivals(&mut self) {
        let mut train: Option<(Datagram, usize)> = None;
        while let Some(datagram) = self.network.arrive(self.now) {
            if let Some((first, stride)) = &mut train {
                let belongs = first.from == datagram.from
                    && first.to == datagram.to
                    && first.bytes.len() % *stride == 0
                    && datagram.bytes.len() <= *stride
                    && first.bytes.len() < *stride * 64;
                if belongs {
                    first.bytes.extend_from_slice(&datagram.bytes);
                    continue;
                }
            }
            let stride = datagram.bytes.len();
            if let Some((train, stride)) = train.replace((datagram, stride)) {
                self.arrive(train, stride);
            }
        }
        if let Some((train, stride)) = train {
            self.arrive(train, stride);
        }
    }

    fn arrive(&mut self, mut train: Datagram, stride: usize) {
        let there = |site: &Site| site.address == train.to;
        if let Some(us) = self.sites.iter().position(there) {
            self.receive(us, train.from, &mut train.bytes, stride);
        }
    }

    /// Milliseconds since the start at which `us` sent `wire`.
    pub(crate) fn sent(&self, us: usize, wire: Wire) -> Vec<u64> {
        self.messages(us, wire)
            .map(|(at, _)| at.since(self.start).as_millis() as u64)
            .collect()
    }

    /// What `us` sent of `wire`, and when.
    pub(crate) fn messages(&self, us: usize, wire: Wire) -> impl Iterator<Item = (Tick, &Sent)> {
        let ours = move |entry: &&(Tick, usize, Wire, Sent)| entry.1 == us && entry.2 == wire;
        self.log
            .iter()
            .filter(ours)
            .map(|(at, _, _, sent)| (*at, sent))
    }

    pub(crate) fn count(&self, us: usize, wire: Wire) -> usize {
        self.messages(us, wire).count()
    }

    /// The UDP payloads that came out at `us`, of single packets.
    pub(crate) fn payloads(&self, us: usize) -> Vec<Vec<u8>> {
        let packets = self.sites[us].overlay.0.iter();
        packets
            .map(|(_, packet)| {
                let header = if packet[0] >> 4 == 4 { 28 } else { 48 };
                packet[header..].to_vec()
            })
            .collect()
    }

    /// The device at `us` takes no offload from here on: what comes out is what was sealed, with
    /// the checksum that it was sealed with.
    pub(crate) fn switch_offloads_off(&mut self, us: usize) {
        self.sites[us].inbound.set_limits(MergeLimits::default());
    }

    /// The device at `us` takes all offloads again.
    pub(crate) fn switch_offloads_on(&mut self, us: usize) {
        let all = MergeLimits {
            tcp: true,
            udp: true,
        };
        self.sites[us].inbound.set_limits(all);
    }

    /// Nothing that was sent so far counts.
    pub(crate) fn forget(&mut self) {
        self.log.clear();
        self.start = self.now;
    }

    /// Nothing arrives at `us` any more.
    pub(crate) fn cut_off(&mut self, us: usize) {
        self.network.dead.push(self.sites[us].address);
    }
}
