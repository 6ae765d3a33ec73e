//! `wg` configures: everything that it can say, in any order, while the tunnel runs (U19 to U30).

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use weapon_netns::plan::{introduce, preshared_key, private_key};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::weapon_wg::ask;
use weapon_netns::{Home, Host, Pair, Plan, WeaponWg, link, ready, until};

/// Two hosts, each with a `weapon-wg`, their tunnel configured with `wg setconf`.
struct Tunnel {
    one: Host,
    other: Host,
    plan: Plan,
    other_plan: Plan,
    gateway: WeaponWg,
    other_gateway: WeaponWg,
}

fn setting() -> Option<(Host, Rc<Home>)> {
    ready(&["wg"]).then(|| (Host::new("alone"), Home::new()))
}

fn tunnel() -> Option<Tunnel> {
    if !ready(&["wg"]) {
        return None;
    }
    let Pair {
        home,
        one,
        other,
        plan,
        other_plan,
    } = Pair::new();
    let gateway = WeaponWg::start(&one, &home);
    let other_gateway = WeaponWg::start(&other, &home);
    for (host, gateway, plan) in [
        (&one, &gateway, &plan),
        (&other, &other_gateway, &other_plan),
    ] {
        gateway.wg_file("setconf", &plan.wg_conf());
        for address in &plan.addresses {
            let once = if address.contains(':') { "nodad" } else { "" };
            gateway.ip(host, &format!("address add {address} dev IF {once}"));
        }
        gateway.ip(host, "link set IF up");
    }
    one.ping("10.99.0.2");
    Some(Tunnel {
        one,
        other,
        plan,
        other_plan,
        gateway,
        other_gateway,
    })
}

impl Tunnel {
    /// The public key of the other gateway, as `wg` writes it.
    fn other_key(&self) -> String {
        self.other_plan.private_key.public().to_string()
    }

    fn handshakes(&self) -> String {
        self.gateway.wg("show", "latest-handshakes")
    }
}

#[test]
fn u19_u27_half_a_request_and_one_with_a_mistake_change_nothing() {
    let Some((host, home)) = setting() else {
        return;
    };
    let gateway = WeaponWg::start(&host, &home);
    let key = "01".repeat(32);
    let answer = ask(
        &gateway.interface,
        &format!("set=1\nlisten_port=4711\npublic_key={key}\n"),
    );
    assert_eq!(answer, "", "nothing is answered to half a request");
    let answer = ask(
        &gateway.interface,
        &format!("set=1\nlisten_port=4711\npublic_key={key}\nallowed_ip=oops\n\n"),
    );
    assert_eq!(answer, "errno=-22\n\n");
    assert_eq!(ask(&gateway.interface, "get=1\n\n"), "errno=0\n\n");
}

#[test]
fn u20_u21_a_port_that_is_taken_is_said_and_nothing_else_changes() {
    let Some((host, home)) = setting() else {
        return;
    };
    let gateway = WeaponWg::start(&host, &home);
    gateway.wg("set", "listen-port 4711");
    gateway.ip(&host, "link set IF up");
    let taken = host.enter(|| UdpSocket::bind("0.0.0.0:4712").unwrap());
    let peer = private_key().public();
    let failed = host.attempt(&format!(
        "wg set {} listen-port 4712 fwmark 7 peer {peer}",
        gateway.interface
    ));
    let said = failed.unwrap_err();
    assert!(said.contains("Address already in use"), "{said}");
    assert_eq!(gateway.wg("show", "listen-port").trim(), "4711");
    assert_eq!(gateway.wg("show", "fwmark").trim(), "off");
    assert_eq!(gateway.wg("show", "peers"), "");
    drop(taken);
    gateway.wg("set", "listen-port 4712");
    assert_eq!(gateway.wg("show", "listen-port").trim(), "4712");
}

