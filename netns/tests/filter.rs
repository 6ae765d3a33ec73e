//! A gateway with rules: what passes real kernels on both sides, what does not, what goes on when
//! the rules change, and what a flood of new flows does to those that there are.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::Value;
use weapon_netns::name_server::with_own_etc;
use weapon_netns::traffic::{Pace, Stream};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Host, Pair, Weapon, ready, until};

/// Nothing may come in but answers.
const CLOSED: &str = "\n[filter]\ndefault = \"deny\"\nflows_max = 1024\n\
    [[rule]]\nname = \"out\"\naction = \"allow\"\ndirection = \"outbound\"\n";

/// How long is waited for what must not come.
const SILENCE: Duration = Duration::from_millis(700);

/// Both gateways; that of `one` has these rules, and the tunnel is open.
fn guarded(rules: &str) -> (Pair, Weapon, Weapon) {
    let pair = Pair::new();
    let other = pair.start_other();
    let text = pair.plan.toml() + rules;
    let one = Weapon::start_with(&pair.one, &pair.home, "one.toml", &text);
    pair.one.ping("10.99.0.2");
    (pair, one, other)
}

fn reload(pair: &Pair, rules: &str) -> Vec<String> {
    pair.home.write("one.toml", &(pair.plan.toml() + rules));
    let said = pair.weapon(&["reload", "one.toml"]);
    assert_eq!((said.code, said.error.as_str()), (0, ""), "{said:?}");
    said.out.lines().map(str::to_owned).collect()
}

fn flows(pair: &Pair, options: &[&str]) -> Value {
    let said = pair.weapon(&[&["flows", "one", "--json"], options].concat());
    assert_eq!(said.code, 0, "{said:?}");
    serde_json::from_str(&said.out).expect("JSON")
}

fn connect(from: &Host, to: SocketAddr) -> std::io::Result<TcpStream> {
    from.enter(|| TcpStream::connect_timeout(&to, SILENCE))
}

fn socket(host: &Host, address: &str) -> UdpSocket {
    let socket = host.enter(|| UdpSocket::bind(address)).expect("a socket");
    socket.set_read_timeout(Some(SILENCE)).expect("a time-out");
    socket
}

#[test]
fn what_is_asked_is_answered_and_nobody_asks_back() {
    if !ready(&[]) {
        return;
    }
    let (pair, one, _other) = guarded(CLOSED);
    // Connections.
    for (here, there, passes, address) in [
        (&pair.one, &pair.other, true, "10.99.0.2:0"),
        (&pair.one, &pair.other, true, "[fd99::2]:0"),
        (&pair.other, &pair.one, false, "10.99.0.1:0"),
        (&pair.other, &pair.one, false, "[fd99::1]:0"),
    ] {
        let listener = there.enter(|| TcpListener::bind(address)).expect("a port");
        let at = listener.local_addr().expect("its address");
        assert_eq!(connect(here, at).is_ok(), passes, "{at}");
    }
    assert!(one.drops("denied") > 0);
    // Datagrams: the answer comes to the port that has asked, and to no other.
    let (asks, answers) = (
        socket(&pair.one, "10.99.0.1:0"),
        socket(&pair.other, "10.99.0.2:0"),
    );
    let silent = socket(&pair.one, "10.99.0.1:0");
    let mut room = [0; 16];
    asks.send_to(b"question", answers.local_addr().expect("its address"))
        .expect("sent");
    let (_, from) = answers.recv_from(&mut room).expect("the question");
    answers.send_to(b"answer", from).expect("sent");
    assert_eq!(asks.recv(&mut room).expect("the answer"), 6);
    answers
        .send_to(b"answer", silent.local_addr().expect("its address"))
        .expect("sent");
    let nothing = silent.recv(&mut room).expect_err("nothing comes");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    // Errors about what was sent come back.
    let closed = answers.local_addr().expect("its address");
    drop(answers);
    asks.connect(closed).expect("connected");
    let refused = until("the port is unreachable", PATIENCE, || {
        let _ = asks.send(b"anybody there?");
        asks.recv(&mut room)
            .err()
            .filter(|it| it.kind() == ErrorKind::ConnectionRefused)
    });
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    let found = flows(&pair, &["--protocol", "udp"]);
    let flow = &found["flows"][0];
    assert_eq!(
        (&flow["peer"], &flow["direction"]),
        (&"other".into(), &"outbound".into())
    );
    assert_eq!(
        (&flow["source"], &flow["rule"]),
        (&"10.99.0.1".into(), &"out".into())
    );
    assert_eq!(found["rules"][1]["name"], "default");
    assert_eq!(found["rules"][1]["denied"], one.drops("denied"));
    let of_tcp = flows(&pair, &["--protocol", "tcp", "--address", "fd99::/64"]);
    assert_eq!(of_tcp["flows"].as_array().map(Vec::len), Some(1));
    let said = pair.weapon(&["flows", "one"]);
    assert!(said.out.contains("rule out: allow"), "{}", said.out);
}

