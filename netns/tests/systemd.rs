//! A gateway as a unit of a real systemd, from its Debian package: it is told of all that happens,
//! watches over the gateway's threads, and replaces it without that a download ends.

use std::fs;
use std::time::{Duration, Instant};

use weapon_netns::booted::{self, PROGRAMS, package};
use weapon_netns::fake_docker::FakeDocker;
use weapon_netns::traffic::{Pace, Stream};
use weapon_netns::weapon::{PATIENCE, binary};
use weapon_netns::{Booted, Host, Pair, Weapon, link, ready, until};

const UNIT: &str = "weapon@one";

/// What the unit's exposure may be at most, times ten.
const EXPOSURE_MAX: &str = "--threshold=15";

fn is_possible(programs: &[&str]) -> bool {
    if !ready(&[&PROGRAMS, programs].concat()) {
        return false;
    }
    assert_eq!(booted::lacking(), None);
    true
}

/// A pair of which `one` is a machine with systemd and our package.
struct Machine {
    pair: Pair,
    other: Weapon,
    booted: Booted,
}

impl Machine {
    /// The package is installed, and the gateway configured as a person would do it: a file that
    /// all may read, and a key that root alone may.
    #[track_caller]
    fn new() -> Self {
        let pair = Pair::new();
        let other = pair.start_other();
        let booted = Booted::start(&pair.one);
        let made = package(&booted.outside());
        let name = made.file_name().expect("a name").to_string_lossy();
        booted.run(&format!("dpkg --install /outside/{name}"));
        let machine = Self {
            pair,
            other,
            booted,
        };
        machine.configure("");
        let key = machine.pair.plan.private_key.to_base64();
        machine
            .booted
            .write("/etc/weapon/one.key", key.as_str(), "600");
        machine
    }

    /// Writes the gateway's file with `more` in its first section.
    #[track_caller]
    fn configure(&self, more: &str) {
        let text = self.pair.plan.toml();
        let lines = text.lines().filter(|line| !line.starts_with("private_key"));
        let text = lines.collect::<Vec<_>>().join("\n");
        let key = format!("[gateway]\nprivate_key_file = \"one.key\"\n{more}");
        let text = text.replacen("[gateway]", &key, 1);
        self.booted.write("/etc/weapon/one.toml", &text, "644");
    }

    #[track_caller]
    fn start(&self) {
        self.booted.run(&format!("systemctl start {UNIT}"));
    }

    fn property(&self, name: &str) -> String {
        self.booted.property(UNIT, name)
    }

    /// A line of `/proc/PID/status` of the gateway.
    #[track_caller]
    fn process(&self, key: &str) -> String {
        let pid = self.property("MainPID");
        let status = self.booted.run(&format!("cat /proc/{pid}/status"));
        let line = status.lines().find(|line| line.starts_with(key));
        let line = line.unwrap_or_else(|| panic!("no {key} in {status}"));
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- journal ----\n{}----", self.booted.journal(UNIT));
        }
    }
}

