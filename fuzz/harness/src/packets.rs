//! Inner packets: whatever a peer or a guest of the kernel sends is refused or understood, as
//! etherparse understands it, and an error that answers it is one that may be sent.

use core::net::IpAddr;

use etherparse::{
    IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice, ip_number,
};
use weapon_wire::{Flow, VnetHeader, icmp, message};

use crate::plain;

/// Extension headers that both sides walk.
const EXTENSIONS_MAX: usize = 8;

/// Parses the bytes as everything that they might be.
pub fn run(data: &[u8]) {
    check_messages(data);
    if let Ok(vnet) = VnetHeader::parse(data) {
        assert_eq!(vnet.to_bytes(), data[..VnetHeader::LEN]);
    }
    check_flow(data);
    let (ours_v4, ours_v6) = (IpAddr::from([192, 0, 2, 1]), "2001:db8::1".parse().unwrap());
    for ours in [None, Some(ours_v4), Some(ours_v6)] {
        check_error(data, ours, None);
        check_error(data, ours, Some(1280));
    }
}

fn check_messages(data: &[u8]) {
    let kind = message::kind(data);
    if kind == Ok(message::Kind::Data) {
        assert_eq!(message::data_receiver(data).to_le_bytes(), data[4..8]);
        assert_eq!(message::data_counter(data).to_le_bytes(), data[8..16]);
    }
    let is_initiation = message::Initiation::parse(data).is_some();
    let is_response = message::Response::parse(data).is_some();
    let is_reply = message::CookieReply::parse(data).is_some();
    assert_eq!(kind == Ok(message::Kind::Initiation), is_initiation);
    assert_eq!(kind == Ok(message::Kind::Response), is_response);
    assert_eq!(kind == Ok(message::Kind::CookieReply), is_reply);
}

fn check_flow(data: &[u8]) {
    let flow = Flow::parse(data).ok();
    let opinion = match data.first().map(|byte| byte >> 4) {
        Some(4) => second_opinion_v4(data),
        Some(6) => second_opinion_v6(data),
        _ => None,
    };
    assert_eq!(flow, opinion);
    let Some(flow) = flow else {
        return;
    };
    assert!(flow.header_len <= flow.total_len && flow.total_len <= data.len());
    // What is behind the packet means nothing.
    assert_eq!(Flow::parse(&data[..flow.total_len]), Ok(flow));
    let back = Flow {
        source: flow.destination,
        destination: flow.source,
        ports: flow.ports.map(|(from, to)| (to, from)),
        ..flow
    };
    assert_eq!(flow.hash(), back.hash());
}

fn second_opinion_v4(data: &[u8]) -> Option<Flow> {
    let header = Ipv4HeaderSlice::from_slice(data).ok()?;
    let (header_len, total_len) = (header.slice().len(), usize::from(header.total_len()));
    if total_len < header_len || total_len > data.len() {
        return None;
    }
    let is_first = header.fragments_offset().value() == 0;
    let protocol = header.protocol().0;
    Some(Flow {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol,
        ports: ports(protocol, is_first, &data[header_len..total_len]),
        header_len,
        total_len,
        traffic_class: header.dcp().value() << 2 | header.ecn().value(),
    })
}

fn second_opinion_v6(data: &[u8]) -> Option<Flow> {
    let header = Ipv6HeaderSlice::from_slice(data).ok()?;
    let total_len = 40 + usize::from(header.payload_length());
    let mut rest = data.get(40..total_len)?;
    let mut protocol = header.next_header();
    let mut is_first = true;
    let mut walked = 0;
    while is_first {
        let (next, len) = match protocol {
            ip_number::IPV6_HEADER_HOP_BY_HOP
            | ip_number::IPV6_ROUTE_HEADER
            | ip_number::IPV6_DESTINATION_OPTIONS
            | ip_number::MOBILITY_HEADER => {
                let extension = Ipv6RawExtHeaderSlice::from_slice(rest).ok()?;
                (extension.next_header(), extension.slice().len())
            }
            // Too short by RFC 4302, and eight bytes by its own account; etherparse refuses it.
            ip_number::AUTHENTICATION_HEADER if rest.len() >= 8 && rest[1] == 0 => {
                (rest[0].into(), 8)
            }
            ip_number::AUTHENTICATION_HEADER => {
                let extension = IpAuthHeaderSlice::from_slice(rest).ok()?;
                (extension.next_header(), extension.slice().len())
            }
            ip_number::IPV6_FRAGMENTATION_HEADER => {
                let extension = Ipv6FragmentHeaderSlice::from_slice(rest).ok()?;
                is_first = extension.fragment_offset().value() == 0;
                (extension.next_header(), extension.slice().len())
            }
            _ => break,
        };
        walked += 1;
        protocol = next;
        rest = &rest[len..];
    }
    if walked > EXTENSIONS_MAX {
        return None;
    }
    Some(Flow {
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        protocol: protocol.0,
        ports: ports(protocol.0, is_first, rest),
        header_len: total_len - rest.len(),
        total_len,
        traffic_class: header.traffic_class(),
    })
}

/// TCP, UDP, DCCP, SCTP and UDP-Lite begin with ports.
fn ports(protocol: u8, is_first: bool, transport: &[u8]) -> Option<(u16, u16)> {
    let has_ports = is_first && [6, 17, 33, 132, 136].contains(&protocol);
    (has_ports && transport.len() >= 4)
        .then(|| (plain::field(transport, 0), plain::field(transport, 2)))
}

/// The error that answers `data`, "too big" with an `mtu`, otherwise "unreachable".
fn check_error(data: &[u8], ours: Option<IpAddr>, mtu: Option<u32>) {
    let make = |packet: &[u8], out: &mut [u8]| match mtu {
        Some(mtu) => icmp::packet_too_big(packet, ours, mtu, out),
        None => icmp::unreachable(packet, ours, out),
    };
    let mut out = [0xca; icmp::ERROR_LEN_MAX + 1];
    let Some(len) = make(data, &mut out) else {
        return;
    };
    assert!(out[len..].iter().all(|&byte| byte == 0xca));
    let mut again = [0; icmp::ERROR_LEN_MAX];
    assert_eq!(make(data, &mut again[..len - 1]), None, "too little room");

    let error = &out[..len];
    let flow = Flow::parse(error).unwrap();
    assert_eq!(flow.total_len, len);
    assert!(plain::is_header_right(error));
    let (header_len, len_max) = if plain::is_v6(data) {
        assert_eq!(flow.protocol, 58);
        assert!(plain::is_transport_right(error, 58, 40));
        (40, 1280)
    } else {
        assert_eq!(flow.protocol, 1);
        assert_eq!(plain::sum(&[&error[20..]]), 0xffff);
        (20, 576)
    };
    assert!(len <= len_max);
    let quote = &error[header_len + 8..];
    assert_eq!(quote, &data[..quote.len()]);
    assert_eq!(flow.destination, source(data));
    if let Some(ours) = ours.filter(|ours| ours.is_ipv6() == plain::is_v6(data)) {
        assert_eq!(flow.source, ours);
    }
    // RFC 1122 section 3.2.2, RFC 4443 section 2.4 e: no error answers an error.
    assert_eq!(make(error, &mut again), None, "errors would answer errors");
}

fn source(packet: &[u8]) -> IpAddr {
    let addresses = plain::addresses(packet);
    match addresses.len() {
        8 => <[u8; 4]>::try_from(&addresses[..4]).unwrap().into(),
        _ => <[u8; 16]>::try_from(&addresses[..16]).unwrap().into(),
    }
}
