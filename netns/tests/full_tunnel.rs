//! A tunnel that is the way to everywhere: all goes into it, and what comes in from outside is
//! answered the way it came; nothing that a network hands out takes packets away from it; the other
//! end lets them out under its own address. All of it is undone.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use rustix::process::Signal;
use weapon_netns::name_server::{NameServer, with_own_etc};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::world::World;
use weapon_netns::{Footprint, Host, link, ready, until};

const PROGRAMS: [&str; 3] = ["nft", "iptables", "ip6tables"];

/// A connection of `from` to `to`, and its other end.
#[track_caller]
fn connection(from: (&Host, &str), to: (&Host, &str)) -> (TcpStream, TcpStream) {
    let local = |address: &str| SocketAddr::new(address.parse().expect("an address"), 0);
    let listener =
        to.0.enter(|| TcpListener::bind(local(to.1)).expect("a listener"));
    let there = listener.local_addr().expect("its address");
    let stream = from.0.enter(|| {
        let bound = rustix::net::socket(
            match there {
                SocketAddr::V4(_) => rustix::net::AddressFamily::INET,
                SocketAddr::V6(_) => rustix::net::AddressFamily::INET6,
            },
            rustix::net::SocketType::STREAM,
            None,
        )
        .expect("a socket");
        rustix::net::bind(&bound, &local(from.1)).expect("an address");
        rustix::net::connect(&bound, &there).expect("a connection");
        TcpStream::from(bound)
    });
    let other = listener.accept().expect("a connection").0;
    for end in [&stream, &other] {
        end.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    }
    (stream, other)
}

/// Both ends hear each other.
#[track_caller]
fn talk((one, other): (&mut TcpStream, &mut TcpStream)) {
    for _ in 0..3 {
        one.write_all(b"ping").expect("written");
        let mut heard = [0; 4];
        other.read_exact(&mut heard).expect("heard");
        other.write_all(b"pong").expect("written");
        one.read_exact(&mut heard).expect("heard");
        assert_eq!(&heard, b"pong");
    }
}

#[test]
fn all_goes_into_the_tunnel_and_all_is_undone() {
    if !ready(&PROGRAMS) {
        return;
    }
    let world = World::new();
    let before = Footprint::of(&world.pair.one);
    let before_exit = Footprint::of(&world.pair.other);
    let (b, a) = (world.start_exit(), world.start());
    world.assert_goes_by_the_exit();
    world.pair.one.ping("203.0.113.5");
    world.pair.one.ping("2001:db8:3::5");
    assert_eq!(world.clear(), 0);
    assert!(world.router.nft_counter("watch", "tunnel") > 0);
    let said = world.weapon(&["status", "one", "--system"]);
    let text = &said.out;
    assert!(said.code == 0 && !text.contains("MISSING"), "{text}");
    for words in [
        "route to 0.0.0.0/0",
        "route to ::/0",
        "not fwmark 0xca6c lookup 51820",
    ] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(b.stop().code(), Some(0));
    assert_eq!(Footprint::of(&world.pair.one), before);
    assert_eq!(Footprint::of(&world.pair.other), before_exit);
}

/// Somebody who administers the laptop from outside is not cut off, whether he was there before or
/// comes later; nor is what the laptop itself had begun.
#[test]
fn what_comes_in_from_outside_is_answered_the_way_it_came() {
    if !ready(&PROGRAMS) {
        return;
    }
    let world = World::new();
    let one = &world.pair.one;
    let mut connections = Vec::new();
    let both = [
        ("203.0.113.9", "192.168.1.10"),
        ("2001:db8:3::9", "2001:db8:1::10"),
    ];
    for (outside, inside) in both {
        connections.push(connection((&world.web, outside), (one, inside)));
        connections.push(connection((one, inside), (&world.web, outside)));
    }
    let speak = |connections: &mut Vec<(TcpStream, TcpStream)>, laptop_first: bool| {
        for (one, other) in connections {
            match laptop_first {
                true => talk((one, other)),
                false => talk((other, one)),
            }
        }
    };
    speak(&mut connections, true);
    // Strict reverse paths, as some distributions have them.
    for interface in ["all", "eth0"] {
        one.sysctl(&format!("net.ipv4.conf.{interface}.rp_filter"), "1");
    }
    let (_b, a) = (world.start_exit(), world.start());
    world.assert_goes_by_the_exit();
    speak(&mut connections, true);
    speak(&mut connections, false);
    for (outside, inside) in both {
        connections.push(connection((&world.web, outside), (one, inside)));
    }
    speak(&mut connections, true);
    assert_eq!(world.clear(), 0);
    assert!(world.router.nft_counter("watch", "answers") > 0);
    assert_eq!(a.stop().code(), Some(0));
}

