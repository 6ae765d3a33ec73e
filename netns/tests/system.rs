//! What is set on the system for what lies behind a gateway: it links the sites, it is set again
//! when somebody takes it away, it comes to terms with the rules of others, and when it is undone
//! nothing is left of it, also after kill -9.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use weapon_netns::traffic::{source_seen, transfer};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Footprint, Host, Pair, Said, Weapon, link, ready, until};

const PROGRAMS: [&str; 3] = ["nft", "iptables", "ip6tables"];

/// A pair of gateways, each with a host behind it that knows nothing of the tunnel.
///
/// ```text
///   near 10.1.0.2 --- eth1 one === tunnel === other eth1 --- 10.2.0.2 far
/// ```
struct Sites {
    pair: Pair,
    near: Host,
    far: Host,
    /// Lines for the section `[gateway]` of `one`.
    more: String,
}

impl Sites {
    #[track_caller]
    fn new() -> Self {
        let mut pair = Pair::new();
        let near = lan(&pair.one, "near", "eth1", "10.1.0", "fd01");
        let far = lan(&pair.other, "far", "eth1", "10.2.0", "fd02");
        let behind = |networks: &mut Vec<String>, more: [&str; 2]| {
            networks.extend(more.map(str::to_owned));
        };
        behind(
            &mut pair.plan.peers[0].networks,
            ["10.2.0.0/24", "fd02::/64"],
        );
        behind(
            &mut pair.other_plan.peers[0].networks,
            ["10.1.0.0/24", "fd01::/64"],
        );
        Self {
            pair,
            near,
            far,
            more: "networks = [\"10.1.0.0/24\"]".to_owned(),
        }
    }

    fn toml(&self) -> String {
        self.pair.plan.toml_with(&self.more)
    }

    #[track_caller]
    fn start(&self) -> Weapon {
        Weapon::start_with(&self.pair.one, &self.pair.home, "one.toml", &self.toml())
    }

    #[track_caller]
    fn start_other(&self) -> Weapon {
        let more = "networks = [\"lan:eth1\"]";
        let text = self.pair.other_plan.toml_with(more);
        Weapon::start_with(&self.pair.other, &self.pair.home, "other.toml", &text)
    }

    /// Both ways, with the true addresses.
    #[track_caller]
    fn assert_linked(&self) {
        self.near.ping("10.2.0.2");
        self.far.ping("10.1.0.2");
        assert_eq!(
            source_seen(&self.near, &self.far, "10.2.0.2"),
            ip("10.1.0.2")
        );
        assert_eq!(
            source_seen(&self.far, &self.near, "10.1.0.2"),
            ip("10.2.0.2")
        );
    }

    /// `weapon WORDS` on the host of `one`: its exit code, and all that it said.
    #[track_caller]
    fn weapon(&self, words: &[&str]) -> (i32, String) {
        let said = self.pair.weapon(words);
        (said.code, said.out + &said.error)
    }

    #[track_caller]
    fn system(&self) -> Value {
        let (code, said) = self.weapon(&["status", "one", "--system", "--json"]);
        assert_eq!(code, 0, "{said}");
        serde_json::from_str(&said).expect("JSON")
    }
}

/// A host on a LAN of its own at `gateway`, with its default route there.
#[track_caller]
fn lan(gateway: &Host, name: &str, interface: &str, ipv4: &str, ipv6: &str) -> Host {
    let host = Host::new(name);
    let (ours, theirs) = (format!("{ipv4}.1/24"), format!("{ipv4}.2/24"));
    let (ours6, theirs6) = (format!("{ipv6}::1/64"), format!("{ipv6}::2/64"));
    link(
        (gateway, interface, &[&ours, &ours6]),
        (&host, "eth0", &[&theirs, &theirs6]),
    );
    host.run(&format!("ip route add default via {ipv4}.1"));
    host.run(&format!("ip route add default via {ipv6}::1"));
    host
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[track_caller]
fn parameter(host: &Host, path: &str) -> String {
    let path = format!("/proc/sys/net/{path}");
    let text = host.enter(|| fs::read_to_string(&path).expect("a parameter"));
    text.trim().to_owned()
}

/// How many packets the rule that drops has seen in this chain of the gateway `one`.
#[track_caller]
fn dropped(host: &Host, chain: &str) -> u64 {
    let text = host.run(&format!("nft list chain inet weapon-w-one {chain}"));
    let count = text.split("counter packets ").nth(1);
    let count = count.and_then(|rest| rest.split(' ').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("no counter in {text}"))
}

#[test]
fn sites_are_linked_and_all_is_undone() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let Pair {
        one, other, home, ..
    } = &sites.pair;
    let before = (Footprint::of(one), Footprint::of(other));
    let (b, a) = (sites.start_other(), sites.start());
    sites.assert_linked();
    // Forwarding is switched on where it is needed, and nowhere else.
    assert_eq!(parameter(one, "ipv4/ip_forward"), "0");
    for (interface, value) in [("eth1", "1"), ("w-one", "1"), ("eth0", "0")] {
        let now = parameter(one, &format!("ipv4/conf/{interface}/forwarding"));
        assert_eq!(now, value, "{interface}");
    }
    // All of it is listed, and there.
    let system = sites.system();
    let steps = system["steps"].as_array().expect("a list");
    let kinds: BTreeSet<&str> = steps.iter().filter_map(|it| it["kind"].as_str()).collect();
    let expected = [
        "address",
        "forwarding",
        "interface",
        "mtu",
        "route",
        "table",
    ];
    assert_eq!(kinds, expected.into());
    for step in steps {
        assert_eq!(step["there"], true, "{step}");
    }
    assert!(home.runtime().join("system.journal").exists());
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(b.stop().code(), Some(0));
    assert_eq!((Footprint::of(one), Footprint::of(other)), before);
    assert!(!home.runtime().join("system.journal").exists());
}

