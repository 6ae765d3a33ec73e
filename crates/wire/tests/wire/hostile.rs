//! Bytes from nowhere: whatever comes, nothing panics and no byte appears from outside a packet.

use proptest::prelude::*;
use weapon_wire::{Flow, Superpacket, VnetHeader, icmp};

use crate::packets::*;

fn vnet_headers() -> impl Strategy<Value = VnetHeader> {
    let small = || prop_oneof![0u16..100, any::<u16>()];
    let gso_type = prop_oneof![
        Just(0u8),
        Just(1),
        Just(4),
        Just(5),
        Just(0x81),
        any::<u8>()
    ];
    (0u8..4, gso_type, small(), small(), small(), small()).prop_map(
        |(flags, gso_type, hdr_len, gso_size, csum_start, csum_offset)| VnetHeader {
            flags,
            gso_type,
            hdr_len,
            gso_size,
            csum_start,
            csum_offset,
        },
    )
}

/// Splits whatever it is; every segment must be a packet that parses to the same flow.
fn survive_split(vnet: &VnetHeader, bytes: &[u8]) {
    let Ok(superpacket) = Superpacket::parse(vnet, bytes) else {
        return;
    };
    let flow = *superpacket.flow();
    let len_max = superpacket.segment_len_max();
    for index in 0..superpacket.segments() {
        let segment = segment(&superpacket, index);
        assert!(segment.len() <= len_max);
        // A checksum may have been written where no header ends it, but never into the IP header.
        let Flow {
            source,
            destination,
            header_len,
            total_len,
            ..
        } = Flow::parse(&segment).unwrap_or(flow);
        assert_eq!((source, destination), (flow.source, flow.destination));
        assert!(header_len <= total_len);
    }
}

fn flip(packet: &mut [u8], flips: &[(u16, u8)]) {
    let len = packet.len();
    for (at, bits) in flips {
        // Most flips go where they hurt.
        let reach = if at & 1 == 0 { len } else { len.min(100) };
        packet[usize::from(*at) % reach] ^= bits;
    }
}

/// Merges the packets that parse; everything that was pushed must come out, and nothing more.
fn survive_merge(packets: &[Vec<u8>]) {
    let parsed: Vec<Vec<u8>> = packets
        .iter()
        .filter_map(|packet| Some(packet[..Flow::parse(packet).ok()?.total_len].to_vec()))
        .collect();
    let written = merge(ALL, &parsed);
    let segments: usize = written
        .iter()
        .map(|(vnet, packet)| match vnet.gso_type {
            VnetHeader::GSO_NONE => 1,
            _ => split(vnet, packet).len(),
        })
        .sum();
    assert_eq!(segments, parsed.len());
}

proptest! {
    #[test]
    fn random_bytes(
        vnet in vnet_headers(),
        mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
        version in prop_oneof![Just(0x45u8), Just(0x4f), Just(0x60), any::<u8>()],
        fits in any::<bool>(),
    ) {
        if let Some(first) = bytes.first_mut() {
            *first = version;
        }
        // Otherwise hardly any random length would get past the first check.
        if fits && bytes.len() > 40 {
            let at = if version >> 4 == 4 { 2 } else { 4 };
            let len = bytes.len() - if at == 2 { 0 } else { 40 };
            bytes[at..at + 2].copy_from_slice(&(len as u16).to_be_bytes());
        }
        survive_split(&vnet, &bytes);
        survive_merge(&[bytes.clone(), bytes.clone(), bytes.clone()]);
        let mut out = [0; icmp::ERROR_LEN_MAX];
        icmp::unreachable(&bytes, None, &mut out);
        icmp::packet_too_big(&bytes, None, 1280, &mut out);
        let _ = VnetHeader::parse(&bytes);
    }

    #[test]
    fn p10_lying_vnet_headers((spec, gso_size) in superpackets(8), lie in vnet_headers()) {
        let (_, packet) = spec.superpacket(gso_size);
        survive_split(&lie, &packet);
    }

    #[test]
    fn p10_bit_flips_in_superpackets(
        (spec, gso_size) in superpackets(8),
        flips in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4),
    ) {
        let (vnet, mut packet) = spec.superpacket(gso_size);
        flip(&mut packet, &flips);
        survive_split(&vnet, &packet);
    }

    #[test]
    fn p10_bit_flips_in_segments(
        (spec, gso_size) in superpackets(8),
        flips in proptest::collection::vec((any::<u8>(), any::<u16>(), any::<u8>()), 1..6),
    ) {
        let (vnet, packet) = spec.superpacket(gso_size);
        let mut segments = split(&vnet, &packet);
        for (segment, at, bits) in flips {
            let segment = usize::from(segment) % segments.len();
            flip(&mut segments[segment], &[(at, bits)]);
        }
        survive_merge(&segments);
    }
}

#[test]
fn merger_survives_128_different_flows() {
    let packets: Vec<_> = (0..128u8)
        .map(|host| {
            Spec {
                host,
                ..Spec::udp(noise(1, 20))
            }
            .build()
        })
        .collect();
    assert_eq!(merge(ALL, &packets).len(), 128);
}
