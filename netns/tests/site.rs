//! What lies behind a gateway: found at the start, followed while it runs, and refused where it
//! is not there or not ours.

use std::rc::Rc;

use serde_json::{Value, json};
use weapon_netns::fake_docker::{FakeDocker, Manner};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Home, Host, Plan, Said, Weapon, ready, until};

/// A host with a LAN, and maybe Docker.
struct Place {
    docker: Option<FakeDocker>,
    host: Host,
    plan: Plan,
    /// Last: Docker's socket is in it.
    home: Rc<Home>,
}

impl Place {
    #[track_caller]
    fn new() -> Self {
        let mut plan = Plan::new("one", &["10.99.0.1/24"]);
        plan.peers.push(Plan::new("other", &[]).as_peer(&[]));
        let place = Self {
            home: Home::new(),
            host: Host::new("one"),
            docker: None,
            plan,
        };
        place.add_lan(&["192.168.1.1/24", "fd01::1/64"]);
        place
    }

    #[track_caller]
    fn with_docker() -> Self {
        let mut place = Self::new();
        place.start_docker();
        place.run("ip link add docker0 type bridge");
        place
    }

    fn start_docker(&mut self) -> &FakeDocker {
        let socket = self.home.path().join("docker.sock");
        self.docker.insert(FakeDocker::start(&socket))
    }

    fn docker(&self) -> &FakeDocker {
        self.docker.as_ref().expect("a Docker")
    }

    #[track_caller]
    fn run(&self, line: &str) {
        self.host.run(line);
    }

    #[track_caller]
    fn add_lan(&self, addresses: &[&str]) {
        self.run("ip link add lan0 type veth peer name far0");
        self.run("ip link set far0 up");
        self.run("ip link set lan0 up");
        for address in addresses {
            self.run(&format!("ip address add {address} dev lan0 nodad"));
        }
    }

    /// As `docker network create`.
    #[track_caller]
    fn create(&self, name: &str, subnets: &[&str]) {
        let bridge = FakeDocker::interface(name);
        self.run(&format!("ip link add {bridge} type bridge"));
        self.docker().create(name, subnets);
    }

    /// As `docker network rm`.
    #[track_caller]
    fn remove(&self, name: &str) {
        self.run(&format!("ip link del {}", FakeDocker::interface(name)));
        self.docker().remove(name);
    }

    /// The gateway's file: `networks` behind it, which stand in the second line, and those of its
    /// only peer.
    fn write(&mut self, networks: &[&str], of_peer: &[&str]) {
        let of_peer = of_peer.iter().map(|&text| text.to_owned());
        self.plan.peers[0].networks = of_peer.collect();
        let behind = format!("[gateway]\nnetworks = {networks:?}\n");
        let text = self.plan.toml().replacen("[gateway]\n", &behind, 1);
        self.home.write("one.toml", &text);
    }

    /// `weapon WORDS`, with the gateway's folders and Docker.
    #[track_caller]
    fn weapon(&self, words: &[&str]) -> Said {
        let mut command = self.home.command(&self.host);
        command.env("DOCKER_HOST", self.docker_host());
        Said::by(command.args(words))
    }

    fn docker_host(&self) -> String {
        format!("unix://{}", self.home.path().join("docker.sock").display())
    }

    /// Starts the gateway with this behind it.
    #[track_caller]
    fn start(&mut self, networks: &[&str], of_peer: &[&str]) -> Weapon {
        self.write(networks, of_peer);
        let file = self.home.path().join("one.toml");
        let docker_host = format!("DOCKER_HOST={}", self.docker_host());
        let words = ["env", &docker_host];
        let gateway = Weapon::launch_under(&self.host, &self.home, &file, &words);
        until("the gateway is up", PATIENCE, || {
            gateway.is_up().then_some(())
        });
        gateway
    }

    /// Asserts that a start is refused because of the first of the gateway's networks.
    #[track_caller]
    fn assert_not_started(&self, text: &str) {
        let said = self.weapon(&["up", "one.toml"]);
        assert_eq!(said, refusal("weapon: one.toml", text));
    }

