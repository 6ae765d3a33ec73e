//! All that a gateway could leave behind on a host's system.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

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
            "ip -4 rule",
            "ip -6 rule",
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

/// All kernel parameters of the namespace of this thread that may be read, but for the one that
/// counts.
fn parameters() -> String {
    let mut text = String::new();
    collect(Path::new("/proc/sys/net"), &mut text);
    text
}

fn collect(folder: &Path, text: &mut String) {
    const COUNTER: &str = "nf_conntrack_count";
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths: BTreeSet<PathBuf> = entries.map(|entry| entry.path()).collect();
    for path in paths {
        if path.is_dir() {
            collect(&path, text);
        } else if !path.ends_with(COUNTER)
            && let Ok(value) = fs::read_to_string(&path)
        {
            writeln!(text, "{} = {}", path.display(), value.trim()).expect("room in a string");
        }
    }
}
