//! Fragments.

use super::*;

const UNKNOWN: Result<(), DropReason> = Err(DropReason::FragmentUnknown);
const OVERLAP: Result<(), DropReason> = Err(DropReason::FragmentOverlap);
const TINY: Result<(), DropReason> = Err(DropReason::FragmentTiny);

/// The bytes of a whole IPv4 packet from `start` to `end` behind its header, as a fragment.
fn v4(whole: &[u8], id: u16, start: usize, end: usize) -> Vec<u8> {
    let end = end.min(whole.len() - 20);
    let mut packet = whole[..20].to_vec();
    packet.extend_from_slice(&whole[20 + start..20 + end]);
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    let more = if end == whole.len() - 20 { 0 } else { 0x2000 };
    let field = more | (start / 8) as u16;
    packet[6..8].copy_from_slice(&field.to_be_bytes());
    packet
}

/// The same of IPv6, with `headers` between the fragment header and the rest.
fn v6(whole: &[u8], id: u32, start: usize, end: usize, headers: &[u8]) -> Vec<u8> {
    let rest = [headers, &whole[40..]].concat();
    let end = end.min(rest.len());
    let next = if headers.is_empty() { whole[6] } else { 60 };
    let more = u16::from(end != rest.len());
    let mut packet = whole[..40].to_vec();
    packet[6] = 44;
    packet.extend([next, 0]);
    packet.extend((start as u16 | more).to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend(&rest[start..end]);
    let len = packet.len() as u16 - 40;
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    packet
}

#[test]
fn fragments_follow_the_first_one() {
    let mut post = Post::new(&[Rule {
        ports: port(53),
        ..allow("dns", Inbound)
    }]);
    let whole = udp((THERE, 1), (HERE, 53), 3000);
    assert_eq!(post.send(Inbound, &v4(&whole, 7, 1000, 2000)), UNKNOWN);
    for (start, end) in [(0, 1000), (1000, 2000), (2000, 4000)] {
        assert_eq!(post.send(Inbound, &v4(&whole, 7, start, end)), Ok(()));
    }
    // All of them are of one flow.
    let flow = post.flow();
    assert_eq!((flow.packets, flow.bytes), ([3, 0], [3008 + 60, 0]));
    // Another packet, way, peer, protocol, or host.
    assert_eq!(post.send(Inbound, &v4(&whole, 8, 1000, 2000)), UNKNOWN);
    assert_eq!(post.send(Outbound, &v4(&whole, 7, 1000, 2000)), UNKNOWN);
    post.peer = OTHER;
    assert_eq!(post.send(Inbound, &v4(&whole, 7, 1000, 2000)), UNKNOWN);
    post.peer = PEER;
    for (at, byte) in [(9, 6), (15, 99), (19, 99)] {
        let mut other = v4(&whole, 7, 1000, 2000);
        other[at] = byte;
        assert_eq!(post.send(Inbound, &other), UNKNOWN);
    }
    // And not for ever.
    post.wait(29);
    assert_eq!(post.send(Inbound, &v4(&whole, 7, 1000, 2000)), Ok(()));
    post.wait(1);
    assert_eq!(post.send(Inbound, &v4(&whole, 7, 1000, 2000)), UNKNOWN);
}

#[test]
fn the_first_one_decides() {
    let mut post = Post::new(&[Rule {
        ports: port(53),
        ..allow("dns", Inbound)
    }]);
    let whole = udp((THERE, 1), (HERE, 54), 3000);
    assert_eq!(post.send(Inbound, &v4(&whole, 7, 0, 1000)), DENIED);
    assert_eq!(post.send(Inbound, &v4(&whole, 7, 1000, 2000)), UNKNOWN);
    // Nor does another first one help that comes behind one that was allowed.
    let allowed = udp((THERE, 1), (HERE, 53), 3000);
    assert_eq!(post.send(Inbound, &v4(&allowed, 8, 0, 1000)), Ok(()));
    assert_eq!(post.send(Inbound, &v4(&whole, 8, 0, 1000)), DENIED);
    assert_eq!(post.send(Inbound, &v4(&allowed, 8, 1000, 2000)), OVERLAP);
}

#[test]
fn a_first_one_without_its_header_is_tiny() {
    let mut post = Post::new(&[allow("in", Inbound)]);
    let whole = tcp((THERE, 1), (HERE, 22), SYN);
    assert_eq!(post.send(Inbound, &v4(&whole, 7, 0, 8)), TINY);
    assert_eq!(post.send(Inbound, &v4(&whole, 7, 8, 100)), UNKNOWN);
    assert_eq!(post.send(Inbound, &v4(&whole, 7, 0, 16)), TINY);
    // It spoils what had passed before.
    let long = udp((THERE, 1), (HERE, 53), 100);
    assert_eq!(post.send(Inbound, &v4(&long, 9, 0, 8)), Ok(()));
    let mut tiny = v4(&tcp((THERE, 1), (HERE, 53), SYN), 9, 0, 8);
    tiny[9] = 17;
    assert_eq!(
        post.send(Inbound, &tiny),
        Ok(()),
        "a datagram without data, twice"
    );
    let mut post = Post::new(&[allow("in", Inbound)]);
    let whole = v4(&[&whole[..], &[0; 40]].concat(), 7, 0, 24);
    assert_eq!(post.send(Inbound, &whole), Ok(()));
    let mut cut = whole[..36].to_vec();
    cut[3] = 36;
    assert_eq!(post.send(Inbound, &cut), OVERLAP);
}

#[test]
fn nothing_is_put_over_the_first_one() {
    let mut post = Post::new(&[allow("in", Inbound)]);
    let whole = udp((THERE, 1), (HERE, 53), 3000);
    let mut send = |packet: &[u8]| post.send(Inbound, packet);
    assert_eq!(send(&v4(&whole, 7, 0, 1000)), Ok(()));
    assert_eq!(send(&v4(&whole, 7, 1000, 1008)), Ok(()));
    assert_eq!(send(&v4(&whole, 7, 992, 1500)), OVERLAP);
    // Then it is over with all of it.
    assert_eq!(send(&v4(&whole, 7, 2000, 3000)), OVERLAP);
    assert_eq!(send(&v4(&whole, 7, 0, 1000)), OVERLAP);
    // Another first one of another length.
    assert_eq!(send(&v4(&whole, 8, 0, 1000)), Ok(()));
    assert_eq!(send(&v4(&whole, 8, 0, 1000)), Ok(()));
    assert_eq!(send(&v4(&whole, 8, 0, 1008)), OVERLAP);
    assert_eq!(send(&v4(&whole, 8, 2000, 3000)), OVERLAP);
    // RFC 3128: the flags of TCP are in the second one.
    assert_eq!(send(&v4(&whole, 9, 8, 100)), UNKNOWN);
}

#[test]
fn of_ipv6_too_behind_all_its_headers() {
    let options = [17, 0, 1, 4, 0, 0, 0, 0];
    for headers in [&[][..], &options] {
        let mut post = Post::new(&[Rule {
            ports: port(53),
            ..allow("dns", Inbound)
        }]);
        let whole = udp(("fd01::6", 1), ("fd00::5", 53), 3000);
        let mut send = |packet: &[u8]| post.send(Inbound, packet);
        assert_eq!(send(&v6(&whole, 7, 1000, 2000, headers)), UNKNOWN);
        assert_eq!(send(&v6(&whole, 7, 0, 1000, headers)), Ok(()));
        assert_eq!(send(&v6(&whole, 7, 1000, 2000, headers)), Ok(()));
        assert_eq!(send(&v6(&whole, 8, 1000, 2000, headers)), UNKNOWN);
        assert_eq!(send(&v6(&whole, 7, 8, 2000, headers)), OVERLAP);
        // A header that is not all there. With options in front the UDP header is in the second.
        let tiny = v6(&whole, 9, 0, 8, &options);
        assert_eq!(send(&tiny), TINY);
        // A fragment that is all of its packet is no fragment (RFC 6946).
        let atomic = v6(&whole, 10, 0, 5000, headers);
        assert_eq!(send(&atomic), Ok(()));
        assert_eq!(send(&v6(&whole, 10, 1000, 2000, headers)), UNKNOWN);
    }
}

#[test]
fn a_fragment_of_a_fragment_is_none() {
    let mut post = Post::new(&[allow("in", Inbound)]);
    let whole = udp(("fd01::6", 1), ("fd00::5", 53), 100);
    let first = v6(&whole, 7, 0, 64, &[]);
    assert_eq!(post.send(Inbound, &first), Ok(()));
    let mut nested = first[..40].to_vec();
    nested.extend([44, 0, 0, 1, 0, 0, 0, 9]);
    nested.extend(&first[40..]);
    nested[5] = (nested.len() - 40) as u8;
    assert_eq!(post.send(Inbound, &nested), OVERLAP);
    // Two of them of which one says nothing are one.
    nested[43] = 0;
    assert_eq!(post.send(Inbound, &nested), Ok(()));
}

#[test]
fn who_only_watches_lets_them_pass() {
    let mut post = Post::of(&[], Action::Allow, false, 16);
    let whole = udp((THERE, 1), (HERE, 53), 3000);
    for (start, end) in [(1000, 2000), (0, 1000), (992, 2000)] {
        assert_eq!(post.send(Inbound, &v4(&whole, 7, start, end)), Ok(()));
    }
    assert_eq!(post.flow().packets, [1, 0]);
}

#[test]
fn a_flood_of_first_ones_leaves_those_of_others() {
    let mut post = Post::new(&[allow("in", Inbound)]);
    let whole = udp((THERE, 1), (HERE, 53), 3000);
    post.send(Inbound, &v4(&whole, 7, 0, 1000)).unwrap();
    post.peer = OTHER;
    for id in 0..20_000 {
        post.send(Inbound, &v4(&whole, id, 0, 1000)).unwrap();
    }
    // Of its own, the newest are there.
    assert_eq!(post.send(Inbound, &v4(&whole, 19_999, 1000, 2000)), Ok(()));
    assert_eq!(post.send(Inbound, &v4(&whole, 0, 1000, 2000)), UNKNOWN);
    post.peer = PEER;
    assert_eq!(post.send(Inbound, &v4(&whole, 7, 1000, 2000)), Ok(()));
}

#[test]
fn an_error_about_a_later_fragment_is_about_nothing() {
    let mut post = Post::new(&[allow("out", Outbound)]);
    let whole = udp((HERE, 53), (THERE, 4000), 3000);
    let first = v4(&whole, 7, 0, 1000);
    let second = v4(&whole, 7, 1000, 2000);
    post.send(Outbound, &first).unwrap();
    post.send(Outbound, &second).unwrap();
    let about = error(&first, "10.1.0.1");
    assert_eq!(post.send(Inbound, &about), Ok(()));
    let mut about_second = about;
    about_second[28..48].copy_from_slice(&second[..20]);
    assert_eq!(post.send(Inbound, &about_second), DENIED);
}
