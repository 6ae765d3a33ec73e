//! Steps happen to a world.

use core::time::Duration;

use crate::{
    history::Event as Noted,
    host::{PeerPlan, State},
    packet::{self, PAYLOAD_LEN_MIN, Shape},
    sabotage::Sabotage,
    site,
    step::Step,
    world::{Event, Talk, World},
};

/// Bytes of payload in the longest inner packet: an MTU of 1420 less 60 for IPv6 and TCP.
const PAYLOAD_LEN_MAX: usize = 1360;

/// Segments of a superpacket: 64 KB of the longest.
const SEGMENTS_MAX: usize = 45;

/// Bytes of payload of a packet in a series.
const TALK_LEN: usize = 64;

/// The wall clock of a machine that boots without a battery, in seconds before it was right.
const SINCE_1970: i64 = 1_700_000_000;

/// Packets that a site offers its gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// The site that they pretend to come from.
    pub(crate) as_of: usize,
    pub(crate) count: usize,
    pub(crate) len: usize,
    pub(crate) is_v6: bool,
    pub(crate) is_tcp: bool,
    /// One superpacket.
    pub(crate) is_super: bool,
}

impl Offer {
    /// One small packet.
    pub(crate) fn single(from: usize, to: usize) -> Self {
        Self {
            from,
            to,
            as_of: from,
            count: 1,
            len: TALK_LEN,
            is_v6: false,
            is_tcp: false,
            is_super: false,
        }
    }
}

impl World {
    /// `step` happens now.
    pub fn happens(&mut self, step: Step) {
        self.note(Noted::Step(step));
        match step {
            Step::Send { .. } | Step::SendSuper { .. } | Step::Talk { .. } | Step::Spoof { .. } => {
                self.traffic(step);
            }
            Step::Line { host, line } => {
                self.causes.corruption |= line.corrupt != 0;
                self.causes.repetition |= line.duplicate != 0;
                self.network.set_line(host, line);
            }
            Step::Cut { one, other } => self.network.set_cut(one, other, true),
            Step::Mend { one, other } => self.network.set_cut(one, other, false),
            Step::Roam { host } => {
                self.network.roam(host);
                // The daemon sees the address go, and the kernel refuses to send from it (P80).
                self.hosts[host].gateway.clear_sources();
            }
            Step::RebootNat { host } => self.network.reboot_nat(host),
            Step::Replay { host, count } => {
                self.causes.repetition = true;
                for datagram in self.network.replay(host, usize::from(count)) {
                    self.schedule(self.now, Event::Arrive(datagram));
                }
            }
            Step::RemovePeer { host, peer } => self.remove_peer(host, peer),
            Step::AddPeer { host, peer } => self.add_peer(host, peer),
            Step::KeepAlive {
                host,
                peer,
                seconds,
            } => self.keep_alive(host, peer, seconds),
            Step::DownUp { host } => {
                self.watch.forget(host, None);
                self.if_running(host, |world| {
                    world.hosts[host].control(world.now, |gateway, env| {
                        gateway.down(env);
                        gateway.up(env);
                    });
                });
            }
            _ => self.machine(step),
        }
    }

    fn machine(&mut self, step: Step) {
        match step {
            Step::Restart { host, down_ms } => self.kill(host, down_ms, false),
            Step::Boot { host, down_ms } => {
                self.hosts[host].wall_skew = -SINCE_1970;
                self.kill(host, down_ms, true);
            }
            Step::StepClock { host, seconds } => self.hosts[host].wall_skew += seconds,
            Step::Suspend { host, ms } => self.pause(host, State::Asleep, ms),
            Step::Stop { host, ms } => self.pause(host, State::Stopped, ms),
            Step::FillDisk { host } => self.hosts[host].disk.is_full = true,
            Step::ClearDisk { host } => self.hosts[host].disk.is_full = false,
            _ => {}
        }
    }

    fn traffic(&mut self, step: Step) {
        match step {
            Step::Send {
                from,
                to,
                count,
                len,
                is_v6,
            } => self.offer(Offer {
                count: usize::from(count),
                len: usize::from(len),
                is_v6,
                ..Offer::single(from, to)
            }),
            Step::SendSuper {
                from,
                to,
                count,
                len,
                is_tcp,
            } => self.offer(Offer {
                count: usize::from(count).clamp(2, SEGMENTS_MAX),
                len: usize::from(len),
                is_tcp,
                is_super: true,
                ..Offer::single(from, to)
            }),
            Step::Talk {
                from,
                to,
                every_ms,
                count,
            } => self.talk(Talk {
                from,
                to,
                every: Duration::from_millis(u64::from(every_ms)),
                left: count,
            }),
            Step::Spoof { from, to, as_of } => {
                self.causes.foreign_source = true;
                self.offer(Offer {
                    as_of,
                    ..Offer::single(from, to)
                });
            }
            _ => {}
        }
    }

    /// The next packet of a series.
    pub(crate) fn talk(&mut self, talk: Talk) {
        let Some(left) = talk.left.checked_sub(1) else {
            return;
        };
        self.offer(Offer::single(talk.from, talk.to));
        self.schedule(self.now + talk.every, Event::Talk(Talk { left, ..talk }));
    }

