//! Merge: packets in a receive buffer leave in few writes, and nothing else changes.

use std::{collections::BTreeMap, net::IpAddr};

use proptest::prelude::*;
use weapon_wire::{Flow, MergeLimits, Merger, SEGMENTS_MAX, VnetHeader};

use crate::packets::*;

type Key = (IpAddr, IpAddr, u8, Option<(u16, u16)>);

/// Packets by flow, in order. Where DF is set the IPv4 id means nothing (RFC 6864 section 4.1) and
/// counts as equal, with the header checksum that goes with it.
fn by_flow(packets: impl IntoIterator<Item = Vec<u8>>) -> BTreeMap<Key, Vec<Vec<u8>>> {
    let mut flows = BTreeMap::<Key, Vec<Vec<u8>>>::new();
    for mut packet in packets {
        let flow = Flow::parse(&packet).unwrap();
        if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
            packet[4..6].fill(0);
            packet[10..12].fill(0);
        }
        let key = (flow.source, flow.destination, flow.protocol, flow.ports);
        flows.entry(key).or_default().push(packet);
    }
    flows
}

fn resplit(written: &[(VnetHeader, Vec<u8>)]) -> Vec<Vec<u8>> {
    written
        .iter()
        .flat_map(|(vnet, packet)| split(vnet, packet))
        .collect()
}

/// Segments of several superpackets, some in disorder, doubled, or of a kind that is never merged.
fn traffic() -> impl Strategy<Value = Vec<Vec<u8>>> {
    // An interpreter takes minutes for more.
    let segments = if cfg!(miri) { 3 } else { 20 };
    let streams = proptest::collection::vec(superpackets(segments), 1..6);
    (streams, any::<u64>(), 0usize..8).prop_map(|(streams, seed, disorder)| {
        let mut queues: Vec<Vec<Vec<u8>>> = Vec::new();
        for (spec, gso_size) in &streams {
            let (vnet, packet) = spec.superpacket((*gso_size).min(1400));
            if let Some(segments) = try_split(&vnet, &packet) {
                queues.push(segments);
            }
            queues.push(foreign(spec));
        }
        let mut dice = noise(seed, 4096).into_iter();
        let mut roll = |sides: usize| usize::from(dice.next().unwrap_or(0)) % sides;
        let mut packets = Vec::new();
        while !queues.is_empty() {
            let queue = roll(queues.len());
            let run = 1 + roll(6);
            let run = run.min(queues[queue].len());
            packets.extend(queues[queue].drain(..run));
            if queues[queue].is_empty() {
                queues.swap_remove(queue);
            }
        }
        for _ in 0..disorder {
            let (a, b) = (roll(packets.len()), roll(packets.len()));
            packets.swap(a, b);
            let twin = packets[roll(packets.len())].clone();
            packets.insert(a, twin);
        }
        packets
    })
}

fn try_split(vnet: &VnetHeader, packet: &[u8]) -> Option<Vec<Vec<u8>>> {
    let segments_max = SEGMENTS_MAX * usize::from(vnet.gso_size);
    (packet.len() < segments_max).then(|| split(vnet, packet))
}

/// Packets of the same hosts, partly of the same flow, that must stay alone.
fn foreign(spec: &Spec) -> Vec<Vec<u8>> {
    let mut spec = spec.clone();
    spec.payload.truncate(1400);
    let pure_ack = Spec {
        payload: Vec::new(),
        ..spec.clone()
    };
    let syn = Spec {
        flags: SYN,
        is_tcp: true,
        ..spec.clone()
    };
    let mut packets = vec![pure_ack.build(), syn.build()];
    if !spec.is_v6 {
        let mut fragment = spec.build();
        fragment[7] = 4;
        fix_v4_checksum(&mut fragment);
        packets.push(fragment);
    }
    packets
}