/// The hosts of both LANs know nothing of the gateway but that it is their router.
#[test]
fn two_lans_are_linked_and_all_is_undone() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    sites.more = "networks = [\"lan:eth1\"]".to_owned();
    let (one, other) = (sites.pair.one.again(), sites.pair.other.again());
    let before = [Footprint::of(&one), Footprint::of(&other)];
    let (b, a) = (sites.start_other(), sites.start());
    sites.assert_linked();
    transfer(&sites.near, &sites.far, "10.2.0.2", 100_000_000);
    one.run("nft flush ruleset");
    sites.assert_linked();
    for gateway in [a, b] {
        assert_eq!(gateway.stop().code(), Some(0));
    }
    assert_eq!([Footprint::of(&one), Footprint::of(&other)], before);
}

#[test]
fn ipv6_is_forwarded_only_where_it_is_wanted() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    sites.more = "networks = [\"10.1.0.0/24\", \"fd01::/64\"]".to_owned();
    let before = Footprint::of(&sites.pair.one);
    let (_b, a) = (sites.start_other(), sites.start());
    sites.near.ping("fd02::2");
    assert_eq!(
        source_seen(&sites.near, &sites.far, "fd02::2"),
        ip("fd01::2")
    );
    assert_eq!(
        source_seen(&sites.far, &sites.near, "fd01::2"),
        ip("fd02::2")
    );
    let old_kernel = !Path::new("/proc/sys/net/ipv6/conf/lo/force_forwarding").exists();
    let all = parameter(&sites.pair.one, "ipv6/conf/all/forwarding");
    assert_eq!(all, if old_kernel { "1" } else { "0" });
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(Footprint::of(&sites.pair.one), before);
}

/// Segments fit through the tunnel in both directions, whichever side has asked.
#[test]
fn the_segments_of_both_sides_fit() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let (_b, _a) = (sites.start_other(), sites.start());
    sites.near.ping("10.2.0.2");
    for (client, server, address) in [
        (&sites.near, &sites.far, "10.2.0.2"),
        (&sites.far, &sites.near, "10.1.0.2"),
    ] {
        let address = SocketAddr::from((ip(address), 4321));
        let listener = server.enter(|| TcpListener::bind(address).expect("a port"));
        let stream = client.enter(|| TcpStream::connect(address).expect("a connection"));
        let (_accepted, _) = listener.accept().expect("the connection");
        for (host, filter) in [(client, "dport = :4321"), (server, "sport = :4321")] {
            let said = host.run(&format!("ss -H -t -i -n state established {filter}"));
            let mss = said
                .split(" mss:")
                .nth(1)
                .and_then(|it| it.split(' ').next());
            let mss: u32 = mss.and_then(|it| it.parse().ok()).expect("an MSS");
            // An Ethernet's would be 1448, with the bytes of the time stamps.
            assert!(mss <= 1420 - 40, "{}: {said}", host.name);
        }
        drop(stream);
    }
}

#[test]
fn nothing_else_is_for_peers() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    let third = lan(&sites.pair.one, "third", "eth2", "10.3.0", "fd03");
    let networks = &mut sites.pair.other_plan.peers[0].networks;
    networks.push("10.3.0.0/24".to_owned());
    let (_b, _a) = (sites.start_other(), sites.start());
    sites.assert_linked();
    let one = &sites.pair.one;
    assert_eq!(
        (dropped(one, "from_tunnel"), dropped(one, "to_tunnel")),
        (0, 0)
    );
    let short = Duration::from_millis(200);
    // The interface of the third would forward: it is the rule that forbids.
    one.sysctl("net.ipv4.conf.eth2.forwarding", "1");
    until("what peers send to others is dropped", PATIENCE, || {
        assert!(sites.far.ping_once(ip("10.3.0.2"), short).is_err());
        (dropped(one, "from_tunnel") > 0).then_some(())
    });
    until("what others send to peers is dropped", PATIENCE, || {
        assert!(third.ping_once(ip("10.2.0.2"), short).is_err());
        (dropped(one, "to_tunnel") > 0).then_some(())
    });
    // The host itself is not forwarded, and is reached as before.
    one.ping("10.99.0.2");
    sites.far.ping("10.1.0.1");
}

