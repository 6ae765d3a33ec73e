//! Outbound: what leaves the site.
//! HOT
//!
//!   1 read    a superpacket from the overlay        engine::lane_outbound
//!   2 parse   bytes to a flow, once                 wire::split, wire::flow
//!   3 route   destination to peer                   fib
//!   4 filter  (its place; the filter has an issue of its own)
//!   5 seal    every segment into the send buffer    noise::keypair
//!   6 send    with UDP GSO                          engine::lane_outbound

use core::sync::atomic::Ordering::Relaxed;

use weapon_noise::{Keypair, Tick, protocol::PADDING_MULTIPLE};
use weapon_wire::{Endpoint, Superpacket, VnetHeader, message::DATA_OVERHEAD};

use crate::{
    Attention, Counters, DropReason, Fib, Peer,
    ports::{Underlay, Upcalls, ask},
};

/// Bytes of an undeliverable packet that its sender gets back at most (RFC 4443 section 2.4:
/// the error fits into 1280 bytes).
const RETURNED_BYTES_MAX: usize = 1232;

/// Takes one superpacket, with its [`VnetHeader`] in front, from the overlay to the underlay. The
/// buffer is consumed: segments are cut in place. Returns the hash of its flow, by which an overlay
/// with several queues finds the right one for what comes back.
///
/// # Errors
/// Why the superpacket died. The caller counts it. A packet that was parked did not die.
pub fn outbound(
    fib: &Fib,
    read: &mut [u8],
    now: Tick,
    counters: &Counters,
    underlay: &mut impl Underlay,
    upcalls: &mut impl Upcalls,
) -> Result<u32, DropReason> {
    let vnet = VnetHeader::parse(read).map_err(|_| DropReason::OutboundMalformed)?;
    let packet = &mut read[VnetHeader::LEN..];
    let superpacket =
        Superpacket::parse(&vnet, packet).map_err(|_| DropReason::OutboundMalformed)?;

    let flow_hash = superpacket.flow().hash();
    let Some(peer) = fib.route(superpacket.flow().destination) else {
        return_to_sender(superpacket.bytes(), upcalls);
        return Err(DropReason::NoRoute);
    };
    let endpoint = peer.link.endpoint();
    let Some(endpoint) = endpoint.as_deref() else {
        return_to_sender(superpacket.bytes(), upcalls);
        return Err(DropReason::NoEndpoint);
    };
    let keypair = peer.link.sending(now);
    let Some(keypair) = keypair.as_deref().and_then(Option::as_deref) else {
        return if upcalls.park(peer.id, read) {
            Ok(flow_hash)
        } else {
            Err(DropReason::ControlBusy)
        };
    };

    let bytes = seal(superpacket, keypair, endpoint, fib.mtu, underlay)?;
    let segments = bytes.segments;
    counters.outbound_segments.fetch_add(segments, Relaxed);
    peer.link.traffic.note_sent(segments, bytes.total);
    note_sent(peer, keypair, now, upcalls);
    Ok(flow_hash)
}

/// What was sealed.
struct Sealed {
    segments: u64,
    total: u64,
}

/// Seals every segment to its final place: one reservation of counters, no copy.
fn seal(
    mut superpacket: Superpacket<'_>,
    keypair: &Keypair,
    to: &Endpoint,
    mtu: usize,
    underlay: &mut impl Underlay,
) -> Result<Sealed, DropReason> {
    let segments = superpacket.segments() as u64;
    let mut counter = keypair.reserve(segments).ok_or(DropReason::SealFailed)?;
    let mut total = 0;
    while let Some(segment) = superpacket.next() {
        let padding = padding(segment.len(), mtu);
        let len = segment.len() + padding + DATA_OVERHEAD;
        let slot = underlay.slot(to, 0, len);
        keypair
            .seal(counter, segment, padding, slot)
            .map_err(|_| DropReason::SealFailed)?;
        underlay.commit();
        counter += 1;
        total += len as u64;
    }
    Ok(Sealed { segments, total })
}

/// Zero bytes behind a plaintext of `len` bytes: up to a multiple of 16, but never past the MTU
/// (paper 5.4.6; kernel `send.c:calculate_skb_padding`; P89).
pub fn padding(len: usize, mtu: usize) -> usize {
    let last = if mtu != 0 && len > mtu {
        len % mtu
    } else {
        len
    };
    let padded = last.next_multiple_of(PADDING_MULTIPLE);
    let padded = if mtu == 0 { padded } else { padded.min(mtu) };
    padded - last
}

fn note_sent(peer: &Peer, keypair: &Keypair, now: Tick, upcalls: &mut impl Upcalls) {
    if peer.link.activity.note_sent(now, true) {
        ask(upcalls, peer, Attention::Deadlines);
    }
    if keypair.asks_for_rekey(now) {
        ask(upcalls, peer, Attention::WantSession);
    }
}

fn return_to_sender(packet: &[u8], upcalls: &mut impl Upcalls) {
    upcalls.unreachable(&packet[..packet.len().min(RETURNED_BYTES_MAX)]);
}
