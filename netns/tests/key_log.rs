//! `danger_export_keys`: with the file, tshark reads what was in the outer packets; without it
//! nobody does. And the file is written only where nobody else can look.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use weapon_netns::plan::preshared_key;
use weapon_netns::process::Process;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Host, Pair, Said, Weapon, ready, until};

const PROGRAMS: &[&str] = &["ping", "tcpdump", "tshark"];

/// The outer packets at a host, written to a file until it is ended.
struct Recording {
    tcpdump: Process,
    file: PathBuf,
}

impl Recording {
    #[track_caller]
    fn start(host: &Host, folder: &Path) -> Self {
        let file = folder.join("outer.pcap");
        let mut command = host.command("tcpdump");
        // All that has passed by its end, and as who owns its folder.
        command.args(["--immediate-mode", "-U", "-Z", "root", "-i", "eth0", "-w"]);
        command.arg(&file).args(["udp", "port", "51820"]);
        let log = folder.join("tcpdump.log");
        let tcpdump = Process::start("tcpdump", &mut command, log);
        until("tcpdump listens", PATIENCE, || {
            tcpdump.log().contains("listening on").then_some(())
        });
        Self { tcpdump, file }
    }

    /// Ends when an echo and its answer are in the file.
    #[track_caller]
    fn end(mut self) -> PathBuf {
        until("both are recorded", PATIENCE, || {
            let mut command = Command::new("tshark");
            command
                .arg("-r")
                .arg(&self.file)
                .args(["-Y", "wg.type == 4"]);
            // What is just being written may be cut off.
            (Said::by(&mut command).out.lines().count() >= 2).then_some(())
        });
        self.tcpdump.signal(Signal::INT);
        self.tcpdump.wait(PATIENCE);
        self.file
    }
}

/// Sources of the echoes that tshark finds inside of what was recorded, with these keys.
#[track_caller]
fn echoes(recording: &Path, keys: Option<&Path>) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(recording).args(["-n", "-Y", "icmp"]);
    command.args(["-d", "udp.port==51820,wg"]);
    command.args(["-T", "fields", "-e", "ip.src", "-E", "occurrence=l"]);
    if let Some(keys) = keys {
        command.arg("-o");
        command.arg(format!("wg.keylog_file:{}", keys.display()));
    }
    let said = Said::by(&mut command);
    assert_eq!(said.code, 0, "{}", said.error);
    said.out.lines().map(str::to_owned).collect()
}

/// A folder for keys alone.
#[track_caller]
fn folder(pair: &Pair) -> PathBuf {
    let path = pair.home.path().join("keys");
    DirBuilder::new()
        .mode(0o700)
        .create(&path)
        .expect("a folder");
    path
}

fn exporting(pair: &Pair, file: &Path) -> String {
    let line = format!("danger_export_keys = {file:?}");
    pair.plan.toml_with(&line) + "\n[audit]\n"
}

/// Kinds of the lines in a file of keys.
fn kinds(text: &str) -> Vec<&str> {
    let kinds = text
        .lines()
        .map(|line| line.split_once(" = ").expect("a key").0);
    kinds.collect()
}

#[test]
fn tshark_reads_what_it_has_keys_for() {
    if !ready(PROGRAMS) {
        return;
    }
    let mut pair = Pair::new();
    let key = preshared_key();
    pair.plan.peers[0].preshared_key = Some(key.clone());
    pair.other_plan.peers[0].preshared_key = Some(key);
    let folder = folder(&pair);
    let file = folder.join("one.keys");
    let recording = Recording::start(&pair.one, pair.home.path());
    let other = pair.start_other();
    let one = Weapon::start_with(&pair.one, &pair.home, "one.toml", &exporting(&pair, &file));
    pair.one.run("ping -c 1 -W 5 10.99.0.2");
    let recording = recording.end();

    let metadata = fs::metadata(&file).expect("the file");
    assert_eq!(metadata.mode() & 0o7777, 0o600);
    let text = fs::read_to_string(&file).expect("keys");
    let initiator = [
        "REMOTE_STATIC_PUBLIC_KEY",
        "LOCAL_EPHEMERAL_PRIVATE_KEY",
        "PRESHARED_KEY",
    ];
    let expected = [&["LOCAL_STATIC_PRIVATE_KEY"], &initiator[..]].concat();
    assert_eq!(kinds(&text)[..4], expected);
    let all = echoes(&recording, Some(&file));
    assert_eq!(all, ["10.99.0.1", "10.99.0.2"], "both ways");
    assert!(echoes(&recording, None).is_empty());
    // The long-lived keys alone open nothing: what was forgotten stays so.
    let static_keys: String = text
        .lines()
        .filter(|line| !line.starts_with("LOCAL_EPHEMERAL"))
        .map(|line| format!("{line}\n"))
        .collect();
    let static_keys = pair.home.write("static.keys", &static_keys);
    assert!(echoes(&recording, Some(&static_keys)).is_empty());

    // Everybody is told.
    let log = one.log();
    assert!(log.contains("DANGER") && log.contains("one.keys"), "{log}");
    let kinds_of = |status: &serde_json::Value| -> Vec<String> {
        let all = status["warnings"].as_array().expect("warnings");
        all.iter().map(|it| it["kind"].to_string()).collect()
    };
    let status = one.status();
    assert!(
        kinds_of(&status).contains(&"\"keys_exported\"".to_owned()),
        "{status}"
    );
    for words in [
        &["status", "one"][..],
        &["check", "one.toml"],
        &["doctor", "one.toml"],
    ] {
        let said = pair.weapon(words);
        let said = format!("{}{}", said.out, said.error);
        assert!(said.contains("keys of all sessions"), "{words:?}: {said}");
    }
    until("it is recorded", PATIENCE, || {
        let words = ["audit", "show", "one.toml", "--kind", "keys_exported"];
        pair.weapon(&words).out.contains("one.keys").then_some(())
    });
    // Only a start turns it off.
    pair.home
        .write("one.toml", &(pair.plan.toml() + "\n[audit]\n"));
    let said = pair.weapon(&["reload", "one.toml"]);
    assert!(
        said.error.contains("cannot change danger_export_keys"),
        "{said:?}"
    );
    drop((one, other));
}

