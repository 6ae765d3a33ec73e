//! The compiled filter, held against what each rule means.

use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

const PEERS: [(PeerId, &str); 3] = [
    (PeerId(1), "office"),
    (PeerId(4), "laptop"),
    (PeerId(9), "home"),
];

fn peers() -> Vec<(PeerId, Box<str>)> {
    PEERS.map(|(id, name)| (id, name.into())).to_vec()
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0_u32..64).prop_map(|host| Ipv4Addr::from_bits(0x0a00_0000 | host << 6).into()),
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        (0_u128..64).prop_map(|host| Ipv6Addr::from_bits(0xfd << 120 | host).into()),
    ]
}

fn any_net() -> impl Strategy<Value = IpNet> {
    (any_address(), 0_u8..=128).prop_map(|(address, len)| {
        let len = if address.is_ipv4() { len % 33 } else { len };
        IpNet::new(address, len).unwrap().trunc()
    })
}

fn any_ports() -> impl Strategy<Value = PortRange> {
    let range = prop_oneof![(0_u16..8, 0_u16..8), (any::<u16>(), any::<u16>())];
    range.prop_map(|(one, other)| PortRange {
        first: one.min(other),
        last: one.max(other),
    })
}

fn any_protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![
        Just(Protocol::Icmp),
        select(vec![1_u8, 6, 17, 47, 58, 255]).prop_map(Protocol::Number),
    ]
}

fn any_icmp() -> impl Strategy<Value = IcmpType> {
    prop_oneof![
        (0_u8..10).prop_map(IcmpType::V4),
        (0_u8..10).prop_map(IcmpType::V6),
        any::<u8>().prop_map(IcmpType::V6),
    ]
}

fn any_direction() -> impl Strategy<Value = Direction> {
    select(vec![Direction::Inbound, Direction::Outbound])
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let names = select(vec!["office", "laptop", "home", "nobody"]);
    let named = proptest::collection::btree_set(names, 1..3);
    let peers = prop_oneof![
        2 => Just(RulePeers::All),
        1 => named.prop_map(|it| RulePeers::Named(it.into_iter().map(Box::from).collect())),
    ];
    (
        (any::<bool>(), proptest::option::of(any_direction()), peers),
        (vec(any_net(), 0..3), vec(any_net(), 0..3)),
        vec(any_protocol(), 0..3),
        (vec(any_ports(), 0..3), vec(any_ports(), 0..2)),
        vec(any_icmp(), 0..2),
    )
        .prop_map(
            |((allows, direction, peers), (from, to), protocols, ports, icmp)| Rule {
                name: "".into(),
                action: if allows { Action::Allow } else { Action::Deny },
                direction,
                peers,
                from,
                to,
                protocols,
                source_ports: ports.1,
                ports: ports.0,
                icmp,
            },
        )
}

fn any_subject() -> impl Strategy<Value = (Subject, &'static str)> {
    let ports = prop_oneof![(0_u16..8, 0_u16..8), (any::<u16>(), any::<u16>())];
    (
        any_direction(),
        select(PEERS.to_vec()),
        (any_address(), any_address()),
        any_protocol(),
        proptest::option::of(ports),
        proptest::option::of(any_icmp()),
    )
        .prop_map(|(direction, (peer, name), ends, protocol, ports, icmp)| {
            let subject = Subject {
                direction,
                peer,
                source: ends.0,
                destination: ends.1,
                protocol,
                ports,
                icmp,
            };
            (subject, name)
        })
}

/// The first that matches, by what each of them means.
fn first<'a>(rules: &'a [Rule], subject: &Subject, peer: &str) -> Option<&'a Rule> {
    rules.iter().find(|rule| rule.matches(subject, peer))
}