#[test]
fn fragments_follow_their_first_one() {
    if !ready(&[]) {
        return;
    }
    let (pair, one, _other) = guarded(CLOSED);
    for (here, there) in [
        ("10.99.0.1:0", "10.99.0.2:0"),
        ("[fd99::1]:0", "[fd99::2]:0"),
    ] {
        let (asks, answers) = (socket(&pair.one, here), socket(&pair.other, there));
        let mut room = [0; 9000];
        asks.send_to(&[7; 8000], answers.local_addr().expect("its address"))
            .expect("sent");
        let (len, from) = answers.recv_from(&mut room).expect("all of it");
        assert_eq!(len, 8000);
        answers.send_to(&[8; 7000], from).expect("sent");
        assert_eq!(asks.recv(&mut room).expect("all of the answer"), 7000);
    }
    for reason in [
        "denied",
        "fragment_unknown",
        "fragment_tiny",
        "fragment_overlap",
    ] {
        assert_eq!(one.drops(reason), 0, "{reason}");
    }
    // Without the question, none of it.
    let (asks, silent) = (
        socket(&pair.other, "10.99.0.2:0"),
        socket(&pair.one, "10.99.0.1:0"),
    );
    asks.send_to(&[9; 5000], silent.local_addr().expect("its address"))
        .expect("sent");
    silent.recv(&mut [0; 10]).expect_err("nothing comes");
    assert_eq!(one.drops("denied"), 1);
    assert!(one.drops("fragment_unknown") >= 3);
}

#[test]
fn new_rules_hold_for_old_flows_and_leave_alone_what_they_allow() {
    if !ready(&[]) {
        return;
    }
    let (pair, one, _other) = guarded(CLOSED);
    let listener = pair
        .other
        .enter(|| TcpListener::bind("10.99.0.2:0"))
        .expect("a port");
    let at = listener.local_addr().expect("its address");
    let mut here = connect(&pair.one, at).expect("a connection");
    let (mut there, _) = listener.accept().expect("the same");
    for end in [&here, &there] {
        end.set_read_timeout(Some(SILENCE)).expect("a time-out");
    }
    let mut passes = || {
        there.write_all(b"x").expect("it is taken");
        here.read_exact(&mut [0]).is_ok()
    };
    assert!(passes());
    let other = CLOSED.replace("\"out\"", "\"away\"");
    let expected = ["rule `away`: added", "rule `out`: removed"];
    assert_eq!(reload(&pair, &other), expected);
    assert!(passes());
    assert_eq!(
        flows(&pair, &["--protocol", "tcp"])["flows"][0]["rule"],
        "away"
    );

    let nothing = "\n[filter]\ndefault = \"deny\"\nflows_max = 1024\n";
    assert_eq!(reload(&pair, nothing), ["rule `away`: removed"]);
    assert_eq!(flows(&pair, &[])["total"], 0);
    assert!(!passes());
    assert!(one.drops("denied") > 0);
    assert_eq!(reload(&pair, CLOSED), ["rule `out`: added"]);
    // It is picked up by what the connection's opener sends next.
    until("it goes on", PATIENCE, || {
        let _ = (&here).write_all(b"y");
        there.read_exact(&mut [0]).ok()
    });

    // What does not hold changes nothing.
    let test = format!(
        "{CLOSED}[[test]]\nfrom = \"10.99.0.2\"\nto = \"10.99.0.1\"\nport = 22\n\
         expect = \"allow\"\n"
    );
    pair.home.write("one.toml", &(pair.plan.toml() + &test));
    for command in [["reload", "one.toml"], ["check", "one.toml"]] {
        let said = pair.weapon(&command);
        assert_eq!(said.code, 2);
        assert!(
            said.error
                .contains("the test fails: tcp from 10.99.0.2 to 10.99.0.1:22"),
            "{said:?}"
        );
        assert!(
            said.error
                .contains("no rule matches, and the default denies it"),
            "{said:?}"
        );
    }
    pair.home.write(
        "one.toml",
        &(pair.plan.toml() + &CLOSED.replace("1024", "2048")),
    );
    let said = pair.weapon(&["reload", "one.toml"]);
    assert!(said.error.contains("cannot change flows_max"), "{said:?}");
    let without = reload(&pair, "");
    assert_eq!(without, ["filter and flows: off"]);
    let said = pair.weapon(&["flows", "one"]);
    assert!(
        said.error
            .contains("this gateway has no filter and watches no flows"),
        "{said:?}"
    );
}

/// Flows of a flood.
const FLOOD: u32 = 500_000;

