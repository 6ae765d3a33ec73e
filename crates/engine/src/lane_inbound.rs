//! A lane's inbound half: receives from the underlay and runs each batch to completion. The control
//! loop has one too, for what comes to the doors.
//! HOT

use std::sync::{Arc, atomic::Ordering::Relaxed};

use weapon_core::{Counters, Inbound, Received, SharedFib};
use weapon_io::{
    tun::Device,
    udp::{Family, Receiver, Socket},
};
use weapon_noise::Tick;
use weapon_wire::MergeLimits;

use crate::{
    capture::{Taps, Watched},
    engine::Shared,
    mailbox::Mailbox,
    status::Totals,
    steering::Steering,
    ways::ToOverlay,
};

/// Trains that one receive call takes, and that are received before the queues of the overlay have
/// their turn. Where the kernel does not join datagrams each takes the place of a train, and the
/// cipher wants eight at least.
const TRAINS: usize = 16;

/// What one receive call brought.
pub(crate) struct Batch {
    /// Trains.
    pub(crate) trains: usize,
    /// The device is gone.
    pub(crate) is_gone: bool,
}

/// What the inbound half owns.
pub(crate) struct LaneInbound<D> {
    device: Arc<D>,
    fib: SharedFib,
    counters: Arc<Counters>,
    totals: Arc<Totals>,
    mailbox: Arc<Mailbox>,
    taps: Arc<Taps>,
    /// Which ring of a capture is ours.
    ring: usize,
    steering: Arc<Steering>,
    receiver: Receiver,
    inbound: Inbound,
}

impl<D: Device> LaneInbound<D> {
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
            receiver: Receiver::new(TRAINS),
            inbound: Inbound::new(limits(&*shared.device)),
        }
    }

    /// Receives what has come from `family`, up to a quantum, and writes it.
    pub(crate) fn batch(
        &mut self,
        socket: &impl Socket,
        family: Family,
        now: Tick,
    ) -> std::io::Result<Batch> {
        let fib = self.fib.load();
        // A device that refuses superpackets gives them up while it runs.
        self.inbound.set_limits(limits(&*self.device));
        let mut overlay = ToOverlay::new(&*self.device, &self.steering);
        let trains = self.receiver.receive(socket, family)?;
        let mut upcalls = Watched::new(&self.mailbox, &self.taps, self.ring);
        let before = self.counters.inbound_datagrams.load(Relaxed);
        for index in 0..trains {
            let train = self.receiver.train(index);
            let received = Received {
                bytes: train.bytes,
                stride: train.stride,
                len: train.len,
                tos: train.tos,
                from: train.from,
            };
            self.inbound.receive(
                &fib,
                received,
                now,
                &self.counters,
                &mut overlay,
                &mut upcalls,
            );
        }
        // This thread alone counts there.
        let after = self.counters.inbound_datagrams.load(Relaxed);
        self.counters
            .inbound_batches
            .note(after.wrapping_sub(before));
        self.totals.note_refused(overlay.refused);
        Ok(Batch {
            trains,
            is_gone: overlay.gone,
        })
    }
}

fn limits(device: &impl Device) -> MergeLimits {
    let offloads = device.offloads();
    MergeLimits {
        tcp: offloads.tcp,
        udp: offloads.udp,
    }
}
