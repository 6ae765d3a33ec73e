//! Packets at the checkpoint, made by a library of others.

use core::{net::IpAddr, time::Duration};

use etherparse::{PacketBuilder, TcpHeader};
use proptest::prelude::*;
use weapon_wire::{
    icmp,
    tcp::{FIN, RST, SYN},
};

use super::*;
use crate::{
    filter::{IcmpType, PortRange, Protocol, Rule},
    flows::{DENIALS_OF_SOURCE_MAX, EVENTS_MAX, EndReason, State},
};

mod flood;
mod fragments;
mod ruling;
mod told;

const PEER: PeerId = PeerId(7);
const OTHER: PeerId = PeerId(8);
const SEED: [u64; 2] = [0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211];

use Direction::{Inbound, Outbound};

/// A checkpoint, and the time there.
struct Post {
    checkpoint: Checkpoint,
    now: Tick,
    last: Last,
    peer: PeerId,
}

fn peers() -> Vec<(PeerId, Box<str>)> {
    vec![(PEER, "site-b".into()), (OTHER, "site-c".into())]
}

fn allow(name: &str, direction: Direction) -> Rule {
    Rule {
        direction: Some(direction),
        ..Rule::of_all(name, Action::Allow)
    }
}

fn port(port: u16) -> Vec<PortRange> {
    vec![PortRange {
        first: port,
        last: port,
    }]
}

impl Post {
    /// Nothing passes but what the rules allow.
    fn new(rules: &[Rule]) -> Self {
        Self::of(rules, Action::Deny, true, 4096)
    }

    fn of(rules: &[Rule], default: Action, enforces: bool, flows: usize) -> Self {
        let filter = Filter::new(default, rules, peers(), None);
        let memory = Arc::new(Memory::new(flows, SEED, Arc::default()));
        Self {
            checkpoint: Checkpoint::new(Arc::new(filter), memory, enforces),
            now: Tick::from_nanos(5_000_000_000_000),
            last: Last::default(),
            peer: PEER,
        }
    }

    /// Other rules from now on.
    fn rule(&mut self, rules: &[Rule]) {
        let before = self.checkpoint.filter();
        let filter = Filter::new(Action::Deny, rules, peers(), Some(before));
        let memory = Arc::clone(self.checkpoint.memory());
        self.checkpoint = Checkpoint::new(Arc::new(filter), memory, true);
    }

    /// One packet in a turn of its own.
    fn send(&mut self, direction: Direction, packet: &[u8]) -> Result<(), DropReason> {
        self.end_turn();
        self.checkpoint
            .try_packet(direction, self.peer, packet, self.now)
    }

    #[expect(clippy::unwrap_in_result, reason = "the test's own packets are good")]
    fn send_in_turn(&mut self, direction: Direction, packet: &[u8]) -> Result<(), DropReason> {
        let flow = Flow::parse(packet).unwrap();
        let traveller = Traveller {
            direction,
            peer: self.peer,
            flow: &flow,
            bytes: packet,
            now: self.now,
            packets: 1,
            total: packet.len() as u64,
        };
        self.checkpoint.pass(&traveller, &mut self.last)
    }

    fn end_turn(&mut self) {
        self.checkpoint.settle(&mut self.last);
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    fn flows(&self) -> Vec<crate::flows::FlowRecord> {
        let flows = self.checkpoint.flows();
        let all = flows.list(self.checkpoint.filter(), self.now, 0, usize::MAX, |_| true);
        all.flows
    }

    /// The only flow that there is.
    fn flow(&self) -> crate::flows::FlowRecord {
        let mut flows = self.flows();
        assert_eq!(flows.len(), 1, "{flows:?}");
        flows.pop().unwrap()
    }
}

const HERE: &str = "10.0.0.5";
const THERE: &str = "10.1.0.6";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn builder(from: &str, to: &str) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    match (ip(from), ip(to)) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 60),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 60),
        _ => panic!("two families"),
    }
}

fn udp(from: (&str, u16), to: (&str, u16), len: usize) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = builder(from.0, to.0).udp(from.1, to.1);
    builder.write(&mut packet, &vec![0x55; len]).unwrap();
    packet
}