/// Calls `send` with one number after the other, until the rule has let pass so many. The kernel
/// throws some of them away.
fn flood(pair: &Pair, rule: &str, mut send: impl FnMut(u32)) {
    let mut number = 0;
    loop {
        for _ in 0..50_000 {
            send(number);
            number += 1;
        }
        let found = flows(pair, &["--state", "established"]);
        let mut rules = found["rules"].as_array().into_iter().flatten();
        let allowed = rules.find(|it| it["name"] == rule).map(|it| &it["allowed"]);
        if allowed.and_then(Value::as_u64) >= Some(FLOOD.into()) {
            return;
        }
        assert!(number < 100 * FLOOD, "{found}");
    }
}

/// A SYN that opens the flow of this number. The kernel does the rest of its IP header.
fn syn(number: u32) -> [u8; 40] {
    let mut packet = [0; 40];
    packet[0] = 0x45;
    packet[8..10].copy_from_slice(&[64, 6]);
    packet[12..16].copy_from_slice(&[10, 99, 0, 2]);
    packet[16..20].copy_from_slice(&[10, 99, 0, 1]);
    packet[20..24].copy_from_slice(&number.to_be_bytes());
    packet[32..34].copy_from_slice(&[5 << 4, 2]);
    packet
}

/// KiB of memory that the gateway's process has.
fn memory(one: &Weapon) -> u64 {
    let pid = &one.status()["gateway_process"]["pid"];
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let amount = line.and_then(|line| line.trim().strip_suffix(" kB"));
    amount.and_then(|it| it.parse().ok()).expect("its memory")
}

/// A million: half of them ask for connections, half are datagrams to one port after the other.
#[test]
fn a_flood_of_new_flows_leaves_established_ones_alone() {
    if !ready(&["nft"]) {
        return;
    }
    let rule = |name, protocol| {
        format!(
            "[[rule]]\nname = \"{name}\"\naction = \"allow\"\ndirection = \"inbound\"\n\
             protocol = \"{protocol}\"\n"
        )
    };
    let open = "\n[filter]\ndefault = \"allow\"\nflows_max = 1024\n";
    let open = format!("{open}{}{}", rule("syn", "tcp"), rule("scan", "udp"));
    let (pair, one, _other) = guarded(&open);
    // Nobody answers: the flows stay what they are.
    pair.one.nft(
        "table inet deaf { chain deaf { type filter hook input priority 0; \
         iifname w-one tcp flags syn / syn,ack drop; iifname w-one udp dport > 0 drop\n}\n}\n",
    );
    let pace = Pace {
        bytes: None,
        pause: Duration::from_millis(5),
    };
    let stream = Stream::start(&pair.one, &pair.other, "10.99.0.2", pace);
    stream.expect_progress(1);
    let before = memory(&one);

    let raw = socket2::Protocol::from(libc::IPPROTO_RAW);
    let raw = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(raw));
    let raw = pair.other.enter(raw).expect("a raw socket");
    let to: SocketAddr = ([10, 99, 0, 1], 0).into();
    flood(&pair, "syn", |number| {
        let _ = raw.send_to(&syn(number), &to.into());
    });
    stream.expect_progress(1);
    let mut scanner = None;
    flood(&pair, "scan", |number| {
        let port = number as u16;
        if port == 0 {
            scanner = Some(socket(&pair.other, "10.99.0.2:0"));
        }
        let scanner = scanner.as_ref().expect("a socket");
        let _ = scanner.send_to(b"?", ("10.99.0.1", port.max(1)));
    });
    stream.expect_progress(1);

    let state = flows(&pair, &["--state", "established"]);
    assert_eq!(state["flows"].as_array().map(Vec::len), Some(1), "{state}");
    assert_eq!(state["capacity"], 1024);
    assert!(state["total"].as_u64() <= Some(1024));
    let after = memory(&one);
    assert!(after < before + 8192, "{before} KiB, then {after} KiB");
    stream.finish();
    assert_eq!(one.drops("denied"), 0);
}

/// A host is called as its owner's files or DNS have it; a name server that says nothing is not
/// waited for.
#[test]
fn hosts_have_names_where_somebody_knows_them() {
    if !ready(&[]) {
        return;
    }
    with_own_etc("filter", || {
        // Nobody is there.
        fs::write("/etc/resolv.conf", "nameserver 192.0.2.77\n").expect("resolv.conf");
        fs::write("/etc/hosts", "10.99.0.2 printer.example\n").expect("hosts");
        let (pair, _one, _other) = guarded(CLOSED);
        let ends = |found: &Value| {
            let flow = found["flows"][0].clone();
            (
                flow["source_name"].clone(),
                flow["destination_name"].clone(),
            )
        };
        let named = ends(&flows(&pair, &["--resolve"]));
        assert_eq!(named, (Value::Null, "printer.example".into()));
        let unasked = ends(&flows(&pair, &[]));
        assert_eq!(unasked, (Value::Null, Value::Null));
        let said = pair.weapon(&["flows", "one", "--resolve"]);
        assert!(said.out.contains("printer.example(10.99.0.2)"), "{said:?}");
    });
}
