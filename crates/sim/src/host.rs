//! A machine with a gateway on it: the real one, its lanes, its clocks and its disk.

use core::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    time::Duration,
};
use std::{collections::BTreeMap, io::IoSlice, sync::Arc};

use weapon_core::{
    Counters, DropReason, Env, Gateway, GatewayConfig, HANDSHAKE_QUEUE_MAX, HandshakeMessage,
    Inbound, Now, Outbound, Overlay, PeerConfig, PeerId, Received, SharedFib, TimestampStore,
    Underlay, Upcalls, WallTime,
};
use weapon_noise::{Backend, Entropy, PresharedKey, PrivateKey, PublicKey, Seeded, Tai64n, Tick};
use weapon_wire::{Endpoint, Flow, MergeLimits, Source, VnetHeader};

use crate::site;

/// Bytes of the largest inner packet.
pub(crate) const MTU: usize = 1420;

/// Seconds on the wall clock when a world begins.
const EPOCH: u64 = 1_700_000_000;

/// Trains that wait in the socket of a gateway that does not run (a receive buffer of 212 KB).
const SOCKET_TRAINS_MAX: usize = 256;

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
    /// As long as the longest room so far. It is not zeroed between two, as a real buffer is not:
    /// who fills a room must fill all of it.
    buffer: Vec<u8>,
    /// What of the buffer is room now, and for whom.
    room: Range<usize>,
    to: Option<Endpoint>,
    pub(crate) sent: Vec<Sent>,
}

impl Underlay for Outbox {
    fn reserve(&mut self, to: &Endpoint, len: usize) {
        if self.buffer.len() < len {
            self.buffer.resize(len, 0xee);
        }
        self.room = 0..len;
        self.to = Some(*to);
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.room.clone()]
    }

    fn commit(&mut self, len: usize, tos: u8) {
        let Some(to) = self.to else {
            return;
        };
        let bytes = self.buffer[self.room.start..self.room.start + len].to_vec();
        self.room.start += len;
        self.sent.push(Sent { to, tos, bytes });
    }
}

/// What was written to the overlay.
#[derive(Debug, Default)]
pub(crate) struct Written(pub(crate) Vec<(VnetHeader, Vec<u8>)>);

impl Overlay for Written {
    fn write(&mut self, _: &Flow, vnet: &VnetHeader, parts: &[IoSlice<'_>]) {
        let packet = parts.iter().flat_map(|part| part.to_vec()).collect();
        self.0.push((*vnet, packet));
    }
}

/// The queues from the lanes to the control loop.
#[derive(Debug, Default)]
struct Mail {
    handshakes: Vec<HandshakeMessage>,
    parked: Vec<(PeerId, Box<[u8]>)>,
    unreachable: Vec<Vec<u8>>,
    attention: Vec<PeerId>,
}

impl Upcalls for Mail {
    fn handshake(&mut self, message: HandshakeMessage) -> bool {
        let has_room = self.handshakes.len() < HANDSHAKE_QUEUE_MAX;
        if has_room {
            self.handshakes.push(message);
        }
        has_room
    }

    fn park(&mut self, peer: PeerId, read: &[u8]) -> bool {
        self.parked.push((peer, read.into()));
        true
    }

    fn unreachable(&mut self, packet: &[u8]) {
        self.unreachable.push(packet.to_vec());
    }

    fn attention(&mut self, peer: PeerId) {
        self.attention.push(peer);
    }
}

/// A disk for one timestamp.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) mark: Option<Tai64n>,
    pub(crate) is_full: bool,
}

impl TimestampStore for Disk {
    fn persist(&mut self, mark: Tai64n) -> bool {
        if !self.is_full {
            self.mark = Some(mark);
        }
        !self.is_full
    }
}

/// Datagrams of one sender that the kernel hands over together: `stride` bytes each, the last one
/// perhaps shorter.
#[derive(Debug)]
pub(crate) struct Train {
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
    pub(crate) stride: usize,
}

/// What the machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The gateway runs.
    Running,
    /// There is no gateway.
    Killed,
    /// The machine sleeps: what comes for it is lost.
    Asleep,
    /// The gateway does not run (SIGSTOP), and its socket fills.
    Stopped,
}

/// What the configuration file says of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerPlan {
    pub(crate) public_key: PublicKey,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) keepalive_secs: u16,
}

