//! Outbound: what leaves the site.
//! HOT
//!
//!   1 read    a superpacket from the overlay        engine::lane_outbound
//!     map     its source to what peers know         mapping
//!   2 parse   bytes to a flow, once                 wire::split, wire::flow
//!   3 route   destination to peer                   fib
//!   4 filter  what is known, then rules               checkpoint
//!     limit   so much as the peer may have            service
//!   5 seal    many packets into the send buffer     noise::batch
//!   6 send    with UDP GSO                          engine::lane_outbound
//!
//! The cipher does many packets of one session at a fraction of what each would cost alone. The
//! segments of a superpacket are many. Packets that come one by one are put into the send buffer as
//! they come and sealed there together, when something else comes or nothing more does: nobody
//! waits for a packet that may come.

use core::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use arc_swap::Guard;
use arrayvec::ArrayVec;
use weapon_noise::{Keypair, SealError, Tick};
use weapon_wire::{
    Endpoint, Flow, Superpacket, VnetHeader, ecn,
    message::{DATA_HEADER_LEN, DATA_OVERHEAD, data_receiver},
};

use crate::{
    Attention, Counters, DropReason, Dropped, Fate, Fib, Mtus, Peer, Sighting, Way,
    checkpoint::{Checkpoint, Last, Traveller},
    filter::Direction,
    ports::{Underlay, Upcalls, ask},
    service::Service,
};

mod limits;

/// Bytes of an undeliverable packet that its sender gets back at most (RFC 4443 section 2.4:
/// the error fits into 1280 bytes).
const RETURNED_BYTES_MAX: usize = 1232;

/// `Flow::protocol` of UDP, and what it has in front of a datagram.
const UDP: u8 = 17;
const UDP_HEADER_LEN: usize = 8;

/// With what a data message begins: its type as a little-endian number of four bytes.
const DATA_MESSAGE: [u8; 4] = [4, 0, 0, 0];

/// Packets of a run, and room for their messages: what one train takes.
const RUN_PACKETS_MAX: usize = 64;
const RUN_BYTES: usize = 65_536;

/// One turn of an outbound lane. It ends with [`Outbound::finish`]: a packet may be unsealed until
/// then.
#[derive(Debug)]
pub struct Outbound<'a, U: Underlay, C: Upcalls> {
    fib: &'a Fib,
    now: Tick,
    counters: &'a Counters,
    underlay: &'a mut U,
    upcalls: &'a mut C,
    run: Option<Run<'a>>,
    /// The packets of the run, in the order in which they lie in the underlay's room.
    packets: ArrayVec<Collected, RUN_PACKETS_MAX>,
    /// Bytes of the room that they take.
    filled: usize,
    /// The flow that passed the checkpoint last.
    last: Last,
}

/// Packets of one session that came one after the other.
#[derive(Debug)]
struct Run<'a> {
    peer: &'a Peer,
    keypair: Guard<Option<Arc<Keypair>>>,
    /// What the peer gets, if that is not what all get.
    service: Option<&'a Service>,
}

/// A packet in the send buffer that is not sealed yet.
#[derive(Clone, Copy, Debug)]
struct Collected {
    packet_len: usize,
    message_len: usize,
    /// DS field of its datagram, without the peer's mark.
    tos: u8,
}

impl<'a, U: Underlay, C: Upcalls> Outbound<'a, U, C> {
    /// Nothing was read yet.
    pub fn new(
        fib: &'a Fib,
        now: Tick,
        counters: &'a Counters,
        underlay: &'a mut U,
        upcalls: &'a mut C,
    ) -> Self {
        Self {
            fib,
            now,
            counters,
            underlay,
            upcalls,
            run: None,
            packets: ArrayVec::new(),
            filled: 0,
            last: Last::default(),
        }
    }

    /// As [`Outbound::send`], of what was just read: its source becomes what peers know.
    ///
    /// # Errors
    /// As there.
    pub fn take(&mut self, read: &mut [u8]) -> Result<u32, DropReason> {
        let taken = self.map_and_send(read);
        if self.upcalls.is_watched() {
            self.show(read, taken);
        }
        taken
    }

    fn map_and_send(&mut self, read: &mut [u8]) -> Result<u32, DropReason> {
        if !self.fib.mappings.is_empty() {
            self.fib.mappings.leave(read)?;
        }
        self.run(read, true)
    }

