//! Secrets come out nowhere: neither in logs, arguments, the environment, answers, files nor cores,
//! whatever a gateway is asked, and however much it logs.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use weapon_netns::plan::preshared_key;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Pair, Weapon, ready, until};

/// Everything is logged.
const TRACE: [&str; 4] = ["sh", "-c", "exec \"$@\" -vv", "sh"];

/// A secret in the ways in which it could be written by mistake.
fn spellings(name: &str, base64: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = decoded(base64);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{:?}", &bytes[..12]);
    let list = list.trim_end_matches(']').to_owned();
    let reversed: String = bytes
        .iter()
        .rev()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let texts = [
        (
            "base64",
            base64.trim_end_matches('=').to_owned().into_bytes(),
        ),
        ("hex", hex.clone().into_bytes()),
        ("HEX", hex.to_uppercase().into_bytes()),
        ("backwards", reversed.into_bytes()),
        ("a list", list.into_bytes()),
        ("raw", bytes),
    ];
    texts
        .into_iter()
        .map(|(how, text)| (format!("{name}, {how}"), text))
        .collect()
}

/// The 32 bytes of a key.
fn decoded(base64: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = base64
        .bytes()
        .filter_map(|it| DIGITS.iter().position(|digit| *digit == it));
    let bits: Vec<usize> = digits
        .flat_map(|it| (0..6).rev().map(move |bit| it >> bit & 1))
        .collect();
    let bytes = bits
        .chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |all, bit| all << 1 | bit));
    let bytes: Vec<u8> = bytes.map(|byte: usize| byte as u8).collect();
    assert_eq!(bytes.len(), 32);
    bytes
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

struct Search {
    spellings: Vec<(String, Vec<u8>)>,
    places: Vec<String>,
}

impl Search {
    #[track_caller]
    fn in_bytes(&mut self, place: &str, bytes: &[u8]) {
        for (name, text) in &self.spellings {
            assert!(!contains(bytes, text), "{name} is in {place}");
        }
        assert!(!bytes.is_empty(), "{place} is empty");
        self.places.push(place.to_owned());
    }

    /// All files in a folder and below, but for these names.
    #[track_caller]
    fn in_folder(&mut self, folder: &Path, but: &[&str]) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            if path.is_dir() {
                self.in_folder(&path, but);
            } else if path.is_file() && !but.contains(&name.as_str()) {
                let bytes = fs::read(&path).expect("a file");
                if !bytes.is_empty() {
                    self.in_bytes(&path.display().to_string(), &bytes);
                }
            }
        }
    }
}

