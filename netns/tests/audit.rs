//! The audit log of real gateways: what happens is in it, what is done to it is found, and what
//! becomes of a gateway whose log cannot be written.

use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use weapon_netns::plan::private_key;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Host, Pair, Said, Weapon, ready, until};

const AUDIT: &str = "\n[audit]\nseal_seconds = 1\n";

fn write(pair: &Pair, section: &str) -> PathBuf {
    let text = format!("{}{section}", pair.plan.toml());
    pair.home.write("one.toml", &text)
}

#[track_caller]
fn start(pair: &Pair, section: &str) -> Weapon {
    Weapon::start(&pair.one, &pair.home, &write(pair, section))
}

fn folder(pair: &Pair) -> PathBuf {
    pair.home.logs().join("one")
}

/// The records of a kind.
#[track_caller]
fn records(pair: &Pair, kind: &str) -> Vec<Value> {
    let said = pair.weapon(&["audit", "show", "one.toml", "--json", "--kind", kind]);
    assert_eq!((said.code, said.error.as_str()), (0, ""), "{said:?}");
    let lines = said.out.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("a record is JSON"))
        .collect()
}

#[track_caller]
fn verify(pair: &Pair) -> Said {
    pair.weapon(&["audit", "verify", "one.toml"])
}

#[track_caller]
fn assert_good(pair: &Pair) {
    let said = verify(pair);
    assert_eq!((said.code, said.error.as_str()), (0, ""), "{said:?}");
    assert!(said.out.contains(" seals hold by key "), "{said:?}");
}

#[track_caller]
fn wait_for(pair: &Pair, kind: &str, what: impl Fn(&Value) -> bool) -> Value {
    until(kind, PATIENCE, || {
        records(pair, kind).into_iter().find(|it| what(it))
    })
}

#[test]
fn what_happens_is_recorded_and_what_is_done_to_it_is_found() {
    if !ready(&[]) {
        return;
    }
    let mut pair = Pair::new();
    let other = pair.start_other();
    let mut one = start(&pair, AUDIT);
    pair.one.ping("10.99.0.2");
    let shake = wait_for(&pair, "handshake", |it| it["peer"] == "other");
    assert_eq!(shake["endpoint"], "192.0.2.2:51820");
    assert_eq!(
        (&shake["role"], &shake["rekey"]),
        (&"initiator".into(), &false.into())
    );

    // It moves to another port.
    pair.other_plan.listen = 51_999;
    pair.home.write("other.toml", &pair.other_plan.toml());
    let said = Said::by(
        pair.home
            .command(&pair.other)
            .args(["reload", "other.toml"]),
    );
    assert_eq!(said.code, 0, "{said:?}");
    pair.other.ping("10.99.0.1");
    let roam = wait_for(&pair, "roam", |_| true);
    assert_eq!(roam["from"], "192.0.2.2:51820");
    assert_eq!(
        (&roam["to"], &roam["by"]),
        (&"192.0.2.2:51999".into(), &"peer".into())
    );

    // A stranger comes, as the other has another key now; then we know the new one.
    let old = pair.other_plan.private_key.public().to_string();
    pair.other_plan.private_key = private_key();
    let new = pair.other_plan.private_key.public().to_string();
    pair.other_plan.peers[0].endpoint = Some("192.0.2.1:51820".to_owned());
    other.stop();
    let _other = pair.start_other();
    let address = "10.99.0.1".parse().expect("an address");
    let _ = pair.other.ping_once(address, Duration::from_millis(100));
    let rejected = wait_for(&pair, "rejected", |it| it["reason"] == "unknown_key");
    assert_eq!(
        (&rejected["public_key"], &rejected["from"]),
        (&new.as_str().into(), &"192.0.2.2:51999".into())
    );
    pair.plan.peers[0].public_key = pair.other_plan.private_key.public();
    write(&pair, AUDIT);
    assert_eq!(pair.weapon(&["reload", "one.toml"]).code, 0);
    let change = wait_for(&pair, "config", |it| it["by"] == "reload");
    let changes = change["changes"].to_string();
    assert!(
        changes.contains("removed") && changes.contains("added"),
        "{change}"
    );
    let key = wait_for(&pair, "key_change", |_| true);
    assert_eq!((&key["old"], &key["new"]), (&old.into(), &new.into()));
    pair.other.ping("10.99.0.1");
    // A file that is no good.
    let file = pair.home.write("one.toml", "[gateway]\nlisten = 99999\n");
    one.process().signal(Signal::HUP);
    until("it is refused", PATIENCE, || {
        one.log().contains("the file is not used").then_some(())
    });
    write(&pair, AUDIT);
    let refused = wait_for(&pair, "config_refused", |_| true);
    assert!(
        refused["why"].to_string().contains("99999 is not a port"),
        "{refused}"
    );
    assert_eq!(refused["file"], file.display().to_string());

    let status = one.status();
    let audit = &status["audit"];
    assert_eq!(
        (&audit["failing"], &audit["lost"]),
        (&Value::Null, &0.into())
    );
    assert!(audit["sequence"].as_u64() > Some(7), "{audit}");
    assert_eq!(audit["key_beside"], true);
    let said = pair.weapon(&["status", "one"]);
    assert!(
        said.out.contains("the verification key still lies beside"),
        "{said:?}"
    );
    assert_good(&pair);

    one.process().signal(Signal::TERM);
    one.process().wait(PATIENCE);
    assert_eq!(records(&pair, "stop")[0]["because"], "asked by SIGTERM");
    let start = &records(&pair, "start")[0];
    assert_eq!(start["peers"][0]["name"], "other");
    let privileges = records(&pair, "privileges");
    assert_eq!(privileges[0]["process"], "helper");
    assert_eq!(privileges[1]["process"], "gateway");
    assert_eq!(privileges[1]["capabilities"], Value::Array(Vec::new()));
    assert!(verify(&pair).out.contains("it ends in order"));
    let peer = pair.weapon(&[
        "audit", "show", "one.toml", "--peer", "other", "--since", "1h",
    ]);
    assert!(
        peer.out.contains("roam") && !peer.out.contains("privileges"),
        "{peer:?}"
    );
    assert_is_found(&pair);
}

