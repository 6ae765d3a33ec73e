//! Inbound: what enters the site.
//! HOT
//!
//!   1 receive   a batch from the underlay                engine::lane_inbound
//!   2 identify  message type, session by receiver index  wire::message, index_table
//!   3 open      tag, replay window, roam                 noise::batch, noise::link
//!   4 check     source against the whole table           fib
//!     filter    what is known, then rules                checkpoint
//!     limit     so much as the peer may have             service
//!     map       destination that the site knows, ECN     mapping, wire::ecn
//!   5 merge     segments of a flow into superpackets     wire::merge
//!   6 write     to the overlay                           engine::lane_inbound

use core::{net::IpAddr, sync::atomic::Ordering::Relaxed};
use std::io::IoSlice;

use weapon_noise::{OpenError, Tick};
use weapon_wire::{
    Endpoint, Flow, MergeLimits, Merger, SEGMENTS_MAX, VnetHeader, ecn,
    message::{DATA_HEADER_LEN, Kind, data_receiver, kind},
};

use crate::{
    Attention, Counters, DropReason, Dropped, Fate, Fib, PeerId, Session, Sighting, Way,
    checkpoint::{Checkpoint, Last, Traveller},
    filter::Direction,
    ports::{HandshakeMessage, Overlay, Upcalls, ask},
    service::{Amount, Service},
};

/// Datagrams of one sender that the kernel handed over together: `len` bytes each, the last one
/// perhaps shorter.
#[derive(Debug)]
pub struct Received<'a> {
    /// All of them.
    pub bytes: &'a mut [u8],
    /// Bytes from the beginning of one to that of the next.
    pub stride: usize,
    /// Bytes of each, at most `stride`: what is behind them belongs to none.
    pub len: usize,
    /// DSCP and ECN of all of them: the kernel joins no others (`gro.h:inet_gro_flush`).
    pub tos: u8,
    /// Who sent them, and to which of our addresses.
    pub from: Endpoint,
}

/// What an inbound lane keeps between batches.
#[derive(Debug)]
pub struct Inbound {
    merger: Merger,
    /// The source address checked last and who has it: mostly the next one's too.
    last_source: Option<(IpAddr, Option<PeerId>)>,
    /// The flow that passed the checkpoint last.
    last: Last,
}

impl Inbound {
    /// `limits` say what the overlay takes merged.
    pub fn new(limits: MergeLimits) -> Self {
        Self {
            merger: Merger::new(limits),
            last_source: None,
            last: Last::default(),
        }
    }

    /// What the overlay takes merged has changed.
    pub fn set_limits(&mut self, limits: MergeLimits) {
        self.merger.set_limits(limits);
    }

    /// Takes the datagrams of one receive call from the underlay to the overlay. The order of a
    /// flow is kept. Drops are counted, never returned: one bad datagram does not stop a batch.
    pub fn receive(
        &mut self,
        fib: &Fib,
        received: Received<'_>,
        now: Tick,
        counters: &Counters,
        overlay: &mut impl Overlay,
        upcalls: &mut impl Upcalls,
    ) {
        let Received {
            bytes,
            stride,
            len,
            tos,
            from,
        } = received;
        self.last_source = None;
        if bytes.is_empty() {
            // A datagram without a byte is one too.
            let dropped = Dropped::sealed(DropReason::NotWireGuard, None, from.remote);
            counters.note(dropped, 1, now);
            counters.inbound_datagrams.fetch_add(1, Relaxed);
        }
        let stride = stride.max(1);
        let len = len.min(stride);
        // What the merger holds at most; the kernel hands over no more than that anyway.
        for batch in bytes.chunks_mut(stride.saturating_mul(SEGMENTS_MAX)) {
            let mut at = 0;
            while at < batch.len() {
                let next = Run {
                    at,
                    stride,
                    len,
                    tos,
                    index: 0,
                    from,
                    now,
                };
                at = self.take(fib, batch, next, counters, upcalls);
            }
            if let Some(checkpoint) = &fib.checkpoint {
                settle(checkpoint, &mut self.last);
            }
            self.merger.finish(
                batch,
                &mut |flow: &Flow, vnet: &VnetHeader, parts: &[IoSlice<'_>]| {
                    counters.inbound_superpackets.fetch_add(1, Relaxed);
                    overlay.write(flow, vnet, parts);
                },
            );
        }
    }