proptest! {
    #[test]
    fn merge_undoes_split((spec, gso_size) in superpackets(64)) {
        let (vnet, packet) = spec.superpacket(gso_size);
        let segments = split(&vnet, &packet);
        let written = merge(ALL, &segments);
        if segments.len() == 1 {
            prop_assert_eq!(written, vec![spec.lone()]);
        } else {
            prop_assert_eq!(written, vec![(vnet, packet)]);
        }
    }

    /// Split is the judge: what the kernel would cut the superpackets into is, flow by flow, byte
    /// by byte and in order, what was pushed.
    #[test]
    fn flows_keep_their_packets_and_their_order(packets in traffic()) {
        let written = merge(ALL, &packets);
        for (vnet, packet) in &written {
            Flow::parse(packet).unwrap();
            if vnet.flags == VnetHeader::NEEDS_CSUM {
                let mut partial = packet.clone();
                put_pseudo_sum(vnet, &mut partial);
                prop_assert_eq!(&partial, packet, "the checksum field holds the pseudo-header sum");
            }
        }
        prop_assert_eq!(by_flow(resplit(&written)), by_flow(packets));
    }

    #[test]
    fn nothing_is_merged_that_the_device_does_not_take(packets in traffic()) {
        let tcp_only = merge(MergeLimits { tcp: true, udp: false }, &packets);
        prop_assert!(tcp_only.iter().all(|(vnet, _)| vnet.gso_type != VnetHeader::GSO_UDP_L4));
        let udp_only = merge(MergeLimits { tcp: false, udp: true }, &packets);
        let expected = [VnetHeader::GSO_NONE, VnetHeader::GSO_UDP_L4];
        prop_assert!(udp_only.iter().all(|(vnet, _)| expected.contains(&vnet.gso_type)));
        let nothing = merge(MergeLimits::default(), &packets);
        let packets = packets.into_iter().map(|packet| (VnetHeader::default(), packet));
        prop_assert_eq!(nothing, packets.collect::<Vec<_>>());
    }
}

/// Two TCP segments that merge, and what a change to the second does to that.
fn merges_with(change: impl Fn(&mut Spec)) -> bool {
    let first = Spec::tcp(noise(1, 100));
    let mut second = Spec {
        id: first.id.wrapping_add(1),
        sequence: first.sequence.wrapping_add(100),
        ..Spec::tcp(noise(2, 100))
    };
    change(&mut second);
    merged(&[first.build(), second.build()])
}

fn merged(packets: &[Vec<u8>]) -> bool {
    let written = merge(ALL, packets);
    assert_eq!(by_flow(resplit(&written)), by_flow(packets.to_vec()));
    written.len() < packets.len()
}

#[test]
fn the_kernels_rules_for_tcp() {
    assert!(merges_with(|_| ()));
    assert!(merges_with(|second| second.flags |= PSH));
    assert!(merges_with(|second| second.flags |= FIN));
    assert!(
        merges_with(|second| second.payload.truncate(51)),
        "a shorter and odd end"
    );

    assert!(
        !merges_with(|second| second.payload.push(0)),
        "longer than the first"
    );
    assert!(!merges_with(|second| second.payload.clear()), "a pure ACK");
    assert!(!merges_with(|second| second.sequence += 1), "a gap");
    assert!(
        !merges_with(|second| second.sequence = Spec::tcp(vec![]).sequence),
        "a retransmission"
    );
    assert!(!merges_with(|second| second.acknowledgement += 1));
    assert!(!merges_with(|second| second.window += 1));
    assert!(
        !merges_with(|second| second.flags |= CWR),
        "CWR only on the first"
    );
    for flag in [SYN, RST, URG, ECE] {
        assert!(
            !merges_with(|second| second.flags |= flag),
            "flag {flag:#x}"
        );
    }
    assert!(!merges_with(|second| second.flags &= !ACK));
    assert!(!merges_with(|second| second.options = vec![1, 1, 1, 0]));
    assert!(!merges_with(|second| second.host += 1), "another flow");
}

