//! The gateway's process may carry packets and nothing else: whoever takes it over can do nothing,
//! and when one of the two processes ends so does the other.

use std::{fs, os::unix::fs::MetadataExt, thread, time::Duration};

use nix::sys::signal::Signal as Ended;
use rustix::process::{Pid, Signal, kill_process};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use weapon_netns::{
    Host, Pair, Traces, Weapon,
    injected::{
        Argument::{self, Number, Text},
        Outcome, call,
    },
    lab::until,
    ready,
    weapon::{Home, PATIENCE},
    weapon_wg::WeaponWg,
};

/// A field of a process's `status`.
fn field(process: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.expect("a field").trim().to_owned()
}

/// What a process may have at most of something at this moment.
fn field_of_limits(process: u32, name: &str) -> String {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("limits");
    let mut lines = limits.lines();
    let values = lines
        .find_map(|line| line.strip_prefix(name))
        .expect("a limit");
    let soft = values.split_whitespace().next();
    soft.expect("a soft limit").to_owned()
}

/// The gateway's own process, which its helper has started.
fn gateway_process(ids: &[u32]) -> u32 {
    let [_helper, gateway] = ids[..] else {
        panic!("two processes: {ids:?}");
    };
    gateway
}

fn single(host: &Host, home: &std::rc::Rc<Home>, lines: &str) -> Weapon {
    let plan = weapon_netns::Plan::new("one", &["10.99.0.1/24"]);
    Weapon::start_with(host, home, "one.toml", &plan.toml_with(lines))
}

/// What a gateway of [`single`] has left, beside what the test has given it.
fn what_is_left(host: &Host, home: &std::rc::Rc<Home>) -> Traces {
    for file in ["one.log", "one.toml"] {
        fs::remove_file(home.path().join(file)).expect("a file of the test");
    }
    Traces::of(host, home)
}

fn signal(process: u32, signal: Signal) {
    let id = i32::try_from(process).ok().and_then(Pid::from_raw);
    kill_process(id.expect("a number"), signal).expect("a signal");
}

#[track_caller]
fn is_confined(process: u32) {
    until(
        "there are its first thread, a control loop, a lane",
        PATIENCE,
        || {
            let threads = fs::read_dir(format!("/proc/{process}/task")).expect("threads");
            (threads.count() >= 3).then_some(())
        },
    );
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(process, set), "0000000000000000", "{set}");
    }
    assert_eq!(field(process, "NoNewPrivs"), "1");
    assert_eq!(field(process, "Seccomp"), "2");
    assert_eq!(field(process, "Groups"), "");
    for (users, what) in [("Uid", "user"), ("Gid", "group")] {
        let of = field(process, users);
        let mut numbers = of.split_whitespace();
        let first = numbers.next().expect("a number");
        assert_ne!(first, "0", "{what}");
        assert!(numbers.all(|number| number == first), "{of}");
    }
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"]);
    // Of a process that may be dumped they would be its user's (proc(5)).
    let memory = fs::metadata(format!("/proc/{process}/mem")).expect("a process");
    assert_eq!((memory.uid(), memory.gid()), (0, 0), "dumpable");
}

#[test]
fn the_gateway_of_weapon_has_nothing_and_carries_packets() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let (mut one, _other) = pair.start_both();
    pair.one.ping("10.99.0.2");
    let process = gateway_process(&one.process().all_ids());
    is_confined(process);
    let status = one.status();
    let shown = &status["gateway_process"];
    assert_eq!(shown["pid"], process);
    assert_eq!(shown["capabilities"].as_array().map(Vec::len), Some(0));
    assert_eq!(shown["no_new"], true);
    assert!(shown["calls"].as_u64() > Some(30), "{shown}");
    assert!(shown["landlock"].as_u64() > Some(0), "{shown}");
    // Where the limit allows it, keys never go to a disk.
    let limit = field_of_limits(process, "Max locked memory");
    assert_eq!(shown["locked_memory"], limit == "unlimited", "{limit}");
    assert_eq!(field(process, "VmLck") != "0 kB", limit == "unlimited");
    let said = pair.weapon(&["status", "one"]);
    assert!(said.out.contains("with no capability, "), "{said:?}");
}

#[test]
fn the_gateway_of_weapon_wg_has_nothing_either() {
    if !ready(&["wg"]) {
        return;
    }
    let (host, home) = (Host::new("host"), Home::new());
    let mut gateway = WeaponWg::start(&host, &home);
    is_confined(gateway_process(&gateway.process().all_ids()));
}

