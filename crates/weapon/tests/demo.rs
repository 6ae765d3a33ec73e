//! `weapon demo` as a person runs it: all good, and nothing left behind whatever ends it.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::print_stdout,
    reason = "tests"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// One at a time: the figures of two would spoil each other.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Stands in the environment of a demo, and so in that of all that it starts.
const MARK: &str = "WEAPON_TEST_DEMO";

fn mark() -> String {
    format!("{MARK}={}", std::process::id())
}

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weapon"));
    command
        .arg("demo")
        .args(arguments)
        .env(MARK, std::process::id().to_string());
    command
}

/// The reason that the demo itself gave, where the machine can't have it. Under `CI=true` that
/// is a failure.
fn is_skipped(output: &Output) -> bool {
    let text = String::from_utf8_lossy(&output.stderr);
    let reasons = [
        "this system does not let",
        "cannot open /dev/net/tun",
        "no Docker can be started here",
        "Docker daemons need root",
    ];
    if !reasons.iter().any(|reason| text.contains(reason)) {
        return false;
    }
    let reason = text.lines().last().unwrap_or_default();
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{reason}"
    );
    println!("skipped: {reason}");
    true
}

/// Processes that a demo of this test has started, wherever they live, or the demo itself.
fn processes() -> Vec<String> {
    let mark = mark();
    let entries = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let ours = entries.filter(|process| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        environment
            .windows(mark.len())
            .any(|window| window == mark.as_bytes())
    });
    ours.filter_map(|process| fs::read_to_string(process.join("cmdline")).ok())
        .collect()
}

/// The kernel removes a killed process a moment after the kill.
fn nothing_is_left() {
    let start = Instant::now();
    while !processes().is_empty() && start.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(processes(), Vec::<String>::new());
    assert!(!Path::new("/run/weapon-demo").exists());
}

#[test]
fn all_rows_are_good() {
    let _turn = turn();
    let start = Instant::now();
    if all_are_good(&["--json"]).is_none() {
        return;
    }
    assert!(
        start.elapsed() < Duration::from_secs(40),
        "{:?}",
        start.elapsed()
    );
}

/// Two daemons of Docker are started, and their containers are linked.
#[test]
fn all_rows_are_good_with_docker() {
    let _turn = turn();
    if let Some(id) = all_are_good(&["--json", "--docker"]) {
        no_group_is_left(id);
    }
}

/// Control groups are the only thing of Docker's that is not in a namespace.
fn no_group_is_left(demo: u32) {
    let folders = |folder: &Path| -> Vec<std::path::PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let top = folders(Path::new("/sys/fs/cgroup"));
    let below = top.iter().flat_map(|it| folders(it));
    let ours = format!("weapon-docker-{demo}-");
    let left = below.filter(|it| it.to_string_lossy().contains(&ours));
    assert_eq!(left.count(), 0);
}

/// The process number of a demo that could run; all that it shows is good then.
fn all_are_good(arguments: &[&str]) -> Option<u32> {
    let mut command = demo(arguments);
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = piped.spawn().unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    if is_skipped(&output) {
        return None;
    }
    let table = String::from_utf8_lossy(&output.stderr);
    let last = String::from_utf8_lossy(&output.stdout)
        .lines()
        .last()
        .unwrap()
        .to_owned();
    let result: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(result["ok"], true, "{table}");
    assert!(output.status.success());
    let rows = result["rows"].as_array().unwrap();
    assert!(rows.len() >= 20, "{table}");
    for row in rows {
        assert_eq!(row["ok"], true, "{row}");
        assert!(row["name"].is_string() && row["figure"].is_number() && row["unit"].is_string());
    }
    nothing_is_left();
    Some(id)
}

/// Starts a demo and sends it `signal` when it has said `moment`; its exit code.
fn ended_at(options: &[&str], moment: &str, signal: Signal) -> Option<Option<i32>> {
    let mut child: Child = demo(&[options, &["--keep"]].concat())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let Some(stderr) = child.stderr.take() else {
        panic!("its standard error is piped");
    };
    let mut progress = BufReader::new(stderr);
    while !said.contains(moment) {
        if progress.read_line(&mut said).unwrap() == 0 {
            let status = child.wait().unwrap();
            let output = Output {
                status,
                stdout: Vec::new(),
                stderr: said.clone().into_bytes(),
            };
            assert!(is_skipped(&output), "{moment:?} was not said: {said}");
            return None;
        }
    }
    assert!(
        !processes().is_empty(),
        "the mark is not found where it must be"
    );
    kill_process(Pid::from_child(&child), signal).unwrap();
    // It must be able to go on talking.
    std::io::copy(&mut progress, &mut std::io::sink()).unwrap();
    Some(child.wait().unwrap().code())
}

#[test]
fn an_interrupt_at_any_time_leaves_nothing() {
    let _turn = turn();
    let moments = [
        ("building", Signal::INT, Some(130)),
        ("what passes without", Signal::TERM, Some(143)),
        ("starting both gateways", Signal::INT, Some(130)),
        ("pinging", Signal::HUP, Some(129)),
        ("1 GB over TCP", Signal::INT, Some(130)),
        ("1 GB over TCP", Signal::KILL, None),
    ];
    for (moment, signal, expected) in moments {
        let Some(code) = ended_at(&[], moment, signal) else {
            return;
        };
        assert_eq!(code, expected, "{moment}");
        nothing_is_left();
    }
}

#[test]
fn an_interrupt_ends_docker_too() {
    let _turn = turn();
    // The control groups of a killed one are removed by the next.
    let moments = [
        ("1 GB over TCP", Signal::KILL, None),
        ("what passes without", Signal::INT, Some(130)),
        ("1 GB over TCP", Signal::TERM, Some(143)),
    ];
    for (moment, signal, expected) in moments {
        let Some(code) = ended_at(&["--docker"], moment, signal) else {
            return;
        };
        assert_eq!(code, expected, "{moment}");
        nothing_is_left();
    }
}

#[test]
fn kept_until_ctrl_c_is_a_success() {
    let _turn = turn();
    let Some(code) = ended_at(&[], "In a1, for example", Signal::INT) else {
        return;
    };
    assert_eq!(code, Some(0));
    nothing_is_left();
}
