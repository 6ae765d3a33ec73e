//! Two sites with the same addresses, whose hosts know nothing of it: each is known to the other by
//! another prefix.
//!
//! ```text
//!   host 192.168.1.5 ---- gateway ==== tunnel ==== gateway ---- host 192.168.1.5
//!        as 10.77.1.5     192.168.1.1              192.168.1.1      as 10.77.2.5
//! ```

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::time::Duration;

use weapon_netns::plan::introduce;
use weapon_netns::traffic::{Pace, Stream};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Footprint, Gateway, Home, Host, Kind, Plan, Weapon, link, ready, until};

const TRANSFER_BYTES: u64 = 50_000_000;

/// A gateway that is the router of a LAN, and a host there.
struct Site {
    router: Host,
    host: Host,
    /// What the host is known by.
    outside: &'static str,
}

impl Site {
    fn new(name: &str, outside: &'static str) -> Self {
        // Whether it forwards is the gateway's to see to.
        let (router, host) = (Host::new(name), Host::new("host"));
        link(
            (&router, "lan0", &["192.168.1.1/24", "fd00:77::1/64"]),
            (&host, "eth0", &["192.168.1.5/24", "fd00:77::5/64"]),
        );
        host.run("ip route add default via 192.168.1.1");
        host.run("ip route add default via fd00:77::1");
        Self {
            router,
            host,
            outside,
        }
    }

    fn outside(&self) -> IpAddr {
        self.outside.parse().expect("an address")
    }
}

/// The file of a gateway with something behind it.
fn file(plan: &Plan, networks: &[&str]) -> String {
    let (header, rest) = plan.toml().split_once('\n').map_or_else(
        || panic!("a file has lines"),
        |(header, rest)| (header.to_owned(), rest.to_owned()),
    );
    format!("{header}\nnetworks = {networks:?}\n{rest}")
}

/// Two such sites, linked by gateways of ours; and what their routers were before.
fn linked(home: &Rc<Home>) -> ([Site; 2], [Weapon; 2], [Footprint; 2]) {
    let (one, other) = (
        Site::new("one", "10.77.1.5"),
        Site::new("other", "10.77.2.5"),
    );
    link(
        (&one.router, "eth0", &["192.0.2.1/24"]),
        (&other.router, "eth0", &["192.0.2.2/24"]),
    );
    let before = [Footprint::of(&one.router), Footprint::of(&other.router)];
    let mut plan = Plan::new("one", &["10.99.0.1/24", "fd99::1/64"]);
    let mut other_plan = Plan::new("other", &["10.99.0.2/24", "fd99::2/64"]);
    introduce(
        (&mut plan, &["10.99.0.1/32", "10.77.1.0/24", "fd00:1::/64"]),
        (
            &mut other_plan,
            &["10.99.0.2/32", "10.77.2.0/24", "fd00:2::/64"],
        ),
        None,
    );
    plan.peers[0].endpoint = Some("192.0.2.2:51820".to_owned());
    let text = file(
        &other_plan,
        &[
            "192.168.1.0/24 as 10.77.2.0/24",
            "fd00:77::/64 as fd00:2::/64",
        ],
    );
    let second = Weapon::start_with(&other.router, home, "other.toml", &text);
    let text = file(
        &plan,
        &[
            "192.168.1.0/24 as 10.77.1.0/24",
            "fd00:77::/64 as fd00:1::/64",
        ],
    );
    let first = Weapon::start_with(&one.router, home, "one.toml", &text);
    ([one, other], [first, second], before)
}

/// Connects from a site's host to the other's, and returns whom that one sees.
fn seen(from: &Host, to: &Host, known_as: IpAddr) -> IpAddr {
    let listener = to.enter(|| TcpListener::bind("0.0.0.0:0").expect("a port"));
    let port = listener.local_addr().expect("an address").port();
    let remote = SocketAddr::new(known_as, port);
    let connection = from.enter(|| TcpStream::connect_timeout(&remote, PATIENCE));
    let connection = connection.unwrap_or_else(|error| panic!("{remote}: {error}"));
    let (_, seen) = listener.accept().expect("the connection just made");
    drop(connection);
    seen.ip()
}

