//! A lane: one thread that serves some queues of the overlay and one pair of underlay sockets.
//! HOT
//!
//! Both directions share the thread because what comes in is mostly answered at once: while the
//! kernel takes an inbound packet from us, the answer is put into one of our queues, and is read
//! without that anybody had to be woken (`docs/decisions/0006-lanes-go-both-ways.md`).
//!
//! All files that are ready are served in turn, each up to its quantum: a short queue does not wait
//! for a long one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use weapon_io::{
    poll::{Epoll, EventFd, Events, Interest},
    tun::Device,
    udp::{Family, Socket},
};

use crate::{
    lane_inbound::LaneInbound, lane_outbound::LaneOutbound, pulse::Pulse, socket_cell::SocketHold,
    surroundings::tick,
};

/// Tokens: queues of the overlay from 0 up, and these.
const WAKE: u64 = 1 << 32;
const UNDERLAY: u64 = 1 << 33;

/// What a lane owns.
pub(crate) struct Lane<D, S> {
    pub(crate) device: Arc<D>,
    /// The queues that it reads.
    pub(crate) queues: std::ops::Range<usize>,
    pub(crate) socket: SocketHold<S>,
    pub(crate) outbound: LaneOutbound<D>,
    pub(crate) inbound: LaneInbound<D>,
    pub(crate) wake: Arc<EventFd>,
    pub(crate) pulse: Arc<Pulse>,
    /// Counted from 0.
    pub(crate) number: usize,
    pub(crate) stopping: Arc<AtomicBool>,
}

impl<D: Device, S: Socket> Lane<D, S> {
    /// Runs until the engine stops or the device is gone; says whether it is gone.
    pub(crate) fn run(mut self, epoll: &Epoll) -> std::io::Result<bool> {
        epoll.add(&*self.wake, WAKE, Interest::Readable)?;
        for queue in self.queues.start..self.queues.end {
            epoll.add(self.device.queue(queue), queue as u64, Interest::Readable)?;
        }
        let mut events = Events::with_capacity(self.queues.len() + Family::ALL.len() + 1);
        self.socket.refresh_in(epoll, UNDERLAY)?;
        loop {
            epoll.wait(&mut events, None)?;
            // Before we look for what it was about: a wake-up that comes after the look must stay
            // for the next turn.
            if events.iter().any(|event| event.token == WAKE) {
                self.wake.drain();
                if self.stopping.load(Relaxed) {
                    return Ok(false);
                }
                self.pulse.answer(Pulse::CONTROL + 1 + self.number);
            }
            // Also when it is a packet that has woken us, and the wake-up is still to come.
            self.socket.refresh_in(epoll, UNDERLAY)?;
            let now = tick();
            for event in events.iter() {
                let is_gone = match event.token {
                    WAKE => false,
                    token if token >= UNDERLAY => {
                        let family = Family::ALL[(token - UNDERLAY) as usize];
                        let Some(socket) = self.socket.socket() else {
                            continue;
                        };
                        self.inbound.batch(socket, family, now)?.is_gone
                    }
                    queue => self
                        .outbound
                        .batch(queue as usize, self.socket.socket(), now),
                };
                if is_gone {
                    return Ok(true);
                }
            }
        }
    }
}
