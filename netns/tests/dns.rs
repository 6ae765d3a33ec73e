//! An endpoint whose name does not resolve at the start: the tunnel comes up when it does.

use std::fs;

use weapon_io::namespace::{cover_with_tmpfs, isolate};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Pair, ready, until};

/// Runs on a thread of its own, which has an `/etc` of its own and hands it to what it starts.
fn the_name_appears_later() {
    isolate().expect("a mount namespace");
    cover_with_tmpfs("/etc").expect("an empty /etc");
    fs::write("/etc/nsswitch.conf", "hosts: files\n").expect("nsswitch.conf");
    fs::write("/etc/hosts", "127.0.0.1 localhost\n").expect("hosts");

    let mut pair = Pair::new();
    pair.plan.peers[0].endpoint = Some("gw-other.example:51820".to_owned());
    pair.plan.peers[0].keepalive = Some(1);
    let other = pair.start_other();
    let one = pair.start();
    until("it says so", PATIENCE, || {
        one.log()
            .contains("endpoint does not resolve")
            .then_some(())
    });
    let peer = one.peer("other");
    assert!(peer["endpoint"].is_null(), "{peer:#}");
    assert_eq!(peer["unresolved"], "gw-other.example:51820");
    assert!(peer["latest_handshake"].is_null());

    fs::write("/etc/hosts", "192.0.2.2 gw-other.example\n").expect("hosts");
    until("the tunnel comes up by itself", PATIENCE, || {
        one.peer("other")["latest_handshake"].as_u64()
    });
    let peer = one.peer("other");
    assert_eq!(peer["endpoint"], "192.0.2.2:51820");
    assert!(peer["unresolved"].is_null(), "{peer:#}");
    pair.one.ping("10.99.0.2");
    assert_eq!(one.stop().code(), Some(0));
    assert_eq!(other.stop().code(), Some(0));
}

#[test]
fn tunnel_comes_up_when_the_name_resolves() {
    if !ready(&[]) {
        return;
    }
    let test = std::thread::spawn(the_name_appears_later);
    if let Err(panic) = test.join() {
        std::panic::resume_unwind(panic);
    }
}