fn tcp(from: (&str, u16), to: (&str, u16), flags: u8) -> Vec<u8> {
    let mut header = TcpHeader::new(from.1, to.1, 1000, 1000);
    header.syn = flags & SYN != 0;
    header.ack = flags & ACK != 0;
    header.fin = flags & FIN != 0;
    header.rst = flags & RST != 0;
    header.psh = flags & PSH != 0;
    let mut packet = Vec::new();
    let builder = builder(from.0, to.0).tcp_header(header);
    builder.write(&mut packet, b"").unwrap();
    packet
}

fn echo(from: &str, to: &str, id: u16, is_reply: bool) -> Vec<u8> {
    let mut packet = Vec::new();
    let builder = builder(from, to);
    if ip(from).is_ipv4() {
        if is_reply {
            builder
                .icmpv4_echo_reply(id, 1)
                .write(&mut packet, b"ping")
                .unwrap();
        } else {
            builder
                .icmpv4_echo_request(id, 1)
                .write(&mut packet, b"ping")
                .unwrap();
        }
    } else if is_reply {
        builder
            .icmpv6_echo_reply(id, 1)
            .write(&mut packet, b"ping")
            .unwrap();
    } else {
        builder
            .icmpv6_echo_request(id, 1)
            .write(&mut packet, b"ping")
            .unwrap();
    }
    packet
}

/// The error that `original` cannot be delivered, by `from`.
fn error(original: &[u8], from: &str) -> Vec<u8> {
    let mut packet = vec![0; icmp::ERROR_LEN_MAX];
    let len = icmp::unreachable(original, Some(ip(from)), &mut packet).unwrap();
    packet.truncate(len);
    packet
}

const DENIED: Result<(), DropReason> = Err(DropReason::Denied);

#[test]
fn answers_pass_and_questions_do_not() {
    for (here, there) in [(HERE, THERE), ("fd00::5", "fd01::6")] {
        let mut post = Post::new(&[allow("out", Outbound)]);
        let question = udp((there, 4000), (here, 53), 10);
        assert_eq!(post.send(Inbound, &question), DENIED);
        assert_eq!(
            post.send(Outbound, &udp((here, 53), (there, 4000), 10)),
            Ok(())
        );
        assert_eq!(post.send(Inbound, &question), Ok(()));
        // From another port, host, protocol: another flow.
        for other in [
            udp((there, 4001), (here, 53), 10),
            udp((there, 4000), (here, 54), 10),
            udp((&there.replace('6', "7"), 4000), (here, 53), 10),
            tcp((there, 4000), (here, 53), ACK),
        ] {
            assert_eq!(post.send(Inbound, &other), DENIED);
        }
        // Of another peer.
        post.peer = OTHER;
        assert_eq!(post.send(Inbound, &question), DENIED);
        post.peer = PEER;
        // Or with the addresses of an answer, but on the wrong way.
        post.rule(&[allow("out", Outbound)]);
        let mut strict = Post::new(&[Rule {
            from: vec![here.parse::<IpAddr>().unwrap().into()],
            ..allow("out", Outbound)
        }]);
        assert_eq!(
            strict.send(Outbound, &udp((here, 53), (there, 4000), 10)),
            Ok(())
        );
        assert_eq!(strict.send(Outbound, &question), DENIED);
    }
}

#[test]
fn both_directions_are_one_flow() {
    let mut post = Post::new(&[allow("out", Outbound)]);
    post.send(Outbound, &udp((HERE, 53), (THERE, 4000), 10))
        .unwrap();
    assert_eq!(post.flow().state, State::Unreplied);
    assert_eq!(post.flow().round_trip, None);
    post.now = post.now + Duration::from_micros(1500);
    post.send(Inbound, &udp((THERE, 4000), (HERE, 53), 100))
        .unwrap();
    assert_eq!(post.flow().state, State::Replied);
    post.wait(1);
    post.send(Outbound, &udp((HERE, 53), (THERE, 4000), 10))
        .unwrap();
    let flow = post.flow();
    assert_eq!(flow.state, State::Conversation);
    assert_eq!((flow.source, flow.destination), (ip(HERE), ip(THERE)));
    assert_eq!(
        (flow.protocol, flow.ports, flow.echo_id),
        (17, Some((53, 4000)), None)
    );
    assert_eq!((flow.direction, flow.peer), (Outbound, PEER));
    assert_eq!((flow.packets, flow.bytes), ([2, 1], [76, 128]));
    assert_eq!(flow.round_trip, Some(Duration::from_micros(1500)));
    assert_eq!(flow.last_seen, post.now);
    assert_eq!(
        post.now.since(flow.first_seen),
        Duration::from_micros(1_001_500)
    );
    assert_eq!(flow.expires_in, Duration::from_secs(300));
    assert_eq!(flow.rule_name.as_deref(), Some("out"));
    assert_eq!(post.checkpoint.flows().len(), 1);
}

