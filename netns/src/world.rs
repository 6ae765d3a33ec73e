//! A laptop in a LAN, an exit, and the rest of the world: where a tunnel is the way to everywhere.

use std::net::IpAddr;

use crate::lab::{Host, link};
use crate::pair::Pair;
use crate::plan::{Plan, introduce};
use crate::said::Said;
use crate::traffic::source_seen;
use crate::weapon::{Home, Weapon};

/// Where everything goes that has no way of its own.
const EVERYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// What comes to the router from the laptop: its tunnel, its answers to whom a test lets send to it
/// from outside, what a network needs to have it in it, and all else.
const COUNTERS: &str = "
table inet watch {
    counter tunnel { }
    counter answers { }
    counter clear { }
    chain from_laptop {
        type filter hook ingress device eth0 priority 0
        ip daddr 198.51.100.2 udp dport 51820 udp sport 51820 counter name tunnel accept
        ip daddr 203.0.113.9 counter name answers accept
        ip6 daddr 2001:db8:3::9 counter name answers accept
        ether type arp accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept
        ip6 daddr ff02::16 accept
        counter name clear
    }
}
";

/// A laptop on a LAN with a router, another host on that LAN, an exit, and the rest of the world.
///
/// ```text
///   laptop --- 192.168.1.0/24 --- router --- 198.51.100.0/24 --- exit
///   (neighbour in the same LAN)   router --- 203.0.113.0/24 --- web .5, admin .9
/// ```
#[derive(Debug)]
pub struct World {
    /// The gateways: `one` is the laptop, `other` the exit.
    pub pair: Pair,
    /// Between all of them.
    pub router: Host,
    /// The rest of the world.
    pub web: Host,
    /// Lines for the section `[gateway]` of the laptop.
    pub more: String,
}

impl World {
    /// All hosts and cables; no gateway runs yet.
    #[track_caller]
    pub fn new() -> Self {
        let (laptop, exit) = (Host::new("laptop"), Host::new("exit"));
        let (router, web) = (Host::router("router"), Host::new("web"));
        link(
            (&laptop, "eth0", &["192.168.1.10/24", "2001:db8:1::10/64"]),
            (&router, "eth0", &["192.168.1.1/24", "2001:db8:1::1/64"]),
        );
        link(
            (&exit, "eth0", &["198.51.100.2/24", "2001:db8:2::2/64"]),
            (&router, "eth1", &["198.51.100.1/24", "2001:db8:2::1/64"]),
        );
        let worlds = [
            "203.0.113.5/24",
            "203.0.113.9/24",
            "2001:db8:3::5/64",
            "2001:db8:3::9/64",
        ];
        link(
            (&web, "eth0", &worlds),
            (&router, "eth2", &["203.0.113.1/24", "2001:db8:3::1/64"]),
        );
        for (host, ipv4, ipv6) in [
            (&laptop, "192.168.1.1", "2001:db8:1::1"),
            (&exit, "198.51.100.1", "2001:db8:2::1"),
            (&web, "203.0.113.1", "2001:db8:3::1"),
        ] {
            host.run(&format!("ip route add default via {ipv4}"));
            host.run(&format!("ip -6 route add default via {ipv6}"));
        }
        router.nft(COUNTERS);
        let mut plan = Plan::new("one", &["10.99.0.1/24", "fd99::1/64"]);
        let mut other_plan = Plan::new("other", &["10.99.0.2/24", "fd99::2/64"]);
        introduce(
            (&mut plan, &["10.99.0.1/32", "fd99::1/128"]),
            (&mut other_plan, &EVERYWHERE),
            None,
        );
        plan.peers[0].endpoint = Some("198.51.100.2:51820".to_owned());
        let pair = Pair {
            home: Home::new(),
            one: laptop,
            other: exit,
            plan,
            other_plan,
        };
        Self {
            pair,
            router,
            web,
            more: String::new(),
        }
    }

    /// The file of the laptop.
    pub fn toml(&self) -> String {
        self.pair.plan.toml_with(&self.more)
    }

    /// Starts the laptop's gateway.
    #[track_caller]
    pub fn start(&self) -> Weapon {
        Weapon::start_with(&self.pair.one, &self.pair.home, "one.toml", &self.toml())
    }

    /// Starts the exit.
    #[track_caller]
    pub fn start_exit(&self) -> Weapon {
        let more = "networks = [\"0.0.0.0/0\", \"::/0\"]\nmasquerade = true";
        let text = self.pair.other_plan.toml_with(more);
        Weapon::start_with(&self.pair.other, &self.pair.home, "other.toml", &text)
    }

    /// `weapon WORDS` on the laptop.
    #[track_caller]
    pub fn weapon(&self, words: &[&str]) -> Said {
        self.pair.weapon(words)
    }

    /// Packets that left the laptop in clear, and answer nobody from outside.
    #[track_caller]
    pub fn clear(&self) -> u64 {
        self.router.nft_counter("watch", "clear")
    }

    /// The web is reached, and sees the exit.
    #[track_caller]
    pub fn assert_goes_by_the_exit(&self) {
        for (web, exit) in [
            ("203.0.113.5", "198.51.100.2"),
            ("2001:db8:3::5", "2001:db8:2::2"),
        ] {
            let seen = source_seen(&self.pair.one, &self.web, web);
            assert_eq!(seen, exit.parse::<IpAddr>().expect("an address"));
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