proptest! {
    #[test]
    fn lanes_are_told_what_the_list_says(
        mut rules in vec(any_rule(), 0..150),
        subjects in vec(any_subject(), 40),
        allows in any::<bool>(),
    ) {
        for (number, rule) in rules.iter_mut().enumerate() {
            rule.name = number.to_string().into();
        }
        let default = if allows { Action::Allow } else { Action::Deny };
        let filter = Filter::new(default, &rules, peers(), None);
        for (subject, peer) in subjects {
            let verdict = filter.judge(&subject);
            let (action, name) = match first(&rules, &subject, peer) {
                Some(rule) => (rule.action, &*rule.name),
                None => (default, "default"),
            };
            prop_assert_eq!(verdict.action, action);
            prop_assert_eq!(&**filter.name(verdict.rule).unwrap(), name);
        }
    }
}

fn subject() -> Subject {
    Subject {
        direction: Direction::Inbound,
        peer: PeerId(4),
        source: "10.0.0.1".parse().unwrap(),
        destination: "10.1.0.1".parse().unwrap(),
        protocol: Protocol::Number(6),
        ports: Some((40_000, 22)),
        icmp: None,
    }
}

#[test]
fn the_default_decides_where_no_rule_does() {
    for default in [Action::Allow, Action::Deny] {
        let filter = Filter::new(default, &[], peers(), None);
        let expected = Verdict {
            action: default,
            rule: RuleId::DEFAULT,
        };
        assert_eq!(filter.judge(&subject()), expected);
        let rule = Rule {
            ports: vec![PortRange {
                first: 80,
                last: 80,
            }],
            ..Rule::of_all("web", Action::Allow)
        };
        let filter = Filter::new(default, &[rule], peers(), None);
        assert_eq!(filter.judge(&subject()), expected);
    }
}

#[test]
fn icmp_is_that_of_the_version_and_has_no_number() {
    let icmp = Rule {
        protocols: vec![Protocol::Icmp],
        ..Rule::of_all("icmp", Action::Allow)
    };
    let filter = Filter::new(Action::Deny, &[icmp], peers(), None);
    let judge = |protocol| {
        let subject = Subject {
            protocol,
            ports: None,
            ..subject()
        };
        filter.judge(&subject).action
    };
    assert_eq!(judge(Protocol::Icmp), Action::Allow);
    assert_eq!(judge(Protocol::Number(1)), Action::Deny);
    assert_eq!(judge(Protocol::Number(58)), Action::Deny);
    assert_eq!(judge(Protocol::Number(255)), Action::Deny);
}

#[test]
fn names_keep_their_numbers_and_counts() {
    let rules = |names: &[&str]| -> Vec<Rule> {
        let rule = |name: &&str| Rule::of_all(name, Action::Allow);
        names.iter().map(rule).collect()
    };
    let before = Filter::new(Action::Deny, &rules(&["a", "b"]), peers(), None);
    assert_eq!((before.epoch(), before.ids().count()), (1, 3));
    before.count_allowed(RuleId(2), 7);
    before.count_allowed(RuleId(99), 7);
    let after = Filter::new(Action::Deny, &rules(&["c", "b"]), peers(), Some(&before));
    assert_eq!(after.epoch(), 2);
    assert_eq!(after.name(RuleId(1)).unwrap().as_ref(), "a");
    assert_eq!(after.name(RuleId(2)).unwrap().as_ref(), "b");
    assert_eq!(after.name(RuleId(3)).unwrap().as_ref(), "c");
    assert_eq!(after.name(RuleId(4)), None);
    after.tally(RuleId::DEFAULT).unwrap().count(Action::Deny, 3);
    let counts = after.counts();
    let shown: Vec<_> = counts
        .iter()
        .map(|it| (&*it.name, it.action, it.allowed, it.denied))
        .collect();
    assert_eq!(
        shown,
        [
            ("c", Action::Allow, 0, 0),
            ("b", Action::Allow, 7, 0),
            ("default", Action::Deny, 0, 3)
        ]
    );
}

#[test]
fn it_knows_its_peers() {
    let filter = Filter::new(Action::Deny, &[], peers(), None);
    assert!(PEERS.iter().all(|(id, _)| filter.knows(*id)));
    assert!(!filter.knows(PeerId(2)));
    assert!(filter.is_of(&peers()));
    let mut others = peers();
    others[0].1 = "other".into();
    assert!(!filter.is_of(&others));
}
