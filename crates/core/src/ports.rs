//! What the gateway needs from outside: two ways out, a queue to the control loop, a disk for one
//! timestamp.

use std::io::IoSlice;

use weapon_noise::Tai64n;
use weapon_wire::{Endpoint, Flow, VnetHeader, message::Initiation};

use crate::{Attention, Peer, PeerId, Sighting};

/// Where datagrams go.
pub trait Underlay {
    /// Reserves `len` bytes in one piece for datagrams to `to`. They are sent only after
    /// [`Underlay::commit`]; reserving again takes back what was not committed.
    fn reserve(&mut self, to: &Endpoint, len: usize);

    /// What is left of the room that was reserved, with what was written to it before.
    fn room(&mut self) -> &mut [u8];

    /// The first `len` bytes of the room are a datagram: send it with this DS field, now or with
    /// the batch. The room begins behind it from here on.
    fn commit(&mut self, len: usize, tos: u8);

    /// Sends one datagram.
    fn send(&mut self, to: &Endpoint, tos: u8, datagram: &[u8]) {
        self.reserve(to, datagram.len());
        self.room().copy_from_slice(datagram);
        self.commit(datagram.len(), tos);
    }
}

impl<T: Underlay + ?Sized> Underlay for &mut T {
    fn reserve(&mut self, to: &Endpoint, len: usize) {
        (**self).reserve(to, len);
    }

    fn room(&mut self) -> &mut [u8] {
        (**self).room()
    }

    fn commit(&mut self, len: usize, tos: u8) {
        (**self).commit(len, tos);
    }
}

/// Where inner packets go.
pub trait Overlay {
    /// Writes one packet or superpacket of `flow`, given in parts.
    fn write(&mut self, flow: &Flow, vnet: &VnetHeader, parts: &[IoSlice<'_>]);
}

/// Bounded queues from lanes to the control loop.
pub trait Upcalls {
    /// A message of the handshake, with its sender. False if the queue is full.
    fn handshake(&mut self, message: HandshakeMessage) -> bool;

    /// A packet, as it was read from the overlay with its header in front, that waits for a
    /// session. False if the queue is full.
    fn park(&mut self, peer: PeerId, read: &[u8]) -> bool;

    /// The start of a packet whose sender must learn that it can't be delivered. May be ignored.
    fn unreachable(&mut self, packet: &[u8]);

    /// `peer` has just begun to want something. Never lost: a peer is in the queue at most once.
    fn attention(&mut self, peer: PeerId);

    /// Whether somebody looks at packets. Asked for each, so that must cost nothing.
    fn is_watched(&self) -> bool {
        false
    }

    /// A packet, for who looks.
    fn show(&mut self, _sighting: Sighting<'_>) {}
}

/// Asks for `wants` and queues the peer if it is not queued yet.
pub(crate) fn ask(upcalls: &mut impl Upcalls, peer: &Peer, wants: Attention) {
    if peer.ask(wants) {
        upcalls.attention(peer.id);
    }
}

/// An initiation, a response or a cookie reply, and who sent it.
#[derive(Clone, Debug)]
pub struct HandshakeMessage {
    bytes: [u8; Initiation::LEN],
    len: usize,
    /// The sender, and the address of ours that it was sent to.
    pub from: Endpoint,
}

impl HandshakeMessage {
    /// Copies `datagram`; nothing if it is longer than the longest handshake message.
    pub fn new(datagram: &[u8], from: Endpoint) -> Option<Self> {
        let mut bytes = [0; Initiation::LEN];
        bytes.get_mut(..datagram.len())?.copy_from_slice(datagram);
        Some(Self {
            bytes,
            len: datagram.len(),
            from,
        })
    }

    /// The datagram.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Keeps the timestamp that we must never go below again (P29).
pub trait TimestampStore {
    /// Writes `mark` so that it survives a crash. False if that failed: then no initiation is sent.
    fn persist(&mut self, mark: Tai64n) -> bool;
}