/// Bytes, records and the end, of the log that is there.
#[track_caller]
fn assert_is_found(pair: &Pair) {
    let name = "audit-0000000000000001.jsonl";
    let path = folder(pair).join(name);
    let text = fs::read_to_string(&path).expect("the log");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let roam = lines
        .iter()
        .position(|it| it.contains("\"roam\""))
        .expect("it");
    let place = |line: usize| format!("BAD  {}:{}: record {}:", path.display(), line, line);
    let changed = text.replacen("51999", "51998", 1);
    let mut removed = lines.clone();
    removed.remove(roam);
    let cut = lines[..lines.len() - 1].concat();
    for (text, bad) in [
        (changed, place(roam + 1)),
        (
            removed.concat(),
            format!("{}:{}: record {}:", path.display(), roam + 1, roam + 2),
        ),
        (cut, "the end is cut off".to_owned()),
    ] {
        fs::write(&path, text).expect("written");
        let said = verify(pair);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.out.contains(&bad), "{bad}: {said:?}");
    }
    // Read elsewhere, with the key that was taken away.
    fs::write(&path, text).expect("written");
    let key = pair.home.path().join("taken.key");
    fs::rename(folder(pair).join("verification.key"), &key).expect("taken away");
    let said = verify(pair);
    assert!(said.out.contains("were NOT checked"), "{said:?}");
    let (folder, key) = (folder(pair), key.display().to_string());
    let folder = folder.display().to_string();
    let words = [
        "audit",
        "verify",
        "--directory",
        &folder,
        "--key-file",
        &key,
    ];
    let said = pair.weapon(&words);
    assert!(
        said.code == 0 && said.out.contains("seals hold by key"),
        "{said:?}"
    );
}

