//! Systems that refuse: C11 and C12.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::check::{Check, Form};
use crate::lab::{is_installed, until};
use crate::pair::Pair;
use crate::process::Process;
use crate::traffic::transfer;
use crate::volley::Volley;
use crate::weapon::{PATIENCE, Weapon};

/// How long a gateway is watched that has nothing to do.
const WATCHED: Duration = Duration::from_secs(1);
/// What it may use of it: a loop that spins uses all.
const CPU_SHARE_MAX: f64 = 0.1;

/// Processor time that a gateway uses while nobody wants anything of it.
fn spinning(what: &str, weapon: &mut Weapon) -> Check {
    let before = weapon.process().cpu_time();
    let start = Instant::now();
    std::thread::sleep(WATCHED);
    let used = weapon.process().cpu_time().saturating_sub(before);
    let share = used.as_secs_f64() / start.elapsed().as_secs_f64();
    let measured = format!("{:.0} %", share * 100.0);
    let required = format!("≤ {:.0} %", CPU_SHARE_MAX * 100.0);
    Check::new(
        format!("processor time {what}"),
        required,
        measured,
        share <= CPU_SHARE_MAX,
    )
}

/// C11. The kernel is made to refuse by strace, which is slow, but changes nothing else.
pub(super) fn refused_sends(form: Form) -> Vec<Check> {
    if !is_installed("strace") {
        return vec![Check::left_out("strace is not installed")];
    }
    ["ENOBUFS", "EAGAIN"]
        .into_iter()
        .flat_map(|error| refused_with(error, form))
        .collect()
}

fn refused_with(error: &str, form: Form) -> Vec<Check> {
    let pair = Pair::new();
    let (mut one, _other) = pair.start_both();
    let mut command = pair.one.command("strace");
    command.args([
        "-f",
        "-q",
        "-o",
        "/dev/null",
        "-e",
        "trace=sendmsg,sendmmsg",
        "-e",
    ]);
    command.arg(format!("inject=sendmsg,sendmmsg:error={error}:when=10+10"));
    command.args(["-p", &one.process().id().to_string()]);
    let log = pair.home.path().join("strace.log");
    let mut strace = Process::start("strace", &mut command, log);
    let process = one.process().id();
    until("strace holds the gateway", PATIENCE, || {
        let path = format!("/proc/{process}/status");
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let traced = !status.contains("TracerPid:\t0\n");
        assert!(strace.ended().is_none(), "strace: {}", strace.log());
        traced.then_some(())
    });
    let failures = |one: &Weapon| {
        one.status()["counters"]["send_failures"]
            .as_u64()
            .unwrap_or(0)
    };
    let before = failures(&one);
    let volley = Volley {
        count: form.pick(3_000, 30_000),
        len: 200,
        pause: Duration::from_micros(500),
    };
    let arrival = volley.send(&pair.one, &pair.other, "10.99.0.2");
    let lost = u64::from(arrival.sent - arrival.came);
    let counted = failures(&one) - before;
    let bytes = form.pick(3_000_000, 50_000_000);
    transfer(&pair.one, &pair.other, "10.99.0.2", bytes);
    let idle = spinning(&format!("afterwards, with {error}"), &mut one);
    // In order, so that it lets go.
    strace.signal(Signal::TERM);
    strace.wait(PATIENCE);
    let measured = format!("{lost} of {}, {counted} counted", arrival.sent);
    let allowed = u64::from(arrival.sent / 10 + 1);
    let right = format!("{} MB, each right", bytes / 1_000_000);
    vec![
        Check::new(
            format!("{error}: datagrams lost"),
            "≤ 1 of 10, each counted",
            measured,
            lost <= allowed && lost <= counted,
        ),
        Check::new(format!("{error}: bytes over TCP"), "all right", right, true),
        idle,
    ]
}

/// C12.
pub(super) fn no_descriptors(form: Form) -> Vec<Check> {
    let files: Vec<u64> = form.pick(vec![3, 6, 9, 15, 22, 40, 56, 70], (3..77).collect());
    let limits = files
        .iter()
        .map(|count| format!("--nofile={count}:{count}"));
    let mut checks = vec![at_start("descriptors", limits.collect())];
    // Below 24 MiB Linux cannot load the program.
    let mib: Vec<u64> = form.pick(
        vec![24, 40, 80, 120],
        (3..40).map(|step| step * 8).collect(),
    );
    let limits = mib
        .iter()
        .map(|mib| format!("--as={}:{}", mib << 20, mib << 20));
    checks.push(at_start("memory", limits.collect()));
    checks.extend(at_run_time());
    checks
}

