//! The built program, from outside: exit codes, where messages go, and agreement with `wg`.

#![allow(clippy::unwrap_used)] // in a test a panic is the report

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const PRIVATE: &str = "oGw7CM7pELBGdCtSj2n40oY1vVSu3hssLbYcxonUZUk=";
const PUBLIC: &str = "XkCfK4fW2GZ612sDQPR/G/ZWIEPUF/qMNOvjN0M1uQ8=";
const PEER: &str = "00HRU2O8QiyBKLgcDqXJA0uwY9w0irMMyGkYu4ohtFQ=";

fn weapon(arguments: &[&str], folder: &Path) -> Output {
    command(arguments, folder).output().unwrap()
}

fn command(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weapon"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("CONFIGURATION_DIRECTORY", folder);
    command
}

fn with_input(mut command: Command, input: &[u8]) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who refuses its input may end before it read all of it.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// A folder with a good `site-a.toml`, its key, and a bad `site-b.toml`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    };
    write("site-a.key", &format!("{PRIVATE}\n"));
    write(
        "site-a.toml",
        &format!(
            "[gateway]\nprivate_key_file = \"site-a.key\"\nlisten = 51820\n\
             [[peer]]\nname = \"site-b\"\npublic_key = \"{PEER}\"\nnetworks = [\"10.1.0.1/16\"]\n"
        ),
    );
    write(
        "site-b.toml",
        "[gateway]\nprivate_key_file = \"site-a.key\"\nlisten = 70000\nzebra = 1\n",
    );
    folder
}

const WARNING_OF_A: &str = "site-a.toml:7:13: warning: peer.networks: 10.1.0.1/16 has host bits \
                            set; taken as 10.1.0.0/16\n";
const ERRORS_OF_B: &str = "site-b.toml:3:10: gateway.listen: 70000 is not a port; ports are 0 to \
     65535\nsite-b.toml:4:1: gateway.zebra: unknown key; the keys here are name, \
     private_key_file, private_key, secret_file, address, listen, networks, interface, mtu, \
     fwmark, table, firewall, masquerade, dns, lan_access, kill_switch, metrics, lanes, \
     cipher_backend, user, sandbox, danger_export_keys\n";

#[test]
fn check_of_a_good_file() {
    let folder = folder();
    let output = weapon(&["check", "site-a.toml"], folder.path());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), WARNING_OF_A);
    assert_eq!(
        stdout(&output),
        format!(
            "site-a.toml: good: gateway site-a, interface site-a, 1 peer, public key {PUBLIC}\n"
        )
    );
}

#[test]
fn check_shows_what_lies_behind_us() {
    let folder = folder();
    let text = "[gateway]\nprivate_key_file = \"site-a.key\"\n\
                networks = [\"172.17.0.0/16\", \"fd00::/64\"]\n";
    fs::write(folder.path().join("c.toml"), text).unwrap();
    let output = weapon(&["check", "c.toml"], folder.path());
    assert_eq!(
        stdout(&output),
        format!(
            "c.toml: good: gateway c, interface c, 0 peers, public key {PUBLIC}, behind us \
             172.17.0.0/16, fd00::/64\n"
        )
    );
}

#[test]
fn check_of_several_files_reports_all_and_exits_2() {
    let folder = folder();
    let output = weapon(&["check", "site-a.toml", "site-b.toml"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), format!("{WARNING_OF_A}{ERRORS_OF_B}"));
    assert!(stdout(&output).starts_with("site-a.toml: good: "));
}

#[test]
fn check_prints_json() {
    let folder = folder();
    let output = weapon(
        &["check", "--json", "site-a.toml", "site-b.toml"],
        folder.path(),
    );
    assert_eq!((output.status.code(), stderr(&output)), (Some(2), ""));
    let report: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(report["ok"], false);
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 3);
    assert_eq!(problems[0]["severity"], "warning");
    assert_eq!(
        problems[1],
        serde_json::json!({
            "file": "site-b.toml", "line": 3, "column": 10, "key": "gateway.listen",
            "message": "70000 is not a port; ports are 0 to 65535", "severity": "error",
        })
    );
    let output = weapon(&["check", "--json", "site-a.toml"], folder.path());
    assert_eq!(output.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(report["ok"], true);
}