#[test]
fn hosts_of_both_sites_reach_each_other_by_the_other_prefix() {
    if !ready(&["nft", "iptables"]) {
        return;
    }
    let home = Home::new();
    let (sites, gateways, before) = linked(&home);
    let pace = Pace {
        bytes: Some(TRANSFER_BYTES),
        pause: Duration::ZERO,
    };
    for (here, there, there_v6) in [(0, 1, "fd00:2::5"), (1, 0, "fd00:1::5")] {
        let (here, there) = (&sites[here], &sites[there]);
        here.host.ping(there.outside);
        here.host.ping(there_v6);
        assert_eq!(
            seen(&here.host, &there.host, there.outside()),
            here.outside()
        );
        let stream = Stream::start_mapped(
            &here.host,
            &there.host,
            ("192.168.1.5", there.outside),
            pace,
        );
        assert_eq!(stream.join(), TRANSFER_BYTES);
    }
    for gateway in &gateways {
        assert_eq!(gateway.drops("not_mapped"), 0);
        assert_eq!(gateway.drops("wrong_source"), 0);
    }
    for gateway in gateways {
        assert_eq!(gateway.stop().code(), Some(0));
    }
    let after = [0, 1].map(|site| Footprint::of(&sites[site].router));
    assert_eq!(after, before);
}

#[test]
fn errors_come_back_to_whom_they_are_about() {
    if !ready(&["nft", "iptables"]) {
        return;
    }
    let home = Home::new();
    let ([one, other], _gateways, _) = linked(&home);
    one.host.ping(other.outside);

    // Nobody is at that port: the kernel tells only the socket that the quoted packet came from.
    let refused = one.host.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((other.outside(), 9))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"is there anybody?")?;
        socket.recv(&mut [0; 9])
    });
    let refused = refused.expect_err("nobody answers");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");

    // A narrow piece of the way behind the other gateway.
    other.router.run("ip link set lan0 mtu 1300");
    let sent = one.host.enter(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect((other.outside(), 9))?;
        socket.send(&[0; 1350])?;
        Ok::<_, std::io::Error>(socket)
    });
    // As long as it is open, it is told.
    let _socket = sent.expect("sent");
    until("the path's MTU is known", PATIENCE, || {
        let route = one.host.run("ip route get 10.77.2.5");
        route.contains("mtu 1300").then_some(())
    });
}

#[test]
fn a_stock_peer_sees_the_other_prefix() {
    if !ready(&["wg", "wireguard-go", "nft"]) {
        return;
    }
    let home = Home::new();
    let (site, peer) = (Site::new("one", "10.77.1.5"), Host::new("peer"));
    link(
        (&site.router, "eth0", &["192.0.2.1/24"]),
        (&peer, "eth0", &["192.0.2.2/24"]),
    );
    let mut plan = Plan::new("one", &["10.99.0.1/24"]);
    let mut peer_plan = Plan::new("peer", &["10.99.0.2/24"]);
    introduce(
        (&mut plan, &["10.99.0.1/32", "10.77.1.0/24"]),
        (&mut peer_plan, &["10.99.0.2/32"]),
        None,
    );
    plan.peers[0].endpoint = Some("192.0.2.2:51820".to_owned());
    let _peer_gateway = Gateway::start(Kind::WireguardGo, &peer, &home, &peer_plan);
    let text = file(&plan, &["192.168.1.0/24 as 10.77.1.0/24"]);
    let _gateway = Weapon::start_with(&site.router, &home, "one.toml", &text);

    site.host.ping("10.99.0.2");
    peer.ping(site.outside);
    let peer_address: IpAddr = "10.99.0.2".parse().expect("an address");
    assert_eq!(seen(&site.host, &peer, peer_address), site.outside());
    assert_eq!(seen(&peer, &site.host, site.outside()), peer_address);
}
