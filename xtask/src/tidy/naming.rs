//! Naming: each module says what it is, none is a junk drawer.

use super::{Finding, Tree, tree::File};

/// Names that say nothing about what is inside.
const JUNK_DRAWERS: [&str; 8] = [
    "util", "utils", "common", "misc", "helper", "helpers", "stuff", "shared",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust_files().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !has_module_doc(&file.text) {
        let text = "begin the file with a `//!` line that says what it is";
        findings.push(Finding::new("module-doc", &file.path, 1, text));
    }
    let parts = file.path.trim_end_matches(".rs").split('/');
    for part in parts.filter(|part| JUNK_DRAWERS.contains(part)) {
        let text = format!("`{part}` says nothing: name the noun that is inside");
        findings.push(Finding::new("junk-drawer", &file.path, 0, text));
    }
    let Some(source) = &file.source else {
        return findings;
    };
    for name in JUNK_DRAWERS {
        for (line, _) in source.lines_with(&format!("mod {name} {{")) {
            let text = format!("`mod {name}` says nothing: name the noun that is inside");
            findings.push(Finding::new("junk-drawer", &file.path, line, text));
        }
    }
    findings
}

/// The first line that is neither blank nor an attribute of the crate is a module doc line.
fn has_module_doc(text: &str) -> bool {
    text.lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("#!["))
        .is_some_and(|line| {
            line.strip_prefix("//!")
                .is_some_and(|doc| !doc.trim().is_empty())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        let tree = Tree::of_texts(vec![(path.into(), text.into())]);
        check(&tree).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_module_doc_line_is_needed() {
        assert!(rules("a/src/b.rs", "//! What it is.\n").is_empty());
        assert!(rules("a/src/b.rs", "#![forbid(unsafe_code)]\n//! What it is.\n").is_empty());
        assert_eq!(rules("a/src/b.rs", "fn f() {}\n"), ["module-doc"]);
        assert_eq!(rules("a/src/b.rs", "//!\nfn f() {}\n"), ["module-doc"]);
        assert_eq!(
            rules("a/src/b.rs", "/// Not of the module.\nfn f() {}\n"),
            ["module-doc"]
        );
        assert_eq!(rules("a/src/b.rs", ""), ["module-doc"]);
    }

    #[test]
    fn junk_drawers_are_found_as_file_folder_and_module() {
        assert_eq!(rules("a/src/util.rs", "//! x\n"), ["junk-drawer"]);
        assert_eq!(rules("a/src/helpers/b.rs", "//! x\n"), ["junk-drawer"]);
        assert_eq!(
            rules("a/src/b.rs", "//! x\nmod common { }\n"),
            ["junk-drawer"]
        );
        assert!(rules("a/src/utility_pole.rs", "//! x\n").is_empty());
    }
}
