//! A wg-quick file as it is: read by `weapon up`, and by WireGuard's own tools, with equal results.

use std::collections::BTreeMap;

use serde_json::Value;
use weapon_netns::daemon::{Daemon, Make};
use weapon_netns::plan::{preshared_key, private_key};
use weapon_netns::weapon::Home;
use weapon_netns::{Host, Plan, Weapon, link, ready};

/// Written as people write such files.
fn office(keys: &Keys) -> String {
    format!(
        "# The office\n\
         [Interface]\n\
         PrivateKey={private}   # never to leave this machine\n\
         address = 10.99.0.1/24, fd99::1/64\n\
         ListenPort = 51820\n\
         FwMark = 0x10\n\
         MTU = 1400\n\
         \n\
         [Peer]\n\
         # home\n\
         PublicKey = {home}\n\
         PresharedKey = {preshared}\n\
         AllowedIPs = 10.99.0.2/32,fd99::2/128\n\
         AllowedIPs = 10.8.1.7/16\n\
         PersistentKeepalive = 25\n\
         \n\
         [Peer]\n\
         PublicKey = {phone}\n\
         Endpoint = [2001:db8::77]:4000\n\
         AllowedIPs = 10.99.0.3\n\
         PersistentKeepalive = off\n",
        private = keys.office.to_base64().as_str(),
        home = keys.home.public(),
        phone = keys.phone.public(),
        preshared = keys.preshared.to_base64().as_str(),
    )
}

struct Keys {
    office: weapon_noise::PrivateKey,
    home: weapon_noise::PrivateKey,
    phone: weapon_noise::PrivateKey,
    preshared: weapon_noise::PresharedKey,
}

impl Keys {
    fn new() -> Self {
        Self {
            office: private_key(),
            home: private_key(),
            phone: private_key(),
            preshared: preshared_key(),
        }
    }
}

/// What a peer looks like from either side: preshared key aside, which nobody shows.
#[derive(Debug, PartialEq, Eq)]
struct Peer {
    endpoint: Option<String>,
    networks: Vec<String>,
    keepalive: Option<u64>,
}

fn peers_of_weapon(status: &Value) -> BTreeMap<String, Peer> {
    let peers = status["peers"].as_array().expect("a list of peers");
    let peers = peers.iter().map(|peer| {
        let networks = peer["networks"].as_array().expect("a list of networks");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let mut networks: Vec<String> = networks.iter().map(text).collect();
        networks.sort();
        let described = Peer {
            endpoint: peer["endpoint"].as_str().map(str::to_owned),
            networks,
            keepalive: peer["persistent_keepalive"].as_u64(),
        };
        (text(&peer["public_key"]), described)
    });
    peers.collect()
}

/// From `wg show INTERFACE dump`: wg(8) has the columns.
fn peers_of_wg(dump: &str) -> BTreeMap<String, Peer> {
    let peers = dump.lines().skip(1).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let mut networks: Vec<String> = columns[3].split(',').map(str::to_owned).collect();
        networks.sort();
        let described = Peer {
            endpoint: (columns[2] != "(none)").then(|| columns[2].to_owned()),
            networks,
            keepalive: columns[7].parse().ok(),
        };
        (columns[0].to_owned(), described)
    });
    peers.collect()
}

#[test]
fn a_wg_quick_file_means_the_same_to_both() {
    if !ready(&["wg", "wg-quick", "wireguard-go"]) {
        return;
    }
    let (home, host, other_host) = (Home::new(), Host::new("office"), Host::new("other"));
    let keys = Keys::new();
    let file = home.write("office.conf", &office(&keys));
    let weapon = Weapon::start(&host, &home, &file);
    let status = weapon.status();

    let stripped = other_host.run(&format!("wg-quick strip {}", file.display()));
    let empty = Plan::new("other", &[]);
    let theirs = Daemon::start(Make::WireguardGo, &other_host, &home, &empty);
    theirs.configure(&stripped);
    let dump = theirs.wg("show", &["dump"]);
    assert_eq!(peers_of_weapon(&status), peers_of_wg(&dump));
    let gateway: Vec<&str> = dump.lines().next().expect("a line").split('\t').collect();
    assert_eq!(status["public_key"], gateway[1]);
    assert_eq!(status["listen_port"].to_string(), gateway[2]);
    assert_eq!(gateway[3], "0x10");
    assert_eq!(status["fwmark"], 0x10);

    // And what is wg-quick's own: addresses, MTU, routes to what the peers have.
    assert_eq!(status["interface"], "office");
    let shown = host.run("ip address show dev office");
    for word in ["mtu 1400", "inet 10.99.0.1/24", "inet6 fd99::1/64"] {
        assert!(shown.contains(word), "no {word:?} in {shown}");
    }
    let routes = host.run("ip route show dev office");
    for route in ["10.8.0.0/16", "10.99.0.0/24"] {
        assert!(routes.contains(route), "no {route:?} in {routes}");
    }
}

#[test]
fn a_wg_quick_file_links_to_its_counterpart() {
    if !ready(&["wg", "wg-quick", "wireguard-go"]) {
        return;
    }
    let (home, host, other_host) = (Home::new(), Host::new("office"), Host::new("home"));
    link(
        (&host, "eth0", &["192.0.2.1/24"]),
        (&other_host, "eth0", &["192.0.2.2/24"]),
    );
    let keys = Keys::new();
    let file = home.write("office.conf", &office(&keys));
    let _weapon = Weapon::start(&host, &home, &file);

    let conf = home.write(
        "home.conf",
        &format!(
            "[Interface]\n\
             PrivateKey = {private}\n\
             Address = 10.99.0.2/24, fd99::2/64, 10.8.0.1/16\n\
             [Peer]\n\
             PublicKey = {office}\n\
             PresharedKey = {preshared}\n\
             AllowedIPs = 10.99.0.1/32, fd99::1/128\n\
             Endpoint = 192.0.2.1:51820\n",
            private = keys.home.to_base64().as_str(),
            office = keys.office.public(),
            preshared = keys.preshared.to_base64().as_str(),
        ),
    );
    let stripped = other_host.run(&format!("wg-quick strip {}", conf.display()));
    let mut addresses = Plan::new("home", &["10.99.0.2/24", "fd99::2/64", "10.8.0.1/16"]);
    addresses.listen = 0;
    let theirs = Daemon::start(Make::WireguardGo, &other_host, &home, &addresses);
    theirs.configure(&stripped);
    other_host.ping("10.99.0.1");
    other_host.ping("fd99::1");
    // What lies behind the peer, by the route that came with the allowed IPs.
    host.ping("10.8.0.1");
}