#[test]
fn a_connection_is_followed() {
    let ssh = Rule {
        protocols: vec![Protocol::Number(6)],
        ports: port(22),
        ..allow("ssh", Inbound)
    };
    let mut post = Post::new(&[ssh]);
    let (client, server) = ((THERE, 40_000), (HERE, 22));
    // Who serves does not call.
    assert_eq!(post.send(Outbound, &tcp(server, client, SYN | ACK)), DENIED);
    let story = [
        (Inbound, SYN, State::SynSent),
        (Outbound, SYN | ACK, State::SynReceived),
        (Inbound, ACK, State::Established),
        (Inbound, ACK | PSH, State::Established),
        (Outbound, FIN | ACK, State::Closing),
        (Inbound, ACK, State::Closing),
        (Inbound, FIN | ACK, State::Closed),
        (Outbound, ACK, State::Closed),
    ];
    for (direction, flags, state) in story {
        let (from, to) = match direction {
            Inbound => (client, server),
            Outbound => (server, client),
        };
        post.now = post.now + Duration::from_millis(20);
        assert_eq!(post.send(direction, &tcp(from, to, flags)), Ok(()));
        assert_eq!(post.flow().state, state);
    }
    let flow = post.flow();
    assert_eq!(flow.packets, [5, 3]);
    assert_eq!(flow.tcp_flags, [SYN | ACK | PSH | FIN, SYN | ACK | FIN]);
    assert_eq!(flow.round_trip, Some(Duration::from_millis(20)));
    // The same ports again: a new connection, by the rules.
    post.wait(5);
    assert_eq!(post.send(Outbound, &tcp(server, client, SYN)), DENIED);
    assert_eq!(post.flow().state, State::Closed);
    assert_eq!(post.send(Inbound, &tcp(client, server, SYN)), Ok(()));
    assert_eq!(
        (post.flow().state, post.flow().packets),
        (State::SynSent, [1, 0])
    );
}

#[test]
fn who_was_called_does_not_call_back() {
    let mut post = Post::new(&[allow("out", Outbound)]);
    let (client, server) = ((HERE, 40_000), (THERE, 80));
    post.send(Outbound, &tcp(client, server, SYN)).unwrap();
    post.send(Inbound, &tcp(server, client, SYN | ACK)).unwrap();
    post.send(Outbound, &tcp(client, server, ACK)).unwrap();
    assert_eq!(post.send(Inbound, &tcp(server, client, SYN)), DENIED);
    assert_eq!(post.flow().state, State::Established);
    assert_eq!(post.send(Inbound, &tcp(server, client, ACK)), Ok(()));
    // Unless the rules allow it; then the flow goes on beside it.
    post.rule(&[allow("out", Outbound), allow("in", Inbound)]);
    assert_eq!(post.send(Inbound, &tcp(server, client, SYN)), Ok(()));
    assert_eq!(post.flow().state, State::Established);
    assert_eq!(post.flow().direction, Outbound);
}

#[test]
fn a_reset_of_nothing_is_remembered_by_nobody() {
    let mut post = Post::new(&[allow("out", Outbound)]);
    assert_eq!(
        post.send(Outbound, &tcp((HERE, 1), (THERE, 2), RST)),
        Ok(())
    );
    assert_eq!(post.send(Inbound, &tcp((THERE, 2), (HERE, 1), RST)), DENIED);
    assert!(post.checkpoint.flows().is_empty());
    // A real one ends a flow soon.
    post.send(Outbound, &tcp((HERE, 1), (THERE, 2), SYN))
        .unwrap();
    post.send(Inbound, &tcp((THERE, 2), (HERE, 1), RST | ACK))
        .unwrap();
    assert_eq!(post.flow().state, State::Reset);
    post.wait(9);
    assert_eq!(post.send(Inbound, &tcp((THERE, 2), (HERE, 1), ACK)), Ok(()));
    post.wait(10);
    assert_eq!(post.send(Inbound, &tcp((THERE, 2), (HERE, 1), ACK)), DENIED);
}