#[test]
fn the_kernels_rules_for_ip() {
    assert!(!merges_with(|second| second.tos = 1), "ECN");
    assert!(!merges_with(|second| second.tos = 8), "DSCP");
    assert!(!merges_with(|second| second.ttl -= 1));
    assert!(!merges_with(|second| second.is_df = false));
    assert!(
        !merges_with(|second| second.id = second.id.wrapping_add(1)),
        "a gap in the ids"
    );
    assert!(
        merges_with(|second| second.id = second.id.wrapping_sub(1)),
        "the same id under DF"
    );

    let v6 = Spec {
        is_v6: true,
        ..Spec::udp(noise(1, 100))
    };
    assert!(merged(&[v6.build(), v6.build()]));
    let mut label = v6.build();
    label[3] ^= 1;
    assert!(!merged(&[v6.build(), label]), "flow label");
    assert!(!merged(&[
        v6.build(),
        Spec {
            tos: 1,
            ..v6.clone()
        }
        .build()
    ]));
    assert!(!merged(&[v6.build(), Spec { ttl: 1, ..v6 }.build()]));
}

#[test]
fn equal_fragments_and_unknown_bits_are_not_merged() {
    let spec = Spec {
        is_df: false,
        ..Spec::tcp(noise(1, 100))
    };
    let (vnet, packet) = spec.superpacket(50);
    let segments = split(&vnet, &packet);
    assert!(merged(&segments));
    // "More fragments" and the reserved bit, on both packets alike.
    for bits in [0x20, 0x80] {
        let mut segments = segments.clone();
        for segment in &mut segments {
            segment[6] = bits;
            fix_v4_checksum(segment);
        }
        assert!(!merged(&segments), "{bits:#x}");
    }
    // The accurate ECN bit beside the data offset; the urgent pointer without URG.
    for at in [32, 39] {
        let mut segments = segments.clone();
        segments[1][at] ^= 1;
        let written = merge(ALL, &segments);
        assert_eq!(written.len(), segments.len(), "byte {at}");
        for ((_, written), segment) in written.iter().zip(&segments) {
            // All but the checksum, which the kernel is to make.
            assert_eq!(written[..36], segment[..36], "byte {at}");
            assert_eq!(written[38..], segment[38..], "byte {at}");
        }
    }
}

#[test]
fn tcp_options_must_be_equal() {
    let options = |value| vec![1, 1, 8, 10, 0, 0, 0, value, 0, 0, 0, 1];
    let first = Spec {
        options: options(7),
        ..Spec::tcp(noise(1, 100))
    };
    let second = |value| Spec {
        id: first.id.wrapping_add(1),
        sequence: first.sequence.wrapping_add(100),
        options: options(value),
        ..first.clone()
    };
    assert!(merged(&[first.build(), second(7).build()]));
    assert!(
        !merged(&[first.build(), second(8).build()]),
        "another timestamp"
    );
}

#[test]
fn ids_count_or_stay_but_do_not_mix() {
    let packet = |id: u16, is_df: bool| {
        Spec {
            id,
            is_df,
            ..Spec::udp(noise(1, 9))
        }
        .build()
    };
    let writes = |packets: &[Vec<u8>]| merge(ALL, packets).len();
    assert_eq!(
        writes(&[packet(7, true), packet(7, true), packet(7, true)]),
        1
    );
    assert_eq!(
        writes(&[packet(7, true), packet(7, true), packet(8, true)]),
        2
    );
    assert_eq!(
        writes(&[packet(7, true), packet(7, true), packet(9, true)]),
        2
    );
    assert_eq!(
        writes(&[packet(7, true), packet(8, true), packet(7, true)]),
        2
    );
    assert_eq!(
        writes(&[packet(7, false), packet(7, false)]),
        2,
        "without DF ids must count"
    );
    assert_eq!(
        writes(&[packet(u16::MAX, false), packet(0, false)]),
        1,
        "ids wrap"
    );
}