#[test]
fn no_secret_comes_out() {
    if !ready(&["nft"]) {
        return;
    }
    let mut pair = Pair::new();
    let psk = preshared_key();
    pair.plan.peers[0].preshared_key = Some(psk.clone());
    pair.other_plan.peers[0].preshared_key = Some(psk.clone());
    let key = &pair.plan.private_key;
    let mut search = Search {
        spellings: spellings("the private key", key.to_base64().as_str()),
        places: Vec::new(),
    };
    let of_psk = spellings("the preshared key", psk.to_base64().as_str());
    search.spellings.extend(of_psk);
    let next = preshared_key();
    let of_next = spellings("the next preshared key", next.to_base64().as_str());
    search.spellings.extend(of_next);

    let text = pair.plan.toml();
    // The search finds what is there.
    for name in ["the private key, base64", "the preshared key, base64"] {
        let (_, spelling) = search
            .spellings
            .iter()
            .find(|(it, _)| it == name)
            .expect("a spelling");
        assert!(contains(text.as_bytes(), spelling), "{name}");
    }
    let text = pair.plan.toml_with("networks = [\"10.1.0.0/24\"]");
    let text = format!("{text}[audit]\nseal_seconds = 1\n");
    let file = pair.home.write("one.toml", &text);
    let other = pair.start_other();
    let mut one = Weapon::launch_under(&pair.one, &pair.home, &file, &TRACE);
    until("it is up", PATIENCE, || one.is_up().then_some(()));
    pair.one.ping("10.99.0.2");

    // A new secret, while it runs, and a file that is wrong just beside one.
    let changed = text.replace(psk.to_base64().as_str(), next.to_base64().as_str());
    pair.home.write("one.toml", &changed);
    search.in_bytes(
        "reload",
        said(&pair, &["reload", "one.toml", "--json"]).as_bytes(),
    );
    let wrong = changed.replace("preshared_key =", "preshared_key_ =");
    pair.home.write("wrong.toml", &wrong);
    let cut = changed.replace(&next.to_base64().as_str()[20..], "\"");
    pair.home.write("cut.toml", &cut);
    for file in ["wrong.toml", "cut.toml"] {
        search.in_bytes(file, said(&pair, &["check", file]).as_bytes());
        search.in_bytes(file, said(&pair, &["reload", file]).as_bytes());
    }

    pair.home.write("one.toml", &cut);
    one.process().signal(Signal::HUP);
    until("it is refused", PATIENCE, || {
        one.log().contains("the file is not used").then_some(())
    });
    pair.home.write("one.toml", &changed);

    let pid = one.process().id();
    for what in ["cmdline", "environ", "maps", "status"] {
        let path = format!("/proc/{pid}/{what}");
        search.in_bytes(&path, &fs::read(&path).expect("readable for root"));
    }
    for words in [
        &["status", "one"] as &[&str],
        &["status", "one", "--json"],
        &["status", "one", "--system"],
        &["status", "one", "--system", "--json"],
        &["plan", "one.toml", "--json"],
        &["doctor", "one.toml"],
        &["doctor", "one.toml", "--json"],
        &["check", "one.toml"],
        &["audit", "show", "one.toml"],
        &["audit", "verify", "one.toml", "--json"],
    ] {
        let text = said(&pair, words);
        if !text.is_empty() {
            search.in_bytes(&words.join(" "), text.as_bytes());
        }
    }
    let written = ["one.toml", "other.toml", "wrong.toml", "cut.toml"];
    search.in_folder(pair.home.path(), &written);
    // The audit log has heard of all that.
    let log = said(
        &pair,
        &[
            "audit",
            "show",
            "one.toml",
            "--kind",
            "config,config_refused,handshake",
        ],
    );
    assert!(
        log.contains("another preshared key") && log.contains("config_refused"),
        "{log}"
    );
    let audit = format!("{}/audit-", pair.home.logs().join("one").display());
    assert!(search.places.iter().any(|place| place.starts_with(&audit)));
    search.in_bytes("the log", one.log().as_bytes());

    // It dies of something, where cores may be as large as they like.
    one.process().signal(Signal::ABORT);
    one.process().wait(PATIENCE);
    let core = fs::read_dir(pair.home.path()).expect("a folder");
    let mut core = core.map(|entry| entry.expect("an entry").file_name());
    assert!(!core.any(|name| name.to_string_lossy().starts_with("core")));
    search.in_bytes("the last log", one.log().as_bytes());
    assert!(search.places.len() > 15, "{:?}", search.places);
    drop(other);
}

/// What a command says, on either output.
fn said(pair: &Pair, words: &[&str]) -> String {
    let said = pair.weapon(words);
    format!("{}{}", said.out, said.error)
}

/// Keys are in the memory of a gateway: it is not dumped, and what a gateway will never need it may
/// not do, in any of its threads.
#[test]
fn a_gateway_has_no_more_privileges_than_it_needs() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let mut one = pair.start();
    let pid = one.process().id();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"]);
    // CAP_DAC_OVERRIDE, CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN.
    let allowed: u64 = 1 << 1 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 21;
    let mut threads = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("threads") {
        let path = thread.expect("a thread").path().join("status");
        let status = fs::read_to_string(path).expect("a status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect("a field")
                .trim_start_matches(':')
                .trim()
                .to_owned()
        };
        assert_eq!(field("NoNewPrivs"), "1");
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            let set = u64::from_str_radix(&field(set), 16).expect("hex digits");
            assert_eq!(set & !allowed, 0, "{status}");
        }
        for set in ["CapAmb", "CapInh"] {
            assert_eq!(u64::from_str_radix(&field(set), 16), Ok(0));
        }
        threads += 1;
    }
    assert!(threads > 1);
    let status = one.status();
    assert_eq!(status["privileges"]["no_new"], true);
    assert_eq!(status["privileges"]["dumpable"], false);
    let named = status["privileges"]["capabilities"]
        .as_array()
        .map(Vec::len);
    assert_eq!(named, Some(5), "{status}");
}
