//! Arrows: which crate may use which, and what stays out of the crates without I/O.

use anyhow::{Context, Result};

use super::{Finding, Tree, tree::File};

/// Each library and the workspace crates below it. Arrows go down only.
const ARROWS: [(&str, &[&str]); 8] = [
    ("weapon-wire", &[]),
    ("weapon-aead", &[]),
    ("weapon-noise", &["weapon-wire", "weapon-aead"]),
    ("weapon-core", &["weapon-noise", "weapon-wire"]),
    ("weapon-io", &["weapon-wire"]),
    (
        "weapon-engine",
        &["weapon-core", "weapon-io", "weapon-noise", "weapon-wire"],
    ),
    ("weapon-control", &["weapon-noise", "weapon-wire"]),
    (
        "weapon",
        &[
            "weapon-wire",
            "weapon-aead",
            "weapon-noise",
            "weapon-core",
            "weapon-io",
            "weapon-engine",
            "weapon-control",
        ],
    ),
];

/// Packages at the edge of the workspace: they may use everything, nobody may use them.
const EDGES: [&str; 7] = [
    "weapon-netns",
    "weapon-bench",
    "weapon-aead-bench",
    "weapon-counts",
    "weapon-sim",
    "weapon-fuzz",
    "xtask",
];

/// Crates without I/O.
const PURE: [&str; 5] = [
    "weapon-wire",
    "weapon-aead",
    "weapon-noise",
    "weapon-core",
    "weapon-control",
];

/// What brings a system, a runtime, a clock or randomness with it.
const IMPURE: [&str; 11] = [
    "getrandom",
    "libc",
    "mio",
    "nix",
    "rand",
    "rtnetlink",
    "rustix",
    "socket2",
    "tokio",
    "tracing",
    "tracing-subscriber",
];

/// Libraries that may have Cargo features, and why: elsewhere options are values, as each feature
/// doubles the builds that have to be tested.
const WITH_FEATURES: [(&str, &str); 1] = [(
    "weapon-aead",
    "others use it without this workspace: without `std` for `no_std`, without `library` where \
     aws-lc does not build; `cargo xtask test` checks each combination",
)];

pub(super) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in tree
        .files()
        .iter()
        .filter(|file| is_manifest_of_member(file))
    {
        check_manifest(file, &mut findings)?;
    }
    for file in tree.rust_files().filter(|file| file.path.contains("/src/")) {
        check_uses(tree, file, &mut findings);
    }
    Ok(findings)
}

fn is_manifest_of_member(file: &File) -> bool {
    file.name() == "Cargo.toml" && file.path.contains('/') && !file.path.starts_with("fuzz/")
}

fn check_manifest(file: &File, findings: &mut Vec<Finding>) -> Result<()> {
    let manifest: toml::Table = file
        .text
        .parse()
        .with_context(|| format!("{} is not TOML", file.path))?;
    let package = package_name(&manifest);
    let is_library = ARROWS.iter().any(|(name, _)| *name == package) && package != "weapon";
    let mut report = |rule, key: &str, text: String| {
        let line = file
            .text
            .lines()
            .position(|line| line.starts_with(key))
            .map_or(0, |at| at + 1);
        findings.push(Finding::new(rule, &file.path, line, text));
    };
    for dependency in dependency_names(&manifest) {
        if dependency.starts_with("weapon") && !may_use(&package, dependency) {
            let text = format!("{package} may not use {dependency}");
            report("arrow", dependency, text);
        }
        if dependency == "anyhow" && is_library {
            let text = "`anyhow` is for binaries: name the errors in an enum".to_owned();
            report("anyhow", dependency, text);
        }
        if PURE.contains(&package.as_str()) && IMPURE.contains(&dependency) {
            let text = format!("{package} does no I/O, so it cannot use {dependency}");
            report("purity", dependency, text);
        }
    }
    let may_have_features = WITH_FEATURES.iter().any(|(name, _)| *name == package);
    if is_library && !may_have_features && manifest.contains_key("features") {
        let text = "no Cargo features in library crates: options are values".to_owned();
        report("features", "[features]", text);
    }
    Ok(())
}