#[test]
fn retransmissions_tell_no_round_trip() {
    let mut post = Post::new(&[allow("out", Outbound)]);
    post.send(Outbound, &tcp((HERE, 1), (THERE, 2), SYN))
        .unwrap();
    post.send(Outbound, &tcp((HERE, 1), (THERE, 2), SYN))
        .unwrap();
    post.send(Inbound, &tcp((THERE, 2), (HERE, 1), SYN | ACK))
        .unwrap();
    assert_eq!(post.flow().round_trip, None);
    // Nor does what is no answer to a SYN.
    let mut post = Post::new(&[allow("out", Outbound)]);
    post.send(Outbound, &tcp((HERE, 1), (THERE, 2), SYN))
        .unwrap();
    post.send(Inbound, &tcp((THERE, 2), (HERE, 1), ACK))
        .unwrap();
    post.send(Inbound, &tcp((THERE, 2), (HERE, 1), SYN | ACK))
        .unwrap();
    assert_eq!(post.flow().round_trip, None);
    // Or of what was picked up.
    let mut post = Post::new(&[allow("out", Outbound)]);
    post.send(Outbound, &tcp((HERE, 1), (THERE, 2), ACK))
        .unwrap();
    post.send(Inbound, &tcp((THERE, 2), (HERE, 1), SYN | ACK))
        .unwrap();
    assert_eq!(post.flow().round_trip, None);
}

#[test]
fn silence_ends_flows() {
    let mut post = Post::new(&[allow("out", Outbound)]);
    post.send(Outbound, &udp((HERE, 53), (THERE, 4000), 10))
        .unwrap();
    post.wait(119);
    assert_eq!(post.flows().len(), 1);
    assert_eq!(
        post.send(Inbound, &udp((THERE, 4000), (HERE, 53), 10)),
        Ok(())
    );
    post.wait(120);
    assert_eq!(post.flows(), []);
    assert_eq!(post.checkpoint.flows().len(), 1);
    assert_eq!(
        post.send(Inbound, &udp((THERE, 4000), (HERE, 53), 10)),
        DENIED
    );
    assert_eq!(post.checkpoint.flows().len(), 0);
    post.send(Outbound, &udp((HERE, 53), (THERE, 4000), 10))
        .unwrap();
    post.checkpoint.sweep(post.now);
    assert_eq!(post.checkpoint.flows().len(), 1);
    post.wait(120);
    post.checkpoint.sweep(post.now);
    assert!(post.checkpoint.flows().is_empty());
}

#[test]
fn echoes_are_answered_and_not_asked_back() {
    for (here, there) in [(HERE, THERE), ("fd00::5", "fd01::6"), (THERE, HERE)] {
        let mut post = Post::new(&[allow("out", Outbound)]);
        assert_eq!(post.send(Inbound, &echo(there, here, 9, true)), DENIED);
        assert_eq!(post.send(Outbound, &echo(here, there, 9, false)), Ok(()));
        post.now = post.now + Duration::from_millis(3);
        assert_eq!(post.send(Inbound, &echo(there, here, 9, true)), Ok(()));
        assert_eq!(post.send(Inbound, &echo(there, here, 8, true)), DENIED);
        assert_eq!(post.send(Inbound, &echo(there, here, 9, false)), DENIED);
        let flow = post.flow();
        assert_eq!(
            (flow.echo_id, flow.ports, flow.state),
            (Some(9), None, State::Replied)
        );
        assert_eq!(flow.round_trip, Some(Duration::from_millis(3)));
        assert_eq!(flow.packets, [1, 1]);
        post.wait(60);
        assert_eq!(post.send(Inbound, &echo(there, here, 9, true)), DENIED);
        // A reply that a rule allows begins nothing.
        assert_eq!(post.send(Outbound, &echo(here, there, 7, true)), Ok(()));
        assert_eq!(post.send(Inbound, &echo(there, here, 7, false)), DENIED);
        assert_eq!(post.flows(), []);
    }
}

