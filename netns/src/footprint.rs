//! All that a gateway could leave behind on a host's system.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use crate::lab::Host;

/// Rule sets, interfaces, addresses, routes and kernel parameters of a host, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint(String);

impl Footprint {
    /// Takes it. The host has `nft` and `iptables`.
    #[track_caller]
    pub fn of(host: &Host) -> Self {
        let mut text = String::new();
        for line in [
            "nft -s list ruleset",
            "iptables-save",
            "ip6tables-save",
            "ip -o link",
            "ip -o addr",
            "ip -4 route show table all",
            "ip -6 route show table all",
        ] {
            let said = host.run(line);
            // What IPv6 does by itself in its own time, dates, and counters of chains.
            let lines = said.lines().filter(|it| {
                !["fe80:", "ff00::", "anycast", "# "]
                    .iter()
                    .any(|no| it.contains(no))
            });
            for line in lines {
                let line = line.split(" [").next().unwrap_or_default();
                writeln!(text, "{line}").expect("room in a string");
            }
        }
        text.push_str(&host.enter(parameters));
        Self(text)
    }

    /// All of it, a line each.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// The kernel parameters of the namespace of this thread that have to do with forwarding.
fn parameters() -> String {
    let mut text = String::new();
    let names = [
        "forwarding",
        "force_forwarding",
        "accept_ra",
        "rp_filter",
        "send_redirects",
    ];
    for family in ["ipv4", "ipv6"] {
        let folder = format!("/proc/sys/net/{family}/conf");
        let entries = fs::read_dir(&folder).expect("parameters");
        let interfaces: BTreeSet<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .collect();
        for interface in interfaces {
            for name in names {
                let path = format!("{folder}/{interface}/{name}");
                if let Ok(value) = fs::read_to_string(&path) {
                    writeln!(text, "{path} = {}", value.trim()).expect("room in a string");
                }
            }
        }
    }
    text
}
