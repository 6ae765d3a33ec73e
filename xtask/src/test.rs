//! `cargo xtask test`: everything that must be green, on a machine that had only Rust and a
//! C compiler.

use anyhow::{Context, Result, bail};

use crate::shell::{Step, is_installed, is_root};
use crate::{counts, disassembly, obligations, tidy};

/// A program that the tests call, the Debian package that has it, and what for.
struct Tool {
    program: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const TOOLS: [Tool; 25] = [
    Tool {
        program: "curl",
        package: "curl",
        purpose: "the local API, asked by another program",
    },
    Tool {
        program: "ip",
        package: "iproute2",
        purpose: "networks between the gateways",
    },
    Tool {
        program: "wg",
        package: "wireguard-tools",
        purpose: "key formats, interop",
    },
    Tool {
        program: "wireguard-go",
        package: "wireguard-go",
        purpose: "interop",
    },
    Tool {
        program: "nft",
        package: "nftables",
        purpose: "firewalls between the gateways",
    },
    Tool {
        program: "iptables",
        package: "iptables",
        purpose: "firewalls of others on the gateways' hosts",
    },
    Tool {
        program: "dockerd",
        package: "docker.io",
        purpose: "two hosts with containers",
    },
    Tool {
        program: "docker",
        package: "docker.io",
        purpose: "two hosts with containers",
    },
    Tool {
        program: "busybox",
        package: "busybox",
        purpose: "what is in the containers",
    },
    Tool {
        program: "conntrack",
        package: "conntrack",
        purpose: "NAT between the gateways",
    },
    Tool {
        program: "ethtool",
        package: "ethtool",
        purpose: "network cards without offloads",
    },
    Tool {
        program: "script",
        package: "bsdutils",
        purpose: "a terminal to run in",
    },
    Tool {
        program: "ping",
        package: "iputils-ping",
        purpose: "round trips of `cargo xtask bench`",
    },
    Tool {
        program: "iperf3",
        package: "iperf3",
        purpose: "throughput of `cargo xtask bench`",
    },
    Tool {
        program: "strace",
        package: "strace",
        purpose: "sends that fail now and then",
    },
    Tool {
        program: "prlimit",
        package: "util-linux",
        purpose: "gateways with little memory and few files",
    },
    Tool {
        program: "systemd-analyze",
        package: "systemd",
        purpose: "gateways as units of systemd",
    },
    Tool {
        program: "dbus-daemon",
        package: "dbus",
        purpose: "systemd as the first process",
    },
    Tool {
        program: "man",
        package: "man-db",
        purpose: "the pages of the manual",
    },
    Tool {
        program: "dpkg-deb",
        package: "dpkg",
        purpose: "the Debian package",
    },
    Tool {
        program: "promtool",
        package: "prometheus",
        purpose: "metrics and alert rules as Prometheus reads them",
    },
    Tool {
        program: "tcpdump",
        package: "tcpdump",
        purpose: "captures as others read them",
    },
    Tool {
        program: "tshark",
        package: "tshark",
        purpose: "captures as Wireshark reads them",
    },
    Tool {
        program: "valgrind",
        package: "valgrind",
        purpose: "instructions of `cargo xtask counts`",
    },
    Tool {
        program: "objdump",
        package: "binutils",
        purpose: "machine code of `cargo xtask disassembly`",
    },
];

/// What `test` is asked to leave out.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// Run the tests only, without the house rules
    #[arg(long)]
    no_tidy: bool,
    /// Install nothing: tests that lack a program say so
    #[arg(long)]
    no_install: bool,
}

/// Installs what is missing, then runs tidy and all tests, those of the tunnel with both ciphers,
/// checks what the workspace itself does not build, reads machine code and counts instructions.
pub(crate) fn run(options: Options, command_names: &[String]) -> Result<()> {
    if !options.no_install {
        install_missing()?;
    }
    if !options.no_tidy {
        tidy::run(tidy::Options::default(), command_names)?;
    }
    obligations::run(obligations::Options { quiet: true })?;
    if !is_root() {
        eprintln!("test: not root: tests that need network namespaces will say what they lack");
    }
    // Builds the program too, which the end-to-end tests start. `cargo build` would choose other
    // features for the libraries, and they would be built twice.
    Step::new("cargo test --workspace --locked --no-run").run()?;
    if is_installed("cargo-nextest") {
        run_with_nextest()?;
    } else {
        run_with_cargo()?;
    }
    run_with_library()?;
    check_features()?;
    if is_installed("objdump") {
        disassembly::run(&disassembly::Options::default())?;
    } else {
        eprintln!("test: no objdump: the kernels' machine code is not checked");
    }
    if !is_installed("valgrind") {
        eprintln!("test: no valgrind: instructions are not counted");
        return Ok(());
    }
    counts::run(counts::Options::default())
}

