//! A report for people: names and values in two columns, whatever the terminal's width.

use std::fmt::Write as _;

use super::{
    amounts::{bytes, duration, milliseconds, percent, plural, rate},
    fold::fold,
};
use crate::cli;
use crate::config::service::{dscp, rate as limit_rate};
use crate::report::{
    AuditReport, Behind, Cipher, GatewayPrivileges, Limit, Limited, Loss, Peer, Privileges, Report,
    Warning,
};

/// Where values begin.
const VALUES_AT: usize = 14;

/// Columns below which values are not folded: nothing would be left of them.
const FOLD_COLUMNS_MIN: usize = 30;

/// What the output can do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paper {
    /// Colours are understood, and wanted.
    pub colour: bool,
    /// Columns, if it is a terminal.
    pub width: Option<usize>,
}

#[derive(Clone, Copy)]
enum Ink {
    Good,
    Bad,
}

/// The report at the moment `now`, in seconds since 1970.
pub fn describe(report: &Report, paper: Paper, now: u64) -> String {
    let mut page = Page {
        text: String::new(),
        paper,
    };
    page.gateway(report);
    for peer in &report.peers {
        page.text.push('\n');
        let of_it = |warning: &&Warning| warning.peer.as_ref() == Some(&peer.name);
        page.peer(peer, report.warnings.iter().filter(of_it), now);
    }
    page.text
}

struct Page {
    text: String,
    paper: Paper,
}

impl Page {
    fn gateway(&mut self, report: &Report) {
        let (state, ink) = if report.up {
            ("up", Ink::Good)
        } else {
            ("interface is down", Ink::Bad)
        };
        self.heading(&format!("gateway {}", report.name), state, ink);
        for warning in report.warnings.iter().filter(|it| it.peer.is_none()) {
            self.warning(&warning.text);
        }
        let interface = format!("{}, MTU {}", report.interface, report.mtu);
        self.row("interface", &interface);
        self.row("public key", &report.public_key);
        let mark = match report.fwmark {
            0 => String::new(),
            mark => format!(", mark {mark:#x}"),
        };
        let port = report.listen_port;
        self.row("listens", &format!("UDP port {port}{mark}"));
        self.behind(&report.networks);
        self.row("lanes", &report.lanes.to_string());
        self.row("cipher", &cipher(&report.cipher));
        self.row("offloads", &offloads(report));
        let process = format!("{} ({})", report.pid, report.config);
        self.row("process", &process);
        self.row("helper", &privileges(&report.privileges));
        self.row("gateway", &gateway_process(&report.gateway_process));
        if let Some(log) = &report.audit {
            self.row("audit log", &audit(log));
        }
        self.row("dropped", &drops(report));
    }

    /// What lies behind us: a line for each entry of the file, and one for each warning.
    fn behind(&mut self, networks: &[Behind]) {
        for (index, entry) in networks.iter().enumerate() {
            let name = if index == 0 { "behind us" } else { "" };
            let prefixes = entry.prefixes.iter().map(|it| match &it.interface {
                Some(interface) => format!("{} by {interface}", it.prefix),
                None => format!("{} by no interface", it.prefix),
            });
            let mut prefixes = prefixes.collect::<Vec<_>>().join(", ");
            if prefixes.is_empty() {
                prefixes.push_str("nothing");
            }
            self.row(name, &format!("{}: {prefixes}", entry.written));
            for warning in &entry.warnings {
                self.row("", &format!("  warning: {warning}"));
            }
        }
    }

