//! A soak: ten peers under constant change. Nothing grows, and no packet is lost that the wire did
//! not lose.
//!
//! All of them are `weapon-wg`. The hub's peers come and go, are given keys and networks, are
//! synchronised and listed, and the real ones change their addresses, while each is pinged without
//! a pause worth the name. `cargo xtask soak` runs it for an hour.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::rc::Rc;
use std::time::{Duration, Instant};

use weapon_netns::plan::{introduce, preshared_key, private_key};
use weapon_netns::traffic::Pings;
use weapon_netns::{Home, Host, Plan, WeaponWg, link, ready};

/// How long, in seconds, and where another time is said.
const SECONDS: u64 = 20;
const SECONDS_VARIABLE: &str = "WEAPON_SOAK_SECONDS";

const PEERS: usize = 10;

/// Peers that come and go, at most so many at a time.
const STRANGERS_MAX: usize = 50;

/// Memory that a gateway may have more at the end than when it was warm. Its allocator does not
/// give back what churn has made it take, so the beginning is not counted.
const GROWTH_KB_MAX: u64 = 1024;

/// What a gateway has.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    memory_kb: u64,
    files: usize,
    threads: usize,
}

impl Use {
    fn of(gateway: &mut WeaponWg) -> Self {
        let all = gateway.process().all_ids();
        all.into_iter()
            .map(Self::of_process)
            .fold(Self::default(), Self::and)
    }

    fn and(self, other: Self) -> Self {
        Self {
            memory_kb: self.memory_kb + other.memory_kb,
            files: self.files + other.files,
            threads: self.threads + other.threads,
        }
    }

    fn of_process(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let number = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let word = line.unwrap().split_whitespace().next().unwrap();
            word.parse().unwrap()
        };
        Self {
            memory_kb: number("VmRSS:"),
            files: fs::read_dir(format!("/proc/{process}/fd")).unwrap().count(),
            threads: usize::try_from(number("Threads:")).unwrap(),
        }
    }

    /// The most of each.
    fn max(self, other: Self) -> Self {
        Self {
            memory_kb: self.memory_kb.max(other.memory_kb),
            files: self.files.max(other.files),
            threads: self.threads.max(other.threads),
        }
    }
}

/// Numbers that look random and are the same each time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

/// A peer and its host.
struct Peer {
    host: Host,
    plan: Plan,
    gateway: WeaponWg,
    number: usize,
    /// Which of its two addresses it sends from.
    address: usize,
}

struct Soak {
    hub: Host,
    plan: Plan,
    gateway: WeaponWg,
    peers: Vec<Peer>,
    strangers: Vec<String>,
    dice: Dice,
}

#[track_caller]
fn set_up(host: &Host, gateway: &WeaponWg, plan: &Plan) {
    gateway.wg_file("setconf", &plan.wg_conf());
    gateway.ip(host, &format!("address add {} dev IF", plan.addresses[0]));
    gateway.ip(host, "link set IF up");
}

impl Soak {
    #[track_caller]
    fn new(home: &Rc<Home>) -> Self {
        let hub = Host::new("hub");
        let mut plan = Plan::new("hub", &["10.99.0.254/24"]);
        let mut peers = Vec::new();
        for number in 1..=PEERS {
            let host = Host::new(&format!("peer-{number}"));
            let [here, there, also] = [1, 2, 3].map(|end| format!("198.18.{number}.{end}/24"));
            link(
                (&hub, &format!("eth{number}"), &[&here]),
                (&host, "eth0", &[&there, &also]),
            );
            let own = format!("10.99.0.{number}");
            let mut its = Plan::new(&format!("peer-{number}"), &[&format!("{own}/24")]);
            introduce(
                (&mut plan, &["10.99.0.254/32"]),
                (&mut its, &[&format!("{own}/32")]),
                Some(&preshared_key()),
            );
            its.peers[0].endpoint = Some(format!("198.18.{number}.1:51820"));
            let gateway = WeaponWg::start(&host, home);
            set_up(&host, &gateway, &its);
            peers.push(Peer {
                host,
                plan: its,
                gateway,
                number,
                address: 2,
            });
        }
        let gateway = WeaponWg::start(&hub, home);
        set_up(&hub, &gateway, &plan);
        for peer in &peers {
            peer.host.ping("10.99.0.254");
        }
        Self {
            hub,
            plan,
            gateway,
            peers,
            strangers: Vec::new(),
            dice: Dice(4711),
        }
    }

