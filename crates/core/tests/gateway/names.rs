//! A peer of which a name service says where it is: several addresses, of which some are wrong.

use core::{net::SocketAddr, time::Duration};

use weapon_core::ADDRESSES_MAX;

use crate::world::{A, B, Wire, World, address};

fn nobody(number: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, number], 51820))
}

fn named(world: &mut World, addresses: Vec<SocketAddr>) {
    let id = world.id(A, B);
    world.control(A, |gateway, env| gateway.set_addresses(id, addresses, env));
}

/// Where A sent its initiations.
fn tried(world: &World) -> Vec<SocketAddr> {
    let messages = world.messages(A, Wire::Initiation);
    messages.map(|(_, sent)| sent.to.remote).collect()
}

#[test]
fn each_initiation_goes_to_the_next_address_until_one_is_answered() {
    let mut world = World::new(1, 2);
    named(&mut world, vec![nobody(1), nobody(2), address(B)]);
    world.ping(A, B, b"hello").unwrap();
    world.drive(Duration::from_secs(60));
    assert_eq!(tried(&world), [nobody(1), nobody(2), address(B)]);
    assert_eq!(world.payloads(B), [b"hello".to_vec()]);
    // What works is kept, also where it is not the first.
    named(&mut world, vec![nobody(3), address(B)]);
    world.drive(Duration::from_secs(300));
    world.ping(A, B, b"again").unwrap();
    world.drive(Duration::from_secs(1));
    assert_eq!(tried(&world).last(), Some(&address(B)));
    assert_eq!(world.payloads(B).len(), 2);
}

#[test]
fn who_does_not_answer_is_told_of_and_others_are_not() {
    let mut world = World::new(2, 2);
    world.cut_off(B);
    world.ping(A, B, b"anybody there?").unwrap();
    world.drive(Duration::from_secs(60));
    assert_eq!(
        world.sites[A].gateway.take_unanswered(),
        [],
        "it has no name"
    );

    named(&mut world, vec![address(B), nobody(1)]);
    world.drive(Duration::from_secs(1));
    assert_eq!(world.sites[A].gateway.take_unanswered(), []);
    world.drive(Duration::from_secs(5));
    let told = world.sites[A].gateway.take_unanswered();
    assert_eq!(told, [("site-1".into(), Some(nobody(1)))]);
    assert_eq!(world.sites[A].gateway.take_unanswered(), []);
}

#[test]
fn a_peer_that_moved_and_is_lost_is_looked_for_by_its_name() {
    let mut world = World::connected(3);
    named(&mut world, vec![address(B)]);
    // It was heard from elsewhere, and is not there any more.
    world.sites[A].fib.load_full().peers[0]
        .link
        .set_endpoint(Some(weapon_wire::Endpoint::new(nobody(9))));
    world.forget();
    world.drive(Duration::from_secs(150));
    world.ping(A, B, b"where are you?").unwrap();
    world.drive(Duration::from_secs(60));
    let tried = tried(&world);
    assert_eq!(tried.first(), Some(&nobody(9)));
    assert_eq!(tried.last(), Some(&address(B)));
    assert_eq!(world.payloads(B).last().unwrap(), b"where are you?");
}

#[test]
fn a_configured_endpoint_ends_the_name() {
    let mut world = World::new(4, 2);
    named(&mut world, vec![nobody(1); ADDRESSES_MAX + 1]);
    let id = world.id(A, B);
    world.control(A, |gateway, env| gateway.set_endpoint(id, nobody(2), env));
    world.ping(A, B, b"hello").unwrap();
    world.drive(Duration::from_secs(30));
    assert!(tried(&world).iter().all(|to| *to == nobody(2)));
    assert_eq!(world.sites[A].gateway.take_unanswered(), []);
}