    /// As [`Place::assert_not_started`], of a reload.
    #[track_caller]
    fn assert_not_reloaded(&self, text: &str) {
        let said = self.weapon(&["reload", "one.toml"]);
        let file = self.home.path().join("one.toml");
        let file = format!("weapon: the gateway says: {}", file.display());
        assert_eq!(said, refusal(&file, text));
    }
}

fn refusal(file: &str, text: &str) -> Said {
    Said {
        code: 1,
        out: String::new(),
        error: format!("{file}:2:13: gateway.networks: {text}\n"),
    }
}

/// What the status says of the networks behind the gateway.
fn behind(gateway: &Weapon) -> Value {
    gateway.status()["networks"].clone()
}

/// An entry of the status.
fn entry(written: &str, prefixes: &[(&str, Option<&str>)], warnings: &[&str]) -> Value {
    let prefixes = prefixes
        .iter()
        .map(|(prefix, interface)| json!({ "prefix": prefix, "interface": interface }));
    json!({
        "written": written, "prefixes": prefixes.collect::<Vec<_>>(), "warnings": warnings,
    })
}

/// Waits until the status has these entries.
#[track_caller]
fn until_behind(gateway: &Weapon, entries: &[Value]) {
    let wanted = Value::from(entries.to_vec());
    let mut last = Value::Null;
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until("the networks behind us are right", PATIENCE, || {
            last = behind(gateway);
            (last == wanted).then_some(())
        });
    }));
    assert!(
        found.is_ok(),
        "{last:#} is not {wanted:#}\n{}",
        gateway.log()
    );
}

#[test]
fn a_lan_is_followed() {
    if !ready(&[]) {
        return;
    }
    let mut place = Place::new();
    let gateway = place.start(&["lan:lan0"], &[]);
    let lan0 = |prefixes: &[&str], warnings: &[&str]| {
        let prefixes: Vec<_> = prefixes.iter().map(|&it| (it, Some("lan0"))).collect();
        [entry("lan:lan0", &prefixes, warnings)]
    };
    let first = lan0(&["192.168.1.0/24", "fd01::/64"], &[]);
    assert_eq!(behind(&gateway), Value::from(first.to_vec()));

    place.run("ip address add 192.168.2.1/24 dev lan0");
    let more = lan0(&["192.168.1.0/24", "192.168.2.0/24", "fd01::/64"], &[]);
    until_behind(&gateway, &more);
    place.run("ip address del 192.168.2.1/24 dev lan0");
    until_behind(&gateway, &first);

    place.run("ip address flush dev lan0 scope global");
    let none = "interface `lan0` has no address but link-local ones, so nothing is behind it";
    until_behind(&gateway, &lan0(&[], &[none]));
    place.run("ip link del lan0");
    until_behind(&gateway, &lan0(&[], &["there is no interface `lan0`"]));
    place.add_lan(&["192.168.3.7/25"]);
    until_behind(&gateway, &lan0(&["192.168.3.0/25"], &[]));

    let shown = place.weapon(&["status", "one"]).out;
    let line = "  behind us   lan:lan0: 192.168.3.0/25 by lan0\n";
    assert!(shown.contains(line), "{shown}");
    let log = gateway.log();
    for part in [
        "lies behind us network=lan:lan0 prefix=192.168.3.0/25 interface=\"lan0\"",
        "does not lie behind us any more network=lan:lan0 prefix=192.168.1.0/24",
        "WARN there is no interface `lan0` network=lan:lan0",
    ] {
        assert!(log.contains(part), "{part:?} in {log}");
    }
}