#[test]
fn other_icmp_is_judged_packet_by_packet() {
    let timestamps = Rule {
        protocols: vec![Protocol::Icmp],
        icmp: vec![IcmpType::V4(13)],
        ..allow("timestamps", Inbound)
    };
    let mut post = Post::new(&[timestamps]);
    let mut packet = echo(THERE, HERE, 1, false);
    assert_eq!(post.send(Inbound, &packet), DENIED);
    packet[20] = 13;
    assert_eq!(post.send(Inbound, &packet), Ok(()));
    assert_eq!(post.send(Outbound, &packet), DENIED);
    packet[20] = 14;
    assert_eq!(post.send(Inbound, &packet), DENIED);
    assert!(post.checkpoint.flows().is_empty());
    let counts = post.checkpoint.filter().counts();
    assert_eq!((counts[0].allowed, counts[1].denied), (1, 3));
}

#[test]
fn errors_about_flows_pass_and_others_do_not() {
    for (here, there, router, stranger) in [
        (HERE, THERE, "10.1.0.1", "10.0.0.99"),
        ("fd00::5", "fd01::6", "fd01::1", "fd00::99"),
    ] {
        let sent = [
            udp((here, 53), (there, 4000), 10),
            tcp((here, 1000), (there, 80), SYN),
            echo(here, there, 9, false),
        ];
        for packet in &sent {
            let mut post = Post::new(&[allow("out", Outbound)]);
            let about = error(packet, router);
            assert_eq!(post.send(Inbound, &about), DENIED, "nothing was sent");
            post.send(Outbound, packet).unwrap();
            let before = post.flow();
            post.wait(1);
            assert_eq!(post.send(Inbound, &about), Ok(()));
            // It tells nothing of the flow, which does not live longer for it.
            let after = post.flow();
            assert_eq!(
                (after.last_seen, after.packets),
                (before.last_seen, before.packets)
            );
            // From the wrong side, of the wrong peer.
            post.rule(&[]);
            post.rule(&[
                Rule {
                    protocols: vec![Protocol::Number(17), Protocol::Number(6)],
                    ..allow("out", Outbound)
                },
                Rule {
                    icmp: vec![IcmpType::V4(8), IcmpType::V6(128)],
                    ..allow("echo", Outbound)
                },
            ]);
            assert_eq!(post.send(Outbound, &about), DENIED);
            post.peer = OTHER;
            assert_eq!(post.send(Inbound, &about), DENIED);
            post.peer = PEER;
            assert_eq!(post.send(Inbound, &about), Ok(()));
            // To somebody else than who has sent the packet.
            let mut astray = about.clone();
            let (at, end) = if ip(here).is_ipv4() {
                (16, 20)
            } else {
                (24, 40)
            };
            match ip(stranger) {
                IpAddr::V4(it) => astray[at..end].copy_from_slice(&it.octets()),
                IpAddr::V6(it) => astray[at..end].copy_from_slice(&it.octets()),
            }
            assert_eq!(post.send(Inbound, &astray), DENIED);
            // It quotes too little.
            let header = if ip(here).is_ipv4() { 20 } else { 40 };
            let mut short = about[..header + 8 + header + 7].to_vec();
            if ip(here).is_ipv4() {
                let len = short.len() as u16;
                short[2..4].copy_from_slice(&len.to_be_bytes());
            } else {
                let len = short.len() as u16 - 40;
                short[4..6].copy_from_slice(&len.to_be_bytes());
            }
            assert_eq!(post.send(Inbound, &short), DENIED);
            // Not for a flow that is over.
            post.wait(241);
            assert_eq!(post.send(Inbound, &about), DENIED);
        }
    }
}

#[test]
fn an_error_quotes_what_was_sent_not_what_was_received() {
    let mut post = Post::new(&[allow("out", Outbound)]);
    let question = udp((HERE, 53), (THERE, 4000), 10);
    let answer = udp((THERE, 4000), (HERE, 53), 10);
    post.send(Outbound, &question).unwrap();
    // Nobody there has answered yet: who could complain of the answer?
    let strict = [Rule {
        protocols: vec![Protocol::Number(17)],
        ..allow("out", Outbound)
    }];
    post.rule(&strict);
    assert_eq!(post.send(Outbound, &error(&answer, HERE)), DENIED);
    post.send(Inbound, &answer).unwrap();
    assert_eq!(post.send(Outbound, &error(&answer, HERE)), Ok(()));
}

