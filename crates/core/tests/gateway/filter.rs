//! Rules and flows of whole gateways: both ways, peers by name, prefixes mapped, rules changed.

use core::{net::IpAddr, time::Duration};
use std::collections::BTreeSet;

use weapon_core::{
    DropReason, Fate, GatewayChange, Policy, PrefixMapping, Ruling, Way,
    filter::{Action, Direction, Rule, RulePeers},
    flows::{EventKind, FlowRecord, State},
};
use weapon_wire::{VnetHeader, icmp};

use crate::{
    packets::{plain, udp, v4},
    world::{A, B, C, World, public_key},
};

const SEED: [u64; 2] = [0xabcd_ef01_2345_6789, 0x9876_5432_10fe_dcba];

fn policy(default: Option<Action>, rules: Vec<Rule>) -> Policy {
    Policy {
        default,
        rules,
        flows_max: 1024,
        seed: SEED,
    }
}

fn outbound() -> Rule {
    Rule {
        direction: Some(Direction::Outbound),
        ..Rule::of_all("out", Action::Allow)
    }
}

fn set(world: &mut World, us: usize, policy: Option<Policy>) {
    let change = GatewayChange {
        policy: Some(policy),
        ..GatewayChange::default()
    };
    world.control(us, |gateway, env| gateway.change(change, env));
}

fn flows(world: &World, us: usize) -> Vec<FlowRecord> {
    let fib = world.sites[us].fib.load_full();
    let checkpoint = fib.checkpoint.as_ref().expect("a policy");
    let flows = checkpoint.flows();
    let page = flows.list(checkpoint.filter(), world.now, 0, usize::MAX, |_| true);
    page.flows
}

fn flow(world: &World, us: usize) -> FlowRecord {
    let mut all = flows(world, us);
    assert_eq!(all.len(), 1, "{all:?}");
    all.pop().unwrap()
}

fn drops(world: &World, us: usize) -> Vec<(DropReason, u64)> {
    world.sites[us].drops()
}

#[test]
fn answers_come_in_and_questions_do_not() {
    let mut world = World::connected(1);
    set(
        &mut world,
        A,
        Some(policy(Some(Action::Deny), vec![outbound()])),
    );
    world.ping(B, A, b"may I?").unwrap();
    world.drive(Duration::from_secs(1));
    assert_eq!(drops(&world, A), [(DropReason::Denied, 1)]);
    world.sites[A].overlay.0.clear();

    let packet = udp(v4(A, 5), v4(B, 6), b"hello");
    world.read(A, plain(&packet)).unwrap();
    world.drive(Duration::from_secs(1));
    // From the port that was asked to the one that has asked.
    let mut answer = udp(v4(B, 6), v4(A, 5), b"hello yourself");
    answer[20..24].copy_from_slice(&[0x08, 0xae, 0x04, 0x57]);
    world.read(B, plain(&answer)).unwrap();
    world.drive(Duration::from_secs(1));
    assert_eq!(world.payloads(A), [b"hello yourself".to_vec()]);
    let flow = flow(&world, A);
    assert_eq!((flow.packets, flow.bytes), ([1, 1], [33, 42]));
    assert_eq!(
        (flow.state, flow.direction),
        (State::Replied, Direction::Outbound)
    );
    assert_eq!(flow.peer, world.id(A, B));
    // Rules go, and with them the table.
    set(&mut world, A, None);
    assert!(world.sites[A].fib.load().checkpoint.is_none());
    world.ping(B, A, b"now?").unwrap();
    world.drive(Duration::from_secs(1));
    assert_eq!(world.payloads(A).len(), 2);
}

#[test]
fn rules_are_about_peers_by_name() {
    let mut world = World::new(2, 3);
    let to_b = Rule {
        peers: RulePeers::Named(BTreeSet::from(["site-1".into()])),
        ..outbound()
    };
    set(&mut world, A, Some(policy(Some(Action::Deny), vec![to_b])));
    assert_eq!(world.ping(A, B, b""), Ok(()));
    assert_eq!(world.ping(A, C, b""), Err(DropReason::Denied));
    // The name is another's now. Who had it has no flow any more.
    assert_eq!(flow(&world, A).peer, world.id(A, B));
    let named = |them, name: &str| {
        let mut change = weapon_core::PeerChange::of(public_key(them));
        change.name = Some(name.into());
        change.replace_networks = true;
        let network = format!("10.0.{them}.0/24").parse().unwrap();
        change.networks = vec![weapon_core::NetworkChange::Give(network)];
        change
    };
    let change = GatewayChange {
        peers: vec![named(B, "site-b"), named(C, "site-1")],
        ..GatewayChange::default()
    };
    world.control(A, |gateway, env| gateway.change(change, env));
    assert_eq!(flows(&world, A), []);
    assert_eq!(world.ping(A, B, b""), Err(DropReason::Denied));
    assert_eq!(world.ping(A, C, b""), Ok(()));
    // A peer that is gone has no flows.
    assert_eq!(flow(&world, A).peer, world.id(A, C));
    let id = world.id(A, C);
    world.control(A, |gateway, env| gateway.remove_peer(id, env));
    assert_eq!(flows(&world, A), []);
}

