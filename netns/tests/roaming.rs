//! Either side changes its address and its port while streams flow, and they go on. A NAT that
//! forgets, or changes its mind about the port, is followed; a keepalive keeps it from forgetting.

use std::rc::Rc;
use std::time::Duration;

use weapon_netns::plan::introduce;
use weapon_netns::traffic::{Pace, Stream};
use weapon_netns::{Gateway, Home, Host, Kind, Plan, link, ready};

/// What must get through after each change.
const PROGRESS_BYTES: u64 = 2 << 20;

const PACE: Pace = Pace {
    bytes: None,
    pause: Duration::from_millis(5),
};

/// Public keys of both.
struct Keys {
    one: String,
    other: String,
}

/// Two gateways, the first of which knows where the second is.
fn start(
    (kind, one): (Kind, &Host),
    (other_kind, other): (Kind, &Host),
    endpoint: &str,
    keepalive: Option<u16>,
) -> (Gateway, Gateway, Keys) {
    let home: Rc<Home> = Home::new();
    let mut plan = Plan::new("one", &["10.99.0.1/24", "fd99::1/64"]);
    let mut other_plan = Plan::new("other", &["10.99.0.2/24", "fd99::2/64"]);
    introduce(
        (&mut plan, &["10.99.0.1/32", "fd99::1/128"]),
        (&mut other_plan, &["10.99.0.2/32", "fd99::2/128"]),
        None,
    );
    plan.peers[0].endpoint = Some(endpoint.to_owned());
    plan.peers[0].keepalive = keepalive;
    let keys = Keys {
        one: plan.private_key.public().to_string(),
        other: other_plan.private_key.public().to_string(),
    };
    let second = Gateway::start(other_kind, other, &home, &other_plan);
    let first = Gateway::start(kind, one, &home, &plan);
    one.ping("10.99.0.2");
    (first, second, keys)
}

/// Gives the host another address in place of the one it has.
fn readdress(host: &Host, old: &str, new: &str) {
    let once = if new.contains(':') { "nodad" } else { "" };
    host.run(&format!("ip address add {new} dev eth0 {once}"));
    host.run(&format!("ip address del {old} dev eth0"));
}

/// Lets all that the host sends from its port leave from `port` instead, as a NAT would, and
/// forgets what was sent before. What comes unasked is dropped: it would be taken for the beginning
/// of a connection, and our own packets for the answers, which keep their port. So only one side at
/// a time can be behind this.
fn renumber(host: &Host, port: u16) {
    host.nft(&format!(
        "table inet renumber\ndelete table inet renumber\n\
         table inet renumber {{\n\
           chain out {{\n\
             type nat hook postrouting priority srcnat\n\
             oifname \"eth0\" udp sport 51820 masquerade to :{port}\n\
           }}\n\
           chain in {{\n\
             type filter hook input priority filter\n\
             iifname \"eth0\" meta l4proto udp ct state new drop\n\
           }}\n\
         }}\n"
    ));
    host.run("conntrack -F");
}

/// Lets it leave from its own port again.
fn restore_number(host: &Host) {
    host.run("nft delete table inet renumber");
    host.run("conntrack -F");
}

fn both_sides_move(kind: Kind, other_kind: Kind, over_ipv6: bool) {
    if !ready(&["wg", "wireguard-go", "nft", "conntrack"]) {
        return;
    }
    let (one, other) = (Host::new("one"), Host::new("other"));
    let text = |host: u8| match over_ipv6 {
        false => format!("192.0.2.{host}"),
        true => format!("2001:db8::{host}"),
    };
    let with_length = |host: u8| match over_ipv6 {
        false => format!("{}/24", text(host)),
        true => format!("{}/64", text(host)),
    };
    let with_port = |host: u8, port: u16| match over_ipv6 {
        false => format!("{}:{port}", text(host)),
        true => format!("[{}]:{port}", text(host)),
    };
    link(
        (&one, "eth0", &[&with_length(1)]),
        (&other, "eth0", &[&with_length(2)]),
    );
    for host in [&one, &other] {
        // Else the kernel removes the new address together with the old.
        host.sysctl("net.ipv4.conf.eth0.promote_secondaries", "1");
    }
    let (first, second, keys) = start(
        (kind, &one),
        (other_kind, &other),
        &with_port(2, 51_820),
        None,
    );
    let streams = [
        Stream::start(&one, &other, "10.99.0.2", PACE),
        Stream::start(&other, &one, "fd99::1", PACE),
    ];
    let flows = |what: &str| {
        for stream in &streams {
            stream.expect_progress(PROGRESS_BYTES);
        }
        eprintln!("the streams go on after {what}");
    };
    flows("the start");

    readdress(&one, &with_length(1), &with_length(11));
    second.expect_endpoint(&keys.one, &with_port(11, 51_820));
    flows("a new address here");

    readdress(&other, &with_length(2), &with_length(12));
    if let Gateway::Daemon(second) = &second {
        // It forgets the address that it answered from when the kernel says EINVAL. Newer kernels
        // say ENETUNREACH, so it has to be told.
        let here = with_port(11, 51_820);
        second.wg("set", &["peer", &keys.one, "endpoint", &here]);
    }
    first.expect_endpoint(&keys.other, &with_port(12, 51_820));
    flows("a new address there");

    renumber(&one, 40_001);
    second.expect_endpoint(&keys.one, &with_port(11, 40_001));
    flows("a new port here");

    restore_number(&one);
    second.expect_endpoint(&keys.one, &with_port(11, 51_820));
    flows("the old port here");

    renumber(&other, 40_002);
    first.expect_endpoint(&keys.other, &with_port(12, 40_002));
    flows("a new port there");

    restore_number(&other);
    first.expect_endpoint(&keys.other, &with_port(12, 51_820));
    flows("the old port there");

    // Address and port at a time.
    readdress(&one, &with_length(11), &with_length(21));
    renumber(&one, 40_003);
    second.expect_endpoint(&keys.one, &with_port(21, 40_003));
    flows("a new address and port here");

    for stream in streams {
        stream.finish();
    }
}

