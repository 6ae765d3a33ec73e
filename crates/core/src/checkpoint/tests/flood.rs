//! Many flows.

use super::*;

const FLOWS: usize = 4096;

fn establish(post: &mut Post, number: u16) {
    let (client, server) = ((HERE, 10_000 + number), (THERE, 80));
    post.send(Outbound, &tcp(client, server, SYN)).unwrap();
    post.send(Inbound, &tcp(server, client, SYN | ACK)).unwrap();
    post.send(Outbound, &tcp(client, server, ACK)).unwrap();
}

fn is_there(post: &mut Post, number: u16) -> bool {
    let (client, server) = ((HERE, 10_000 + number), (THERE, 80));
    post.send(Inbound, &tcp(server, client, ACK)).is_ok()
}

/// A flow of the flood: a SYN, as of a port scan with a made-up source.
fn scan(number: u32) -> Vec<u8> {
    let mut packet = tcp((THERE, number as u16), (HERE, (number >> 16) as u16), SYN);
    packet[14..16].copy_from_slice(&(number as u16).to_be_bytes());
    packet
}

#[test]
fn a_million_new_flows_leave_established_ones_alone() {
    for of in [PEER, OTHER] {
        let rules = [allow("out", Outbound), allow("in", Inbound)];
        let mut post = Post::of(&rules, Action::Deny, true, FLOWS);
        for number in 0..1000 {
            establish(&mut post, number);
        }
        post.peer = of;
        let mut refused = 0;
        for number in 0..1_000_000 {
            post.now = post.now + Duration::from_micros(10);
            match post.send(Inbound, &scan(number)) {
                Ok(()) => {}
                Err(DropReason::FlowTableFull) => refused += 1,
                Err(reason) => panic!("{reason:?}"),
            }
        }
        // Some new ones meet a set with as many established ones as a peer may have; few do.
        assert!(refused < 1000, "{refused}");
        post.peer = PEER;
        post.rule(&[allow("out", Outbound)]);
        assert!((0..1000).all(|number| is_there(&mut post, number)));
        assert!(post.checkpoint.flows().len() <= FLOWS);
        assert_eq!(post.checkpoint.flows().capacity(), FLOWS);
        assert_eq!(post.flows().len(), post.checkpoint.flows().len());
    }
}

#[test]
fn a_flood_of_one_peer_leaves_places_to_others() {
    let rules = [allow("out", Outbound), allow("in", Inbound)];
    let mut post = Post::of(&rules, Action::Deny, true, FLOWS);
    post.peer = OTHER;
    // Even if somebody answers all of it.
    for number in 0..20_000 {
        let packet = scan(number);
        let flow = Flow::parse(&packet).unwrap();
        let (from, to) = (flow.source.to_string(), flow.destination.to_string());
        let (client, server) = (
            (&*from, flow.ports.unwrap().0),
            (&*to, flow.ports.unwrap().1),
        );
        if post.send(Inbound, &packet).is_ok() {
            post.send(Outbound, &tcp(server, client, SYN | ACK))
                .unwrap();
            post.send(Inbound, &tcp(client, server, ACK)).unwrap();
        }
    }
    let before = post.checkpoint.flows().len();
    assert_eq!(before, FLOWS / 16 * 12);
    post.peer = PEER;
    for number in 0..100 {
        establish(&mut post, number);
    }
    assert!((0..100).all(|number| is_there(&mut post, number)));
    assert_eq!(post.checkpoint.flows().len(), before + 100);
}

#[test]
fn a_full_table_refuses_by_name() {
    let mut post = Post::of(&[allow("in", Inbound)], Action::Deny, true, 16);
    let mut results = Vec::new();
    for number in 0..13 {
        let (client, server) = ((THERE, 1000 + number), (HERE, 80));
        results.push(post.send(Inbound, &tcp(client, server, SYN)));
        if results.last() == Some(&Ok(())) {
            post.send(Outbound, &tcp(server, client, SYN | ACK))
                .unwrap();
            post.send(Inbound, &tcp(client, server, ACK)).unwrap();
        }
    }
    let last = results.pop();
    assert_eq!(last, Some(Err(DropReason::FlowTableFull)));
    assert!(results.iter().all(Result::is_ok));
    let counts = &post.checkpoint.filter().counts()[0];
    assert_eq!((counts.allowed, counts.denied), (12, 1));
    let counts = post.checkpoint.flows().counts();
    assert_eq!((counts.begun, counts.refused), (12, 1));
}

#[test]
fn what_finds_no_place_is_foreseen_where_rules_decide() {
    for enforces in [true, false] {
        let mut post = Post::of(&[allow("in", Inbound)], Action::Deny, enforces, 16);
        for number in 0..13 {
            let (client, server) = ((THERE, 1000 + number), (HERE, 80));
            let syn = tcp(client, server, SYN);
            let flow = Flow::parse(&syn).unwrap();
            let headers = (&flow, &Transport::of(&syn, &flow));
            let seen = post
                .checkpoint
                .foresee(Inbound, post.peer, headers, post.now);
            let is_refused = matches!(seen, Foresight::Refused(_, DropReason::FlowTableFull));
            assert_eq!(is_refused, enforces && number == 12, "{seen:?}");
            assert_eq!(post.send(Inbound, &syn).is_err(), is_refused);
            let _ = post.send(Outbound, &tcp(server, client, SYN | ACK));
            let _ = post.send(Inbound, &tcp(client, server, ACK));
        }
    }
}

#[test]
fn a_list_comes_in_pages() {
    let mut post = Post::of(&[allow("in", Inbound)], Action::Deny, true, FLOWS);
    for number in 0..1000 {
        post.send(Inbound, &scan(number)).unwrap();
    }
    let (flows, filter) = (post.checkpoint.flows(), post.checkpoint.filter());
    let mut cursor = Some(0);
    let (mut all, mut pages) = (Vec::new(), 0);
    while let Some(at) = cursor {
        let page = flows.list(filter, post.now, at, 100, |_| true);
        assert!(page.flows.len() < 100 + 16);
        assert!(page.next.is_none() || page.flows.len() >= 100);
        all.extend(page.flows);
        pages += 1;
        cursor = page.next;
    }
    assert!((9..=11).contains(&pages), "{pages}");
    assert_eq!(all.len(), 1000);
    let mut ports: Vec<_> = all.iter().map(|it| it.ports.unwrap().0).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 1000);
    let some = flows.list(filter, post.now, 0, 100, |it| it.ports.unwrap().0 < 10);
    assert_eq!((some.flows.len(), some.next), (10, None));
}

#[test]
fn tables_are_of_a_size() {
    use crate::flows::{FLOWS_MAX, FlowTable};
    for (wanted, capacity) in [
        (0, 16),
        (1, 16),
        (16, 16),
        (17, 32),
        (1000, 1024),
        (usize::MAX, FLOWS_MAX),
    ] {
        assert_eq!(
            FlowTable::new(wanted, SEED, Arc::default()).capacity(),
            capacity
        );
    }
}
