//! Split: superpackets become packets that a second implementation finds right.

use proptest::prelude::*;
use weapon_wire::{HEAD_MULTIPLE, Malformed, Superpacket, VnetHeader};

use crate::packets::*;

proptest! {
    #[test]
    fn p98_split_segments_have_valid_checksums((spec, gso_size) in superpackets(64)) {
        let (vnet, packet) = spec.superpacket(gso_size);
        let segments = split(&vnet, &packet);
        let header_len = spec.header_len();
        prop_assert_eq!(segments.len(), spec.payload.len().div_ceil(usize::from(gso_size)));
        let mut payload = Vec::<u8>::new();
        for (index, segment) in segments.iter().enumerate() {
            assert_valid(segment);
            let mut wanted = spec.clone();
            wanted.payload = segment[header_len..].to_vec();
            wanted.id = spec.id.wrapping_add(index as u16);
            wanted.sequence = spec.sequence.wrapping_add(payload.len() as u32);
            if index != 0 {
                wanted.flags &= !CWR;
            }
            if index + 1 != segments.len() {
                wanted.flags &= !(FIN | PSH);
                prop_assert_eq!(segment.len() - header_len, usize::from(gso_size));
            }
            prop_assert_eq!(segment, &wanted.build());
            payload.extend(&segment[header_len..]);
        }
        prop_assert_eq!(payload, spec.payload);
    }

    #[test]
    fn a_head_is_the_least_that_lets_the_rest_begin_a_block((spec, gso_size) in superpackets(64)) {
        let (vnet, packet) = spec.superpacket(gso_size);
        let superpacket = Superpacket::parse(&vnet, &packet).unwrap();
        let least = spec.header_len().next_multiple_of(HEAD_MULTIPLE);
        for index in 0..superpacket.segments() {
            let whole = segment(&superpacket, index);
            let mut out = vec![0; superpacket.segment_len_max()];
            let made = superpacket.segment(index, &mut out);
            prop_assert_eq!(made.head_len, least.min(whole.len()));
            // The rest is lent from what was read, not copied.
            let read = packet.as_ptr_range();
            prop_assert!(made.rest.is_empty() || read.contains(&made.rest.as_ptr()));
        }
    }

    #[test]
    fn a_packet_that_is_one_is_written_whole((spec, gso_size) in superpackets(1)) {
        let (offloaded, packet) = spec.superpacket(gso_size);
        let plain = VnetHeader { gso_type: VnetHeader::GSO_NONE, ..offloaded };
        for vnet in [offloaded, plain] {
            let superpacket = Superpacket::parse(&vnet, &packet).unwrap();
            let mut out = vec![0; packet.len()];
            let made = superpacket.whole(&mut out);
            prop_assert_eq!((made.head_len, made.rest.len()), (packet.len(), 0));
            prop_assert_eq!(&out, &spec.build());
        }
    }

    #[test]
    fn p98_needs_csum_is_completed((spec, gso_size) in superpackets(2)) {
        let (mut vnet, packet) = spec.superpacket(gso_size);
        vnet.gso_type = VnetHeader::GSO_NONE;
        prop_assert_eq!(split(&vnet, &packet), vec![spec.build()]);
    }
}

#[test]
fn p98_zero_udp_checksum_becomes_ffff() {
    // The two payload bytes make the sum of everything 0xffff, whose complement is zero.
    for is_v6 in [false, true] {
        let mut spec = Spec {
            is_v6,
            ..Spec::udp(vec![0, 0])
        };
        let checksum = u16::from_be_bytes(
            spec.build()[spec.header_len() - 2..][..2]
                .try_into()
                .unwrap(),
        );
        spec.payload = checksum.to_be_bytes().to_vec();

        let (vnet, packet) = spec.superpacket(2);
        let plain = VnetHeader {
            gso_type: VnetHeader::GSO_NONE,
            ..vnet
        };
        for vnet in [vnet, plain] {
            let segment = &split(&vnet, &packet)[0];
            assert_eq!(segment[spec.header_len() - 2..][..2], [0xff, 0xff]);
        }
    }
}

