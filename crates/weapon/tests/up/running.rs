//! A gateway that runs: a second one, unknown ones, endpoints that do not resolve, an end in order.

use rustix::process::{Pid, Signal, kill_process};

use crate::site::{Site, config};

#[test]
fn gateway_that_runs_already() {
    let Some(site) = Site::new() else { return };
    let gateway = site.up();
    let pid = gateway.child.id();
    site.refuses(
        1,
        &format!(
            "weapon: this gateway runs already, as process {pid}; stop it with `weapon down site` \
             first\n"
        ),
    );
    assert_eq!(site.status()["pid"], pid);
    assert_eq!(site.status()["up"], true);
}

#[test]
fn unknown_gateway_on_down_and_status() {
    let Some(site) = Site::new() else { return };
    let before = site.traces();
    let check = |arguments: &[&str], name: &str, others: &str| {
        let said = site.weapon(arguments);
        assert_eq!((said.code, &*said.stdout), (Some(1), ""), "{arguments:?}");
        assert_eq!(
            said.stderr,
            format!("weapon: there is no running gateway {name:?}; {others}\n")
        );
    };
    for command in ["down", "status"] {
        check(&[command, "nowhere"], "nowhere", "none runs");
        check(&[command, "site"], "site", "none runs");
        check(&[command, "site.toml"], "site", "none runs");
        check(&[command, "gone/since.conf"], "since", "none runs");
    }
    assert_eq!(site.traces(), before);
    let said = site.weapon(&["status"]);
    assert_eq!((said.code, &*said.stdout), (Some(0), "no gateway runs\n"));
    let _gateway = site.up();
    for command in ["down", "status"] {
        check(&[command, "nowhere"], "nowhere", "running: site");
    }
    // No name at all is bad usage, as everywhere.
    let said = site.weapon(&["down", "no/such name"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
}

#[test]
fn endpoint_that_does_not_resolve() {
    let Some(site) = Site::new() else { return };
    let text = format!("{}endpoint = \"gw-b.invalid:51820\"\n", config(""));
    site.write("site.toml", &text);
    let mut gateway = site.up();
    let complaint = "endpoint does not resolve; the gateway runs and tries again peer=\"far\" \
                     endpoint=gw-b.invalid:51820 reason=";
    // It says so, and tries again after one second, then two.
    gateway.until("two tries", |log| log.matches(complaint).count() >= 2);
    assert!(
        gateway.log().contains("retry_seconds=1"),
        "{}",
        gateway.log()
    );
    assert!(
        gateway.log().contains("retry_seconds=2"),
        "{}",
        gateway.log()
    );
    let status = site.status();
    assert_eq!(status["up"], true);
    let peer = &status["peers"][0];
    assert_eq!(peer["endpoint"], serde_json::Value::Null);
    assert_eq!(peer["unresolved"], "gw-b.invalid:51820");
    let said = site.weapon(&["status", "site"]);
    assert!(
        said.stdout.contains("peer far  name does not resolve\n"),
        "{}",
        said.stdout
    );
    let row = "  endpoint    gw-b.invalid:51820, not resolved yet; trying again\n";
    assert!(said.stdout.contains(row), "{}", said.stdout);
}

#[test]
fn endpoint_that_does_not_resolve_is_said_in_the_background_too() {
    let Some(site) = Site::new() else { return };
    let text = format!("{}endpoint = \"gw-b.invalid:51820\"\n", config(""));
    site.write("site.toml", &text);
    let said = site.weapon(&["up", "site.toml"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(
        site.status()["peers"][0]["unresolved"],
        "gw-b.invalid:51820"
    );
    assert_eq!(site.weapon(&["down", "site"]).code, Some(0));
}

/// However it is told to stop, it ends with code 0 and what it made is gone.
#[test]
fn end_in_order() {
    let Some(site) = Site::new() else { return };
    let before = site.traces();
    for signal in [Some(Signal::TERM), Some(Signal::INT), None] {
        let mut gateway = site.up();
        assert_ne!(site.traces(), before);
        match signal {
            Some(signal) => kill_process(Pid::from_child(&gateway.child), signal).unwrap(),
            None => {
                let said = site.weapon(&["down", "site.toml"]);
                assert_eq!((said.code, &*said.stdout, &*said.stderr), (Some(0), "", ""));
                // `down` returns when nothing is left.
                assert_eq!(site.traces(), before);
            }
        }
        let status = gateway.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", gateway.log());
        assert_eq!(site.traces(), before, "{signal:?}");
        assert!(!gateway.log().contains("ERROR"), "{}", gateway.log());
    }
}

/// SIGHUP, which ends a process that does not know it, does not end a gateway: it loads its file
/// again.
#[test]
fn hangup_is_no_end() {
    let Some(site) = Site::new() else { return };
    let mut gateway = site.up();
    kill_process(Pid::from_child(&gateway.child), Signal::HUP).unwrap();
    gateway.until("it is said", |log| log.contains("loaded again"));
    assert_eq!(site.status()["up"], true);
}
