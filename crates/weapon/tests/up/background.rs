//! `weapon up` without `--foreground`: it returns when the tunnel is up, and the gateway stays.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::site::{Site, until};

fn pid(site: &Site) -> u64 {
    site.status()["pid"].as_u64().unwrap()
}

/// Fields of `/proc/PID/stat` behind the program's name: state, parent, group, session, terminal.
fn stat(pid: u64) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = text.rsplit_once(')').unwrap();
    fields.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn returns_when_all_is_up() {
    let Some(site) = Site::new() else { return };
    let before = site.traces();
    let said = site.weapon(&["up", "site.toml"]);
    assert_eq!((said.code, &*said.stdout), (Some(0), ""), "{}", said.stderr);
    // What is asked for is there at once.
    let routes = site.netlink(async |netlink| {
        let link = netlink.link("site").await?;
        assert!(link.up);
        netlink.routes(link.index).await
    });
    for network in ["10.98.0.0/16", "fd98::/64", "fd99::/64"] {
        let network = network.parse().unwrap();
        assert!(
            routes.iter().any(|route| route.destination == network),
            "{routes:?}"
        );
    }
    let pid = pid(&site);
    assert_eq!(
        stat(pid)[3],
        pid.to_string(),
        "it leads a session of its own"
    );
    assert_eq!(stat(pid)[4], "0", "and has no terminal");
    assert_eq!(
        fs::read_link(format!("/proc/{pid}/cwd")).unwrap(),
        Path::new("/")
    );
    for number in 0..3 {
        let target = fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap();
        assert_eq!(target, Path::new("/dev/null"), "descriptor {number}");
    }
    let said = site.weapon(&["down", "site"]);
    assert_eq!((said.code, &*said.stdout, &*said.stderr), (Some(0), "", ""));
    assert_eq!(site.traces(), before);
    until("the process has ended", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    });
}

/// Someone logs in, starts the gateway and logs out.
#[test]
#[allow(clippy::print_stdout, reason = "says why a test did not run")]
fn survives_the_end_of_its_terminal() {
    let Some(site) = Site::new() else { return };
    let program = site.command(&[]);
    let line = format!("{} up site.toml && tty", program.get_program().display());
    let mut command = std::process::Command::new("script");
    // script(1) gives the command a terminal, and takes it away again.
    command
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .envs(
            program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(site.folder.path())
        .stdin(Stdio::null());
    let started = site.namespace.enter(|| command.output()).unwrap();
    let output = match started {
        Ok(output) => output,
        Err(error) => {
            let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            assert!(!in_ci, "script(1) is needed: {error}");
            println!("skipped: script(1) is needed (apt-get install bsdutils): {error}");
            return;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let terminal = text.lines().last().unwrap_or_default().trim();
    assert!(terminal.starts_with("/dev/"), "{text}");
    until("the terminal is gone", || !Path::new(terminal).exists());
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(site.status()["up"], true);
    assert_eq!(stat(pid(&site))[4], "0");
    assert_eq!(site.weapon(&["down", "site"]).code, Some(0));
}

/// The exit code is that of the process that was to stay. `refused.rs` has the messages.
#[test]
fn says_why_it_did_not_come_up() {
    let Some(site) = Site::new() else { return };
    let socket = site
        .namespace
        .enter(|| std::net::UdpSocket::bind("0.0.0.0:51820"));
    let said = site.weapon(&["up", "site.toml"]);
    assert_eq!(said.code, Some(1));
    assert_eq!(said.stderr.lines().count(), 1, "said once: {}", said.stderr);
    drop(socket);
    let said = site.weapon(&["up", "site.toml"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(site.weapon(&["down", "site"]).code, Some(0));
}

/// A warning about the file is said once, not by both processes.
#[test]
fn warnings_are_said_once() {
    let Some(site) = Site::new() else { return };
    let text = crate::site::config("").replace("10.98.0.0/16", "10.98.0.1/16");
    site.write("site.toml", &text);
    let said = site.weapon(&["up", "site.toml", "--log-level", "warn"]);
    assert_eq!(said.code, Some(0));
    assert_eq!(
        said.stderr,
        "site.toml:8:13: warning: peer.networks: 10.98.0.1/16 has host bits set; taken as \
         10.98.0.0/16\n"
    );
    assert_eq!(site.weapon(&["down", "site"]).code, Some(0));
}
