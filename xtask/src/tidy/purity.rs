//! Purity: where unsafe code may stand, and that the crates without I/O have no clock.

use super::{Finding, Tree, tree::File};

/// Crates that must forbid unsafe code at their head.
const FORBID_UNSAFE: [&str; 4] = [
    "crates/wire",
    "crates/noise",
    "crates/core",
    "crates/control",
];

/// The only packages that may contain unsafe code.
const UNSAFE_ALLOWED: [&str; 3] = ["crates/io", "crates/aead", "fuzz"];

/// Crates in which time, randomness and I/O are arguments.
const NO_CLOCK: [&str; 5] = [
    "crates/wire",
    "crates/aead",
    "crates/noise",
    "crates/core",
    "crates/control",
];

/// What reads a clock, opens a file or a socket, starts a thread, or orders by a random seed.
const IMPURE: [(&str, &str); 15] = [
    ("Instant", "time is an argument: take a `Tick`"),
    ("SystemTime", "time is an argument"),
    (
        "thread :: spawn",
        "no threads here: loops live in the engine",
    ),
    ("thread :: sleep", "time is an argument"),
    (
        "thread :: Builder",
        "no threads here: loops live in the engine",
    ),
    (
        "thread :: scope",
        "no threads here: loops live in the engine",
    ),
    ("UdpSocket", "no I/O here"),
    ("TcpStream", "no I/O here"),
    ("TcpListener", "no I/O here"),
    ("std :: fs", "no I/O here"),
    ("std :: env", "no environment here: options are values"),
    ("std :: process", "no processes here"),
    ("SystemRandom", "randomness is an argument"),
    ("RandomState", "the order must not depend on a random seed"),
    (
        "HashMap",
        "its order is random: take a `BTreeMap`, or a table by index",
    ),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust_files() {
        check_unsafe(file, &mut findings);
        check_clock(file, &mut findings);
    }
    check_lints(tree, &mut findings);
    findings
}

/// Clippy does not merge its files, so the crates without I/O carry copies of one.
fn check_lints(tree: &Tree, findings: &mut Vec<Finding>) {
    let of_workspace = tree
        .file("clippy.toml")
        .map_or("", |file| file.text.as_str());
    let mut first: Option<&str> = None;
    for folder in FORBID_UNSAFE {
        let path = format!("{folder}/clippy.toml");
        let Some(file) = tree.file(&path) else {
            if tree.file(&format!("{folder}/Cargo.toml")).is_some() {
                findings.push(Finding::new(
                    "lints",
                    &path,
                    0,
                    "a crate without I/O needs it",
                ));
            }
            continue;
        };
        if *first.get_or_insert(&file.text) != file.text {
            let text = "it must be the same in every crate without I/O";
            findings.push(Finding::new("lints", &path, 0, text));
        }
        for line in of_workspace
            .lines()
            .filter(|line| !file.text.contains(line))
        {
            let text = format!("repeat from the workspace's clippy.toml: {line}");
            findings.push(Finding::new("lints", &path, 0, text));
        }
    }
}

fn check_unsafe(file: &File, findings: &mut Vec<Finding>) {
    let forbids = file
        .text
        .lines()
        .any(|line| line == "#![forbid(unsafe_code)]");
    let is_head = FORBID_UNSAFE
        .iter()
        .any(|folder| file.path == format!("{folder}/src/lib.rs"));
    if is_head && !forbids {
        let text = "this crate's head must say `#![forbid(unsafe_code)]`";
        findings.push(Finding::new("forbid-unsafe", &file.path, 1, text));
    }
    if UNSAFE_ALLOWED.contains(&file.package()) {
        return;
    }
    let Some(source) = &file.source else {
        return;
    };
    for (line, _) in source.lines_with("unsafe") {
        let text = format!("unsafe code lives in {UNSAFE_ALLOWED:?} only");
        findings.push(Finding::new("unsafe", &file.path, line, text));
    }
}

fn check_clock(file: &File, findings: &mut Vec<Finding>) {
    let Some(source) = file.live_source() else {
        return;
    };
    if !NO_CLOCK.contains(&file.package()) {
        return;
    }
    for (pattern, remedy) in IMPURE {
        for (line, _) in source.lines_with(pattern) {
            let text = format!("`{}`: {remedy}", pattern.replace(' ', ""));
            findings.push(Finding::new("purity", &file.path, line, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        let tree = Tree::of_texts(vec![(path.into(), text.into())]);
        check(&tree).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn the_pure_crates_forbid_unsafe_code() {
        assert_eq!(
            rules("crates/wire/src/lib.rs", "//! x\n"),
            ["forbid-unsafe"]
        );
        assert!(rules("crates/wire/src/lib.rs", "#![forbid(unsafe_code)]\n").is_empty());
        assert!(rules("crates/engine/src/lib.rs", "//! x\n").is_empty());
    }

    #[test]
    fn lints_of_the_pure_crates_are_alike_and_hold_the_workspaces() {
        let found = |wire: &str, core: Option<&str>| {
            let mut texts = vec![
                ("clippy.toml".to_owned(), "a = 1\n".to_owned()),
                ("crates/wire/clippy.toml".to_owned(), wire.to_owned()),
                ("crates/core/Cargo.toml".to_owned(), String::new()),
            ];
            texts.extend(core.map(|text| ("crates/core/clippy.toml".to_owned(), text.to_owned())));
            check(&Tree::of_texts(texts)).len()
        };
        assert_eq!(found("a = 1\nb = 2\n", Some("a = 1\nb = 2\n")), 0);
        assert_eq!(found("a = 1\nb = 2\n", Some("a = 1\nb = 3\n")), 1);
        assert_eq!(found("b = 2\n", Some("b = 2\n")), 2);
        assert_eq!(found("a = 1\n", None), 1);
    }

    #[test]
    fn unsafe_code_stands_in_io_only() {
        let text = "fn f() { unsafe { g() } }\n";
        assert_eq!(rules("crates/engine/src/a.rs", text), ["unsafe"]);
        assert_eq!(rules("bench/src/a.rs", text), ["unsafe"]);
        assert!(rules("crates/io/src/a.rs", text).is_empty());
        assert!(rules("crates/engine/src/a.rs", "// unsafe in words\n").is_empty());
    }

    #[test]
    fn clocks_threads_sockets_and_random_order_stay_out() {
        for text in [
            "fn f() { let t = Instant::now(); }",
            "use std::time::SystemTime;",
            "fn f() { thread::sleep(x) }",
            "fn f() { std::thread::spawn(g) }",
            "use std::net::UdpSocket;",
            "use std::collections::HashMap;",
        ] {
            assert_eq!(rules("crates/noise/src/a.rs", text), ["purity"], "{text}");
            assert!(rules("crates/engine/src/a.rs", text).is_empty(), "{text}");
        }
        let test = "#[cfg(test)]\nmod tests { use std::collections::HashMap; }";
        assert!(rules("crates/noise/src/a.rs", test).is_empty());
    }
}
