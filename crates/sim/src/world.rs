//! A world: gateways, the network between them, and an event queue in virtual time.

use core::{net::SocketAddr, time::Duration};
use std::collections::{BTreeMap, BTreeSet};

use weapon_noise::{Backend, PublicKey, Tick, protocol::STAGED_PACKETS_MAX};

use crate::{
    history::{Event as Noted, History},
    host::{Host, PeerPlan, State, Train, private_key},
    model::Model,
    network::{Datagram, Network},
    sabotage::Sabotage,
    story::Story,
    violation::Violation,
    watch::{Watch, Wire},
};

/// What is to happen by itself.
#[derive(Debug)]
pub(crate) enum Event {
    /// A datagram arrives.
    Arrive(Datagram),
    /// A site sends the next packet of a series.
    Talk(Talk),
    /// A gateway that was killed starts.
    Start { host: usize, is_boot: bool },
    /// A machine wakes up, or its gateway goes on.
    Continue { host: usize },
    /// The control loop has time for its mail.
    Mail { host: usize },
}

/// A series of packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) every: Duration,
    pub(crate) left: u16,
}

/// What explains drops that have no cause in a quiet world.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Causes {
    pub(crate) corruption: bool,
    pub(crate) repetition: bool,
    pub(crate) foreign_source: bool,
}

/// Gateways and everything around them.
#[derive(Debug)]
pub struct World {
    pub(crate) now: Tick,
    start: Tick,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) model: Model,
    pub(crate) watch: Watch,
    pub(crate) causes: Causes,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) cipher: &'static Backend,
    pub(crate) public_keys: Vec<PublicKey>,
    /// What configurations say of where each gateway is.
    pub(crate) first_endpoints: Vec<Option<SocketAddr>>,
    history: History,
    violation: Option<Violation>,
    events: BTreeMap<(Tick, u64), Event>,
    sequence: u64,
    /// Each gateway's next deadline, by time and by gateway.
    due: BTreeSet<(Tick, usize)>,
    deadlines: Vec<Option<Tick>>,
    /// How long a control loop works on a handshake message.
    handshake_cost: Duration,
}

/// Segments of a train at most, as the kernel's GRO makes them.
const TRAIN_MAX: usize = 64;

/// The time when a world begins. Not zero, as no machine's is.
const BEGINNING: Duration = Duration::from_secs(1000);

impl World {
    /// The gateways of `story`, each with all others as peers, all up. Its steps do not happen by
    /// themselves: see [`crate::run`].
    pub fn new(story: &Story, cipher: &'static Backend) -> Self {
        let count = story.places.len();
        let pairs = (0..count).flat_map(|one| (0..count).map(move |other| (one, other)));
        Self::with_peers(story, cipher, pairs)
    }

    /// The gateways of `story`, of whom each first one of a pair has the second as a peer.
    pub fn with_peers(
        story: &Story,
        cipher: &'static Backend,
        pairs: impl IntoIterator<Item = (usize, usize)>,
    ) -> Self {
        let now = Tick::default() + BEGINNING;
        let count = story.places.len();
        let host = |number| Host::new(number, story.seed, now, cipher);
        let mut world = Self {
            now,
            start: now,
            hosts: (0..count).map(host).collect(),
            network: Network::new(story.seed, &story.places),
            model: Model::default(),
            watch: Watch::new(count),
            causes: Causes::default(),
            sabotage: None,
            cipher,
            public_keys: (0..count).map(|host| private_key(host).public()).collect(),
            first_endpoints: Vec::new(),
            history: History::default(),
            violation: None,
            events: BTreeMap::new(),
            sequence: 0,
            due: BTreeSet::new(),
            deadlines: vec![None; count],
            handshake_cost: Duration::ZERO,
        };
        let is_known = |host: usize| {
            let place = story.places[host];
            place.nat.is_none() || place.is_announced
        };
        world.first_endpoints = (0..count)
            .map(|host| is_known(host).then(|| world.network.outer_address(host)))
            .collect();
        for (us, them) in pairs.into_iter().filter(|(us, them)| us != them) {
            let plan = PeerPlan {
                keepalive_secs: story.places[us].keepalive_secs,
                ..world.plan(them)
            };
            world.hosts[us].peers.insert(them, plan);
            world.model.add_peer(us, them);
        }
        for us in 0..count {
            world.hosts[us].bring_up(now);
            world.settle(us);
        }
        world
    }