/// A machine and its gateway.
#[derive(Debug)]
pub(crate) struct Host {
    number: usize,
    pub(crate) gateway: Gateway,
    fib: SharedFib,
    inbound: Inbound,
    lane: Arc<Counters>,
    chance: Chance,
    pub(crate) disk: Disk,
    pub(crate) outbox: Outbox,
    pub(crate) overlay: Written,
    mail: Mail,
    pub(crate) state: State,
    /// The configuration file.
    pub(crate) peers: BTreeMap<usize, PeerPlan>,
    /// When the machine was booted: its CLOCK_BOOTTIME is zero there.
    booted: Tick,
    /// Added to the wall clock, in seconds.
    pub(crate) wall_skew: i64,
    /// What waits in the socket.
    pub(crate) socket: Vec<Train>,
    /// The control loop is at work until then.
    pub(crate) busy_until: Tick,
    /// What killed gateways of this machine have dropped.
    drops_before: [u64; DropReason::COUNT],
}

#[derive(Debug)]
struct Chance(SeededBytes);

/// [`Seeded`] hides its state from `Debug`.
struct SeededBytes(Seeded);

impl core::fmt::Debug for SeededBytes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("seeded")
    }
}

/// The static key of a host. It has nothing to do with the world's seed, so that a key that makes
/// trouble does so in each world.
pub(crate) fn private_key(host: usize) -> PrivateKey {
    let mut bytes = [0; 32];
    let filled = Seeded::danger_new(0xabcd + host as u64).fill(&mut bytes);
    debug_assert!(filled.is_ok(), "a seeded source is always ready");
    PrivateKey::from_bytes(&bytes)
}

impl Host {
    /// A machine whose gateway runs, without peers.
    pub(crate) fn new(number: usize, seed: u64, booted: Tick, cipher: &'static Backend) -> Self {
        let gateway = Gateway::new(config(number, None, cipher));
        Self {
            number,
            fib: Arc::clone(gateway.fib()),
            gateway,
            inbound: Inbound::new(MergeLimits {
                tcp: true,
                udp: true,
            }),
            lane: Arc::default(),
            chance: Chance(SeededBytes(Seeded::danger_new(
                seed ^ ((number as u64) << 48),
            ))),
            disk: Disk::default(),
            outbox: Outbox::default(),
            overlay: Written::default(),
            mail: Mail::default(),
            state: State::Running,
            peers: BTreeMap::new(),
            booted,
            wall_skew: 0,
            socket: Vec::new(),
            busy_until: booted,
            drops_before: [0; DropReason::COUNT],
        }
    }

    /// What this gateway is told of `them`.
    fn peer_config(&self, them: usize, plan: &PeerPlan) -> PeerConfig {
        let pair = (self.number + them) as u8;
        let keepalive = Duration::from_secs(u64::from(plan.keepalive_secs));
        PeerConfig {
            name: format!("gateway-{them}"),
            public_key: plan.public_key,
            // Half of the pairs have one.
            preshared_key: (pair % 2 == 1).then(|| PresharedKey::from_bytes(&[pair; 32])),
            endpoint: plan.endpoint,
            endpoint_pinned: false,
            networks: site::networks(them),
            persistent_keepalive: (!keepalive.is_zero()).then_some(keepalive),
        }
    }

    /// The gateway reads its configuration and comes up.
    pub(crate) fn bring_up(&mut self, now: Tick) {
        let plans: Vec<_> = self
            .peers
            .iter()
            .map(|(&them, &plan)| (them, plan))
            .collect();
        let peers: Vec<_> = plans
            .iter()
            .map(|(them, plan)| self.peer_config(*them, plan))
            .collect();
        self.gateway.add_peers(peers);
        self.control(now, |gateway, env| gateway.up(env));
    }

    /// `them` is added to a gateway that runs.
    pub(crate) fn add_peer(&mut self, them: usize, plan: PeerPlan, now: Tick) {
        let config = self.peer_config(them, &plan);
        self.peers.insert(them, plan);
        self.control(now, |gateway, env| gateway.add_peer(config, env));
    }

    /// The gateway is gone, with all that it had in memory.
    pub(crate) fn kill(&mut self) {
        self.outbox = Outbox::default();
        self.overlay = Written::default();
        self.mail = Mail::default();
        self.socket.clear();
        for &reason in DropReason::ALL {
            self.drops_before[reason as usize] = self.dropped(reason);
        }
        self.lane = Arc::default();
        self.state = State::Killed;
    }

    /// A new gateway starts, with nothing but the configuration and the disk. After a boot the
    /// machine's clock begins anew too.
    pub(crate) fn start(&mut self, now: Tick, is_boot: bool, cipher: &'static Backend) {
        if is_boot {
            self.booted = now;
        }
        self.gateway = Gateway::new(config(self.number, self.disk.mark, cipher));
        self.fib = Arc::clone(self.gateway.fib());
        self.state = State::Running;
        self.busy_until = now;
        self.bring_up(now);
    }