#[test]
fn nothing_is_known_of_the_unknown() {
    let ported = Rule {
        ports: vec![PortRange {
            first: 0,
            last: u16::MAX,
        }],
        ..allow("ports", Inbound)
    };
    let udp_only = Rule {
        protocols: vec![Protocol::Number(17)],
        ..allow("udp", Inbound)
    };
    let any = allow("any", Inbound);
    for (number, ..) in [
        (4_u8, ()),
        (47, ()),
        (50, ()),
        (59, ()),
        (139, ()),
        (253, ()),
        (58, ()),
    ] {
        let mut packet = udp((THERE, 4000), (HERE, 53), 10);
        packet[9] = number;
        assert_eq!(
            Post::new(&[ported.clone(), udp_only.clone()]).send(Inbound, &packet),
            DENIED
        );
        let mut post = Post::new(std::slice::from_ref(&any));
        assert_eq!(post.send(Inbound, &packet), Ok(()));
        let flow = post.flow();
        assert_eq!(
            (flow.protocol, flow.ports, flow.echo_id),
            (number, None, None)
        );
        // The other way it is the same flow.
        packet[12..20].rotate_left(4);
        assert_eq!(post.send(Outbound, &packet), Ok(()));
        assert_eq!(post.flow().packets, [1, 1]);
    }
}

#[test]
fn headers_that_are_cut_off_are_not_judged() {
    let malformed = Err(DropReason::TransportMalformed);
    let mut post = Post::new(&[allow("in", Inbound), allow("out", Outbound)]);
    for packet in [
        tcp((THERE, 1), (HERE, 2), SYN),
        udp((THERE, 1), (HERE, 2), 0),
        echo(THERE, HERE, 1, false)[..28].to_vec(),
    ] {
        let mut short = packet[..packet.len() - 1].to_vec();
        let len = short.len() as u16;
        short[2..4].copy_from_slice(&len.to_be_bytes());
        assert_eq!(post.send(Inbound, &short), malformed);
    }
    for flags in [0, FIN, SYN | FIN, SYN | RST, RST | FIN] {
        assert_eq!(
            post.send(Inbound, &tcp((THERE, 1), (HERE, 2), flags)),
            malformed
        );
    }
    let mut short = tcp((THERE, 1), (HERE, 2), SYN);
    short[32] = 0x40;
    assert_eq!(post.send(Inbound, &short), malformed);
    assert_eq!(post.checkpoint.filter().counts()[2].denied, 9);
    // Who only watches has nothing against them.
    let mut post = Post::of(&[], Action::Allow, false, 16);
    assert_eq!(post.send(Inbound, &short), Ok(()));
}

#[test]
fn changed_rules_hold_for_flows_that_there_are() {
    let both = [allow("out", Outbound), allow("in", Inbound)];
    let mut post = Post::new(&both);
    let (packet, answer) = (
        udp((HERE, 53), (THERE, 4000), 10),
        udp((THERE, 4000), (HERE, 53), 10),
    );
    post.send(Outbound, &packet).unwrap();
    post.send(Inbound, &answer).unwrap();
    let old = post.checkpoint.filter().clone();
    // It goes on, now by another rule; and by the same one for who has the old rules still.
    post.rule(&[allow("anything", Outbound)]);
    assert_eq!(post.send(Inbound, &answer), Ok(()));
    let flow = post.flow();
    assert_eq!(flow.rule_name.as_deref(), Some("anything"));
    assert_eq!((flow.packets, flow.state), ([1, 2], State::Replied));
    let new = post.checkpoint;
    post.checkpoint = Checkpoint::new(old, Arc::clone(new.memory()), true);
    assert_eq!(post.send(Inbound, &answer), Ok(()));
    post.checkpoint = new;
    assert_eq!(post.flow().rule_name.as_deref(), Some("anything"));
    // It is judged by who began it: its answers do not keep it.
    post.rule(&[allow("in", Inbound)]);
    assert_eq!(post.send(Outbound, &packet), DENIED);
    assert_eq!(post.flows(), []);
    post.rule(&both);
    post.send(Outbound, &packet).unwrap();
    post.rule(&[allow("in", Inbound)]);
    assert_eq!(
        post.send(Inbound, &answer),
        Ok(()),
        "allowed, as a question"
    );
    assert_eq!(post.flow().direction, Inbound);
}

