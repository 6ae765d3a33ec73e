//! Namespaces of the running kernel: what is in them and what is left of them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod support;

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use weapon_io::namespace::{Namespace, die_with_parent};

#[test]
fn threads_enter_and_the_caller_stays() {
    let Some(namespace) = support::namespace() else {
        return;
    };
    let outside = Namespace::current().unwrap().inode().unwrap();
    let inside = namespace
        .enter(|| Namespace::current().unwrap().inode().unwrap())
        .unwrap();
    assert_eq!(inside, namespace.inode().unwrap());
    assert_ne!(inside, outside);
    assert_eq!(Namespace::current().unwrap().inode().unwrap(), outside);
    let spawned = namespace
        .spawn("inside", || Namespace::current()?.inode())
        .unwrap();
    assert_eq!(spawned.join().unwrap().unwrap().unwrap(), inside);
}

#[test]
fn processes_enter() {
    let Some(namespace) = support::namespace() else {
        return;
    };
    let mut command = Command::new("cat");
    namespace
        .command(command.arg("/proc/self/net/dev"))
        .unwrap();
    let output = command.output().unwrap();
    let devices = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        devices.lines().count(),
        3,
        "two of head, one for lo: {devices}"
    );
}

#[test]
fn something_else_than_a_namespace_is_refused() {
    let error = Namespace::open("/dev/null")
        .unwrap()
        .enter(|| ())
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
#[should_panic(expected = "from inside")]
fn a_panic_inside_goes_on_outside() {
    Namespace::current()
        .unwrap()
        .enter(|| panic!("from inside"))
        .unwrap_or(());
    // Unprivileged, the namespace can't be entered at all; the test is then of no interest.
    panic!("not entered, so nothing from inside");
}

#[test]
fn a_name_is_there_until_the_handle_is_dropped() {
    let Some(mut namespace) = support::namespace() else {
        return;
    };
    let name = format!("weapon-test-{}", std::process::id());
    let path = namespace.bind(&name).unwrap().to_owned();
    let named = Namespace::open(&path).unwrap();
    let inode = named
        .enter(|| Namespace::current().unwrap().inode().unwrap())
        .unwrap();
    assert_eq!(inode, namespace.inode().unwrap());
    let taken = Namespace::new().unwrap().bind(&name).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
    assert!(
        path.exists(),
        "the failed attempt must not remove what is not its own"
    );
    drop(namespace);
    assert!(!path.exists());
}

/// What `isolate` does to a process of user `user`: its answer, and the user map it then has.
fn isolated(user: u32) -> (String, String) {
    let mut command = Command::new("cat");
    command.arg("/proc/self/uid_map").uid(user).gid(user);
    let enter = || {
        // Changing the user made the process undumpable, and with that its /proc files root's.
        let dumpable = rustix::process::DumpableBehavior::Dumpable;
        rustix::process::set_dumpable_behavior(dumpable)?;
        let answer = weapon_io::namespace::isolate();
        // Straight to the descriptor: the test harness keeps what eprintln! says.
        writeln!(
            io::stderr(),
            "{}",
            answer.map_or_else(|e| e.to_string(), |i| format!("{i:?}"))
        )
    };
    // SAFETY: `enter` allocates between fork and exec, which glibc and musl allow a child that
    // the allocator's own fork handlers have put in order.
    unsafe { command.pre_exec(enter) };
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    (text(output.stderr), text(output.stdout))
}

#[test]
fn isolation_leaves_root_as_it_is() {
    if support::namespace().is_none() {
        return;
    }
    assert_eq!(isolated(0).0, "Privileged");
}

#[test]
fn isolation_makes_root_of_anyone() {
    const NOBODY: u32 = 65534;
    if support::namespace().is_none() {
        return;
    }
    let (answer, map) = isolated(NOBODY);
    if answer.starts_with("this system does not let ordinary users") {
        println!("skipped: {answer}");
        return;
    }
    assert_eq!(answer, "UserNamespace");
    assert_eq!(
        map.split_whitespace().collect::<Vec<_>>(),
        ["0", "65534", "1"]
    );
}

#[test]
fn a_tied_process_ends_with_its_parent() {
    let start = || {
        let mut command = Command::new("sleep");
        die_with_parent(command.arg("60")).spawn().unwrap()
    };
    // The parent is the thread.
    let mut child = std::thread::spawn(start).join().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
}

#[test]
fn a_covered_directory_is_empty_and_only_for_us() {
    if support::namespace().is_none() {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), "seen outside").unwrap();
    let mut command = Command::new("ls");
    command.arg("-A").arg(outside.path());
    let cover = {
        let directory = outside.path().to_owned();
        move || {
            weapon_io::namespace::isolate().map_err(io::Error::other)?;
            weapon_io::namespace::cover_with_tmpfs(&directory)
        }
    };
    // SAFETY: as in `isolated`.
    unsafe { command.pre_exec(cover) };
    let output = command.output().unwrap();
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    assert!(outside.path().join("file").exists());
}
