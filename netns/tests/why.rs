//! What `weapon why` says of a packet, and what becomes of it when somebody sends it; and what it
//! says of those that died.
//!
//! ```text
//!   host 10.1.0.5 ---- one ==== tunnel ==== other ---- there 10.2.0.6
//!        192.168.1.5, which peers know as 10.77.1.5
//! ```

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::Value;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Host, Pair, Plan, Said, Weapon, link, ready, until};

/// Nothing may come in but to one port, and all may go out but to one.
const RULES: &str = "
[filter]
default = \"deny\"
flows_max = 1024
[[rule]]
name = \"not-54\"
action = \"deny\"
direction = \"outbound\"
protocol = \"udp\"
ports = 54
[[rule]]
name = \"out\"
action = \"allow\"
direction = \"outbound\"
[[rule]]
name = \"names\"
action = \"allow\"
direction = \"inbound\"
protocol = \"udp\"
ports = 53
";

/// What lies behind `one`.
const BEHIND: &str = "networks = [\"10.1.0.0/24\", \"192.168.1.0/24 as 10.77.1.0/24\"]";

/// How long is waited for what must not come.
const SILENCE: Duration = Duration::from_millis(700);

/// Two sites with a host each.
struct Sites {
    pair: Pair,
    host: Host,
    there: Host,
}

/// A packet that is asked about, and then sent.
#[derive(Clone, Copy)]
struct Case<'a> {
    /// Who sends it, and from which address and port.
    from: (&'a Host, &'a str),
    /// By which address and port it is sent to somebody.
    to: &'a str,
    /// Who should get it, and where that one listens; nobody if there is no such host.
    at: Option<(&'a Host, &'a str)>,
    /// More words for `weapon why`.
    words: &'a [&'a str],
    /// The bytes that it carries.
    payload: usize,
}

/// What comes of a packet.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    /// The gateway drops it, and counts it by this reason.
    Counted(String),
    /// It ends at this step, before or behind the gateway.
    Ends(String),
}

impl Sites {
    fn new() -> Self {
        let mut pair = Pair::new();
        let (host, there) = (Host::new("host"), Host::new("there"));
        link(
            (&pair.one, "lan0", &["10.1.0.1/24", "192.168.1.1/24"]),
            (&host, "eth0", &["10.1.0.5/24", "192.168.1.5/24"]),
        );
        link(
            (&pair.other, "lan0", &["10.2.0.1/24"]),
            (&there, "eth0", &["10.2.0.6/24"]),
        );
        host.run("ip route add default via 10.1.0.1");
        there.run("ip route add default via 10.2.0.1");
        let add = |networks: &mut Vec<String>, more: &[&str]| {
            networks.extend(more.iter().map(ToString::to_string));
        };
        add(&mut pair.plan.peers[0].networks, &["10.2.0.0/24"]);
        let behind = ["10.1.0.0/24", "10.77.1.0/24", "192.168.1.0/24"];
        add(&mut pair.other_plan.peers[0].networks, &behind);
        let mut lost = Plan::new("lost", &[]).as_peer(&["10.3.0.0/24"]);
        lost.endpoint = Some("192.0.2.77:51820".to_owned());
        let silent = Plan::new("silent", &[]).as_peer(&["10.4.0.0/24"]);
        pair.plan.peers.extend([lost, silent]);
        Self { pair, host, there }
    }

    /// The file of `one`.
    fn file(&self) -> String {
        self.pair.plan.toml_with(BEHIND) + RULES
    }

    fn start_one(&self) -> Weapon {
        let pair = &self.pair;
        Weapon::start_with(&pair.one, &pair.home, "one.toml", &self.file())
    }

    fn start_other(&self) -> Weapon {
        let pair = &self.pair;
        let text = pair.other_plan.toml_with("networks = [\"10.2.0.0/24\"]");
        Weapon::start_with(&pair.other, &pair.home, "other.toml", &text)
    }

    /// Both gateways, with a session.
    fn start(&self) -> (Weapon, Weapon) {
        let gateways = (self.start_other(), self.start_one());
        self.host.ping("10.2.0.6");
        (gateways.1, gateways.0)
    }

