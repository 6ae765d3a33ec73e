//! Flow: lengths are checked against each other and against the bytes.

use weapon_wire::{Flow, Malformed};

use crate::packets::*;

#[test]
fn p87_versions_other_than_4_and_6_are_refused() {
    let packet = Spec::tcp(vec![1; 60]).build();
    assert!(Flow::parse(&packet).is_ok());
    for version in (0..16).filter(|version| ![4, 6].contains(version)) {
        let mut other = packet.clone();
        other[0] = version << 4 | 5;
        assert_eq!(Flow::parse(&other), Err(Malformed::BadVersion));
    }
    assert_eq!(Flow::parse(&[]), Err(Malformed::Truncated));
}

#[test]
fn p87_headers_must_be_whole() {
    for is_v6 in [false, true] {
        let packet = Spec {
            is_v6,
            ..Spec::tcp(vec![])
        }
        .build();
        let header_len = if is_v6 { 40 } else { 20 };
        for len in 1..header_len {
            assert_eq!(
                Flow::parse(&packet[..len]),
                Err(Malformed::Truncated),
                "{len}"
            );
        }
        for len in header_len..packet.len() {
            assert_eq!(
                Flow::parse(&packet[..len]),
                Err(Malformed::BadTotalLength),
                "{len}"
            );
        }
    }
    let mut packet = Spec::tcp(vec![]).build();
    for words in 0..5 {
        packet[0] = 0x40 | words;
        assert_eq!(Flow::parse(&packet), Err(Malformed::BadHeaderLength));
    }
    packet[0] = 0x4f;
    assert_eq!(
        Flow::parse(&packet),
        Err(Malformed::BadTotalLength),
        "60 bytes of 40"
    );
}

#[test]
fn p87_total_length_lies_between_header_and_plaintext() {
    let packet = Spec::udp(vec![1; 4]).build();
    // An interpreter takes minutes for all of them.
    let is_tried = |len: &u16| !cfg!(miri) || *len < 70 || len.is_multiple_of(9973);
    for total_len in (0..=u16::MAX).filter(is_tried) {
        let mut packet = packet.clone();
        packet[2..4].copy_from_slice(&total_len.to_be_bytes());
        let wanted = (20..=32).contains(&total_len);
        assert_eq!(Flow::parse(&packet).is_ok(), wanted, "{total_len}");
    }
}

#[test]
fn p87_padding_is_beyond_total_len() {
    for is_v6 in [false, true] {
        let mut packet = Spec {
            is_v6,
            ..Spec::udp(vec![1; 5])
        }
        .build();
        let len = packet.len();
        packet.resize(len.next_multiple_of(16), 0);
        assert_eq!(Flow::parse(&packet).unwrap().total_len, len);
    }
}

#[test]
fn p87_ipv6_length_does_not_wrap() {
    let mut packet = Spec {
        is_v6: true,
        ..Spec::udp(vec![1; 64])
    }
    .build();
    // In 16 bits 40 + 65 500 is 4, and 40 + 65 535 is 39.
    for payload_len in [65_496u16, 65_500, 65_535] {
        packet[4..6].copy_from_slice(&payload_len.to_be_bytes());
        assert_eq!(Flow::parse(&packet), Err(Malformed::BadTotalLength));
    }
    packet.resize(65_535 + 40, 0);
    assert_eq!(Flow::parse(&packet).unwrap().total_len, 65_575);
}

#[test]
fn flow_has_what_the_packet_says() {
    let spec = Spec {
        tos: 0xb9,
        host: 7,
        ..Spec::udp(vec![])
    };
    let flow = Flow::parse(&spec.build()).unwrap();
    assert_eq!(flow.source.to_string(), "172.17.0.7");
    assert_eq!(flow.destination.to_string(), "172.18.0.1");
    assert_eq!((flow.protocol, flow.ports), (17, Some((0x1207, 443))));
    assert_eq!(
        (flow.header_len, flow.total_len, flow.traffic_class),
        (20, 28, 0xb9)
    );

    let flow = Flow::parse(
        &Spec {
            is_v6: true,
            is_tcp: true,
            ..spec
        }
        .build(),
    )
    .unwrap();
    assert_eq!(flow.source.to_string(), "2001:db8::7");
    assert_eq!(flow.destination.to_string(), "2001:db8:0:9::1");
    assert_eq!((flow.protocol, flow.ports), (6, Some((0x1207, 443))));
    assert_eq!(
        (flow.header_len, flow.total_len, flow.traffic_class),
        (40, 60, 0xb9)
    );
}

