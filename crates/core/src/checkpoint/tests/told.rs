//! Events.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::flows::{DENIAL_SOURCES, EventQueue};

impl Post {
    fn told(&self) -> Vec<Event> {
        let mut events = Vec::new();
        self.checkpoint.flows().events().take(&mut events);
        events
    }

    fn listen(&self, starts: bool) {
        self.checkpoint.flows().events().open(starts, || {});
    }
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

#[test]
fn a_flow_is_told_from_beginning_to_end() {
    let mut post = Post::new(&[allow("out", Outbound)]);
    let unheard = udp((HERE, 9), (THERE, 9), 1);
    post.send(Outbound, &unheard).unwrap();
    // The second one begins where the first has ended.
    post.wait(121);
    post.send(Outbound, &unheard).unwrap();
    assert_eq!(post.told(), [], "nobody listens");
    post.listen(true);
    let packet = udp((HERE, 53), (THERE, 4000), 10);
    post.send(Outbound, &packet).unwrap();
    post.send(Outbound, &packet).unwrap();
    let begin = post.now;
    let events = post.told();
    assert_eq!(kinds(&events), [EventKind::Start]);
    assert_eq!((events[0].packets, events[0].bytes), ([1, 0], [38, 0]));
    post.wait(1);
    post.send(Inbound, &udp((THERE, 4000), (HERE, 53), 100))
        .unwrap();
    let end = post.now;
    post.wait(120);
    post.checkpoint.sweep(post.now);
    let events = post.told();
    assert_eq!(kinds(&events), [EventKind::End(EndReason::Timeout); 2]);
    let event = events
        .iter()
        .find(|it| it.ports == Some((53, 4000)))
        .unwrap();
    let expected = Event {
        kind: EventKind::End(EndReason::Timeout),
        at: post.now,
        direction: Outbound,
        peer: PEER,
        source: ip(HERE),
        destination: ip(THERE),
        protocol: 17,
        ports: Some((53, 4000)),
        icmp_kind: None,
        rule: RuleId(1),
        first_seen: begin,
        last_seen: end,
        packets: [2, 1],
        bytes: [76, 128],
        tcp_flags: [0, 0],
        round_trip: None,
    };
    assert_eq!(*event, expected);
    assert_eq!(post.told(), []);
}

/// Metrics and the audit log have these names (docs/metrics.md, docs/audit.md).
#[test]
fn each_end_has_its_name() {
    let names = EndReason::ALL.map(EndReason::label);
    let expected = [
        "timeout",
        "evicted",
        "reopened",
        "policy",
        "peer_gone",
        "unwatched",
    ];
    assert_eq!(names, expected);
}

#[test]
fn it_is_told_why_a_flow_is_over() {
    let rules = [allow("out", Outbound), allow("in", Inbound)];
    let mut post = Post::of(&rules, Action::Deny, true, 16);
    post.listen(false);
    let echoed = echo("fd00::1", "fd01::1", 4, false);
    post.send(Outbound, &echoed).unwrap();
    post.wait(60);
    // Somebody meets what is over.
    post.send(Outbound, &echoed).unwrap();
    let events = post.told();
    assert_eq!(kinds(&events), [EventKind::End(EndReason::Timeout)]);
    assert_eq!((events[0].icmp_kind, events[0].ports), (Some(128), None));
    // A place is needed.
    for number in 0..12 {
        post.send(Outbound, &udp((HERE, number), (THERE, 53), 1))
            .unwrap();
    }
    assert_eq!(kinds(&post.told()), [EventKind::End(EndReason::Evicted)]);
    // A connection begins again.
    for flags in [SYN, RST, SYN] {
        post.send(Outbound, &tcp((HERE, 1), (THERE, 2), flags))
            .unwrap();
    }
    let events = post.told();
    let expected = [EndReason::Evicted, EndReason::Reopened].map(EventKind::End);
    assert_eq!(kinds(&events), expected);
    assert_eq!(events[1].tcp_flags, [SYN | RST, 0]);
    // Rules are changed: a packet meets its flow first, then all are gone through.
    let left = post.flows();
    let left = left.iter().find(|flow| flow.protocol == 17).unwrap();
    let port = left.ports.unwrap().0;
    post.rule(&[]);
    assert_eq!(
        post.send(Outbound, &udp((HERE, port), (THERE, 53), 1)),
        DENIED
    );
    let events = post.told();
    assert_eq!(events[0].kind, EventKind::End(EndReason::Policy));
    assert_eq!(events[0].ports, Some((port, 53)));
    let deny = EventKind::Deny {
        reason: DropReason::Denied,
        suppressed: 0,
    };
    assert_eq!(kinds(&events[1..]), [deny]);
    let left = post.checkpoint.flows().len();
    post.checkpoint
        .flows()
        .judge_again(post.checkpoint.filter(), post.now);
    assert_eq!(
        kinds(&post.told()),
        vec![EventKind::End(EndReason::Policy); left]
    );
    // A peer is gone.
    post.rule(&rules);
    post.send(Outbound, &udp((HERE, 11), (THERE, 53), 1))
        .unwrap();
    let filter = Filter::new(
        Action::Allow,
        &[],
        Vec::new(),
        Some(post.checkpoint.filter()),
    );
    post.checkpoint.flows().judge_again(&filter, post.now);
    assert_eq!(kinds(&post.told()), [EventKind::End(EndReason::PeerGone)]);
    assert!(post.checkpoint.flows().is_empty());
    // All of that is counted, by the same reasons.
    let counts = post.checkpoint.flows().counts();
    assert_eq!(counts.ended.map(|(reason, _)| reason), EndReason::ALL);
    assert_eq!(counts.ended.map(|(_, count)| count), [1, 2, 1, 12, 1, 0]);
    assert_eq!((counts.begun, counts.refused), (17, 0));
}

#[test]
fn denials_are_told_with_what_was_denied() {
    let mut post = Post::new(&[]);
    post.listen(true);
    post.send(Inbound, &tcp((THERE, 5), (HERE, 22), SYN | ACK))
        .unwrap_err();
    post.send(Inbound, &tcp((THERE, 5), (HERE, 22), SYN | FIN))
        .unwrap_err();
    post.send(Outbound, &echo("fd00::1", "fd01::1", 4, false))
        .unwrap_err();
    let events = post.told();
    let reasons: Vec<_> = events.iter().map(|event| event.kind).collect();
    let deny = |reason| EventKind::Deny {
        reason,
        suppressed: 0,
    };
    let expected = [
        DropReason::Denied,
        DropReason::TransportMalformed,
        DropReason::Denied,
    ];
    assert_eq!(reasons, expected.map(deny));
    let first = &events[0];
    assert_eq!((first.source, first.destination), (ip(THERE), ip(HERE)));
    assert_eq!(
        (first.protocol, first.ports, first.icmp_kind),
        (6, Some((5, 22)), None)
    );
    assert_eq!(
        (first.direction, first.peer, first.rule),
        (Inbound, PEER, RuleId::DEFAULT)
    );
    assert_eq!(
        (first.tcp_flags, first.packets, first.bytes),
        ([SYN | ACK, 0], [1, 0], [40, 0])
    );
    assert_eq!(
        (first.at, first.first_seen, first.round_trip),
        (post.now, post.now, None)
    );
    assert_eq!(
        (events[2].icmp_kind, events[2].direction),
        (Some(128), Outbound)
    );
}

/// Events and what they say was suppressed, of a rule.
fn sum(events: &[Event], rule: RuleId) -> u64 {
    let of_rule = events.iter().filter(|event| event.rule == rule);
    let told = of_rule.map(|event| match event.kind {
        EventKind::Deny { suppressed, .. } => 1 + suppressed,
        EventKind::Suppressed(count) => count,
        EventKind::Start | EventKind::End(_) => 0,
    });
    told.sum()
}

#[test]
fn denials_are_few_and_none_is_forgotten() {
    let ssh = Rule {
        ports: port(22),
        ..Rule::of_all("no-ssh", Action::Deny)
    };
    let mut post = Post::new(&[ssh]);
    post.listen(true);
    for number in 0..1000 {
        post.now = post.now + Duration::from_micros(100);
        let port = if number % 4 == 0 { 22 } else { 80 };
        post.send(Inbound, &tcp((THERE, number), (HERE, port), SYN))
            .unwrap_err();
    }
    let mut events = post.told();
    assert_eq!(events.len(), DENIALS_OF_SOURCE_MAX as usize);
    // Another source has events of its own, and takes along what was suppressed of its rule.
    post.send(Inbound, &tcp(("10.1.0.99", 1), (HERE, 22), SYN))
        .unwrap_err();
    let next = post.told();
    assert_eq!(next.len(), 1);
    assert_eq!(
        next[0].kind,
        EventKind::Deny {
            reason: DropReason::Denied,
            suppressed: 248
        }
    );
    events.extend(next);
    // In the next second there are some more.
    post.wait(1);
    for number in 0..10 {
        post.send(Inbound, &tcp((THERE, number), (HERE, 80), SYN))
            .unwrap_err();
    }
    let next = post.told();
    assert_eq!(next.len(), DENIALS_OF_SOURCE_MAX as usize);
    events.extend(next);
    // What is left is told when it has become quiet.
    assert!(!post.checkpoint.is_idle());
    post.checkpoint.sweep(post.now);
    assert!(post.checkpoint.is_idle());
    let rest = post.told();
    assert_eq!(kinds(&rest), [EventKind::Suppressed(5)]);
    assert_eq!(rest[0].rule, RuleId::DEFAULT);
    events.extend(rest);
    post.checkpoint.sweep(post.now);
    assert_eq!(post.told(), []);
    assert_eq!(sum(&events, RuleId(1)), 251);
    assert_eq!(sum(&events, RuleId::DEFAULT), 760);
    let counts = post.checkpoint.filter().counts();
    assert_eq!((counts[0].denied, counts[1].denied), (251, 760));
}

#[test]
fn made_up_sources_make_no_more_events_than_there_are() {
    let mut post = Post::new(&[]);
    post.listen(true);
    for number in 0..50_000_u32 {
        let mut packet = tcp((THERE, 1), (HERE, 22), SYN);
        packet[12..16].copy_from_slice(&number.to_be_bytes());
        post.send(Inbound, &packet).unwrap_err();
    }
    let events = post.told();
    assert_eq!(
        events.len(),
        DENIAL_SOURCES * DENIALS_OF_SOURCE_MAX as usize
    );
    post.checkpoint.sweep(post.now);
    let all = [events, post.told()].concat();
    assert_eq!(sum(&all, RuleId::DEFAULT), 50_000);
}

#[test]
fn a_superpacket_is_as_many_denials_as_packets() {
    let mut post = Post::new(&[]);
    post.listen(true);
    let packet = udp((HERE, 1), (THERE, 2), 100);
    let flow = Flow::parse(&packet).unwrap();
    let traveller = Traveller {
        direction: Outbound,
        peer: PEER,
        flow: &flow,
        bytes: &packet,
        now: post.now,
        packets: 40,
        total: 5000,
    };
    post.checkpoint
        .pass(&traveller, &mut post.last)
        .unwrap_err();
    assert_eq!(sum(&post.told(), RuleId::DEFAULT), 40);
    assert_eq!(post.checkpoint.filter().counts()[0].denied, 40);
}

#[test]
fn what_finds_no_room_is_counted() {
    let mut post = Post::of(&[allow("out", Outbound)], Action::Deny, true, 1 << 16);
    post.listen(true);
    let mut send = |number: usize| {
        let packet = udp((HERE, number as u16), (THERE, 53), 1);
        post.send(Outbound, &packet).unwrap();
    };
    (0..EVENTS_MAX + 10).for_each(&mut send);
    assert_eq!(post.checkpoint.flows().events().lost(), 10);
    assert_eq!(post.told().len(), EVENTS_MAX);
    assert_eq!(post.told().len(), 0);
    post.send(Outbound, &udp((HERE, 9), (THERE, 54), 1))
        .unwrap();
    assert_eq!(post.told().len(), 1);
    assert_eq!(post.checkpoint.flows().events().lost(), 10);
}

#[test]
fn who_listens_is_called_once_until_he_has_seen_all() {
    let post = Post::new(&[allow("out", Outbound)]);
    let calls = Arc::new(AtomicUsize::new(0));
    let queue: &EventQueue = post.checkpoint.flows().events();
    let counted = Arc::clone(&calls);
    queue.open(false, move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let event = |seconds| {
        let at = Tick::from_nanos(0) + Duration::from_secs(seconds);
        Event::of_rule(RuleId::DEFAULT, EventKind::Suppressed(1), at)
    };
    queue.offer(event(5));
    queue.offer(event(3));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let mut events = Vec::new();
    queue.take(&mut events);
    assert_eq!(events, [event(3), event(5)], "in the order of their time");
    queue.offer(event(6));
    assert_eq!(calls.load(Ordering::Relaxed), 1, "he has not seen the end");
    queue.take(&mut events);
    queue.take(&mut events);
    assert_eq!(events.len(), 3);
    queue.offer(event(7));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn nothing_begins_that_could_not_be_recorded() {
    for enforces in [true, false] {
        let rules = [allow("out", Outbound)];
        let mut post = Post::of(&rules, Action::Allow, enforces, 16);
        post.listen(false);
        let known = udp((HERE, 53), (THERE, 4000), 10);
        let new = udp((HERE, 54), (THERE, 4000), 10);
        let rest = tcp((HERE, 54), (THERE, 4000), RST);
        post.send(Outbound, &known).unwrap();
        post.checkpoint.flows().events().deny_new(true);
        post.send(Outbound, &known).unwrap();
        let back = udp((THERE, 4000), (HERE, 53), 10);
        post.send(Inbound, &back).unwrap();
        for packet in [&new, &rest] {
            let result = post.send(Outbound, packet);
            assert_eq!(result, Err(DropReason::NotRecorded), "{enforces}");
        }
        // What begins no flow is not known either.
        let mut alone = echo(HERE, THERE, 1, false);
        alone[20] = 13;
        assert_eq!(post.send(Outbound, &alone), Err(DropReason::NotRecorded));
        assert_eq!(post.told().len(), 3);
        post.checkpoint.flows().events().deny_new(false);
        for packet in [&new, &rest, &alone] {
            post.send(Outbound, packet).unwrap();
        }
    }
}

#[test]
fn who_watches_no_longer_hears_of_each_end() {
    let mut post = Post::of(&[allow("out", Outbound)], Action::Deny, true, 4096);
    for port in 1..=200 {
        let packet = udp((HERE, port), (THERE, 4000), 10);
        post.send(Outbound, &packet).unwrap();
    }
    post.listen(false);
    for port in 1..=50 {
        let packet = udp((THERE, 4000), (HERE, 1000 + port), 10);
        post.send(Inbound, &packet).unwrap_err();
    }
    let mut ports = Vec::new();
    let mut suppressed = 0;
    post.checkpoint.end(post.now, |event| match event.kind {
        EventKind::End(EndReason::Unwatched) => ports.push(event.ports.unwrap().0),
        EventKind::Suppressed(count) => suppressed += count,
        other => panic!("{other:?}"),
    });
    assert_eq!(u64::from(DENIALS_OF_SOURCE_MAX) + suppressed, 50);
    ports.sort_unstable();
    assert!(ports.into_iter().eq(1..=200));
    let counts = post.checkpoint.flows().counts();
    assert_eq!(counts.ended.last(), Some(&(EndReason::Unwatched, 200)));
    assert!(post.checkpoint.flows().is_empty());
}
