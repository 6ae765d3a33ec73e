//! What entries stand for on hosts of every kind.

use super::*;
use crate::site::docker::tests::bridge;

fn link(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.into(),
        mtu: 1500,
        up: true,
        loopback: name == "lo",
        controller: None,
        is_internal: false,
    }
}

fn mapped(inside: &str, outside: &str) -> Behind {
    Behind::Mapped(PrefixMapping {
        inside: inside.parse().unwrap(),
        outside: outside.parse().unwrap(),
    })
}

/// A host with Docker, two cables and a tunnel.
fn host() -> Host {
    let address = |interface, text: &str| ConnectedNetwork {
        interface,
        address: text.parse().unwrap(),
    };
    let way = |prefix: &str, index| (prefix.parse().unwrap(), index);
    Host {
        links: vec![
            link(1, "lo"),
            link(2, "eth0"),
            link(3, "eth1"),
            link(4, "docker0"),
            link(5, "tunnel"),
        ],
        addresses: vec![
            address(2, "192.0.2.1/24"),
            address(2, "2001:db8::5/128"),
            address(2, "2001:db8::1/64"),
            address(2, "2001:db8::2/64"),
            address(2, "fe80::1/64"),
            address(3, "169.254.1.1/16"),
            address(4, "172.17.0.1/16"),
        ],
        ways: [
            way("192.168.1.0/24", 3),
            way("198.51.100.0/24", 2),
            way("10.9.0.0/16", 5),
        ]
        .into(),
        docker: Known {
            networks: Some(vec![
                bridge("bridge", "docker0", &["172.17.0.0/16"]),
                DockerNetwork {
                    driver: "macvlan".into(),
                    ..bridge("lan", "", &["192.0.2.0/24"])
                },
                DockerNetwork {
                    internal: true,
                    ..bridge("inner", "docker0", &["172.19.0.0/16"])
                },
                bridge("bare", "docker0", &[]),
                bridge("elsewhere", "br-1", &["172.20.0.0/16", "fd20::/64"]),
                DockerNetwork {
                    driver: "host".into(),
                    ..bridge("host", "", &[])
                },
            ]),
            away: None,
        },
        tunnel: Some(5),
    }
}

fn wanted(behind: &[Behind], of_peers: &[(&str, &str)]) -> Wanted {
    Wanted {
        behind: behind.to_vec(),
        interface: "tunnel".into(),
        of_peers: of_peers
            .iter()
            .map(|(network, peer)| (network.parse().unwrap(), (*peer).to_owned()))
            .collect(),
    }
}

/// What is found for the first of `behind`: prefixes with interfaces, and remarks.
fn found(host: &Host, behind: &[Behind], of_peers: &[(&str, &str)]) -> (Vec<String>, Vec<Remark>) {
    let entry = wanted(behind, of_peers).find(host).swap_remove(0);
    assert_eq!(entry.said, behind[0]);
    let networks = entry.networks.into_iter().map(|network| {
        assert_eq!(network.said, behind[0]);
        let interface = network.interface.unwrap_or_else(|| "-".into());
        format!("{} {interface}", network.prefix)
    });
    (networks.collect(), entry.remarks)
}

fn docker(name: &str) -> Behind {
    Behind::Docker(name.into())
}

fn lan(name: &str) -> Behind {
    Behind::Lan(name.into())
}

fn refusal(text: &str) -> Vec<Remark> {
    vec![Remark::Refusal(text.into())]
}

fn warning(text: &str) -> Vec<Remark> {
    vec![Remark::Warning(text.into())]
}

#[test]
fn networks_of_docker() {
    let host = host();
    for (name, networks, remarks) in [
        ("bridge", vec!["172.17.0.0/16 docker0"], vec![]),
        (
            "brigde",
            vec![],
            refusal(
                "Docker has no network `brigde` (`docker network create brigde` makes it), but \
                 `bare`, `bridge`, `elsewhere`, `inner`; did you mean `bridge`?",
            ),
        ),
        (
            "lan",
            vec![],
            refusal(
                "Docker's network `lan` is made by the driver `macvlan`, and this host is no part \
                 of it; name one of driver `bridge`",
            ),
        ),
        (
            "inner",
            vec!["172.19.0.0/16 docker0"],
            warning("Docker's network `inner` is internal: Docker lets nothing in or out of it"),
        ),
        (
            "bare",
            vec![],
            warning("Docker's network `bare` has no subnet"),
        ),
        (
            "elsewhere",
            vec!["172.20.0.0/16 -", "fd20::/64 -"],
            warning(
                "Docker's network `elsewhere` has no interface `br-1` on this host; does Docker \
                 run in a namespace of its own?",
            ),
        ),
    ] {
        let expected = (networks.into_iter().map(str::to_owned).collect(), remarks);
        assert_eq!(found(&host, &[docker(name)], &[]), expected, "{name}");
    }
}