#[test]
fn packet_without_offload_is_left_alone() {
    let mut packet = Spec::tcp(vec![1, 2, 3]).build();
    let wanted = packet.clone();
    packet.extend([0; 5]); // Ethernet padding of a forwarded packet
    assert_eq!(split(&VnetHeader::default(), &packet), vec![wanted]);
}

#[test]
fn superpacket_without_payload_is_one_packet() {
    for spec in [Spec::tcp(vec![]), Spec::udp(vec![])] {
        let (vnet, packet) = spec.superpacket(1000);
        assert_eq!(split(&vnet, &packet), vec![spec.build()]);
    }
}

#[test]
fn hdr_len_is_not_looked_at() {
    let spec = Spec::tcp(noise(3, 5000));
    let (vnet, packet) = spec.superpacket(1000);
    for hdr_len in [0, 1, 5000, u16::MAX] {
        assert_eq!(
            split(&VnetHeader { hdr_len, ..vnet }, &packet),
            split(&vnet, &packet)
        );
    }
}

#[test]
fn ecn_bit_of_the_type_is_masked() {
    let spec = Spec {
        flags: ACK | CWR | ECE,
        ..Spec::tcp(noise(3, 300))
    };
    let (vnet, packet) = spec.superpacket(100);
    assert_ne!(vnet.gso_type & VnetHeader::GSO_ECN, 0);
    let flags: Vec<u8> = split(&vnet, &packet)
        .iter()
        .map(|segment| segment[33])
        .collect();
    assert_eq!(flags, [ACK | CWR | ECE, ACK | ECE, ACK | ECE]);
}

#[test]
fn fin_and_psh_are_on_the_last_segment_only() {
    let spec = Spec {
        flags: ACK | FIN | PSH,
        ..Spec::tcp(noise(3, 300))
    };
    let (vnet, packet) = spec.superpacket(100);
    let flags: Vec<u8> = split(&vnet, &packet)
        .iter()
        .map(|segment| segment[33])
        .collect();
    assert_eq!(flags, [ACK, ACK, ACK | FIN | PSH]);
}

#[test]
fn sixty_four_kilobytes_of_every_kind() {
    for (is_v6, is_tcp) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut spec = Spec {
            is_v6,
            is_tcp,
            ..Spec::tcp(Vec::new())
        };
        // An interpreter takes minutes for all of it.
        let len = if cfg!(miri) { 4000 } else { 65535 };
        spec.payload = noise(9, len - spec.header_len());
        let (vnet, packet) = spec.superpacket(1368);
        let segments = split(&vnet, &packet);
        assert_eq!(segments.len(), if cfg!(miri) { 3 } else { 48 });
        segments.iter().for_each(|segment| assert_valid(segment));
    }
}

#[test]
fn superpacket_with_ip_options_or_extensions_is_split() {
    let spec = Spec::tcp(noise(4, 250));
    let (mut vnet, mut packet) = spec.superpacket(100);
    packet.splice(20..20, [1, 1, 1, 0]);
    packet[0] = 0x46;
    packet[2..4].copy_from_slice(&(spec.header_len() as u16 + 4 + 250).to_be_bytes());
    vnet.csum_start += 4;
    let segments = split(&vnet, &packet);
    assert_eq!(segments.len(), 3);
    segments.iter().for_each(|segment| assert_valid(segment));

    let spec = Spec {
        is_v6: true,
        ..Spec::udp(noise(4, 250))
    };
    let (mut vnet, mut packet) = spec.superpacket(100);
    packet.splice(40..40, [17, 0, 1, 4, 0, 0, 0, 0]);
    packet[6] = 60;
    packet[5] += 8;
    vnet.csum_start += 8;
    for segment in split(&vnet, &packet) {
        let (source, destination) = addresses_v6(&segment);
        let (header, payload) = etherparse::UdpHeader::from_slice(&segment[48..]).unwrap();
        let wanted = header
            .calc_checksum_ipv6_raw(source, destination, payload)
            .unwrap();
        assert_eq!(header.checksum, wanted);
        assert_eq!(usize::from(header.length), segment.len() - 48);
        assert_eq!(usize::from(segment[5]), segment.len() - 40);
    }
}