#[test]
fn what_a_killed_gateway_has_left_is_undone() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let Pair { one, home, .. } = &sites.pair;
    docker(one);
    let before = Footprint::of(one);
    let _b = sites.start_other();
    let kill = || {
        let mut a = sites.start();
        sites.near.ping("10.2.0.2");
        a.process().signal(Signal::KILL);
        a.process().wait(PATIENCE);
        let left = one.run("nft list tables") + &one.run("iptables-save");
        assert!(
            left.contains("weapon-w-one") && left.contains("weapon w-one:"),
            "{left}"
        );
        assert_eq!(parameter(one, "ipv4/conf/eth1/forwarding"), "1");
    };
    // By the next gateway of this name.
    kill();
    let a = sites.start();
    assert!(a.log().contains("were found and undone"), "{}", a.log());
    sites.assert_linked();
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(Footprint::of(one), before);
    // By `weapon down`.
    kill();
    let (code, said) = sites.weapon(&["down", "one"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("is undone"), "{said}");
    assert_eq!(Footprint::of(one), before);
    let (code, said) = sites.weapon(&["down", "one"]);
    assert_eq!(
        (code, said.contains("no running gateway")),
        (1, true),
        "{said}"
    );
    // By a gateway of another name, which wants nothing for itself.
    kill();
    let text = sites.pair.plan.toml().replace("\"one\"", "\"two\"");
    let two = Weapon::start_with(one, home, "two.toml", &text);
    assert_eq!(
        Footprint::of(one).text().matches("weapon w-one:").count(),
        0
    );
    assert_eq!(two.stop().code(), Some(0));
    assert_eq!(Footprint::of(one), before);
}

#[test]
fn rules_that_are_flushed_are_set_again() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let one = &sites.pair.one;
    docker(one);
    let (_b, a) = (sites.start_other(), sites.start());
    sites.assert_linked();
    let rules = || one.run("nft -s list table inet weapon-w-one");
    let (table, all) = (rules(), one.run("iptables-save -t filter"));
    let is_whole = || {
        let now = one.attempt("nft -s list table inet weapon-w-one");
        let filter = one.run("iptables-save -t filter");
        let ours = filter.matches("weapon w-one:").count();
        (now.as_ref() == Ok(&table) && ours == 2).then_some(())
    };
    assert_eq!(all.matches("weapon w-one:").count(), 2, "{all}");
    one.run("nft delete table inet weapon-w-one");
    until("the table is there again", PATIENCE, is_whole);
    one.run("nft flush chain inet weapon-w-one from_tunnel");
    until("the chain is whole again", PATIENCE, is_whole);
    one.run("iptables -F DOCKER-USER");
    until(
        "the rules in Docker's chain are there again",
        PATIENCE,
        is_whole,
    );
    // All of Docker's go, and come again, as when it is started anew.
    one.run("nft flush ruleset");
    docker(one);
    until("all is there again", PATIENCE, is_whole);
    sites.assert_linked();
    let log = a.log();
    let complaints = log.matches("WARN").count();
    let taken = log
        .matches("somebody has taken rules away; they are set again")
        .count();
    assert_eq!((taken, complaints), (1, 1), "{log}");
}

/// What Docker 28 has when a container runs on its bridge, which is `eth1` here.
#[track_caller]
fn docker(host: &Host) {
    for line in [
        "iptables -N DOCKER-USER",
        "iptables -A DOCKER-USER -j RETURN",
        "iptables -A FORWARD -j DOCKER-USER",
        "iptables -P FORWARD DROP",
        "iptables -A FORWARD -o eth1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "iptables -A FORWARD -i eth1 ! -o eth1 -j ACCEPT",
        "iptables -A FORWARD -o eth1 -j DROP",
        "iptables -t nat -A POSTROUTING -s 10.1.0.0/24 ! -o eth1 -j MASQUERADE",
        "iptables -t raw -A PREROUTING -d 10.1.0.2/32 ! -i eth1 -j DROP",
    ] {
        host.run(line);
    }
}

#[test]
fn docker_lets_pass_with_true_addresses() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let one = &sites.pair.one;
    docker(one);
    // Somebody else masquerades too.
    one.nft(
        "table ip other {\n chain post {\n type nat hook postrouting priority srcnat;\n \
         ip saddr 10.1.0.0/24 masquerade\n }\n}\n",
    );
    let before = Footprint::of(one);
    let (_b, a) = (sites.start_other(), sites.start());
    sites.assert_linked();
    // What a container that is started later gets.
    one.run("iptables -t raw -I PREROUTING -d 10.1.0.2/32 ! -i eth1 -j DROP");
    until("our rule is the first again", PATIENCE, || {
        let rules = one.run("iptables -t raw -S PREROUTING");
        rules
            .lines()
            .nth(1)?
            .contains("weapon w-one:")
            .then_some(())
    });
    sites.assert_linked();
    one.run("iptables -t raw -D PREROUTING -d 10.1.0.2/32 ! -i eth1 -j DROP");
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(Footprint::of(one), before);
}