    #[track_caller]
    fn why(&self, words: &[&str]) -> (Value, i32) {
        let said = self
            .pair
            .weapon(&[&["why", "one", "--json"], words].concat());
        let found = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
        (found, said.code)
    }

    /// Asks about a packet, sends it, and sees whether both agree. Returns the trace.
    #[track_caller]
    fn compare(&self, one: &Weapon, case: Case<'_>, expected: &Fate) -> Value {
        let to = format!("{}/udp", case.to);
        // A packet of IPv4 and UDP has 28 bytes more.
        let size = (case.payload + 28).to_string();
        let words = [&[case.from.1, &to, "--size", &size], case.words].concat();
        let before = counted(one);
        let (trace, code) = self.why(&words);
        assert_eq!(counted(one), before, "a question changes nothing");
        let passes = trace["passes"] == true;
        assert_eq!(code, i32::from(!passes), "{trace:#}");
        assert_eq!(fate(&trace), *expected, "{trace:#}");

        let arrived = sent(case);
        assert_eq!(arrived, *expected == Fate::Arrives, "{trace:#}");
        match expected {
            Fate::Counted(reason) => until("the packet is counted", PATIENCE, || {
                (counted(one).get(reason) > before.get(reason)).then_some(())
            }),
            Fate::Arrives | Fate::Ends(_) => assert_eq!(counted(one), before),
        }
        trace
    }
}

/// What the trace says comes of the packet.
fn fate(trace: &Value) -> Fate {
    let last = trace["steps"].as_array().and_then(|steps| steps.last());
    let last = last.expect("a step");
    match (trace["passes"] == true, last["reason"].as_str()) {
        (true, _) => Fate::Arrives,
        (false, Some(reason)) => Fate::Counted(reason.to_owned()),
        (false, None) => Fate::Ends(last["name"].as_str().expect("a name").to_owned()),
    }
}

/// How many packets the gateway has dropped, by reason, but for the multicast of the host itself.
fn counted(gateway: &Weapon) -> BTreeMap<String, u64> {
    let status = gateway.status();
    let drops = status["drops"].as_object().expect("drops");
    let all = drops
        .iter()
        .map(|(reason, count)| (reason.clone(), count.as_u64().unwrap_or(0)));
    all.collect()
}

/// Sends it. Whether it comes where it is to come.
fn sent(case: Case<'_>) -> bool {
    let listener = case.at.map(|(host, address)| {
        let socket = socket(host, address);
        socket.set_read_timeout(Some(SILENCE)).expect("a time-out");
        socket
    });
    let (host, source) = case.from;
    let to: SocketAddr = case.to.parse().expect("an address");
    // Where there is no route, the kernel says so at once.
    let _ = socket(host, source).send_to(&vec![7; case.payload], to);
    let Some(listener) = listener else {
        return false;
    };
    let got = listener.recv(&mut [0; 2000]);
    got.is_ok_and(|got| got == case.payload)
}

fn socket(host: &Host, address: &str) -> UdpSocket {
    host.enter(|| UdpSocket::bind(address)).expect("a socket")
}

fn dropped(reason: &str) -> Fate {
    Fate::Counted(reason.to_owned())
}

fn ends(step: &str) -> Fate {
    Fate::Ends(step.to_owned())
}

