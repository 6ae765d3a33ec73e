//! The kill switch: nothing leaves in clear, whatever the gateway is doing, and whatever is tried.
//!
//! Each attack is tried first without a gateway, where it must be seen in clear: else it would
//! prove nothing. The attacks are those of TunnelVision (CVE-2024-3661), TunnelCrack
//! (CVE-2023-36672, CVE-2023-36673), CVE-2019-14899, and what leaks while a tunnel comes and goes.

use std::net::{IpAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::world::World;
use weapon_netns::{Footprint, Host, Weapon, ready, until};

const PROGRAMS: [&str; 3] = ["nft", "iptables", "ip6tables"];

/// How long a packet in clear may be on its way to the counter: a cable of this machine.
const ON_THE_WAY: Duration = Duration::from_millis(30);

/// A way to send something in clear.
type Attack = (&'static str, fn(&World));

const ATTACKS: [Attack; 11] = [
    ("datagrams, IPv4", |world| {
        send(laptop(world), "203.0.113.5:9")
    }),
    ("datagrams, IPv6", |world| {
        send(laptop(world), "[2001:db8:3::5]:9")
    }),
    ("connections", |world| {
        connect(laptop(world), "203.0.113.5:80")
    }),
    ("names", |world| send(laptop(world), "203.0.113.5:53")),
    ("pings", |world| ping(laptop(world), "203.0.113.5")),
    ("pings, IPv6", |world| ping(laptop(world), "2001:db8:3::5")),
    ("bound to the card", bound_to_the_card),
    ("from the LAN's address", from_the_lans_address),
    // ServerIP of TunnelCrack, and who finds out where somebody is by what he sends to the exit.
    ("to the exit itself", |world| {
        send(laptop(world), "198.51.100.2:1234")
    }),
    ("to the exit's port", |world| {
        send(laptop(world), "198.51.100.2:51820")
    }),
    ("the router is asked", |world| {
        send(laptop(world), "192.168.1.1:53")
    }),
];

fn laptop(world: &World) -> &Host {
    &world.pair.one
}

fn send(from: &Host, to: &str) {
    let any = if to.starts_with('[') {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let sender = from.enter(|| UdpSocket::bind(any).expect("a socket"));
    // That it is refused is all the better.
    let _ = sender.send_to(b"in clear?", to);
}

fn connect(from: &Host, to: &str) {
    let to = to.parse().expect("an address");
    let short = Duration::from_millis(50);
    let _ = from.enter(|| TcpStream::connect_timeout(&to, short));
}

fn ping(from: &Host, to: &str) {
    let to: IpAddr = to.parse().expect("an address");
    let _ = from.ping_once(to, Duration::from_millis(50));
}

fn bound_to_the_card(world: &World) {
    for (any, to) in [
        ("0.0.0.0:0", "203.0.113.5:9"),
        ("[::]:0", "[2001:db8:3::5]:9"),
    ] {
        let sender = laptop(world).enter(|| UdpSocket::bind(any).expect("a socket"));
        socket2::SockRef::from(&sender)
            .bind_device(Some(b"eth0"))
            .expect("the card");
        let _ = sender.send_to(b"in clear?", to);
    }
}

fn from_the_lans_address(world: &World) {
    for (own, to) in [
        ("192.168.1.10:0", "203.0.113.5:9"),
        ("[2001:db8:1::10]:0", "[2001:db8:3::5]:9"),
    ] {
        let sender = laptop(world).enter(|| UdpSocket::bind(own).expect("a socket"));
        let _ = sender.send_to(b"in clear?", to);
    }
}

/// How many packets of what is done are seen in clear.
#[track_caller]
fn in_clear(world: &World, what: impl FnOnce(&World)) -> u64 {
    let before = world.clear();
    what(world);
    std::thread::sleep(ON_THE_WAY);
    world.clear() - before
}

/// Tries all attacks; which of them were seen in clear.
#[track_caller]
fn leaks(world: &World) -> Vec<&'static str> {
    let seen = ATTACKS
        .iter()
        .filter(|(_, attack)| in_clear(world, attack) > 0);
    seen.map(|(name, _)| *name).collect()
}

fn closed() -> World {
    let mut world = World::new();
    world.more = "kill_switch = true".to_owned();
    world
}

/// The routes and addresses of a network that means us ill.
fn mean_network(world: &World) {
    let one = laptop(world);
    for route in [
        "0.0.0.0/1",
        "128.0.0.0/1",
        "203.0.113.5/32",
        "198.51.100.2/32",
    ] {
        one.run(&format!("ip route add {route} via 192.168.1.1 dev eth0"));
    }
    for route in ["::/1", "8000::/1", "2001:db8:3::5/128"] {
        one.run(&format!(
            "ip -6 route add {route} via 2001:db8:1::1 dev eth0"
        ));
    }
    world.router.sysctl("net.ipv4.conf.eth0.proxy_arp", "1");
    one.run("ip address add 203.0.113.77/24 dev eth0");
    one.run("ip -6 address add 2001:db8:3::77/64 dev eth0 nodad");
}

#[track_caller]
fn start_alone(world: &World) -> Weapon {
    let file = world.pair.home.write("one.toml", &world.toml());
    let gateway = Weapon::launch(laptop(world), &world.pair.home, &file);
    until("it is up", PATIENCE, || gateway.is_up().then_some(()));
    gateway
}

/// All attacks in all states, in a network that means well and in one that does not.
#[track_caller]
fn no_state_leaks(is_mean: bool) {
    if !ready(&PROGRAMS) {
        return;
    }
    let world = closed();
    let before = Footprint::of(laptop(&world));
    // Without a tunnel all of it is seen.
    let all: Vec<&str> = ATTACKS.iter().map(|(name, _)| *name).collect();
    assert_eq!(leaks(&world), all);
    if is_mean {
        mean_network(&world);
        assert_eq!(leaks(&world), all);
    }
    let mut table: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut a = start_alone(&world);
    table.push(("starting", leaks(&world)));
    let b = world.start_exit();
    world.assert_goes_by_the_exit();
    table.push(("connected", leaks(&world)));
    let said = world.weapon(&["reload", "one.toml"]);
    assert_eq!(said.code, 0, "{said:?}");
    table.push(("reloaded", leaks(&world)));
    assert_eq!(b.stop().code(), Some(0));
    table.push(("reconnecting", leaks(&world)));
    a.process().signal(Signal::KILL);
    a.process().wait(PATIENCE);
    table.push(("killed", leaks(&world)));
    let mut a = start_alone(&world);
    table.push(("started again", leaks(&world)));
    laptop(&world).run("ip link delete w-one");
    a.process().wait(PATIENCE);
    table.push(("without its interface", leaks(&world)));
    let a = start_alone(&world);
    assert_eq!(a.stop().code(), Some(0));
    table.push(("stopped", leaks(&world)));
    for (state, leaks) in &table {
        eprintln!("{state:24} {} of {} in clear", leaks.len(), ATTACKS.len());
    }
    for (state, leaks) in &table {
        assert!(leaks.is_empty(), "{state}: {leaks:?}");
    }
    // Only now is it lifted.
    let said = world.weapon(&["down", "one"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(leaks(&world), all);
    if !is_mean {
        assert_eq!(Footprint::of(laptop(&world)), before);
    }
}

#[test]
fn nothing_leaves_in_clear() {
    no_state_leaks(false);
}

#[test]
fn nothing_leaves_in_clear_in_a_network_that_means_ill() {
    no_state_leaks(true);
}

/// A running gateway that is told to go takes its kill switch along.
#[test]
fn down_lifts_it() {
    if !ready(&PROGRAMS) {
        return;
    }
    let world = closed();
    let before = Footprint::of(laptop(&world));
    let (_b, mut a) = (world.start_exit(), world.start());
    world.assert_goes_by_the_exit();
    let said = world.weapon(&["status", "one", "--system"]);
    let text = &said.out;
    assert!(
        text.contains("weapon_kill-w-one") && !text.contains("MISSING"),
        "{text}"
    );
    let said = world.weapon(&["down", "one"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(a.process().wait(PATIENCE).code(), Some(0));
    assert_eq!(Footprint::of(laptop(&world)), before);
}

/// A file that wants it no more lifts it: while the gateway runs, and when it starts.
#[test]
fn a_file_without_it_lifts_it() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut world = closed();
    let before = Footprint::of(laptop(&world));
    let is_closed = |world: &World| laptop(world).run("nft list tables").contains("weapon_kill");
    let (_b, a) = (world.start_exit(), world.start());
    assert!(is_closed(&world));
    let closed = std::mem::take(&mut world.more);
    world.pair.home.write("one.toml", &world.toml());
    let said = world.weapon(&["reload", "one.toml"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!is_closed(&world));
    world.more = closed;
    world.pair.home.write("one.toml", &world.toml());
    let said = world.weapon(&["reload", "one.toml"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(is_closed(&world));
    assert_eq!(a.stop().code(), Some(0));
    assert!(is_closed(&world));
    world.more.clear();
    let a = world.start();
    assert!(!is_closed(&world));
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(Footprint::of(laptop(&world)), before);
}

/// Who administers the laptop from outside is not cut off by it.
#[test]
fn who_comes_from_outside_is_answered() {
    if !ready(&PROGRAMS) {
        return;
    }
    let world = closed();
    let answers = || {
        let deadline = PATIENCE;
        for (inside, outside) in [
            ("192.168.1.10", "203.0.113.9:0"),
            ("2001:db8:1::10", "[2001:db8:3::9]:0"),
        ] {
            let inside: IpAddr = inside.parse().expect("an address");
            let receiver = laptop(&world).enter(|| UdpSocket::bind((inside, 0)).expect("one"));
            let sender = world
                .web
                .enter(|| UdpSocket::bind(outside).expect("a socket"));
            for socket in [&receiver, &sender] {
                socket.set_read_timeout(Some(deadline)).expect("a timeout");
            }
            let there = receiver.local_addr().expect("its address");
            sender.send_to(b"ping", there).expect("sent");
            let mut buffer = [0; 8];
            let (_, from) = receiver.recv_from(&mut buffer).expect("a datagram");
            receiver.send_to(b"pong", from).expect("sent");
            let (length, _) = sender.recv_from(&mut buffer).expect("an answer");
            assert_eq!(&buffer[..length], b"pong");
        }
    };
    let a = start_alone(&world);
    answers();
    assert_eq!(a.stop().code(), Some(0));
    answers();
    assert_eq!(world.clear(), 0);
}

/// The tunnel's address is nobody's business in the LAN: neither by ARP, nor by what it answers.
#[test]
fn the_lan_does_not_find_out_the_tunnels_address() {
    if !ready(&PROGRAMS) {
        return;
    }
    let world = closed();
    let router = &world.router;
    let _a = start_alone(&world);
    let before = world.clear();
    router.run("ip route add 10.99.0.1/32 dev eth0");
    ping(router, "10.99.0.1");
    let neighbours = router.run("ip neigh show to 10.99.0.1");
    assert!(!neighbours.contains("lladdr"), "{neighbours}");
    router.run("ip route replace 10.99.0.1/32 via 192.168.1.10 dev eth0");
    ping(router, "10.99.0.1");
    connect(router, "10.99.0.1:80");
    send(router, "10.99.0.1:9");
    std::thread::sleep(ON_THE_WAY);
    assert_eq!(world.clear(), before);
}

/// Where only a peer's network is for the tunnel, only that is closed.
#[test]
fn a_site_is_closed_for_the_peers_networks_alone() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut world = closed();
    world.pair.plan.peers[0].networks = vec!["10.99.0.2/32".into(), "203.0.113.0/25".into()];
    let a = start_alone(&world);
    let count = |to: &str| in_clear(&world, |world| send(laptop(world), to));
    assert_eq!(count("203.0.113.200:9"), 1);
    assert_eq!(count("203.0.113.5:9"), 0);
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(count("203.0.113.200:9"), 1);
    assert_eq!(count("203.0.113.5:9"), 0);
    assert_eq!(world.weapon(&["down", "one"]).code, 0);
    assert_eq!(count("203.0.113.5:9"), 1);
}

/// Packets all the time, while the gateway comes and goes: there is no moment without the rule.
#[test]
fn nothing_leaves_while_it_comes_and_goes() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut world = closed();
    let first = start_alone(&world);
    let before = world.clear();
    let stop = AtomicBool::new(false);
    let sender = laptop(&world).enter(|| UdpSocket::bind("0.0.0.0:0").expect("a socket"));
    let sent = std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut sent = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                sent += u64::from(sender.send_to(b"in clear?", "203.0.113.5:9").is_ok());
                std::thread::sleep(Duration::from_micros(200));
            }
            sent
        });
        let _exit = world.start_exit();
        world.assert_goes_by_the_exit();
        assert_eq!(first.stop().code(), Some(0));
        for way in 0..6 {
            let mut gateway = start_alone(&world);
            world.pair.plan.peers[0].keepalive = Some(20 + way);
            world.pair.home.write("one.toml", &world.toml());
            let said = world.weapon(&["reload", "one.toml"]);
            assert_eq!(said.code, 0, "{said:?}");
            match way % 3 {
                0 => gateway.process().signal(Signal::KILL),
                1 => gateway.process().signal(Signal::TERM),
                _ => drop(laptop(&world).run("ip link delete w-one")),
            }
            gateway.process().wait(PATIENCE);
        }
        stop.store(true, Ordering::Relaxed);
        flood.join().expect("the sender")
    });
    std::thread::sleep(ON_THE_WAY);
    assert!(sent > 0);
    assert_eq!(world.clear(), before);
}

/// What lay behind us is gone with its rules, though other rules stay.
#[test]
fn a_file_without_networks_takes_their_rules_away() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut world = closed();
    world.pair.plan.peers[0].networks = vec!["10.99.0.2/32".into()];
    let one = world.pair.one.again();
    one.run("iptables -N DOCKER-USER");
    let before = Footprint::of(&one);
    let closed = std::mem::take(&mut world.more);
    world.more = format!("{closed}\nnetworks = [\"lan:eth0\"]");
    let a = start_alone(&world);
    let rules = || format!("{}{}", one.run("nft list tables"), one.run("iptables-save"));
    assert!(rules().contains("weapon-w-one") && rules().contains("weapon w-one:"));
    world.more = closed;
    world.pair.home.write("one.toml", &world.toml());
    let said = world.weapon(&["reload", "one.toml"]);
    assert_eq!(said.code, 0, "{said:?}");
    let left = rules();
    assert!(left.contains("weapon_kill-w-one"), "{left}");
    assert!(
        !left.contains("weapon-w-one") && !left.contains("weapon w-one:"),
        "{left}"
    );
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(world.weapon(&["down", "one"]).code, 0);
    assert_eq!(Footprint::of(&one), before);
}