    fn peer<'a>(&mut self, peer: &Peer, warnings: impl Iterator<Item = &'a Warning>, now: u64) {
        let (state, ink) = state(peer);
        self.heading(&format!("peer {}", peer.name), state, ink);
        for warning in warnings {
            self.warning(&warning.text);
        }
        self.row("public key", &peer.public_key);
        if let Some(endpoint) = peer.endpoint {
            self.row("endpoint", &endpoint.to_string());
        }
        if let Some(name) = &peer.unresolved {
            let name = format!("{name}, not resolved yet; trying again");
            self.row("endpoint", &name);
        }
        self.row("networks", &peer.networks.join(", "));
        let handshake = match peer.latest_handshake {
            Some(at) => format!("{} ago", duration(now.saturating_sub(at))),
            None => "never".to_owned(),
        };
        self.row("handshake", &handshake);
        let received = bytes(peer.received_bytes);
        let sent = bytes(peer.sent_bytes);
        self.row("transfer", &format!("{received} received, {sent} sent"));
        if let Some(rates) = &peer.rates {
            let received = rate(rates.received_bytes_per_second);
            let sent = rate(rates.sent_bytes_per_second);
            self.row("rate", &format!("{received} received, {sent} sent"));
        }
        self.limits(peer);
        if let Some(loss) = peer.loss {
            let Loss { sent, missing } = loss;
            let part = percent(missing, sent);
            self.row(
                "loss",
                &format!("{part}, {missing} of its last {sent} messages"),
            );
        }
        if let Some(time) = peer.round_trip_smoothed_us {
            self.row("round trip", &milliseconds(time));
        }
        if let Some(seconds) = peer.persistent_keepalive {
            self.row("keepalive", &format!("every {}", plural(seconds, "second")));
        }
        if peer.parked != 0 {
            let wait = if peer.parked == 1 { "waits" } else { "wait" };
            let packets = plural(peer.parked as u64, "packet");
            self.row("parked", &format!("{packets} {wait} for a session"));
        }
    }

    /// What may pass, what was too much, and how datagrams are marked.
    fn limits(&mut self, peer: &Peer) {
        if !peer.limits.is_empty() {
            let limits: Vec<_> = peer.limits.iter().map(limit).collect();
            self.row("limits", &limits.join(", "));
        }
        if let Some(limited) = peer.limited.filter(|it| *it != Limited::default()) {
            let outbound = too_many(limited.outbound_packets, limited.outbound_bytes);
            let inbound = too_many(limited.inbound_packets, limited.inbound_bytes);
            self.row(
                "too much",
                &format!("{outbound} outbound, {inbound} inbound"),
            );
        }
        if let Some(mark) = peer.dscp {
            self.row("marked", &format!("dscp {}", dscp::name(mark)));
        }
    }

    fn heading(&mut self, what: &str, state: &str, ink: Ink) {
        let colour = match ink {
            Ink::Good => "32",
            Ink::Bad => "31",
        };
        let (what, state) = (self.paint(what, "1"), self.paint(state, colour));
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{what}  {state}");
    }

    fn warning(&mut self, text: &str) {
        for (name, line) in self.folded("warning", text) {
            let line = self.paint(&format!("{name:<11} {line}"), "33");
            let _ = writeln!(self.text, "  {line}");
        }
    }

    fn paint(&self, text: &str, code: &str) -> String {
        cli::paint(text, code, self.paper.colour)
    }

    fn row(&mut self, name: &str, value: &str) {
        for (name, line) in self.folded(name, value) {
            let _ = writeln!(self.text, "  {name:<11} {line}");
        }
    }

    /// The value in lines that fit, the first of them with the name.
    fn folded<'a>(&self, name: &'a str, value: &str) -> Vec<(&'a str, String)> {
        let width = self.paper.width.filter(|&width| width >= FOLD_COLUMNS_MIN);
        let room = width.map_or(usize::MAX, |width| width - VALUES_AT);
        let names = [name].into_iter().chain(std::iter::repeat(""));
        names.zip(fold(value, room)).collect()
    }
}

/// `100 Mbit/s outbound`, `50 Mbit/s inbound with phones`.
fn limit(limit: &Limit) -> String {
    let with = match &limit.group {
        Some(group) => format!(" with {group}"),
        None => String::new(),
    };
    let rate = limit_rate::name(limit.bits_per_second / 8);
    format!("{rate} {}{with}", limit.direction)
}

fn too_many(packets: u64, size: u64) -> String {
    format!("{} ({})", plural(packets, "packet"), bytes(size))
}

