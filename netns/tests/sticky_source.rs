//! P79: a gateway answers from the address that it was addressed by, for as long as that is right.
//! The ten steps are those that WireGuard's own test of the kernel module takes.

use std::rc::Rc;

use weapon_netns::daemon::Daemon;
use weapon_netns::plan::introduce;
use weapon_netns::{Gateway, Home, Host, Kind, Plan, Weapon, link, ready};

/// weapon on a host with several addresses, and a wireguard-go that asks it.
struct Lab {
    weapon_host: Host,
    asking_host: Host,
    home: Rc<Home>,
    plan: Plan,
    asking_plan: Plan,
}

impl Lab {
    fn new(weapon_addresses: &[&str], asking_addresses: &[&str]) -> Self {
        let (weapon_host, asking_host) = (Host::new("weapon"), Host::new("asking"));
        link(
            (&weapon_host, "eth0", weapon_addresses),
            (&asking_host, "eth0", asking_addresses),
        );
        weapon_host.sysctl("net.ipv4.conf.eth0.promote_secondaries", "1");
        let mut plan = Plan::new("weapon", &["10.99.0.1/24"]);
        let mut asking_plan = Plan::new("asking", &["10.99.0.2/24"]);
        introduce(
            (&mut plan, &["10.99.0.1/32"]),
            (&mut asking_plan, &["10.99.0.2/32"]),
            None,
        );
        Self {
            weapon_host,
            asking_host,
            home: Home::new(),
            plan,
            asking_plan,
        }
    }

    fn weapon_key(&self) -> String {
        self.plan.private_key.public().to_string()
    }

    fn start(&self) -> (Weapon, Daemon) {
        let Gateway::Daemon(asking) = Gateway::start(
            Kind::WireguardGo,
            &self.asking_host,
            &self.home,
            &self.asking_plan,
        ) else {
            unreachable!("started as such");
        };
        let weapon = Weapon::start_with(
            &self.weapon_host,
            &self.home,
            "weapon.toml",
            &self.plan.toml(),
        );
        (weapon, asking)
    }

    /// The other side speaks to weapon at `endpoint`; its answer must come from there.
    #[track_caller]
    fn ask(&self, asking: &Daemon, endpoint: &str) {
        let key = self.weapon_key();
        asking.wg("set", &["peer", &key, "endpoint", endpoint]);
        self.asking_host.ping("10.99.0.1");
        assert_eq!(asking.show("endpoints", &key), endpoint);
    }
}

#[test]
fn p79_answers_come_from_the_address_that_was_addressed() {
    if !ready(&["wg", "wireguard-go"]) {
        return;
    }
    let lab = Lab::new(
        &[
            "192.0.2.1/24",
            "192.0.2.11/24",
            "2001:db8::1/64",
            "2001:db8::11/64",
        ],
        &["192.0.2.2/24", "2001:db8::2/64"],
    );
    let (_weapon, asking) = lab.start();
    // Steps 1 to 4: both addresses of both families, in turn, within one session.
    for endpoint in [
        "192.0.2.1:51820",
        "[2001:db8::1]:51820",
        "192.0.2.11:51820",
        "[2001:db8::11]:51820",
        "192.0.2.1:51820",
    ] {
        lab.ask(&asking, endpoint);
    }
    // Steps 5 and 6: an address of another interface than the one that the answer leaves by.
    let addresses = ["198.51.100.1/24", "2001:db8:1::1/64"];
    lab.weapon_host
        .run("ip link add inner0 type veth peer name inner1");
    for address in addresses {
        let once = if address.contains(':') { "nodad" } else { "" };
        lab.weapon_host
            .run(&format!("ip address add {address} dev inner0 {once}"));
    }
    lab.weapon_host.run("ip link set inner0 up");
    lab.weapon_host.run("ip link set inner1 up");
    lab.asking_host.run("ip route add 198.51.100.0/24 dev eth0");
    lab.asking_host
        .run("ip -6 route add 2001:db8:1::/64 via 2001:db8::1 dev eth0");
    lab.weapon_host.sysctl("net.ipv6.conf.all.forwarding", "1");
    lab.ask(&asking, "198.51.100.1:51820");
    lab.ask(&asking, "[2001:db8:1::1]:51820");
}