#[test]
fn networks_of_docker_are_followed() {
    if !ready(&[]) {
        return;
    }
    let mut place = Place::with_docker();
    place.create("app", &["172.18.0.0/16"]);
    let gateway = place.start(&["docker:bridge", "docker:app"], &["172.20.0.0/16"]);
    let bridge = entry("docker:bridge", &[("172.17.0.0/16", Some("docker0"))], &[]);
    let interface = FakeDocker::interface("app");
    let app = |prefixes: &[&str], warnings: &[&str]| {
        let prefixes: Vec<_> = prefixes
            .iter()
            .map(|&it| (it, Some(interface.as_str())))
            .collect();
        entry("docker:app", &prefixes, warnings)
    };
    let both = [bridge.clone(), app(&["172.18.0.0/16"], &[])];
    assert_eq!(behind(&gateway), Value::from(both.to_vec()));

    place.remove("app");
    let unknown =
        "Docker has no network `app` (`docker network create app` makes it), but `bridge`";
    let without = [bridge.clone(), app(&[], &[unknown])];
    until_behind(&gateway, &without);
    place.create("app", &["172.19.0.0/16", "fd19::/64"]);
    let both = [bridge.clone(), app(&["172.19.0.0/16", "fd19::/64"], &[])];
    until_behind(&gateway, &both);

    // Its bridge has gone, whatever Docker says.
    place.run(&format!("ip link del {interface}"));
    let warning = format!(
        "Docker's network `app` has no interface `{interface}` on this host; does Docker run in a \
         namespace of its own?"
    );
    let prefixes = [("172.19.0.0/16", None), ("fd19::/64", None)];
    let warned = entry("docker:app", &prefixes, &[&warning]);
    until_behind(&gateway, &[bridge.clone(), warned]);
    place.run(&format!("ip link add {interface} type bridge"));
    until_behind(&gateway, &both);

    // What is a peer's is left out.
    place.remove("app");
    place.create("app", &["172.20.7.0/24", "172.16.0.0/12"]);
    let collision = "docker:app has 172.16.0.0/12, and 172.20.0.0/16 in it is of peer `other`; \
                     what lies behind a peer does not lie behind us";
    let left = [bridge, app(&["172.20.7.0/24"], &[collision])];
    until_behind(&gateway, &left);
    let log = gateway.log();
    assert!(log.contains(&format!("WARN {collision}")), "{log}");
    let shown = place.weapon(&["status", "one"]).out;
    assert!(
        shown.contains(&format!("warning: {collision}\n")),
        "{shown}"
    );
}

#[test]
fn while_docker_is_away_what_was_known_stays() {
    if !ready(&[]) {
        return;
    }
    let mut place = Place::with_docker();
    let gateway = place.start(&["docker:bridge"], &[]);
    let found = |warnings: &[&str]| {
        let prefixes = [("172.17.0.0/16", Some("docker0"))];
        [entry("docker:bridge", &prefixes, warnings)]
    };
    assert_eq!(behind(&gateway), Value::from(found(&[]).to_vec()));
    place.docker = None;
    let socket = place.home.path().join("docker.sock");
    let away = format!(
        "there is no Docker at {}; install it, start it (`systemctl start docker`), or say with \
         DOCKER_HOST=unix://PATH where it listens; what was known before stays",
        socket.display()
    );
    until_behind(&gateway, &found(&[&away]));

    // A file that still names the same networks is no less good for that, nor one that names more
    // of those that are known.
    place.write(&["docker:bridge", "lan:lan0"], &["172.20.0.0/16"]);
    let said = place.weapon(&["reload", "one.toml"]);
    assert_eq!((said.code, said.error.as_str()), (0, ""), "{said:?}");
    place.write(&["docker:bridge"], &[]);
    assert_eq!(place.weapon(&["reload", "one.toml"]).code, 0);

    place.start_docker();
    until_behind(&gateway, &found(&[]));
    // And it is followed again.
    until("it listens", PATIENCE, || {
        (place.docker().listeners() > 0).then_some(())
    });
    place.docker().remove("bridge");
    let unknown = "Docker has no network `bridge` (`docker network create bridge` makes it)";
    until_behind(&gateway, &[entry("docker:bridge", &[], &[unknown])]);
}