#[test]
fn what_was_known_of_docker_stays_while_it_is_away() {
    let mut host = host();
    host.docker.away = Some("there is no Docker".into());
    let remark = "there is no Docker; what was known before stays".to_owned();
    assert_eq!(
        found(&host, &[docker("bridge")], &[]),
        (
            vec!["172.17.0.0/16 docker0".to_owned()],
            vec![Remark::Logged(remark)]
        )
    );
    host.docker.networks = None;
    assert_eq!(
        found(&host, &[docker("bridge")], &[]),
        (vec![], refusal("there is no Docker"))
    );
}

#[test]
fn networks_of_interfaces() {
    let host = host();
    for (name, networks, remarks) in [
        (
            "eth0",
            vec!["192.0.2.0/24 eth0", "2001:db8::/64 eth0"],
            vec![],
        ),
        (
            "eth1",
            vec![],
            warning("interface `eth1` has no address but link-local ones, so nothing is behind it"),
        ),
        (
            "eht1",
            vec![],
            refusal(
                "there is no interface `eht1`, but `docker0`, `eth0`, `eth1`; did you mean `eth1`?",
            ),
        ),
        (
            "tunnel",
            vec![],
            refusal("`tunnel` is the tunnel itself; name an interface of a network behind us"),
        ),
    ] {
        let expected = (networks.into_iter().map(str::to_owned).collect(), remarks);
        assert_eq!(found(&host, &[lan(name)], &[]), expected, "{name}");
    }
    let many: Vec<Link> = (0..99).map(|i| link(i, &format!("veth{i:02}"))).collect();
    let host = Host {
        links: many,
        ..Host::default()
    };
    let (_, remarks) = found(&host, &[lan("dummy")], &[]);
    let said = remarks[0].text();
    assert!(said.ends_with("`veth18`, `veth19` and 79 more"), "{said}");
    let (_, remarks) = found(&Host::default(), &[lan("dummy")], &[]);
    assert_eq!(remarks, refusal("there is no interface `dummy`"));
}

#[test]
fn ways_to_prefixes() {
    let host = host();
    let prefix = |text: &str| Behind::Prefix(text.parse().unwrap());
    for (behind, network, remarks) in [
        (prefix("198.51.100.0/24"), "198.51.100.0/24 eth0", vec![]),
        (
            mapped("192.168.1.0/24", "10.77.1.0/24"),
            "192.168.1.0/24 eth1",
            vec![],
        ),
        (
            prefix("10.9.0.0/16"),
            "10.9.0.0/16 -",
            warning("the route to 10.9.0.0/16 leads into the tunnel"),
        ),
        (
            prefix("10.8.0.0/16"),
            "10.8.0.0/16 -",
            warning("no route leads to 10.8.0.0/16"),
        ),
    ] {
        let expected = (vec![network.to_owned()], remarks);
        assert_eq!(found(&host, &[behind], &[]), expected);
    }
}

#[test]
fn what_is_found_must_be_ours_alone() {
    let host = host();
    let nothing: Vec<String> = Vec::new();
    for (behind, of_peers, networks, remarks) in [
        (
            vec![docker("bridge")],
            vec![("172.16.0.0/16", "a"), ("172.17.0.0/16", "b")],
            nothing.clone(),
            refusal(
                "docker:bridge has 172.17.0.0/16, as has peer `b`; what lies behind a peer does \
                 not lie behind us",
            ),
        ),
        (
            vec![lan("eth0")],
            vec![("192.0.2.64/26", "b")],
            vec!["2001:db8::/64 eth0".to_owned()],
            refusal(
                "lan:eth0 has 192.0.2.0/24, and 192.0.2.64/26 in it is of peer `b`; what lies \
                 behind a peer does not lie behind us",
            ),
        ),
        // The longer prefix wins.
        (
            vec![docker("bridge")],
            vec![("172.16.0.0/12", "b"), ("0.0.0.0/0", "c")],
            vec!["172.17.0.0/16 docker0".to_owned()],
            vec![],
        ),
        (
            vec![docker("bridge"), mapped("192.168.1.0/24", "172.17.9.0/24")],
            vec![],
            nothing.clone(),
            refusal(
                "docker:bridge has 172.17.0.0/16, which overlaps 192.168.1.0/24 as \
                 172.17.9.0/24: peers could not tell one from the other",
            ),
        ),
        (
            vec![docker("bridge"), mapped("172.16.0.0/12", "10.16.0.0/12")],
            vec![],
            nothing,
            refusal(
                "docker:bridge has 172.17.0.0/16, which overlaps 172.16.0.0/12 as 10.16.0.0/12: \
                 peers could not tell one from the other",
            ),
        ),
    ] {
        assert_eq!(found(&host, &behind, &of_peers), (networks, remarks));
    }
}