    /// Shows what was just taken, as peers know it, with what became of it.
    #[cold]
    fn show(&mut self, read: &[u8], taken: Result<u32, DropReason>) {
        let packet = read.get(VnetHeader::LEN..).unwrap_or_default();
        let flow = Flow::parse(packet).ok();
        let peer = flow.and_then(|flow| self.fib.route(flow.destination));
        let fate = taken.map_or_else(Fate::Dropped, |_| Fate::Passed);
        let checkpoint = self.fib.checkpoint.as_deref();
        let ruling = checkpoint.zip(flow.as_ref()).zip(peer);
        let ruling = ruling.and_then(|((checkpoint, flow), peer)| {
            let traveller = Traveller {
                direction: Direction::Outbound,
                peer: peer.id,
                flow,
                bytes: packet,
                now: self.now,
                packets: 0,
                total: 0,
            };
            checkpoint.ruling(&traveller, fate)
        });
        self.upcalls.show(Sighting {
            way: Way::Outbound,
            peer: peer.map(|peer| &**peer),
            bytes: read,
            fate,
            ruling,
        });
    }

    /// Counts what was not taken, and notes it among the latest drops.
    #[cold]
    pub fn note_dropped(&self, read: &[u8], reason: DropReason) {
        let packet = read.get(VnetHeader::LEN..).unwrap_or_default();
        let dropped = Dropped::clear(reason, Way::Outbound, None, packet, self.fib);
        self.counters.note(dropped, 1, self.now);
    }

    /// Takes one superpacket, with its [`VnetHeader`] in front, from the overlay to the underlay.
    /// Returns the hash of its flow, by which an overlay with several queues finds the right one
    /// for what comes back.
    ///
    /// # Errors
    /// Why the superpacket died. The caller counts it, by [`Outbound::note_dropped`]. A packet that
    /// was parked did not die.
    pub fn send(&mut self, read: &[u8]) -> Result<u32, DropReason> {
        self.run(read, false)
    }

    /// `is_new` says that it was not here before: what was parked is judged once more when it goes,
    /// and is not counted twice.
    fn run(&mut self, read: &[u8], is_new: bool) -> Result<u32, DropReason> {
        let vnet = VnetHeader::parse(read).map_err(|_| DropReason::OutboundMalformed)?;
        let packet = read.get(VnetHeader::LEN..).unwrap_or_default();
        let superpacket =
            Superpacket::parse(&vnet, packet).map_err(|_| DropReason::OutboundMalformed)?;

        let flow_hash = superpacket.flow().hash();
        let fib = self.fib;
        let Some(peer) = fib.route(superpacket.flow().destination) else {
            return_to_sender(superpacket.bytes(), self.upcalls);
            return Err(DropReason::NoRoute);
        };
        if let Some(checkpoint) = &fib.checkpoint {
            self.check(checkpoint, &superpacket, peer, is_new)?;
        }
        if is_data_message(&superpacket) && self.is_our_own(&superpacket, peer) {
            return Err(DropReason::RoutingLoop);
        }
        let is_single = superpacket.segments() == 1;
        if is_single && self.goes_on(peer) && self.append(&superpacket) {
            self.limit_last()?;
            return Ok(flow_hash);
        }
        self.seal_run();

        let endpoint = peer.link.endpoint();
        let Some(endpoint) = endpoint.as_deref() else {
            return_to_sender(superpacket.bytes(), self.upcalls);
            return Err(DropReason::NoEndpoint);
        };
        let Some(keypair) = peer.link.sending(self.now) else {
            return if self.upcalls.park(peer.id, read) {
                Ok(flow_hash)
            } else {
                Err(DropReason::ControlBusy)
            };
        };
        let service = fib.service(peer.id);
        let count = match service {
            Some(service) => self.limit(service, &superpacket)?,
            None => superpacket.segments(),
        };
        if is_single {
            let run = Run {
                peer,
                keypair,
                service,
            };
            self.begin(run, endpoint, &superpacket);
        } else if let Some(keypair) = keypair.as_deref() {
            let mark = service.map_or(0, Service::mark);
            self.seal((&superpacket, count), (peer, keypair), endpoint, mark)
                .map_err(|_| DropReason::SealFailed)?;
        }
        Ok(flow_hash)
    }