#[test]
fn push_or_fin_ends_a_group_and_a_short_packet_too() {
    for end in [PSH, FIN] {
        let spec = Spec::tcp(noise(1, 300));
        let (vnet, packet) = spec.superpacket(100);
        let mut segments = split(&vnet, &packet);
        segments[1] = Spec {
            id: spec.id.wrapping_add(1),
            sequence: spec.sequence.wrapping_add(100),
            flags: ACK | end,
            payload: spec.payload[100..200].to_vec(),
            ..spec
        }
        .build();
        let written = merge(ALL, &segments);
        assert_eq!(written.len(), 2);
        assert_eq!(resplit(&written), segments);
    }
    assert!(!merges_after(PSH), "the first packet ends its own group");
    assert!(!merges_after(FIN));
    assert!(merges_after(CWR));
    let lens = [100, 60, 100, 100];
    let packets: Vec<_> = (0u16..)
        .zip(lens)
        .map(|(id, len)| {
            Spec {
                id,
                ..Spec::udp(noise(3, len))
            }
            .build()
        })
        .collect();
    let written = merge(ALL, &packets);
    assert_eq!(written.len(), 2);
    assert_eq!(resplit(&written), packets);
}

/// Whether a packet is merged to one with these flags.
fn merges_after(flags: u8) -> bool {
    let first = Spec {
        flags: ACK | flags,
        ..Spec::tcp(noise(1, 100))
    };
    let second = Spec {
        id: first.id.wrapping_add(1),
        sequence: first.sequence.wrapping_add(100),
        flags: ACK,
        ..first.clone()
    };
    merged(&[first.build(), second.build()])
}

#[test]
fn udp_groups_end_at_64_segments_and_65535_bytes() {
    let count = |len: usize, packets: u16| {
        let packet = |id| {
            Spec {
                id,
                ..Spec::udp(noise(3, len))
            }
            .build()
        };
        let packets: Vec<_> = (0..packets).map(packet).collect();
        let written = merge(ALL, &packets);
        assert_eq!(resplit(&written), packets);
        written
            .iter()
            .map(|(_, packet)| (packet.len() - 28) / len)
            .collect::<Vec<_>>()
    };
    assert_eq!(count(100, 128), [64, 64]);
    // An interpreter takes minutes for the larger ones.
    if cfg!(miri) {
        return;
    }
    assert_eq!(count(1400, 100), [46, 46, 8]);
    // 20 + 8 + 3 * 21 835 = 65 533, and 21 836 makes it 65 536.
    assert_eq!(count(21_835, 4), [3, 1]);
    assert_eq!(count(21_836, 4), [2, 2]);
    assert_eq!(count(65_507, 2), [1, 1]);
}

#[test]
fn packets_with_wrong_ip_checksum_or_length_stay_alone() {
    let first = Spec {
        id: 0,
        ..Spec::udp(noise(3, 50))
    }
    .build();
    let second = Spec {
        id: 1,
        ..Spec::udp(noise(3, 50))
    }
    .build();
    assert!(merged(&[first.clone(), second.clone()]));

    let written = |second: &[u8]| merge(ALL, &[first.clone(), second.to_vec()]);
    let mut wrong_sum = second.clone();
    wrong_sum[10] ^= 1;
    assert_eq!(written(&wrong_sum)[1], (VnetHeader::default(), wrong_sum));
    let mut no_sum = second.clone();
    no_sum[26..28].fill(0);
    assert_eq!(written(&no_sum)[1], (VnetHeader::default(), no_sum));
    for len in [57u8, 59, 8, 0] {
        let mut wrong_len = second.clone();
        wrong_len[25] = len;
        assert_eq!(written(&wrong_len)[1], (VnetHeader::default(), wrong_len));
    }
}

#[test]
fn what_was_opened_is_not_verified_again_alone_or_merged() {
    for is_v6 in [false, true] {
        for spec in [Spec::tcp(noise(3, 101)), Spec::udp(noise(3, 101))] {
            let spec = Spec { is_v6, ..spec };
            assert_eq!(merge(ALL, &[spec.build()]), [spec.lone()]);
            // The price: nobody sees that it was wrong.
            let mut wrong_sum = spec.build();
            let (vnet, _) = spec.lone();
            let sum = usize::from(vnet.csum_start + vnet.csum_offset);
            wrong_sum[sum] ^= 1;
            assert_eq!(merge(ALL, &[wrong_sum]), [spec.lone()]);
        }
    }
}