#[test]
fn the_way_to_a_prefix_is_the_kernels() {
    if !ready(&[]) {
        return;
    }
    let mut place = Place::new();
    let written = [
        "192.168.1.0/24",
        "10.20.0.0/16 as 10.77.0.0/16",
        "fd20::/64",
    ];
    let gateway = place.start(&written, &[]);
    let found = |mapped: Option<&str>, warnings: &[&str], last: Option<&str>| {
        let none = ["no route leads to fd20::/64"];
        let last_warnings = if last.is_none() { &none[..] } else { &[] };
        [
            entry(written[0], &[("192.168.1.0/24", Some("lan0"))], &[]),
            entry(written[1], &[("10.20.0.0/16", mapped)], warnings),
            entry(written[2], &[("fd20::/64", last)], last_warnings),
        ]
    };
    let no_route = ["no route leads to 10.20.0.0/16"];
    let first = found(None, &no_route, None);
    assert_eq!(behind(&gateway), Value::from(first.to_vec()));

    place.run("ip route add 10.20.0.0/16 via 192.168.1.2");
    until_behind(&gateway, &found(Some("lan0"), &[], None));
    place.run("ip -6 route add fd20::/64 via fd01::2");
    until_behind(&gateway, &found(Some("lan0"), &[], Some("lan0")));
    place.run("ip route replace 10.20.0.0/16 dev w-one");
    let into_tunnel = ["the route to 10.20.0.0/16 leads into the tunnel"];
    until_behind(&gateway, &found(None, &into_tunnel, Some("lan0")));
    place.run("ip route replace blackhole 10.20.0.0/16");
    until_behind(&gateway, &found(None, &no_route, Some("lan0")));
    // The interface goes, and its routes with it.
    place.run("ip link del lan0");
    until_behind(
        &gateway,
        &[
            entry(
                written[0],
                &[("192.168.1.0/24", None)],
                &["no route leads to 192.168.1.0/24"],
            ),
            entry(written[1], &[("10.20.0.0/16", None)], &no_route),
            entry(
                written[2],
                &[("fd20::/64", None)],
                &["no route leads to fd20::/64"],
            ),
        ],
    );
}

#[test]
fn what_is_not_there_or_not_ours_is_refused() {
    if !ready(&[]) {
        return;
    }
    let mut place = Place::with_docker();
    place
        .docker()
        .add("lan", "macvlan", "", &["192.168.1.0/24"]);
    let cases: [(&[&str], &[&str], &str); 8] = [
        (
            &["docker:brigde"],
            &[],
            "Docker has no network `brigde` (`docker network create brigde` makes it), but \
             `bridge`; did you mean `bridge`?",
        ),
        (
            &["docker:lan"],
            &[],
            "Docker's network `lan` is made by the driver `macvlan`, and this host is no part of \
             it; name one of driver `bridge`",
        ),
        (
            &["lan:lna0"],
            &[],
            "there is no interface `lna0`, but `docker0`, `far0`, `lan0`; did you mean `lan0`?",
        ),
        (
            &["lan:w-one"],
            &[],
            "`w-one` is the tunnel itself; name an interface of a network behind us",
        ),
        (
            &["docker:bridge"],
            &["172.17.0.0/16"],
            "docker:bridge has 172.17.0.0/16, as has peer `other`; what lies behind a peer does \
             not lie behind us",
        ),
        (
            &["lan:lan0"],
            &["fd01::8:0/112"],
            "lan:lan0 has fd01::/64, and fd01::8:0/112 in it is of peer `other`; what lies behind \
             a peer does not lie behind us",
        ),
        (
            &["docker:bridge", "192.168.8.0/24 as 172.17.8.0/24"],
            &[],
            "docker:bridge has 172.17.0.0/16, which overlaps 192.168.8.0/24 as 172.17.8.0/24: \
             peers could not tell one from the other",
        ),
        (
            &["lan:lan0", "192.168.1.0/24 as 10.77.1.0/24"],
            &[],
            "lan:lan0 has 192.168.1.0/24, which overlaps 192.168.1.0/24 as 10.77.1.0/24: peers \
             could not tell one from the other",
        ),
    ];
    for (networks, of_peer, text) in cases {
        place.write(networks, of_peer);
        assert_eq!(place.weapon(&["check", "one.toml"]).code, 0, "{text}");
        place.assert_not_started(text);
    }
    let links = place.host.run("ip -brief link");
    assert!(!links.contains("w-one"), "{links}");

    // A running gateway stays as it is.
    let gateway = place.start(&["docker:bridge", "lan:lan0"], &["10.50.0.0/16"]);
    let before = (behind(&gateway), place.host.run("ip route show table all"));
    for (networks, of_peer, text) in cases {
        place.write(networks, of_peer);
        place.assert_not_reloaded(text);
    }
    let after = (behind(&gateway), place.host.run("ip route show table all"));
    assert_eq!(after, before);
}