#[test]
fn a_key_that_is_made_before_is_shown_once() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    write(&pair, AUDIT);
    fs::create_dir(pair.home.logs()).expect("a folder");
    let said = pair.weapon(&["audit", "init", "one.toml"]);
    assert!(
        said.code == 0 && said.out.starts_with("weapon-audit-key-1 "),
        "{said:?}"
    );
    let key = pair.home.write("one.key", &said.out);
    let again = pair.weapon(&["audit", "init", "one.toml"]);
    assert_eq!(again.code, 1);
    assert!(again.error.contains("has a key already"), "{again:?}");
    let one = start(&pair, AUDIT);
    assert_eq!(one.status()["audit"]["key_beside"], false);
    assert_eq!(one.stop().code(), Some(0));
    let key = key.display().to_string();
    let said = pair.weapon(&["audit", "verify", "one.toml", "--key-file", &key]);
    assert!(
        said.code == 0 && said.out.contains("seals hold by key"),
        "{said:?}"
    );
}

#[test]
fn a_killed_gateway_goes_on_with_its_log() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let _other = pair.start_other();
    for kill in 0..3 {
        let mut one = start(&pair, AUDIT);
        pair.one.ping("10.99.0.2");
        wait_for(&pair, "handshake", |_| true);
        one.process().signal(Signal::KILL);
        one.process().wait(PATIENCE);
        if kill == 1 {
            // A record that was half written.
            let path = folder(&pair).join("audit-0000000000000001.jsonl");
            let mut text = fs::read_to_string(&path).expect("the log");
            text.push_str("{\"seq\":99,\"ti");
            fs::write(&path, text).expect("written");
            assert_eq!(verify(&pair).code, 1);
        }
    }
    let one = start(&pair, AUDIT);
    assert_eq!(records(&pair, "start").len(), 4);
    assert_eq!(records(&pair, "recovered")[0]["torn_bytes"], 13);
    assert_eq!(one.stop().code(), Some(0));
    assert_good(&pair);
}

/// Where it cannot be, the gateway does not start, and says what is wrong and what to do.
#[test]
fn a_folder_that_will_not_do_is_refused() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let at = |name: &str| pair.home.path().join(name);
    fs::create_dir(at("open")).expect("a folder");
    fs::set_permissions(at("open"), Permissions::from_mode(0o755)).expect("a mode");
    symlink(at("open"), at("link")).expect("a link");
    for (name, why) in [
        (
            "open",
            "others may look into the folder of the audit log (mode 0755); chmod 700 it",
        ),
        ("link", "is no folder (or a link to one)"),
        (
            "not/there",
            "make that folder, or give another one as audit.directory",
        ),
    ] {
        let place = at(name).display().to_string();
        let file = write(&pair, &format!("\n[audit]\ndirectory = {place:?}\n"));
        let file = file.display().to_string();
        let said = pair.weapon(&["up", &file, "--foreground"]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(
            said.error.contains(why) && said.error.contains(&place),
            "{said:?}"
        );
        assert!(said.error.contains(": audit.directory: "), "{said:?}");
        assert!(pair.one.attempt("ip link show w-one").is_err());
    }
}

/// A disk of 64 KB.
struct TinyDisk(PathBuf);

impl TinyDisk {
    #[track_caller]
    fn new(pair: &Pair) -> Self {
        let path = folder(pair);
        fs::create_dir_all(&path).expect("a folder");
        let path_text = path.display();
        pair.one.run(&format!(
            "mount -t tmpfs -o size=64k,mode=700 tiny {path_text}"
        ));
        // The command runs in this process' mount namespace, as all of a test do.
        let is_mounted = fs::read_to_string("/proc/mounts").expect("mounts");
        assert!(is_mounted.contains(&path.display().to_string()));
        Self(path)
    }

    fn fill(&self) {
        let ballast = fs::File::create(self.0.join("ballast")).expect("a file");
        let mut ballast = ballast;
        while std::io::Write::write_all(&mut ballast, &[0; 512]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("ballast")).expect("removed");
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let umount = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
        drop(umount);
    }
}

/// Changes the configuration again and again, which is recorded, until `done`; how often.
#[track_caller]
fn record_until(pair: &Pair, text: &str, mut done: impl FnMut() -> bool) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    let mut count = 0;
    while !done() {
        assert!(Instant::now() < deadline, "after {count}");
        count += 1;
        change(pair, text, count);
    }
    count
}

