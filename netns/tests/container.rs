//! The gateway in a container with nothing else in it, one capability and one device, under a real
//! Docker: the recipe and the command line that stands in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weapon_netns::dockerd::{self, Dockerd};
use weapon_netns::weapon::{PATIENCE, build_folder};
use weapon_netns::{Pair, ready, until};

/// What `cargo xtask package` leaves: the image is made of it.
fn context() -> PathBuf {
    build_folder().join("../package")
}

fn is_possible() -> bool {
    if !ready(&["dockerd", "docker", "nft", "iptables", "busybox"]) {
        return false;
    }
    assert_eq!(dockerd::missing(), None);
    if context().join("weapon").is_file() {
        return true;
    }
    let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(!in_ci, "no static program: run `cargo xtask package` first");
    #[allow(clippy::print_stdout, reason = "says why the test did not run")]
    {
        println!("skipped: no static program; `cargo xtask package` makes it");
    }
    false
}

#[test]
fn an_image_of_one_static_program_is_a_gateway() {
    if !is_possible() {
        return;
    }
    let program = context().join("weapon");
    let linked = Command::new("ldd").arg(&program).output().expect("ldd");
    let linked = [linked.stdout, linked.stderr].concat();
    let linked = String::from_utf8_lossy(&linked);
    let is_static = ["statically linked", "not a dynamic executable"]
        .iter()
        .any(|it| linked.contains(it));
    assert!(is_static, "{linked}");

    let mut pair = Pair::new();
    pair.other_plan.peers[0].endpoint = Some("192.0.2.1:51820".to_owned());
    let folder = pair.home.path().join("docker");
    std::fs::create_dir(&folder).expect("a folder");
    let docker = Dockerd::start(pair.one.namespace(), &folder, "172.17.0.1/16");
    let docker = docker.expect("a Docker");
    let run = |words: &[&str]| {
        let said = docker.docker(words);
        said.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    };
    // Only what the image is made of: the rest of that folder need not be sent.
    let image = folder.join("image-of-weapon");
    std::fs::create_dir(&image).expect("a folder");
    std::fs::copy(&program, image.join("weapon")).expect("the program");
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/../package/Containerfile");
    let image = image.display().to_string();
    run(&["build", "--file", recipe, "--tag", "weapon", &image]);

    // In a container the gateway finds its peer as everybody else does; the peer finds it by the
    // port that Docker lends it.
    let configuration = pair.home.path().join("etc");
    std::fs::create_dir(&configuration).expect("a folder");
    pair.home.write("etc/one.toml", &pair.plan.toml());
    let volume = format!("{}:/etc/weapon:ro", configuration.display());
    let words = command_of(recipe);
    let words = words.iter().map(|word| match word.as_str() {
        "/etc/weapon:/etc/weapon:ro" => &volume,
        "site-a" => "one",
        word => word,
    });
    let words: Vec<&str> = words.collect();
    let id = run(&words);
    let logs = || {
        let at = format!("unix://{}", docker.socket().display());
        let output = Command::new("docker")
            .args(["-H", &at, "logs", &id])
            .output();
        let output = output.expect("docker");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let status = || -> Option<Value> {
        let words = ["exec", &id, "/usr/bin/weapon", "status", "one", "--json"];
        serde_json::from_str(&docker.docker(&words).ok()?).ok()
    };
    until("the gateway is up", PATIENCE, || {
        let state = run(&["inspect", "-f", "{{.State.Running}}", &id]);
        assert_eq!(state, "true", "{}", logs());
        status().map(drop)
    });
    let _other = pair.start_other();
    pair.other.ping("10.99.0.1");
    pair.other.ping("fd99::1");
    let status = status().expect("a status");
    assert_eq!(status["peers"][0]["name"], "other", "{status:#}");

    // One capability, number 12, and that is CAP_NET_ADMIN.
    let held = run(&[
        "inspect",
        "-f",
        "{{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}}",
        &id,
    ]);
    assert_eq!(held.replace("CAP_", ""), "[ALL] [NET_ADMIN]");
    run(&["stop", &id]);
    let code = run(&["inspect", "-f", "{{.State.ExitCode}}", &id]);
    assert_eq!(code, "0", "it hears the signal: {}", logs());
}

/// The words after `docker` of the recipe's own `docker run`.
#[track_caller]
fn command_of(recipe: impl AsRef<Path>) -> Vec<String> {
    let text = std::fs::read_to_string(recipe).expect("the recipe");
    let begin = text.find("docker run").expect("a command line");
    let lines = text[begin..]
        .lines()
        .map(|line| line.trim_start_matches('#'));
    let mut words = Vec::new();
    for line in lines {
        let is_last = !line.ends_with('\\');
        words.extend(
            line.trim_end_matches('\\')
                .split_whitespace()
                .map(str::to_owned),
        );
        if is_last {
            break;
        }
    }
    words.remove(0);
    words
}