    /// Asks the checkpoint whether the superpacket may go on to the peer. Who has none does not pay
    /// for it with the registers of the way.
    #[inline(never)]
    fn check(
        &mut self,
        checkpoint: &Checkpoint,
        superpacket: &Superpacket<'_>,
        peer: &Peer,
        is_new: bool,
    ) -> Result<(), DropReason> {
        let before_last = superpacket.segments().saturating_sub(1);
        let total = before_last
            .saturating_mul(superpacket.segment_len_max())
            .saturating_add(superpacket.segment_len_last());
        let (packets, total) = if is_new {
            (superpacket.segments() as u64, total as u64)
        } else {
            (0, 0)
        };
        let traveller = Traveller {
            direction: Direction::Outbound,
            peer: peer.id,
            flow: superpacket.flow(),
            bytes: superpacket.bytes(),
            now: self.now,
            packets,
            total,
        };
        checkpoint.pass(&traveller, &mut self.last)
    }

    /// Whether a data message on its way to the peer is one that we have sealed: then the route to
    /// the peer's endpoint leads into the tunnel. Sent again, it would come again, longer and in
    /// more fragments each time (P97). A tunnel of somebody else in ours has other indices.
    #[cold]
    fn is_our_own(&self, superpacket: &Superpacket<'_>, peer: &Peer) -> bool {
        let there = peer.link.endpoint();
        let to_peer = there
            .as_deref()
            .is_some_and(|there| there.remote.ip() == superpacket.flow().destination);
        let session = peer.link.sending(self.now);
        let session = session.as_ref().and_then(|keypair| keypair.as_deref());
        let message = behind_udp(superpacket);
        let ours = session.is_some_and(|session| {
            message.len() >= DATA_HEADER_LEN && data_receiver(message) == session.remote_index()
        });
        to_peer && ours
    }

    /// Seals what is not sealed yet.
    pub fn finish(mut self) {
        self.seal_run();
        if let Some(checkpoint) = &self.fib.checkpoint {
            settle(checkpoint, &mut self.last);
        }
    }

    /// Whether a packet for `peer` belongs to the run.
    fn goes_on(&self, peer: &Peer) -> bool {
        let run = self.run.as_ref();
        run.is_some_and(|run| core::ptr::eq(run.peer, peer))
    }

    /// Begins a run with its first packet. Where the peer is, and the keypair, stay what they are
    /// for the whole of it: no longer than sealing a superpacket takes.
    fn begin(&mut self, run: Run<'a>, to: &Endpoint, superpacket: &Superpacket<'_>) {
        let message_len = message_len(superpacket.bytes().len(), &self.fib.mtus);
        self.underlay.reserve(to, RUN_BYTES.max(message_len));
        self.run = Some(run);
        let fits = self.append(superpacket);
        debug_assert!(fits, "there is room for one");
    }

    /// Puts a packet into the room, if there is enough of it.
    fn append(&mut self, superpacket: &Superpacket<'_>) -> bool {
        let packet_len = superpacket.bytes().len();
        let message_len = message_len(packet_len, &self.fib.mtus);
        let end = self.filled.saturating_add(message_len);
        if self.packets.is_full() {
            return false;
        }
        let Some(slot) = self.underlay.room().get_mut(self.filled..end) else {
            return false;
        };
        let Some(text) = slot.get_mut(DATA_HEADER_LEN..) else {
            return false;
        };
        superpacket.whole(text);
        self.packets.push(Collected {
            packet_len,
            message_len,
            tos: ecn::encapsulated(superpacket.flow().traffic_class),
        });
        self.filled = end;
        true
    }

    /// Seals the packets of the run where they lie.
    fn seal_run(&mut self) {
        let Some(run) = self.run.take() else {
            return;
        };
        let (count, total) = (self.packets.len(), self.filled);
        let keypair = run.keypair.as_deref();
        if let Some(keypair) = keypair
            && seal_collected(keypair, &self.packets, self.underlay.room()).is_ok()
        {
            let mark = run.service.map_or(0, Service::mark);
            for packet in &self.packets {
                self.underlay.commit(packet.message_len, packet.tos | mark);
            }
            self.note_sealed(run.peer, keypair, count, total);
        } else {
            let reason = DropReason::SealFailed;
            let peer = Some(run.peer);
            let dropped = Dropped::clear(reason, Way::Outbound, peer, &[], self.fib);
            self.counters.note(dropped, count as u64, self.now);
        }
        self.packets.clear();
        self.filled = 0;
    }