#[test]
fn lying_headers_are_refused() {
    let spec = Spec::tcp(noise(5, 1000));
    let (vnet, packet) = spec.superpacket(100);
    let refuse = |vnet: VnetHeader, packet: &[u8]| {
        Superpacket::parse(&vnet, packet).map(|_| ()).unwrap_err()
    };
    for (lie, why) in [
        (
            VnetHeader {
                gso_size: 0,
                ..vnet
            },
            Malformed::BadGsoSize,
        ),
        (
            VnetHeader {
                gso_size: 7,
                ..vnet
            },
            Malformed::TooManySegments,
        ),
        (
            VnetHeader {
                gso_type: VnetHeader::GSO_TCPV6,
                ..vnet
            },
            Malformed::BadGsoType,
        ),
        (
            VnetHeader {
                gso_type: VnetHeader::GSO_UDP_L4,
                ..vnet
            },
            Malformed::BadGsoType,
        ),
        (
            VnetHeader {
                gso_type: 3,
                ..vnet
            },
            Malformed::BadGsoType,
        ),
        (
            VnetHeader {
                csum_start: 22,
                ..vnet
            },
            Malformed::BadChecksumPosition,
        ),
    ] {
        assert_eq!(refuse(lie, &packet), why, "{lie:?}");
    }
    let plain = VnetHeader {
        gso_type: VnetHeader::GSO_NONE,
        ..vnet
    };
    for (csum_start, csum_offset) in [(0, 10), (19, 0), (20, 1039), (u16::MAX, u16::MAX)] {
        let lie = VnetHeader {
            csum_start,
            csum_offset,
            ..plain
        };
        assert_eq!(
            refuse(lie, &packet),
            Malformed::BadChecksumPosition,
            "{lie:?}"
        );
    }
    // 8 * 125 and 8 * 128 bytes: the limit itself is allowed.
    assert_eq!(
        split(
            &VnetHeader {
                gso_size: 8,
                ..vnet
            },
            &packet
        )
        .len(),
        125
    );
    let (vnet, packet) = Spec::tcp(noise(5, 1024)).superpacket(8);
    assert_eq!(split(&vnet, &packet).len(), 128);
    let (vnet, packet) = Spec::tcp(noise(5, 1025)).superpacket(8);
    assert_eq!(refuse(vnet, &packet), Malformed::TooManySegments);
}

#[test]
fn fragments_and_cut_headers_are_no_superpackets() {
    let (vnet, packet) = Spec::tcp(noise(5, 1000)).superpacket(100);
    let refuse = |packet: &[u8]| Superpacket::parse(&vnet, packet).map(|_| ()).unwrap_err();
    let mut fragment = packet.clone();
    fragment[6] = 0x20;
    assert_eq!(refuse(&fragment), Malformed::BadGsoType);
    fragment[6..8].copy_from_slice(&[0, 9]);
    assert_eq!(refuse(&fragment), Malformed::BadGsoType);

    let mut cut = packet[..39].to_vec();
    cut[2..4].copy_from_slice(&39u16.to_be_bytes());
    assert_eq!(refuse(&cut), Malformed::BadHeaderLength);
    let mut long_options = packet[..50].to_vec();
    long_options[2..4].copy_from_slice(&50u16.to_be_bytes());
    long_options[32] = 0xf0;
    assert_eq!(refuse(&long_options), Malformed::BadHeaderLength);
}