#[test]
fn u22_p96_the_port_that_the_kernel_chose_is_told_when_it_is_bound() {
    let Some((host, home)) = setting() else {
        return;
    };
    let gateway = WeaponWg::start(&host, &home);
    assert_eq!(gateway.wg("show", "listen-port").trim(), "0");
    let bound = || host.run("ss -Huln");
    assert_eq!(
        bound(),
        "",
        "while the interface is down no port is open (P11)"
    );
    gateway.ip(&host, "link set IF up");
    let port = until("a port is open", Duration::from_secs(5), || {
        let port = gateway.wg("show", "listen-port").trim().to_owned();
        (port != "0").then_some(port)
    });
    assert!(bound().contains(&format!(":{port} ")));
    gateway.ip(&host, "link set IF down");
    until("the port is closed", Duration::from_secs(5), || {
        bound().is_empty().then_some(())
    });
}

#[test]
fn u24_an_existing_peer_is_modified_in_any_order_and_its_session_stays() {
    let Some(tunnel) = tunnel() else { return };
    let (gateway, key) = (&tunnel.gateway, tunnel.other_key());
    let before = tunnel.handshakes();
    for change in [
        "persistent-keepalive 7",
        "allowed-ips 10.99.0.2/32,fd99::2/128,10.50.0.0/16",
        "endpoint 192.0.2.2:51820",
        "persistent-keepalive off",
        "allowed-ips 10.99.0.2/32,fd99::2/128",
        "endpoint [2001:db8::2]:51820",
    ] {
        gateway.wg("set", &format!("peer {key} {change}"));
        tunnel.one.ping("10.99.0.2");
    }
    assert_eq!(tunnel.handshakes(), before, "no new handshake was needed");
    let endpoint = gateway.wg("show", "endpoints");
    assert!(endpoint.contains("[2001:db8::2]:51820"), "{endpoint}");

    // Another mark and another port: the peer follows (P77, P80, P94).
    gateway.wg("set", "fwmark 0x1234 listen-port 4711");
    tunnel.one.ping("10.99.0.2");
    let there = tunnel.other_gateway.wg("show", "endpoints");
    assert!(there.contains(":4711"), "{there}");

    // Removed and given back.
    gateway.wg("set", &format!("peer {key} remove"));
    assert_eq!(gateway.wg("show", "peers"), "");
    gateway.wg_file("addconf", &tunnel.plan.wg_conf());
    tunnel.one.ping("10.99.0.2");
    tunnel.other.ping("10.99.0.1");
}

#[test]
fn u24_p21_a_new_private_key_takes_effect() {
    let Some(tunnel) = tunnel() else { return };
    let new = private_key();
    let home = Home::new();
    let file = home.write("key", &new.to_base64());
    let old = tunnel.plan.private_key.public();
    tunnel
        .gateway
        .wg("set", &format!("private-key {}", file.display()));
    let shown = tunnel.gateway.wg("show", "public-key");
    assert_eq!(shown.trim(), new.public().to_string());
    tunnel.other_gateway.wg(
        "set",
        &format!(
            "peer {old} remove peer {} allowed-ips 10.99.0.1/32",
            new.public()
        ),
    );
    tunnel.one.ping("10.99.0.2");
}

#[test]
fn u24_u33_setconf_and_syncconf_and_showconf() {
    let Some(tunnel) = tunnel() else { return };
    let gateway = &tunnel.gateway;
    let before = tunnel.handshakes();
    // One more peer, the other unchanged: its session stays.
    let mut plan = Plan::new("one", &["10.99.0.1/24"]);
    plan.private_key = tunnel.plan.private_key.clone();
    let mut more = Plan::new("third", &["10.99.0.3/24"]);
    introduce(
        (&mut plan, &["10.99.0.1/32"]),
        (&mut more, &["10.99.0.3/32"]),
        Some(&preshared_key()),
    );
    let added = plan.wg_conf();
    let both = format!(
        "{}{}",
        tunnel.plan.wg_conf(),
        &added[added.find("\n[Peer]").unwrap()..]
    );
    gateway.wg_file("syncconf", &both);
    assert_eq!(gateway.wg("show", "peers").lines().count(), 2);
    assert!(tunnel.handshakes().contains(before.trim()));
    tunnel.one.ping("10.99.0.2");

    // What is shown can be set.
    let shown = gateway.wg("showconf", "");
    gateway.wg_file("setconf", &shown);
    assert_eq!(gateway.wg("showconf", ""), shown);
    tunnel.one.ping("10.99.0.2");

    gateway.wg_file("syncconf", &tunnel.plan.wg_conf());
    assert_eq!(gateway.wg("show", "peers").lines().count(), 1);
}