fn change(pair: &Pair, text: &str, number: u64) {
    let line = format!("persistent_keepalive = {}\nendpoint", 1000 + number);
    pair.home
        .write("one.toml", &text.replacen("endpoint", &line, 1));
    pair.weapon(&["reload", "one.toml"]);
}

/// A flow of datagrams through the tunnel.
struct Talk(UdpSocket, UdpSocket);

impl Talk {
    #[track_caller]
    fn new(pair: &Pair) -> Self {
        let socket = |host: &Host, address: &str| {
            let socket = host.enter(|| UdpSocket::bind(address)).expect("a socket");
            let silence = Some(Duration::from_millis(500));
            socket.set_read_timeout(silence).expect("a time-out");
            socket
        };
        let ends = Self(
            socket(&pair.one, "10.99.0.1:0"),
            socket(&pair.other, "10.99.0.2:0"),
        );
        let to = ends.1.local_addr().expect("its address");
        ends.0.connect(to).expect("connected");
        ends
    }
}

/// Whether a datagram comes through.
fn talk(Talk(one, other): &Talk) -> bool {
    one.send(b"hello").is_ok() && other.recv_from(&mut [0; 16]).is_ok()
}

#[test]
fn a_full_disk_is_survived_and_told() {
    if !ready(&["mount"]) {
        return;
    }
    for policy in ["continue", "deny-new"] {
        let pair = Pair::new();
        let disk = TinyDisk::new(&pair);
        let _other = pair.start_other();
        let section = format!("{AUDIT}on_failure = {policy:?}\n[filter]\nflows = true\n");
        let text = format!("{}{section}", pair.plan.toml());
        let mut one = start(&pair, &section);
        pair.one.ping("10.99.0.2");
        let known = Talk::new(&pair);
        assert!(talk(&known));
        disk.fill();
        let failing = |one: &Weapon| one.status()["audit"]["failing"].is_string();
        let mut count = record_until(&pair, &text, || failing(&one));
        let audit = one.status()["audit"].clone();
        let reason = audit["failing"].as_str().expect("a reason");
        assert!(reason.contains("No space left on device"), "{audit}");
        assert_eq!(audit["denies_new"], policy == "deny-new");
        let said = pair.weapon(&["status", "one"]);
        assert!(
            said.out.contains("the audit log cannot be written"),
            "{said:?}"
        );
        assert!(said.out.contains("NOT written"), "{said:?}");
        // Packets do not wait for it, and what is there goes on.
        assert!(talk(&known), "{policy}");
        assert_eq!(talk(&Talk::new(&pair)), policy == "continue");
        assert_eq!(one.drops("not_recorded") > 0, policy == "deny-new");
        count += 1;
        change(&pair, &text, count);
        disk.empty();
        until("it is written again", PATIENCE, || {
            (!failing(&one)).then_some(())
        });
        let audit = one.status()["audit"].clone();
        assert_eq!(
            (&audit["denies_new"], &audit["lost"]),
            (&false.into(), &0.into())
        );
        until("new flows again", PATIENCE, || {
            talk(&Talk::new(&pair)).then_some(())
        });
        assert_eq!(records(&pair, "config").len() as u64, count);
        one.process().signal(Signal::TERM);
        assert_eq!(one.process().wait(PATIENCE).code(), Some(0));
        assert_good(&pair);
        assert!(verify(&pair).out.contains("it ends in order"));
    }
}

