//! Prefixes, and what may not overlap.

use super::*;

#[test]
fn a_network_belongs_to_one_peer() {
    keyless_peer_says(
        &format!(
            "public_key = \"{PEER}\"\nnetworks = [\"10.2.0.0/16\", \"10.2.0.0/16\"]\n[[peer]]\n\
             name = \"site-c\"\npublic_key = \"{OTHER}\"\n\
             networks = [\"10.2.0.0/16\", \"10.2.3.0/24\"]"
        ),
        &[
            "site-a.toml:6:28: warning: peer.networks: 10.2.0.0/16 is given twice",
            "site-a.toml:10:13: peer.networks: 10.2.0.0/16 belongs to the peer in line 6 already; \
             a network belongs to one peer",
        ],
    );
}

#[test]
fn a_peers_network_is_not_ours() {
    for (network, expected) in [
        (
            "172.17.0.0/16",
            "7:13: peer.networks: 172.17.0.0/16 is our own network (line 4); a \
                           peer's networks lie behind the peer",
        ),
        (
            "172.17.9.0/24",
            "7:13: peer.networks: 172.17.9.0/24 lies in our own network \
                           172.17.0.0/16 (line 4); a peer's networks lie behind the peer",
        ),
        (
            "10.99.0.1/32",
            "7:13: peer.networks: 10.99.0.1 is our own address (line 3); a peer has \
                          another",
        ),
        (
            "172.16.0.0/12",
            "7:13: warning: peer.networks: 172.16.0.0/12 covers our own network \
                           172.17.0.0/16 (line 4), which stays with us",
        ),
        (
            "172.18.0.1/16",
            "7:13: warning: peer.networks: 172.18.0.1/16 has host bits set; taken \
                           as 172.18.0.0/16",
        ),
    ] {
        peer_says(
            &format!("networks = [\"{network}\"]"),
            &[&format!("site-a.toml:{expected}")],
        );
    }
    for good in ["10.99.0.2/32", "10.99.0.0/24", "10.99.0.2", "fd00::/8"] {
        peer_says(&format!("networks = [\"{good}\"]"), &[]);
    }
}

#[test]
fn a_way_to_everywhere_has_a_mark_and_is_of_both_families() {
    let folder = Folder::new();
    let text = format!(
        "[Interface]\nPrivateKey = {PRIVATE}\n[Peer]\nPublicKey = {PEER}\n\
         AllowedIPs = 0.0.0.0/0, ::/0\n"
    );
    let Loaded { config, warnings } = folder.load("wg0.conf", &text).unwrap();
    assert!(warnings.is_empty() && config.routes);
    assert!(config.takes_all_of(true) && config.takes_all_of(false));
    assert_eq!(config.fwmark, 51_820);
    let mark = text.replace("[Peer]", "FwMark = 7\n[Peer]");
    assert_eq!(folder.load("wg0.conf", &mark).unwrap().config.fwmark, 7);
    let without = text.replace("[Peer]", "Table = off\n[Peer]");
    let config = folder.load("wg0.conf", &without).unwrap().config;
    assert!(!config.takes_all() && config.fwmark == 0);
    peer_says("networks = [\"::/0\"]", &[]);
    let said = "site-a.toml:7:13: warning: peer.networks: IPv6 goes beside the tunnel; add \
                \"::/0\", also where the other end has none, so that nothing leaves this host in \
                clear";
    peer_says("networks = [\"0.0.0.0/0\"]", &[said]);
    let off = text.replace("[Peer]", "FwMark = off\n[Peer]");
    let BadConfig(problems) = folder.load("wg0.conf", &off).err().unwrap();
    let said = "wg0.conf:3:10: Interface.FwMark: a tunnel that is the way to everywhere, or has a \
                kill switch, needs a mark, by which its own packets stay out of it; leave this \
                out, or give a number";
    assert_eq!(folder.lines(&problems), [said]);
}

#[test]
fn prefixes_are_prefixes() {
    for (text, expected) in [
        (
            "10.1.0.0/33",
            "`10.1.0.0/33`: the prefix length of IPv4 is 0 to 32",
        ),
        (
            "fd00::/129",
            "`fd00::/129`: the prefix length of IPv6 is 0 to 128",
        ),
        (
            "10.1.0.0/x",
            "`10.1.0.0/x`: the prefix length after `/` is a number, 0 to 32",
        ),
        (
            "10.1.0.0/",
            "`10.1.0.0/`: the prefix length of IPv4 is 0 to 32",
        ),
        (
            "10.1.0/16",
            "`10.1.0/16` is not a network; write it like 10.1.0.0/16 or fd00:1::/64",
        ),
        (
            "docker:",
            "`` cannot name a network of Docker; `docker network ls` lists them",
        ),
        (
            "docker:my net",
            "`my net` cannot name a network of Docker; `docker network ls` lists them",
        ),
        (
            "lan:eth0/1",
            "`eth0/1` cannot name an interface; letters, digits and _ = + . - can",
        ),
        (
            "10.1.0.0/16 as 10.2.0.0/24",
            "10.1.0.0/16 cannot be 10.2.0.0/24: each address has its own in the other, so both \
             have the same length",
        ),
        (
            "10.1.0.0/16 as fd00::/16",
            "10.1.0.0/16 cannot be fd00::/16: each address has its own in the other, so both \
             have the same length",
        ),
        (
            "10.1.0.0/16 as 10.1.0.0/16",
            "10.1.0.0/16 is that already; leave out `as 10.1.0.0/16`",
        ),
    ] {
        let message = format!("site-a.toml:2:13: gateway.networks: {expected}");
        gateway_says(&format!("networks = [\"{text}\"]"), &[&message]);
    }
    for (text, expected) in [
        ("0.0.0.0/0", "0.0.0.0 cannot be the address of an interface"),
        (
            "224.0.0.1/4",
            "224.0.0.1 cannot be the address of an interface",
        ),
        ("::1/128", "::1 cannot be the address of an interface"),
        ("10.1.0.1/24\", \"10.1.0.1/16", "10.1.0.1 is given twice"),
    ] {
        let column = if text.contains(',') { 27 } else { 12 };
        let message = format!("site-a.toml:2:{column}: gateway.address: {expected}");
        gateway_says(&format!("address = [\"{text}\"]"), &[&message]);
    }
    gateway_says(
        "address = [\"10.99.0.0/24\"]",
        &[
            "site-a.toml:2:12: warning: gateway.address: 10.99.0.0/24 is the address of the \
             network \
           itself; an address of a host, such as 10.99.0.1/24, is usual",
        ],
    );
}

#[test]
fn what_lies_behind_us_is_a_prefix_or_where_to_find_it() {
    gateway_says(
        "networks = [\"docker:my_net.1\", \"lan:eth0.5\", \"10.1.0.0/16 as 10.77.0.0/16\"]",
        &[],
    );
    gateway_says(
        "networks = [\"10.1.0.0/16 as 10.77.0.0/16\", \"10.77.3.0/24\"]",
        &[
            "site-a.toml:2:44: gateway.networks: 10.77.3.0/24 and 10.1.0.0/16 as 10.77.0.0/16 \
             (line 2) overlap: peers could not tell one from the other",
        ],
    );
}
