//! A gateway with everything around it in memory.

use core::net::SocketAddr;
use std::{
    io::IoSlice,
    sync::{Arc, LazyLock},
};

use weapon_core::{
    Counters, DropReason, Env, Fib, Gateway, GatewayConfig, HandshakeMessage, Inbound, Now,
    Outbound, Overlay, PeerConfig, PeerId, PeerService, Policy, RateLimit, RateLimits, Received,
    Services, TimestampStore, Underlay, Upcalls, WallTime,
    filter::{Action, PortRange, Protocol, Rule},
};
use weapon_noise::{Backend, PrivateKey, Seeded, Tai64n, Tick};
use weapon_wire::{Endpoint, Flow, MergeLimits, Source, VnetHeader};

use crate::{
    buffer::Buffer,
    packets::{self, host4, host6},
};

const MTU: usize = 1420;

/// One moment for all that happens: no key grows old.
const TICK: Tick = Tick::from_nanos(1_000_000_000);

/// Datagrams side by side, as the real send buffer has them.
pub(crate) struct Outbox {
    buffer: Buffer,
    len: usize,
    room_len: usize,
    /// Where each datagram ends.
    pub(crate) ends: Vec<usize>,
}

impl Outbox {
    /// All datagrams.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.buffer.bytes()[..self.len]
    }

    /// All were sent.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.ends.clear();
    }
}

impl Underlay for Outbox {
    fn reserve(&mut self, _: &Endpoint, len: usize) {
        self.room_len = len;
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.buffer.bytes()[self.len..][..self.room_len]
    }

    fn commit(&mut self, len: usize, _: u8) {
        self.len += len;
        self.room_len -= len;
        self.ends.push(self.len);
    }
}

/// Counts what is written to the overlay.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) superpackets: usize,
    pub(crate) bytes: usize,
}

impl Overlay for Written {
    fn write(&mut self, _: &Flow, _: &VnetHeader, parts: &[IoSlice<'_>]) {
        self.superpackets += 1;
        self.bytes += parts.iter().map(|part| part.len()).sum::<usize>();
    }
}

/// The queues to the control loop.
#[derive(Default)]
struct Mail {
    handshakes: Vec<HandshakeMessage>,
    parked: Vec<(PeerId, Box<[u8]>)>,
    attention: Vec<PeerId>,
}

impl Upcalls for Mail {
    fn handshake(&mut self, message: HandshakeMessage) -> bool {
        self.handshakes.push(message);
        true
    }

    fn park(&mut self, peer: PeerId, read: &[u8]) -> bool {
        self.parked.push((peer, read.into()));
        true
    }

    fn unreachable(&mut self, _: &[u8]) {}

    fn attention(&mut self, peer: PeerId) {
        self.attention.push(peer);
    }
}

/// A disk that takes everything.
struct Disk;

impl TimestampStore for Disk {
    fn persist(&mut self, _: Tai64n) -> bool {
        true
    }
}

/// A gateway, its lanes and what is around them.
pub(crate) struct Site {
    number: u8,
    gateway: Gateway,
    fib: Arc<Fib>,
    inbound: Inbound,
    counters: Counters,
    entropy: Seeded,
    mail: Mail,
    pub(crate) outbox: Outbox,
    pub(crate) written: Written,
}

impl Site {
    /// Two sites with a session between them.
    pub(crate) fn connected() -> (Self, Self) {
        Self::connected_with(None)
    }

    /// The same, with a hundred rules and the flow table at both. The last rule lets pass.
    pub(crate) fn filtered() -> (Self, Self) {
        let rule = |number: u16| Rule {
            protocols: vec![Protocol::Number(17)],
            ports: vec![PortRange {
                first: number,
                last: number,
            }],
            ..Rule::of_all(&format!("rule-{number}"), Action::Deny)
        };
        let all = Rule::of_all("all", Action::Allow);
        Self::connected_with(Some(Policy {
            default: Some(Action::Deny),
            rules: (1..100).map(rule).chain([all]).collect(),
            flows_max: 65_536,
            seed: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210],
        }))
    }

    /// The same without rules, with a mark and a limit at both that lets all pass.
    pub(crate) fn limited() -> (Self, Self) {
        let limit = Some(RateLimit {
            bytes_per_second: 1,
            burst_bytes: u64::MAX >> 1,
        });
        let (mut first, mut second) = Self::connected();
        for (site, other) in [(&mut first, 2), (&mut second, 1)] {
            site.gateway.set_services(&Services {
                groups: Vec::new(),
                peers: vec![PeerService {
                    public_key: private_key(other).public(),
                    dscp: 46,
                    limits: RateLimits {
                        outbound: limit,
                        inbound: limit,
                    },
                    groups: Vec::new(),
                }],
            });
            site.fib = site.gateway.fib().load_full();
        }
        (first, second)
    }

