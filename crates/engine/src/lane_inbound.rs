//! The inbound lane: receives from the underlay and runs each batch to completion.
//! HOT

use std::sync::{Arc, atomic::Ordering::Relaxed};

use weapon_core::{Counters, Inbound, Received, SharedFib};
use weapon_io::{
    poll::{Epoll, EventFd, Events, Interest},
    tun::Device,
    udp::{Family, Receiver, Socket},
};
use weapon_wire::MergeLimits;

use crate::{
    engine::{Shared, Totals},
    mailbox::Mailbox,
    socket_cell::SocketHold,
    surroundings::tick,
    ways::ToOverlay,
};

/// Trains that one receive call takes.
const TRAINS: usize = 8;

/// Receive calls before the other family and the wake-up have their turn.
const QUANTUM: usize = 4;

const WAKE: u64 = 2;

/// What the inbound lane owns.
pub(crate) struct LaneInbound<D, S> {
    device: Arc<D>,
    fib: SharedFib,
    counters: Arc<Counters>,
    totals: Arc<Totals>,
    mailbox: Arc<Mailbox>,
    wake: Arc<EventFd>,
    socket: SocketHold<S>,
    receiver: Receiver,
    inbound: Inbound,
}

impl<D: Device, S: Socket> LaneInbound<D, S> {
    pub(crate) fn new(shared: &Shared<D, S>, counters: Arc<Counters>, wake: Arc<EventFd>) -> Self {
        Self {
            device: Arc::clone(&shared.device),
            fib: Arc::clone(&shared.fib),
            counters,
            totals: Arc::clone(&shared.totals),
            mailbox: Arc::clone(&shared.mailbox),
            wake,
            socket: SocketHold::new(Arc::clone(&shared.socket)),
            receiver: Receiver::new(TRAINS),
            inbound: Inbound::new(limits(&*shared.device)),
        }
    }

    /// Runs until the engine stops or the device is gone; says whether it is gone.
    pub(crate) fn run(mut self, epoll: &Epoll) -> std::io::Result<bool> {
        epoll.add(&*self.wake, WAKE, Interest::Readable)?;
        let mut events = Events::with_capacity(3);
        loop {
            self.refresh_socket(epoll)?;
            epoll.wait(&mut events, None)?;
            for event in events.iter() {
                if event.token == WAKE {
                    self.wake.drain();
                    if self.totals.stopping.load(Relaxed) {
                        return Ok(false);
                    }
                } else if self.batch(Family::ALL[event.token as usize])? {
                    return Ok(true);
                }
            }
        }
    }

    /// Sleeps on the files of the new socket instead of the old one's.
    fn refresh_socket(&mut self, epoll: &Epoll) -> std::io::Result<()> {
        let Some(before) = self.socket.refresh() else {
            return Ok(());
        };
        for file in Family::ALL
            .iter()
            .filter_map(|&family| before.as_ref()?.fd(family))
        {
            epoll.remove(file)?;
        }
        let Some(socket) = self.socket.socket() else {
            return Ok(());
        };
        for (token, &family) in Family::ALL.iter().enumerate() {
            if let Some(file) = socket.fd(family) {
                epoll.add(file, token as u64, Interest::Readable)?;
            }
        }
        Ok(())
    }

    /// Receives up to a quantum and writes it. True if the device is gone.
    fn batch(&mut self, family: Family) -> std::io::Result<bool> {
        let Some(socket) = self.socket.socket() else {
            return Ok(false);
        };
        let fib = self.fib.load();
        // A device that refuses superpackets gives them up while it runs.
        self.inbound.set_limits(limits(&*self.device));
        let mut overlay = ToOverlay::new(&*self.device);
        for _ in 0..QUANTUM {
            let trains = self.receiver.receive(&**socket, family)?;
            if trains == 0 {
                break;
            }
            let now = tick();
            for index in 0..trains {
                let train = self.receiver.train(index);
                let received = Received {
                    bytes: train.bytes,
                    stride: train.stride,
                    from: train.from,
                };
                let mut upcalls = &*self.mailbox;
                self.inbound.receive(
                    &fib,
                    received,
                    now,
                    &self.counters,
                    &mut overlay,
                    &mut upcalls,
                );
            }
            if trains < TRAINS {
                break;
            }
        }
        self.totals.note_refused(overlay.refused);
        Ok(overlay.gone)
    }
}

fn limits(device: &impl Device) -> MergeLimits {
    let offloads = device.offloads();
    MergeLimits {
        tcp: offloads.tcp,
        udp: offloads.udp,
    }
}