/// Two gateways may each close what is for their peers.
#[test]
fn two_kill_switches_do_not_disturb_each_other() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut world = closed();
    world.pair.plan.peers[0].networks = vec!["203.0.113.0/25".into()];
    let before = Footprint::of(laptop(&world));
    let a = start_alone(&world);
    let second = world
        .toml()
        .replace("w-one", "w-two")
        .replace("\"one\"", "\"two\"");
    let second = second.replace("listen = 51820", "listen = 51821");
    let second = second.replace("203.0.113.0/25", "203.0.113.128/25");
    let second = second
        .replace("10.99.0.1/24", "10.98.0.1/24")
        .replace("fd99::1/64", "fd98::1/64");
    // It waits to be found: its own messages, from another port, are no leak.
    let second = second.replace("endpoint = \"198.51.100.2:51820\"", "");
    let file = world.pair.home.write("two.toml", &second);
    let b = Weapon::launch(laptop(&world), &world.pair.home, &file);
    until("it is up", PATIENCE, || b.is_up().then_some(()));
    let is_clear = |to: &str| in_clear(&world, |world| send(laptop(world), to)) > 0;
    assert!(!is_clear("203.0.113.5:9") && !is_clear("203.0.113.200:9"));
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(world.weapon(&["down", "one"]).code, 0);
    assert!(is_clear("203.0.113.5:9") && !is_clear("203.0.113.200:9"));
    assert_eq!(world.weapon(&["down", "two"]).code, 0);
    drop(b);
    assert_eq!(Footprint::of(laptop(&world)), before);
}