    /// Identifies the datagram at `next.at`; takes it, or the run that it begins. Returns where the
    /// next one begins.
    fn take(
        &mut self,
        fib: &Fib,
        bytes: &mut [u8],
        next: Run,
        counters: &Counters,
        upcalls: &mut impl Upcalls,
    ) -> usize {
        let end = bytes.len().min(next.at.saturating_add(next.stride));
        let datagram = next.datagram(bytes.get(next.at..end).unwrap_or_default());
        match kind(datagram) {
            Ok(Kind::Data) => {
                let run = Run {
                    index: data_receiver(datagram),
                    ..next
                };
                return self.open_run(fib, bytes, run, counters, upcalls);
            }
            Ok(Kind::Initiation | Kind::Response | Kind::CookieReply) => {
                let message = HandshakeMessage::new(datagram, next.from);
                if !message.is_some_and(|message| upcalls.handshake(message)) {
                    next.note(DropReason::HandshakeQueueFull, None, counters);
                }
            }
            Err(_) => next.note(DropReason::NotWireGuard, None, counters),
        }
        counters.inbound_datagrams.fetch_add(1, Relaxed);
        end
    }

    /// Opens consecutive datagrams of one session. Returns where the next other one begins.
    fn open_run(
        &mut self,
        fib: &Fib,
        bytes: &mut [u8],
        run: Run,
        counters: &Counters,
        upcalls: &mut impl Upcalls,
    ) -> usize {
        let session = fib
            .sessions
            .as_ref()
            .and_then(|table| table.session(run.index));
        let Some(session) = session.as_deref().and_then(Option::as_deref) else {
            return run.skip(bytes, DropReason::UnknownIndex, counters);
        };
        let Ok(mut keys) = session.keypair.open_run(run.now) else {
            return run.skip(bytes, DropReason::SessionExpired, counters);
        };
        let slots = bytes.get_mut(run.at..).unwrap_or_default();
        let datagrams = slots
            .chunks_mut(run.stride)
            .map(|slot| slot.split_at_mut(run.len.min(slot.len())).0)
            .take_while(|datagram| run.has(datagram));
        let mut outcomes = weapon_noise::Opened::new();
        keys.open_many(datagrams, &mut outcomes);
        drop(keys);

        let service = fib.service(session.peer.id);
        let mut opened = Opened::default();
        let mut at = run.at;
        for outcome in &outcomes {
            let end = bytes.len().min(at.saturating_add(run.stride));
            match *outcome {
                Ok(plaintext_len) => {
                    opened.packets = opened.packets.saturating_add(1);
                    let len = end.saturating_sub(at).min(run.len);
                    opened.bytes = opened.bytes.saturating_add(len as u64);
                    let start = at.saturating_add(DATA_HEADER_LEN);
                    let plaintext = start..start.saturating_add(plaintext_len);
                    opened.data |= plaintext_len != 0;
                    if plaintext_len != 0 {
                        let place = (plaintext.start, plaintext.end);
                        let accepted = self.accept(fib, (session, service), bytes, plaintext, &run);
                        if upcalls.is_watched() {
                            let packet = bytes.get(place.0..place.1).unwrap_or_default();
                            show(session, packet, accepted, upcalls);
                        }
                        if let Err(reason) = accepted {
                            let packet = bytes.get(place.0..place.1).unwrap_or_default();
                            run.note_packet(reason, (fib, session), packet, counters);
                        }
                    }
                }
                Err(error) => run.note(reason_of(error), Some(session.peer.id), counters),
            }
            at = end;
        }
        counters
            .inbound_datagrams
            .fetch_add(outcomes.len() as u64, Relaxed);
        if opened.packets != 0 {
            note_received(session, &run, &opened, upcalls);
        }
        at
    }

    /// Checks the inner packet (P85, P87), has it judged, maps its destination, brings in the ECN
    /// of its datagram, which is of `run` (P92), and gives it to the merger.
    fn accept(
        &mut self,
        fib: &Fib,
        (session, service): (&Session, Option<&Service>),
        bytes: &mut [u8],
        plaintext: core::ops::Range<usize>,
        run: &Run,
    ) -> Result<(), DropReason> {
        let start = plaintext.start;
        let packet = bytes.get_mut(plaintext).unwrap_or_default();
        let mut flow = Flow::parse(packet).map_err(|_| DropReason::InnerMalformed)?;
        let owner = match self.last_source {
            Some((address, owner)) if address == flow.source => owner,
            Some(_) | None => {
                let owner = fib.route(flow.source).map(|peer| peer.id);
                self.last_source = Some((flow.source, owner));
                owner
            }
        };
        if owner != Some(session.peer.id) {
            return Err(DropReason::WrongSource);
        }
        if let Some(checkpoint) = &fib.checkpoint {
            check(
                checkpoint,
                (session.peer.id, &flow, packet),
                run.now,
                &mut self.last,
            )?;
        }
        if let Some(service) = service {
            limit(service, &flow, run.now)?;
        }
        if !fib.mappings.is_empty() {
            fib.mappings.arrive(packet, &mut flow)?;
        }
        if ecn::tells(run.tos) {
            ecn::decapsulate(run.tos, packet, &mut flow);
        }
        let packet = start..start.saturating_add(flow.total_len);
        let taken = self.merger.push(bytes, packet, &flow);
        debug_assert!(taken, "a batch has no more packets than the merger holds");
        Ok(())
    }
}