#[test]
fn a_gateway_that_is_to_stop_stops_and_stays_closed() {
    if !ready(&["mount", "nft"]) {
        return;
    }
    let mut pair = Pair::new();
    pair.plan.fwmark = 7;
    let disk = TinyDisk::new(&pair);
    let text = pair.plan.toml_with("kill_switch = true");
    let text = format!("{text}{AUDIT}on_failure = \"stop\"\n");
    let file = pair.home.write("one.toml", &text);
    let mut one = Weapon::start(&pair.one, &pair.home, &file);
    disk.fill();
    record_until(&pair, &text, || one.process().ended().is_some());
    let status = one.process().wait(PATIENCE);
    assert_eq!(status.code(), Some(1));
    let log = one.log();
    assert!(
        log.contains("the audit log cannot be written, and on_failure is"),
        "{log}"
    );
    assert!(
        pair.one.attempt("ip link show w-one").is_err(),
        "all else is undone"
    );
    let tables = pair.one.run("nft list tables");
    assert!(tables.contains("weapon_kill-w-one"), "{tables}");
    // And it does not start either.
    let file = file.display().to_string();
    let said = pair.weapon(&["up", &file, "--foreground"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.error.contains("on_failure is \"stop\""), "{said:?}");
    disk.empty();
    let one = Weapon::start(&pair.one, &pair.home, Path::new(&file));
    assert_eq!(pair.weapon(&["down", "one"]).code, 0);
    drop(one);
    assert_good(&pair);
}

/// Under strace, which lets the system calls of the log fail, or takes its time with them.
#[track_caller]
fn start_under(pair: &Pair, inject: &str) -> Weapon {
    let call = format!("trace={}", inject.split(':').next().expect("a name"));
    let inject = format!("inject={inject}");
    let words = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &call,
        "-e",
        &inject,
    ];
    let file = write(pair, AUDIT);
    let one = Weapon::launch_under(&pair.one, &pair.home, &file, &words);
    until("it is up", PATIENCE, || one.is_up().then_some(()));
    one
}

#[test]
fn a_sync_that_fails_is_told_and_tried_again() {
    if !ready(&["strace"]) {
        return;
    }
    let pair = Pair::new();
    let _other = pair.start_other();
    let mut one = start_under(&pair, "fdatasync:error=EIO:when=3..5");
    pair.one.ping("10.99.0.2");
    let failing = "the audit log cannot be written";
    let text = format!("{}{AUDIT}", pair.plan.toml());
    record_until(&pair, &text, || one.log().contains(failing));
    until("it is written again", PATIENCE, || {
        one.log()
            .contains("the audit log is written again")
            .then_some(())
    });
    assert!(one.log().contains("Input/output error"), "{}", one.log());
    assert_eq!(one.status()["audit"]["lost"], 0);
    assert_eq!(pair.weapon(&["down", "one"]).code, 0);
    one.process().wait(PATIENCE);
    assert_good(&pair);
    assert!(!records(&pair, "handshake").is_empty());
}

#[test]
fn packets_do_not_wait_for_a_disk() {
    if !ready(&["strace"]) {
        return;
    }
    let pair = Pair::new();
    let _other = pair.start_other();
    let mut one = start_under(&pair, "fdatasync:delay_enter=1500000");
    pair.one.ping("10.99.0.2");
    let address = "10.99.0.2".parse().expect("an address");
    let mut slowest = Duration::ZERO;
    for _ in 0..40 {
        let time = pair.one.ping_once(address, Duration::from_secs(2));
        slowest = slowest.max(time.expect("an answer"));
    }
    // Each sync takes 1.5 s, and after the handshake's there is the seal's.
    assert!(slowest < Duration::from_millis(700), "{slowest:?}");
    assert_eq!(pair.weapon(&["down", "one"]).code, 0);
    one.process().wait(PATIENCE);
    assert_good(&pair);
}

/// A flood of what is rejected comes to a few records, and an exact count of the rest.
#[test]
fn a_flood_is_counted_exactly() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let mut one = start(&pair, AUDIT);
    let count = |one: &Weapon| one.status()["drops"]["invalid_mac1"].as_u64().unwrap_or(0);
    let mut dropped = 0;
    // In volleys that the socket's buffer holds even if nobody reads for a while.
    while dropped < 2000 {
        pair.other.enter(|| {
            let socket = UdpSocket::bind("192.0.2.2:0").expect("a socket");
            // Initiations for somebody else: mac1 is wrong.
            let mut message = [0; 148];
            message[0] = 1;
            for number in 0..100_u32 {
                message[4..8].copy_from_slice(&number.to_le_bytes());
                socket
                    .send_to(&message, "192.0.2.1:51820")
                    .expect("it is sent");
            }
        });
        let wanted = dropped + 100;
        dropped = until("all have come", PATIENCE, || {
            Some(count(&one)).filter(|&count| count >= wanted)
        });
    }
    assert_eq!(dropped, 2000);
    one.process().signal(Signal::TERM);
    one.process().wait(PATIENCE);
    let single = records(&pair, "rejected").len() as u64;
    // What came while nobody looked is counted too, as lost.
    let others = ["suppressed", "lost"]
        .map(|kind| records(&pair, kind))
        .concat();
    let counts = others
        .iter()
        .map(|it| it["records"].as_u64().expect("a number"));
    assert_eq!(single + counts.sum::<u64>(), dropped);
    assert!((10..=14).contains(&single), "{single}");
    assert_good(&pair);
}

