//! One gateway with lanes and surroundings in memory.

use core::{net::SocketAddr, time::Duration};
use std::{io::IoSlice, sync::Arc};

use weapon_core::{
    Counters, DropReason, Env, Fate, Gateway, GatewayConfig, HandshakeMessage, Inbound, Now,
    Outbound, Overlay, PeerId, Received, Ruling, SharedFib, Sighting, TimestampStore, Underlay,
    Upcalls, WallTime, Way,
};
use weapon_noise::{Entropy, EntropyNotReady, PrivateKey, Seeded, Tai64n, Tick};
use weapon_wire::{Endpoint, Flow, MergeLimits, Source, VnetHeader};

/// Wall clock at tick zero, in seconds.
pub(crate) const EPOCH: u64 = 1_700_000_000;

/// A datagram that was handed to the underlay.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) to: Endpoint,
    pub(crate) tos: u8,
    pub(crate) bytes: Vec<u8>,
}

/// The underlay's sending side.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    room: Option<(Endpoint, Vec<u8>)>,
    pub(crate) sent: Vec<Sent>,
}

impl Underlay for Outbox {
    fn reserve(&mut self, to: &Endpoint, len: usize) {
        // Not zeroed, as a real buffer is not: who fills it must fill all of it.
        self.room = Some((*to, vec![0xee; len]));
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.room.as_mut().expect("room was reserved").1
    }

    fn commit(&mut self, len: usize, tos: u8) {
        let (to, room) = self.room.as_mut().expect("room was reserved");
        let (to, bytes) = (*to, room.drain(..len).collect());
        self.sent.push(Sent { to, tos, bytes });
    }
}

/// What was written to the overlay.
#[derive(Debug, Default)]
pub(crate) struct Written(pub(crate) Vec<(VnetHeader, Vec<u8>)>);

impl Overlay for Written {
    fn write(&mut self, _: &Flow, vnet: &VnetHeader, parts: &[IoSlice<'_>]) {
        self.0
            .push((*vnet, parts.iter().flat_map(|part| part.to_vec()).collect()));
    }
}

/// The queues from the lanes to the control loop.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) handshakes: Vec<HandshakeMessage>,
    pub(crate) parked: Vec<(PeerId, Box<[u8]>)>,
    pub(crate) unreachable: Vec<Vec<u8>>,
    pub(crate) attention: Vec<PeerId>,
    /// What was shown to who looks, the bytes aside.
    pub(crate) shown: Vec<(Way, Fate, Option<Ruling>)>,
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

    fn unreachable(&mut self, packet: &[u8]) {
        self.unreachable.push(packet.to_vec());
    }

    fn attention(&mut self, peer: PeerId) {
        assert!(!self.attention.contains(&peer), "queued at most once");
        self.attention.push(peer);
    }

    fn is_watched(&self) -> bool {
        true
    }

    fn show(&mut self, sighting: Sighting<'_>) {
        let Sighting {
            way, fate, ruling, ..
        } = sighting;
        self.shown.push((way, fate, ruling));
    }
}

/// A disk for one timestamp.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) mark: Option<Tai64n>,
    pub(crate) is_full: bool,
    pub(crate) writes: usize,
}

impl TimestampStore for Disk {
    fn persist(&mut self, mark: Tai64n) -> bool {
        self.writes += 1;
        if !self.is_full {
            self.mark = Some(mark);
        }
        !self.is_full
    }
}

/// Randomness that may be missing.
pub(crate) struct Chance {
    pub(crate) seeded: Seeded,
    pub(crate) is_ready: bool,
}

impl Entropy for Chance {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyNotReady> {
        if self.is_ready {
            self.seeded.fill(out)
        } else {
            Err(EntropyNotReady)
        }
    }
}

/// A gateway, its lanes and what is around them.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) fib: SharedFib,
    pub(crate) inbound: Inbound,
    pub(crate) lane: Arc<Counters>,
    pub(crate) chance: Chance,
    pub(crate) disk: Disk,
    pub(crate) outbox: Outbox,
    pub(crate) overlay: Written,
    pub(crate) mail: Mail,
    pub(crate) address: SocketAddr,
    /// Added to the wall clock, in seconds.
    pub(crate) wall_skew: i64,
    /// Handshake messages that wait besides those that are in the mail.
    pub(crate) backlog: usize,
    /// Calls of the gateway's timer.
    pub(crate) wakes: usize,
}

impl Site {
    pub(crate) fn new(key: PrivateKey, seed: u64, config: GatewayConfig) -> Self {
        let mark = config.timestamp_mark;
        let gateway = Gateway::new(GatewayConfig {
            private_key: key,
            ..config
        });
        Self {
            fib: Arc::clone(gateway.fib()),
            gateway,
            inbound: Inbound::new(MergeLimits {
                tcp: true,
                udp: true,
            }),
            lane: Arc::default(),
            chance: Chance {
                seeded: Seeded::danger_new(seed),
                is_ready: true,
            },
            disk: Disk {
                mark,
                ..Disk::default()
            },
            outbox: Outbox::default(),
            overlay: Written::default(),
            mail: Mail::default(),
            address: SocketAddr::from(([192, 0, 2, 1], 1000)),
            wall_skew: 0,
            backlog: 0,
            wakes: 0,
        }
    }

