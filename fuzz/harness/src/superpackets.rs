//! Superpackets: what is split is valid packets, and gives the superpacket again when it is merged;
//! what is merged gives the packets again when it is split, in their order.

use core::ops::Range;
use std::io::IoSlice;

use weapon_wire::{
    Flow, HEAD_MULTIPLE, MergeLimits, Merger, SEGMENTS_MAX, Segment, Superpacket, VnetHeader,
};

use crate::{input::Input, plain, series};

const ACK: u8 = 0x10;
/// SYN, RST, ACK and URG: a segment that is merged has ACK alone of them.
const TELLING: u8 = 0x36;

/// The most datagrams that are merged to one.
const UDP_SEGMENTS_MAX: usize = 64;

/// As the first byte says: an offload header and a packet as they are, or a superpacket that is
/// made to be split, or a series of packets that is made to be merged.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    match input.u8() % 3 {
        0 => {
            let vnet = VnetHeader::parse(&input.array::<{ VnetHeader::LEN }>()).unwrap();
            check_split(&vnet, input.0);
        }
        1 => {
            let (vnet, packet) = series::superpacket(&mut input);
            check_split(&vnet, &packet);
        }
        _ => {
            let limits = input.u8();
            let limits = MergeLimits {
                tcp: limits & 1 == 0,
                udp: limits & 2 == 0,
            };
            check_merge(limits, &series::packets(&mut input));
        }
    }
}

fn check_split(vnet: &VnetHeader, packet: &[u8]) {
    let Ok(superpacket) = Superpacket::parse(vnet, packet) else {
        return;
    };
    let flow = *superpacket.flow();
    let packet = &packet[..flow.total_len];
    assert_eq!(superpacket.bytes(), packet);
    assert!((1..=SEGMENTS_MAX).contains(&superpacket.segments()));
    let segments = segments(&superpacket);
    if is_gso(vnet) {
        check_segments(&flow, packet, &segments);
        if is_clean(&flow, packet, segments.len()) {
            check_merged_again(vnet, &flow, packet, &segments);
        }
    } else {
        check_lone(vnet, packet, &segments);
    }
}

fn is_gso(vnet: &VnetHeader) -> bool {
    vnet.gso_type & !VnetHeader::GSO_ECN != VnetHeader::GSO_NONE
}

/// All segments, head and rest put together. Nothing is written behind a head.
fn segments(superpacket: &Superpacket<'_>) -> Vec<Vec<u8>> {
    const CANARY: u8 = 0xca;
    let (count, len_max) = (superpacket.segments(), superpacket.segment_len_max());
    let mut out = vec![CANARY; len_max + HEAD_MULTIPLE];
    let segment = |index: usize| {
        out.fill(CANARY);
        let Segment { head_len, rest } = superpacket.segment(index, &mut out);
        assert!(out[head_len..].iter().all(|&byte| byte == CANARY));
        assert!(rest.is_empty() || head_len.is_multiple_of(HEAD_MULTIPLE));
        let bytes = [&out[..head_len], rest].concat();
        let is_last = index + 1 == count;
        let len = if is_last {
            superpacket.segment_len_last()
        } else {
            len_max
        };
        assert_eq!(bytes.len(), len);
        bytes
    };
    let segments: Vec<_> = (0..count).map(segment).collect();
    if count == 1 {
        let mut whole = vec![CANARY; packet_len(superpacket)];
        let segment = superpacket.whole(&mut whole);
        assert_eq!((segment.head_len, segment.rest.len()), (whole.len(), 0));
        assert_eq!(whole, segments[0]);
    }
    segments
}

fn packet_len(superpacket: &Superpacket<'_>) -> usize {
    superpacket.bytes().len()
}

