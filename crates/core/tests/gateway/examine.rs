//! What is said of a packet that nobody has sent is what happens to it when somebody does; and to
//! ask changes nothing.

use core::{net::IpAddr, time::Duration};
use std::collections::BTreeSet;

use weapon_core::{
    Ahead, DropReason, Examination, GatewayChange, Hypothesis, LatestDrop, LatestDrops, Policy,
    PrefixMapping, Way,
    filter::{Action, Direction, PortRange, Protocol, Rule, RulePeers},
};

use crate::{
    packets::{plain, udp, v4, v6},
    world::{A, B, C, World},
};

const UDP: u8 = 17;

/// The ports that `udp` gives to a packet.
const PORTS: (u16, u16) = (1111, 2222);

fn set(world: &mut World, change: GatewayChange) {
    world.control(A, |gateway, env| gateway.change(change, env));
}

/// To B all, to C nothing but one port, from outside nothing but one host.
fn rules() -> Policy {
    let named = |name: &str| RulePeers::Named(BTreeSet::from([name.into()]));
    let rules = vec![
        Rule {
            direction: Some(Direction::Outbound),
            peers: named("site-1"),
            ..Rule::of_all("to-b", Action::Allow)
        },
        Rule {
            direction: Some(Direction::Outbound),
            protocols: vec![Protocol::Number(UDP)],
            ports: vec![PortRange {
                first: 53,
                last: 53,
            }],
            ..Rule::of_all("dns", Action::Allow)
        },
        Rule {
            direction: Some(Direction::Inbound),
            from: vec!["10.0.1.6/32".parse().unwrap()],
            ..Rule::of_all("in", Action::Allow)
        },
    ];
    Policy {
        default: Some(Action::Deny),
        rules,
        flows_max: 1024,
        seed: [3, 5],
    }
}

fn with_rules(policy: Policy) -> GatewayChange {
    GatewayChange {
        policy: Some(Some(policy)),
        ..GatewayChange::default()
    }
}

fn hypothesis(source: IpAddr, destination: IpAddr) -> Hypothesis {
    Hypothesis {
        source,
        destination,
        protocol: UDP,
        ports: PORTS,
        len: 0,
    }
}

#[track_caller]
fn examined(world: &World, hypothesis: &Hypothesis, from: Option<&str>) -> Examination {
    let gateway = &world.sites[A].gateway;
    let seen = gateway.examine(hypothesis, from, world.now);
    seen.expect("there can be such a packet")
}

fn latest(world: &World) -> Vec<LatestDrop> {
    let site = &world.sites[A];
    let all = [site.lane.latest(), site.gateway.counters().latest()];
    LatestDrops::of_all(all.into_iter()).0
}

/// What is there of a gateway, as far as a question could change it.
fn state(world: &World) -> (Vec<(DropReason, u64)>, usize, usize, String) {
    let site = &world.sites[A];
    let fib = site.fib.load();
    let flows = fib.checkpoint.as_ref().map_or(0, |it| it.flows().len());
    let mail = site.mail.parked.len() + site.mail.attention.len();
    let rules = fib.checkpoint.as_ref().map(|it| it.filter().counts());
    let deadline = site.gateway.poll_timeout();
    (site.drops(), flows, mail, format!("{rules:?} {deadline:?}"))
}

fn worlds() -> [World; 3] {
    let plain = World::new(1, 3);
    let mut filtered = World::new(2, 3);
    set(&mut filtered, with_rules(rules()));
    let mut mapped = World::new(3, 3);
    let mapping = PrefixMapping {
        inside: "192.168.1.0/24".parse().unwrap(),
        outside: "10.0.0.0/24".parse().unwrap(),
    };
    let mappings = Some(vec![mapping]);
    let change = GatewayChange {
        mappings,
        ..with_rules(rules())
    };
    set(&mut mapped, change);
    [plain, filtered, mapped]
}

fn inside(host: u8) -> IpAddr {
    IpAddr::from([192, 168, 1, host])
}

#[test]
fn what_is_foreseen_of_what_we_send_happens() {
    let sources = [v4(A, 5), inside(5), v4(B, 6), v6(A, 5)];
    let destinations = [v4(B, 6), v4(C, 6), v4(7, 1), inside(9), v6(B, 6), v6(C, 1)];
    let mut fates = BTreeSet::new();
    for mut world in worlds() {
        // A peer whose address nobody knows.
        let c = world.id(A, C);
        for round in 0..2 {
            for source in sources {
                for destination in destinations {
                    if source.is_ipv4() != destination.is_ipv4() {
                        continue;
                    }
                    let before = state(&world);
                    let seen = examined(&world, &hypothesis(source, destination), None);
                    assert_eq!(state(&world), before, "a question changes nothing");
                    let read = plain(&udp(source, destination, b"hello"));
                    let result = world.read(A, read);
                    let expected = match seen.ahead {
                        Ahead::Passes | Ahead::Waits => Ok(()),
                        Ahead::Dies(reason) => Err(reason),
                    };
                    assert_eq!(result, expected, "{source} -> {destination}: {seen:#?}");
                    let name = |ahead: Ahead| format!("{ahead:?}");
                    fates.insert(name(seen.ahead));
                    world.drive(Duration::from_secs(1));
                }
            }
            if round == 0 {
                world.control(A, |gateway, env| gateway.remove_peer(c, env));
            }
        }
    }
    let expected = [
        "Dies(Denied)",
        "Dies(NoRoute)",
        "Dies(NotMapped)",
        "Passes",
        "Waits",
    ];
    assert_eq!(Vec::from_iter(fates), expected);
}