#[test]
fn what_cannot_be_merged_leaves_as_it_came() {
    let pure_ack = Spec::tcp(Vec::new()).build();
    let syn = Spec {
        flags: SYN,
        ..Spec::tcp(noise(1, 9))
    };
    let mut ping = Spec::udp(noise(1, 9)).build();
    ping[9] = 1;
    fix_v4_checksum(&mut ping);
    let mut fragment = Spec::udp(noise(1, 9)).build();
    fragment[6] = 0x20;
    fix_v4_checksum(&mut fragment);
    for packet in [pure_ack, syn.build(), ping, fragment] {
        let written = merge(ALL, std::slice::from_ref(&packet));
        assert_eq!(written, [(VnetHeader::default(), packet)]);
    }
}

#[test]
fn a_fragment_is_not_overtaken() {
    let packet = |id| {
        Spec {
            id,
            is_df: false,
            ..Spec::udp(noise(3, 50))
        }
        .build()
    };
    let mut fragment = packet(9);
    fragment[7] = 100;
    fix_v4_checksum(&mut fragment);
    let packets = [packet(0), fragment, packet(1)];
    assert_eq!(resplit(&merge(ALL, &packets)), packets);
}

#[test]
fn groups_leave_in_the_order_of_their_first_packets() {
    let packet = |host, id| {
        Spec {
            host,
            id,
            ..Spec::udp(noise(3, 50))
        }
        .build()
    };
    let packets = [
        packet(1, 0),
        packet(2, 0),
        packet(1, 1),
        packet(3, 0),
        packet(2, 1),
    ];
    let hosts: Vec<_> = merge(ALL, &packets)
        .iter()
        .map(|(vnet, packet)| (packet[15], vnet.gso_size))
        .collect();
    assert_eq!(hosts, [(1, 50), (2, 50), (3, 0)]);
}

#[test]
fn full_merger_takes_no_more_until_finished() {
    let packet = Spec::udp(noise(3, 50)).build();
    let flow = Flow::parse(&packet).unwrap();
    let mut merger = Merger::new(ALL);
    let mut buffer = packet.repeat(SEGMENTS_MAX + 1);
    let range = |index: usize| index * packet.len()..(index + 1) * packet.len();
    for round in 0..3 {
        for index in 0..SEGMENTS_MAX {
            assert!(!merger.is_full());
            assert!(merger.push(&buffer, range(index), &flow));
        }
        assert!(merger.is_full());
        assert!(!merger.push(&buffer, range(SEGMENTS_MAX), &flow));
        let mut len = 0;
        merger.finish(&mut buffer, &mut |_, _, parts| {
            len += parts.iter().map(|part| part.len()).sum::<usize>();
        });
        assert_eq!(len, 2 * 28 + SEGMENTS_MAX * 50, "round {round}");
        buffer = packet.repeat(SEGMENTS_MAX + 1);
    }
    merger.finish(&mut buffer, &mut |_, _, _| panic!("nothing is pending"));
}

#[test]
fn payloads_are_not_copied() {
    let mut merger = Merger::new(ALL);
    let packet = |id| {
        Spec {
            id,
            ..Spec::udp(noise(3, 50))
        }
        .build()
    };
    let mut buffer = [packet(0), packet(1), packet(2)].concat();
    for index in 0..3 {
        let range = index * 78..(index + 1) * 78;
        let flow = Flow::parse(&buffer[range.clone()]).unwrap();
        assert!(merger.push(&buffer, range, &flow));
    }
    let start = buffer.as_ptr().addr();
    let mut offsets = Vec::new();
    merger.finish(&mut buffer, &mut |_, _, parts| {
        offsets.extend(
            parts
                .iter()
                .map(|part| (part.as_ptr().addr() - start, part.len())),
        );
    });
    assert_eq!(offsets, [(0, 78), (78 + 28, 50), (2 * 78 + 28, 50)]);
}
