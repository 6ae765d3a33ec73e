//! `cargo xtask interop`: fetch the WireGuard of others, then try the gateway with each of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{Step, find, is_installed};

/// Programs of crates.io, with the versions that are known to build.
const CRATES: [(&str, &str, &str); 2] = [
    ("boringtun-cli", "boringtun-cli", "0.7.1"),
    ("gotatun", "gotatun-cli", "0.10.2"),
];

/// Packages of Debian that are installed.
const PACKAGES: [(&str, &str); 2] = [("wg", "wireguard-tools"), ("wireguard-go", "wireguard-go")];

/// What is handed on to `weapon-interop`, and whether the peers are fetched before.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Fetch the peers that are missing: Debian packages, crates, a kernel and qemu
    #[arg(long)]
    install: bool,
    /// Options of the matrix; `--help` after `--` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the gateway and the program that tries it, and runs the latter.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.install {
        install()?;
    }
    Step::new("cargo build --locked --package weapon --package weapon-netns").run()?;
    let mut step = Step::new("target/debug/weapon-interop").env("PATH", path_with_crates()?);
    for argument in &options.arguments {
        step = step.arg(argument);
    }
    step.run()
}

/// Where everything that is fetched is kept.
fn folder() -> PathBuf {
    crate::root().join("target/interop")
}

/// Crates are installed where only this chore looks.
fn path_with_crates() -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = vec![folder().join("bin")];
    folders.extend(std::env::split_paths(&path));
    Ok(std::env::join_paths(folders)?)
}

fn install() -> Result<()> {
    let missing = PACKAGES
        .iter()
        .filter(|(program, _)| !is_installed(program));
    let packages: Vec<&str> = missing.map(|&(_, package)| package).collect();
    if !packages.is_empty() {
        let line = "apt-get -q -y install --no-install-recommends";
        let step = Step::new(line).env("DEBIAN_FRONTEND", "noninteractive");
        packages.iter().fold(step, Step::arg).run()?;
    }
    for (program, name, version) in CRATES {
        if is_installed(program) || folder().join("bin").join(program).is_file() {
            continue;
        }
        Step::new(&format!(
            "cargo install --locked {name} --version {version} --root"
        ))
        .arg(folder())
        .run()?;
    }
    install_machine()
}

/// A virtual machine, unpacked and not installed: Debian's qemu would replace other packages.
fn install_machine() -> Result<()> {
    let folder = folder();
    let qemu = folder.join("qemu");
    if !qemu.join("usr/bin/qemu-system-x86_64").is_file() {
        let line = "apt-get install -s --no-install-recommends qemu-system-x86";
        let planned = output(line)?;
        let names = planned.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("Inst"))
                .then(|| words.next())
                .flatten()
        });
        let names: Vec<String> = names.map(str::to_owned).collect();
        if names.is_empty() {
            // It is installed: its files are where the machine looks for them, by a link.
            let program = find("qemu-system-x86_64").context("no qemu to be had")?;
            ensure!(
                program.starts_with("/usr"),
                "qemu is at {}",
                program.display()
            );
            std::fs::create_dir_all(&qemu)?;
            std::os::unix::fs::symlink("/usr", qemu.join("usr"))?;
        } else {
            unpack(&names, &qemu)?;
        }
    }
    let busybox = folder.join("busybox");
    if !busybox.join("bin/busybox").is_file() {
        unpack(&["busybox-static".to_owned()], &busybox)?;
    }
    let kernel = folder.join("kernel");
    if !kernel.join("boot").is_dir() {
        let depends = output("apt-cache depends linux-image-cloud-amd64")?;
        let name = depends
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: linux-image"));
        let Some(name) = name else {
            bail!("apt knows no linux-image-cloud-amd64");
        };
        unpack(&[format!("linux-image{name}")], &kernel)?;
    }
    index_modules(&busybox.join("bin/busybox"), &kernel)
}

/// Debian makes the index when a kernel is installed, which it is not here.
fn index_modules(busybox: &Path, kernel: &Path) -> Result<()> {
    let modules = kernel.join("lib/modules");
    let entries = std::fs::read_dir(&modules).with_context(|| modules.display().to_string())?;
    for entry in entries {
        let entry = entry?;
        if !entry.path().join("modules.dep").is_file() {
            Step::new(&format!("{} depmod -b", busybox.display()))
                .arg(kernel)
                .arg(entry.file_name())
                .run()?;
        }
    }
    Ok(())
}

/// Downloads packages of Debian and unpacks them into a folder of our own.
fn unpack(packages: &[String], into: &Path) -> Result<()> {
    let downloads = folder().join("debs");
    let here = downloads.join(into.file_name().unwrap_or_default());
    std::fs::create_dir_all(&here)?;
    let step = Step::new("apt-get -q download").at(&here);
    packages.iter().fold(step, Step::arg).run()?;
    for entry in std::fs::read_dir(&here)? {
        Step::new("dpkg -x").arg(entry?.path()).arg(into).run()?;
    }
    std::fs::remove_dir_all(&here)?;
    Ok(())
}

fn output(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    let output = command
        .args(words)
        .output()
        .with_context(|| line.to_owned())?;
    ensure!(output.status.success(), "failed: {line}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