#[test]
fn weapon_and_wireguard_go_move_on_ipv4() {
    both_sides_move(Kind::Weapon, Kind::WireguardGo, false);
}

#[test]
fn weapon_and_wireguard_go_move_on_ipv6() {
    both_sides_move(Kind::Weapon, Kind::WireguardGo, true);
}

#[test]
fn weapon_and_weapon_move_on_ipv4() {
    both_sides_move(Kind::Weapon, Kind::Weapon, false);
}

#[test]
fn weapon_and_weapon_move_on_ipv6() {
    both_sides_move(Kind::Weapon, Kind::Weapon, true);
}

/// wireguard-go is told another port, at run time.
#[test]
fn wireguard_go_opens_another_port() {
    if !ready(&["wg", "wireguard-go"]) {
        return;
    }
    let (one, other) = (Host::new("one"), Host::new("other"));
    link(
        (&one, "eth0", &["192.0.2.1/24"]),
        (&other, "eth0", &["192.0.2.2/24"]),
    );
    let (first, second, keys) = start(
        (Kind::Weapon, &one),
        (Kind::WireguardGo, &other),
        "192.0.2.2:51820",
        None,
    );
    let stream = Stream::start(&other, &one, "10.99.0.1", PACE);
    stream.expect_progress(PROGRESS_BYTES);
    let Gateway::Daemon(second) = second else {
        unreachable!("started as such");
    };
    second.wg("set", &["listen-port", "51821"]);
    first.expect_endpoint(&keys.other, "192.0.2.2:51821");
    stream.expect_progress(PROGRESS_BYTES);
    stream.finish();
}

/// A gateway that is stopped and started with another port: the connections inside survive.
#[test]
fn weapon_comes_back_with_another_port() {
    if !ready(&["wg", "wireguard-go"]) {
        return;
    }
    let home = Home::new();
    let (one, other) = (Host::new("one"), Host::new("other"));
    link(
        (&one, "eth0", &["192.0.2.1/24"]),
        (&other, "eth0", &["192.0.2.2/24"]),
    );
    let mut plan = Plan::new("one", &["10.99.0.1/24"]);
    let mut other_plan = Plan::new("other", &["10.99.0.2/24"]);
    introduce(
        (&mut plan, &["10.99.0.1/32"]),
        (&mut other_plan, &["10.99.0.2/32"]),
        None,
    );
    plan.peers[0].endpoint = Some("192.0.2.2:51820".to_owned());
    let second = Gateway::start(Kind::WireguardGo, &other, &home, &other_plan);
    let first = Gateway::start(Kind::Weapon, &one, &home, &plan);
    one.ping("10.99.0.2");
    // The end that goes away with its address only listens: the other one keeps trying.
    let stream = Stream::start(&other, &one, "10.99.0.1", PACE);
    stream.expect_progress(PROGRESS_BYTES);
    let Gateway::Weapon(first) = first else {
        unreachable!("started as such");
    };
    assert!(first.stop().success());
    plan.listen = 51_821;
    let _first = Gateway::start(Kind::Weapon, &one, &home, &plan);
    // It is the one that knows where the other is.
    one.ping("10.99.0.2");
    let key = plan.private_key.public().to_string();
    second.expect_endpoint(&key, "192.0.2.1:51821");
    stream.expect_progress(PROGRESS_BYTES);
    stream.finish();
}

/// A client behind a NAT, which keeps what it has seen for two seconds.
struct Nat {
    client: Host,
    router: Host,
    server: Host,
    over_ipv6: bool,
}