/// Asks the checkpoint whether a packet of the peer may go on. Who has none does not pay for it
/// with the registers of the way.
#[inline(never)]
fn check(
    checkpoint: &Checkpoint,
    (peer, flow, bytes): (PeerId, &Flow, &[u8]),
    now: Tick,
    last: &mut Last,
) -> Result<(), DropReason> {
    let traveller = Traveller {
        direction: Direction::Inbound,
        peer,
        flow,
        bytes,
        now,
        packets: 1,
        total: flow.total_len as u64,
    };
    checkpoint.pass(&traveller, last)
}

/// Whether the limits of the peer let a packet pass.
#[inline(never)]
fn limit(service: &Service, flow: &Flow, now: Tick) -> Result<(), DropReason> {
    match service.inbound.pass(now, Amount::one(flow.total_len)) {
        0 => Err(DropReason::InboundLimit),
        _ => Ok(()),
    }
}

/// The end of a batch.
#[inline(never)]
fn settle(checkpoint: &Checkpoint, last: &mut Last) {
    checkpoint.settle(last);
}

/// Consecutive datagrams with one receiver index.
struct Run {
    at: usize,
    stride: usize,
    len: usize,
    tos: u8,
    index: u32,
    from: Endpoint,
    now: Tick,
}

/// What a run brought.
#[derive(Default)]
struct Opened {
    packets: u64,
    bytes: u64,
    data: bool,
}

impl Run {
    /// What of the bytes up to the next one is the datagram.
    fn datagram<'a>(&self, slot: &'a [u8]) -> &'a [u8] {
        slot.get(..self.len).unwrap_or(slot)
    }

    /// Whether `datagram` belongs to this run.
    fn has(&self, datagram: &[u8]) -> bool {
        matches!(kind(datagram), Ok(Kind::Data)) && data_receiver(datagram) == self.index
    }

    /// One datagram of it died, of this peer if that is known.
    #[cold]
    fn note(&self, reason: DropReason, peer: Option<PeerId>, counters: &Counters) {
        let dropped = Dropped::sealed(reason, peer, self.from.remote);
        counters.note(dropped, 1, self.now);
    }

    /// A packet of this session was opened and died.
    #[cold]
    fn note_packet(
        &self,
        reason: DropReason,
        (fib, session): (&Fib, &Session),
        packet: &[u8],
        counters: &Counters,
    ) {
        let peer = Some(&*session.peer);
        let dropped = Dropped {
            from: Some(self.from.remote),
            ..Dropped::clear(reason, Way::Inbound, peer, packet, fib)
        };
        counters.note(dropped, 1, self.now);
    }

    /// Drops the whole run.
    fn skip(&self, bytes: &[u8], reason: DropReason, counters: &Counters) -> usize {
        let slots = bytes.get(self.at..).unwrap_or_default();
        let slots = slots.chunks(self.stride);
        let datagrams = slots.map(|slot| self.datagram(slot));
        let count = datagrams.take_while(|datagram| self.has(datagram)).count();
        let dropped = Dropped::sealed(reason, None, self.from.remote);
        counters.note(dropped, count as u64, self.now);
        counters.inbound_datagrams.fetch_add(count as u64, Relaxed);
        let skipped = count.saturating_mul(self.stride);
        bytes.len().min(self.at.saturating_add(skipped))
    }
}

/// Why a datagram was not opened.
#[cold]
fn reason_of(error: OpenError) -> DropReason {
    match error {
        OpenError::Expired => DropReason::SessionExpired,
        OpenError::Replayed => DropReason::Replayed,
        OpenError::Forged => DropReason::Forged,
    }
}

/// Shows a packet as the overlay gets it, with what became of it.
#[cold]
fn show(
    session: &Session,
    packet: &[u8],
    accepted: Result<(), DropReason>,
    upcalls: &mut impl Upcalls,
) {
    upcalls.show(Sighting {
        way: Way::Inbound,
        peer: Some(&session.peer),
        bytes: packet,
        fate: accepted.map_or_else(Fate::Dropped, |()| Fate::Passed),
    });
}

/// Authenticated packets count for roaming and timers, whatever is inside (P50, P77).
fn note_received(session: &Session, run: &Run, opened: &Opened, upcalls: &mut impl Upcalls) {
    let peer = &session.peer;
    if peer.link.roam(&run.from, run.now) {
        ask(upcalls, peer, Attention::Moved);
    }
    peer.link
        .traffic
        .note_received(opened.packets, opened.bytes);
    if session.keypair.confirm() {
        ask(upcalls, peer, Attention::Confirmed);
    }
    if peer.link.activity.note_received(run.now, opened.data) {
        ask(upcalls, peer, Attention::Deadlines);
    }
    if session.keypair.wants_rekey_on_receive(run.now) {
        ask(upcalls, peer, Attention::WantSession);
    }
}