/// The older kind of rules, of which the kernel tells nobody.
#[test]
fn rules_of_legacy_programs_are_looked_after_too() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let one = &sites.pair.one;
    if one.attempt("iptables-legacy -N DOCKER-USER").is_err() {
        println!("skipped: this kernel has no rules of the older kind");
        return;
    }
    for line in [
        "iptables-legacy -P FORWARD DROP",
        "iptables-legacy -A FORWARD -j DOCKER-USER",
        "iptables-legacy -t nat -A POSTROUTING -s 10.1.0.0/24 ! -o eth1 -j MASQUERADE",
    ] {
        one.run(line);
    }
    let saved = || one.run("iptables-legacy-save -t filter");
    let rules = || {
        let text = saved();
        let lines = text.lines().filter(|line| line.starts_with("-A"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = (Footprint::of(one), rules());
    let (_b, a) = (sites.start_other(), sites.start());
    sites.assert_linked();
    let whole = rules();
    assert_eq!(whole.len(), 3, "{whole:?}");
    one.run("iptables-legacy -F DOCKER-USER");
    until("the rules are there again", PATIENCE, || {
        (rules() == whole).then_some(())
    });
    sites.assert_linked();
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!((Footprint::of(one), rules()), before);
}

#[test]
fn a_new_name_of_the_interface_is_followed() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let one = &sites.pair.one;
    docker(one);
    let before = Footprint::of(one);
    let (_b, a) = (sites.start_other(), sites.start());
    sites.assert_linked();
    one.run("ip link set w-one name w-new");
    until("the rules have its name", PATIENCE, || {
        let tables = one.run("nft list tables");
        let rules = one.run("iptables-save");
        let has = |what: &str| {
            tables.contains(&format!("weapon-{what}")) as usize
                + rules.matches(&format!("weapon {what}:")).count()
        };
        ((has("w-one"), has("w-new")) == (0, 4)).then_some(())
    });
    sites.assert_linked();
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(Footprint::of(one), before);
}

#[test]
fn ufw_lets_pass() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    sites.pair.other_plan.peers[0].endpoint = Some("192.0.2.1:51820".to_owned());
    let one = &sites.pair.one;
    for (program, ufw) in [("iptables", "ufw"), ("ip6tables", "ufw6")] {
        for (hook, policy) in [("FORWARD", "forward"), ("INPUT", "input")] {
            let chain = format!("{ufw}-user-{policy}");
            one.run(&format!("{program} -N {chain}"));
            one.run(&format!("{program} -A {hook} -j {chain}"));
            one.run(&format!("{program} -P {hook} DROP"));
        }
    }
    let before = Footprint::of(one);
    let (b, a) = (sites.start_other(), sites.start());
    // The other begins: to our port, and to a host behind us.
    sites.far.ping("10.1.0.2");
    sites.assert_linked();
    assert_eq!(sites.system()["warnings"].as_array().map(Vec::len), Some(0));
    assert_eq!(a.stop().code(), Some(0));
    drop(b);
    assert_eq!(Footprint::of(one), before);
}

#[test]
fn two_gateways_on_one_host_do_not_disturb_each_other() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    let before = Footprint::of(&sites.pair.one);
    let (_b, a) = (sites.start_other(), sites.start());
    let first = sites.pair.plan.toml();
    let plan = &mut sites.pair.plan;
    plan.name = "two".to_owned();
    plan.interface = "w-two".to_owned();
    plan.listen = 51_821;
    plan.addresses = vec!["10.98.0.1/24".to_owned()];
    plan.peers[0].networks = vec!["10.50.0.0/24".to_owned()];
    let text = plan.toml_with("networks = [\"10.1.0.0/24\"]");
    assert_ne!(first, text);
    let one = &sites.pair.one;
    let two = Weapon::start_with(one, &sites.pair.home, "two.toml", &text);
    sites.assert_linked();
    let tables = one.run("nft list tables");
    assert!(
        tables.contains("weapon-w-one") && tables.contains("weapon-w-two"),
        "{tables}"
    );
    // The first that came goes first: the other still needs the forwarding.
    assert_eq!(a.stop().code(), Some(0));
    let tables = one.run("nft list tables");
    assert!(
        !tables.contains("weapon-w-one") && tables.contains("weapon-w-two"),
        "{tables}"
    );
    assert_eq!(parameter(one, "ipv4/conf/eth1/forwarding"), "1");
    assert_eq!(two.stop().code(), Some(0));
    assert_eq!(Footprint::of(one), before);
}

#[test]
fn what_somebody_else_has_changed_stays() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let one = &sites.pair.one;
    let a = sites.start();
    one.sysctl("net.ipv4.conf.eth1.forwarding", "0");
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(parameter(one, "ipv4/conf/eth1/forwarding"), "0");
    // An interface that is gone needs nothing back.
    let a = sites.start();
    one.run("ip link del eth1");
    assert_eq!(a.stop().code(), Some(0));
}

#[test]
fn a_masquerade_is_for_sites_that_have_no_route_back() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    sites.more.push_str("\nmasquerade = true");
    sites.near.run("ip route del default");
    let before = Footprint::of(&sites.pair.one);
    let (_b, a) = (sites.start_other(), sites.start());
    // The other does not know where to find us.
    sites.pair.one.ping("10.99.0.2");
    sites.far.ping("10.1.0.2");
    assert_eq!(
        source_seen(&sites.far, &sites.near, "10.1.0.2"),
        ip("10.1.0.1")
    );
    // A reload takes it back, and without a firewall nothing is left.
    sites.near.run("ip route add default via 10.1.0.1");
    let without = sites.toml().replace("masquerade = true\n", "");
    sites.pair.home.write("one.toml", &without);
    assert_eq!(sites.weapon(&["reload", "one.toml"]).0, 0);
    assert_eq!(
        source_seen(&sites.far, &sites.near, "10.1.0.2"),
        ip("10.2.0.2")
    );
    let off = sites
        .toml()
        .replace("masquerade = true\n", "firewall = \"off\"\n");
    sites.pair.home.write("one.toml", &off);
    assert_eq!(sites.weapon(&["reload", "one.toml"]).0, 0);
    let rules = sites.pair.one.run("nft list ruleset");
    assert!(!rules.contains("weapon"), "{rules}");
    assert_eq!(parameter(&sites.pair.one, "ipv4/conf/eth1/forwarding"), "0");
    // And set again by a reload, to be undone by a stop.
    sites.pair.home.write("one.toml", &without);
    assert_eq!(sites.weapon(&["reload", "one.toml"]).0, 0);
    sites.assert_linked();
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(Footprint::of(&sites.pair.one), before);
}