fn state(peer: &Peer) -> (&'static str, Ink) {
    match (&peer.session, peer.endpoint, &peer.unresolved) {
        (Some(_), ..) => ("session", Ink::Good),
        (None, Some(_), _) => ("no session", Ink::Bad),
        (None, None, Some(_)) => ("name does not resolve", Ink::Bad),
        (None, None, None) => ("address unknown", Ink::Bad),
    }
}

/// `root with CAP_NET_ADMIN, never more; memory is not dumped`.
fn privileges(privileges: &Privileges) -> String {
    let may = may(privileges.user, &privileges.capabilities);
    let more = if privileges.no_new {
        ", never more"
    } else {
        ""
    };
    let dumped = if privileges.dumpable {
        "; memory may be dumped"
    } else {
        ""
    };
    format!("{may}{more}{dumped}")
}

fn may(user: u32, capabilities: &[String]) -> String {
    let user = match user {
        0 => "root".to_owned(),
        number => format!("user {number}"),
    };
    let capabilities = match capabilities {
        [] => "no capability".to_owned(),
        some => some.join(" "),
    };
    format!("{user} with {capabilities}")
}

/// `process 4243, user 998 with no capability, 48 calls, Landlock 7, memory locked`: so many calls
/// of the kernel it may make.
fn gateway_process(process: &GatewayPrivileges) -> String {
    let calls = match process.calls {
        Some(calls) => format!("{calls} calls"),
        None => "no seccomp".to_owned(),
    };
    let landlock = match process.landlock {
        Some(version) => format!("Landlock {version}"),
        None => "no Landlock".to_owned(),
    };
    let memory = match process.locked_memory {
        true => "memory locked",
        false => "memory not locked",
    };
    format!(
        "process {}, {}, {calls}, {landlock}, {memory}",
        process.pid,
        may(process.user, &process.capabilities)
    )
}

/// `/var/log/weapon/site-a, record 812, sealed up to 805`.
fn audit(log: &AuditReport) -> String {
    let AuditReport {
        directory,
        sequence,
        sealed,
        ..
    } = log;
    let state = if log.failing.is_some() {
        ", NOT written"
    } else {
        ""
    };
    format!("{directory}, record {sequence}, sealed up to {sealed}{state}")
}

fn cipher(cipher: &Cipher) -> String {
    match &cipher.reason {
        Some(reason) => format!("{} ({reason})", cipher.backend),
        None => cipher.backend.clone(),
    }
}

fn drops(report: &Report) -> String {
    let drops = report.drops.iter().filter(|&(_, &count)| count != 0);
    let drops: Vec<String> = drops
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if drops.is_empty() {
        "none".to_owned()
    } else {
        drops.join(", ")
    }
}

