//! `weapon-wg` as a process and at its socket: the contract that scripts have with `wireguard-go`
//! (U01 to U18).

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use weapon_io::tun::{Device, Offloads, Tun, TunConfig};
use weapon_netns::daemon::unique_interface;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::weapon_wg::{self, ask, socket};
use weapon_netns::{Home, Host, WeaponWg, ready, until};

fn setting() -> Option<(Host, Rc<Home>)> {
    ready(&["wg"]).then(|| (Host::new("alone"), Home::new()))
}

/// The processes whose command line has `word`.
fn processes_of(word: &str) -> Vec<i32> {
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let id: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let text = String::from_utf8_lossy(&line).into_owned();
        (text.contains("weapon-wg") && text.contains(word)).then_some(id)
    });
    all.collect()
}

#[track_caller]
fn gone(interface: &str) {
    until("process and socket are gone", PATIENCE, || {
        let left = processes_of(interface);
        (left.is_empty() && !socket(interface).exists()).then_some(())
    });
}

#[test]
fn u01_the_command_line_is_that_of_wireguard_go() {
    let Some((host, home)) = setting() else {
        return;
    };
    let version = weapon_wg::run(&host, &home, &["--version"]);
    assert!(version.status.success());
    assert!(String::from_utf8_lossy(&version.stdout).starts_with("weapon-wg "));
    for arguments in [&[][..], &["--help"], &["-x", "wg0"], &["wg0", "wg1"]] {
        let output = weapon_wg::run(&host, &home, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: weapon-wg"));
    }
    for name in ["sixteen-letters-", "a/b", ".", ".."] {
        let output = weapon_wg::run(&host, &home, &["-f", name]);
        assert_eq!(output.status.code(), Some(1), "{name} (U12)");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("1 to 15 bytes are needed"), "{said}");
    }
}

#[test]
fn u02_u08_it_returns_when_wg_can_ask_and_ends_with_the_interface() {
    let Some((host, home)) = setting() else {
        return;
    };
    let interface = unique_interface();
    let output = weapon_wg::run(&host, &home, &[&interface]);
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "nothing is said");
    host.run(&format!("wg show {interface}"));
    host.run(&format!("ip link show {interface}"));
    host.run(&format!("ip link delete {interface}"));
    gone(&interface);
}

#[test]
fn u03_it_takes_over_a_device_and_a_socket() {
    let Some((host, home)) = setting() else {
        return;
    };
    let interface = unique_interface();
    let path = socket(&interface);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let tun = host.enter(|| {
        Tun::open(&TunConfig {
            name: interface.clone(),
            mtu: 1400,
            offloads: Offloads::default(),
            queues: 1,
        })
        .unwrap()
    });
    // Copies that are not closed on exec.
    let device = rustix::io::dup(tun.queue(0)).unwrap();
    let listening = rustix::io::dup(&listener).unwrap();
    let mut command = weapon_wg::command(&host, &home);
    command
        .arg(&interface)
        .env("WG_PROCESS_FOREGROUND", "1")
        .env("WG_TUN_FD", device.as_raw_fd().to_string())
        .env("WG_UAPI_FD", listening.as_raw_fd().to_string())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop((tun, listener, device, listening));
    until("it answers", PATIENCE, || {
        let answer = host.attempt(&format!("wg show {interface}")).ok()?;
        answer.contains("interface:").then_some(())
    });
    host.run(&format!("ip link set {interface} mtu 1300 up"));
    host.run(&format!("ip link delete {interface}"));
    assert!(child.wait().unwrap().success());
    assert!(!path.exists());

    // What is no device is refused.
    let mut command = weapon_wg::command(&host, &home);
    let output = command
        .args(["-f", &interface])
        .env("WG_TUN_FD", "1000")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("WG_TUN_FD"), "{said}");
}

#[test]
fn u04_u05_the_log_goes_to_standard_error_if_it_is_asked_for_and_to_no_file() {
    let Some((host, home)) = setting() else {
        return;
    };
    for (level, stays) in [("verbose", true), ("silent", false)] {
        let interface = unique_interface();
        let log = home.path().join(level);
        let mut command = weapon_wg::command(&host, &home);
        let file = fs::File::create(&log).unwrap();
        let status = command
            .arg(&interface)
            .env("LOG_LEVEL", level)
            .stderr(file)
            .status();
        assert!(status.unwrap().success());
        let [process] = processes_of(&interface)[..] else {
            panic!("one process");
        };
        let files = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let open: Vec<_> = files
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .collect();
        let logs = open.iter().filter(|&path| *path == log).count();
        assert_eq!(logs > 0, stays, "{level}: {open:?}");
        assert!(
            !open
                .iter()
                .any(|path| path.extension().is_some_and(|it| it == "out")),
            "{open:?}"
        );
        host.run(&format!("ip link delete {interface}"));
        gone(&interface);
        assert_eq!(fs::read_to_string(&log).unwrap().is_empty(), !stays);
    }
}

#[test]
fn u07_a_signal_ends_it_and_so_does_the_removal_of_its_socket() {
    let Some((host, home)) = setting() else {
        return;
    };
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = WeaponWg::start(&host, &home);
        gateway.process().signal(signal);
        assert!(gateway.process().wait(PATIENCE).success());
        assert!(!socket(&gateway.interface).exists());
    }
    let mut gateway = WeaponWg::start(&host, &home);
    fs::remove_file(socket(&gateway.interface)).unwrap();
    assert!(gateway.process().wait(PATIENCE).success());
    let interface = gateway.interface.clone();
    assert!(host.attempt(&format!("ip link show {interface}")).is_err());
}

