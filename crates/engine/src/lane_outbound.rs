//! A lane's outbound half: reads a queue of the overlay and runs each superpacket to completion.
//! HOT

use std::sync::{Arc, atomic::Ordering::Relaxed};

use weapon_core::{Counters, Outbound, SharedFib};
use weapon_io::{
    tun::{Device, READ_BYTES},
    udp::{Sender, Socket},
};
use weapon_noise::Tick;

use crate::{
    capture::{Taps, Watched},
    engine::Shared,
    mailbox::Mailbox,
    status::Totals,
    steering::Steering,
    ways::{Outcome, ToUnderlay, flush, outcome},
};

/// What is read of a queue before the others have their turn: this many packets, or the first that
/// reaches this many bytes. A batch also ends when there is nothing to read: no packet ever waits
/// for another.
const QUANTUM_PACKETS: usize = 64;
const QUANTUM_BYTES: usize = 4 * READ_BYTES;

/// What the outbound half owns.
pub(crate) struct LaneOutbound<D> {
    device: Arc<D>,
    fib: SharedFib,
    counters: Arc<Counters>,
    totals: Arc<Totals>,
    mailbox: Arc<Mailbox>,
    taps: Arc<Taps>,
    /// Which ring of a capture is ours.
    ring: usize,
    steering: Arc<Steering>,
    sender: Sender,
    buffer: Box<[u8]>,
}

impl<D: Device> LaneOutbound<D> {
    pub(crate) fn new<S>(shared: &Shared<D, S>, counters: Arc<Counters>, ring: usize) -> Self {
        Self {
            device: Arc::clone(&shared.device),
            fib: Arc::clone(&shared.fib),
            counters,
            totals: Arc::clone(&shared.totals),
            mailbox: Arc::clone(&shared.mailbox),
            taps: Arc::clone(&shared.taps),
            ring,
            steering: Arc::clone(&shared.steering),
            sender: Sender::new(),
            buffer: std::iter::repeat_n(0, READ_BYTES).collect(),
        }
    }

    /// Reads up to a quantum of `queue` and sends it. True if the device is gone.
    pub(crate) fn batch(&mut self, queue: usize, socket: Option<&impl Socket>, now: Tick) -> bool {
        let Some(socket) = socket else {
            let read = self.device.read(queue, &mut self.buffer);
            return matches!(outcome(read), Outcome::Gone);
        };
        let fib = self.fib.load();
        let mut underlay = ToUnderlay::new(&mut self.sender, socket);
        let mut upcalls = Watched::new(&self.mailbox, &self.taps, self.ring);
        let mut outbound = Outbound::new(&fib, now, &self.counters, &mut underlay, &mut upcalls);
        let mut gone = false;
        let (mut superpackets, mut bytes) = (0, 0);
        while superpackets < QUANTUM_PACKETS && bytes < QUANTUM_BYTES {
            let len = match outcome(self.device.read(queue, &mut self.buffer)) {
                Outcome::Some(len) => len,
                Outcome::Empty => break,
                Outcome::Gone => {
                    gone = true;
                    break;
                }
            };
            superpackets += 1;
            bytes += len;
            match outbound.take(&mut self.buffer[..len]) {
                Ok(flow_hash) => self.steering.note_read(flow_hash, queue),
                Err(reason) => outbound.note_dropped(&self.buffer[..len], reason),
            }
        }
        outbound.finish();
        self.counters
            .outbound_superpackets
            .fetch_add(superpackets as u64, Relaxed);
        self.counters.outbound_batches.note(superpackets as u64);
        self.totals.note_sent(flush(&mut self.sender, socket, &fib));
        gone
    }
}
