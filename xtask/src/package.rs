//! `cargo xtask package`: what is given to others. One static program for all of it, and a Debian
//! package with unit, manual and completions (`docs/decisions/0017-packages.md`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{Step, is_installed};
use crate::{page, root};

/// What is packaged, from where and to where.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Package the programs in this folder, instead of static ones that are built
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// Where everything is put: target/package if nothing else is said
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

const PROGRAMS: [&str; 2] = ["weapon", "weapon-wg"];

/// Files of the repository, and their places in the package.
const FILES: [(&str, &str); 6] = [
    (
        "package/weapon@.service",
        "usr/lib/systemd/system/weapon@.service",
    ),
    ("package/weapon.sysusers", "usr/lib/sysusers.d/weapon.conf"),
    ("package/debian/copyright", "usr/share/doc/weapon/copyright"),
    ("LICENSE-MIT", "usr/share/doc/weapon/LICENSE-MIT"),
    ("LICENSE-APACHE", "usr/share/doc/weapon/LICENSE-APACHE"),
    ("CHANGELOG.md", "usr/share/doc/weapon/changelog"),
];

/// What `weapon manual` writes for shells, and where Debian's shells look for it.
const COMPLETIONS: [(&str, &str); 3] = [
    (
        "weapon.bash",
        "usr/share/bash-completion/completions/weapon",
    ),
    ("_weapon", "usr/share/zsh/vendor-completions/_weapon"),
    (
        "weapon.fish",
        "usr/share/fish/vendor_completions.d/weapon.fish",
    ),
];

/// What dpkg runs.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds the programs, then packages them.
pub(crate) fn run(options: &Options) -> Result<()> {
    let programs = match &options.from {
        Some(folder) => folder.clone(),
        None => build()?,
    };
    let target = root().join("target/package");
    let into = options.into.clone().unwrap_or(target);
    let tree = into.join("tree");
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| tree.display().to_string())?;
    }
    for program in PROGRAMS {
        // Beside the tree too: for images, and for those who want nothing else.
        let beside = into.join(program);
        copy(&programs.join(program), &beside, 0o755)?;
        if options.from.is_none() {
            // Names of functions stay, for what a panic says; lines are half of the file.
            Step::new("strip --strip-debug").arg(&beside).run()?;
        }
        copy(&beside, &tree.join("usr/bin").join(program), 0o755)?;
    }
    stage(&into, &tree)?;
    if !is_installed("dpkg-deb") {
        eprintln!("package: no dpkg-deb here: the static programs are all there is");
        return Ok(());
    }
    debian(&into, &tree)
}

/// Static programs, of the C library that is here anyway: they need nothing of the system that they
/// run on. Returns their folder.
fn build() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    // With a target that is named, flags are for it alone, not for build scripts too.
    let line = format!("cargo build --release --locked --package weapon --bins --target {target}");
    Step::new(&line)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .run()?;
    Ok(root().join("target").join(target).join("release"))
}

/// All that is in the package beside the programs.
fn stage(into: &Path, tree: &Path) -> Result<()> {
    for (from, to) in FILES {
        copy(&root().join(from), &tree.join(to), 0o644)?;
    }
    let manual = into.join("manual");
    let program = into.join("weapon");
    Step::new(&program.display().to_string())
        .arg("manual")
        .arg(&manual)
        .run()?;
    let pages = tree.join("usr/share/man/man1");
    for entry in fs::read_dir(manual.join("man"))? {
        let page = entry?;
        copy(&page.path(), &pages.join(page.file_name()), 0o644)?;
    }
    let configuration = fs::read_to_string(root().join("docs/configuration.md"))?;
    let about = "the configuration of a weapon gateway";
    let text = page::of_markdown(&configuration, "weapon.toml", about);
    let files = tree.join("usr/share/man/man5");
    make_folder(&files)?;
    write(&files.join("weapon.toml.5"), &text, 0o644)?;
    // No name and time of the original in what is compressed, so that it is always the same.
    let step = Step::new("gzip --best --no-name --recursive").arg(&pages);
    let step = step.arg(&files);
    step.arg(tree.join("usr/share/doc/weapon/changelog"))
        .run()?;
    for (from, to) in COMPLETIONS {
        copy(
            &manual.join("completions").join(from),
            &tree.join(to),
            0o644,
        )?;
    }
    make_folder(&tree.join("etc/weapon"))
}

/// The Debian package. `dpkg-deb` alone makes it: cargo-deb would have to be built for minutes
/// first, and the parts of a package that need thought are the same.
fn debian(into: &Path, tree: &Path) -> Result<()> {
    let architecture = said(Command::new("dpkg").arg("--print-architecture"))?;
    let version = env!("CARGO_PKG_VERSION");
    let kilobytes = said(
        Command::new("du")
            .args(["-sk", "--apparent-size"])
            .arg(tree),
    )?;
    let kilobytes = kilobytes.split_whitespace().next().unwrap_or_default();
    let sums = said(
        Command::new("sh")
            .args(["-c", "find usr -type f | LC_ALL=C sort | xargs md5sum"])
            .current_dir(tree),
    )?;
    let control = tree.join("DEBIAN");
    make_folder(&control)?;
    let text = format!(
        "Package: weapon\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: the authors of weapon <weapon@localhost>\n\
         Installed-Size: {kilobytes}\n\
         Depends: passwd, systemd (>= 252) | systemd-standalone-sysusers\n\
         Recommends: nftables\n\
         Suggests: wireguard-tools\n\
         Section: net\n\
         Priority: optional\n\
         Description: userspace WireGuard gateway\n \
         Links private networks over networks that nobody trusts: the containers of one\n \
         host with those of another, two offices, a home lab with a rented server. Any\n \
         WireGuard client can be its peer.\n"
    );
    write(&control.join("control"), &text, 0o644)?;
    write(&control.join("md5sums"), &format!("{sums}\n"), 0o644)?;
    for script in SCRIPTS {
        let from = root().join("package/debian").join(script);
        copy(&from, &control.join(script), 0o755)?;
    }
    let package = into.join(format!("weapon_{version}_{architecture}.deb"));
    let mut step = Step::new("dpkg-deb --build --root-owner-group");
    if let Some(time) = commit_time() {
        step = step.env("SOURCE_DATE_EPOCH", time);
    }
    step.arg(tree).arg(&package).run()
}

/// The time of the last commit, for files that are the same whenever they are packaged.
fn commit_time() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(root());
    said(&mut git).ok()
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("{command:?}: {complaint}");
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    make_folder(to.parent().unwrap_or(Path::new(".")))?;
    let copied = fs::copy(from, to);
    copied.with_context(|| format!("{} to {}", from.display(), to.display()))?;
    set_mode(to, mode)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())?;
    set_mode(path, mode)
}

/// Makes a folder with those above it. Each is for all to look into, whatever the umask is here.
fn make_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        make_folder(above)?;
    }
    fs::create_dir(path).with_context(|| path.display().to_string())?;
    set_mode(path, 0o755)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).with_context(|| path.display().to_string())
}
