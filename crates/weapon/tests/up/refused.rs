//! What `up` refuses, and how it says so.

use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use weapon_io::namespace::{cover_with_tmpfs, isolate};

use crate::site::{Said, Site, config};

/// A user that owns nothing and may do nothing.
const NOBODY: u32 = 65_534;

fn refused(code: i32, stderr: impl Into<String>) -> Said {
    Said {
        code: Some(code),
        stdout: String::new(),
        stderr: stderr.into(),
    }
}

#[test]
fn port_in_use() {
    let Some(site) = Site::new() else { return };
    for taken in ["0.0.0.0:51820", "[::]:51820", "[::1]:51820"] {
        let socket = site.namespace.enter(|| UdpSocket::bind(taken)).unwrap();
        let socket = socket.unwrap();
        site.refuses(
            1,
            "weapon: site.toml:3:10: gateway.listen: UDP port 51820 is in use: another VPN or \
             gateway listens on it (ss -ulpn)\n",
        );
        drop(socket);
    }
    let _up = site.up();
}

#[test]
fn interface_in_use() {
    let Some(site) = Site::new() else { return };
    site.add_link_pair("wan0", "wan1");
    site.write("site.toml", &config("interface = \"wan0\"\n"));
    site.refuses(
        1,
        "weapon: site.toml:5:13: gateway.interface: an interface named wan0 exists: another \
         gateway runs with this name, or one has left it behind (ip link delete wan0)\n",
    );
    // Where no name is written, it is the gateway's.
    site.add_link_pair("site", "other");
    site.write("site.toml", &config(""));
    site.refuses(
        1,
        "weapon: site.toml:1:1: gateway.interface: an interface named site exists: another \
         gateway runs with this name, or one has left it behind (ip link delete site)\n",
    );
}

#[test]
fn interface_name_too_long() {
    let Some(site) = Site::new() else { return };
    site.write("site.toml", &config("interface = \"sixteen-letters-\"\n"));
    site.refuses(
        2,
        "site.toml:5:13: gateway.interface: `sixteen-letters-` has 16 bytes; an interface name \
         has 1 to 15\n",
    );
}

#[test]
fn no_tun_device() {
    let Some(site) = Site::new() else { return };
    for arguments in [
        &["up", "site.toml", "--foreground"][..],
        &["up", "site.toml"],
    ] {
        let (said, before, after) = site
            .namespace
            .enter(|| {
                // This thread, and what it starts, sees an empty folder.
                isolate().unwrap();
                cover_with_tmpfs("/dev/net").unwrap();
                let before = site.traces_here();
                let output = site.command(arguments).output().unwrap();
                (Said::from(output), before, site.traces_here())
            })
            .unwrap();
        assert_eq!(
            said,
            refused(
                1,
                "weapon: site.toml:1:1: gateway.interface: /dev/net/tun is missing: load the \
                 module (modprobe tun), or give the container the device (--device \
                 /dev/net/tun)\n"
            )
        );
        assert_eq!(after, before);
    }
    assert!(Path::new("/dev/net/tun").exists(), "the cover was private");
}

