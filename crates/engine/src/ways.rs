//! The ways out of weapon-core, laid to the device and the socket.

use std::io::{self, IoSlice};

use weapon_core::{Fib, Overlay, Underlay};
use weapon_io::{
    tun::{self, Device},
    udp::{SendReport, Sender, Socket},
};
use weapon_wire::{Endpoint, Flow, VnetHeader};

use crate::steering::Steering;

/// The send buffer of a thread and the socket it empties into.
pub(crate) struct ToUnderlay<'a, S> {
    pub(crate) sender: &'a mut Sender,
    pub(crate) socket: &'a S,
}

impl<'a, S: Socket> ToUnderlay<'a, S> {
    pub(crate) fn new(sender: &'a mut Sender, socket: &'a S) -> Self {
        Self { sender, socket }
    }
}

impl<S: Socket> Underlay for ToUnderlay<'_, S> {
    fn reserve(&mut self, to: &Endpoint, len: usize) {
        self.sender.reserve(self.socket, to, len);
    }

    fn room(&mut self) -> &mut [u8] {
        self.sender.room()
    }

    fn commit(&mut self, len: usize, tos: u8) {
        self.sender.commit(len, tos);
    }
}

/// The underlay while the interface is down: what goes in is gone.
#[derive(Default)]
pub(crate) struct NoUnderlay(Vec<u8>);

impl Underlay for NoUnderlay {
    fn reserve(&mut self, _to: &Endpoint, len: usize) {
        self.0.resize(len, 0);
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn commit(&mut self, len: usize, _tos: u8) {
        self.0.drain(..len);
    }
}

/// Sends what a batch has left, and forgets sources that are ours no longer (P80).
pub(crate) fn flush<S: Socket>(sender: &mut Sender, socket: &S, fib: &Fib) -> SendReport {
    let report = sender.flush(socket);
    for stale in sender.stale_sources() {
        for peer in &fib.peers {
            if peer.link.endpoint().as_deref() == Some(&stale) {
                peer.link.clear_source();
            }
        }
    }
    report
}

/// The device as a thread writes to it.
pub(crate) struct ToOverlay<'a, D> {
    device: &'a D,
    steering: &'a Steering,
    /// Superpackets that the device refused.
    pub(crate) refused: u64,
    /// The device is gone.
    pub(crate) gone: bool,
}

impl<'a, D: Device> ToOverlay<'a, D> {
    pub(crate) fn new(device: &'a D, steering: &'a Steering) -> Self {
        Self {
            device,
            steering,
            refused: 0,
            gone: false,
        }
    }
}

impl<D: Device> Overlay for ToOverlay<'_, D> {
    fn write(&mut self, flow: &Flow, vnet: &VnetHeader, parts: &[IoSlice<'_>]) {
        let queue = self.steering.queue(|| flow.hash());
        if let Err(error) = self.device.write(queue, vnet, parts) {
            self.refused += 1;
            self.gone |= tun::is_gone(&error);
        }
    }
}

/// What became of one read or receive call.
pub(crate) enum Outcome {
    /// There was something.
    Some(usize),
    /// There is nothing now.
    Empty,
    /// There never will be anything again.
    Gone,
}

/// Sorts the results of [`Device::read`].
pub(crate) fn outcome(result: io::Result<usize>) -> Outcome {
    match result {
        Ok(len) => Outcome::Some(len),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Outcome::Empty,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Outcome::Empty,
        Err(error) if tun::is_gone(&error) => Outcome::Gone,
        // EIO while the interface is down: nothing to read, and poll will tell when there is.
        Err(_) => Outcome::Empty,
    }
}