#[test]
fn u11_u16_a_second_one_is_refused_and_leaves_the_first_alone() {
    let Some((host, home)) = setting() else {
        return;
    };
    let gateway = WeaponWg::start(&host, &home);
    let output = weapon_wg::run(&host, &home, &[&gateway.interface]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("exists"), "{said}");

    // In another namespace the device is no obstacle, but the name of the socket is.
    let elsewhere = Host::new("elsewhere");
    let output = weapon_wg::run(&elsewhere, &home, &[&gateway.interface]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is in use"), "{said}");
    gateway.wg("show", "");
}

#[test]
fn u12_the_kernel_may_choose_the_number_in_the_name() {
    let Some((host, home)) = setting() else {
        return;
    };
    let stem = unique_interface();
    let output = weapon_wg::run(&host, &home, &[&format!("{stem}-%d")]);
    assert!(output.status.success(), "{output:?}");
    let interface = format!("{stem}-0");
    host.run(&format!("wg show {interface}"));
    host.run(&format!("ip link delete {interface}"));
    until("the socket is gone", PATIENCE, || {
        (!socket(&interface).exists()).then_some(())
    });
}

#[test]
fn u13_only_the_owner_may_ask() {
    let Some((host, home)) = setting() else {
        return;
    };
    let gateway = WeaponWg::start(&host, &home);
    let metadata = fs::metadata(socket(&gateway.interface)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(metadata.uid(), 0);
}

#[test]
fn u14_u18_a_client_that_says_nothing_keeps_nobody_waiting() {
    let Some((host, home)) = setting() else {
        return;
    };
    let gateway = WeaponWg::start(&host, &home);
    let silent: Vec<_> = (0..20)
        .map(|_| UnixStream::connect(socket(&gateway.interface)).unwrap())
        .collect();
    let mut half = UnixStream::connect(socket(&gateway.interface)).unwrap();
    half.write_all(b"get=1\n").unwrap();
    assert!(host.run("wg show interfaces").contains(&gateway.interface));
    drop(silent);

    // Who has said the half only is let go of after a while.
    half.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(half.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn u16_what_a_killed_one_left_behind_is_taken_over() {
    let Some((host, home)) = setting() else {
        return;
    };
    let mut gateway = WeaponWg::start(&host, &home);
    gateway.process().signal(Signal::KILL);
    gateway.process().wait(PATIENCE);
    let interface = gateway.interface.clone();
    assert!(
        socket(&interface).exists(),
        "there was no time to remove it"
    );
    until("the interface has gone with its process", PATIENCE, || {
        host.attempt(&format!("ip link show {interface}"))
            .is_err()
            .then_some(())
    });
    let output = weapon_wg::run(&host, &home, &[&interface]);
    assert!(output.status.success(), "{output:?}");
    host.run(&format!("wg show {interface}"));
    host.run(&format!("ip link delete {interface}"));
    gone(&interface);
}

#[test]
fn u15_u17_the_socket_is_there_when_it_accepts_and_only_ours_is_removed() {
    let Some((host, home)) = setting() else {
        return;
    };
    let mut gateway = WeaponWg::start(&host, &home);
    let path = socket(&gateway.interface);
    let folder = fs::read_dir(path.parent().unwrap()).unwrap();
    let ours: Vec<_> = folder
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&gateway.interface))
        .collect();
    assert_eq!(ours, [format!("{}.sock", gateway.interface)]);

    // Somebody puts another in its place: ours is removed, so we end, and leave his alone.
    let other = path.with_extension("other");
    let _theirs = UnixListener::bind(&other).unwrap();
    fs::rename(&other, &path).unwrap();
    assert!(gateway.process().wait(PATIENCE).success());
    assert!(path.exists());
}

#[test]
fn u18_many_requests_on_one_connection() {
    let Some((host, home)) = setting() else {
        return;
    };
    let gateway = WeaponWg::start(&host, &home);
    let answer = ask(
        &gateway.interface,
        "set=1\nlisten_port=4711\n\nget=1\n\nset=1\nlisten_port=oops\n\nget=1\n\n",
    );
    assert_eq!(
        answer,
        "errno=0\n\nlisten_port=4711\nerrno=0\n\nerrno=-22\n\nlisten_port=4711\nerrno=0\n\n"
    );
}

#[test]
fn u10_it_ends_with_the_namespace_that_its_interface_is_in() {
    let Some((host, home)) = setting() else {
        return;
    };
    let mut gateway = WeaponWg::start(&host, &home);
    let other = Host::new("other");
    let process = format!("{}", std::process::id());
    // Named, so that `ip` can move an interface there; gone with its name.
    let mut named = other.namespace().try_clone().unwrap();
    let name = format!("w-{process}-{}", gateway.interface);
    named.bind(&name).unwrap();
    gateway.ip(&host, &format!("link set IF netns {name}"));
    gateway.ip(&other, "link set IF up");
    // Long enough for a few looks at the interface, none of which may keep the namespace.
    std::thread::sleep(Duration::from_millis(2500));
    assert!(gateway.process().ended().is_none(), "it goes on");
    drop((named, other));
    assert!(gateway.process().wait(PATIENCE).success());
}

#[test]
fn u07_one_that_is_stopped_for_a_while_goes_on() {
    let Some((host, home)) = setting() else {
        return;
    };
    let mut gateway = WeaponWg::start(&host, &home);
    let id = Pid::from_raw(i32::try_from(gateway.process().id()).unwrap()).unwrap();
    kill_process(id, Signal::STOP).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    kill_process(id, Signal::CONT).unwrap();
    gateway.wg("show", "");
}