/// TunnelVision (CVE-2024-3661): routes that a DHCP server hands out. TunnelCrack (CVE-2023-36672):
/// a LAN that claims the addresses of others.
#[test]
fn routes_that_a_network_hands_out_take_nothing_away() {
    if !ready(&PROGRAMS) {
        return;
    }
    let world = World::new();
    let one = &world.pair.one;
    let (_b, _a) = (world.start_exit(), world.start());
    world.assert_goes_by_the_exit();
    for route in [
        "0.0.0.0/1",
        "128.0.0.0/1",
        "203.0.113.5/32",
        "203.0.113.0/24",
    ] {
        one.run(&format!("ip route add {route} via 192.168.1.1 dev eth0"));
    }
    for route in ["::/1", "8000::/1", "2001:db8:3::/64", "2001:db8:3::5/128"] {
        one.run(&format!(
            "ip -6 route add {route} via 2001:db8:1::1 dev eth0"
        ));
    }
    world.assert_goes_by_the_exit();
    one.run("ip address add 203.0.113.77/24 dev eth0");
    one.run("ip -6 address add 2001:db8:3::77/64 dev eth0 nodad");
    // What the kernel chose before holds for a connected socket: these are new ones.
    for _ in 0..3 {
        world.pair.one.ping("203.0.113.5");
        world.pair.one.ping("2001:db8:3::5");
    }
    assert_eq!(world.clear(), 0);
}

#[test]
fn the_lan_is_reached_if_that_is_wanted() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut world = World::new();
    let one = world.pair.one.again();
    let short = Duration::from_millis(300);
    let neighbour: IpAddr = "192.168.1.1".parse().expect("an address");
    // A bridge of containers is no LAN.
    let container = Host::new("container");
    one.run("ip link add br0 type bridge");
    one.run("ip address add 172.18.0.1/16 dev br0");
    one.run("ip link set br0 up");
    link(
        (&one, "port0", &[]),
        (&container, "eth0", &["172.18.0.2/16"]),
    );
    one.run("ip link set port0 master br0");
    // Else the LAN would be reached from the exit, through the router.
    world.router.nft(
        "table inet lan {
            chain prerouting {
                type filter hook prerouting priority raw
                iifname eth1 ip daddr 192.168.1.0/24 udp dport != 51820 drop
                iifname eth1 ip daddr 192.168.1.0/24 meta l4proto icmp drop
            }
        }
        ",
    );
    let (_b, a) = (world.start_exit(), world.start());
    world.assert_goes_by_the_exit();
    one.ping("172.18.0.2");
    assert!(one.ping_once(neighbour, short).is_err());
    // It is answered all the same.
    world.router.ping("192.168.1.10");
    world.more = "lan_access = true".to_owned();
    world.pair.home.write("one.toml", &world.toml());
    let said = world.weapon(&["reload", "one.toml"]);
    assert_eq!(said.code, 0, "{said:?}");
    one.ping("192.168.1.1");
    world.assert_goes_by_the_exit();
    assert_eq!(a.stop().code(), Some(0));
    one.ping("192.168.1.1");
}

