//! ICMP: errors that a second implementation can read, and silence where an error is forbidden.

use etherparse::{
    Icmpv4Slice, Icmpv4Type, Icmpv6Slice, Icmpv6Type, Ipv4Header, Ipv6Header,
    icmpv4::DestUnreachableHeader, icmpv6::DestUnreachableCode,
};
use weapon_wire::icmp;

use crate::packets::*;

const OURS: &str = "10.99.0.1";
const OURS_V6: &str = "fd00::1";

fn unreachable(original: &[u8]) -> Option<Vec<u8>> {
    let mut out = [0xaa; icmp::ERROR_LEN_MAX];
    let ours = if original[0] >> 4 == 6 { OURS_V6 } else { OURS };
    let len = icmp::unreachable(original, Some(ours.parse().unwrap()), &mut out)?;
    Some(out[..len].to_vec())
}

fn too_big(original: &[u8], mtu: u32) -> Option<Vec<u8>> {
    let mut out = [0xaa; icmp::ERROR_LEN_MAX];
    let len = icmp::packet_too_big(original, None, mtu, &mut out)?;
    Some(out[..len].to_vec())
}

/// Checks an IPv4 error and returns source, type and quote.
fn read_v4(error: &[u8]) -> ([u8; 4], Icmpv4Type, &[u8]) {
    let (ip, message) = Ipv4Header::from_slice(error).unwrap();
    assert_eq!(ip.header_checksum, ip.calc_header_checksum());
    assert_eq!(usize::from(ip.total_len), error.len());
    assert_eq!(
        (ip.protocol.0, ip.time_to_live, ip.dont_fragment),
        (1, 64, true)
    );
    let icmp = Icmpv4Slice::from_slice(message).unwrap();
    assert_eq!(
        icmp.checksum(),
        icmp.icmp_type().calc_checksum(icmp.payload())
    );
    assert_eq!(
        ip.destination,
        [172, 17, 0, 1],
        "the answer goes to the sender"
    );
    (ip.source, icmp.icmp_type(), &message[8..])
}

fn read_v6(error: &[u8]) -> ([u8; 16], Icmpv6Type, &[u8]) {
    let (ip, message) = Ipv6Header::from_slice(error).unwrap();
    assert_eq!(usize::from(ip.payload_length), message.len());
    assert_eq!((ip.next_header.0, ip.hop_limit), (58, 64));
    let icmp = Icmpv6Slice::from_slice(message).unwrap();
    assert!(icmp.is_checksum_valid(ip.source, ip.destination));
    (ip.source, icmp.icmp_type(), &message[8..])
}

#[test]
fn the_start_of_a_packet_is_enough_for_an_answer() {
    let packet = Spec::udp(vec![7; 1400]).build();
    for there in [28, 100, 1232] {
        let answer = unreachable(&packet[..there]).expect("an answer");
        let (_, _, quote) = read_v4(&answer);
        assert_eq!(quote, &packet[..quote.len()]);
        assert!(quote.len() >= 28);
    }
    assert_eq!(unreachable(&packet[..19]), None, "not even a header");
}

#[test]
fn host_unreachable_quotes_what_fits() {
    for len in [0, 1, 100, 520, 521, 1400, 60_000] {
        let original = Spec::tcp(noise(1, len)).build();
        let error = unreachable(&original).unwrap();
        let (source, icmp_type, quote) = read_v4(&error);
        assert_eq!(source, [10, 99, 0, 1]);
        let wanted = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::Host);
        assert_eq!(icmp_type, wanted);
        assert_eq!(error.len(), 576.min(28 + original.len()));
        assert_eq!(quote, &original[..quote.len()]);
    }
}

#[test]
fn address_unreachable_quotes_what_fits() {
    for len in [0, 1, 1171, 1172, 1173, 60_000] {
        let original = Spec {
            is_v6: true,
            ..Spec::tcp(noise(1, len))
        }
        .build();
        let error = unreachable(&original).unwrap();
        let (source, icmp_type, quote) = read_v6(&error);
        assert_eq!(
            source,
            OURS_V6.parse::<std::net::Ipv6Addr>().unwrap().octets()
        );
        let wanted = Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Address);
        assert_eq!(icmp_type, wanted);
        assert_eq!(error.len(), 1280.min(48 + original.len()));
        assert_eq!(quote, &original[..quote.len()]);
    }
}

#[test]
fn packet_too_big_names_the_mtu() {
    let original = Spec::tcp(noise(1, 1400)).build();
    let error = too_big(&original, 1380).unwrap();
    let (source, icmp_type, _) = read_v4(&error);
    assert_eq!(
        source,
        [172, 18, 0, 1],
        "without an address of ours the destination answers"
    );
    let needed = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: 1380 };
    assert_eq!(icmp_type, Icmpv4Type::DestinationUnreachable(needed));
    let error = too_big(&original, 70_000).unwrap();
    let needed = DestUnreachableHeader::FragmentationNeeded {
        next_hop_mtu: 65_535,
    };
    assert_eq!(
        read_v4(&error).1,
        Icmpv4Type::DestinationUnreachable(needed)
    );

    let original = Spec {
        is_v6: true,
        ..Spec::tcp(noise(1, 1400))
    }
    .build();
    let error = too_big(&original, 70_000).unwrap();
    assert_eq!(read_v6(&error).1, Icmpv6Type::PacketTooBig { mtu: 70_000 });
}