#[test]
fn what_is_foreseen_of_what_a_peer_sends_happens() {
    let sources = [v4(B, 6), v4(B, 7), v4(C, 6), v4(7, 1)];
    let destinations = [v4(A, 5), inside(9)];
    let mut fates = BTreeSet::new();
    for mut world in worlds() {
        // B lets through whatever its hosts pretend to be, and has routes to all of that.
        let mut change = weapon_core::PeerChange::of(crate::world::public_key(A));
        let everything = "192.168.1.0/24".parse().unwrap();
        change.networks = vec![weapon_core::NetworkChange::Give(everything)];
        let change = GatewayChange {
            peers: vec![change],
            ..GatewayChange::default()
        };
        world.control(B, |gateway, env| gateway.change(change, env));
        world.ping(B, A, b"first").unwrap();
        world.drive(Duration::from_secs(1));
        for source in sources {
            for destination in destinations {
                let seen = examined(&world, &hypothesis(source, destination), Some("site-1"));
                let dropped = world.sites[A].drops();
                let read = plain(&udp(source, destination, b"hello"));
                world.read(B, read).unwrap();
                world.drive(Duration::from_secs(1));
                let now = world.sites[A].drops();
                let new = now.iter().find(|it| !dropped.contains(it));
                let happened = new.map_or(Ahead::Passes, |(reason, _)| Ahead::Dies(*reason));
                assert_eq!(happened, seen.ahead, "{source} -> {destination}: {seen:#?}");
                fates.insert(format!("{happened:?}"));
            }
        }
    }
    let expected = [
        "Dies(Denied)",
        "Dies(NotMapped)",
        "Dies(WrongSource)",
        "Passes",
    ];
    assert_eq!(Vec::from_iter(fates), expected);
}

#[test]
fn a_flow_that_is_known_passes_and_says_so() {
    let mut world = World::connected(4);
    set(&mut world, with_rules(rules()));
    // Nobody may ask from there.
    let answer = Hypothesis {
        ports: (PORTS.1, PORTS.0),
        ..hypothesis(v4(B, 9), v4(A, 5))
    };
    let seen = examined(&world, &answer, Some("site-1"));
    assert_eq!(seen.ahead, Ahead::Dies(DropReason::Denied));
    assert_eq!(seen.judgement.unwrap().rule, "default");
    world
        .read(A, plain(&udp(v4(A, 5), v4(B, 9), b"?")))
        .unwrap();
    let seen = examined(&world, &answer, Some("site-1"));
    assert_eq!(seen.ahead, Ahead::Passes);
    let judgement = seen.judgement.unwrap();
    let flow = judgement.flow.unwrap();
    assert_eq!(
        (judgement.rule.as_str(), flow.direction),
        ("to-b", Direction::Outbound)
    );
    // Its time runs out.
    world.now = world.now + Duration::from_secs(400);
    let seen = examined(&world, &answer, Some("site-1"));
    assert_eq!(seen.ahead, Ahead::Dies(DropReason::Denied));
}

#[test]
fn a_session_is_waited_for_where_one_can_come() {
    let mut world = World::new(5, 2);
    let to_b = hypothesis(v4(A, 5), v4(B, 6));
    assert_eq!(examined(&world, &to_b, None).ahead, Ahead::Waits);
    let mut change = weapon_core::PeerChange::of(crate::world::public_key(C));
    let network = "10.0.9.0/24".parse().unwrap();
    change.networks = vec![weapon_core::NetworkChange::Give(network)];
    let change = GatewayChange {
        peers: vec![change],
        ..GatewayChange::default()
    };
    set(&mut world, change);
    let to_c = hypothesis(v4(A, 5), v4(9, 1));
    let seen = examined(&world, &to_c, None);
    assert_eq!(seen.ahead, Ahead::Dies(DropReason::NoEndpoint));
    let (_, network) = seen.owner.unwrap();
    assert_eq!(network.to_string(), "10.0.9.0/24");
    world.control(A, |gateway, env| gateway.take_private_key(env));
    let seen = examined(&world, &to_b, None);
    assert_eq!(
        (seen.ahead, seen.has_key),
        (Ahead::Dies(DropReason::NoSession), false)
    );
    world.control(A, |gateway, env| gateway.down(env));
    let seen = examined(&world, &to_b, None);
    assert_eq!(seen.ahead, Ahead::Dies(DropReason::InterfaceDown));
}

