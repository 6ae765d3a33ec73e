//! What is told of packets to who looks.

use super::*;
use crate::Fate;

/// Who is said to have decided on a packet, which is sent before.
fn ruled(post: &mut Post, direction: Direction, packet: &[u8]) -> Option<Ruling> {
    let fate = match post.send(direction, packet) {
        Ok(()) => Fate::Passed,
        Err(reason) => Fate::Dropped(reason),
    };
    asked(post, direction, packet, fate)
}

fn asked(post: &Post, direction: Direction, packet: &[u8], fate: Fate) -> Option<Ruling> {
    let flow = Flow::parse(packet).unwrap();
    let traveller = Traveller {
        direction,
        peer: post.peer,
        flow: &flow,
        bytes: packet,
        now: post.now,
        packets: 0,
        total: 0,
    };
    post.checkpoint.ruling(&traveller, fate)
}

fn by(action: Action, rule: &str) -> Option<Ruling> {
    Some(Ruling::Rule(action, rule.into()))
}

#[test]
fn rules_are_named_and_nothing_is_counted_for_it() {
    let no_web = Rule {
        ports: port(80),
        ..Rule::of_all("no-web", Action::Deny)
    };
    let mut post = Post::new(&[no_web, allow("out", Outbound)]);
    let (web, question) = (
        tcp((HERE, 5), (THERE, 80), SYN),
        udp((HERE, 5), (THERE, 53), 1),
    );
    let (answer, stranger) = (
        udp((THERE, 53), (HERE, 5), 1),
        udp((THERE, 53), (HERE, 6), 1),
    );
    let denied = ruled(&mut post, Outbound, &web);
    assert_eq!(denied, by(Action::Deny, "no-web"));
    let allowed = by(Action::Allow, "out");
    assert_eq!(ruled(&mut post, Outbound, &question), allowed);
    // The answer passes for the rule that has let the question pass.
    assert_eq!(ruled(&mut post, Inbound, &answer), allowed);
    let denied = ruled(&mut post, Inbound, &stranger);
    assert_eq!(denied, by(Action::Deny, "default"));
    let error = error(&question, THERE);
    assert_eq!(ruled(&mut post, Inbound, &error), Some(Ruling::Related));
    let counts = post.checkpoint.filter().counts();
    let counts: Vec<_> = counts.iter().map(|it| (it.allowed, it.denied)).collect();
    assert_eq!(counts, [(0, 1), (1, 0), (0, 1)]);
    assert_eq!(post.flow().packets, [1, 1]);
}

#[test]
fn what_cannot_be_said_is_not_said() {
    let mut post = Post::new(&[allow("out", Outbound)]);
    let question = udp((HERE, 5), (THERE, 53), 1);
    post.send(Outbound, &question).unwrap();
    // Something else than the filter has let it die.
    let fate = Fate::Dropped(DropReason::NoEndpoint);
    assert_eq!(asked(&post, Outbound, &question, fate), None);
    // Its flow is forgotten, and the rules would decide otherwise now.
    post.rule(&[]);
    post.wait(3600);
    assert_eq!(asked(&post, Outbound, &question, Fate::Passed), None);
    // Who only watches has no rules.
    let mut post = Post::of(&[], Action::Allow, false, 64);
    assert_eq!(ruled(&mut post, Outbound, &question), None);
}