#[test]
fn a_docker_that_is_not_there_is_refused() {
    if !ready(&[]) {
        return;
    }
    let mut place = Place::new();
    let socket = place.home.path().join("docker.sock");
    let socket = socket.display();
    place.write(&["docker:bridge"], &[]);
    let text = format!(
        "there is no Docker at {socket}; install it, start it (`systemctl start docker`), or say \
         with DOCKER_HOST=unix://PATH where it listens"
    );
    place.assert_not_started(&text);

    place
        .start_docker()
        .answer(Manner::With("HTTP/1.1 403 Forbidden\r\n\r\n"));
    let text = format!(
        "Docker at {socket} gives no usable answer: Docker responded with status code 403: "
    );
    place.assert_not_started(&text);
    place.docker().answer(Manner::Silent);
    let text = format!("Docker at {socket} does not answer; does `docker network ls` work?");
    place.assert_not_started(&text);

    // Without it, nothing else is to be had than what needs none.
    place.docker = None;
    let _gateway = place.start(&["lan:lan0"], &[]);
    place.write(&["docker:bridge"], &[]);
    let text = format!(
        "there is no Docker at {socket}; install it, start it (`systemctl start docker`), or say \
         with DOCKER_HOST=unix://PATH where it listens"
    );
    place.assert_not_reloaded(&text);
}

#[test]
fn a_reload_takes_other_networks_and_gives_them_back() {
    if !ready(&[]) {
        return;
    }
    let mut place = Place::with_docker();
    place.create("app", &["172.18.0.0/16"]);
    let gateway = place.start(&["docker:app"], &[]);
    let interface = FakeDocker::interface("app");
    let app = [("172.18.0.0/16", Some(interface.as_str()))];
    let lan = [
        ("192.168.1.0/24", Some("lan0")),
        ("fd01::/64", Some("lan0")),
    ];

    // What was made the moment before is there.
    place.docker().create("later", &["172.21.0.0/16"]);
    place.write(&["lan:lan0", "docker:later"], &[]);
    let said = place.weapon(&["reload", "one.toml"]);
    let lines = "network lan:lan0: added\nnetwork docker:later: added\n\
                 network docker:app: removed\n";
    assert_eq!((said.code, said.out.as_str()), (0, lines), "{said:?}");
    let status = behind(&gateway);
    assert_eq!(status[0], entry("lan:lan0", &lan, &[]));
    assert_eq!(status[1]["prefixes"][0]["prefix"], "172.21.0.0/16");
    // The new ones are followed.
    place.run("ip address del fd01::1/64 dev lan0");
    until("the status follows", PATIENCE, || {
        (behind(&gateway)[0] == entry("lan:lan0", &lan[..1], &[])).then_some(())
    });

    // Nobody confirms, and what is gone back to is not there at this moment.
    place.write(&[], &[]);
    let said = place.weapon(&["reload", "one.toml", "--confirm", "1s"]);
    assert_eq!(said.code, 0, "{said:?}");
    place.docker().remove("later");
    let unknown = "Docker has no network `later` (`docker network create later` makes it), but \
                   `app`, `bridge`";
    let expected = [
        entry("lan:lan0", &lan[..1], &[]),
        entry("docker:later", &[], &[unknown]),
    ];
    until_behind(&gateway, &expected);

    // That it is not there is in no other change's way.
    place.write(&["docker:later", "lan:lan0"], &["10.50.0.0/16"]);
    let said = place.weapon(&["reload", "one.toml"]);
    assert_eq!((said.code, said.error.as_str()), (0, ""), "{said:?}");
    place.write(&["docker:app"], &[]);
    assert_eq!(place.weapon(&["reload", "one.toml"]).code, 0);
    until_behind(&gateway, &[entry("docker:app", &app, &[])]);
}