/// Hands the site's folder to nobody.
fn give_to_nobody(site: &Site) {
    for name in ["", "run", "state", "site.key", "site.toml"] {
        let path = site.path(name);
        std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

#[test]
fn no_privilege() {
    let Some(site) = Site::new() else { return };
    give_to_nobody(&site);
    // The built program may lie in a folder that only root can look into.
    let program = site.path("weapon");
    fs::copy(env!("CARGO_BIN_EXE_weapon"), &program).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let given = site.command(arguments);
        let mut command = std::process::Command::new(&program);
        command
            .args(arguments)
            .envs(
                given
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .current_dir(site.folder.path())
            .uid(NOBODY)
            .gid(NOBODY);
        site.run(&mut command)
    };
    let before = site.traces();
    for arguments in [
        &["up", "site.toml", "--foreground"][..],
        &["up", "site.toml"],
    ] {
        assert_eq!(
            as_nobody(arguments),
            refused(
                1,
                "weapon: site.toml:1:1: gateway.interface: no permission to create the interface \
                 site: run as root, or with CAP_NET_ADMIN\n"
            )
        );
        assert_eq!(site.traces(), before);
    }
    // A mark needs it too.
    site.write("site.toml", &config("fwmark = 7\n"));
    give_to_nobody(&site);
    let said = as_nobody(&["up", "site.toml"]);
    assert_eq!(
        said,
        refused(
            1,
            "weapon: site.toml:5:10: gateway.fwmark: no permission to mark packets: run as root, \
             or with CAP_NET_ADMIN\n"
        )
    );
    // Key files and folders that are root's.
    site.write("site.toml", &config(""));
    give_to_nobody(&site);
    site.write("site.key", "root's");
    std::os::unix::fs::chown(site.path("site.key"), Some(0), Some(0)).unwrap();
    assert_eq!(
        as_nobody(&["up", "site.toml"]),
        refused(
            2,
            format!(
                "site.toml:2:20: gateway.private_key_file: {} cannot be opened: Permission denied \
                 (os error 13)\n",
                "site.key"
            )
        )
    );
}

#[test]
fn running_gateways_of_root_are_not_for_others() {
    let Some(site) = Site::new() else { return };
    give_to_nobody(&site);
    let program = site.path("weapon");
    fs::copy(env!("CARGO_BIN_EXE_weapon"), &program).unwrap();
    let gateway = site.up();
    for arguments in [&["status", "site"][..], &["down", "site"]] {
        let mut command = std::process::Command::new(&program);
        command
            .args(arguments)
            .env("RUNTIME_DIRECTORY", site.path("run"))
            .uid(NOBODY)
            .gid(NOBODY);
        assert_eq!(
            site.run(&mut command),
            refused(
                1,
                format!(
                    "weapon: cannot ask the gateway at {}; run as root, or as the user that \
                     started it: Permission denied (os error 13)\n",
                    site.path("run/site.sock").display()
                )
            )
        );
    }
    drop(gateway);
}

#[test]
fn key_file_open_to_others() {
    let Some(site) = Site::new() else { return };
    for mode in [0o644, 0o640, 0o604] {
        fs::set_permissions(site.path("site.key"), Permissions::from_mode(mode)).unwrap();
        site.refuses(
            2,
            &format!(
                "site.toml:2:20: gateway.private_key_file: site.key is open to others than its \
                 owner (mode {mode:04o}); run `chmod 600 site.key`\n"
            ),
        );
    }
}

#[test]
fn route_that_exists() {
    let Some(site) = Site::new() else { return };
    let index = site.add_link_pair("wan0", "wan1");
    for network in ["10.98.0.0/16", "fd98::/64"] {
        let route = weapon_io::netlink::Route::new(network.parse().unwrap(), index);
        site.netlink(async |netlink| netlink.add_route(&route).await);
        let column = if network.starts_with("10") { 13 } else { 29 };
        site.refuses(
            1,
            &format!(
                "weapon: site.toml:8:{column}: peer.networks: there is a route to {network} \
                 through wan0 already; remove it, or give peer `far` other networks\n"
            ),
        );
        site.netlink(async |netlink| netlink.delete_route(&route).await);
    }
    let _up = site.up();
}

#[test]
fn folders_that_cannot_be_written() {
    let Some(site) = Site::new() else { return };
    let before = site.traces();
    site.write("file", "");
    for variable in ["RUNTIME_DIRECTORY", "STATE_DIRECTORY"] {
        for (folder, reason) in [
            (site.path("file"), "File exists (os error 17)"),
            (site.path("file/run"), "Not a directory (os error 20)"),
            (
                "/proc/weapon".into(),
                "No such file or directory (os error 2)",
            ),
        ] {
            for arguments in [
                &["up", "site.toml", "--foreground"][..],
                &["up", "site.toml"],
            ] {
                let mut command = site.command(arguments);
                let said = site.run(command.env(variable, &folder));
                let expected = format!(
                    "weapon: cannot write {}; run as root, or set {variable} to a folder that you \
                     may write: {reason}\n",
                    folder.display()
                );
                assert_eq!(said, refused(1, expected));
                assert_eq!(site.traces(), before);
            }
        }
    }
    // Folders that are there, but not for writing: found at the start, not at the first handshake.
    for (variable, path) in [
        ("RUNTIME_DIRECTORY", "/proc/self/site.json"),
        ("STATE_DIRECTORY", "/proc/self"),
    ] {
        let mut command = site.command(&["up", "site.toml"]);
        let said = site.run(command.env(variable, "/proc/self"));
        let expected = format!(
            "weapon: cannot write {path}; run as root, or set {variable} to a folder that you may \
             write: No such file or directory (os error 2)\n"
        );
        assert_eq!(said, refused(1, expected));
        assert_eq!(site.traces(), before);
    }
}

#[test]
fn socket_path_too_long() {
    let Some(site) = Site::new() else { return };
    let folder = site.path(&"long-".repeat(30));
    let mut command = site.command(&["up", "site.toml"]);
    let said = site.run(command.env("RUNTIME_DIRECTORY", &folder));
    let expected = format!(
        "weapon: cannot listen at {}: a socket's path has 107 bytes at most; set \
         RUNTIME_DIRECTORY to a shorter one: path must be shorter than SUN_LEN\n",
        folder.join("site.sock").display()
    );
    assert_eq!(said, refused(1, expected));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}