/// How often `wanted` is in the memory that the process may write to.
fn found_in_memory(process: u32, wanted: &[u8]) -> usize {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{process}/mem")).unwrap();
    let mut found = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let start = u64::from_str_radix(start, 16).unwrap();
        let end = u64::from_str_radix(end, 16).unwrap();
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            let windows = bytes.windows(wanted.len());
            found += windows.filter(|window| *window == wanted).count();
        }
    }
    found
}

#[test]
fn u30_no_secret_is_left_of_requests_and_answers() {
    let Some((host, home)) = setting() else {
        return;
    };
    let mut gateway = WeaponWg::start(&host, &home);
    let (key, psk) = (private_key(), preshared_key());
    let peer = private_key().public();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let peer_hex = hex(peer.as_bytes());
    let (key_hex, psk_hex) = (hex(key.expose()), hex(psk.expose()));
    let set =
        format!("set=1\nprivate_key={key_hex}\npublic_key={peer_hex}\npreshared_key={psk_hex}\n\n");
    assert_eq!(ask(&gateway.interface, &set), "errno=0\n\n");
    let got = ask(&gateway.interface, "get=1\n\n");
    assert!(got.contains(&key_hex) && got.contains(&psk_hex));

    let processes = gateway.process().all_ids();
    let [helper, itself] = processes[..] else {
        panic!("two processes: {processes:?}");
    };
    // The search finds what is there: the keys in use. The helper has passed them on.
    assert!(found_in_memory(itself, key.expose()) > 0);
    for process in [helper, itself] {
        for text in [&key_hex, &psk_hex] {
            assert_eq!(found_in_memory(process, text.as_bytes()), 0, "as text");
        }
    }
    for secret in [key.expose(), psk.expose()] {
        assert_eq!(found_in_memory(helper, secret), 0, "in the helper");
        let list = serde_json::to_string(secret).unwrap();
        for process in [helper, itself] {
            assert_eq!(found_in_memory(process, list.as_bytes()), 0, "as a list");
        }
    }
    let zeros = "0".repeat(64);
    let set = format!("set=1\nprivate_key={zeros}\nreplace_peers=true\n\n");
    assert_eq!(ask(&gateway.interface, &set), "errno=0\n\n");
    // The answer does not wait for the control loop to have done it.
    for secret in [key.expose(), psk.expose()] {
        until("nothing of it is left", PATIENCE, || {
            (found_in_memory(itself, secret) == 0).then_some(())
        });
    }
}

#[test]
fn u29_130_560_networks_in_one_call() {
    let Some((host, home)) = setting() else {
        return;
    };
    let gateway = WeaponWg::start(&host, &home);
    let key = private_key().public();
    let mut text = format!("[Peer]\nPublicKey = {key}\n");
    for high in 0..510_u32 {
        let list: Vec<_> = (0..256_u32)
            .map(|low| format!("10.{}.{}.{low}/32", high / 256, high % 256))
            .collect();
        writeln!(text, "AllowedIPs = {}", list.join(",")).unwrap();
    }
    let began = Instant::now();
    gateway.wg_file("addconf", &text);
    let set = began.elapsed();
    let shown = gateway.wg("show", "allowed-ips");
    let got = began.elapsed() - set;
    assert_eq!(shown.split_whitespace().count(), 1 + 510 * 256);
    eprintln!("130 560 allowed IPs: set in {set:?}, got in {got:?}");
}