/// What a stranger would want to do, by the names of proc(5) and of the manual.
fn wishes() -> Vec<(&'static str, i64, Vec<Argument>)> {
    let own_net = i64::from(libc::CLONE_NEWNET);
    let own_user = i64::from(libc::CLONE_NEWUSER | libc::SIGCHLD);
    let none = Number(0);
    let here = Number(i64::from(libc::AT_FDCWD));
    let packet = Number(i64::from(libc::AF_PACKET));
    let inet = Number(i64::from(libc::AF_INET));
    let raw = Number(i64::from(libc::SOCK_RAW));
    let stream = Number(i64::from(libc::SOCK_STREAM));
    let code = Number(i64::from(
        libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
    ));
    let anonymous = Number(i64::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS));
    let dumpable = Number(i64::from(libc::PR_SET_DUMPABLE));
    vec![
        (
            "execve",
            libc::SYS_execve,
            vec![Text("/bin/sh"), none, none],
        ),
        ("ptrace", libc::SYS_ptrace, vec![none]),
        (
            "open /etc/shadow",
            libc::SYS_openat,
            vec![here, Text("/etc/shadow"), none],
        ),
        ("packet socket", libc::SYS_socket, vec![packet, raw, none]),
        ("raw socket", libc::SYS_socket, vec![inet, raw, Number(1)]),
        ("TCP socket", libc::SYS_socket, vec![inet, stream, none]),
        ("connect", libc::SYS_connect, vec![none, none, none]),
        ("unshare", libc::SYS_unshare, vec![Number(own_net)]),
        ("clone, user", libc::SYS_clone, vec![Number(own_user)]),
        (
            "fork",
            libc::SYS_clone,
            vec![Number(i64::from(libc::SIGCHLD))],
        ),
        ("setns", libc::SYS_setns, vec![none, Number(own_net)]),
        ("kill", libc::SYS_kill, vec![Number(1), none]),
        ("tgkill", libc::SYS_tgkill, vec![Number(1), Number(1), none]),
        (
            "code in memory",
            libc::SYS_mmap,
            vec![none, Number(4096), code, anonymous, Number(-1), none],
        ),
        ("dumpable", libc::SYS_prctl, vec![dumpable, Number(1)]),
        ("setuid", libc::SYS_setuid, vec![none]),
        ("ioctl", libc::SYS_ioctl, vec![none, none]),
        ("setsockopt", libc::SYS_setsockopt, vec![none, none]),
        ("mount", libc::SYS_mount, vec![none]),
        ("io_uring", libc::SYS_io_uring_setup, vec![none]),
    ]
}

/// Each in the process of a gateway that runs. Nothing of the gateway is left then.
#[test]
fn who_takes_the_process_over_can_do_nothing() {
    if !ready(&[]) {
        return;
    }
    let (host, home) = (Host::new("host"), Home::new());
    let before = Traces::of(&host, &home);
    for (wish, number, arguments) in wishes() {
        let mut gateway = single(&host, &home, "");
        let process = gateway_process(&gateway.process().all_ids());
        // What it may do it survives: else the test would prove nothing.
        let own = call(process, libc::SYS_getpid, &[]).expect("it can be traced");
        assert_eq!(own, Outcome::Returned(i64::from(process)), "{wish}");
        assert!(gateway.is_up(), "{wish}");
        let outcome = call(process, number, &arguments).expect("it can be traced");
        assert_eq!(outcome, Outcome::Killed(Ended::SIGSYS), "{wish}");
        let status = gateway.process().wait(PATIENCE);
        assert_eq!(status.code(), Some(1), "{wish}");
        let log = gateway.log();
        assert!(log.contains("may not make (SIGSYS)"), "{wish}: {log}");
        drop(gateway);
        let left = what_is_left(&host, &home);
        assert_eq!(left, before, "{wish}");
    }
}

#[test]
fn no_core_is_written() {
    if !ready(&[]) {
        return;
    }
    let (host, home) = (Host::new("host"), Home::new());
    let mut gateway = single(&host, &home, "");
    let process = gateway_process(&gateway.process().all_ids());
    signal(process, Signal::ABORT);
    let status = gateway.process().wait(PATIENCE);
    assert_eq!(status.code(), Some(1));
    let log = gateway.log();
    // As the standard library writes it: with a core there would be more in the brackets.
    assert!(log.contains("(signal: 6 (SIGABRT))"), "{log}");
}