fn removed_address_is_not_used(old: &str, new: &str, endpoint_of: fn(&str) -> String) {
    if !ready(&["wg", "wireguard-go"]) {
        return;
    }
    let length = if old.contains(':') { 64 } else { 24 };
    let (old_net, new_net) = (format!("{old}/{length}"), format!("{new}/{length}"));
    let mut lab = Lab::new(&[&old_net], &["192.0.2.2/24", "2001:db8::2/64"]);
    let there = if old.contains(':') {
        "[2001:db8::2]:51820"
    } else {
        "192.0.2.2:51820"
    };
    lab.plan.peers[0].endpoint = Some(there.to_owned());
    let (_weapon, asking) = lab.start();
    lab.weapon_host.ping("10.99.0.2");
    let key = lab.weapon_key();
    assert_eq!(asking.show("endpoints", &key), endpoint_of(old));

    let once = if new.contains(':') { "nodad" } else { "" };
    lab.weapon_host
        .run(&format!("ip address add {new_net} dev eth0 {once}"));
    lab.weapon_host
        .run(&format!("ip address del {old_net} dev eth0"));
    // The first packet already: it is sent again without the address that is no more.
    let found = lab
        .weapon_host
        .ping_once([10, 99, 0, 2].into(), std::time::Duration::from_secs(2));
    assert!(found.is_ok(), "{found:?}");
    assert_eq!(asking.show("endpoints", &key), endpoint_of(new));
}

/// Step 7.
#[test]
fn p79_a_removed_ipv4_address_is_not_used() {
    removed_address_is_not_used("192.0.2.1", "192.0.2.11", |ip| format!("{ip}:51820"));
}

/// Step 8.
#[test]
fn p79_a_removed_ipv6_address_is_not_used() {
    removed_address_is_not_used("2001:db8::1", "2001:db8::11", |ip| format!("[{ip}]:51820"));
}

/// Steps 9 and 10: a better route by another interface, with another source, takes over.
#[test]
fn p79_a_better_route_is_taken() {
    if !ready(&["wg", "wireguard-go"]) {
        return;
    }
    let mut lab = Lab::new(&["192.0.2.1/32"], &["192.0.2.2/24"]);
    link(
        (&lab.weapon_host, "eth1", &["192.0.2.3/32"]),
        (&lab.asking_host, "eth1", &[]),
    );
    for interface in ["all", "eth0", "eth1"] {
        for host in [&lab.weapon_host, &lab.asking_host] {
            host.sysctl(&format!("net.ipv4.conf.{interface}.rp_filter"), "0");
        }
    }
    lab.weapon_host
        .run("ip route add 192.0.2.0/24 dev eth0 src 192.0.2.1 metric 2");
    lab.plan.peers[0].endpoint = Some("192.0.2.2:51820".to_owned());
    let (_weapon, asking) = lab.start();
    let key = lab.weapon_key();
    lab.weapon_host.ping("10.99.0.2");
    assert_eq!(asking.show("endpoints", &key), "192.0.2.1:51820");

    lab.weapon_host
        .run("ip route add 192.0.2.0/24 dev eth1 src 192.0.2.3 metric 1");
    lab.weapon_host.ping("10.99.0.2");
    let moved = weapon_netns::until(
        "the better route is taken",
        std::time::Duration::from_secs(5),
        || {
            lab.weapon_host.ping("10.99.0.2");
            let endpoint = asking.show("endpoints", &key);
            (endpoint != "192.0.2.1:51820").then_some(endpoint)
        },
    );
    assert_eq!(moved, "192.0.2.3:51820");
}