/// One process per test; how many at a time stands in `.config/nextest.toml`.
fn run_with_nextest() -> Result<()> {
    Step::new("cargo test --workspace --locked --doc").run()?;
    Step::new("cargo nextest run --workspace --locked --no-fail-fast").run()
}

/// First what runs side by side, then the end-to-end tests one by one.
fn run_with_cargo() -> Result<()> {
    let side_by_side = "cargo test --workspace --exclude weapon-netns --locked --no-fail-fast";
    let passed = Step::new(side_by_side).succeeds()?;
    // Selected by target, not by package: else features differ and libraries are built again.
    let mut one_by_one = Step::new("cargo test --workspace --locked --no-fail-fast");
    let names = end_to_end_tests()?;
    for name in &names {
        one_by_one = one_by_one.arg("--test").arg(name);
    }
    if !names.is_empty() {
        one_by_one.arg("--").arg("--test-threads=1").run()?;
    }
    if !passed {
        bail!("failed: {side_by_side}");
    }
    Ok(())
}

/// Tests of the tunnel, by target: they run once more with the cipher of the library, which is what
/// machines without AVX-512 have, and what our own must be like.
const TUNNEL_TESTS: [&str; 6] = [
    "session",
    "gateway",
    "engines",
    "cipher_backend",
    "interop_wireguard_go",
    "offloads_off",
];

/// One by one, because some share the machine's namespaces.
fn run_with_library() -> Result<()> {
    let line = if is_installed("cargo-nextest") {
        "cargo nextest run --workspace --locked --no-fail-fast"
    } else {
        "cargo test --workspace --locked --no-fail-fast"
    };
    let mut step = Step::new(line).env("WEAPON_TEST_CIPHER", "library");
    for name in TUNNEL_TESTS {
        step = step.arg("--test").arg(name);
    }
    if !is_installed("cargo-nextest") {
        step = step.arg("--").arg("--test-threads=1");
    }
    step.run()
}

/// The features of `weapon-aead` other than all of them, which the workspace builds. Others use it
/// with these, and nothing else here would notice that it does not compile.
const FEATURES: [&str; 3] = [
    "--no-default-features",
    "--no-default-features --features std",
    "--no-default-features --features library",
];

/// Checks all combinations before it fails, so that one run tells of each that is broken.
fn check_features() -> Result<()> {
    let mut failed = Vec::new();
    for features in FEATURES {
        // Only the library: the tests of a crate need `std` anyway.
        let line = format!("cargo check --package weapon-aead --lib --locked {features}");
        if !Step::new(&line).succeeds()? {
            failed.push(line);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// The test targets of the package `weapon-netns`.
fn end_to_end_tests() -> Result<Vec<String>> {
    let folder = crate::root().join("netns/tests");
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(stem) = path.file_stem()
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn install_missing() -> Result<()> {
    let missing: Vec<&Tool> = TOOLS
        .iter()
        .filter(|tool| !is_installed(tool.program))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for tool in &missing {
        eprintln!(
            "test: `{}` is missing ({}): package {}",
            tool.program, tool.purpose, tool.package
        );
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let packages = packages.join(" ");
    if !is_installed("apt-get") {
        bail!("install these Debian packages, or what your system calls them: {packages}");
    }
    if !is_root() {
        bail!("run as root, or first: sudo apt-get install {packages} (or pass --no-install)");
    }
    eprintln!("test: installing {packages}");
    // A daemon that comes with a package would set up a firewall of its own on this machine.
    let _no_daemons = NoDaemons::begin()?;
    apt("apt-get -q update")?;
    apt(&format!(
        "apt-get -q -y install --no-install-recommends {packages}"
    ))
}

/// While it lives, packages that are installed start no daemons: what `invoke-rc.d` asks.
struct NoDaemons(bool);

impl NoDaemons {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn begin() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        if std::path::Path::new(Self::POLICY).exists() {
            return Ok(Self(false));
        }
        std::fs::write(Self::POLICY, "#!/bin/sh\nexit 101\n").context(Self::POLICY)?;
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(Self::POLICY, executable).context(Self::POLICY)?;
        Ok(Self(true))
    }
}

impl Drop for NoDaemons {
    fn drop(&mut self) {
        if self.0 {
            let _gone_already = std::fs::remove_file(Self::POLICY);
        }
    }
}

fn apt(line: &str) -> Result<()> {
    Step::new(line)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()
}
