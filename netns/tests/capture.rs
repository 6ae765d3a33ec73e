//! `weapon capture`: what others read in its files is what has passed, and what died with its
//! reason; and no tunnel waits for who looks.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use weapon_netns::traffic::transfer;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Pair, Said, Weapon, ready, until};

/// A capture of the gateway of `one` that runs.
struct Running {
    child: Child,
}

impl Running {
    /// Starts it; if it writes to a file, waits until it has begun.
    #[track_caller]
    fn start(pair: &Pair, file: Option<&Path>, words: &[&str]) -> Self {
        let mut command = pair.home.command(&pair.one);
        command.args(["capture", "one"]).args(words);
        if let Some(file) = file {
            command.arg("-w").arg(file);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("`weapon capture` runs");
        if let Some(file) = file {
            until("the capture has begun", PATIENCE, || {
                fs::metadata(file).ok().filter(|it| it.len() != 0)
            });
        }
        Self { child }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it lives");
    }

    /// Waits for its end: what it says then, packets and how many it has missed.
    #[track_caller]
    fn end(mut self) -> (u64, u64) {
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().expect("its words");
        stderr.read_to_string(&mut said).expect("text");
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{status}: {said}");
        let numbers = said.split(|it: char| !it.is_ascii_digit());
        let numbers: Vec<u64> = numbers.filter_map(|it| it.parse().ok()).collect();
        let [packets, missed] = numbers[..] else {
            panic!("it says {said:?}");
        };
        (packets, missed)
    }

    /// Ctrl-C.
    #[track_caller]
    fn stop(self) -> (u64, u64) {
        self.signal(Signal::INT);
        self.end()
    }
}

/// What tshark has of each packet: interface, direction, comment, source, destination, seconds.
#[track_caller]
fn read(file: &Path) -> Vec<Vec<String>> {
    let mut command = Command::new("tshark");
    command
        .arg("-r")
        .arg(file)
        .args(["-n", "-T", "fields", "-E", "separator=|"]);
    for field in [
        "frame.interface_name",
        "frame.packet_flags_direction",
        "frame.comment",
        "_ws.col.Source",
        "_ws.col.Destination",
        "frame.time_epoch",
        "_ws.malformed",
    ] {
        command.args(["-e", field]);
    }
    let said = Said::by(&mut command);
    assert_eq!(said.code, 0, "{}", said.error);
    let lines = said.out.lines();
    lines
        .map(|it| it.split('|').map(str::to_owned).collect())
        .collect()
}

fn file(pair: &Pair) -> PathBuf {
    pair.home.path().join("one.pcapng")
}

#[test]
fn what_passes_is_seen_and_what_dies_with_its_reason() {
    if !ready(&["ping", "tshark", "capinfos", "tcpdump"]) {
        return;
    }
    let pair = Pair::new();
    let (one, _other) = pair.start_both();
    let file = file(&pair);
    let running = Running::start(&pair, Some(&file), &[]);
    pair.one.run("ping -c 3 -i 0.01 -W 5 10.99.0.2");
    pair.one.run("ping -c 1 -W 5 fd99::2");
    // From an address that is not in its networks, and to nobody.
    pair.other.run("ip address add 10.99.0.3/32 dev w-other");
    assert!(
        pair.other
            .attempt("ping -c 1 -W 1 -I 10.99.0.3 10.99.0.1")
            .is_err()
    );
    pair.one.run("ip route add 10.77.0.0/24 dev w-one");
    assert!(pair.one.attempt("ping -c 1 -W 1 10.77.0.1").is_err());
    assert_eq!(one.drops("wrong_source"), 1);
    until("the file has all", PATIENCE, || {
        let bytes = fs::read(&file).expect("the file");
        let has = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
        (has("dropped: wrong_source") && has("dropped: no_route")).then_some(())
    });
    let (packets, missed) = running.stop();
    assert_eq!(missed, 0);
    let mode = fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let read = read(&file);
    assert_eq!(read.len() as u64, packets);
    assert!(
        read.iter().all(|it| it[6].is_empty()),
        "malformed: {read:#?}"
    );
    let count = |interface: &str, direction: &str, comment: &str, from: &str, to: &str| {
        let is_it = |it: &&Vec<String>| {
            let direction_of = it[1].trim_start_matches("0x").trim_start_matches('0');
            [it[0].as_str(), direction_of, &it[2], &it[3], &it[4]]
                == [interface, direction, comment, from, to]
        };
        read.iter().filter(is_it).count()
    };
    let (inbound, outbound) = ("1", "2");
    assert_eq!(
        count("other", outbound, "", "10.99.0.1", "10.99.0.2"),
        3,
        "{read:#?}"
    );
    assert_eq!(
        count("other", inbound, "", "10.99.0.2", "10.99.0.1"),
        3,
        "{read:#?}"
    );
    assert_eq!(
        count("other", outbound, "", "fd99::1", "fd99::2"),
        1,
        "{read:#?}"
    );
    let wrong = "dropped: wrong_source";
    assert_eq!(
        count("other", inbound, wrong, "10.99.0.3", "10.99.0.1"),
        1,
        "{read:#?}"
    );
    let lost = "dropped: no_route";
    assert_eq!(
        count("one", outbound, lost, "10.99.0.1", "10.77.0.1"),
        1,
        "{read:#?}"
    );
    // To the nanosecond, at the time of this clock.
    let times: Vec<f64> = read
        .iter()
        .map(|it| it[5].parse().expect("seconds"))
        .collect();
    assert!(times.is_sorted());
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("a clock")
        .as_secs_f64();
    assert!((now - 60.0..=now).contains(&times[0]), "{times:?} at {now}");

    // Others can read it too.
    let path = file.to_str().expect("a path");
    let infos = Said::by(Command::new("capinfos").args(["-M", path]));
    assert_eq!(infos.code, 0, "{}", infos.error);
    assert!(infos.out.contains("nanoseconds (9)"), "{}", infos.out);
    let dumped = Said::by(Command::new("tcpdump").args(["-nr", path]));
    assert_eq!(dumped.code, 0, "{}", dumped.error);
    assert_eq!(dumped.out.lines().count() as u64, packets);
    assert!(
        dumped
            .out
            .contains("IP 10.99.0.1 > 10.99.0.2: ICMP echo request")
    );
}

/// What the filter has decided stands by each packet that it has judged.
#[test]
fn the_rule_that_decides_is_named() {
    if !ready(&["ping", "tshark"]) {
        return;
    }
    let pair = Pair::new();
    let _other = pair.start_other();
    let rules = "\n[filter]\ndefault = \"deny\"\n[[rule]]\nname = \"no-web\"\n\
                 action = \"deny\"\nprotocol = \"tcp\"\nports = 80\n\
                 [[rule]]\nname = \"out\"\naction = \"allow\"\ndirection = \"outbound\"\n";
    let text = pair.plan.toml() + rules;
    let _one = Weapon::start_with(&pair.one, &pair.home, "one.toml", &text);
    pair.one.ping("10.99.0.2");
    let file = file(&pair);
    let running = Running::start(&pair, Some(&file), &["--filter", "ip"]);
    pair.one.run("ping -c 2 -i 0.01 -W 5 10.99.0.2");
    let web = ([10, 99, 0, 2], 80).into();
    let time = std::time::Duration::from_millis(300);
    let refused = pair.one.enter(|| TcpStream::connect_timeout(&web, time));
    assert!(refused.is_err());
    assert!(pair.other.attempt("ping -c 1 -W 1 10.99.0.1").is_err());
    running.stop();

    let read = read(&file);
    let count = |comment: &str, from: &str| {
        let is_it = |it: &&Vec<String>| [it[2].as_str(), &it[3]] == [comment, from];
        read.iter().filter(is_it).count()
    };
    let (one, other) = ("10.99.0.1", "10.99.0.2");
    let allowed = "allowed by rule \"out\"";
    assert_eq!(count(allowed, one), 2, "{read:#?}");
    // The answers too, for they go on with a flow.
    assert_eq!(count(allowed, other), 2, "{read:#?}");
    let denied = "dropped: denied; denied by rule \"no-web\"";
    assert!(count(denied, one) >= 1, "{read:#?}");
    let denied = "dropped: denied; denied by default";
    assert_eq!(count(denied, other), 1, "{read:#?}");
}

#[test]
fn filters_and_limits_are_kept() {
    if !ready(&["ping", "tshark", "tcpdump"]) {
        return;
    }
    let pair = Pair::new();
    let (_one, _other) = pair.start_both();
    let file = file(&pair);
    // A superpacket is many packets.
    let words = ["--filter", "tcp and outbound", "--size", "300K"];
    let running = Running::start(&pair, Some(&file), &words);
    transfer(&pair.one, &pair.other, "10.99.0.2", 4 << 20);
    let (packets, _) = running.end();
    let len = fs::metadata(&file).expect("the file").len();
    assert!((290 << 10..301 << 10).contains(&len), "{len} bytes");
    let all = read(&file);
    assert_eq!(all.len() as u64, packets);
    assert!(all.iter().all(|it| it[3] == "10.99.0.1"), "{all:#?}");
    let longest = Said::by(
        Command::new("tshark")
            .args([
                "-n",
                "-T",
                "fields",
                "-e",
                "frame.len",
                "-o",
                "tcp.check_checksum:TRUE",
            ])
            .args(["-Y", "tcp.checksum.status != \"Bad\"", "-r"])
            .arg(&file),
    );
    let lens: Vec<usize> = longest
        .out
        .lines()
        .map(|it| it.parse().expect("a length"))
        .collect();
    assert_eq!(lens.len() as u64, packets, "no checksum is wrong");
    assert!(
        lens.iter()
            .max()
            .is_some_and(|&len| (1300..=1424).contains(&len)),
        "{lens:?}"
    );

    let words = [
        "--count",
        "5",
        "--peer",
        "other",
        "--after",
        "--filter",
        "icmp or icmp6",
    ];
    let running = Running::start(&pair, Some(&file), &words);
    pair.one.run("ping -c 5 -i 0.01 -W 5 10.99.0.2");
    assert_eq!(running.end(), (5, 0));
    let running = Running::start(&pair, Some(&file), &["--seconds", "1"]);
    running.end();

    // By a pipe.
    let weapon = Running::start(&pair, None, &["--count", "2", "--filter", "icmp"]);
    let mut weapon = weapon.child;
    let mut tcpdump = Command::new("tcpdump");
    tcpdump
        .args(["-nr", "-"])
        .stdin(weapon.stdout.take().expect("its output"));
    tcpdump.stdout(Stdio::piped()).stderr(Stdio::piped());
    let reader = tcpdump.spawn().expect("`tcpdump` runs");
    until("the capture has begun", PATIENCE, || {
        pair.one.ping("10.99.0.2");
        weapon.try_wait().expect("its state")
    });
    let output = reader.wait_with_output().expect("its end");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn what_cannot_be_is_refused() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let _one = pair.start();
    for (words, code, says) in [
        (
            &["--filter", "tcp prot 5"][..],
            2,
            "weapon: filter, character 5: \"prot\" where",
        ),
        (
            &["--peer", "nobody"],
            1,
            "there is no peer \"nobody\"; there is other",
        ),
        (&["--count", "0"], 2, "0 is not in 1.."),
        (&["--size", "many"], 2, "is no size"),
        (&["--before", "--after"], 2, "cannot be used with"),
    ] {
        let said = pair.weapon(&[&["capture", "one"], words].concat());
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.error.contains(says), "{said:?}");
        assert_eq!(said.out, "");
    }
    let said = pair.weapon(&["capture", "two"]);
    assert!(
        said.error.contains("there is no running gateway \"two\""),
        "{said:?}"
    );
    // Four at a time, and one that ends makes room.
    let all: Vec<Running> = (0..4)
        .map(|number| {
            let file = pair.home.path().join(format!("{number}.pcapng"));
            Running::start(&pair, Some(&file), &[])
        })
        .collect();
    let said = pair.weapon(&["capture", "--seconds", "1"]);
    assert!(said.error.contains("4 captures run already"), "{said:?}");
    for running in all {
        running.stop();
    }
    assert_eq!(pair.weapon(&["status", "one"]).code, 0);
}