#[test]
fn the_unit_is_understood_and_no_wider_than_it_may_be() {
    if !is_possible(&[]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../package/weapon@.service");
    let text = fs::read_to_string(path).expect("the unit");
    let program = binary().display().to_string();
    let unit = folder.path().join("weapon@one.service");
    fs::write(&unit, text.replace("/usr/bin/weapon", &program)).expect("a file");
    let analyze = |words: &[&str]| {
        let mut command = std::process::Command::new("systemd-analyze");
        let output = command.args(words).arg(&unit).output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (is_good, said) = analyze(&["verify", "--man=no"]);
    assert!(is_good && !said.contains("weapon@one"), "{said}");
    let (is_tight, said) = analyze(&["security", "--offline=true", EXPOSURE_MAX]);
    assert!(is_tight, "{said}");
    println!("{}", said.lines().last().unwrap_or_default());
}

#[test]
fn it_is_told_when_the_gateway_is_up_and_it_runs_with_one_capability() {
    if !is_possible(&["nft", "iptables", "wg"]) {
        return;
    }
    let machine = Machine::new();
    // A host with a firewall like that of Docker, and with a network behind the gateway.
    let behind = Host::new("behind");
    link(
        (&machine.pair.one, "eth1", &["10.98.0.1/24"]),
        (&behind, "eth0", &["10.98.0.2/24"]),
    );
    for line in [
        "iptables -N DOCKER-USER",
        "iptables -A FORWARD -j DOCKER-USER",
        "iptables -P FORWARD DROP",
    ] {
        machine.pair.one.run(line);
    }
    machine.configure("networks = [\"10.98.0.0/24\"]\n");
    machine.start();
    // It is up the moment that the start returns.
    let status = machine.booted.run("weapon status one --json");
    assert!(status.contains("\"interface\": \"w-one\""), "{status}");
    machine.pair.one.ping("10.99.0.2");
    assert_eq!(machine.property("StatusText"), "up, 0 of 1 peers connected");

    let uid = machine.booted.run("id -u weapon");
    assert_eq!(machine.process("Uid:"), [uid.trim(); 4].join(" "));
    for set in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        // CAP_NET_ADMIN is number 12.
        assert_eq!(machine.process(set), "0000000000001000", "{set}");
    }
    assert_eq!(machine.process("NoNewPrivs:"), "1");
    // Filters of system calls are there.
    assert_eq!(machine.process("Seccomp:"), "2");

    // With that capability alone it has set all that it wants to: forwarding and rules.
    let system = machine.booted.run("weapon status one --system");
    assert!(!system.contains("missing"), "{system}");
    let rules = machine.pair.one.run("nft list tables");
    assert!(rules.contains("inet weapon-w-one"), "{rules}");
    let rules = machine.pair.one.run("iptables-save -t filter");
    assert!(rules.contains("--comment \"weapon w-one: "), "{rules}");
    let forwards = machine
        .booted
        .run("cat /proc/sys/net/ipv4/conf/w-one/forwarding");
    assert_eq!(forwards.trim(), "1", "{system}");
    // `wg` sees it.
    let shown = machine.booted.run("wg show");
    assert!(shown.contains("interface: w-one"), "{shown}");

    machine.booted.run(&format!("systemctl stop {UNIT}"));
    assert_eq!(machine.property("Result"), "success");
    let rules = machine.pair.one.run("nft list ruleset");
    assert!(!rules.contains("weapon"), "{rules}");
    let rules = machine.pair.one.run("iptables-save");
    assert!(!rules.contains("weapon"), "{rules}");
    let left = machine
        .booted
        .run("find /run/weapon /run/wireguard -type f");
    assert!(!left.contains("one"), "{left}");
}

/// What docs/systemd.md advises for networks of Docker's.
#[test]
fn dockers_networks_are_seen_with_dockers_group_alone() {
    if !is_possible(&["nft"]) {
        return;
    }
    let machine = Machine::new();
    let _docker = FakeDocker::start(&machine.booted.outside().join("docker.sock"));
    machine
        .booted
        .sh("getent group docker || groupadd --system docker
         chgrp docker /outside/docker.sock && chmod 660 /outside/docker.sock");
    for line in [
        "ip link add docker0 type bridge",
        "ip addr add 172.17.0.1/16 dev docker0",
        "ip link set docker0 up",
    ] {
        machine.pair.one.run(line);
    }
    machine.configure("networks = [\"docker:bridge\"]\n");
    let place = format!("/etc/systemd/system/{UNIT}.service.d/docker.conf");
    let dropped_in = "[Service]\nEnvironment=DOCKER_HOST=unix:///outside/docker.sock\n";
    machine.booted.write(&place, dropped_in, "644");
    machine.booted.run("systemctl daemon-reload");
    let start = format!("systemctl start {UNIT}");
    assert!(machine.booted.attempt(&start).is_err());
    let journal = machine.booted.journal(UNIT);
    assert!(journal.contains("in the group `docker`"), "{journal}");

    let dropped_in = format!("{dropped_in}SupplementaryGroups=docker\n");
    machine.booted.write(&place, &dropped_in, "644");
    machine.booted.run("systemctl daemon-reload");
    machine
        .booted
        .run(&format!("systemctl reset-failed {UNIT}"));
    machine.start();
    let status = machine.booted.run("weapon status one --json");
    assert!(status.contains("172.17.0.0/16"), "{status}");
}

/// What docs/systemd.md advises where firewalld or ufw keep the rules.
#[test]
fn as_root_it_has_no_more_capabilities() {
    if !is_possible(&[]) {
        return;
    }
    let machine = Machine::new();
    // After it was another user's.
    machine.start();
    machine.booted.run(&format!("systemctl stop {UNIT}"));
    let place = format!("/etc/systemd/system/{UNIT}.service.d/user.conf");
    machine.booted.write(
        &place,
        "[Service]\nUser=root\nSystemCallFilter=capset\n",
        "644",
    );
    machine.booted.run("systemctl daemon-reload");
    machine.start();
    machine.pair.one.ping("10.99.0.2");
    assert_eq!(machine.process("Uid:"), "0 0 0 0");
    assert_eq!(machine.process("CapEff:"), "0000000000001000");
}

#[test]
fn a_start_that_fails_says_what_is_missing() {
    if !is_possible(&[]) {
        return;
    }
    let machine = Machine::new();
    machine
        .booted
        .run("mv /etc/weapon/one.key /etc/weapon/psk.key");
    machine.configure("");
    machine
        .booted
        .run("sed -i s/one.key/psk.key/ /etc/weapon/one.toml");
    let start = format!("systemctl start {UNIT}");
    assert!(machine.booted.attempt(&start).is_err());
    let journal = machine.booted.journal(UNIT);
    let advice = "LoadCredential=psk.key:/etc/weapon/psk.key";
    assert!(journal.contains(advice), "{journal}");
    // As it says.
    let line = format!("[Service]\n{advice}\n");
    let place = format!("/etc/systemd/system/{UNIT}.service.d/key.conf");
    machine.booted.write(&place, &line, "644");
    machine.booted.run("systemctl daemon-reload");
    machine
        .booted
        .run(&format!("systemctl reset-failed {UNIT}"));
    machine.start();
}

#[test]
fn a_reload_takes_the_file_or_fails_and_changes_nothing() {
    if !is_possible(&[]) {
        return;
    }
    let machine = Machine::new();
    machine.start();
    machine.pair.one.ping("10.99.0.2");
    let pid = machine.property("MainPID");
    machine.configure("mtu = 1380\n");
    machine.booted.run(&format!("systemctl reload {UNIT}"));
    // It is done when the command returns.
    let link = machine.pair.one.run("ip -o link show w-one");
    assert!(link.contains("mtu 1380"), "{link}");
    assert_eq!(machine.property("ActiveState"), "active");

    machine.configure("no_such_key = 1\n");
    let reload = machine.booted.attempt(&format!("systemctl reload {UNIT}"));
    assert!(reload.is_err(), "a bad file is no success");
    assert_eq!(machine.property("ActiveState"), "active");
    let journal = machine.booted.journal(UNIT);
    assert!(journal.contains("no_such_key"), "{journal}");

    // By the signal it is the gateway itself that says so.
    machine.configure("mtu = 1400\n");
    machine.booted.run(&format!("kill -HUP {pid}"));
    until("the signal is followed", PATIENCE, || {
        let link = machine.pair.one.run("ip -o link show w-one");
        link.contains("mtu 1400").then_some(())
    });
    until("the unit is as before", PATIENCE, || {
        (machine.property("SubState") == "running").then_some(())
    });
    assert_eq!(machine.property("MainPID"), pid);
    machine.pair.one.ping("10.99.0.2");
}

#[test]
fn a_lane_that_hangs_brings_a_new_gateway() {
    if !is_possible(&["strace"]) {
        return;
    }
    let machine = Machine::new();
    let place = format!("/etc/systemd/system/{UNIT}.service.d/watchdog.conf");
    let text = "[Service]\nWatchdogSec=2\nRestartSec=100ms\n";
    machine.booted.write(&place, text, "644");
    machine.booted.run("systemctl daemon-reload");
    machine.start();
    machine.pair.one.ping("10.99.0.2");
    // As long as all is well it is fed.
    let fed = || machine.property("WatchdogTimestampMonotonic");
    for _ in 0..2 {
        let before = fed();
        until("the watchdog is fed", PATIENCE, || {
            (fed() != before).then_some(())
        });
    }
    assert_eq!(machine.property("NRestarts"), "0");

    // One lane is held when it wakes up; everything else goes on. Not for ever, as the process
    // can't end as long as somebody else holds one of its threads.
    let pid = machine.property("MainPID");
    let lane = machine.booted.sh(&format!(
        "for child in $(cat /proc/{pid}/task/*/children); do \
           grep -l '^lane-0$' /proc/$child/task/*/comm; \
         done | cut -d / -f 5"
    ));
    let mut strace = machine.booted.command("strace");
    strace.args(["-p", lane.trim(), "-o", "/dev/null"]);
    strace.args(["-e", "trace=epoll_wait,epoll_pwait"]);
    strace.args(["-e", "inject=epoll_wait,epoll_pwait:delay_exit=10000000"]);
    let mut strace = strace.spawn().expect("strace");
    until("systemd starts another", Duration::from_secs(60), || {
        (machine.property("NRestarts") == "1").then_some(())
    });
    strace.wait().expect("strace ends with what it holds");
    until("the other is up", PATIENCE, || {
        (machine.property("ActiveState") == "active").then_some(())
    });
    assert_ne!(machine.property("MainPID"), pid);
    let journal = machine.booted.journal(UNIT);
    assert!(journal.contains("a thread hangs"), "{journal}");
    machine.pair.one.ping("10.99.0.2");
}

#[test]
fn a_download_goes_on_while_the_gateway_is_replaced() {
    if !is_possible(&[]) {
        return;
    }
    let mut machine = Machine::new();
    // A port of the kernel's choice: only who keeps it has it again.
    machine.pair.plan.listen = 0;
    machine.configure("");
    machine.start();
    machine.pair.one.ping("10.99.0.2");
    let port = || {
        let status = machine.booted.run("weapon status one --json");
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        status["listen_port"].clone()
    };
    let (before, pid) = (port(), machine.property("MainPID"));
    let pace = Pace {
        bytes: None,
        pause: Duration::from_micros(500),
    };
    let (from, to) = (&machine.pair.other, &machine.pair.one);
    let stream = Stream::start(from, to, "10.99.0.1", pace);
    stream.expect_progress(4 << 20);

    let mut restart = machine.booted.command("systemctl");
    let mut restart = restart.args(["restart", UNIT]).spawn().expect("systemctl");
    let gap = longest_gap(&stream, Duration::from_secs(20), || {
        restart.try_wait().expect("a child of ours").is_some()
    });
    assert!(restart.wait().expect("a child of ours").success());
    println!("the longest time without a byte at the restart: {gap:?}");
    stream.expect_progress(4 << 20);
    stream.finish();

    assert_ne!(machine.property("MainPID"), pid);
    assert_eq!(port(), before, "{}", machine.booted.journal(UNIT));
    let journal = machine.booted.journal(UNIT);
    assert!(
        journal.contains("the sockets were kept for us"),
        "{journal}"
    );
    // What systemd would hold on to while the interface is down would keep the port taken (P99).
    assert_eq!(machine.property("NFileDescriptorStore"), "0");
    // It was the new gateway that spoke first, and not the other after 15 s of silence.
    let session = machine.other.peer("one")["session"].clone();
    assert_eq!(session["initiator"], false, "{session}");
}

/// The longest time in which nothing arrived, until `is_done` and something has arrived again.
#[track_caller]
fn longest_gap(stream: &Stream, patience: Duration, mut is_done: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    let (mut received, mut last, mut longest) = (stream.received(), begin, Duration::ZERO);
    let mut done_at = None;
    loop {
        let now = Instant::now();
        assert!(now - begin < patience, "nothing arrives any more");
        let count = stream.received();
        if count != received {
            longest = longest.max(now - last);
            (received, last) = (count, now);
            if done_at.is_some_and(|at| at < now) {
                return longest;
            }
        }
        if done_at.is_none() && is_done() {
            done_at = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Of the two processes it is the helper that systemd knows. If the other is killed it ends too,
/// and both are there again.
#[test]
fn a_gateway_that_is_killed_is_started_again_with_its_helper() {
    if !is_possible(&[]) {
        return;
    }
    let machine = Machine::new();
    machine.start();
    machine.pair.one.ping("10.99.0.2");
    let helper = machine.property("MainPID");
    let children = format!("cat /proc/{helper}/task/{helper}/children");
    let gateway = machine.booted.sh(&children);
    machine.booted.run(&format!("kill -9 {}", gateway.trim()));
    until("systemd starts another", PATIENCE, || {
        (machine.property("NRestarts") == "1").then_some(())
    });
    until("the other is up", PATIENCE, || {
        (machine.property("ActiveState") == "active").then_some(())
    });
    assert_ne!(machine.property("MainPID"), helper);
    let journal = machine.booted.journal(UNIT);
    assert!(journal.contains("SIGKILL"), "{journal}");
    machine.pair.one.ping("10.99.0.2");
}
