//! The tools of others that tidy calls: rustfmt, clippy, cargo tree, cargo-deny.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::shell::Step;

/// Runs each tool; returns the names of those that failed.
pub(super) fn run(root: &Path, no_clippy: bool) -> Result<Vec<&'static str>> {
    let mut failed = Vec::new();
    let mut run = |name, line| -> Result<()> {
        if !Step::new(line).at(root).succeeds()? {
            failed.push(name);
        }
        Ok(())
    };
    run("rustfmt", "cargo fmt --all --check")?;
    if !no_clippy {
        let lint = "cargo clippy --quiet --workspace --all-targets --locked -- --deny warnings";
        run("clippy", lint)?;
    }
    let banned = banned_crates(&std::fs::read_to_string(root.join("deny.toml"))?)?;
    for line in banned_in_use(&crates_in_use(root)?, &banned) {
        eprintln!("deny.toml: bans: {line} is banned, and used");
        failed.push("bans");
    }
    if crate::shell::is_installed("cargo-deny") {
        let line = "cargo deny --log-level error check licenses bans sources";
        if !Step::new(line).at(root).succeeds()? {
            failed.push("cargo-deny");
        }
    } else {
        eprintln!("tidy: cargo-deny is not installed: licences and sources are not checked");
    }
    Ok(failed)
}

/// The names under `bans.deny` of `deny.toml`.
fn banned_crates(deny: &str) -> Result<Vec<String>> {
    let deny: toml::Table = deny.parse().context("deny.toml")?;
    let list = deny.get("bans").and_then(|bans| bans.get("deny"));
    let entries = list
        .and_then(toml::Value::as_array)
        .context("deny.toml has no bans.deny")?;
    let names = entries
        .iter()
        .filter_map(|entry| entry.get("name").and_then(toml::Value::as_str));
    Ok(names.map(str::to_owned).collect())
}

/// Every crate that is built, tests included, as `cargo tree` prints it: name, version.
fn crates_in_use(root: &Path) -> Result<String> {
    let mut command = std::process::Command::new("cargo");
    command.args([
        "tree",
        "--workspace",
        "--locked",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let tree = command.current_dir(root).output().context("cargo tree")?;
    ensure!(
        tree.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&tree.stderr)
    );
    Ok(String::from_utf8(tree.stdout)?)
}

/// The crates of `tree` whose names are in `banned`.
fn banned_in_use<'a>(tree: &'a str, banned: &[String]) -> Vec<&'a str> {
    let mut lines: Vec<&str> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| {
            line.split(' ')
                .next()
                .is_some_and(|name| banned.iter().any(|known| known == name))
        })
        .collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banned_crate_in_use_is_found() {
        let deny = "[bans]\ndeny = [{ name = \"ring\" }, { name = \"openssl-sys\" }]\n";
        let banned = banned_crates(deny).unwrap();
        assert_eq!(banned, ["ring", "openssl-sys"]);
        let tree = "weapon v0.1.0\nring v0.17.14\nring v0.17.14 (*)\nringbuf v1.0.0\n";
        assert_eq!(banned_in_use(tree, &banned), ["ring v0.17.14"]);
        assert!(banned_crates("[licenses]\n").is_err());
    }
}
