//! Commands that are named in the texts exist, and the README names each of them.

use super::{Finding, Tree, tree::File};

const README: &str = "README.md";
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
    fn commands_are_named_and_exist() {
        assert!(found("`cargo xtask tidy`\n`cargo xtask test --all`\n").is_empty());
        assert_eq!(
            found("`cargo xtask tidy` `cargo xtask test`\ncargo xtask fly\n"),
            [2]
        );
        assert_eq!(found("`cargo xtask tidy`\n"), [0]);
    }
}