/// What flows do is in the log: their beginning, how they end, and each that is denied.
#[test]
fn flows_are_recorded() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let _other = pair.start_other();
    let section = format!(
        "{AUDIT}flows = true\n[filter]\ndefault = \"deny\"\n\
         [[rule]]\nname = \"out\"\naction = \"allow\"\ndirection = \"outbound\"\n"
    );
    let mut one = start(&pair, &section);
    pair.one.ping("10.99.0.2");
    let Talk(asks, answers) = Talk::new(&pair);
    let port = |socket: &UdpSocket| Value::from(socket.local_addr().expect("its address").port());
    for _ in 0..3 {
        asks.send(b"0123456789").expect("sent");
        let (_, from) = answers.recv_from(&mut [0; 16]).expect("it has come");
        answers.send_to(b"ok", from).expect("sent");
        asks.recv(&mut [0; 16]).expect("an answer");
    }
    let begun = wait_for(&pair, "flow_start", |it| it["protocol"] == "udp");
    for (field, value) in [
        ("peer", "other".into()),
        ("direction", "outbound".into()),
        ("source", "10.99.0.1".into()),
        ("destination", "10.99.0.2".into()),
        ("source_port", port(&asks)),
        ("destination_port", port(&answers)),
        ("rule", "out".into()),
    ] {
        assert_eq!(begun[field], value, "{field}: {begun}");
    }
    // More than are recorded, from one source: their number is exact.
    let address = asks.local_addr().expect("its address");
    let fresh = pair.other.enter(|| UdpSocket::bind("10.99.0.2:0"));
    let fresh = fresh.expect("a socket");
    for number in 0..200_u16 {
        let to = (address.ip(), 20_000 + number);
        fresh.send_to(b"who is there", to).expect("sent");
    }
    until("all are denied", PATIENCE, || {
        (one.drops("denied") == 200).then_some(())
    });
    one.process().signal(Signal::TERM);
    one.process().wait(PATIENCE);
    let denied = records(&pair, "flow_deny");
    assert!(denied.len() <= 20, "{}", denied.len());
    let first = &denied[0];
    assert_eq!(
        (&first["reason"], &first["source"], &first["peer"]),
        (&"denied".into(), &"10.99.0.2".into(), &"other".into())
    );
    assert_eq!(first["destination_port"], 20_000, "{first}");
    let number = |of: &Value, field: &str| of[field].as_u64().expect("a number");
    let recorded: u64 = denied.iter().map(|it| 1 + number(it, "suppressed")).sum();
    let told = records(&pair, "suppressed").into_iter();
    let told = told.filter(|it| it["of"] == "flow_deny");
    let told: u64 = told.map(|it| number(&it, "records")).sum();
    assert_eq!(recorded + told, 200);
    // What is there at the end is over then.
    let ended = records(&pair, "flow_end");
    let ended = ended.iter().find(|it| it["source_port"] == port(&asks));
    let ended = ended.expect("it has ended");
    for (field, value) in [
        ("because", Value::from("unwatched")),
        ("packets", 3.into()),
        ("bytes", (3 * 38).into()),
        ("reply_packets", 3.into()),
        ("reply_bytes", (3 * 30).into()),
    ] {
        assert_eq!(ended[field], value, "{field}: {ended}");
    }
    assert!(ended["round_trip_ms"].as_f64() > Some(0.0), "{ended}");
    assert!(records(&pair, "lost").is_empty());
    assert_good(&pair);
}