/// Starts a gateway under each limit. It comes up, or it ends with an error and says why.
fn at_start(what: &str, limits: Vec<String>) -> Check {
    let pair = Pair::new();
    let file = pair.home.write("one.toml", &pair.plan.toml());
    let count = limits.len();
    let (mut up, mut refused, mut bad) = (0, 0, Vec::new());
    for limit in limits {
        let words = ["prlimit", &limit];
        let mut one = Weapon::launch_under(&pair.one, &pair.home, &file, &words);
        let start = Instant::now();
        let ended = loop {
            if let Some(status) = one.process().ended() {
                break Some(status);
            }
            // With none left for clients it carries packets all the same, and says so.
            let degraded = || one.log().contains("cannot accept a client");
            if one.is_up() || degraded() || start.elapsed() > PATIENCE {
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let log = one.log();
        let fault = match ended {
            Some(status) if status.success() => Some("ended as if all were well"),
            Some(_) if log.trim().is_empty() => Some("ended without a word"),
            Some(_) if log.contains("panicked") => Some("panicked"),
            Some(_) => None,
            None if start.elapsed() > PATIENCE => Some("hangs"),
            None => None,
        };
        match (ended, fault) {
            (_, Some(fault)) => bad.push(format!("{limit}: {fault}")),
            (Some(_), None) => refused += 1,
            (None, None) => up += 1,
        }
        drop(one);
        let _ = std::fs::remove_file(pair.home.path().join("one.log"));
        clean_up(&pair, &limit, &mut bad);
    }
    let measured = format!("{up} up, {refused} refused with a reason, {}", faults(&bad));
    let what = format!("{count} starts with little {what}");
    Check::new(
        what,
        "up, or an error that says why",
        measured,
        bad.is_empty(),
    )
}

fn faults(bad: &[String]) -> String {
    if bad.is_empty() {
        return "nothing else".to_owned();
    }
    bad.join(", ")
}

/// Those that were up are killed, so files of theirs stay; an interface must not.
fn clean_up(pair: &Pair, limit: &str, bad: &mut Vec<String>) {
    for name in ["one.json", "one.sock"] {
        let _ = std::fs::remove_file(pair.home.runtime().join(name));
    }
    // The kernel takes the interface a moment after the process.
    let deadline = Instant::now() + Duration::from_secs(5);
    while pair.one.run("ip -o link").contains("w-one") {
        if Instant::now() > deadline {
            bad.push(format!("{limit}: the interface was left behind"));
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A gateway that runs and gets nothing more.
fn at_run_time() -> Vec<Check> {
    let pair = Pair::new();
    let (mut one, _other) = pair.start_both();
    let id = one.process().id();
    let limit = |what: &str| pair.one.run(&format!("prlimit --pid {id} {what}"));
    // Fewer than it has: it keeps those, and gets no more.
    limit("--nofile=3:");
    let refused = !one.is_up();
    let mut checks = vec![
        spinning("without descriptors, while a client waits", &mut one),
        pings("without descriptors", &pair, &mut one),
    ];
    limit("--nofile=1024:");
    let start = Instant::now();
    until("the gateway answers again", PATIENCE, || {
        one.is_up().then_some(())
    });
    let what = "with descriptors again: an answer after";
    checks.push(Check::within(what, Duration::from_secs(5), start.elapsed()));
    // Else nothing was tried.
    let measured = refused.to_string();
    checks.push(Check::new(
        "a client was refused before",
        "true",
        measured,
        refused,
    ));

    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib = size.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    limit(&format!("--as={}:", kib.expect("a number of KiB") << 10));
    checks.push(pings("without more memory", &pair, &mut one));
    checks
}

/// Pings that pass, and handshakes.
fn pings(what: &str, pair: &Pair, one: &mut Weapon) -> Check {
    let mut lost = 0;
    for _ in 0..20 {
        let answer = pair
            .one
            .ping_once([10, 99, 0, 2].into(), Duration::from_secs(5));
        lost += u64::from(answer.is_err());
    }
    let ended = one.process().ended().is_some();
    let measured = format!("{lost}{}", if ended { ", and it has ended" } else { "" });
    Check::new(
        format!("pings lost {what}"),
        "0",
        measured,
        lost == 0 && !ended,
    )
}