    /// Seals the first `count` segments of a superpacket to their final places: a head is written
    /// there, the rest is encrypted from the read buffer.
    fn seal(
        &mut self,
        (superpacket, count): (&Superpacket<'_>, usize),
        (peer, keypair): (&Peer, &Keypair),
        to: &Endpoint,
        mark: u8,
    ) -> Result<(), SealError> {
        let stride = message_len(superpacket.segment_len_max(), &self.fib.mtus);
        let last = if count == superpacket.segments() {
            message_len(superpacket.segment_len_last(), &self.fib.mtus)
        } else {
            stride
        };
        let before_last = count.saturating_sub(1).saturating_mul(stride);
        let total = before_last.saturating_add(last);
        self.underlay.reserve(to, total);

        let room = self.underlay.room().get_mut(..total).ok_or(SealError)?;
        seal_segments(keypair, (superpacket, count), room.chunks_mut(stride))?;
        let tos = ecn::encapsulated(superpacket.flow().traffic_class) | mark;
        for _ in 1..count {
            self.underlay.commit(stride, tos);
        }
        self.underlay.commit(last, tos);
        self.note_sealed(peer, keypair, count, total);
        Ok(())
    }

    fn note_sealed(&mut self, peer: &Peer, keypair: &Keypair, count: usize, total: usize) {
        let count = count as u64;
        self.counters.outbound_segments.fetch_add(count, Relaxed);
        peer.link.traffic.note_sent(count, total as u64);
        if peer.link.activity.note_sent(self.now, true) {
            ask(self.upcalls, peer, Attention::Deadlines);
        }
        if keypair.asks_for_rekey(self.now) {
            ask(self.upcalls, peer, Attention::WantSession);
        }
    }
}

/// The end of a turn.
#[inline(never)]
fn settle(checkpoint: &Checkpoint, last: &mut Last) {
    checkpoint.settle(last);
}

/// Whether the packet looks like a data message of WireGuard over UDP.
fn is_data_message(superpacket: &Superpacket<'_>) -> bool {
    superpacket.flow().protocol == UDP && behind_udp(superpacket).starts_with(&DATA_MESSAGE)
}

/// What follows the UDP header.
fn behind_udp<'a>(superpacket: &'a Superpacket<'_>) -> &'a [u8] {
    let at = superpacket.flow().header_len.saturating_add(UDP_HEADER_LEN);
    superpacket.bytes().get(at..).unwrap_or_default()
}

/// Seals the first `count` segments of a superpacket, each into its slot.
fn seal_segments<'a>(
    keypair: &Keypair,
    (superpacket, count): (&Superpacket<'_>, usize),
    slots: impl Iterator<Item = &'a mut [u8]>,
) -> Result<(), SealError> {
    let mut batch = keypair.seal_batch(count).ok_or(SealError)?;
    for (index, slot) in slots.enumerate() {
        let text = slot.get_mut(DATA_HEADER_LEN..).ok_or(SealError)?;
        let made = superpacket.segment(index, text);
        batch.push(slot, made.head_len, made.rest)?;
    }
    batch.seal()
}

/// Seals packets that lie one behind the other in `room`, each behind the place of its header.
fn seal_collected(
    keypair: &Keypair,
    packets: &[Collected],
    mut room: &mut [u8],
) -> Result<(), SealError> {
    let mut batch = keypair.seal_batch(packets.len()).ok_or(SealError)?;
    for packet in packets {
        let parts = room.split_at_mut_checked(packet.message_len);
        let (slot, behind) = parts.ok_or(SealError)?;
        batch.push(slot, packet.packet_len, &[])?;
        room = behind;
    }
    batch.seal()
}

/// Length of the data message that a packet of `len` bytes becomes.
fn message_len(len: usize, mtus: &Mtus) -> usize {
    len.saturating_add(mtus.padding(len))
        .saturating_add(DATA_OVERHEAD)
}

fn return_to_sender(packet: &[u8], upcalls: &mut impl Upcalls) {
    upcalls.unreachable(packet.get(..RETURNED_BYTES_MAX).unwrap_or(packet));
}
