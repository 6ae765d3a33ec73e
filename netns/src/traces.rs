//! What a gateway could leave behind.

use std::collections::BTreeSet;
use std::fs;

use crate::lab::Host;
use crate::weapon::Home;

/// Links, addresses, routes, sockets and files: everything that there is at one moment.
#[derive(Debug, PartialEq, Eq)]
pub struct Traces {
    links: Vec<String>,
    addresses: Vec<String>,
    routes: Vec<String>,
    rules: Vec<String>,
    sockets: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Traces {
    /// What there is in `host`, and in the folder of what runs. Of the folder of what stays, the
    /// timestamps are left out: they stay on purpose.
    #[track_caller]
    pub fn of(host: &Host, home: &Home) -> Self {
        let ip = |line: &str| -> Vec<String> {
            let text = host.run(line);
            // What IPv6 gives an interface by itself, some time after it is up.
            let lines = text
                .lines()
                .filter(|line| !line.contains("fe80:") && !line.contains("ff00::"));
            lines.map(str::to_owned).collect()
        };
        let mut routes = ip("ip -4 route show table all");
        routes.extend(ip("ip -6 route show table all"));
        let mut rules = ip("ip -4 rule show");
        rules.extend(ip("ip -6 rule show"));
        let sockets = host.enter(|| {
            let of_kind = |kind: &str| {
                let path = format!("/proc/thread-self/net/{kind}");
                let text = fs::read_to_string(path).expect("a list of sockets");
                let locals = text.lines().skip(1).filter_map(|line| {
                    let local = line.split_whitespace().nth(1)?;
                    Some(format!("{kind} {local}"))
                });
                locals.collect::<Vec<_>>()
            };
            ["udp", "udp6", "tcp", "tcp6"]
                .into_iter()
                .flat_map(of_kind)
                .collect()
        });
        let mut files = BTreeSet::new();
        for folder in [home.runtime(), home.state()] {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.extension().is_none_or(|it| it != "timestamp") {
                    files.insert(path.display().to_string());
                }
            }
        }
        Self {
            links: ip("ip -o link"),
            addresses: ip("ip -o addr"),
            routes,
            rules,
            sockets,
            files,
        }
    }
}