    /// One change.
    #[track_caller]
    fn step(&mut self) {
        let which = self.dice.below(PEERS);
        let key = self.peers[which].plan.private_key.public();
        match self.dice.below(8) {
            0 | 1 => self.stranger_comes(),
            2 => self.stranger_goes(),
            3 => {
                let seconds = self.dice.below(30);
                self.gateway
                    .wg("set", &format!("peer {key} persistent-keepalive {seconds}"));
            }
            4 => {
                let (own, more) = (which + 1, self.dice.below(256));
                let networks = format!("10.99.0.{own}/32,10.50.{more}.0/24");
                self.gateway
                    .wg("set", &format!("peer {key} allowed-ips {networks}"));
            }
            5 => self.roam(which),
            6 => {
                self.gateway.wg_file("syncconf", &self.plan.wg_conf());
                self.strangers.clear();
            }
            _ => drop(self.gateway.wg("show", "dump")),
        }
    }

    #[track_caller]
    fn stranger_comes(&mut self) {
        if self.strangers.len() >= STRANGERS_MAX {
            return self.stranger_goes();
        }
        let key = private_key().public().to_string();
        let network = self.dice.below(256);
        // Nobody is there, and nothing is sent there: they have no traffic.
        self.gateway.wg(
            "set",
            &format!("peer {key} endpoint 198.18.1.2:9 allowed-ips 10.60.{network}.0/24"),
        );
        self.strangers.push(key);
    }

    #[track_caller]
    fn stranger_goes(&mut self) {
        if self.strangers.is_empty() {
            return;
        }
        let key = self
            .strangers
            .swap_remove(self.dice.below(self.strangers.len()));
        self.gateway.wg("set", &format!("peer {key} remove"));
    }

    /// The peer sends from its other address from here on. It keeps both, so that what is on its
    /// way to the first arrives.
    #[track_caller]
    fn roam(&mut self, which: usize) {
        let peer = &mut self.peers[which];
        let number = peer.number;
        peer.address = 5 - peer.address;
        peer.host.run(&format!(
            "ip route replace 198.18.{number}.0/24 dev eth0 src 198.18.{number}.{}",
            peer.address
        ));
        let hub = self.plan.private_key.public();
        // An endpoint that is set forgets the source (P80).
        peer.gateway.wg(
            "set",
            &format!("peer {hub} endpoint 198.18.{number}.1:51820"),
        );
    }

    /// The most that any of the gateways has, the hub's apart.
    fn uses(&mut self) -> (Use, Use) {
        let peers = self.peers.iter_mut().map(|peer| Use::of(&mut peer.gateway));
        let peers = peers.fold(Use::default(), Use::max);
        (Use::of(&mut self.gateway), peers)
    }
}

#[test]
fn nothing_grows_and_nothing_is_lost() {
    if !ready(&["wg"]) {
        return;
    }
    let seconds = std::env::var(SECONDS_VARIABLE).map_or(SECONDS, |text| text.parse().unwrap());
    let home = Home::new();
    let mut soak = Soak::new(&home);
    let pause = Duration::from_millis(50);
    let pings: Vec<_> = soak
        .peers
        .iter()
        .flat_map(|peer| {
            let address = format!("10.99.0.{}", peer.number);
            [
                Pings::start(&soak.hub, &address, pause),
                Pings::start(&peer.host, "10.99.0.254", pause),
            ]
        })
        .collect();
    let (began, all) = (Instant::now(), Duration::from_secs(seconds));
    let mut warm = None;
    let mut next_report = Duration::from_secs(60);
    let mut steps = 0_u32;
    while began.elapsed() < all {
        soak.step();
        steps += 1;
        if warm.is_none() && began.elapsed() > all / 4 {
            warm = Some(soak.uses());
        }
        if began.elapsed() > next_report {
            let (hub, peers) = soak.uses();
            eprintln!("after {:?}: hub {hub:?}, peers {peers:?}", began.elapsed());
            next_report += Duration::from_secs(300);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let warm = warm.unwrap();
    let end = soak.uses();
    let counts: Vec<_> = pings.into_iter().map(Pings::finish).collect();
    let sent: u32 = counts.iter().map(|count| count.sent).sum();
    let lost: Vec<_> = counts.iter().flat_map(|count| &count.lost).collect();
    eprintln!(
        "{seconds} s, {steps} changes, {sent} pings, {} lost\n\
         hub   {:?}\n   -> {:?}\npeers {:?}\n   -> {:?}",
        lost.len(),
        warm.0,
        end.0,
        warm.1,
        end.1
    );
    assert!(lost.is_empty(), "{lost:?}");
    for (before, after) in [(warm.0, end.0), (warm.1, end.1)] {
        assert!(after.memory_kb <= before.memory_kb + GROWTH_KB_MAX);
        // A client of the socket may just be there.
        assert!(after.files <= before.files + 1);
        assert_eq!(after.threads, before.threads);
    }
}