#[test]
fn a_reload_that_fails_changes_no_rules() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    let a = sites.start();
    let before = Footprint::of(&sites.pair.one);
    let taken = sites
        .pair
        .one
        .enter(|| UdpSocket::bind("0.0.0.0:51999").expect("a port"));
    sites.pair.plan.listen = 51_999;
    sites.more.push_str("\nmasquerade = true");
    sites.pair.home.write("one.toml", &sites.toml());
    let (code, said) = sites.weapon(&["reload", "one.toml"]);
    assert_eq!((code, said.contains("in use")), (1, true), "{said}");
    assert_eq!(Footprint::of(&sites.pair.one), before);
    drop((taken, a));
}

#[test]
fn a_plan_changes_nothing_and_says_all() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    let one = &sites.pair.one;
    docker(one);
    // The peer says it has the LAN that we are in ourselves.
    let lan = lan_of(&mut sites.pair);
    sites.pair.home.write("one.toml", &sites.toml());
    let one = &sites.pair.one;
    let before = Footprint::of(one);
    let (code, said) = sites.weapon(&["plan", "one.toml"]);
    assert_eq!(code, 0, "{said}");
    for words in [
        "interface w-one",
        "MTU 1420",
        "address 10.99.0.1/24",
        "route to 10.2.0.0/24",
        &format!("no route to {lan}: this host is itself in {lan}, on eth0"),
        "table inet weapon-w-one {",
        "maxseg size set rt mtu",
        "iptables -t filter -I DOCKER-USER -i w-one",
        "iptables -t raw -I PREROUTING -d 10.1.0.0/24 -i w-one",
        "net.ipv4.conf.eth1.forwarding = 1",
        "net.ipv4.conf.w-one.forwarding = 1",
    ] {
        assert!(said.contains(words), "{words:?} in {said}");
    }
    assert_eq!(Footprint::of(one), before);
    let (code, said) = sites.weapon(&["plan", "one.toml", "--json"]);
    assert_eq!(code, 0, "{said}");
    let plan: Value = serde_json::from_str(&said).expect("JSON");
    let planned: Vec<&Value> = plan["steps"].as_array().expect("a list").iter().collect();
    // What is planned is what is there afterwards, and it is the same list.
    let a = sites.start();
    let system = sites.system();
    let there = system["steps"].as_array().expect("a list");
    let text = |step: &Value| (step["kind"].clone(), step["text"].clone());
    assert_eq!(
        planned.iter().map(|it| text(it)).collect::<Vec<_>>(),
        there.iter().map(text).collect::<Vec<_>>()
    );
    assert!(there.iter().all(|it| it["there"] == true), "{system:#}");
    // What is taken away is said: not for long.
    one.run("ip route del 10.2.0.0/24 dev w-one");
    let (_, said) = sites.weapon(&["status", "one", "--system"]);
    assert!(said.contains("MISSING  route to 10.2.0.0/24"), "{said}");
    drop(a);
}

/// Gives the peer of `one` the network that `one` itself is connected to by `eth0`.
fn lan_of(pair: &mut Pair) -> &'static str {
    let lan = "198.51.100.0/24";
    pair.one.run("ip address add 198.51.100.1/24 dev eth0");
    pair.plan.peers[0].networks.push(lan.to_owned());
    lan
}

#[test]
fn a_lan_is_never_taken_from_the_host_that_is_in_it() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut pair = Pair::new();
    let lan = lan_of(&mut pair);
    // Larger: the more exact route of the host's own wins.
    pair.plan.peers[0].networks.push("198.51.0.0/16".to_owned());
    let (a, _b) = pair.start_both();
    let routes = || pair.one.run("ip -4 route show dev w-one");
    assert!(
        !routes().contains(lan) && routes().contains("198.51.0.0/16"),
        "{}",
        routes()
    );
    assert!(
        a.log().contains(&format!("no route to {lan}")),
        "{}",
        a.log()
    );
    // The host leaves that LAN, and comes to another.
    pair.one.run("ip address del 198.51.100.1/24 dev eth0");
    until("the route is set", PATIENCE, || {
        routes().contains(lan).then_some(())
    });
    pair.one.run("ip address add 198.51.100.7/24 dev eth0");
    until("the route is gone", PATIENCE, || {
        (!routes().contains(lan)).then_some(())
    });
    pair.one.ping("10.99.0.2");
    assert_eq!(a.stop().code(), Some(0));
}