impl Nat {
    fn new(over_ipv6: bool) -> Self {
        let (client, router, server) = (
            Host::new("client"),
            Host::router("router"),
            Host::new("server"),
        );
        link(
            (&client, "eth0", &["10.1.0.1/24", "fd01::1/64"]),
            (&router, "lan0", &["10.1.0.254/24", "fd01::fe/64"]),
        );
        link(
            (&router, "wan0", &["192.0.2.254/24", "2001:db8::fe/64"]),
            (&server, "eth0", &["192.0.2.2/24", "2001:db8::2/64"]),
        );
        client.run("ip route add default via 10.1.0.254");
        client.run("ip -6 route add default via fd01::fe");
        let nat = Self {
            client,
            router,
            server,
            over_ipv6,
        };
        nat.map_to(4001);
        // The namespace has connection tracking, and so these, from the first such rule on.
        for key in [
            "nf_conntrack_udp_timeout",
            "nf_conntrack_udp_timeout_stream",
        ] {
            nat.router.sysctl(&format!("net.netfilter.{key}"), "2");
        }
        nat
    }

    /// From here on the NAT gives new connections this port, and has forgotten the old.
    fn map_to(&self, port: u16) {
        // What comes unasked must not leave a trace, or the client's own packet gets another port.
        self.router.nft(&format!(
            "table inet nat\ndelete table inet nat\n\
             table inet nat {{\n\
               chain out {{\n\
                 type nat hook postrouting priority srcnat\n\
                 oifname \"wan0\" meta l4proto udp masquerade to :{port}\n\
               }}\n\
               chain in {{\n\
                 type filter hook input priority filter\n\
                 iifname \"wan0\" meta l4proto udp ct state new drop\n\
               }}\n\
             }}\n"
        ));
        self.router.run("conntrack -F");
    }

    fn server_endpoint(&self) -> &str {
        match self.over_ipv6 {
            false => "192.0.2.2:51820",
            true => "[2001:db8::2]:51820",
        }
    }

    fn outside(&self, port: u16) -> String {
        match self.over_ipv6 {
            false => format!("192.0.2.254:{port}"),
            true => format!("[2001:db8::fe]:{port}"),
        }
    }
}

fn nat_is_followed(client: Kind, server: Kind, over_ipv6: bool) {
    if !ready(&["wg", "wireguard-go", "nft", "conntrack"]) {
        return;
    }
    let nat = Nat::new(over_ipv6);
    let (_first, second, keys) = start(
        (client, &nat.client),
        (server, &nat.server),
        nat.server_endpoint(),
        None,
    );
    second.expect_endpoint(&keys.one, &nat.outside(4001));
    let client_address = [10, 99, 0, 1].into();
    let patience = Duration::from_secs(1);
    assert!(nat.server.ping_once(client_address, patience).is_ok());

    // Without keepalives the NAT forgets the client...
    std::thread::sleep(Duration::from_secs(3));
    let lost = nat.server.ping_once(client_address, patience);
    assert!(lost.is_err(), "the NAT lets through what it must not");
    // ...and gives it another port when it speaks again.
    nat.map_to(4002);
    nat.client.ping("10.99.0.2");
    second.expect_endpoint(&keys.one, &nat.outside(4002));
    assert!(nat.server.ping_once(client_address, patience).is_ok());
}

fn keepalive_keeps_nat_open(client: Kind, server: Kind, over_ipv6: bool) {
    if !ready(&["wg", "wireguard-go", "nft", "conntrack"]) {
        return;
    }
    let nat = Nat::new(over_ipv6);
    let (_first, second, keys) = start(
        (client, &nat.client),
        (server, &nat.server),
        nat.server_endpoint(),
        Some(1),
    );
    second.expect_endpoint(&keys.one, &nat.outside(4001));
    std::thread::sleep(Duration::from_secs(5));
    let found = nat
        .server
        .ping_once([10, 99, 0, 1].into(), Duration::from_secs(1));
    assert!(found.is_ok(), "{found:?}");

    // A NAT that was restarted: the next keepalive says where the client is now.
    nat.map_to(4002);
    second.expect_endpoint(&keys.one, &nat.outside(4002));
}

#[test]
fn p81_weapon_behind_a_nat_is_followed() {
    nat_is_followed(Kind::Weapon, Kind::WireguardGo, false);
}

#[test]
fn p81_weapon_follows_a_client_behind_a_nat() {
    nat_is_followed(Kind::WireguardGo, Kind::Weapon, true);
}

#[test]
fn p81_weapon_follows_weapon_behind_a_nat() {
    nat_is_followed(Kind::Weapon, Kind::Weapon, false);
}

#[test]
fn p81_keepalives_of_weapon_keep_a_nat_open() {
    keepalive_keeps_nat_open(Kind::Weapon, Kind::WireguardGo, false);
}

#[test]
fn p81_keepalives_reach_weapon_through_a_nat() {
    keepalive_keeps_nat_open(Kind::WireguardGo, Kind::Weapon, true);
}