#[test]
fn there_is_no_packet_of_two_versions_or_of_nobody() {
    let world = World::new(6, 2);
    let gateway = &world.sites[A].gateway;
    let mixed = hypothesis(v4(A, 5), v6(B, 6));
    assert!(gateway.examine(&mixed, None, world.now).is_none());
    let good = hypothesis(v4(A, 5), v4(B, 6));
    assert!(gateway.examine(&good, Some("who"), world.now).is_none());
    let long = Hypothesis {
        len: 70_000,
        ..good
    };
    assert!(gateway.examine(&long, None, world.now).is_none());
    let seen = examined(&world, &Hypothesis { len: 9000, ..good }, None);
    assert_eq!((seen.len, seen.mtu), (9000, crate::world::MTU));
    assert_eq!(examined(&world, &good, None).len, 28);
}

#[test]
fn what_died_last_is_told_with_its_reason_and_rule() {
    let mut world = World::connected(7);
    set(&mut world, with_rules(rules()));
    world.ping(A, B, b"").unwrap();
    assert_eq!(latest(&world), []);
    let nowhere = plain(&udp(v4(A, 5), v4(7, 1), b""));
    world.read(A, nowhere).unwrap_err();
    for _ in 0..3 {
        world.drive(Duration::from_secs(1));
        let packet = udp(v4(B, 7), v4(A, 5), b"may I?");
        world.read(B, plain(&packet)).unwrap();
    }
    world.drive(Duration::from_secs(1));
    let all = latest(&world);
    let [denied, lost] = &all[..] else {
        panic!("{all:#?}");
    };
    assert_eq!((denied.count, lost.count), (3, 1));
    assert!(denied.first < denied.last);
    let dropped = denied.dropped;
    assert_eq!(
        (dropped.reason, dropped.way, dropped.peer),
        (DropReason::Denied, Way::Inbound, Some(world.id(A, B)))
    );
    assert_eq!(
        dropped.from.map(|from| from.ip()),
        Some(crate::world::address(B).ip())
    );
    let headers = dropped.headers.unwrap();
    assert_eq!((headers.source, headers.ports), (v4(B, 7), Some(PORTS)));
    assert!(dropped.rule.is_some(), "the default");
    assert_eq!(
        (lost.dropped.reason, lost.dropped.rule),
        (DropReason::NoRoute, None)
    );
    // Every drop is counted as before.
    let counted = world.sites[A].drops();
    assert_eq!(counted, [(DropReason::NoRoute, 1), (DropReason::Denied, 3)]);
}

#[test]
fn what_waited_in_vain_is_among_the_latest() {
    let mut world = World::new(8, 2);
    world.cut_off(B);
    for _ in 0..3 {
        world.ping(A, B, b"hello?").unwrap();
    }
    world.drive(Duration::from_secs(200));
    let all = latest(&world);
    let [lost] = &all[..] else {
        panic!("{all:#?}");
    };
    assert_eq!(
        (lost.dropped.reason, lost.count),
        (DropReason::NoSession, 3)
    );
    assert_eq!(
        lost.dropped.headers.map(|it| it.destination),
        Some(v4(B, 6))
    );
}

#[test]
fn what_cannot_be_recorded_does_not_begin() {
    let watching = Policy {
        default: None,
        rules: Vec::new(),
        ..rules()
    };
    for (policy, rule) in [(rules(), "to-b"), (watching, "default")] {
        let mut world = World::connected(9);
        set(&mut world, with_rules(policy));
        let packet = |host| plain(&udp(v4(A, host), v4(B, 9), b"?"));
        world.read(A, packet(5)).unwrap();
        let fib = world.sites[A].fib.load_full();
        let checkpoint = fib.checkpoint.as_ref().unwrap();
        checkpoint.flows().events().deny_new(true);
        let ahead = |world: &World, host| {
            let seen = examined(world, &hypothesis(v4(A, host), v4(B, 9)), None);
            (seen.ahead, seen.judgement.map(|it| it.rule))
        };
        let by = Some(rule.to_owned());
        // What is known goes on.
        assert_eq!(ahead(&world, 5), (Ahead::Passes, by.clone()));
        let dies = Ahead::Dies(DropReason::NotRecorded);
        assert_eq!(ahead(&world, 6), (dies, by.clone()));
        let died = world.read(A, packet(6)).unwrap_err();
        assert_eq!(died, DropReason::NotRecorded);
        checkpoint.flows().events().deny_new(false);
        assert_eq!(ahead(&world, 6), (Ahead::Passes, by));
        world.read(A, packet(6)).unwrap();
    }
}
