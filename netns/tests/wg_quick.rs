//! `wg-quick` with `weapon-wg` in the place of `wireguard-go` (U31 to U34).

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use weapon_netns::daemon::unique_interface;
use weapon_netns::weapon::{PATIENCE, binary};
use weapon_netns::weapon_wg::socket;
use weapon_netns::{Host, Pair, WeaponWg, ready, until};

/// How often, and how to have it more often.
const ROUNDS: u32 = 10;
const ROUNDS_VARIABLE: &str = "WEAPON_WG_QUICK_ROUNDS";

/// `wg-quick VERB FILE` in `host`.
#[track_caller]
fn wg_quick(host: &Host, verb: &str, file: &Path) {
    let mut command: Command = host.command("wg-quick");
    let output = command
        .args([verb, &file.display().to_string()])
        .env(
            "WG_QUICK_USERSPACE_IMPLEMENTATION",
            binary().with_file_name("weapon-wg"),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "wg-quick {verb}: {said}");
}

/// All that `wg-quick` and a gateway might leave behind in a host.
fn traces(host: &Host) -> String {
    [
        "ip -o link",
        "ip -o address",
        "ip rule",
        "ip -6 rule",
        "ip route show table all",
        "ip -6 route show table all",
        "nft list ruleset",
        "ss -Huln",
    ]
    .map(|line| host.run(line))
    .join("\n")
}

#[test]
fn u31_u32_u34_up_and_down_with_the_default_route_leaves_nothing() {
    if !ready(&["wg", "wg-quick", "nft"]) {
        return;
    }
    if Path::new("/sys/module/wireguard").exists() {
        // Then wg-quick takes the kernel's, and no program (U31).
        assert!(
            std::env::var_os("CI").is_none(),
            "the kernel has WireGuard: wg-quick does not use a program here"
        );
        return;
    }
    let mut pair = Pair::new();
    let other = WeaponWg::start(&pair.other, &pair.home);
    other.wg_file("setconf", &pair.other_plan.wg_conf());
    other.ip(&pair.other, "address add 10.99.0.2/24 dev IF");
    other.ip(&pair.other, "link set IF up");
    pair.plan.listen = 0;
    pair.plan.peers[0].networks = vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()];
    // wg-quick takes the interface's name from the file's.
    let interface = unique_interface();
    let file = pair
        .home
        .write(&format!("{interface}.conf"), &pair.plan.wg_quick_conf());
    // The cable's own link-local address would only become usable in the middle of the test.
    pair.one.run("ip -6 address flush dev eth0 scope link");
    let before = traces(&pair.one);
    let rounds = std::env::var(ROUNDS_VARIABLE).map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        wg_quick(&pair.one, "up", &file);
        if round % 10 == 0 {
            pair.one.ping("10.99.0.2");
        }
        wg_quick(&pair.one, "down", &file);
    }
    until("the last socket is gone", PATIENCE, || {
        (!socket(&interface).exists()).then_some(())
    });
    assert_eq!(traces(&pair.one), before);
    eprintln!("{rounds} rounds of wg-quick up and down");
}