/// A packet that is none of many is as it was, but for the checksum that it may want.
fn check_lone(vnet: &VnetHeader, packet: &[u8], segments: &[Vec<u8>]) {
    let [lone] = segments else {
        panic!("{} segments of no superpacket", segments.len());
    };
    if vnet.flags & VnetHeader::NEEDS_CSUM == 0 {
        assert_eq!(lone, packet);
        return;
    }
    let start = usize::from(vnet.csum_start);
    let at = start + usize::from(vnet.csum_offset);
    let mut expected = packet.to_vec();
    let value = match !plain::sum(&[&packet[start..]]) {
        0 if vnet.csum_offset == 6 => 0xffff,
        value => value,
    };
    plain::put(&mut expected, at, value);
    // In ones' complement zero has two forms.
    let found = plain::field(lone, at);
    assert!(found == value || (found ^ value) == 0xffff && [0, 0xffff].contains(&value));
    plain::put(&mut expected, at, found);
    assert_eq!(*lone, expected);
}

/// Every segment is a valid packet of the flow; together they have all of the payload.
fn check_segments(flow: &Flow, packet: &[u8], segments: &[Vec<u8>]) {
    let headers_len = headers_len(flow, packet);
    let mut payload = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let parsed = Flow::parse(segment).unwrap();
        assert_eq!(
            parsed,
            Flow {
                total_len: segment.len(),
                ..*flow
            }
        );
        assert!(plain::is_header_right(segment), "segment {index}");
        assert!(
            plain::is_transport_right(segment, flow.protocol, flow.header_len),
            "segment {index}"
        );
        if flow.protocol == 17 {
            let len = plain::field(segment, flow.header_len + 4);
            assert_eq!(usize::from(len), segment.len() - flow.header_len);
        } else {
            let at = flow.header_len + 4;
            let sequence = |bytes: &[u8]| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            let before = u32::try_from(payload.len()).unwrap();
            assert_eq!(sequence(segment), sequence(packet).wrapping_add(before));
        }
        payload.extend_from_slice(&segment[headers_len..]);
    }
    assert_eq!(payload, packet[headers_len..]);
}

fn headers_len(flow: &Flow, packet: &[u8]) -> usize {
    flow.header_len
        + if flow.protocol == 6 {
            usize::from(packet[flow.header_len + 12] >> 4) * 4
        } else {
            8
        }
}

/// Whether nothing is about the packet that forbids to merge its segments.
fn is_clean(flow: &Flow, packet: &[u8], segments: usize) -> bool {
    let is_plain = if plain::is_v6(packet) {
        flow.header_len == 40
    } else {
        flow.header_len == 20 && plain::field(packet, 6) & !0x4000 == 0
    };
    let is_stream = if flow.protocol == 6 {
        packet[flow.header_len + 13] & TELLING == ACK
    } else {
        segments <= UDP_SEGMENTS_MAX
    };
    is_plain && is_stream && packet.len() > headers_len(flow, packet) && packet.len() <= 65_535
}

/// merge(split(x)) == x, where x has no lie about its lengths and sums.
fn check_merged_again(vnet: &VnetHeader, flow: &Flow, packet: &[u8], segments: &[Vec<u8>]) {
    let limits = MergeLimits {
        tcp: true,
        udp: true,
    };
    let written = merge(limits, segments);
    let [(merged_vnet, merged)] = written.as_slice() else {
        panic!("{} superpackets of one", written.len());
    };
    let mut expected = packet.to_vec();
    let transport_len = packet.len() - flow.header_len;
    if flow.protocol == 17 {
        plain::put(&mut expected, flow.header_len + 4, transport_len as u16);
    }
    plain::fix_header(&mut expected);
    let at = flow.header_len + plain::checksum_offset(flow.protocol);
    let pseudo = plain::pseudo_sum(packet, flow.protocol, transport_len);
    plain::put(&mut expected, at, pseudo);
    assert_eq!(*merged, expected);
    assert_eq!(merged_vnet.flags, VnetHeader::NEEDS_CSUM);
    assert_eq!(usize::from(merged_vnet.csum_start), flow.header_len);
    if segments.len() > 1 {
        assert_eq!(merged_vnet.gso_size, vnet.gso_size);
        let ecn = VnetHeader::GSO_ECN;
        assert_eq!(merged_vnet.gso_type & !ecn, vnet.gso_type & !ecn);
    }
}

