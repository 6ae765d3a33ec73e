//! Where a peer is: learned from what authenticates, and from nothing else.

use core::{net::SocketAddr, time::Duration};

use weapon_noise::Tick;
use weapon_wire::{Endpoint, Source};

use crate::pair::{A, B, Pair, Wire};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn endpoint(pair: &Pair, us: usize) -> Endpoint {
    let known = pair.sides[us].tunnel.link().endpoint();
    *known.as_deref().expect("an endpoint")
}

fn elsewhere() -> SocketAddr {
    "198.51.100.9:9".parse().unwrap()
}

#[test]
fn p77_data_moves_the_endpoint_and_replays_do_not() {
    let mut pair = Pair::connected(1);
    pair.recorded = Some(Vec::new());
    pair.send(A, b"moved");
    let (_, _, mut recorded) = pair.recorded.take().unwrap().remove(0);
    pair.sides[A].address = elsewhere();
    let mut forged = recorded.clone();
    *forged.last_mut().unwrap() ^= 1;
    pair.receive(B, elsewhere(), &mut forged);
    assert_ne!(endpoint(&pair, B).remote, elsewhere());
    pair.receive(B, elsewhere(), &mut recorded.clone());
    assert_eq!(endpoint(&pair, B).remote, elsewhere());
    let third = "198.51.100.77:7".parse().unwrap();
    pair.receive(B, third, &mut recorded);
    assert_eq!(endpoint(&pair, B).remote, elsewhere());
    pair.send(B, b"follows");
    pair.drive(ms(20));
    assert_eq!(pair.sides[A].delivered, [b"follows".to_vec()]);
}

#[test]
fn p77_a_response_moves_the_endpoint() {
    let mut pair = Pair::new(2);
    pair.recorded = Some(Vec::new());
    pair.send(A, b"data");
    let (_, to, mut initiation) = pair.recorded.take().unwrap().remove(0);
    let from = pair.sides[A].address;
    pair.sides[B].address = elsewhere();
    pair.receive(B, from, &mut initiation);
    assert_eq!(pair.count(B, Wire::Response), 1);
    assert_eq!(endpoint(&pair, A), to, "nothing came yet");
    pair.drive(ms(10));
    let source = Source {
        address: from.ip(),
        interface: 7,
    };
    assert_eq!(
        endpoint(&pair, A),
        Endpoint::new(elsewhere()).with_source(source)
    );
    pair.drive(ms(10));
    assert_eq!(pair.sides[B].delivered.len(), 1);
}

#[test]
fn p80_configuring_an_endpoint_forgets_the_source() {
    let mut pair = Pair::connected(3);
    pair.drive(Duration::from_secs(11));
    assert!(endpoint(&pair, A).source.is_some());
    let link = pair.sides[A].tunnel.link();
    link.clear_source();
    assert_eq!(endpoint(&pair, A), Endpoint::new(pair.sides[B].address));
    pair.send(B, b"learned again");
    pair.drive(ms(20));
    assert!(endpoint(&pair, A).source.is_some());
}

#[test]
fn p79_a_source_that_was_left_is_not_learned_from_what_is_still_on_its_way() {
    let mut pair = Pair::connected(5);
    pair.drive(Duration::from_secs(11));
    let now = pair.now;
    pair.sides[A].tunnel.link().leave_source(now);
    pair.send(B, b"still to the old address");
    pair.drive(ms(20));
    assert_eq!(pair.sides[A].delivered.len(), 1);
    assert_eq!(endpoint(&pair, A).source, None);
    pair.drive(ms(1000));
    pair.send(B, b"it insists");
    pair.drive(ms(20));
    assert!(endpoint(&pair, A).source.is_some());
}

#[test]
fn p83_a_pinned_endpoint_learns_its_source_only() {
    let pair = Pair::connected(4);
    let link = pair.sides[B].tunnel.link();
    link.set_endpoint_pinned(true);
    link.clear_source();
    let known = endpoint(&pair, B);
    let link = pair.sides[B].tunnel.link();
    assert!(!link.roam(&Endpoint::new(elsewhere()), Tick::default()));
    assert_eq!(endpoint(&pair, B), known);
    let source = Source {
        address: "192.0.2.2".parse().unwrap(),
        interface: 3,
    };
    let link = pair.sides[B].tunnel.link();
    assert!(
        !link.roam(&known.with_source(source), Tick::default()),
        "it did not move"
    );
    assert_eq!(endpoint(&pair, B).source, Some(source));
}
