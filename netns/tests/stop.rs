//! However a gateway ends, nothing is left of it: no interface, route, address, socket, process or
//! file. When its interface is deleted it ends at once (U08).

use std::time::{Duration, Instant};

use rustix::process::Signal;
use weapon_io::netlink;
use weapon_netns::traffic::{Pace, Stream};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Pair, Traces, Weapon, ready, until};

/// U08.
const END_TIME_MAX: Duration = Duration::from_millis(100);

fn is_process(id: u32) -> bool {
    std::path::Path::new(&format!("/proc/{id}")).exists()
}

/// Stops the gateway of `one` while bytes run through it, by whatever `stop` does, and looks
/// around.
fn leaves_nothing(stop: impl Fn(&Pair, &mut Weapon)) {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let _other = pair.start_other();
    let before = Traces::of(&pair.one, &pair.home);
    let mut one = pair.start();
    let id = one.process().id();
    pair.one.ping("10.99.0.2");
    pair.one.ping("fd99::2");
    assert_ne!(Traces::of(&pair.one, &pair.home), before);
    stop(&pair, &mut one);
    let status = one.process().wait(PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", one.log());
    assert_eq!(Traces::of(&pair.one, &pair.home), before);
    assert!(!is_process(id));
    assert!(!one.log().contains("ERROR"), "{}", one.log());
    assert!(!one.log().contains("panicked"), "{}", one.log());
}

#[test]
fn u07_sigterm_leaves_nothing() {
    leaves_nothing(|_, weapon| weapon.process().signal(Signal::TERM));
}

#[test]
fn u07_sigint_leaves_nothing() {
    leaves_nothing(|_, weapon| weapon.process().signal(Signal::INT));
}

#[test]
fn deleted_interface_leaves_nothing() {
    leaves_nothing(|pair, _| {
        pair.one.run("ip link delete w-one");
    });
}

#[test]
fn down_leaves_nothing_and_returns_then() {
    leaves_nothing(|pair, _| {
        let others = Traces::of(&pair.other, &pair.home);
        let said = pair.weapon(&["down", "one"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(!pair.one.run("ip -o link").contains("w-one"));
        assert!(!pair.home.runtime().join("one.sock").exists());
        assert!(!pair.home.runtime().join("one.json").exists());
        // What belongs to the gateway beside it is still there.
        assert!(pair.home.runtime().join("other.sock").exists());
        assert_ne!(Traces::of(&pair.other, &pair.home), others);
    });
}

#[test]
fn stopped_in_full_flight_leaves_nothing() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let (mut one, other) = pair.start_both();
    let pace = Pace {
        bytes: None,
        pause: Duration::ZERO,
    };
    let stream = Stream::start(&pair.other, &pair.one, "10.99.0.1", pace);
    stream.expect_progress(1 << 20);
    one.process().signal(Signal::TERM);
    assert_eq!(one.process().wait(PATIENCE).code(), Some(0));
    assert!(!pair.one.run("ip -o link").contains("w-one"));
    // The same gateway again takes the connection up where it was. Its peer would notice after 15 s
    // that the session is gone (P45); a packet of ours shows it at once.
    let again = pair.start();
    pair.one.ping("10.99.0.2");
    stream.expect_progress(1 << 20);
    stream.finish();
    assert_eq!(again.stop().code(), Some(0));
    assert_eq!(other.stop().code(), Some(0));
}

#[test]
fn u08_ends_at_once_when_the_interface_is_deleted() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut one = pair.start();
        let (process, host) = (one.process(), &pair.one);
        let deleted = host.enter(|| {
            netlink::block_on(async |netlink| {
                let index = netlink.link("w-one").await?.index;
                let asked = Instant::now();
                netlink.delete_link(index).await?;
                Ok((asked, Instant::now()))
            })
        });
        let (asked, deleted) = deleted.expect("the interface deleted");
        while process.ended().is_none() {
            assert!(deleted.elapsed() < PATIENCE, "the gateway does not end");
            std::thread::sleep(Duration::from_micros(200));
        }
        times.push(asked.elapsed());
        println!(
            "ended {:?} after the interface was to be deleted, which took {:?}",
            asked.elapsed(),
            deleted - asked
        );
        assert_eq!(process.ended().and_then(|it| it.code()), Some(0));
    }
    times.sort();
    // One of five may have met a busy machine.
    assert!(times[2] < END_TIME_MAX, "{times:?}");
}

/// `ip netns delete` and the end of a container delete the interface too. A gateway that held the
/// namespace by a descriptor would keep it, and itself, alive (U10).
#[test]
fn u10_moved_interface_is_followed_to_its_end() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let mut one = pair.start();
    let there = pair.other.again();
    let moved = pair.one.enter(|| {
        netlink::block_on(async |netlink| {
            let index = netlink.link("w-one").await?.index;
            netlink.move_link(index, there.namespace()).await
        })
    });
    moved.expect("the interface moved");
    // Netlink says that it is gone. Its file knows better, and the gateway goes on.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(one.process().ended().is_none(), "{}", one.log());
    pair.other.run("ip link delete w-one");
    let status = one.process().wait(PATIENCE);
    assert_eq!(status.code(), Some(0), "{}", one.log());
    until("the interface went with its process", PATIENCE, || {
        let links = pair.other.run("ip -o link");
        (!links.contains("w-one")).then_some(())
    });
}