#[test]
fn all_flows_are_judged_again_at_once() {
    let dns = Rule {
        ports: port(53),
        ..allow("dns", Outbound)
    };
    let mut post = Post::new(&[allow("out", Outbound)]);
    for destination in [53, 54] {
        post.send(Outbound, &udp((HERE, 1), (THERE, destination), 10))
            .unwrap();
    }
    for id in [1, 2] {
        post.send(Outbound, &echo(HERE, THERE, id, false)).unwrap();
    }
    post.peer = OTHER;
    post.send(Outbound, &udp((HERE, 1), (THERE, 53), 10))
        .unwrap();
    assert_eq!(post.checkpoint.flows().len(), 5);
    let filter = Filter::new(
        Action::Deny,
        &[dns],
        vec![(PEER, "site-b".into())],
        Some(post.checkpoint.filter()),
    );
    let memory = Arc::clone(post.checkpoint.memory());
    post.checkpoint = Checkpoint::new(Arc::new(filter), memory, true);
    post.checkpoint
        .flows()
        .judge_again(post.checkpoint.filter(), post.now);
    assert_eq!(post.flow().ports, Some((1, 53)));
    assert_eq!((post.flow().peer, post.checkpoint.flows().len()), (PEER, 1));
    assert_eq!(post.flow().rule_name.as_deref(), Some("dns"));
    // Echoes are judged as echoes.
    let mut post = Post::new(&[allow("out", Outbound)]);
    post.send(Outbound, &echo(HERE, THERE, 1, false)).unwrap();
    post.send(Outbound, &echo("fd00::1", "fd00::2", 1, false))
        .unwrap();
    post.rule(&[Rule {
        icmp: vec![IcmpType::V4(8), IcmpType::V6(128)],
        ..allow("echo", Outbound)
    }]);
    post.checkpoint
        .flows()
        .judge_again(post.checkpoint.filter(), post.now);
    assert_eq!(post.checkpoint.flows().len(), 2);
}

#[test]
fn packets_of_one_turn_are_counted_all() {
    let mut post = Post::new(&[allow("out", Outbound)]);
    for _ in 0..5 {
        post.send_in_turn(Outbound, &udp((HERE, 1), (THERE, 53), 10))
            .unwrap();
    }
    // The table does not know of all of them yet: it was asked once.
    assert_eq!(post.flow().packets, [1, 0]);
    // Of TCP neither.
    let mut other = Post::new(&[allow("out", Outbound)]);
    for flags in [ACK, ACK, ACK | PSH, ACK] {
        let packet = tcp((HERE, 1), (THERE, 80), flags);
        other.send_in_turn(Outbound, &packet).unwrap();
    }
    assert_eq!(other.flow().packets, [1, 0]);
    post.send_in_turn(Outbound, &udp((HERE, 2), (THERE, 53), 10))
        .unwrap();
    post.send_in_turn(Outbound, &udp((HERE, 1), (THERE, 53), 20))
        .unwrap();
    post.send_in_turn(Outbound, &udp((HERE, 1), (THERE, 53), 20))
        .unwrap();
    post.end_turn();
    post.end_turn();
    let flows = post.flows();
    let first = flows.iter().find(|it| it.ports == Some((1, 53))).unwrap();
    assert_eq!((first.packets, first.bytes), ([7, 0], [5 * 38 + 2 * 48, 0]));
}