/// split(merge(x)) == x: every packet comes out once, as it was, and none overtakes another of its
/// flow.
fn check_merge(limits: MergeLimits, packets: &[Vec<u8>]) {
    let mut came_out = Vec::new();
    for (vnet, packet) in merge(limits, packets) {
        let superpacket = Superpacket::parse(&vnet, &packet).unwrap();
        if vnet == VnetHeader::default() {
            came_out.push((packet, false));
            continue;
        }
        assert_eq!(vnet.flags, VnetHeader::NEEDS_CSUM);
        let segments = segments(&superpacket);
        came_out.extend(segments.into_iter().map(|segment| (segment, true)));
    }
    assert_eq!(came_out.len(), packets.len());
    let mut is_taken = vec![false; came_out.len()];
    let mut places = Vec::new();
    for packet in packets {
        let flow = Flow::parse(packet).unwrap();
        // The first of the flow that has not been seen yet must be this one.
        let place = (0..came_out.len())
            .find(|&place| !is_taken[place] && is_same_flow(&came_out[place].0, &flow))
            .expect("every packet comes out");
        is_taken[place] = true;
        let (found, is_vouched) = &came_out[place];
        let mut expected = packet.clone();
        if *is_vouched {
            plain::fix_transport(&mut expected, flow.protocol, flow.header_len);
            // With DF set the id has no meaning (RFC 6864 section 4.1): the kernel counts it up.
            if !plain::is_v6(packet) && plain::field(packet, 6) == 0x4000 {
                plain::put(&mut expected, 4, plain::field(found, 4));
                plain::fix_header(&mut expected);
            }
        }
        assert!(*found == expected, "another packet, or another order");
        places.push((place, flow));
    }
    check_fragments(&places);
}

fn is_same_flow(packet: &[u8], flow: &Flow) -> bool {
    let other = Flow::parse(packet).unwrap();
    is_between(&other, flow) && other.ports == flow.ports
}

fn is_between(one: &Flow, other: &Flow) -> bool {
    (one.source, one.destination, one.protocol) == (other.source, other.destination, other.protocol)
}

/// A packet without ports may belong to any flow between its addresses: it stays in its place.
fn check_fragments(places: &[(usize, Flow)]) {
    for (index, (place, flow)) in places.iter().enumerate() {
        if flow.ports.is_some() {
            continue;
        }
        for (before, other) in &places[..index] {
            assert!(!is_between(flow, other) || before < place, "it overtook");
        }
        for (after, other) in &places[index + 1..] {
            assert!(!is_between(flow, other) || place < after, "it was late");
        }
    }
}

/// Lays the packets into one buffer as a receive call leaves them, and merges them.
fn merge(limits: MergeLimits, packets: &[Vec<u8>]) -> Vec<(VnetHeader, Vec<u8>)> {
    let mut merger = Merger::new(limits);
    let mut written = Vec::new();
    for batch in packets.chunks(SEGMENTS_MAX) {
        let mut buffer = Vec::new();
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for packet in batch {
            buffer.extend([0xee; 16]);
            ranges.push(buffer.len()..buffer.len() + packet.len());
            buffer.extend_from_slice(packet);
            buffer.extend([0xee; 16]);
        }
        for range in ranges {
            let flow = Flow::parse(&buffer[range.clone()]).unwrap();
            assert!(merger.push(&buffer, range, &flow));
        }
        merger.finish(
            &mut buffer,
            &mut |flow: &Flow, vnet: &VnetHeader, parts: &[IoSlice<'_>]| {
                let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
                assert!(is_same_flow(&bytes, flow));
                written.push((*vnet, bytes));
            },
        );
    }
    written
}
