//! Parsing a packet to its flow.

use core::hint::black_box;

use weapon_wire::Flow;

use crate::{buffer::Buffer, packets, region};

pub(crate) fn parse_tcp4() -> u64 {
    parse(&packets::tcp4(1, 2, 40_000, 0, packets::SEGMENT_PAYLOAD))
}

pub(crate) fn parse_udp6() -> u64 {
    parse(&packets::udp6(1, 2, packets::SEGMENT_PAYLOAD))
}

fn parse(packet: &[u8]) -> u64 {
    let mut state = (Buffer::new(packet), None);
    let operations = region::repeat(
        &mut state,
        |(_, flow)| *flow = None,
        |(packet, flow)| *flow = Flow::parse(black_box(packet.bytes())).ok(),
    );
    let (_, flow) = state;
    assert_eq!(
        flow.map(|flow| flow.total_len),
        Some(packet.len()),
        "parsed"
    );
    operations
}