#[test]
fn what_a_killed_gateway_has_left_is_undone() {
    if !ready(&PROGRAMS) {
        return;
    }
    let world = World::new();
    let one = &world.pair.one;
    let before = Footprint::of(one);
    let _b = world.start_exit();
    let mut a = world.start();
    world.assert_goes_by_the_exit();
    a.process().signal(Signal::KILL);
    a.process().wait(PATIENCE);
    assert!(one.run("ip -4 rule").contains("51820"));
    let said = world.weapon(&["down", "one"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(Footprint::of(one), before);
    // And by the next start.
    let mut a = world.start();
    world.assert_goes_by_the_exit();
    a.process().signal(Signal::KILL);
    a.process().wait(PATIENCE);
    let a = world.start();
    world.assert_goes_by_the_exit();
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(Footprint::of(one), before);
}

/// As some network managers do with rules that they do not know.
#[test]
fn rules_that_are_flushed_are_set_again() {
    if !ready(&PROGRAMS) {
        return;
    }
    let world = World::new();
    let one = &world.pair.one;
    let (_b, _a) = (world.start_exit(), world.start());
    world.assert_goes_by_the_exit();
    for family in ["-4", "-6"] {
        one.run(&format!(
            "ip {family} rule del not fwmark 51820 table 51820"
        ));
    }
    until("they are there again", PATIENCE, || {
        let all = ["-4", "-6"].map(|family| one.run(&format!("ip {family} rule")));
        all.iter()
            .all(|rules| rules.contains("51820"))
            .then_some(())
    });
    world.assert_goes_by_the_exit();
}

/// The name of the exit is found out beside the tunnel that leads there, also when it is asked for
/// again.
#[test]
fn a_peer_with_a_name_is_found_beside_the_tunnel() {
    if !ready(&PROGRAMS) {
        return;
    }
    with_own_etc("dns", || {
        std::fs::write("/etc/resolv.conf", "nameserver 203.0.113.5\n").expect("resolv.conf");
        let mut world = World::new();
        let address = "203.0.113.5".parse().expect("an address");
        let server = NameServer::start_at(&world.web, address);
        server.set("exit.example", &["198.51.100.77"], 30);
        world.pair.plan.peers[0].endpoint = Some("exit.example:51820".to_owned());
        world.pair.plan.peers[0].keepalive = Some(1);
        let (_b, a) = (world.start_exit(), world.start());
        until("nobody is there", PATIENCE, || {
            let endpoint = &a.peer("other")["endpoint"];
            (endpoint == "198.51.100.77:51820").then_some(())
        });
        server.set("exit.example", &["198.51.100.2"], 30);
        until("the exit is there", Duration::from_secs(60), || {
            let endpoint = &a.peer("other")["endpoint"];
            (endpoint == "198.51.100.2:51820").then_some(())
        });
        world.assert_goes_by_the_exit();
    });
}

/// The tunnel's own address is nobody's business outside (CVE-2019-14899).
#[test]
fn the_tunnels_address_does_not_answer_outside() {
    if !ready(&PROGRAMS) {
        return;
    }
    let world = World::new();
    let (_b, _a) = (world.start_exit(), world.start());
    world.assert_goes_by_the_exit();
    world
        .router
        .run("ip route add 10.99.0.1/32 via 192.168.1.10");
    let address: IpAddr = "10.99.0.1".parse().expect("an address");
    let short = Duration::from_millis(300);
    assert!(world.router.ping_once(address, short).is_err());
    let dropped = world
        .pair
        .one
        .run("nft list chain inet weapon-w-one own_address");
    let none = "daddr 10.99.0.1 counter packets 0 ";
    assert!(
        dropped.contains("10.99.0.1") && !dropped.contains(none),
        "{dropped}"
    );
}

/// A client of the exit sends from the port of the tunnel, so that the answers to it would be
/// taken for the tunnel's (port shadow, CVE-2021-3773).
#[test]
fn a_client_does_not_get_the_port_that_it_wishes() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut world = World::new();
    // So that the port of the exit is free on the laptop.
    world.pair.plan.listen = 51_999;
    let one = &world.pair.one;
    let (_b, _a) = (world.start_exit(), world.start());
    world.assert_goes_by_the_exit();
    let receiver = world
        .web
        .enter(|| UdpSocket::bind("203.0.113.5:7777").expect("a socket"));
    receiver
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    let from = |port: u16| {
        let sender = one.enter(|| UdpSocket::bind(("10.99.0.1", port)).expect("a socket"));
        sender.send_to(b"shadow", "203.0.113.5:7777").expect("sent");
        let mut buffer = [0; 16];
        receiver
            .recv_from(&mut buffer)
            .ok()
            .map(|(_, from)| from.port())
    };
    assert_eq!(from(51_820), None);
    let wished = 40_000..40_004;
    let got: Vec<u16> = wished.clone().filter_map(from).collect();
    assert_eq!(got.len(), 4);
    assert!(got.iter().any(|port| !wished.contains(port)), "{got:?}");
}

/// wg-quick's users know rules that pile up.
#[test]
fn up_and_down_again_and_again_leaves_nothing() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut world = World::new();
    world.more = "kill_switch = true".to_owned();
    let before = Footprint::of(&world.pair.one);
    for _ in 0..10 {
        let mut a = world.start();
        let down = world.weapon(&["down", "one"]);
        assert_eq!(down.code, 0, "{down:?}");
        assert_eq!(a.process().wait(PATIENCE).code(), Some(0));
    }
    assert_eq!(Footprint::of(&world.pair.one), before);
}