#[test]
fn u09_p91_the_interface_is_followed_into_another_namespace() {
    let Some(tunnel) = tunnel() else { return };
    let inside = Host::new("inside");
    let process = std::process::id();
    let name = format!("w-{process}-{}", tunnel.gateway.interface);
    let mut named = inside.namespace().try_clone().unwrap();
    named.bind(&name).unwrap();
    tunnel
        .gateway
        .ip(&tunnel.one, &format!("link set IF netns {name}"));
    for address in ["10.99.0.1/24", "fd99::1/64 nodad"] {
        tunnel
            .gateway
            .ip(&inside, &format!("address add {address} dev IF"));
    }
    tunnel.gateway.ip(&inside, "link set IF up");
    // The sockets stay where they were: the tunnel runs.
    inside.ping("10.99.0.2");
    inside.ping("fd99::2");

    // Large packets, which neither side was told of in its own namespace.
    for (host, gateway) in [
        (&inside, &tunnel.gateway),
        (&tunnel.other, &tunnel.other_gateway),
    ] {
        gateway.ip(host, "link set IF mtu 34736");
    }
    until("large packets pass", Duration::from_secs(10), || {
        inside
            .attempt("ping -c 1 -W 1 -M do -s 34700 10.99.0.2")
            .ok()
    });
    tunnel.gateway.ip(&inside, "link set IF mtu 65535");

    // Down there, it is silent; up again, it is back.
    tunnel.gateway.ip(&inside, "link set IF down");
    until("the port is closed", Duration::from_secs(5), || {
        tunnel.one.run("ss -Huln").is_empty().then_some(())
    });
    tunnel.gateway.ip(&inside, "link set IF up");
    tunnel
        .gateway
        .ip(&inside, "address replace 10.99.0.1/24 dev IF");
    inside.ping("10.99.0.2");
}

#[test]
fn wg_sees_gateways_of_weapon_up_as_well() {
    if !ready(&["wg"]) {
        return;
    }
    // `wg` looks in one folder, so the interfaces' names are unique here, and in this folder.
    let mut pair = Pair::new();
    pair.plan.interface = weapon_netns::daemon::unique_interface();
    let interface = pair.plan.interface.clone();
    let file = pair.home.write("one.toml", &pair.plan.toml());
    let mut command = pair.home.command(&pair.one);
    command
        .arg("up")
        .arg(&file)
        .arg("--foreground")
        .env_remove("WEAPON_UAPI_DIRECTORY");
    let log = pair.home.path().join("one.log");
    let mut process = weapon_netns::process::Process::start("weapon", &mut command, log);
    until("wg sees it", Duration::from_secs(20), || {
        pair.one.attempt(&format!("wg show {interface}")).ok()
    });
    let shown = pair.one.run(&format!("wg show {interface} dump"));
    let key = pair.plan.private_key.public().to_string();
    assert!(shown.contains(&key), "{shown}");
    let _other = pair.start_other();
    pair.one.ping("10.99.0.2");

    // A peer that `wg` adds is there for `weapon status` too; a new port as well.
    let added = private_key().public();
    pair.one.run(&format!(
        "wg set {interface} listen-port 4711 peer {added} allowed-ips 10.5.0.0/16"
    ));
    let said = pair.weapon(&["status", "one", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(status["listen_port"], 4711);
    let peers = status["peers"].as_array().unwrap();
    assert!(peers.iter().any(|peer| peer["name"] == added.to_string()));
    pair.one.ping("10.99.0.2");
    process.signal(rustix::process::Signal::TERM);
    assert!(process.wait(Duration::from_secs(10)).success());
    assert!(!weapon_netns::weapon_wg::socket(&interface).exists());
}

#[test]
fn u23_p82_a_link_local_endpoint_keeps_its_scope() {
    let Some((one, home)) = setting() else { return };
    let other = Host::new("other");
    link(
        (&one, "eth0", &["fe80::1/64"]),
        (&other, "eth0", &["fe80::2/64"]),
    );
    let gateway = WeaponWg::start(&one, &home);
    let peer = private_key().public();
    let index = one.run("ip -o link show eth0");
    let index = index.split(':').next().unwrap().to_owned();
    gateway.wg("set", &format!("peer {peer} endpoint [fe80::2%{index}]:5"));
    let shown = ask(&gateway.interface, "get=1\n\n");
    let wanted = format!("endpoint=[fe80::2%{index}]:5\n");
    assert!(shown.contains(&wanted), "{shown}");
}