fn offloads(report: &Report) -> String {
    let all = [
        ("TUN TCP", report.offloads.tun_tcp),
        ("TUN UDP", report.offloads.tun_udp),
        ("UDP GSO", report.offloads.udp_gso),
        ("UDP GRO", report.offloads.udp_gro),
    ];
    let list = |wanted: bool| -> Vec<&str> {
        all.iter()
            .filter(|&&(_, on)| on == wanted)
            .map(|&(name, _)| name)
            .collect()
    };
    match (list(true), list(false)) {
        (on, off) if off.is_empty() => on.join(", "),
        (on, off) if on.is_empty() => format!("none (off: {})", off.join(", ")),
        (on, off) => format!("{} (off: {})", on.join(", "), off.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, NOW};

    const PLAIN: Paper = Paper {
        colour: false,
        width: None,
    };

    #[test]
    fn a_cipher_that_is_not_the_fastest_says_why() {
        let shown = |reason: Option<&str>| {
            cipher(&Cipher {
                backend: "library".to_owned(),
                reason: reason.map(str::to_owned),
            })
        };
        assert_eq!(shown(None), "library");
        assert_eq!(shown(Some("no AVX")), "library (no AVX)");
    }

    #[test]
    fn a_report_in_two_columns() {
        let mut report = sample::report();
        report.peers.truncate(2);
        report.networks[0].warnings.push("it has gone".to_owned());
        let warning = |peer: Option<&str>, text: &str| Warning {
            kind: String::new(),
            peer: peer.map(str::to_owned),
            text: text.to_owned(),
        };
        report.warnings = vec![
            warning(None, "something is wrong"),
            warning(Some("roof"), "it does not answer"),
        ];
        let expected = "\
gateway site-a  up
  warning     something is wrong
  interface   w-site-a, MTU 1420
  public key  c2l0ZS1hJ3Mga2V5IGlzIDMyIGJ5dGVzIGxvbmchISE=
  listens     UDP port 51820
  behind us   docker:bridge: 172.17.0.0/16 by docker0
                warning: it has gone
  lanes       1
  cipher      avx512
  offloads    TUN TCP, TUN UDP, UDP GSO, UDP GRO
  process     4711 (/etc/weapon/site-a.toml)
  helper      root with CAP_NET_ADMIN CAP_SYS_ADMIN, never more
  gateway     process 4243, user 998 with no capability, 48 calls, Landlock 7, memory locked
  dropped     no_route 4

peer site-b  session
  public key  c2l0ZS1iJ3Mga2V5IGlzIDMyIGJ5dGVzIGxvbmchISE=
  endpoint    203.0.113.7:51820
  networks    172.18.0.0/16, 10.99.0.2/32
  handshake   12 seconds ago
  transfer    5.00 GiB received, 1.50 KiB sent
  rate        25.2 Mbit/s received, 7.2 kbit/s sent
  loss        0.4 %, 33 of its last 8192 messages
  round trip  12.5 ms
  keepalive   every 25 seconds

peer roof  no session
  warning     it does not answer
  public key  c2l0ZS1iJ3Mga2V5IGlzIDMyIGJ5dGVzIGxvbmchISE=
  endpoint    198.51.100.9:51820
  networks    192.168.7.0/24
  handshake   never
  transfer    0 B received, 740 B sent
  parked      3 packets wait for a session
";
        assert_eq!(describe(&report, PLAIN, NOW), expected);
    }

    #[test]
    fn limits_and_marks_are_shown_and_what_was_too_much() {
        let limit = |direction: &str, group: Option<&str>, bits_per_second| Limit {
            direction: direction.to_owned(),
            group: group.map(str::to_owned),
            bits_per_second,
            burst_bytes: 66_000,
        };
        let mut report = sample::report();
        report.peers.truncate(1);
        let peer = &mut report.peers[0];
        peer.dscp = Some(46);
        peer.limits = vec![
            limit("outbound", None, 1_500_000),
            limit("inbound", Some("phones"), 8_000_000),
        ];
        peer.limited = Some(Limited::default());
        let quiet = describe(&report, Paper::default(), NOW);
        let expected = "  limits      1.5 Mbit/s outbound, 8 Mbit/s inbound with phones\n  \
                        marked      dscp ef\n";
        assert!(quiet.contains(expected));
        report.peers[0].limited = Some(Limited {
            outbound_packets: 1,
            outbound_bytes: 1536,
            ..Limited::default()
        });
        let busy = describe(&report, Paper::default(), NOW);
        assert!(
            busy.contains("  too much    1 packet (1.50 KiB) outbound, 0 packets (0 B) inbound\n")
        );
    }

    #[test]
    fn a_narrow_terminal_folds_values() {
        let mut report = sample::report();
        report.peers.truncate(1);
        let paper = Paper {
            width: Some(40),
            ..PLAIN
        };
        let text = describe(&report, paper, NOW);
        let folded = "\
  transfer    5.00 GiB received, 1.50
              KiB sent
";
        assert!(text.contains(folded), "{text}");
        // A key is one word, and is to be copied as one.
        let long = text.lines().filter(|line| line.len() > 40);
        assert!(long.clone().all(|line| line.contains("public key")));
        assert_eq!(long.count(), 2);
    }

    #[test]
    fn colours_change_nothing_else() {
        let report = sample::report();
        let paper = Paper {
            colour: true,
            ..PLAIN
        };
        let mut text = describe(&report, paper, NOW);
        assert!(text.starts_with("\x1b[1mgateway site-a\x1b[0m  \x1b[32mup\x1b[0m\n"));
        for code in [0, 1, 31, 32, 33] {
            text = text.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(text, describe(&report, PLAIN, NOW));
    }
}
