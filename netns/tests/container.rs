//! The gateway in a container with nothing else in it, one capability and one device, under a real
//! Docker: the recipe and the command line that stands in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weapon_netns::dockerd::{self, Dockerd};
use weapon_netns::weapon::{PATIENCE, binary, build_folder};
use weapon_netns::{Pair, ready, until};

fn is_possible() -> bool {
    if !ready(&["dockerd", "docker", "nft", "iptables", "busybox"]) {
        return false;
    }
    assert_eq!(dockerd::missing(), None);
    true
}

/// Puts into `folder` what the image is made of, and returns the recipe. That is the static program
/// which `cargo xtask package` leaves. Building it takes as long as all tests: where it was not
/// built, it is the program that is tested, with the libraries that it is linked with.
#[track_caller]
fn prepare(folder: &Path) -> PathBuf {
    let recipe = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../package/Containerfile"
    ));
    let program = build_folder().join("../package/weapon");
    let (program, is_static) = match program.is_file() {
        true => (program, true),
        false => (binary(), false),
    };
    std::fs::copy(&program, folder.join("weapon")).expect("the program");
    let linked = Command::new("ldd").arg(&program).output().expect("ldd");
    let linked = [linked.stdout, linked.stderr].concat();
    let linked = String::from_utf8_lossy(&linked);
    if is_static {
        let words = ["statically linked", "not a dynamic executable"];
        assert!(words.iter().any(|it| linked.contains(it)), "{linked}");
        return recipe;
    }
    for library in linked
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let to = folder
            .join("libraries")
            .join(library.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        std::fs::copy(library, to).expect("a library");
    }
    let text = std::fs::read_to_string(&recipe).expect("the recipe");
    let with_libraries = folder.join("Containerfile");
    std::fs::write(&with_libraries, format!("{text}\nCOPY libraries /\n")).expect("a recipe");
    with_libraries
}

#[test]
fn an_image_of_one_static_program_is_a_gateway() {
    if !is_possible() {
        return;
    }
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
    let image = folder.join("image-of-weapon");
    std::fs::create_dir(&image).expect("a folder");
    let recipe = prepare(&image).display().to_string();
    let image = image.display().to_string();
    run(&["build", "--file", &recipe, "--tag", "weapon", &image]);

    // In a container the gateway finds its peer as everybody else does; the peer finds it by the
    // port that Docker lends it.
    let configuration = pair.home.path().join("etc");
    std::fs::create_dir(&configuration).expect("a folder");
    pair.home.write("etc/one.toml", &pair.plan.toml());
    let volume = format!("{}:/etc/weapon:ro", configuration.display());
    let words = command_of(&recipe);
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
