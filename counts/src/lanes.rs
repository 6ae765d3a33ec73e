//! The whole way of a packet, out and in, without the kernel.

use core::hint::black_box;

use weapon_wire::VnetHeader;

use crate::{
    buffer::Buffer,
    packets::{self, SEGMENTS},
    region,
    site::Site,
};

/// Packets of a run.
const RUN: usize = 32;

pub(crate) fn outbound_tcp4() -> u64 {
    outbound(
        Site::connected(),
        &packets::tcp4_superpacket(1, 2),
        1,
        SEGMENTS,
    )
}

pub(crate) fn outbound_tcp4_filtered() -> u64 {
    outbound(
        Site::filtered(),
        &packets::tcp4_superpacket(1, 2),
        1,
        SEGMENTS,
    )
}

pub(crate) fn outbound_tcp4_limited() -> u64 {
    outbound(
        Site::limited(),
        &packets::tcp4_superpacket(1, 2),
        1,
        SEGMENTS,
    )
}

pub(crate) fn outbound_small() -> u64 {
    outbound(Site::connected(), &packets::small(1, 2), 1, 1)
}

/// A small packet of a flow that is known.
pub(crate) fn outbound_small_filtered() -> u64 {
    outbound(Site::filtered(), &packets::small(1, 2), 1, 1)
}

/// Small packets that are read one after the other and sealed together.
pub(crate) fn outbound_small_run() -> u64 {
    outbound(Site::connected(), &packets::small(1, 2), RUN, RUN)
}

/// The table is asked once for all of them.
pub(crate) fn outbound_small_run_filtered() -> u64 {
    outbound(Site::filtered(), &packets::small(1, 2), RUN, RUN)
}

/// Each packet is asked for.
pub(crate) fn outbound_small_run_limited() -> u64 {
    outbound(Site::limited(), &packets::small(1, 2), RUN, RUN)
}

pub(crate) fn inbound_train() -> u64 {
    inbound(Site::connected(), &packets::tcp4_superpacket(1, 2))
}

pub(crate) fn inbound_train_filtered() -> u64 {
    inbound(Site::filtered(), &packets::tcp4_superpacket(1, 2))
}

pub(crate) fn inbound_train_limited() -> u64 {
    inbound(Site::limited(), &packets::tcp4_superpacket(1, 2))
}

pub(crate) fn inbound_single() -> u64 {
    let packet = packets::tcp4(1, 2, 40_000, 0, packets::SEGMENT_PAYLOAD);
    inbound(
        Site::connected(),
        &[&VnetHeader::default().to_bytes(), packet.as_slice()].concat(),
    )
}

pub(crate) fn inbound_small() -> u64 {
    inbound(Site::connected(), &packets::small(1, 2))
}

pub(crate) fn inbound_small_filtered() -> u64 {
    inbound(Site::filtered(), &packets::small(1, 2))
}

fn outbound((site, _): (Site, Site), read: &[u8], times: usize, segments: usize) -> u64 {
    let mut state = (site, Buffer::new(read), Ok(()));
    let operations = region::repeat(
        &mut state,
        |(site, _, _)| site.outbox.clear(),
        |(site, read, result)| *result = site.read_times(black_box(read.bytes()), times),
    );
    let (site, _, result) = state;
    assert_eq!(result, Ok(()));
    assert_eq!(site.outbox.ends.len(), segments, "sealed");
    operations
}

/// What the other site made of `read` comes in as one train and leaves as one superpacket.
fn inbound((first, second): (Site, Site), read: &[u8]) -> u64 {
    let from = first.endpoint_seen_by(&second);
    let mut state = (first, second, Buffer::new(read));
    let operations = region::repeat(
        &mut state,
        |(first, second, read)| {
            first.outbox.clear();
            first.read(read.bytes()).expect("the packet is sealed");
            second.written = Default::default();
        },
        |(first, second, _)| {
            let stride = first.outbox.ends[0];
            second.receive(black_box(first.outbox.bytes()), stride, from);
        },
    );
    let (_, second, _) = state;
    assert_eq!(second.written.superpackets, 1, "merged");
    assert_eq!(
        second.written.bytes,
        read.len() - VnetHeader::LEN,
        "all bytes arrive"
    );
    operations
}