    /// Gateway 1 does this wrong from here on.
    pub fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = Some(sabotage);
        let host = &mut self.hosts[Sabotage::HOST];
        if sabotage == Sabotage::OpenSourceCheck
            && let Some(id) = host.peer_id(0)
        {
            for network in crate::site::networks(2) {
                host.gateway.add_network(id, network);
            }
        }
    }

    /// From here on a control loop works so long on each handshake message, while others wait.
    pub fn set_handshake_cost(&mut self, cost: Duration) {
        self.handshake_cost = cost;
    }

    /// The first rule that was broken.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// The last events, a line each.
    pub fn history(&self) -> Vec<String> {
        self.history.lines(self.start)
    }

    /// Fails the test if a rule was broken, and tells what happened.
    ///
    /// # Panics
    /// Then.
    #[track_caller]
    pub fn assert_well(&self) {
        if let Some(violation) = &self.violation {
            panic!("{violation}\n{}", self.history().join("\n"));
        }
    }

    /// Time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.now.since(self.start)
    }

    /// Messages that gateway `host` has sent.
    pub fn sent(&self, host: usize, wire: Wire) -> usize {
        self.watch.count(host, wire)
    }

    /// How many of the packets that were offered in the last `duration` at site `from` for site
    /// `to` have come out, and how many there were.
    pub fn delivered(&self, from: usize, to: usize, duration: Duration) -> (usize, usize) {
        let since = Tick::from_nanos(self.now.as_nanos() - duration.as_nanos() as u64);
        self.model.delivered(from, to, since, self.now)
    }

    /// Breaks `violation`, if none was before.
    pub(crate) fn fail(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn note(&mut self, event: Noted) {
        self.history.note(self.now, event);
    }

    /// Lets `duration` pass, or less if a rule is broken.
    pub fn drive(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.violation.is_none() {
            let event = self.events.first_key_value().map(|(&(at, _), _)| at);
            let due = self.due.first().map(|&(at, _)| at);
            let Some(next) = event.into_iter().chain(due).min() else {
                break;
            };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if event == Some(next) {
                self.happen();
            } else {
                self.keep_deadline();
            }
        }
        if self.violation.is_none() {
            self.now = end;
        }
    }

    pub(crate) fn schedule(&mut self, at: Tick, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn happen(&mut self) {
        let Some((_, event)) = self.events.pop_first() else {
            return;
        };
        match event {
            Event::Arrive(datagram) => self.arrive(datagram),
            Event::Talk(talk) => self.talk(talk),
            Event::Start { host, is_boot } => self.start(host, is_boot),
            Event::Continue { host } => self.go_on(host),
            Event::Mail { host } => self.settle(host),
        }
    }

    /// A datagram arrives, and with it those of its sender that arrive at this moment too and are
    /// as long.
    fn arrive(&mut self, first: Datagram) {
        let Some(host) = self.network.arrive(&first, self.now) else {
            return;
        };
        let mut train = Train {
            from: first.from,
            stride: first.bytes.len(),
            bytes: first.bytes,
        };
        while let Some(entry) = self.events.first_entry() {
            let Event::Arrive(next) = entry.get() else {
                break;
            };
            let belongs = entry.key().0 <= self.now
                && (next.from, next.to) == (first.from, first.to)
                && train.bytes.len().is_multiple_of(train.stride)
                && next.bytes.len() <= train.stride
                && train.bytes.len() < train.stride * TRAIN_MAX;
            if !belongs {
                break;
            }
            let Event::Arrive(next) = entry.remove() else {
                break;
            };
            if self.network.arrive(&next, self.now).is_some() {
                train.bytes.extend_from_slice(&next.bytes);
            }
        }
        self.note(Noted::Arrived {
            host,
            len: train.bytes.len(),
            stride: train.stride,
        });
        self.receive(host, train);
    }

    fn receive(&mut self, host: usize, train: Train) {
        let own = self.network.own_address(host);
        self.hosts[host].receive(self.now, train, own);
        self.settle(host);
    }

    pub(crate) fn start(&mut self, host: usize, is_boot: bool) {
        if self.hosts[host].state != State::Killed {
            return;
        }
        self.note(Noted::Started { host });
        self.hosts[host].start(self.now, is_boot, self.cipher);
        self.settle(host);
    }

    /// A gateway that slept or was stopped goes on, with what is in its socket.
    pub(crate) fn go_on(&mut self, host: usize) {
        if !matches!(self.hosts[host].state, State::Asleep | State::Stopped) {
            return;
        }
        self.note(Noted::Started { host });
        self.hosts[host].state = State::Running;
        for train in core::mem::take(&mut self.hosts[host].socket) {
            self.receive(host, train);
        }
        self.settle(host);
    }

    fn keep_deadline(&mut self) {
        let Some((_, host)) = self.due.pop_first() else {
            return;
        };
        self.deadlines[host] = None;
        if self.is_sabotaged(host, Sabotage::LoseDeadlines) {
            return;
        }
        let reason = self.hosts[host].gateway.poll_timeout();
        let reason = reason.map_or("", |(_, reason)| reason);
        self.note(Noted::Deadline { host, reason });
        self.hosts[host].control(self.now, |gateway, env| gateway.handle_timeout(env));
        let next = self.hosts[host].gateway.poll_timeout();
        if let Some((at, reason)) = next
            && at <= self.hosts[host].clocks(self.now).tick
        {
            self.fail(Violation::DeadlineNotMoved { host, reason });
        }
        self.settle(host);
    }

    /// Does what comes of a call of `host`: mail, datagrams, packets, and the next deadline.
    pub(crate) fn settle(&mut self, host: usize) {
        if self.hosts[host].state == State::Running && self.hosts[host].has_mail() {
            self.take_mail(host);
        }
        self.flush(host);
        self.hand_over(host);
        let deadline = self.hosts[host].deadline();
        if deadline != self.deadlines[host] {
            if let Some(at) = self.deadlines[host] {
                self.due.remove(&(at, host));
            }
            self.due.extend(deadline.map(|at| (at, host)));
            self.deadlines[host] = deadline;
        }
    }

    fn take_mail(&mut self, host: usize) {
        let busy_until = self.hosts[host].busy_until;
        if busy_until > self.now {
            let is_first = !self
                .events
                .range((busy_until, 0)..=(busy_until, u64::MAX))
                .any(|(_, event)| matches!(event, Event::Mail { host: other } if *other == host));
            if is_first {
                self.schedule(busy_until, Event::Mail { host });
            }
            return;
        }
        let handshakes = self.hosts[host].take_mail(self.now) as u32;
        self.hosts[host].busy_until = self.now + self.handshake_cost * handshakes;
    }

    /// The network gets what `host` sends.
    fn flush(&mut self, host: usize) {
        for mut sent in core::mem::take(&mut self.hosts[host].outbox.sent) {
            if self.is_sabotaged(host, Sabotage::LeakPayload) && sent.bytes[0] == 4 {
                sent.bytes.extend_from_slice(&crate::packet::MARKER);
            }
            let copies = match (sent.bytes[0], self.sabotage) {
                (2, Some(Sabotage::NeverAnswer)) => 0,
                (4, Some(Sabotage::ReuseCounter)) | (1, Some(Sabotage::InitiateTwice)) => 2,
                _ => 1,
            };
            let copies = if host == Sabotage::HOST { copies } else { 1 };
            for _ in 0..copies {
                self.put_on_wire(host, &sent);
            }
        }
    }

    fn put_on_wire(&mut self, host: usize, sent: &crate::host::Sent) {
        let to = sent.to.remote;
        let far = self.network.host_at(to.ip());
        let look = self.watch.look(host, sent, far, self.now);
        let flights = self.network.send(host, to, sent.bytes.clone(), self.now);
        match look {
            Ok(wire) => self.note(Noted::Sent {
                host,
                wire,
                far,
                len: sent.bytes.len(),
                is_lost: flights.is_empty(),
            }),
            Err(violation) => self.fail(violation),
        }
        for (at, datagram) in flights {
            self.schedule(at, Event::Arrive(datagram));
        }
    }

    /// The model gets what came out at `host`.
    fn hand_over(&mut self, host: usize) {
        for (vnet, mut packet) in core::mem::take(&mut self.hosts[host].overlay.0) {
            if self.is_sabotaged(host, Sabotage::AlterInner)
                && let Some(last) = packet.last_mut()
            {
                *last ^= 1;
            }
            let mut sites = vec![host];
            if self.is_sabotaged(host, Sabotage::DeliverTwice) {
                sites.push(host);
            }
            if self.is_sabotaged(host, Sabotage::WrongSite) {
                sites.push(0);
            }
            for site in sites {
                match self.model.deliver(site, &vnet, &packet) {
                    Ok(count) => self.note(Noted::Delivered { host: site, count }),
                    Err(violation) => self.fail(violation),
                }
            }
        }
    }

    pub(crate) fn is_sabotaged(&self, host: usize, sabotage: Sabotage) -> bool {
        host == Sabotage::HOST && self.sabotage == Some(sabotage)
    }

    /// No gateway parks more than it may (P34).
    pub(crate) fn check_parked(&mut self, host: usize) {
        let status = self.hosts[host].gateway.status(self.now);
        let most = status.peers.iter().map(|peer| peer.parked).max();
        if let Some(parked) = most.filter(|&parked| parked > STAGED_PACKETS_MAX) {
            self.fail(Violation::ParkedTooMany { host, parked });
        }
    }
}