/// Names in code must respect the arrows too; a dev-dependency may not leak out of the tests.
fn check_uses(tree: &Tree, file: &File, findings: &mut Vec<Finding>) {
    let manifest = format!("{}/Cargo.toml", file.package());
    let Some(source) = file.live_source() else {
        return;
    };
    let Some(package) = tree
        .file(&manifest)
        .and_then(|file| file.text.parse::<toml::Table>().ok())
        .map(|manifest| package_name(&manifest))
    else {
        return;
    };
    for (name, _) in ARROWS {
        if name == package || may_use(&package, name) || name == "weapon" {
            continue;
        }
        for (line, _) in source.lines_with(&format!("{} ::", name.replace('-', "_"))) {
            let text = format!("{package} may not use {name}");
            findings.push(Finding::new("arrow", &file.path, line, text));
        }
    }
}

fn package_name(manifest: &toml::Table) -> String {
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"));
    name.and_then(toml::Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// What the package is built from; what only its tests use may come from anywhere.
fn dependency_names(manifest: &toml::Table) -> Vec<&str> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(|targets| targets.values());
    let tables = tables.filter_map(toml::Value::as_table).chain([manifest]);
    tables
        .filter_map(|table| table.get("dependencies").and_then(toml::Value::as_table))
        .flat_map(|dependencies| dependencies.keys().map(String::as_str))
        .collect()
}

fn may_use(package: &str, dependency: &str) -> bool {
    if EDGES.contains(&dependency) {
        return false;
    }
    EDGES.contains(&package)
        || ARROWS
            .iter()
            .any(|(name, below)| *name == package && below.contains(&dependency))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(package: &str, rest: &str, code: &str) -> Vec<(&'static str, usize)> {
        let manifest = format!("[package]\nname = \"{package}\"\n{rest}");
        let tree = Tree::of_texts(vec![
            ("crates/x/Cargo.toml".into(), manifest),
            ("crates/x/src/lib.rs".into(), code.into()),
        ]);
        check(&tree)
            .unwrap()
            .iter()
            .map(|finding| (finding.rule, finding.line))
            .collect()
    }

    #[test]
    fn arrows_down_pass_and_arrows_up_do_not() {
        let noise = "[dependencies]\nweapon-noise.workspace = true\n";
        assert!(found("weapon-core", noise, "").is_empty());
        assert_eq!(found("weapon-wire", noise, ""), [("arrow", 4)]);
        assert_eq!(found("weapon-io", noise, ""), [("arrow", 4)]);
        assert!(
            found(
                "weapon-wire",
                "[dev-dependencies]\nweapon-noise = \"1\"\n",
                ""
            )
            .is_empty()
        );
        let target = "[target.'cfg(unix)'.dependencies]\nweapon-noise = \"1\"\n";
        assert_eq!(found("weapon-wire", target, ""), [("arrow", 4)]);
    }

    #[test]
    fn nobody_uses_the_edges_and_unknown_crates_use_nobody() {
        let edge = "[dependencies]\nweapon-netns.workspace = true\n";
        assert_eq!(found("weapon", edge, ""), [("arrow", 4)]);
        let wire = "[dependencies]\nweapon-wire.workspace = true\n";
        assert_eq!(found("weapon-novel", wire, ""), [("arrow", 4)]);
    }

    #[test]
    fn names_in_code_respect_the_arrows() {
        assert_eq!(
            found("weapon-wire", "", "use weapon_noise::Tick;"),
            [("arrow", 1)]
        );
        assert!(found("weapon-core", "", "use weapon_noise::Tick;").is_empty());
        assert!(found("weapon-wire", "", "#[cfg(test)] use weapon_noise::Tick;").is_empty());
    }

    #[test]
    fn crates_without_io_take_nothing_that_does_io() {
        assert_eq!(
            found("weapon-core", "[dependencies]\ntokio = \"1\"\n", ""),
            [("purity", 4)]
        );
        assert!(found("weapon-io", "[dependencies]\ntokio = \"1\"\n", "").is_empty());
    }

    #[test]
    fn the_one_library_for_others_may_have_features() {
        let features = "[features]\nstd = []\n";
        assert!(found("weapon-aead", features, "").is_empty());
        for (package, _) in ARROWS {
            let may = ["weapon-aead", "weapon"].contains(&package);
            assert_eq!(found(package, features, "").is_empty(), may, "{package}");
        }
    }

    #[test]
    fn libraries_name_their_errors_and_have_no_features() {
        assert_eq!(
            found("weapon-io", "[dependencies]\nanyhow = \"1\"\n", ""),
            [("anyhow", 4)]
        );
        assert!(found("weapon", "[dependencies]\nanyhow = \"1\"\n", "").is_empty());
        assert_eq!(
            found("weapon-io", "[features]\nx = []\n", ""),
            [("features", 3)]
        );
    }
}
