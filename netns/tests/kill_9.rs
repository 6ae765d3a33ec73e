//! After kill -9 `up` works at once, and says what it found of its predecessor.

use rustix::process::Signal;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Pair, Traces, ready};

#[test]
fn up_works_at_once_after_kill_9() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let _other = pair.start_other();
    let before = Traces::of(&pair.one, &pair.home);
    for _ in 0..3 {
        let mut killed = pair.start();
        pair.one.ping("10.99.0.2");
        let id = killed.process().id();
        killed.process().signal(Signal::KILL);
        let status = killed.process().wait(PATIENCE);
        assert_eq!(status.code(), None);
        // The kernel takes what hung on the process; files stay.
        for file in ["one.sock", "one.json"] {
            assert!(pair.home.runtime().join(file).exists(), "{file}");
        }
        // Nobody takes the dead for the living.
        for command in ["status", "down"] {
            let said = pair.weapon(&[command, "one"]);
            assert_eq!(said.code, 1, "{said:?}");
            let words = "no running gateway \"one\"";
            assert!(said.error.contains(words), "{said:?}");
        }

        let again = pair.start();
        let log = again.log();
        let found = "an earlier gateway did not stop cleanly; its leftovers were found and removed";
        assert_eq!(log.matches(found).count(), 1, "{log}");
        assert!(
            log.contains(&format!("pid={id} interface=\"w-one\"")),
            "{log}"
        );
        for file in ["one.json", "one.sock"] {
            let path = pair.home.runtime().join(file);
            assert!(log.contains(&path.display().to_string()), "{log}");
        }
        // The peer, which still has the session of the dead, takes a new one: the timestamps went
        // on (P29).
        pair.one.ping("10.99.0.2");
        assert_eq!(again.stop().code(), Some(0));
        assert_eq!(Traces::of(&pair.one, &pair.home), before);
        std::fs::remove_file(pair.home.path().join("one.log")).expect("the log");
    }
}

/// Killed before it was up: a claim that nobody had time to fill.
#[test]
fn unfinished_claim_is_found_too() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    for leftover in ["", "{\"pid\":", "not json at all"] {
        let claim = pair.home.runtime().join("one.json");
        std::fs::write(&claim, leftover).expect("a claim");
        let socket = pair.home.runtime().join("one.sock");
        std::fs::write(&socket, "").expect("what is no socket");
        let one = pair.start();
        let complaint = "an unreadable claim of an earlier gateway was found and removed";
        assert_eq!(
            one.log().contains(complaint),
            !leftover.is_empty(),
            "{}",
            one.log()
        );
        assert_eq!(one.stop().code(), Some(0));
        assert!(!claim.exists() && !socket.exists());
        std::fs::remove_file(pair.home.path().join("one.log")).expect("the log");
    }
}