    /// Both clocks of this machine at `now`, the world's time.
    pub(crate) fn clocks(&self, now: Tick) -> Now {
        let since_boot = now.since(self.booted);
        // A machine has been on for a moment when its gateway starts.
        let tick = Tick::default() + since_boot + Duration::from_secs(1);
        let since_start = Duration::from_nanos(now.as_nanos());
        Now {
            tick,
            wall: WallTime {
                seconds: (EPOCH + since_start.as_secs()).saturating_add_signed(self.wall_skew),
                nanos: since_start.subsec_nanos(),
            },
        }
    }

    /// The world's time of the gateway's next deadline.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        if self.state != State::Running {
            return None;
        }
        let (at, _) = self.gateway.poll_timeout()?;
        let since_boot = at.since(Tick::default() + Duration::from_secs(1));
        Some(self.booted + since_boot)
    }

    /// Calls the gateway as the control loop does.
    pub(crate) fn control<R>(
        &mut self,
        now: Tick,
        act: impl FnOnce(&mut Gateway, &mut Env<'_>) -> R,
    ) -> R {
        let mut env = Env {
            now: self.clocks(now),
            underlay: &mut self.outbox,
            overlay: &mut self.overlay,
            entropy: &mut self.chance.0.0,
            store: &mut self.disk,
        };
        act(&mut self.gateway, &mut env)
    }

    /// The outbound lane reads all of these in one turn.
    pub(crate) fn read(&mut self, now: Tick, reads: &[Vec<u8>]) {
        let fib = self.fib.load_full();
        let tick = self.clocks(now).tick;
        let (outbox, mail) = (&mut self.outbox, &mut self.mail);
        let mut outbound = Outbound::new(&fib, tick, &self.lane, outbox, mail);
        for read in reads {
            if let Err(reason) = outbound.send(read) {
                outbound.note_dropped(read, reason);
            }
        }
        outbound.finish();
    }

    /// The inbound lane receives a train, or it waits in the socket.
    pub(crate) fn receive(&mut self, now: Tick, train: Train, own: IpAddr) {
        match self.state {
            State::Running => {}
            State::Killed | State::Asleep => return,
            State::Stopped => {
                if self.socket.len() < SOCKET_TRAINS_MAX {
                    self.socket.push(train);
                }
                return;
            }
        }
        let fib = self.fib.load_full();
        let Train {
            from,
            mut bytes,
            stride,
        } = train;
        let source = Source {
            address: own,
            interface: 2,
        };
        let received = Received {
            bytes: &mut bytes,
            stride,
            len: stride,
            from: Endpoint::new(from).with_source(source),
            // Nobody on these lines marks packets.
            tos: 0,
        };
        let tick = self.clocks(now).tick;
        let (overlay, mail) = (&mut self.overlay, &mut self.mail);
        self.inbound
            .receive(&fib, received, tick, &self.lane, overlay, mail);
    }

    /// Whether the lanes have left something for the control loop.
    pub(crate) fn has_mail(&self) -> bool {
        let mail = &self.mail;
        !(mail.handshakes.is_empty()
            && mail.parked.is_empty()
            && mail.unreachable.is_empty()
            && mail.attention.is_empty())
    }

    /// The control loop takes its mail. Returns how many handshake messages there were.
    pub(crate) fn take_mail(&mut self, now: Tick) -> usize {
        let mail = core::mem::take(&mut self.mail);
        let waiting = mail.handshakes.len();
        self.control(now, |gateway, env| {
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
        waiting
    }

    /// The peer that is `them`, if the gateway has it.
    pub(crate) fn peer_id(&self, them: usize) -> Option<PeerId> {
        self.gateway.peer_by_key(&self.peers.get(&them)?.public_key)
    }

    /// Whether one packet waits for a session with `them`.
    pub(crate) fn has_parked_one(&self, them: usize, now: Tick) -> bool {
        let Some(plan) = self.peers.get(&them) else {
            return false;
        };
        let status = self.gateway.status(self.clocks(now).tick);
        let mut peers = status.peers.iter();
        peers.any(|peer| peer.public_key == plan.public_key && peer.parked == 1)
    }

    /// Packets that died of `reason`, since the world began.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.drops_before[reason as usize]
            + self.lane.dropped(reason)
            + match self.state {
                State::Killed => 0,
                _ => self.gateway.counters().dropped(reason),
            }
    }
}

fn config(host: usize, mark: Option<Tai64n>, cipher: &'static Backend) -> GatewayConfig {
    GatewayConfig {
        private_key: private_key(host),
        mtu: MTU,
        addresses: vec![site::v4(host, 1), site::v6(host, 1)],
        mappings: Vec::new(),
        policy: None,
        timestamp_mark: mark,
        cipher,
    }
}