/// The other end asks, and what was there before stays.
#[test]
fn a_responder_writes_its_keys_too() {
    if !ready(PROGRAMS) {
        return;
    }
    let mut pair = Pair::new();
    pair.other_plan.peers[0].endpoint = Some("192.0.2.1:51820".to_owned());
    let folder = folder(&pair);
    let file = folder.join("one.keys");
    let before = "# of the last time\n";
    fs::write(&file, before).expect("a file");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a mode");
    let recording = Recording::start(&pair.other, pair.home.path());
    let _one = Weapon::start_with(&pair.one, &pair.home, "one.toml", &exporting(&pair, &file));
    let _other = pair.start_other();
    pair.other.run("ping -c 1 -W 5 10.99.0.1");
    let recording = recording.end();
    let text = fs::read_to_string(&file).expect("keys");
    let keys = text.strip_prefix(before).expect("what was there before");
    // As no more decrypts.
    let expected = ["LOCAL_STATIC_PRIVATE_KEY", "LOCAL_EPHEMERAL_PRIVATE_KEY"];
    assert_eq!(kinds(keys), expected);
    let all = echoes(&recording, Some(&file));
    assert_eq!(all, ["10.99.0.2", "10.99.0.1"]);
}

#[test]
fn keys_go_nowhere_else() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let folder = folder(&pair);
    let home = pair.home.path();
    let good = folder.join("one.keys");
    let link = folder.join("link.keys");
    let elsewhere = pair.home.write("elsewhere", "");
    symlink(&elsewhere, &link).expect("a link");
    symlink(&folder, home.join("linked")).expect("a link");
    let open = folder.join("open.keys");
    fs::write(&open, "").expect("a file");
    fs::set_permissions(&open, Permissions::from_mode(0o640)).expect("a mode");
    let named = folder.join("named.keys");
    fs::write(&named, "").expect("a file");
    fs::set_permissions(&named, Permissions::from_mode(0o600)).expect("a mode");
    fs::hard_link(&named, folder.join("twice.keys")).expect("a name");
    fs::create_dir(folder.join("folder.keys")).expect("a folder");
    let public = home.join("public");
    DirBuilder::new()
        .mode(0o755)
        .create(&public)
        .expect("a folder");
    let foreign = home.join("foreign");
    DirBuilder::new()
        .mode(0o700)
        .create(&foreign)
        .expect("a folder");
    std::os::unix::fs::chown(&foreign, Some(65_534), None).expect("another owner");
    for (path, why) in [
        (link, "link.keys is a link; remove it"),
        (
            home.join("linked/one.keys"),
            "linked is no folder (or a link to one)",
        ),
        (open, "has the mode 0640"),
        (named, "has other names too"),
        (folder.join("folder.keys"), "is no file"),
        (public.join("one.keys"), "public has the mode 0755"),
        (foreign.join("one.keys"), "foreign belongs to user 65534"),
        (
            home.join("nowhere/one.keys"),
            "make that folder, with mode 0700",
        ),
    ] {
        pair.home.write("one.toml", &exporting(&pair, &path));
        let said = pair.weapon(&["up", "one.toml"]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.error.contains(why), "{why}: {said:?}");
        let at = "one.toml:2:22: gateway.danger_export_keys";
        assert!(said.error.contains(at), "{said:?}");
    }
    assert_eq!(fs::read_to_string(&elsewhere).expect("a file"), "");
    assert!(!public.join("one.keys").exists() && !foreign.join("one.keys").exists());

    // And where nobody asks for it, nothing is written.
    let (_one, _other) = pair.start_both();
    assert!(!good.exists());
}