#[test]
fn when_the_gateway_is_killed_the_helper_undoes_all_and_says_so() {
    if !ready(&[]) {
        return;
    }
    let (host, home) = (Host::new("host"), Home::new());
    let before = Traces::of(&host, &home);
    let mut gateway = single(&host, &home, "");
    let process = gateway_process(&gateway.process().all_ids());
    signal(process, Signal::KILL);
    assert_eq!(gateway.process().wait(PATIENCE).code(), Some(1));
    assert!(gateway.log().contains("SIGKILL"), "{}", gateway.log());
    drop(gateway);
    assert_eq!(what_is_left(&host, &home), before);
}

#[test]
fn when_the_helper_is_killed_the_gateway_ends() {
    if !ready(&[]) {
        return;
    }
    let (host, home) = (Host::new("host"), Home::new());
    let mut gateway = single(&host, &home, "");
    let process = gateway_process(&gateway.process().all_ids());
    gateway.process().signal(Signal::KILL);
    gateway.process().wait(PATIENCE);
    until("the gateway has ended", PATIENCE, || {
        (!fs::exists(format!("/proc/{process}")).expect("/proc")).then_some(())
    });
    assert!(host.attempt("ip link show w-one").is_err());
}

/// Signals that end things end a gateway in order, whoever of the two they are sent to.
#[test]
fn what_ends_things_does_not_end_the_gateway_alone() {
    if !ready(&[]) {
        return;
    }
    let (host, home) = (Host::new("host"), Home::new());
    let mut gateway = single(&host, &home, "");
    let process = gateway_process(&gateway.process().all_ids());
    for end in [Signal::TERM, Signal::INT, Signal::HUP] {
        signal(process, end);
    }
    thread::sleep(Duration::from_millis(100));
    assert!(gateway.is_up());
    assert_eq!(gateway.stop().code(), Some(0));
}

/// Does `inside` on a thread for which the calls `missing` do not exist, nor for what it starts: as
/// on a kernel without them.
fn without(missing: &[i64], inside: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let rules = missing.iter().map(|&call| (call, Vec::new())).collect();
            let filter = SeccompFilter::new(
                rules,
                SeccompAction::Allow,
                SeccompAction::Errno(libc::ENOSYS as u32),
                std::env::consts::ARCH
                    .try_into()
                    .expect("a known processor"),
            );
            let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
            apply_filter(&program).expect("seccomp");
            inside();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Whether a gateway starts where the kernel lacks `missing`; what it says.
fn start_without(missing: &[i64], lines: &str) -> (bool, String) {
    let mut result = (false, String::new());
    without(missing, || {
        let (host, home) = (Host::new("host"), Home::new());
        let plan = weapon_netns::Plan::new("one", &["10.99.0.1/24"]);
        let file = home.write("one.toml", &plan.toml_with(lines));
        let mut gateway = Weapon::launch(&host, &home, &file);
        let is_up = until("it is up or has ended", PATIENCE, || {
            match (gateway.is_up(), gateway.process().ended()) {
                (_, Some(_)) => Some(false),
                (true, None) => Some(true),
                (false, None) => None,
            }
        });
        result = (is_up, gateway.log());
    });
    result
}

#[test]
fn a_kernel_without_a_sandbox_is_not_enough_unless_the_file_says_so() {
    if !ready(&[]) {
        return;
    }
    for (missing, name) in [
        (libc::SYS_landlock_create_ruleset, "Landlock"),
        (libc::SYS_seccomp, "seccomp"),
    ] {
        let (is_up, log) = start_without(&[missing], "");
        assert!(!is_up, "{name}");
        for words in [name, "sandbox = \"if-possible\""] {
            assert!(log.contains(words), "{words}: {log}");
        }
        let (is_up, log) = start_without(&[missing], "sandbox = \"if-possible\"");
        assert!(is_up, "{name}: {log}");
        assert!(log.contains("sandbox is not whole"), "{log}");
        let (is_up, log) = start_without(&[missing], "sandbox = \"off\"");
        assert!(is_up, "{name}: {log}");
        assert!(!log.contains("not whole"), "{log}");
    }
}

#[test]
fn a_user_that_is_missing_is_named() {
    if !ready(&[]) {
        return;
    }
    let (is_up, log) = start_without(&[], "user = \"no-such-user\"");
    assert!(!is_up);
    for words in ["one.toml:", "gateway.user", "no-such-user", "useradd"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    let (is_up, log) = start_without(&[], "user = \"daemon\"");
    assert!(is_up, "{log}");
}