#[test]
fn what_waits_for_a_session_is_counted_once() {
    let mut world = World::new(3, 2);
    set(
        &mut world,
        A,
        Some(policy(Some(Action::Deny), vec![outbound()])),
    );
    world.ping(A, B, b"waits").unwrap();
    assert_eq!(flow(&world, A).packets, [1, 0]);
    world.drive(Duration::from_secs(1));
    assert_eq!(world.payloads(B), [b"waits".to_vec()]);
    assert_eq!(
        (flow(&world, A).packets, flow(&world, A).bytes),
        ([1, 0], [33, 0])
    );
    // If it is forbidden while it waits, it does not go.
    let mut world = World::new(4, 2);
    set(
        &mut world,
        A,
        Some(policy(Some(Action::Deny), vec![outbound()])),
    );
    world.ping(A, B, b"waits").unwrap();
    set(&mut world, A, Some(policy(Some(Action::Deny), Vec::new())));
    world.drive(Duration::from_secs(1));
    assert!(world.payloads(B).is_empty());
    let counters = world.sites[A].gateway.counters();
    assert_eq!(counters.dropped(DropReason::Denied), 1);
}

#[test]
fn a_superpacket_is_as_many_packets_as_segments() {
    let mut world = World::connected(5);
    set(&mut world, A, Some(policy(None, Vec::new())));
    set(&mut world, B, Some(policy(None, Vec::new())));
    let packet = udp(v4(A, 5), v4(B, 6), &[0x77; 2500]);
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type: VnetHeader::GSO_UDP_L4,
        gso_size: 1000,
        csum_start: 20,
        csum_offset: 6,
        ..VnetHeader::default()
    };
    let mut read = vnet.to_bytes().to_vec();
    read.extend_from_slice(&packet);
    world.read(A, read).unwrap();
    world.drive(Duration::from_secs(1));
    let expected = ([3, 0], [2500 + 3 * 28, 0]);
    for us in [A, B] {
        let flow = flow(&world, us);
        assert_eq!((flow.packets, flow.bytes), expected);
    }
    assert_eq!(flow(&world, B).direction, Direction::Inbound);
}