    /// Both clocks at `tick`.
    pub(crate) fn now(&self, tick: Tick) -> Now {
        let since_boot = Duration::from_nanos(tick.as_nanos());
        Now {
            tick,
            wall: WallTime {
                seconds: (EPOCH + since_boot.as_secs()).saturating_add_signed(self.wall_skew),
                nanos: since_boot.subsec_nanos(),
            },
        }
    }

    /// Calls the gateway as the control loop does.
    pub(crate) fn control<R>(
        &mut self,
        tick: Tick,
        act: impl FnOnce(&mut Gateway, &mut Env<'_>) -> R,
    ) -> R {
        let now = self.now(tick);
        let mut env = Env {
            now,
            underlay: &mut self.outbox,
            overlay: &mut self.overlay,
            entropy: &mut self.chance,
            store: &mut self.disk,
        };
        act(&mut self.gateway, &mut env)
    }

    /// The outbound lane reads `read`.
    pub(crate) fn read(&mut self, tick: Tick, read: Vec<u8>) -> Result<(), DropReason> {
        let mut results = self.read_all(tick, &[read]);
        results.pop().expect("one was read")
    }

    /// The outbound lane reads all of these in one turn.
    pub(crate) fn read_all(
        &mut self,
        tick: Tick,
        reads: &[Vec<u8>],
    ) -> Vec<Result<(), DropReason>> {
        let fib = self.fib.load_full();
        let (outbox, mail) = (&mut self.outbox, &mut self.mail);
        let mut outbound = Outbound::new(&fib, tick, &self.lane, outbox, mail);
        let results = reads.iter().map(|read| {
            let mut read = read.clone();
            let result = outbound.take(&mut read).map(drop);
            if let Err(reason) = result {
                outbound.note_dropped(&read, reason);
            }
            result
        });
        let results = results.collect();
        outbound.finish();
        results
    }

    /// The inbound lane receives `bytes`, datagrams of `stride` bytes.
    pub(crate) fn receive(
        &mut self,
        tick: Tick,
        from: SocketAddr,
        bytes: &mut [u8],
        stride: usize,
    ) {
        self.receive_apart(tick, from, bytes, stride, stride);
    }

    /// The inbound lane receives `bytes`, datagrams of `len` bytes, `stride` from one to the next.
    pub(crate) fn receive_apart(
        &mut self,
        tick: Tick,
        from: SocketAddr,
        bytes: &mut [u8],
        stride: usize,
        len: usize,
    ) {
        let received = Received {
            bytes,
            stride,
            len,
            tos: 0,
            from: self.seen(from),
        };
        self.take(tick, received);
    }

    /// The inbound lane receives one train with this DS field.
    pub(crate) fn receive_marked(
        &mut self,
        tick: Tick,
        from: SocketAddr,
        bytes: &mut [u8],
        stride: usize,
        tos: u8,
    ) {
        let received = Received {
            bytes,
            stride,
            len: stride,
            tos,
            from: self.seen(from),
        };
        self.take(tick, received);
    }

    /// What the socket says of a datagram from `from`.
    fn seen(&self, from: SocketAddr) -> Endpoint {
        Endpoint::new(from).with_source(Source {
            address: self.address.ip(),
            interface: 7,
        })
    }

    fn take(&mut self, tick: Tick, received: Received<'_>) {
        let fib = self.fib.load_full();
        let (overlay, mail) = (&mut self.overlay, &mut self.mail);
        self.inbound
            .receive(&fib, received, tick, &self.lane, overlay, mail);
    }

    /// The control loop takes its mail.
    pub(crate) fn deliver(&mut self, tick: Tick) {
        // Who looks keeps what it has seen.
        let shown = core::mem::take(&mut self.mail.shown);
        let mail = core::mem::replace(
            &mut self.mail,
            Mail {
                shown,
                ..Mail::default()
            },
        );
        let waiting = mail.handshakes.len() + self.backlog;
        self.control(tick, |gateway, env| {
            gateway.note_handshake_queue(waiting, env);
            for message in mail.handshakes {
                gateway.handle_handshake(&message, env);
            }
            for peer in mail.attention {
                gateway.attend(peer, env);
            }
            for (peer, read) in mail.parked {
                gateway.park(peer, read, env);
            }
            for packet in mail.unreachable {
                gateway.return_unreachable(&packet, env);
            }
        });
    }

    /// Packets that died of `reason`, in lanes and control loop.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.lane.dropped(reason) + self.gateway.counters().dropped(reason)
    }

    /// Every reason that has claimed a packet, with its number.
    pub(crate) fn drops(&self) -> Vec<(DropReason, u64)> {
        DropReason::ALL
            .iter()
            .map(|&reason| (reason, self.dropped(reason)))
            .filter(|&(_, count)| count != 0)
            .collect()
    }
}