    fn connected_with(policy: Option<Policy>) -> (Self, Self) {
        let (mut first, mut second) = (Self::new(1, 2, policy.clone()), Self::new(2, 1, policy));
        let read = packets::small(1, 2);
        first.read(&read).expect("the packet is parked");
        first.deliver();
        // Initiation, response, the parked packet, and whatever that is answered with.
        for _ in 0..2 {
            first.send_to(&mut second);
            second.send_to(&mut first);
        }
        assert_eq!(second.written.superpackets, 1, "the session works");
        (first, second)
    }

    fn new(number: u8, other: u8, policy: Option<Policy>) -> Self {
        let mut gateway = Gateway::new(GatewayConfig {
            private_key: private_key(number),
            mtu: MTU,
            addresses: vec![host4(number).into(), host6(number).into()],
            mappings: Vec::new(),
            policy,
            timestamp_mark: None,
            cipher: cipher(),
        });
        gateway.add_peers([PeerConfig {
            name: format!("site-{other}"),
            public_key: private_key(other).public(),
            preshared_key: None,
            endpoint: Some(address(other)),
            endpoint_pinned: false,
            networks: vec![
                ipnet::Ipv4Net::new_assert(host4(other), 24).into(),
                ipnet::Ipv6Net::new_assert(host6(other), 64).into(),
            ],
            persistent_keepalive: None,
        }]);
        let mut site = Self {
            number,
            fib: gateway.fib().load_full(),
            gateway,
            inbound: Inbound::new(MergeLimits {
                tcp: true,
                udp: true,
            }),
            counters: Counters::default(),
            entropy: Seeded::danger_new(u64::from(number)),
            mail: Mail::default(),
            outbox: Outbox {
                buffer: Buffer::zero(),
                len: 0,
                room_len: 0,
                ends: Vec::with_capacity(256),
            },
            written: Written::default(),
        };
        site.control(Gateway::up);
        site
    }

    /// The outbound lane takes what was read from the overlay.
    pub(crate) fn read(&mut self, read: &[u8]) -> Result<(), DropReason> {
        self.read_times(read, 1)
    }

    /// The outbound lane takes the same so many times in one turn.
    pub(crate) fn read_times(&mut self, read: &[u8], times: usize) -> Result<(), DropReason> {
        let (outbox, mail) = (&mut self.outbox, &mut self.mail);
        let mut outbound = Outbound::new(&self.fib, TICK, &self.counters, outbox, mail);
        for _ in 0..times {
            outbound.send(read)?;
        }
        outbound.finish();
        Ok(())
    }

    /// The inbound lane takes datagrams of `stride` bytes from the other site.
    pub(crate) fn receive(&mut self, bytes: &mut [u8], stride: usize, from: Endpoint) {
        let received = Received {
            bytes,
            stride,
            len: stride,
            tos: 0,
            from,
        };
        let (written, mail) = (&mut self.written, &mut self.mail);
        self.inbound
            .receive(&self.fib, received, TICK, &self.counters, written, mail);
    }

    /// Where the other sites see this one.
    pub(crate) fn endpoint_seen_by(&self, other: &Self) -> Endpoint {
        Endpoint::new(address(self.number)).with_source(Source {
            address: address(other.number).ip(),
            interface: 7,
        })
    }

    /// Sends all datagrams one by one, and lets the other site's control loop act.
    fn send_to(&mut self, other: &mut Self) {
        let from = self.endpoint_seen_by(other);
        let ends = self.outbox.ends.clone();
        let mut start = 0;
        for end in ends {
            other.receive(&mut self.outbox.bytes()[start..end], end - start, from);
            other.deliver();
            start = end;
        }
        self.outbox.clear();
    }

    /// The control loop takes its mail and publishes.
    fn deliver(&mut self) {
        let mail = core::mem::take(&mut self.mail);
        self.control(|gateway, env| {
            for message in &mail.handshakes {
                gateway.handle_handshake(message, env);
            }
            for &peer in &mail.attention {
                gateway.attend(peer, env);
            }
            for (peer, read) in mail.parked {
                gateway.park(peer, read, env);
            }
        });
    }

    fn control(&mut self, act: impl FnOnce(&mut Gateway, &mut Env<'_>)) {
        let mut env = Env {
            now: Now {
                tick: TICK,
                wall: WallTime {
                    seconds: 1_700_000_000,
                    nanos: 0,
                },
            },
            underlay: &mut self.outbox,
            overlay: &mut self.written,
            entropy: &mut self.entropy,
            store: &mut Disk,
        };
        act(&mut self.gateway, &mut env);
        self.fib = self.gateway.fib().load_full();
    }
}

/// The one that callgrind knows the instructions of.
pub(crate) fn cipher() -> &'static Backend {
    static LIBRARY: LazyLock<Backend> = LazyLock::new(Backend::library);
    &LIBRARY
}

fn private_key(site: u8) -> PrivateKey {
    PrivateKey::from_bytes(&[site; 32])
}

fn address(site: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, site], 51820))
}
