//! Superpackets into segments and back.

use core::{hint::black_box, ops::Range};
use std::io::IoSlice;

use weapon_wire::{Flow, MergeLimits, Merger, Superpacket, VnetHeader};

use crate::{
    buffer::Buffer,
    packets::{self, SEGMENT_PAYLOAD, SEGMENTS},
    region,
};

pub(crate) fn split_tcp4() -> u64 {
    split(&packets::tcp4_superpacket(1, 2), SEGMENTS)
}

pub(crate) fn split_udp4() -> u64 {
    split(&packets::udp4_superpacket(1, 2), SEGMENTS)
}

/// A packet that stays one, but for its checksum.
pub(crate) fn split_small() -> u64 {
    split(&packets::small(1, 2), 1)
}

fn split(read: &[u8], segments: usize) -> u64 {
    let mut state = (Buffer::new(read), Buffer::zero(), 0);
    let operations = region::repeat(
        &mut state,
        |(_, _, segments)| *segments = 0,
        |(read, out, segments)| {
            let (header, packet) = black_box(read.bytes()).split_at(VnetHeader::LEN);
            let Ok(vnet) = VnetHeader::parse(header) else {
                return;
            };
            let Ok(superpacket) = Superpacket::parse(&vnet, packet) else {
                return;
            };
            if superpacket.segments() == 1 {
                black_box(superpacket.whole(out.bytes()));
                *segments += 1;
                return;
            }
            let slots = out.bytes().chunks_mut(superpacket.segment_len_max());
            for (index, slot) in (0..superpacket.segments()).zip(slots) {
                black_box(superpacket.segment(index, slot));
                *segments += 1;
            }
        },
    );
    assert_eq!(state.2, segments, "split");
    operations
}

pub(crate) fn merge_one_flow() -> u64 {
    merge(
        &(0..SEGMENTS).map(|index| (0, index)).collect::<Vec<_>>(),
        1,
    )
}

/// The first segment of each flow, then the second of each: every one must be looked for.
pub(crate) fn merge_many_flows() -> u64 {
    let order: Vec<_> = (0..2 * SEGMENTS)
        .map(|at| (at % SEGMENTS, at / SEGMENTS))
        .collect();
    merge(&order, SEGMENTS)
}

/// What a merge works on.
struct Train {
    bytes: Buffer,
    packets: Vec<(Range<usize>, Flow)>,
    merger: Merger,
    written: usize,
}

/// Merges packets of this flow and index in it, and expects so many superpackets.
fn merge(order: &[(usize, usize)], superpackets: usize) -> u64 {
    let payload_len = if order.len() > SEGMENTS {
        SEGMENT_PAYLOAD / 2
    } else {
        SEGMENT_PAYLOAD
    };
    let mut bytes = Vec::new();
    let mut packets = Vec::new();
    for &(flow, index) in order {
        let packet = packets::tcp4(1, 2, 40_000 + flow as u16, index, payload_len);
        let flow = Flow::parse(&packet).expect("a packet of our own is well formed");
        packets.push((bytes.len()..bytes.len() + packet.len(), flow));
        bytes.extend(packet);
    }
    let mut train = Train {
        bytes: Buffer::new(&bytes),
        packets,
        merger: Merger::new(MergeLimits {
            tcp: true,
            udp: true,
        }),
        written: 0,
    };
    let operations = region::repeat(
        &mut train,
        |train| {
            train.bytes.restore();
            train.written = 0;
        },
        |train| {
            let buffer = black_box(train.bytes.bytes());
            for (range, flow) in &train.packets {
                black_box(train.merger.push(buffer, range.clone(), flow));
            }
            let written = &mut train.written;
            let mut write = |flow: &Flow, vnet: &VnetHeader, parts: &[IoSlice<'_>]| {
                black_box((flow, vnet, parts));
                *written += 1;
            };
            train.merger.finish(buffer, &mut write);
        },
    );
    assert_eq!(train.written, superpackets, "merged");
    operations
}
