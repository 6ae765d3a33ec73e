//! Addresses replaced: every checksum is what it would be had the packet been made so, by
//! etherparse's reckoning, and nothing else is touched.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use weapon_wire::{
    Flow, checksum, icmp,
    rewrite::{self, Side},
};

use crate::packets::*;

/// An address of the packet's family.
fn address(packet: &[u8], seed: u128) -> IpAddr {
    if packet[0] >> 4 == 4 {
        IpAddr::V4(Ipv4Addr::from_bits(seed as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(seed))
    }
}

fn address_of(packet: &[u8], side: Side) -> IpAddr {
    let flow = Flow::parse(packet).unwrap();
    match side {
        Side::Source => flow.source,
        Side::Destination => flow.destination,
    }
}

/// The packet with another address.
fn replaced(packet: &[u8], side: Side, address: IpAddr, is_partial: bool) -> Vec<u8> {
    let mut packet = packet.to_vec();
    rewrite::replace(&mut packet, side, address, is_partial).unwrap();
    packet
}

fn sides() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Source), Just(Side::Destination)]
}

/// An ICMP error that answers `original`, as long as the rules allow.
fn unreachable(original: &[u8], ours: IpAddr) -> Vec<u8> {
    let mut out = [0; icmp::ERROR_LEN_MAX];
    let len = icmp::unreachable(original, Some(ours), &mut out).expect("an answer");
    out[..len].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_packet_is_valid_and_comes_back_the_same(
        (spec, _) in superpackets(1), side in sides(), seed: u128,
    ) {
        let packet = spec.build();
        let new = address(&packet, seed);
        let there = replaced(&packet, side, new, false);
        prop_assert_eq!(address_of(&there, side), new);
        assert_valid(&there);
        let back = replaced(&there, side, address_of(&packet, side), false);
        prop_assert_eq!(back, packet);
    }

    #[test]
    fn a_sum_of_the_pseudo_header_stays_one(
        (spec, _) in superpackets(1), side in sides(), seed: u128,
    ) {
        let (vnet, packet) = spec.lone();
        let new = address(&packet, seed);
        let there = replaced(&packet, side, new, true);
        let mut expected = replaced(&packet, side, new, false);
        put_pseudo_sum(&vnet, &mut expected);
        prop_assert_eq!(&there, &expected);
        assert_valid(&split(&vnet, &there)[0]);
    }

    #[test]
    fn segments_of_a_superpacket_are_what_each_would_be_alone(
        (spec, gso_size) in superpackets(5), side in sides(), seed: u128,
    ) {
        let (vnet, packet) = spec.superpacket(gso_size);
        let new = address(&packet, seed);
        let alone: Vec<_> = split(&vnet, &packet)
            .iter()
            .map(|segment| replaced(segment, side, new, false))
            .collect();
        prop_assert_eq!(split(&vnet, &replaced(&packet, side, new, true)), alone);
    }

    #[test]
    fn an_error_quotes_the_packet_that_its_receiver_had_sent(
        (spec, _) in superpackets(1), seed: u128, ours: u128,
    ) {
        let packet = spec.build();
        let new = address(&packet, seed);
        let can_be_a_host = |address: IpAddr| match address {
            IpAddr::V4(v4) => (1..224).contains(&v4.octets()[0]) && !v4.is_loopback(),
            IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified() && !v6.is_loopback(),
        };
        let ours = address(&packet, ours | 0x0a00_0000);
        prop_assume!(can_be_a_host(new) && can_be_a_host(ours));

        // Outbound: what is quoted came in, to the address that is mapped.
        let mut error = unreachable(&packet, ours);
        rewrite::replace_quoted(&mut error, Side::Destination, new, false);
        let expected = unreachable(&replaced(&packet, Side::Destination, new, false), ours);
        prop_assert_eq!(&error, &expected);
        prop_assert_eq!(rewrite::quoted(&error).unwrap().destination, new);

        // Inbound: it went out, from the address that is mapped and that the error is for.
        let mut error = unreachable(&packet, ours);
        rewrite::replace_quoted(&mut error, Side::Source, new, false);
        rewrite::replace(&mut error, Side::Destination, new, false).unwrap();
        let expected = unreachable(&replaced(&packet, Side::Source, new, false), ours);
        prop_assert_eq!(error, expected);
    }

    #[test]
    fn fragments_are_valid_when_they_are_together(
        (spec, _) in superpackets(1), side in sides(), seed: u128,
    ) {
        prop_assume!(!spec.is_v6 && spec.header_len() + spec.payload.len() >= 20 + 48);
        let mut whole = spec.build();
        whole[6] = 0;
        fix_v4_checksum(&mut whole);
        let (first, later) = whole[20..].split_at(40);
        let fragment = |field: u16, payload: &[u8]| {
            let mut packet = whole[..20].to_vec();
            packet[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
            packet[6..8].copy_from_slice(&field.to_be_bytes());
            fix_v4_checksum(&mut packet);
            packet.extend(payload);
            packet
        };
        let new = address(&whole, seed);
        let first = replaced(&fragment(0x2000, first), side, new, false);
        let second = replaced(&fragment(40 / 8, later), side, new, false);
        prop_assert_eq!(&second[20..], later, "there is no transport header in it");
        for packet in [&first, &second] {
            let mut again = packet.clone();
            fix_v4_checksum(&mut again);
            prop_assert_eq!(&again, packet);
        }
        let expected = replaced(&whole, side, new, false);
        prop_assert_eq!([&first[20..], &second[20..]].concat(), &expected[20..]);
    }

    #[test]
    fn rubbish_does_no_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), kind: u8) {
        // Most of it is to get past the first look.
        let len = bytes.len() as u16;
        if let Some(fixed) = bytes.first_chunk_mut::<40>() {
            match kind % 3 {
                0 => {
                    fixed[0] = 0x45;
                    fixed[2..4].copy_from_slice(&len.to_be_bytes());
                    fixed[6..8].fill(0);
                    fixed[9] = [1, 6, 17, 33, 136][usize::from(kind / 3 % 5)];
                    fixed[20] = [3, 11, 12][usize::from(kind % 3)];
                }
                1 => {
                    fixed[0] = 0x60;
                    fixed[4..6].copy_from_slice(&(len - 40).to_be_bytes());
                    fixed[6] = [58, 6, 17, 0, 44][usize::from(kind / 3 % 5)];
                }
                _ => {}
            }
        }
        for side in [Side::Source, Side::Destination] {
            for new in [IpAddr::from([1, 2, 3, 4]), IpAddr::from([5_u16; 8])] {
                let is_v4 = bytes.first().is_some_and(|byte| byte >> 4 == 4);
                if is_v4 != new.is_ipv4() {
                    continue;
                }
                let mut packet = bytes.clone();
                let is_packet = rewrite::replace(&mut packet, side, new, false).is_ok();
                prop_assert_eq!(is_packet, Flow::parse(&bytes).is_ok());
                prop_assert!(is_packet || packet == bytes);
                if rewrite::quoted(&packet).is_some_and(|it| it.source.is_ipv4() == is_v4) {
                    rewrite::replace_quoted(&mut packet, side, new, false);
                }
                prop_assert_eq!(packet.len(), bytes.len());
            }
        }
    }
}

