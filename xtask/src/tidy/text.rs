//! Text: no trailing white space, a newline at the end, 100 columns of Rust.

use super::{Finding, Tree, tree::File};

/// Columns a line of Rust may have.
const COLUMNS_MAX: usize = 100;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.files()
        .iter()
        .filter(|file| !is_verbatim(&file.path))
        .flat_map(check_file)
        .collect()
}

/// Texts of others and generated files keep their own form.
fn is_verbatim(path: &str) -> bool {
    path == "LICENSE-APACHE"
        || path == "Cargo.lock"
        || path.contains("/vectors/")
        || path.contains("/corpus/")
        || path.contains("proptest-regressions")
}

fn check_file(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(Finding::new(
            "newline",
            &file.path,
            0,
            "end the file with a newline",
        ));
    }
    if file.text.ends_with("\n\n") {
        findings.push(Finding::new(
            "newline",
            &file.path,
            0,
            "empty lines at the end",
        ));
    }
    for (index, line) in file.text.lines().enumerate() {
        if line.ends_with(char::is_whitespace) {
            let text = "white space at the end of the line";
            findings.push(Finding::new("white-space", &file.path, index + 1, text));
        }
        if file.path.ends_with(".rs") && line.chars().count() > COLUMNS_MAX && !is_one_word(line) {
            let text = format!("the line is longer than {COLUMNS_MAX} columns");
            findings.push(Finding::new("columns", &file.path, index + 1, text));
        }
    }
    findings
}

/// An address or a long literal alone on its line cannot be broken.
fn is_one_word(line: &str) -> bool {
    let content = line.trim_start_matches([' ', '/', '!']);
    !content.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        let tree = Tree::of_texts(vec![(path.into(), text.into())]);
        check(&tree).iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn clean_text_passes() {
        assert!(rules("a.md", "one\ntwo\n").is_empty());
        assert!(rules("empty", "").is_empty());
    }

    #[test]
    fn white_space_and_missing_newline_are_found() {
        assert_eq!(rules("a.md", "one \n"), ["white-space"]);
        assert_eq!(rules("a.md", "one"), ["newline"]);
        assert_eq!(rules("a.md", "one\n\n"), ["newline"]);
        assert_eq!(rules("a.md", "one\r\n"), ["white-space"; 0]);
    }

    #[test]
    fn long_lines_of_rust_are_found_unless_they_cannot_be_broken() {
        let words = format!("// {}\n", "word ".repeat(20).trim_end());
        assert_eq!(rules("a.rs", &words), ["columns"]);
        assert!(rules("a.md", &words).is_empty());
        let address = format!("//! https://{}\n", "x".repeat(100));
        assert!(rules("a.rs", &address).is_empty());
    }
}