#[test]
fn only_the_first_fragment_has_ports() {
    let mut packet = Spec::udp(vec![1; 8]).build();
    packet[6] = 0x20;
    assert!(Flow::parse(&packet).unwrap().ports.is_some());
    packet[6..8].copy_from_slice(&[0x20, 1]);
    assert_eq!(Flow::parse(&packet).unwrap().ports, None);
    packet[6..8].copy_from_slice(&[0, 1]);
    assert_eq!(Flow::parse(&packet).unwrap().ports, None);
}

/// A UDP packet behind the given extension headers.
fn behind(first: u8, extensions: &[u8]) -> Vec<u8> {
    let mut packet = Spec {
        is_v6: true,
        ..Spec::udp(vec![])
    }
    .build();
    packet[6] = first;
    packet[4..6].copy_from_slice(&(extensions.len() as u16 + 8).to_be_bytes());
    packet.splice(40..40, extensions.iter().copied());
    packet
}

#[test]
fn extension_headers_are_walked() {
    // Hop-by-hop of 16 bytes, routing of 8, authentication of 12, destination options of 8.
    let mut chain = vec![43, 1];
    chain.extend([0; 14]);
    chain.extend([51, 0, 0, 0, 0, 0, 0, 0]);
    chain.extend([60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    chain.extend([17, 0, 1, 4, 0, 0, 0, 0]);
    let packet = behind(0, &chain);
    let flow = Flow::parse(&packet).unwrap();
    assert_eq!((flow.protocol, flow.header_len), (17, 40 + 16 + 8 + 12 + 8));
    assert_eq!(flow.ports, Some((0x1201, 443)));
    // Cut anywhere in the chain, with a length that admits it.
    for len in 0..chain.len() {
        let mut cut = packet[..40 + len].to_vec();
        cut[4..6].copy_from_slice(&(len as u16).to_be_bytes());
        assert_eq!(Flow::parse(&cut), Err(Malformed::BadExtension), "{len}");
    }
}

#[test]
fn ipv6_fragments_are_told_apart() {
    let atomic = behind(44, &[17, 0, 0, 0, 1, 2, 3, 4]);
    assert!(Flow::parse(&atomic).unwrap().ports.is_some());
    let first = behind(44, &[17, 0, 0, 1, 1, 2, 3, 4]);
    assert!(Flow::parse(&first).unwrap().ports.is_some());
    let later = behind(44, &[17, 0, 0, 8, 1, 2, 3, 4]);
    let flow = Flow::parse(&later).unwrap();
    assert_eq!((flow.ports, flow.protocol, flow.header_len), (None, 17, 48));
    // What follows a later fragment's header is data, even if it would be an extension.
    let data = behind(44, &[60, 0, 0, 8, 1, 2, 3, 4]);
    assert_eq!(Flow::parse(&data).unwrap().protocol, 60);
}

#[test]
fn endless_extension_chains_are_refused() {
    let chain = |count: usize| {
        let mut chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        chain[(count - 1) * 8] = 17;
        behind(60, &chain)
    };
    assert!(Flow::parse(&chain(8)).is_ok());
    assert_eq!(Flow::parse(&chain(9)), Err(Malformed::BadExtension));
    assert_eq!(Flow::parse(&chain(1000)), Err(Malformed::BadExtension));
}

#[test]
fn packets_too_short_for_ports_have_none() {
    let mut packet = Spec::udp(vec![]).build();
    packet[2..4].copy_from_slice(&23u16.to_be_bytes());
    assert_eq!(Flow::parse(&packet).unwrap().ports, None);
    packet[9] = 1;
    packet[2..4].copy_from_slice(&28u16.to_be_bytes());
    assert_eq!(
        Flow::parse(&packet).unwrap().ports,
        None,
        "ICMP has no ports"
    );
}

#[test]
fn icmp_is_of_the_version_of_its_packet() {
    let with = |is_v6: bool, protocol: u8| {
        let spec = Spec {
            is_v6,
            ..Spec::udp(vec![1; 4])
        };
        let mut packet = spec.build();
        packet[if is_v6 { 6 } else { 9 }] = protocol;
        Flow::parse(&packet).unwrap()
    };
    for (is_v6, protocol, expected) in [
        (false, 1, true),
        (false, 58, false),
        (false, 17, false),
        (true, 58, true),
        (true, 1, false),
        (true, 17, false),
    ] {
        let flow = with(is_v6, protocol);
        assert_eq!(flow.is_icmp(), expected, "{flow:?}");
    }
}
