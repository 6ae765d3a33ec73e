//! Who gets a place, and who has to go.

use weapon_wire::{
    Flow, Transport,
    tcp::{ACK, SYN},
};

use super::*;
use crate::{
    filter::Direction,
    flows::{Passage, State},
};

const NOW: Tick = Tick::from_nanos(1_000_000_000_000);

fn later(seconds: u64) -> Tick {
    NOW + Duration::from_secs(seconds)
}

/// A flow of a peer, one of many.
fn entry(peer: u32, number: u16, seen: Tick, state: State) -> Entry {
    let flow = Flow {
        source: "10.0.0.1".parse().unwrap(),
        destination: "10.1.0.1".parse().unwrap(),
        protocol: 6,
        ports: Some((number, 80)),
        header_len: 20,
        total_len: 40,
        traffic_class: 0,
    };
    let key = Key::of(
        Direction::Inbound,
        PeerId(peer),
        &flow,
        &Transport::Tcp(SYN),
    );
    let (key, from_low) = key.unwrap();
    let passage = Passage {
        now: seen,
        packets: 1,
        bytes: 40,
        flags: Some(SYN | ACK),
    };
    let mut entry = Entry::new(key, from_low, Direction::Inbound, &passage);
    entry.state = state;
    entry
}

fn full(of: impl Fn(usize) -> (u32, Tick, State)) -> Set {
    let mut set = Set::default();
    for place in 0..WAYS {
        let (peer, seen, state) = of(place);
        set.put(
            place,
            1 + place as u32,
            entry(peer, place as u16, seen, state),
        );
    }
    set
}

#[test]
fn what_is_put_is_found_until_it_is_cleared() {
    let mut set = Set::default();
    let one = entry(1, 1, NOW, State::SynSent);
    assert_eq!(set.find(5, &one.key), None);
    assert_eq!(set.put(3, 5, one), 1);
    assert_eq!(set.find(5, &one.key), Some(3));
    assert_eq!(set.find(7, &one.key), None);
    assert_eq!(set.find(5, &entry(1, 2, NOW, State::SynSent).key), None);
    assert_eq!(set.flows().count(), 1);
    assert!(set.at(3).is_some() && set.at(4).is_none() && set.at(WAYS).is_none());
    set.clear(3);
    assert_eq!(set.find(5, &one.key), None);
    assert!(set.at(3).is_none());
    // The next one in this place is another.
    assert_eq!(set.put(3, 5, one), 2);
    assert_eq!(set.put(WAYS, 5, one), 0);
}

#[test]
fn free_places_are_taken_first() {
    let mut set = full(|_| (1, NOW, State::SynSent));
    set.clear(9);
    assert_eq!(set.room(PeerId(2), NOW), Some((9, None)));
    // But not by who has enough.
    assert_ne!(set.room(PeerId(1), NOW), Some((9, None)));
}

#[test]
fn whose_time_is_over_goes_before_others() {
    let set = full(|place| match place {
        7 => (1, NOW, State::Reset),
        3 => (2, NOW, State::Reset),
        _ => (1, later(15), State::SynSent),
    });
    let now = later(15);
    assert_eq!(
        set.room(PeerId(5), now),
        Some((3, Some(EndReason::Timeout)))
    );
    // Who has enough takes his own.
    assert_eq!(
        set.room(PeerId(1), now),
        Some((7, Some(EndReason::Timeout)))
    );
}

#[test]
fn of_unassured_flows_the_largest_crowd_gives_its_oldest() {
    let set = full(|place| match place {
        0..4 => (1, later(place as u64), State::SynSent),
        4..9 => (2, later(100 - place as u64), State::SynReceived),
        _ => (3, NOW, State::Established),
    });
    let room = set.room(PeerId(4), later(100));
    assert_eq!(room, Some((8, Some(EndReason::Evicted))));
}

#[test]
fn assured_flows_in_use_stay() {
    for state in [State::Established, State::Closing, State::Conversation] {
        let set = full(|place| (1 + place as u32 % 4, NOW, state));
        assert_eq!(set.room(PeerId(1), later(200)), None, "{state}");
        assert_eq!(set.room(PeerId(9), later(200)), None, "{state}");
    }
    for state in [
        State::Unreplied,
        State::Replied,
        State::PickedUp,
        State::Closed,
    ] {
        let set = full(|place| (1 + place as u32 % 4, NOW, state));
        let room = set.room(PeerId(9), later(1));
        assert_eq!(
            room.map(|it| it.1),
            Some(Some(EndReason::Evicted)),
            "{state}"
        );
    }
}

#[test]
fn idle_assured_flows_go_to_their_peer_or_to_who_has_less() {
    let idle = later(IDLE_MIN.as_secs());
    // Eight each; the oldest of peer 1 is in place 2, that of peer 2 in place 13.
    let set = full(|place| match place {
        2 | 13 => (1 + u32::from(place == 13), NOW, State::Established),
        0..8 => (1, NOW + Duration::from_secs(1), State::Established),
        _ => (2, NOW + Duration::from_secs(1), State::Established),
    });
    let evicted = |place| Some((place, Some(EndReason::Evicted)));
    assert_eq!(set.room(PeerId(1), idle), evicted(2));
    assert_eq!(set.room(PeerId(2), idle), evicted(13));
    assert!(set.room(PeerId(3), idle).is_some());
    // A moment before, nobody.
    let before = Tick::from_nanos(idle.as_nanos() - 1);
    assert_eq!(set.room(PeerId(1), before), None);
    assert_eq!(set.room(PeerId(3), before), None);

    // Who has almost as many as the others has no claim.
    let set = full(|place| (place as u32 / 2, NOW, State::Established));
    assert_eq!(
        set.room(PeerId(20), idle).map(|it| it.1),
        Some(Some(EndReason::Evicted))
    );
    let set = full(|place| (place as u32, NOW, State::Established));
    assert_eq!(set.room(PeerId(20), idle), None);
}

#[test]
fn a_peer_does_not_take_the_last_quarter() {
    let mut set = Set::default();
    for place in 0..PLACES_OF_PEER_MAX {
        let room = set.room(PeerId(1), NOW);
        assert_eq!(room, Some((place, None)));
        let flow = entry(1, place as u16, later(place as u64), State::SynSent);
        set.put(place, 1, flow);
    }
    // It evicts its own, though there are free places.
    let now = later(20);
    assert_eq!(
        set.room(PeerId(1), now),
        Some((0, Some(EndReason::Evicted)))
    );
    assert_eq!(set.room(PeerId(2), now), Some((12, None)));
    // And its own alone, though others' are older.
    set.put(12, 1, entry(2, 77, NOW, State::SynSent));
    set.clear(0);
    set.put(0, 1, entry(1, 0, later(50), State::SynSent));
    assert_eq!(
        set.room(PeerId(1), later(60)),
        Some((1, Some(EndReason::Evicted)))
    );
}
