//! What the texts name exists: commands in all of them, files in the map of the code.
//! And the README names each command.

use super::{Finding, Tree, tree::File};

const README: &str = "README.md";
const MAP: &str = "ARCHITECTURE.md";
const CALL: &str = "cargo xtask ";

pub(super) fn check(tree: &Tree, command_names: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let texts = tree
        .files()
        .iter()
        .filter(|file| is_text_about_commands(&file.path));
    for file in texts {
        for (name, line) in commands_named(file) {
            if !command_names.contains(&name) {
                let text = format!("there is no `{CALL}{name}`");
                findings.push(Finding::new("commands", &file.path, line, text));
            }
        }
    }
    if let Some(readme) = tree.file(README) {
        let named = commands_named(readme);
        for name in command_names {
            if !named.iter().any(|(known, _)| known == name) {
                let text = format!("it does not say what `{CALL}{name}` is for");
                findings.push(Finding::new("commands", README, 0, text));
            }
        }
    }
    findings.extend(
        tree.file(MAP)
            .into_iter()
            .flat_map(|map| check_map(tree, map)),
    );
    findings
}

/// Files are named there as `engine/control.rs`, short for `crates/engine/src/control.rs`.
fn check_map(tree: &Tree, map: &File) -> Vec<Finding> {
    let short = |path: &str| path.replace("crates/", "/").replace("/src/", "/");
    let known: Vec<String> = tree.rust_files().map(|file| short(&file.path)).collect();
    let mut findings = Vec::new();
    for (index, line) in map.text.lines().enumerate() {
        for name in line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.ends_with(".rs"))
        {
            let end = format!("/{name}");
            if !known.iter().any(|path| path.ends_with(&end)) {
                let text = format!("there is no `{name}`");
                findings.push(Finding::new("map", MAP, index + 1, text));
            }
        }
    }
    findings
}

fn is_text_about_commands(path: &str) -> bool {
    path.ends_with(".md") || path == ".ci/run"
}

/// The words that follow `cargo xtask`, with their lines.
fn commands_named(file: &File) -> Vec<(String, usize)> {
    let mut named = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (at, _) in line.match_indices(CALL) {
            let rest = line[at + CALL.len()..].chars();
            let name: String = rest
                .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                .collect();
            if !name.is_empty() {
                named.push((name, index + 1));
            }
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<usize> {
        let tree = Tree::of_texts(vec![(README.into(), text.into())]);
        let names = ["tidy".to_owned(), "test".to_owned()];
        check(&tree, &names)
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn files_in_the_map_exist() {
        let tree = Tree::of_texts(vec![
            (
                MAP.into(),
                "`engine/a.rs`, `a.rs`, `mod/b.rs`\n`engine/b.rs` `core/a.rs`\n".into(),
            ),
            ("crates/engine/src/a.rs".into(), String::new()),
            ("crates/wire/src/mod/b.rs".into(), String::new()),
        ]);
        let findings = check(&tree, &[]);
        let texts: Vec<_> = findings
            .iter()
            .map(|finding| finding.text.as_str())
            .collect();
        assert_eq!(
            texts,
            ["there is no `engine/b.rs`", "there is no `core/a.rs`"]
        );
    }

    #[test]
    fn commands_are_named_and_exist() {
        assert!(found("`cargo xtask tidy`\n`cargo xtask test --all`\n").is_empty());
        assert_eq!(
            found("`cargo xtask tidy` `cargo xtask test`\ncargo xtask fly\n"),
            [2]
        );
        assert_eq!(found("`cargo xtask tidy`\n"), [0]);
    }
}