#[test]
fn gateways_are_found_by_name() {
    let folder = folder();
    let output = weapon(&["check", "site-a"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let path = folder.path().display();
    let output = weapon(&["check", "site-c"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        format!(
            "site-c: no gateway of this name; neither site-c.toml nor site-c.conf is in {path}\n"
        )
    );
}

#[test]
fn up_refuses_what_check_refuses() {
    let folder = folder();
    let output = weapon(&["up", "site-b.toml"], folder.path());
    assert_eq!((output.status.code(), stdout(&output)), (Some(2), ""));
    assert_eq!(stderr(&output), ERRORS_OF_B);
    let output = weapon(&["up", "site-c"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("site-c: no gateway of this name; "));
}

#[test]
fn bad_usage_exits_2() {
    let folder = folder();
    for arguments in [
        &[][..],
        &["check"],
        &["up"],
        &["down"],
        &["genkey", "extra"],
        &["nonsense"],
        &["up", "site-a", "--log-level", "loud"],
    ] {
        let output = weapon(arguments, folder.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(stderr(&output).contains("--help"), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["up", "--help"]] {
        assert_eq!(
            weapon(arguments, folder.path()).status.code(),
            Some(0),
            "{arguments:?}"
        );
    }
}

#[test]
fn no_colours_without_a_terminal() {
    let folder = folder();
    let output = command(&["check", "site-b.toml"], folder.path())
        .env("CLICOLOR_FORCE", "1")
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    assert!(!output.stderr.contains(&0x1b));
}

#[test]
fn generated_keys_have_the_format_of_wg() {
    let folder = folder();
    for command in ["genkey", "genpsk"] {
        let outputs = [(); 2].map(|()| weapon(&[command], folder.path()));
        assert_ne!(outputs[0].stdout, outputs[1].stdout);
        for output in outputs {
            assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
            assert_eq!(output.stdout.len(), 45);
            assert!(stdout(&output).ends_with("=\n"));
        }
    }
    let output = with_input(command(&["pubkey"], folder.path()), PRIVATE.as_bytes());
    assert_eq!(stdout(&output), format!("{PUBLIC}\n"));
}

#[test]
fn generated_secrets_are_closed_to_others() {
    let folder = folder();
    for (command, arguments) in [("genkey", ["genkey"]), ("genpsk", ["genpsk"])] {
        let path = folder.path().join(command);
        let file = fs::File::create(&path).unwrap();
        file.set_permissions(Permissions::from_mode(0o644)).unwrap();
        let mut weapon = self::command(&arguments, folder.path());
        assert!(weapon.stdout(file).status().unwrap().success());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o600
        );
        assert_eq!(fs::metadata(&path).unwrap().len(), 45);
    }
}

#[test]
fn pubkey_refuses_what_is_no_key_and_does_not_repeat_it() {
    let folder = folder();
    for (input, expected) in [
        (
            &PRIVATE.as_bytes()[..43],
            "a key has 44 characters of base64, this has 43",
        ),
        (b"", "a key has 44 characters of base64, this has 0"),
        (b"\xff\xfe", "standard input is not a private key"),
        (
            &[b'A'; 100_000],
            "a key has 44 characters of base64, this has 4097",
        ),
    ] {
        let output = with_input(command(&["pubkey"], folder.path()), input);
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        assert!(!stderr(&output).contains(&PRIVATE[..8]));
    }
}

#[test]
fn keys_agree_with_wg() {
    if Command::new("wg").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("CI").is_none(),
            "wg is needed: apt-get install wireguard-tools"
        );
        println!("skipped: wg is not installed (apt-get install wireguard-tools)");
        return;
    }
    let folder = folder();
    let wg = |argument: &str, input: &[u8]| {
        let mut wg = Command::new("wg");
        wg.arg(argument);
        with_input(wg, input)
    };
    for _ in 0..20 {
        let ours = weapon(&["genkey"], folder.path()).stdout;
        let theirs = wg("genkey", b"").stdout;
        assert_eq!(ours.len(), theirs.len());
        for key in [ours, theirs] {
            let output = with_input(command(&["pubkey"], folder.path()), &key);
            assert_eq!(output.stdout, wg("pubkey", &key).stdout);
            assert_eq!(output.stdout.len(), 45);
        }
    }
    assert_eq!(
        weapon(&["genpsk"], folder.path()).stdout.len(),
        wg("genpsk", b"").stdout.len()
    );
    for bad in [&b"abc"[..], b"", &PRIVATE.as_bytes()[..43]] {
        let output = with_input(command(&["pubkey"], folder.path()), bad);
        assert_eq!(output.status.code(), wg("pubkey", bad).status.code());
    }
}
