//! Fragments, and what transport headers say.

use weapon_wire::{Flow, Fragment, Icmp, Piece, Transport, icmp, tcp};

/// An IPv4 packet of this protocol; `field` is that of its fragment.
fn v4(protocol: u8, field: u16, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + rest.len() as u16).to_be_bytes());
    packet.extend([0x12, 0x34]);
    packet.extend(field.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(rest);
    packet
}

/// An IPv6 packet whose first next header is this.
fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((rest.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend([0xfd; 32]);
    packet.extend(rest);
    packet
}

fn piece(packet: &[u8]) -> Piece {
    Piece::of(packet, &Flow::parse(packet).unwrap())
}

fn transport(packet: &[u8]) -> Transport {
    Transport::of(packet, &Flow::parse(packet).unwrap())
}

#[test]
fn fragments_of_ipv4_say_where_they_belong() {
    let fragment = |offset, len| Fragment {
        id: 0x1234,
        offset,
        len,
    };
    assert_eq!(piece(&v4(17, 0, &[0; 16])), Piece::Whole);
    // "Don't fragment" and the reserved bit make none.
    assert_eq!(piece(&v4(17, 0xc000, &[0; 16])), Piece::Whole);
    assert_eq!(
        piece(&v4(17, 0x2000, &[0; 16])),
        Piece::First(fragment(0, 16))
    );
    assert_eq!(
        piece(&v4(17, 0x2001, &[0; 24])),
        Piece::Later(fragment(8, 24))
    );
    assert_eq!(
        piece(&v4(17, 0x1fff, &[])),
        Piece::Later(fragment(65_528, 0))
    );
}

#[test]
fn fragments_of_ipv6_stand_among_extension_headers() {
    let rest = [0; 16];
    let header = |field: u16| {
        let [high, low] = field.to_be_bytes();
        [17, 0, high, low, 1, 2, 3, 4]
    };
    let fragment = |offset, len| Fragment {
        id: 0x0102_0304,
        offset,
        len,
    };
    assert_eq!(piece(&v6(17, &rest)), Piece::Whole);
    for (field, expected) in [
        (0, Piece::Whole),
        (6, Piece::Whole),
        (1, Piece::First(fragment(0, 16))),
        (8, Piece::Later(fragment(8, 16))),
        (9, Piece::Later(fragment(8, 16))),
        (0xfff8, Piece::Later(fragment(65_528, 16))),
    ] {
        let behind = [&header(field)[..], &rest].concat();
        assert_eq!(piece(&v6(44, &behind)), expected, "{field:#x}");
        // Behind options and an authentication header, whose lengths count differently.
        let options = [44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(piece(&v6(0, &[&options, &behind[..]].concat())), expected);
        let authentication = [44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            piece(&v6(51, &[&authentication, &behind[..]].concat())),
            expected
        );
    }
    // With options behind it, which are part of what was cut.
    let options = [17, 0, 0, 0, 0, 0, 0, 0];
    let mut first = header(1);
    first[0] = 60;
    let behind = [&first[..], &options, &rest].concat();
    assert_eq!(piece(&v6(44, &behind)), Piece::First(fragment(0, 24)));
    // Two of them.
    let mut outer = header(1);
    outer[0] = 44;
    for inner in [1, 8] {
        let behind = [&outer[..], &header(inner), &rest].concat();
        assert_eq!(piece(&v6(44, &behind)), Piece::Nested);
    }
    let behind = [&outer[..], &header(0), &rest].concat();
    assert!(matches!(piece(&v6(44, &behind)), Piece::First(_)));
}

#[test]
fn headers_are_all_there_or_cut_off() {
    for (protocol, len) in [(6, 20), (17, 8), (136, 8), (132, 12), (33, 12), (1, 8)] {
        let mut rest = vec![0; len];
        if protocol == 6 {
            rest[12] = 0x50;
            rest[13] = tcp::SYN | tcp::ACK;
        }
        let expected = match protocol {
            6 => Transport::Tcp(tcp::SYN | tcp::ACK),
            1 => Transport::Icmp(Icmp { kind: 0, id: 0 }),
            _ => Transport::Other,
        };
        assert_eq!(transport(&v4(protocol, 0, &rest)), expected, "{protocol}");
        rest.pop();
        assert_eq!(
            transport(&v4(protocol, 0, &rest)),
            Transport::Truncated,
            "{protocol}"
        );
    }
    let mut short = [0; 20];
    short[12] = 0x40;
    assert_eq!(transport(&v4(6, 0, &short)), Transport::Truncated);
    // Others have no header that is known, and ICMP is that of the version.
    for protocol in [47, 58] {
        assert_eq!(transport(&v4(protocol, 0, &[])), Transport::Other);
    }
    assert_eq!(transport(&v6(1, &[])), Transport::Other);
    let echo = [128, 0, 0, 0, 7, 9, 0, 0];
    assert_eq!(
        transport(&v6(58, &echo)),
        Transport::Icmp(Icmp {
            kind: 128,
            id: 0x0709
        })
    );
    // Bytes behind the packet's own end are none of it.
    let mut padded = v4(17, 0, &[0; 7]);
    padded.extend([0; 9]);
    assert_eq!(transport(&padded), Transport::Truncated);
}

#[test]
fn icmp_is_of_its_version() {
    let (v4, v6) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
    let icmp = |kind| Icmp { kind, id: 0 };
    assert!(icmp(8).is_echo(v4) && !icmp(8).is_echo(v6));
    assert!(icmp(128).is_echo(v6) && !icmp(128).is_echo(v4));
    assert!(icmp(0).is_echo_reply(v4) && !icmp(0).is_echo_reply(v6));
    assert!(icmp(129).is_echo_reply(v6) && !icmp(129).is_echo_reply(v4));
    let errors = |address| {
        (0..=255)
            .filter(|kind| icmp(*kind).is_error(address))
            .collect::<Vec<_>>()
    };
    assert_eq!(errors(v4), [3, 4, 5, 11, 12]);
    assert_eq!(errors(v6), [1, 2, 3, 4]);
    assert_eq!((Icmp::echo_of(v4).kind, Icmp::echo_of(v6).kind), (8, 128));
}

fn quoted(packet: &[u8]) -> Option<Transport> {
    let flow = Flow::parse(packet).unwrap();
    Transport::quoted(packet, &flow).map(|(_, transport)| transport)
}

#[test]
fn errors_quote_the_start_of_a_header() {
    let mut tcp = [0; 20];
    (tcp[12], tcp[13]) = (0x50, tcp::SYN);
    let originals = [
        (v4(17, 0, &[0; 8]), Transport::Other),
        (v4(6, 0, &tcp), Transport::Tcp(0)),
        (
            v4(1, 0, &[8, 0, 0, 0, 1, 2, 0, 0]),
            Transport::Icmp(Icmp {
                kind: 8,
                id: 0x0102,
            }),
        ),
        (v4(17, 0x2000, &[0; 8]), Transport::Other),
    ];
    for (original, expected) in originals {
        let mut error = [0; icmp::ERROR_LEN_MAX];
        let len = icmp::unreachable(&original, None, &mut error).unwrap();
        assert_eq!(quoted(&error[..len]), Some(expected));
        // Eight bytes of it are enough, and less are not.
        let mut short = error[..20 + 8 + 28].to_vec();
        short[3] = short.len() as u8;
        assert_eq!(quoted(&short), Some(expected));
        short[3] -= 1;
        assert_eq!(quoted(&short), None, "what is behind is padding");
    }
    let mut error = [0; icmp::ERROR_LEN_MAX];
    let len = icmp::unreachable(&v4(17, 0, &[0; 8]), None, &mut error).unwrap();
    // A later fragment has no header; a packet that ends before eight bytes has none either.
    let mut later = error[..len].to_vec();
    later[28 + 7] = 1;
    assert_eq!(quoted(&later), None);
    let mut empty = error[..len].to_vec();
    empty[28 + 3] = 27;
    assert_eq!(quoted(&empty), None);
    assert_eq!(quoted(&v4(17, 0, &[0; 8])), None);
}

#[test]
fn an_answer_goes_back() {
    let packet = v4(17, 0, &[0, 1, 0, 2, 0, 8, 0, 0]);
    let flow = Flow::parse(&packet).unwrap();
    let back = flow.reversed();
    assert_eq!(
        (back.source, back.destination),
        (flow.destination, flow.source)
    );
    assert_eq!((flow.ports, back.ports), (Some((1, 2)), Some((2, 1))));
    assert_eq!(back.reversed(), flow);
}