    /// A site offers packets to its gateway. One that does not run does not get them.
    pub(crate) fn offer(&mut self, offer: Offer) {
        let Offer { from, to, .. } = offer;
        if self.hosts[from].state != State::Running {
            return;
        }
        let address = if offer.is_v6 { site::v6 } else { site::v4 };
        let (source, destination) = (address(offer.as_of, 5), address(to, 6));
        let len = offer.len.clamp(PAYLOAD_LEN_MIN, PAYLOAD_LEN_MAX);
        let mut parcel = || {
            let number = self.model.offer(from, source, destination, len, self.now);
            (number, len)
        };
        let parcels: Vec<_> = (0..offer.count).map(|_| parcel()).collect();
        let per_packet = if offer.is_super { offer.count } else { 1 };
        let reads: Vec<_> = parcels
            .chunks(per_packet.max(1))
            .map(|parcels| {
                packet::build(&Shape {
                    source,
                    destination,
                    is_tcp: offer.is_tcp,
                    sequence: self.model.sequence(from, to, len * parcels.len()),
                    parcels,
                })
            })
            .collect();
        self.note(Noted::Offered {
            from,
            to,
            count: offer.count,
        });
        self.hosts[from].read(self.now, &reads);
        self.settle(from);
        if offer.count > 1 {
            self.check_parked(from);
        }
    }

    fn kill(&mut self, host: usize, down_ms: u32, is_boot: bool) {
        if self.hosts[host].state == State::Killed {
            return;
        }
        self.hosts[host].kill();
        self.settle(host);
        self.watch.forget(host, None);
        if self.is_sabotaged(host, Sabotage::ForgetMark) {
            self.hosts[host].disk.mark = None;
        }
        let at = self.now + Duration::from_millis(u64::from(down_ms));
        self.schedule(at, Event::Start { host, is_boot });
    }

    fn pause(&mut self, host: usize, state: State, ms: u32) {
        if self.hosts[host].state != State::Running {
            return;
        }
        self.hosts[host].state = state;
        self.settle(host);
        let at = self.now + Duration::from_millis(u64::from(ms));
        self.schedule(at, Event::Continue { host });
    }

    fn remove_peer(&mut self, host: usize, peer: usize) {
        // Its networks are nobody's from here on.
        self.causes.foreign_source = true;
        self.model.remove_peer(host, peer);
        self.watch.forget(host, Some(peer));
        let id = self.hosts[host].peer_id(peer);
        if self.is_sabotaged(host, Sabotage::KeepRemovedPeer) {
            return;
        }
        self.hosts[host].peers.remove(&peer);
        self.if_running(host, |world| {
            let Some(id) = id else {
                return;
            };
            world.hosts[host].control(world.now, |gateway, env| gateway.remove_peer(id, env));
        });
    }

    fn add_peer(&mut self, host: usize, peer: usize) {
        if self.hosts[host].peers.contains_key(&peer) {
            return;
        }
        let plan = self.plan(peer);
        self.model.add_peer(host, peer);
        self.hosts[host].peers.insert(peer, plan);
        self.if_running(host, |world| {
            world.hosts[host].add_peer(peer, plan, world.now)
        });
    }

    /// What a configuration says of `peer`: where it was at the start.
    pub(crate) fn plan(&self, peer: usize) -> PeerPlan {
        PeerPlan {
            public_key: self.public_keys[peer],
            endpoint: self.first_endpoints[peer],
            keepalive_secs: 0,
        }
    }

    fn keep_alive(&mut self, host: usize, peer: usize, seconds: u16) {
        let Some(plan) = self.hosts[host].peers.get_mut(&peer) else {
            return;
        };
        plan.keepalive_secs = seconds;
        let interval = Duration::from_secs(u64::from(seconds));
        self.if_running(host, |world| {
            let Some(id) = world.hosts[host].peer_id(peer) else {
                return;
            };
            world.hosts[host].control(world.now, |gateway, env| {
                gateway.set_persistent_keepalive(id, Some(interval), env);
            });
        });
    }

    /// Does something with a gateway, if there is one: else its configuration is all that changed.
    fn if_running(&mut self, host: usize, act: impl FnOnce(&mut Self)) {
        if self.hosts[host].state == State::Killed {
            return;
        }
        act(self);
        self.settle(host);
    }

    /// All faults end: lines are good, machines are on, gateways run, disks have room. Who is where
    /// and whose peer stays as it is.
    pub fn heal(&mut self) {
        self.note(Noted::Healed);
        self.network.heal();
        for host in 0..self.hosts.len() {
            self.hosts[host].disk.is_full = false;
            self.start(host, false);
            self.go_on(host);
        }
    }

    /// Whether any gateway keeps another alive.
    pub(crate) fn has_keepalives(&self) -> bool {
        let mut plans = self.hosts.iter().flat_map(|host| host.peers.values());
        plans.any(|plan| plan.keepalive_secs != 0)
    }
}