/// What the step of this name says, and the line that it names.
#[track_caller]
fn step<'a>(trace: &'a Value, name: &str) -> (&'a str, Option<&'a str>) {
    let steps = trace["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["name"] == name);
    let step = step.unwrap_or_else(|| panic!("no {name}: {trace:#}"));
    (
        step["says"].as_str().expect("words"),
        step["place"].as_str(),
    )
}

/// The place of a line, as it is named.
fn place(file: &str, line: &str) -> String {
    format!("one.toml:{}:", number_of(file, line))
}

/// The place of a rule, whose name follows its head.
fn place_of_rule(file: &str, name: &str) -> String {
    let named = number_of(file, &format!("name = {name:?}"));
    format!("one.toml:{}:", named - 1)
}

fn number_of(file: &str, line: &str) -> usize {
    let number = file.lines().position(|it| it == line);
    number.unwrap_or_else(|| panic!("no {line} in {file}")) + 1
}

#[test]
fn what_goes_out_does_what_is_said() {
    if !ready(&["nft"]) {
        return;
    }
    let sites = Sites::new();
    let (one, _other) = sites.start();
    let file = sites.file();
    let (host, there, router) = (&sites.host, &sites.there, &sites.pair.one);
    let plain = Case {
        from: (host, "10.1.0.5:5001"),
        to: "10.2.0.6:53",
        at: Some((there, "10.2.0.6:53")),
        words: &[],
        payload: 100,
    };
    let trace = sites.compare(&one, plain, &Fate::Arrives);
    assert_eq!(trace["verdict"], "would pass to peer other");
    assert_eq!(step(&trace, "filter").0, "rule `out` allows it");
    assert!(step(&trace, "route").0.contains("goes through w-one"));
    assert!(step(&trace, "path").0.contains("through eth0"));
    // It has begun a flow.
    let trace = sites.compare(&one, plain, &Fate::Arrives);
    let says = step(&trace, "filter").0;
    assert!(says.starts_with("it belongs to a flow"), "{says}");

    let denied = Case {
        to: "10.2.0.6:54",
        at: Some((there, "10.2.0.6:54")),
        ..plain
    };
    let trace = sites.compare(&one, denied, &dropped("denied"));
    let (says, at) = step(&trace, "filter");
    assert_eq!(says, "rule `not-54` denies it");
    let rule = place_of_rule(&file, "not-54");
    assert!(at.is_some_and(|at| at.contains(&rule)), "{at:?}, {rule}");

    let mapped = Case {
        from: (host, "192.168.1.5:5002"),
        ..plain
    };
    let trace = sites.compare(&one, mapped, &Fate::Arrives);
    let (says, at) = step(&trace, "mapping");
    assert_eq!(says, "the source becomes 10.77.1.5");
    let behind = place(&file, BEHIND);
    assert!(at.is_some_and(|at| at.contains(&behind)), "{at:?}");

    let nowhere = |to| Case {
        to,
        at: None,
        ..plain
    };
    sites.compare(&one, nowhere("10.9.0.1:53"), &ends("route"));
    sites.compare(&one, nowhere("10.4.0.1:53"), &dropped("no_endpoint"));
    let nobodys = Case {
        from: (router, "10.99.0.1:5003"),
        ..nowhere("10.99.0.77:53")
    };
    let trace = sites.compare(&one, nobodys, &dropped("no_route"));
    assert!(step(&trace, "peer").0.starts_with("no peer has 10.99.0.77"));

    let long = Case {
        from: (host, "10.1.0.5:5004"),
        payload: 1472,
        ..plain
    };
    let trace = sites.compare(&one, long, &ends("mtu"));
    assert!(
        step(&trace, "mtu")
            .0
            .contains("1500 bytes do not fit into the 1420")
    );

    router.sysctl("net.ipv4.conf.lan0.forwarding", "0");
    let trace = sites.compare(&one, plain, &ends("forwarding"));
    assert!(
        step(&trace, "forwarding")
            .0
            .contains("conf.lan0.forwarding is 0")
    );
    router.sysctl("net.ipv4.conf.lan0.forwarding", "1");
    router.nft(
        "table inet guard { chain transit { type filter hook forward priority 0; \
         udp dport 53 drop comment \"no names\"; }; }\n",
    );
    let trace = sites.compare(&one, plain, &ends("firewall"));
    assert!(
        step(&trace, "firewall").0.contains("inet guard transit"),
        "{trace:#}"
    );
    router.run("nft delete table inet guard");
    sites.compare(&one, plain, &Fate::Arrives);
}

#[test]
fn what_comes_in_does_what_is_said() {
    if !ready(&["nft"]) {
        return;
    }
    let sites = Sites::new();
    let (one, _other) = sites.start();
    let (host, there) = (&sites.host, &sites.there);
    sites.pair.other.run("ip address add 10.5.0.1/32 dev lo");
    let plain = Case {
        from: (there, "10.2.0.6:5101"),
        to: "10.1.0.5:53",
        at: Some((host, "10.1.0.5:53")),
        words: &[],
        payload: 100,
    };
    let trace = sites.compare(&one, plain, &Fate::Arrives);
    assert_eq!(
        trace["verdict"],
        "would pass from peer other and leave by lan0"
    );
    let to_router = Case {
        to: "10.99.0.1:53",
        at: Some((&sites.pair.one, "10.99.0.1:53")),
        ..plain
    };
    let trace = sites.compare(&one, to_router, &Fate::Arrives);
    assert_eq!(trace["verdict"], "would pass from peer other to this host");

    let spoofed = Case {
        from: (&sites.pair.other, "10.5.0.1:5102"),
        words: &["--from", "other"],
        ..plain
    };
    let trace = sites.compare(&one, spoofed, &dropped("wrong_source"));
    assert!(
        step(&trace, "peer")
            .0
            .contains("not among the networks of other")
    );

    // Nobody may ask, until he is asked himself.
    let asks = Case {
        from: (there, "10.2.0.6:5103"),
        to: "10.1.0.5:5104",
        at: Some((host, "10.1.0.5:5104")),
        ..plain
    };
    let trace = sites.compare(&one, asks, &dropped("denied"));
    let (says, at) = step(&trace, "filter");
    assert_eq!(says, "no rule matches, and the default denies it");
    let default = place(&sites.file(), "default = \"deny\"");
    assert!(at.is_some_and(|at| at.contains(&default)), "{at:?}");
    let question = Case {
        from: (host, "10.1.0.5:5104"),
        to: "10.2.0.6:5103",
        at: Some((there, "10.2.0.6:5103")),
        ..plain
    };
    sites.compare(&one, question, &Fate::Arrives);
    let trace = sites.compare(&one, asks, &Fate::Arrives);
    let says = step(&trace, "filter").0;
    assert!(
        says.contains("opened outbound") && says.ends_with("by `out`"),
        "{says}"
    );

    let mapped = Case {
        to: "10.77.1.5:53",
        at: Some((host, "192.168.1.5:53")),
        ..plain
    };
    let trace = sites.compare(&one, mapped, &Fate::Arrives);
    assert_eq!(
        step(&trace, "mapping").0,
        "the destination becomes 192.168.1.5"
    );
    let inside = Case {
        to: "192.168.1.5:53",
        ..mapped
    };
    sites.compare(&one, inside, &dropped("not_mapped"));
}

#[test]
fn what_waits_for_a_session_passes_if_one_comes() {
    if !ready(&["nft"]) {
        return;
    }
    let sites = Sites::new();
    let one = sites.start_one();
    let (trace, code) = sites.why(&["10.1.0.5", "10.2.0.6:53/udp"]);
    assert_eq!(code, 0, "{trace:#}");
    let says = step(&trace, "session").0;
    assert!(
        says.contains("waits for a handshake, which it begins"),
        "{says}"
    );
    let of_lost = || {
        let (trace, _) = sites.why(&["10.1.0.5", "10.3.0.6:53/udp"]);
        step(&trace, "session").0.to_owned()
    };
    assert!(of_lost().contains("waits for a handshake"));
    assert_eq!(one.peer("lost")["latest_handshake"], Value::Null);

    // Nobody answers there, and to ask has begun nothing; to send does.
    let to: SocketAddr = "10.3.0.6:53".parse().expect("an address");
    let sender = socket(&sites.host, "10.1.0.5:5201");
    sender.send_to(b"hello?", to).expect("sent");
    until("it is said that nobody answers", PATIENCE, || {
        of_lost()
            .contains("does not answer our handshakes")
            .then_some(())
    });
    let (trace, code) = sites.why(&["10.1.0.5", "10.3.0.6:53/udp"]);
    assert_eq!((fate(&trace), code), (dropped("no_session"), 1));

    let listener = socket(&sites.there, "10.2.0.6:53");
    listener
        .set_read_timeout(Some(PATIENCE))
        .expect("a time-out");
    let to: SocketAddr = "10.2.0.6:53".parse().expect("an address");
    sender.send_to(b"hello", to).expect("sent");
    let _other = sites.start_other();
    assert_eq!(listener.recv(&mut [0; 10]).expect("it waited"), 5);
}

#[test]
fn the_latest_that_died_are_explained() {
    if !ready(&["nft"]) {
        return;
    }
    let sites = Sites::new();
    let (one, _other) = sites.start();
    let last_drops = |more: &[&str]| {
        let said = sites
            .pair
            .weapon(&[&["why", "one", "--last-drops"], more].concat());
        assert_eq!((said.code, said.error.as_str()), (0, ""), "{said:?}");
        said.out
    };
    let (host, there) = (&sites.host, &sites.there);
    let mut case = Case {
        from: (there, "10.2.0.6:5301"),
        to: "10.1.0.5:22",
        at: None,
        words: &[],
        payload: 9,
    };
    // One that tries again is told once.
    for from in ["10.2.0.6:5301", "10.2.0.6:5302", "10.2.0.6:5303"] {
        case.from.1 = from;
        sent(case);
    }
    until("all are counted", PATIENCE, || {
        (one.drops("denied") == 3).then_some(())
    });
    let denied = Case {
        from: (host, "10.1.0.5:5304"),
        to: "10.2.0.6:54",
        ..case
    };
    sent(denied);
    until("it is counted", PATIENCE, || {
        (one.drops("denied") == 4).then_some(())
    });

    let found: Value = serde_json::from_str(&last_drops(&["--json"])).expect("JSON");
    let drops = found["drops"].as_array().expect("drops");
    // The host's own multicast is for nobody.
    let drops: Vec<&Value> = drops
        .iter()
        .filter(|drop| drop["reason"] == "denied")
        .collect();
    let [newest, oldest] = drops[..] else {
        panic!("{found:#}");
    };
    assert_eq!(
        (&newest["direction"], &newest["rule"]),
        (&"outbound".into(), &"not-54".into())
    );
    let rule = place_of_rule(&sites.file(), "not-54");
    assert!(
        newest["place"]
            .as_str()
            .is_some_and(|at| at.contains(&rule)),
        "{newest}"
    );
    assert_eq!(
        (&oldest["count"], &oldest["peer"]),
        (&3.into(), &"other".into())
    );
    assert_eq!(
        (&oldest["source"], &oldest["source_port"]),
        (&"10.2.0.6".into(), &5303.into())
    );
    assert_eq!(
        (&oldest["rule"], &oldest["protocol"]),
        (&"default".into(), &"udp".into())
    );
    assert_eq!(oldest["from"], "192.0.2.2:51820");

    let text = last_drops(&[]);
    assert!(
        text.contains(
            "denied  inbound from other: udp 10.2.0.6:5303 -> 10.1.0.5:22; 3 times since"
        ),
        "{text}"
    );
    assert!(
        text.contains("here it was `not-54`, ") && text.contains("to do: "),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "no colours into a pipe: {text}");
}

#[test]
fn bad_questions_are_refused_with_what_is_right() {
    if !ready(&[]) {
        return;
    }
    let sites = Sites::new();
    let _one = sites.start_one();
    for (words, code, problem) in [
        (
            &["10.1.0.5"][..],
            2,
            "say which packet: weapon why [NAME|FILE] SRC",
        ),
        (
            &["one", "10.1.0.5", "web"],
            2,
            "`web` is not the address of a host; write SRC",
        ),
        (
            &["10.1.0.5", "10.2.0.6/tcp"],
            2,
            "tcp has ports: say which one, as 10.2.0.6:443/tcp",
        ),
        (
            &["10.1.0.5", "10.2.0.6", "--from", "who"],
            1,
            "there is no peer `who`",
        ),
        (&["none", "10.1.0.5", "10.2.0.6"], 1, "none"),
    ] {
        let said = sites.pair.weapon(&[&["why"], words].concat());
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{said:?}");
        assert!(said.error.contains(problem), "{said:?}");
    }
    // In another network namespace, the routes are not those of the gateway.
    let mut command = sites.pair.home.command(&sites.host);
    let said = Said::by(command.args(["why", "one", "10.1.0.5", "10.2.0.6"]));
    assert_eq!(said.code, 1);
    assert!(
        said.error
            .contains("w-one is not in this network namespace"),
        "{said:?}"
    );
}