#[test]
fn padding_is_not_quoted() {
    let mut original = Spec::udp(vec![1]).build();
    let error = unreachable(&original).unwrap();
    original.extend([0; 11]);
    assert_eq!(unreachable(&original).unwrap(), error);
}

#[test]
fn address_of_the_other_family_is_not_used() {
    let original = Spec::udp(vec![1]).build();
    let mut out = [0; icmp::ERROR_LEN_MAX];
    let len = icmp::unreachable(&original, Some(OURS_V6.parse().unwrap()), &mut out).unwrap();
    assert_eq!(read_v4(&out[..len]).0, [172, 18, 0, 1]);
}

#[test]
fn short_room_gives_no_error() {
    let original = Spec::udp(vec![1; 10]).build();
    let mut out = [0; 66];
    assert_eq!(icmp::unreachable(&original, None, &mut out[..65]), None);
    assert_eq!(icmp::unreachable(&original, None, &mut out), Some(66));
}

#[test]
fn icmp_errors_are_not_answered() {
    let mut packet = Spec::udp(vec![0; 20]).build();
    packet[9] = 1;
    let answered = (0..=255u8).filter(|icmp_type| {
        packet[20] = *icmp_type;
        unreachable(&packet).is_some()
    });
    let queries = [0, 8, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43];
    assert_eq!(answered.collect::<Vec<_>>(), queries);
    packet[2..4].copy_from_slice(&20u16.to_be_bytes());
    assert_eq!(unreachable(&packet), None, "ICMP without a type");

    let mut packet = Spec {
        is_v6: true,
        ..Spec::udp(vec![0; 20])
    }
    .build();
    packet[6] = 58;
    let silent = (0..=255u8).filter(|icmp_type| {
        packet[40] = *icmp_type;
        unreachable(&packet).is_none()
    });
    assert_eq!(
        silent.collect::<Vec<_>>(),
        (0..128).chain([137]).collect::<Vec<_>>()
    );
    packet[4..6].fill(0);
    assert_eq!(unreachable(&packet), None, "ICMPv6 without a type");
}

#[test]
fn later_fragments_are_not_answered() {
    let mut packet = Spec::udp(vec![0; 20]).build();
    packet[6] = 0x20;
    assert!(unreachable(&packet).is_some(), "the first fragment is");
    packet[7] = 1;
    assert_eq!(unreachable(&packet), None);

    let mut packet = Spec {
        is_v6: true,
        ..Spec::udp(vec![0; 20])
    }
    .build();
    packet[6] = 44;
    packet[40..48].copy_from_slice(&[17, 0, 0, 1, 0, 0, 0, 0]);
    assert!(unreachable(&packet).is_some());
    packet[43] = 8;
    assert_eq!(unreachable(&packet), None);
}

#[test]
fn only_one_host_to_one_host_is_answered() {
    let packet = Spec::udp(vec![0; 20]).build();
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ] {
        let octets = address.parse::<std::net::Ipv4Addr>().unwrap().octets();
        for at in [12, 16] {
            let mut packet = packet.clone();
            packet[at..at + 4].copy_from_slice(&octets);
            assert_eq!(unreachable(&packet), None, "{address} at {at}");
            assert_eq!(too_big(&packet, 1280), None, "{address} at {at}");
        }
    }
    let packet = Spec {
        is_v6: true,
        ..Spec::udp(vec![0; 20])
    }
    .build();
    for address in ["::", "::1", "ff02::1"] {
        let octets = address.parse::<std::net::Ipv6Addr>().unwrap().octets();
        for at in [8, 24] {
            let mut packet = packet.clone();
            packet[at..at + 16].copy_from_slice(&octets);
            assert_eq!(unreachable(&packet), None, "{address} at {at}");
            assert_eq!(too_big(&packet, 1280), None, "{address} at {at}");
        }
    }
}

#[test]
fn ipv6_multicast_learns_the_mtu() {
    let mut packet = Spec {
        is_v6: true,
        ..Spec::udp(vec![0; 20])
    }
    .build();
    packet[24] = 0xff;
    let mut out = [0; icmp::ERROR_LEN_MAX];
    let ours = Some(OURS_V6.parse().unwrap());
    let len = icmp::packet_too_big(&packet, ours, 1280, &mut out).unwrap();
    assert_eq!(
        read_v6(&out[..len]).1,
        Icmpv6Type::PacketTooBig { mtu: 1280 }
    );
    assert_eq!(icmp::unreachable(&packet, ours, &mut out), None);
}

#[test]
fn malformed_packets_are_not_answered() {
    let packet = Spec::udp(vec![0; 20]).build();
    assert_eq!(icmp::unreachable(&[], None, &mut [0; 1280]), None);
    assert_eq!(unreachable(&packet[..19]), None);
    let mut too_short = packet;
    too_short[..4].copy_from_slice(&[0x45, 0, 0, 19]);
    assert_eq!(
        unreachable(&too_short),
        None,
        "a length that its own header exceeds"
    );
}