#[test]
fn without_nft_it_says_what_to_install() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let one = &sites.pair.one;
    let before = Footprint::of(one);
    sites.pair.home.write("one.toml", &sites.toml());
    let up = |folder: &Path| {
        let mut command = sites.pair.home.command(one);
        command
            .args(["up", "one.toml", "--foreground"])
            .env("PATH", folder);
        let said = Said::by(&mut command);
        assert_eq!(said.code, 1, "{said:?}");
        said.error
    };
    let empty = tempfile::tempdir().expect("a folder");
    let said = up(empty.path());
    for words in ["one.toml:2:", "`nft`", "`nftables`", "firewall = \"off\""] {
        assert!(said.contains(words), "{words:?} in {said}");
    }
    assert_eq!(Footprint::of(one), before);
    // And without `iptables`, where Docker's chain is.
    docker(one);
    let before = Footprint::of(one);
    let nft = one.run("which nft");
    std::os::unix::fs::symlink(nft.trim(), empty.path().join("nft")).expect("a link");
    let said = up(empty.path());
    for words in ["DOCKER-USER", "`iptables`", "firewall = \"off\""] {
        assert!(said.contains(words), "{words:?} in {said}");
    }
    assert_eq!(Footprint::of(one), before);
}

#[test]
fn read_only_parameters_are_named_unless_they_are_right() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let one = &sites.pair.one;
    let before = Footprint::of(one);
    let file = sites.pair.home.write("one.toml", &sites.toml());
    let read_only = [
        "unshare",
        "-m",
        "sh",
        "-c",
        "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec \"$@\"",
        "sh",
    ];
    let mut refused = Weapon::launch_under(one, &sites.pair.home, &file, &read_only);
    assert_eq!(refused.process().wait(PATIENCE).code(), Some(1));
    let log = refused.log();
    for words in [
        "net.ipv4.conf.",
        "forwarding to 1",
        "read-only",
        "sysctl -w",
        "one.toml:2:",
    ] {
        assert!(log.contains(words), "{words:?} in {log}");
    }
    drop(refused);
    assert_eq!(Footprint::of(one), before, "the table is gone again");
    // Where all interfaces forward already, nothing is to be written.
    one.sysctl("net.ipv4.ip_forward", "1");
    let _b = sites.start_other();
    let a = Weapon::launch_under(one, &sites.pair.home, &file, &read_only);
    sites.near.ping("10.2.0.2");
    assert_eq!(a.stop().code(), Some(0));
}

/// A firewalld that keeps in a folder what it is told.
const FIREWALL_CMD: &str = r#"#!/bin/sh
cd "$FIREWALLD_STATE" || exit 1
for last; do :; done
name=$(echo "$last" | sed 's/^--[a-z]*-//; s,/,_,')
case "$last" in
    --state) ;;
    --add-*) touch "$name" ;;
    --remove-*) rm "$name" ;;
    --query-*) test -e "$name" ;;
    --get-zone-of-interface=*) echo public ;;
    --get-policies) ;;
    *) exit 2 ;;
esac
"#;

#[test]
fn firewalld_is_told_and_asked_back() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let one = &sites.pair.one;
    one.nft("table inet firewalld {\n chain filter_FORWARD {\n }\n}\n");
    let folder = tempfile::tempdir().expect("a folder");
    let (state, program) = (
        folder.path().join("state"),
        folder.path().join("firewall-cmd"),
    );
    fs::create_dir(&state).expect("a folder");
    fs::write(&program, FIREWALL_CMD).expect("a script");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
    let told = || {
        let entries = fs::read_dir(&state).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .map(|name| name.into_string().expect("text"))
            .collect::<BTreeSet<String>>()
    };
    let path = std::env::var("PATH").expect("a PATH");
    let words = [
        "env".to_owned(),
        format!("PATH={}:{path}", folder.path().display()),
        format!("FIREWALLD_STATE={}", state.display()),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let file = sites.pair.home.write("one.toml", &sites.toml());
    let a = Weapon::launch_under(one, &sites.pair.home, &file, &words);
    until("it is up", PATIENCE, || a.is_up().then_some(()));
    assert_eq!(
        told(),
        ["interface=w-one", "port=51820_udp"]
            .map(String::from)
            .into()
    );
    let log = a.log();
    for words in [
        "firewalld lets nothing from eth1 (zone public)",
        "--add-ingress-zone public",
        "w-one is in the zone trusted",
    ] {
        assert!(log.contains(words), "{words:?} in {log}");
    }
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(told(), BTreeSet::new());
    // A port that somebody has opened stays open.
    fs::write(state.join("port=51820_udp"), "").expect("a file");
    let a = Weapon::launch_under(one, &sites.pair.home, &file, &words);
    until("it is up", PATIENCE, || a.is_up().then_some(()));
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(told(), ["port=51820_udp".to_owned()].into());
}

#[test]
fn a_chain_that_drops_all_is_spoken_of() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let one = &sites.pair.one;
    one.nft(
        "table inet strict {\n chain f {\n type filter hook forward priority 0; policy drop;\n \
         }\n}\n",
    );
    let a = sites.start();
    let words = "the chain f of the table inet strict drops what it does not accept";
    assert!(a.log().contains(words), "{}", a.log());
    let (_, said) = sites.weapon(&["status", "one", "--system"]);
    assert!(said.contains(&format!("warning: {words}")), "{said}");
}