/// Nothing waits for a reader that takes nothing, and what it has missed is known to the packet.
#[test]
fn a_reader_that_stalls_holds_nobody_up() {
    if !ready(&["ping"]) {
        return;
    }
    let pair = Pair::new();
    let (one, _other) = pair.start_both();
    let sealed = |one: &Weapon| {
        let count = one.status()["counters"]["outbound_segments"].as_u64();
        count.expect("a count")
    };
    let before = sealed(&one);
    let running = Running::start(&pair, None, &["--filter", "outbound"]);
    until("the capture has begun", PATIENCE, || {
        one.log()
            .contains("decrypted packets are shown")
            .then_some(())
    });
    transfer(&pair.one, &pair.other, "10.99.0.2", 64 << 20);
    pair.one.ping("10.99.0.2");
    let passed = sealed(&one) - before;

    let mut running = running;
    let mut stdout = running.child.stdout.take().expect("its output");
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        stdout.read_to_end(&mut all).expect("packets");
        all.len()
    });
    // What had waited comes, and then the end.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let (packets, missed) = running.stop();
    assert!(missed > 0, "{packets} packets were taken by nobody");
    let after = sealed(&one) - before;
    let all = packets + missed;
    assert!(
        (passed..=after).contains(&all),
        "{packets} + {missed} of {passed} to {after}"
    );
    assert!(reader.join().expect("a reader") > 1 << 20);
}

#[test]
fn a_capture_ends_with_its_client() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let (one, _other) = pair.start_both();
    let file = file(&pair);
    let mut running = Running::start(&pair, Some(&file), &[]);
    running.signal(Signal::KILL);
    running.child.wait().expect("its end");
    until("the capture has ended", PATIENCE, || {
        one.log().contains("the capture has ended").then_some(())
    });
    pair.one.ping("10.99.0.2");

    // A reader that goes ends it without a word of failure.
    let mut running = Running::start(&pair, None, &[]);
    drop(running.child.stdout.take());
    until("it has ended", PATIENCE, || {
        pair.one.ping("10.99.0.2");
        running.child.try_wait().expect("its state")
    });
    running.end();
    // And a gateway that stops.
    let running = Running::start(&pair, Some(&file), &[]);
    one.stop();
    let mut child = running.child;
    let ended = until("it has ended", PATIENCE, || {
        child.try_wait().expect("its state")
    });
    assert_eq!(ended.code(), Some(1));
}
