//! Name servers of the tunnel are told to whoever keeps those of the host, for as long as the
//! gateway runs, and taken back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::process::Signal;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Pair, Weapon, ready, until};

/// A `resolvconf` that keeps in a folder what it is told.
const RESOLVCONF: &str = r#"#!/bin/sh
case "$1" in
    -a) cat > "$NAMES/$2" ;;
    -d) rm -f "$NAMES/$2" ;;
    -l) cat "$NAMES/$2" ;;
    *) exit 1 ;;
esac
"#;

/// A `resolvectl` that does.
const RESOLVECTL: &str = r#"#!/bin/sh
what=$1 link=$2
case "$what" in
    --version) ;;
    revert) rm -f "$NAMES/$link".* ;;
    *)
        shift 2
        if [ $# = 0 ]; then
            echo "Link 7 ($link): $(cat "$NAMES/$link.$what")"
        else
            echo "$@" > "$NAMES/$link.$what"
        fi
        ;;
esac
"#;

/// systemd-resolved seems to run, in whichever folder below `/run`.
const WITH_RESOLVED: [&str; 5] = [
    "unshare",
    "-m",
    "sh",
    "-c",
    "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/resolve && exec \"$@\"",
];

struct Names {
    pair: Pair,
    folder: tempfile::TempDir,
    words: Vec<String>,
}

impl Names {
    /// On a host with such a program.
    #[track_caller]
    fn with(program: &str, script: &str, under: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(program);
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
        let state = folder.path().join("state");
        fs::create_dir(&state).expect("a folder");
        let search = std::env::var("PATH").expect("a PATH");
        let mut words: Vec<String> = under.iter().map(|&word| word.to_owned()).collect();
        if !under.is_empty() {
            words.push("sh".to_owned());
        }
        words.extend([
            "env".to_owned(),
            format!("PATH={}:{search}", folder.path().display()),
            format!("NAMES={}", state.display()),
        ]);
        Self {
            pair: Pair::new(),
            folder,
            words,
        }
    }

    fn write(&self, dns: &str) -> PathBuf {
        let text = self.pair.plan.toml_with(dns);
        self.pair.home.write("one.toml", &text)
    }

    #[track_caller]
    fn start(&self, dns: &str) -> Weapon {
        let file = self.write(dns);
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let gateway = Weapon::launch_under(&self.pair.one, &self.pair.home, &file, &words);
        until("it is up", PATIENCE, || gateway.is_up().then_some(()));
        gateway
    }

    /// What was told: each file's name and text, sorted.
    fn told(&self) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.folder.path().join("state")).expect("a folder");
        let mut all: Vec<(String, String)> = entries
            .map(|entry| {
                let entry = entry.expect("an entry");
                let name = entry.file_name().into_string().expect("text");
                (name, fs::read_to_string(entry.path()).expect("text"))
            })
            .collect();
        all.sort();
        all
    }
}

const DNS: &str = "dns = [\"10.99.0.2\", \"fd99::2\", \"corp.example\"]";

fn said(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

#[test]
fn resolvconf_is_told_and_asked_back() {
    if !ready(&["nft"]) {
        return;
    }
    let names = Names::with("resolvconf", RESOLVCONF, &[]);
    let text = "nameserver 10.99.0.2\nnameserver fd99::2\nsearch corp.example\n";
    let expected = said(&[("tun.w-one", text)]);
    let a = names.start(DNS);
    assert_eq!(names.told(), expected);
    assert_eq!(a.stop().code(), Some(0));
    assert!(names.told().is_empty());
    // After a kill, by the next start.
    let mut a = names.start(DNS);
    a.process().signal(Signal::KILL);
    a.process().wait(PATIENCE);
    assert_eq!(names.told(), expected);
    let a = names.start("");
    assert!(names.told().is_empty());
    // And with a file that is loaded again.
    names.write(DNS);
    let reload = names.pair.weapon(&["reload", "one.toml"]);
    assert_eq!(reload.code, 0, "{reload:?}");
    assert_eq!(names.told(), expected);
    names.write("");
    let reload = names.pair.weapon(&["reload", "one.toml"]);
    assert_eq!(reload.code, 0, "{reload:?}");
    assert!(names.told().is_empty());
    assert_eq!(a.stop().code(), Some(0));
}

#[test]
fn resolved_is_told_and_asked_back() {
    if !ready(&["nft"]) {
        return;
    }
    let names = Names::with("resolvectl", RESOLVECTL, &WITH_RESOLVED);
    let a = names.start(DNS);
    let expected = said(&[
        ("w-one.default-route", "yes\n"),
        ("w-one.dns", "10.99.0.2 fd99::2\n"),
        ("w-one.domain", "~. corp.example\n"),
    ]);
    assert_eq!(names.told(), expected);
    assert_eq!(a.stop().code(), Some(0));
    assert!(names.told().is_empty());
}

#[test]
fn where_nobody_keeps_them_it_is_said() {
    if !ready(&["nft"]) {
        return;
    }
    let names = Names::with("nothing", "", &[]);
    let a = names.start(DNS);
    let log = a.log();
    for words in [
        "neither systemd-resolved nor",
        "10.99.0.2, fd99::2",
        "`openresolv`",
    ] {
        assert!(log.contains(words), "{words:?} in {log}");
    }
    let system = names.pair.weapon(&["status", "one", "--system"]);
    assert!(system.out.contains("`openresolv`"), "{system:?}");
    assert_eq!(a.stop().code(), Some(0));
}