#[test]
fn the_rules_follow_what_lies_behind_us() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    sites.more = "networks = [\"lan:eth1\", \"lan:eth2\"]".to_owned();
    let third = lan(&sites.pair.one, "third", "eth2", "10.3.0", "fd03");
    let networks = &mut sites.pair.other_plan.peers[0].networks;
    networks.extend(["10.3.0.0/24".to_owned(), "10.4.0.0/24".to_owned()]);
    let one = &sites.pair.one;
    let before = Footprint::of(one);
    let (_b, a) = (sites.start_other(), sites.start());
    sites.assert_linked();
    assert_eq!(source_seen(&third, &sites.far, "10.2.0.2"), ip("10.3.0.2"));
    // A prefix that comes.
    one.run("ip address add 10.4.0.1/24 dev eth1");
    sites.near.run("ip address add 10.4.0.2/24 dev eth0");
    assert_eq!(
        source_seen(&sites.far, &sites.near, "10.4.0.2"),
        ip("10.2.0.2")
    );
    one.run("ip address del 10.4.0.1/24 dev eth1");
    let rules = || one.run("nft list table inet weapon-w-one");
    until("the prefix is gone", PATIENCE, || {
        (!rules().contains("10.4.0.0/24")).then_some(())
    });
    // All of an interface that goes, and with it the need to forward there.
    one.run("ip address flush dev eth2");
    until("nothing is forwarded there", PATIENCE, || {
        let forwards = parameter(one, "ipv4/conf/eth2/forwarding") == "1";
        (!forwards && !rules().contains("10.3.0.0/24")).then_some(())
    });
    one.run("ip address add 10.3.0.1/24 brd + dev eth2");
    one.run("ip address add fd03::1/64 dev eth2 nodad");
    until("it is forwarded there again", PATIENCE, || {
        let forwards = parameter(one, "ipv4/conf/eth2/forwarding") == "1";
        (forwards && rules().contains("10.3.0.0/24")).then_some(())
    });
    sites.assert_linked();
    assert_eq!(a.stop().code(), Some(0));
    assert_eq!(Footprint::of(one), before);
}

/// The deletion of the interface ends the gateway, and undoes the rest.
#[test]
fn all_is_undone_when_the_interface_is_deleted() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let one = &sites.pair.one;
    let before = Footprint::of(one);
    let mut a = sites.start();
    one.run("ip link del w-one");
    assert_eq!(a.process().wait(PATIENCE).code(), Some(0));
    assert_eq!(Footprint::of(one), before);
}

/// Under which a gateway can't let eth2 forward.
const ETH2_IS_READ_ONLY: [&str; 6] = [
    "unshare",
    "-m",
    "sh",
    "-c",
    "cd /proc/sys/net/ipv4/conf/eth2 && mount --bind forwarding forwarding \
     && mount -o remount,bind,ro forwarding && cd / && exec \"$@\"",
    "sh",
];

/// The table is loaded before forwarding is set: it goes back with all else.
#[test]
fn a_change_that_fails_half_way_leaves_the_old_rules() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    let _third = lan(&sites.pair.one, "third", "eth2", "10.3.0", "fd03");
    let file = sites.pair.home.write("one.toml", &sites.toml());
    let one = &sites.pair.one;
    let a = Weapon::launch_under(one, &sites.pair.home, &file, &ETH2_IS_READ_ONLY);
    until("the rules are there", PATIENCE, || {
        one.run("nft list tables").contains("w-one").then_some(())
    });
    let b = sites.start_other();
    sites.assert_linked();
    let before = Footprint::of(one);
    sites.more = "networks = [\"10.1.0.0/24\", \"lan:eth2\"]".to_owned();
    sites.pair.home.write("one.toml", &sites.toml());
    let (code, said) = sites.weapon(&["reload", "one.toml"]);
    assert_eq!((code, said.contains("read-only")), (1, true), "{said}");
    let one = &sites.pair.one;
    assert_eq!(Footprint::of(one), before);
    sites.assert_linked();
    drop((a, b));
}

#[test]
fn what_could_not_be_followed_is_tried_again() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    sites.more = "networks = [\"lan:eth1\", \"lan:eth2\"]".to_owned();
    let _third = lan(&sites.pair.one, "third", "eth2", "10.3.0", "fd03");
    let one = &sites.pair.one;
    one.run("ip address flush dev eth2");
    let file = sites.pair.home.write("one.toml", &sites.toml());
    let mut a = Weapon::launch_under(one, &sites.pair.home, &file, &ETH2_IS_READ_ONLY);
    until("the rules are there", PATIENCE, || {
        one.run("nft list tables").contains("w-one").then_some(())
    });
    let before = one.run("nft -s list table inet weapon-w-one");
    one.run("ip address add 10.3.0.1/24 brd + dev eth2");
    until("it has failed", PATIENCE, || {
        let log = a.log();
        (log.contains("stay as they were for now") && log.contains("read-only")).then_some(())
    });
    assert_eq!(one.run("nft -s list table inet weapon-w-one"), before);
    let pid = a.process().id();
    one.run(&format!(
        "nsenter -t {pid} -m mount -o remount,bind,rw /proc/sys/net/ipv4/conf/eth2/forwarding"
    ));
    until("it is done", PATIENCE, || {
        let forwards = parameter(one, "ipv4/conf/eth2/forwarding") == "1";
        let rules = one.run("nft list table inet weapon-w-one");
        (forwards && rules.contains("10.3.0.0/24")).then_some(())
    });
    assert_eq!(a.stop().code(), Some(0));
}