#[test]
fn packets_of_one_train_are_all_counted() {
    let mut world = World::connected(6);
    set(&mut world, B, Some(policy(None, Vec::new())));
    for _ in 0..10 {
        world.ping(A, B, b"one of ten").unwrap();
    }
    world.drive(Duration::from_secs(1));
    assert_eq!(flow(&world, B).packets, [10, 0]);
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Both sites are 192.168.1.0/24, and know each other by 10.0.N.0/24.
#[test]
fn rules_see_what_peers_see_also_in_errors() {
    let mut world = World::connected(7);
    for us in [A, B] {
        let mapping = PrefixMapping {
            inside: "192.168.1.0/24".parse().unwrap(),
            outside: format!("10.0.{us}.0/24").parse().unwrap(),
        };
        let out = Rule {
            from: vec!["10.0.0.5/32".parse().unwrap()],
            to: vec!["10.0.1.6/32".parse().unwrap()],
            direction: Some(if us == A {
                Direction::Outbound
            } else {
                Direction::Inbound
            }),
            ..Rule::of_all("one", Action::Allow)
        };
        let change = GatewayChange {
            mappings: Some(vec![mapping]),
            policy: Some(Some(policy(Some(Action::Deny), vec![out]))),
            ..GatewayChange::default()
        };
        world.control(us, |gateway, env| gateway.change(change, env));
        world.switch_offloads_off(us);
        world.sites[us].overlay.0.clear();
    }
    let packet = udp(ip("192.168.1.5"), ip("10.0.1.6"), b"is there a port?");
    world.read(A, plain(&packet)).unwrap();
    let other = udp(ip("192.168.1.7"), ip("10.0.1.6"), b"");
    assert_eq!(world.read(A, plain(&other)), Err(DropReason::Denied));
    world.drive(Duration::from_secs(1));
    let (_, there) = world.sites[B].overlay.0.pop().expect("a packet");

    let mut error = [0; icmp::ERROR_LEN_MAX];
    let len = icmp::unreachable(&there, Some(ip("192.168.1.6")), &mut error).unwrap();
    assert_eq!(world.read(B, plain(&error[..len])), Ok(()));
    world.drive(Duration::from_secs(1));
    let (_, error) = world.sites[A].overlay.0.pop().expect("the error");
    assert_eq!(error[28..], packet[..error.len() - 28]);
    // Who looks is told of the rules as they have decided, by the addresses that peers know.
    let allowed = Some(Ruling::Rule(Action::Allow, "one".into()));
    let denied = Some(Ruling::Rule(Action::Deny, "default".into()));
    let shown = &world.sites[A].mail.shown;
    let first = (Way::Outbound, Fate::Passed, allowed.clone());
    let second = (Way::Outbound, Fate::Dropped(DropReason::Denied), denied);
    assert!(
        shown.contains(&first) && shown.contains(&second),
        "{shown:?}"
    );
    let shown = &world.sites[B].mail.shown;
    let arrived = (Way::Inbound, Fate::Passed, allowed);
    assert!(shown.contains(&arrived), "{shown:?}");
    assert_eq!(drops(&world, A), [(DropReason::Denied, 1)]);
    assert_eq!(drops(&world, B), []);
}

#[test]
fn rules_change_under_flows() {
    let mut world = World::connected(8);
    set(
        &mut world,
        A,
        Some(policy(Some(Action::Deny), vec![outbound()])),
    );
    world.ping(A, B, b"one").unwrap();
    // The same rules: the same flow.
    set(
        &mut world,
        A,
        Some(policy(Some(Action::Deny), vec![outbound()])),
    );
    world.ping(A, B, b"two").unwrap();
    assert_eq!(flow(&world, A).packets, [2, 0]);
    set(&mut world, A, Some(policy(Some(Action::Deny), Vec::new())));
    assert_eq!(flows(&world, A), []);
    assert_eq!(world.ping(A, B, b"three"), Err(DropReason::Denied));
    // Without rules all may pass, and is watched.
    set(&mut world, A, Some(policy(None, Vec::new())));
    world.ping(A, B, b"four").unwrap();
    assert_eq!(flow(&world, A).rule_name.as_deref(), Some("default"));
    // What has nothing to do with it leaves the rules alone.
    let before = world.sites[A].fib.load().checkpoint.clone().unwrap();
    let id = world.id(A, B);
    let network = "10.9.0.0/16".parse().unwrap();
    world.control(A, |gateway, _| gateway.add_network(id, network));
    let after = world.sites[A].fib.load().checkpoint.clone().unwrap();
    assert_eq!(before.filter().epoch(), after.filter().epoch());
}

#[test]
fn flows_are_forgotten_though_nobody_asks() {
    let mut world = World::connected(9);
    set(
        &mut world,
        A,
        Some(policy(Some(Action::Deny), vec![outbound()])),
    );
    let fib = world.sites[A].fib.load_full();
    let len = || fib.checkpoint.as_ref().map_or(0, |it| it.flows().len());
    world.drive(Duration::from_secs(300));
    // Without flows it sleeps.
    let timeout = world.sites[A].gateway.poll_timeout();
    assert!(timeout.is_none_or(|(_, why)| why != "flows"));
    world.ping(A, B, b"one").unwrap();
    world.drive(Duration::from_secs(100));
    assert_eq!(len(), 1);
    world.drive(Duration::from_secs(31));
    assert_eq!(len(), 0);
    let timeout = world.sites[A].gateway.poll_timeout();
    assert!(timeout.is_none_or(|(_, why)| why != "flows"));
}

#[test]
fn events_go_to_one_queue_whatever_the_policy_is() {
    let mut world = World::connected(10);
    let queue = world.sites[A].gateway.flow_events().clone();
    queue.open(true, || {});
    let mut events = Vec::new();
    for _ in 0..2 {
        set(&mut world, A, Some(policy(None, Vec::new())));
        world.ping(A, B, b"").unwrap();
        set(&mut world, A, None);
        queue.take(&mut events);
    }
    let starts = events.iter().filter(|it| it.kind == EventKind::Start);
    assert_eq!(starts.count(), 2);
}