#[test]
fn what_changes_something_is_looked_at_in_any_turn() {
    let (client, server) = ((HERE, 40_000), (THERE, 80));
    let mut post = Post::new(&[allow("out", Outbound)]);
    post.send(Outbound, &tcp(client, server, SYN)).unwrap();
    post.send(Inbound, &tcp(server, client, SYN | ACK)).unwrap();
    for flags in [ACK, ACK | PSH, ACK, FIN | ACK, ACK] {
        post.send_in_turn(Outbound, &tcp(client, server, flags))
            .unwrap();
    }
    assert_eq!(post.flow().state, State::Closing);
    // The other direction, another peer, a fragment, a header that is wrong are not the same.
    post.send_in_turn(Outbound, &tcp(client, server, ACK))
        .unwrap();
    post.peer = OTHER;
    assert_eq!(
        post.send_in_turn(Inbound, &tcp(client, server, ACK)),
        DENIED
    );
    post.peer = PEER;
    post.send_in_turn(Outbound, &tcp(client, server, ACK))
        .unwrap();
    assert_eq!(
        post.send_in_turn(Inbound, &tcp(client, server, ACK)),
        DENIED
    );
    post.send_in_turn(Outbound, &tcp(client, server, ACK))
        .unwrap();
    let malformed = Err(DropReason::TransportMalformed);
    assert_eq!(
        post.send_in_turn(Outbound, &tcp(client, server, 0)),
        malformed
    );
    post.end_turn();
    assert_eq!(post.flow().packets, [9, 1]);
}

/// The SYN that is sent again changes nothing, but the ACK behind it does.
#[test]
fn a_packet_that_changes_nothing_hides_none_that_does() {
    let (client, server) = ((HERE, 40_000), (THERE, 80));
    let mut post = Post::new(&[allow("out", Outbound)]);
    post.send(Outbound, &tcp(client, server, SYN)).unwrap();
    post.send(Inbound, &tcp(server, client, SYN | ACK)).unwrap();
    for flags in [SYN, ACK, ACK] {
        let packet = tcp(client, server, flags);
        post.send_in_turn(Outbound, &packet).unwrap();
    }
    assert_eq!(post.flow().state, State::Established);
    // All flags at once are not plain, whatever was before.
    let absurd = tcp(client, server, !(PSH | ACK));
    let malformed = Err(DropReason::TransportMalformed);
    assert_eq!(post.send_in_turn(Outbound, &absurd), malformed);
}

#[test]
fn who_only_watches_denies_nothing() {
    let mut post = Post::of(&[], Action::Allow, false, 16);
    post.send(Inbound, &udp((THERE, 1), (HERE, 53), 10))
        .unwrap();
    post.send(Outbound, &udp((HERE, 53), (THERE, 1), 10))
        .unwrap();
    assert_eq!(post.flow().packets, [1, 1]);
    assert!(!post.checkpoint.enforces());
    for number in 0..200 {
        // Assured flows, more than there is room for.
        for (direction, from, to) in [
            (Inbound, THERE, HERE),
            (Outbound, HERE, THERE),
            (Inbound, THERE, HERE),
        ] {
            let (source, destination) = if direction == Inbound {
                (number, 5)
            } else {
                (5, number)
            };
            assert_eq!(
                post.send(direction, &udp((from, source), (to, destination), 1)),
                Ok(())
            );
        }
    }
    assert_eq!(post.checkpoint.flows().len(), 12);
}

proptest! {
    /// Packets with the same ends in any order: a flow lives from the first that a rule allows, and
    /// what does not begin a flow passes only while there is one.
    #[test]
    fn without_a_rule_nothing_passes_first(
        story in proptest::collection::vec((any::<bool>(), 0_u64..200), 1..60)
    ) {
        let mut post = Post::new(&[allow("out", Outbound)]);
        let mut alive_until: Option<(Tick, u32)> = None;
        for (is_outbound, pause) in story {
            post.wait(pause);
            let is_alive = alive_until.is_some_and(|(until, _)| post.now < until);
            if !is_alive {
                alive_until = None;
            }
            let result = if is_outbound {
                post.send(Outbound, &udp((HERE, 1), (THERE, 2), 1))
            } else {
                post.send(Inbound, &udp((THERE, 2), (HERE, 1), 1))
            };
            prop_assert_eq!(result.is_ok(), is_outbound || is_alive);
            // 0: unreplied, 1: replied, 2: conversation.
            let stage = match (alive_until, is_outbound) {
                (None, false) => continue,
                (None, true) => 0,
                (Some((_, 0)), false) => 1,
                (Some((_, 1)), true) => 2,
                (Some((_, stage)), _) => stage,
            };
            let seconds = if stage == 2 { 300 } else { 120 };
            alive_until = Some((post.now + Duration::from_secs(seconds), stage));
        }
    }
}