/// An IPv6 packet whose payload has its checksum at `at`, valid or missing.
fn v6_packet(protocol: u8, payload: &[u8], at: usize) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([protocol, 64]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend(payload);
    let flow = Flow::parse(&packet).unwrap();
    let sum = checksum::partial(payload)
        + checksum::pseudo_header(flow.source, flow.destination, protocol, payload.len());
    packet[40 + at..][..2].copy_from_slice(&checksum::finish(sum).to_be_bytes());
    packet
}

#[test]
fn every_protocol_whose_checksum_covers_the_addresses_is_known() {
    // DCCP, ICMPv6 echo, UDP-Lite.
    for (protocol, at) in [(33, 6), (58, 2), (136, 6)] {
        let mut payload = noise(u64::from(protocol), 41);
        payload[0] = 128;
        payload[at..at + 2].fill(0);
        let packet = v6_packet(protocol, &payload, at);
        let there = replaced(&packet, Side::Source, address(&packet, 77 << 100), false);
        let flow = Flow::parse(&there).unwrap();
        let sum = checksum::partial(&there[40..])
            + checksum::pseudo_header(flow.source, flow.destination, protocol, 41);
        assert_eq!(checksum::finish(sum), 0, "protocol {protocol}");
    }
    // SCTP has a sum of its own, and what is unknown is left alone.
    for protocol in [132, 200] {
        let packet = v6_packet(protocol, &noise(5, 41), 6);
        let there = replaced(&packet, Side::Source, address(&packet, 77 << 100), false);
        assert_eq!(there[40..], packet[40..], "protocol {protocol}");
    }
}

#[test]
fn a_udp_checksum_that_is_missing_stays_missing() {
    for is_v6 in [false, true] {
        let spec = Spec {
            is_v6,
            ..Spec::udp(vec![1; 30])
        };
        let mut packet = spec.build();
        let at = spec.ip_header_len() + 6;
        packet[at..at + 2].fill(0);
        let there = replaced(&packet, Side::Source, address(&packet, 77), false);
        assert_eq!(there[at..], packet[at..]);
    }
}

/// Extension headers, and a quote that ends in the middle of its transport header.
#[test]
fn a_short_quote_is_mended_as_far_as_it_goes() {
    let original = Spec::tcp(vec![9; 100]).build();
    for there in 20..original.len().min(60) {
        let mut error = unreachable(&original[..there], "10.0.0.1".parse().unwrap());
        let new = IpAddr::from([10, 77, 1, 5]);
        rewrite::replace_quoted(&mut error, Side::Destination, new, false);
        assert_eq!(checksum::finish(checksum::partial(&error[20..])), 0);
        assert_eq!(rewrite::quoted(&error).unwrap().destination, new);
        // The sixteen bits of TCP's checksum are there or are not.
        let (quoted, before) = (&error[48..], &original[20..there]);
        let changed = quoted.iter().zip(before).filter(|(a, b)| a != b).count();
        assert_eq!(changed != 0, there >= 20 + 18, "{there} bytes");
    }
}

#[test]
fn what_quotes_nothing_is_left_alone() {
    let original = Spec::udp(vec![9; 100]).build();
    let error = unreachable(&original, "10.0.0.1".parse().unwrap());
    for (at, value) in [(20, 8), (20, 0), (9, 17)] {
        let mut other = error.clone();
        other[at] = value;
        assert_eq!(rewrite::quoted(&other), None);
        let before = other.clone();
        rewrite::replace_quoted(&mut other, Side::Source, [1, 2, 3, 4].into(), false);
        assert_eq!(other, before);
    }
    assert!(rewrite::quoted(&error).is_some());
    let (_, packet) = Spec::tcp(vec![1; 9]).lone();
    assert_eq!(rewrite::quoted(&packet), None);
}
