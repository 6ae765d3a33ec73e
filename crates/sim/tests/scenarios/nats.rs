//! The four classic kinds of NAT, before one gateway and before both.

use core::time::Duration;

use weapon_sim::{NatKind, NatPlan, Place, Step, Story, World};

use crate::{cipher, lost, ms, secs, send, talk};

/// A place behind a NAT of `kind` that forgets after 30 s.
fn behind(kind: NatKind, keepalive_secs: u16) -> Place {
    Place {
        nat: Some(NatPlan {
            kind,
            expiry_secs: 30,
            keeps_port: kind != NatKind::Symmetric,
        }),
        keepalive_secs,
        is_announced: true,
    }
}

fn world(places: Vec<Place>) -> World {
    let story = Story {
        places,
        ..Story::quiet(1, 0)
    };
    World::new(&story, cipher())
}

/// Gateway 0 is behind a NAT, gateway 1 is not and does not know where gateway 0 is.
fn one_sided(kind: NatKind, keepalive_secs: u16) -> World {
    let place = Place {
        is_announced: false,
        ..behind(kind, keepalive_secs)
    };
    world(vec![place, Place::default()])
}

#[test]
fn who_is_behind_a_nat_is_reached_after_its_first_packet_until_the_nat_forgets() {
    for kind in NatKind::ALL {
        let mut world = one_sided(kind, 0);
        world.happens(send(1, 0));
        world.drive(secs(6));
        assert_eq!(lost(&world, 1, 0, secs(6)), 1, "{kind}: nobody knows where");
        world.happens(send(0, 1));
        world.drive(ms(100));
        world.happens(send(1, 0));
        world.drive(ms(100));
        assert_eq!(lost(&world, 0, 1, ms(200)), 0, "{kind}");
        assert_eq!(lost(&world, 1, 0, ms(150)), 0, "{kind}");
        world.drive(secs(60));
        world.happens(send(1, 0));
        world.drive(secs(1));
        assert_eq!(
            lost(&world, 1, 0, secs(1)),
            1,
            "{kind}: the NAT has forgotten"
        );
        world.happens(send(0, 1));
        world.drive(ms(100));
        world.happens(send(1, 0));
        world.drive(ms(100));
        assert_eq!(
            lost(&world, 1, 0, ms(150)),
            0,
            "{kind}: it says where it is"
        );
    }
}

#[test]
fn p48_a_persistent_keepalive_holds_the_nat_open_for_a_day() {
    for kind in NatKind::ALL {
        let mut world = one_sided(kind, 25);
        for _ in 0..24 {
            world.drive(secs(3600));
            world.happens(send(1, 0));
            world.drive(secs(1));
        }
        assert_eq!(lost(&world, 1, 0, secs(86_400)), 0, "{kind}");
    }
}

#[test]
fn p81_after_a_reboot_of_the_nat_the_next_packet_tells_the_new_port() {
    for kind in NatKind::ALL {
        let mut place = behind(kind, 0);
        if let Some(nat) = &mut place.nat {
            nat.keeps_port = false;
        }
        let mut world = world(vec![place, Place::default()]);
        world.happens(talk(0, 1, 500, secs(60)));
        world.happens(talk(1, 0, 500, secs(60)));
        world.drive(ms(20_250));
        world.happens(Step::RebootNat { host: 0 });
        world.drive(ms(550));
        let back = secs(20);
        world.drive(back);
        assert_eq!(lost(&world, 0, 1, back), 0, "{kind}");
        assert_eq!(lost(&world, 1, 0, back), 0, "{kind}");
    }
}

/// Whether two gateways behind NATs find each other, each told the other's outer address.
fn find_each_other(one: NatKind, other: NatKind) -> bool {
    let mut world = world(vec![behind(one, 5), behind(other, 5)]);
    world.drive(secs(30));
    let back = Duration::from_secs(20);
    world.happens(talk(0, 1, 500, back));
    world.happens(talk(1, 0, 500, back));
    world.drive(back);
    world.assert_well();
    let delivered = [(0, 1), (1, 0)].map(|(from, to)| {
        let (delivered, offered) = world.delivered(from, to, back);
        assert!(delivered == 0 || delivered >= offered - 1, "all or nothing");
        delivered > 0
    });
    assert_eq!(delivered[0], delivered[1]);
    delivered[0]
}

#[test]
fn two_nats_are_passed_unless_one_is_symmetric_and_the_other_looks_at_ports() {
    let looks_at_ports = |kind| matches!(kind, NatKind::PortRestricted | NatKind::Symmetric);
    for one in NatKind::ALL {
        for other in NatKind::ALL {
            let is_closed = (one == NatKind::Symmetric && looks_at_ports(other))
                || (other == NatKind::Symmetric && looks_at_ports(one));
            assert_eq!(find_each_other(one, other), !is_closed, "{one}, {other}");
        }
    }
}
