//! Two hosts with a Docker daemon each: their containers reach each other, under their true
//! addresses, with a configuration of six lines on each host and nothing else.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use weapon_netns::dockerd::{self, Dockerd};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Footprint, Home, Host, Weapon, link, ready, until};

/// A gigabyte of lines, and the program that says what they are.
const CONTENTS: &str = "yes 'a line of a long file' | head -c 1000000000";

const PORT: u16 = 51_820;

/// A host with Docker, a container and a gateway to be.
struct DockerHost {
    host: Host,
    docker: Dockerd,
    /// The container's address, and its network.
    container: String,
    name: &'static str,
}

impl DockerHost {
    #[track_caller]
    fn new(name: &'static str, home: &Home, underlay: &Host, bridge: &str) -> Self {
        let folder = home.path().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        let docker = Dockerd::start(underlay.namespace(), &folder, bridge);
        let docker = docker.unwrap_or_else(|error| panic!("{name}: {error}"));
        docker.run("c1").expect("a container");
        Self {
            host: underlay.again(),
            container: docker.address_of("c1").expect("its address"),
            docker,
            name,
        }
    }

    /// Starts the gateway as a person would: with the file alone.
    #[track_caller]
    fn up(&self, home: &Rc<Home>, text: &str) -> Weapon {
        assert!(text.lines().count() <= 6, "six lines: {text}");
        let file = home.write(&format!("{}.toml", self.name), text);
        let socket = format!("DOCKER_HOST=unix://{}", self.docker.socket().display());
        let weapon = Weapon::launch_under(&self.host, home, &file, &["env", &socket]);
        until("the gateway is up", PATIENCE, || {
            weapon.is_up().then_some(())
        });
        weapon
    }

    /// A program in the container.
    #[track_caller]
    fn exec(&self, line: &str) -> String {
        let said = self.docker.docker(&["exec", "c1", "sh", "-c", line]);
        said.unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Pings from container to container, until it works.
    #[track_caller]
    fn ping(&self, remote: &str) {
        until("the containers reach each other", PATIENCE, || {
            let line = ["exec", "c1", "ping", "-c", "1", "-W", "1", remote];
            self.docker.docker(&line).ok().map(drop)
        });
    }
}

/// Two such hosts with a cable between them.
fn two_hosts(home: &Home) -> [DockerHost; 2] {
    let (a, b) = (Host::new("a"), Host::new("b"));
    link(
        (&a, "eth0", &["192.0.2.1/24"]),
        (&b, "eth0", &["192.0.2.2/24"]),
    );
    [
        DockerHost::new("site-a", home, &a, "172.17.0.1/16"),
        DockerHost::new("site-b", home, &b, "172.18.0.1/16"),
    ]
}

/// The files of both, with one secret.
fn files(home: &Home) -> [String; 2] {
    let secret = weapon_netns::plan::preshared_key();
    home.write("shared.secret", secret.to_base64().as_str());
    let file = |name: &str, peer: &str, place: &str, networks: &str| {
        format!(
            "peer = [{{ name = \"{peer}\", endpoint = \"{place}:{PORT}\", \
             networks = [\"{networks}\"] }}]\n\
             [gateway]\n\
             name = \"{name}\"\n\
             secret_file = \"shared.secret\"\n\
             listen = {PORT}\n\
             networks = [\"docker:bridge\"]\n"
        )
    };
    [
        file("site-a", "site-b", "192.0.2.2", "172.18.0.0/16"),
        file("site-b", "site-a", "192.0.2.1", "172.17.0.0/16"),
    ]
}

/// Which address a container sees of what another sends.
#[track_caller]
fn source_seen(from: &DockerHost, to: &DockerHost) -> IpAddr {
    let inside = |host: &DockerHost| host.docker.namespace_of("c1").expect("a namespace");
    let (from, there) = (inside(from), inside(to));
    let address: IpAddr = to.container.parse().expect("an address");
    let receiver = there.enter(|| UdpSocket::bind((address, 0)).expect("a socket"));
    let receiver = receiver.expect("the container's namespace");
    let remote = receiver.local_addr().expect("its address");
    let sender = from.enter(|| UdpSocket::bind("0.0.0.0:0").expect("a socket"));
    let sender = sender.expect("the container's namespace");
    receiver
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a time-out");
    until("a datagram arrives", PATIENCE, || {
        sender.send_to(b"from where?", remote).ok()?;
        let (_, source) = receiver.recv_from(&mut [0; 64]).ok()?;
        Some(source.ip())
    })
}

fn is_possible() -> bool {
    ready(&["dockerd", "docker", "nft", "iptables", "busybox"]) && {
        let missing = dockerd::missing();
        assert_eq!(missing, None);
        Path::new("/sys/fs/cgroup").is_dir()
    }
}

#[test]
fn containers_of_two_hosts_reach_each_other_and_all_is_undone() {
    if !is_possible() {
        return;
    }
    let home = Home::new();
    let [a, b] = two_hosts(&home);
    let [file_a, file_b] = files(&home);
    let before = [Footprint::of(&a.host), Footprint::of(&b.host)];
    let (gateway_a, gateway_b) = (a.up(&home, &file_a), b.up(&home, &file_b));

    a.ping(&b.container);
    b.ping(&a.container);
    assert_eq!(source_seen(&a, &b).to_string(), a.container);
    assert_eq!(source_seen(&b, &a).to_string(), b.container);
    // A file of a gigabyte, from container to container.
    b.exec(&format!(
        "mkdir -p /tmp/www && {CONTENTS} > /tmp/www/file && httpd -h /tmp/www -p 80"
    ));
    let expected = a.exec(&format!("{CONTENTS} | md5sum"));
    let got = a.exec(&format!(
        "wget -q -O - http://{}/file | md5sum",
        b.container
    ));
    assert_eq!(got, expected);

    for gateway in [gateway_a, gateway_b] {
        assert_eq!(gateway.stop().code(), Some(0));
    }
    let after = [Footprint::of(&a.host), Footprint::of(&b.host)];
    assert_eq!(after, before);
}

#[test]
fn it_works_on_whatever_happens_to_docker_and_its_rules() {
    if !is_possible() {
        return;
    }
    let home = Home::new();
    let [mut a, b] = two_hosts(&home);
    let [file_a, file_b] = files(&home);
    let (gateway_a, gateway_b) = (a.up(&home, &file_a), b.up(&home, &file_b));
    let both_ways = |a: &DockerHost| {
        a.ping(&b.container);
        b.ping(&a.container);
        assert_eq!(source_seen(a, &b).to_string(), a.container);
    };
    both_ways(&a);

    a.docker
        .docker(&["network", "create", "more"])
        .expect("a network");
    both_ways(&a);

    a.docker.restart().expect("Docker is back");
    until("the container is back", PATIENCE, || {
        let address = a.docker.address_of("c1").ok()?;
        (!address.is_empty()).then(|| a.container = address)
    });
    both_ways(&a);

    a.host.run("nft flush ruleset");
    until("the rules are back", PATIENCE, || {
        let rules = a.host.run("nft list tables");
        rules.contains("inet weapon-site-a").then_some(())
    });
    both_ways(&a);

    for gateway in [gateway_a, gateway_b] {
        assert_eq!(gateway.stop().code(), Some(0));
    }
    for host in [&a.host, &b.host] {
        let rules = host.run("nft list ruleset");
        assert!(!rules.contains("weapon"), "{rules}");
    }
}
