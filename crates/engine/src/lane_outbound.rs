//! The outbound lane: reads the overlay and runs each superpacket to completion.
//! HOT

use std::sync::{Arc, atomic::Ordering::Relaxed};

use weapon_core::{Counters, SharedFib, outbound};
use weapon_io::{
    poll::{Epoll, EventFd, Events, Interest},
    tun::{Device, READ_BYTES},
    udp::{Sender, Socket},
};

use crate::{
    engine::{Shared, Totals},
    mailbox::Mailbox,
    socket_cell::SocketHold,
    surroundings::tick,
    ways::{Outcome, ToUnderlay, flush, outcome},
};

/// Superpackets that are read before the batch is sent. A batch also ends when there is nothing to
/// read: no packet ever waits for another.
const QUANTUM: usize = 8;

const OVERLAY: u64 = 0;
const WAKE: u64 = 1;

/// What the outbound lane owns.
pub(crate) struct LaneOutbound<D, S> {
    device: Arc<D>,
    fib: SharedFib,
    counters: Arc<Counters>,
    totals: Arc<Totals>,
    mailbox: Arc<Mailbox>,
    wake: Arc<EventFd>,
    socket: SocketHold<S>,
    sender: Sender,
    buffer: Box<[u8]>,
}

impl<D: Device, S: Socket> LaneOutbound<D, S> {
    pub(crate) fn new(shared: &Shared<D, S>, counters: Arc<Counters>, wake: Arc<EventFd>) -> Self {
        Self {
            device: Arc::clone(&shared.device),
            fib: Arc::clone(&shared.fib),
            counters,
            totals: Arc::clone(&shared.totals),
            mailbox: Arc::clone(&shared.mailbox),
            wake,
            socket: SocketHold::new(Arc::clone(&shared.socket)),
            sender: Sender::new(),
            buffer: std::iter::repeat_n(0, READ_BYTES).collect(),
        }
    }

    /// Runs until the engine stops or the device is gone; says whether it is gone.
    pub(crate) fn run(mut self, epoll: &Epoll) -> std::io::Result<bool> {
        epoll.add(&*self.device, OVERLAY, Interest::Readable)?;
        epoll.add(&*self.wake, WAKE, Interest::Readable)?;
        let mut events = Events::with_capacity(2);
        loop {
            epoll.wait(&mut events, None)?;
            for event in events.iter() {
                if event.token == WAKE {
                    self.wake.drain();
                    if self.totals.stopping.load(Relaxed) {
                        return Ok(false);
                    }
                }
            }
            self.socket.refresh();
            if self.batch() {
                return Ok(true);
            }
        }
    }

    /// Reads up to a quantum and sends it. True if the device is gone.
    fn batch(&mut self) -> bool {
        let Some(socket) = self.socket.socket() else {
            return matches!(outcome(self.device.read(&mut self.buffer)), Outcome::Gone);
        };
        let socket = &**socket;
        let fib = self.fib.load();
        let now = tick();
        let mut gone = false;
        let mut superpackets = 0;
        for _ in 0..QUANTUM {
            let len = match outcome(self.device.read(&mut self.buffer)) {
                Outcome::Some(len) => len,
                Outcome::Empty => break,
                Outcome::Gone => {
                    gone = true;
                    break;
                }
            };
            superpackets += 1;
            let mut underlay = ToUnderlay::new(&mut self.sender, socket);
            let mut upcalls = &*self.mailbox;
            let read = &mut self.buffer[..len];
            if let Err(reason) =
                outbound(&fib, read, now, &self.counters, &mut underlay, &mut upcalls)
            {
                self.counters.count(reason);
            }
        }
        self.counters
            .outbound_superpackets
            .fetch_add(superpackets, Relaxed);
        self.totals.note_sent(flush(&mut self.sender, socket, &fib));
        gone
    }
}