/// A neighbour on another network of the gateway sends in the name of what lies behind it.
#[test]
fn a_source_is_believed_from_its_interface_alone() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let third = lan(&sites.pair.one, "third", "eth2", "10.3.0", "fd03");
    let (_b, _a) = (sites.start_other(), sites.start());
    sites.assert_linked();
    let one = &sites.pair.one;
    one.sysctl("net.ipv4.conf.eth2.forwarding", "1");
    // Else the kernel itself would not believe it.
    for interface in ["all", "eth2"] {
        one.sysctl(&format!("net.ipv4.conf.{interface}.rp_filter"), "0");
    }
    third.run("ip address add 10.1.0.2/32 dev lo");
    let receiver = sites
        .far
        .enter(|| UdpSocket::bind("10.2.0.2:7777").expect("a socket"));
    receiver
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a timeout");
    let from_near = sites
        .near
        .enter(|| UdpSocket::bind("10.1.0.2:0").expect("a socket"));
    let forged = third.enter(|| UdpSocket::bind("10.1.0.2:0").expect("a socket"));
    forged.send_to(b"forged", "10.2.0.2:7777").expect("sent");
    until("it is dropped", PATIENCE, || {
        (dropped(one, "to_tunnel") > 0).then_some(())
    });
    from_near.send_to(b"true", "10.2.0.2:7777").expect("sent");
    let mut buffer = [0; 16];
    let (length, _) = receiver.recv_from(&mut buffer).expect("a datagram");
    assert_eq!(&buffer[..length], b"true");
    assert!(
        receiver.recv_from(&mut buffer).is_err(),
        "nothing else came"
    );
}

/// What is called so elsewhere says nothing of this host.
#[test]
fn a_name_in_another_namespace_is_not_followed() {
    if !ready(&PROGRAMS) {
        return;
    }
    let sites = Sites::new();
    let one = &sites.pair.one;
    let elsewhere = Host::new("elsewhere");
    let before = Footprint::of(one);
    let a = sites.start();
    let rules = || one.run("nft -s list ruleset");
    let set = rules();
    one.move_link("w-one", &elsewhere);
    elsewhere.run("ip link set w-one name eth1");
    until("the gateway knows", PATIENCE, || {
        a.log().contains("renamed").then_some(())
    });
    // Something that it follows.
    one.run("ip address add 10.1.0.9/32 dev eth1");
    until("the site is followed", PATIENCE, || {
        sites.system()["steps"].is_array().then_some(())
    });
    assert_eq!(rules(), set);
    assert_eq!(a.stop().code(), Some(0));
    one.run("ip address del 10.1.0.9/32 dev eth1");
    assert_eq!(Footprint::of(one), before);
}

/// What nobody has confirmed does not stay because it can't be undone at once.
#[test]
fn the_way_back_is_tried_again() {
    if !ready(&PROGRAMS) {
        return;
    }
    let mut sites = Sites::new();
    sites.more = "networks = [\"10.1.0.0/24\", \"lan:eth2\"]".to_owned();
    let _third = lan(&sites.pair.one, "third", "eth2", "10.3.0", "fd03");
    let file = sites.pair.home.write("one.toml", &sites.toml());
    let one = sites.pair.one.again();
    let words = ["unshare", "-m"];
    let mut a = Weapon::launch_under(&one, &sites.pair.home, &file, &words);
    let forwards = |what: &str, is_wanted: &str| {
        until(what, PATIENCE, || {
            (parameter(&one, "ipv4/conf/eth2/forwarding") == is_wanted).then_some(())
        });
    };
    forwards("eth2 forwards", "1");
    until("it answers", PATIENCE, || {
        (sites.weapon(&["status", "one"]).0 == 0).then_some(())
    });
    sites.more = "networks = [\"10.1.0.0/24\"]".to_owned();
    sites.pair.home.write("one.toml", &sites.toml());
    let (code, said) = sites.weapon(&["reload", "one.toml", "--confirm", "2s"]);
    assert_eq!(code, 0, "{said}");
    forwards("it is not needed", "0");
    let pid = a.process().id();
    let key = "/proc/sys/net/ipv4/conf/eth2/forwarding";
    let mount = |words: &str| one.run(&format!("nsenter -t {pid} -m mount {words}"));
    mount(&format!("--bind {key} {key}"));
    mount(&format!("-o remount,bind,ro {key}"));
    until("the way back is barred", PATIENCE, || {
        a.log().contains("the way back is barred").then_some(())
    });
    assert_eq!(parameter(&one, "ipv4/conf/eth2/forwarding"), "0");
    mount(&format!("-o remount,bind,rw {key}"));
    forwards("it went back", "1");
    assert_eq!(a.stop().code(), Some(0));
}
