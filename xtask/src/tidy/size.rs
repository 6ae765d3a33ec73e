//! Size: a file is one noun, a function fits on a screen. Tests do not count.

use super::{Finding, Tree, tree::File};

/// Lines a Rust file may have without its tests.
const FILE_LINES_MAX: usize = 500;
/// Lines a function may have, from `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust_files()
        .filter(|file| !file.is_test)
        .flat_map(check_file)
        .collect()
}

fn check_file(file: &File) -> Vec<Finding> {
    let Some(source) = &file.source else {
        return vec![Finding::new(
            "parse",
            &file.path,
            0,
            "its brackets do not match",
        )];
    };
    let mut findings = Vec::new();
    let line_count = file.text.lines().count() - source.test_line_count();
    if line_count > FILE_LINES_MAX {
        let text = format!("{line_count} lines without tests, {FILE_LINES_MAX} are allowed");
        findings.push(Finding {
            measured: Some(line_count),
            ..Finding::new("file-size", &file.path, 0, text)
        });
    }
    for function in &source.functions {
        let line_count = function.line_count();
        if line_count > FUNCTION_LINES_MAX {
            let name = &function.name;
            let text = format!("`{name}` has {line_count} lines, {FUNCTION_LINES_MAX} are allowed");
            findings.push(Finding {
                item: Some(name.clone()),
                measured: Some(line_count),
                ..Finding::new("function-size", &file.path, function.first_line, text)
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(text: String) -> Vec<(&'static str, Option<usize>)> {
        let tree = Tree::of_texts(vec![("crates/a/src/b.rs".into(), text)]);
        check(&tree)
            .iter()
            .map(|finding| (finding.rule, finding.measured))
            .collect()
    }

    #[test]
    fn a_file_of_501_lines_is_too_long_and_tests_do_not_count() {
        assert!(measured("//\n".repeat(500)).is_empty());
        assert_eq!(measured("//\n".repeat(501)), [("file-size", Some(501))]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "//\n".repeat(600));
        assert!(measured("//\n".repeat(500) + &tests).is_empty());
    }

    #[test]
    fn a_function_of_71_lines_is_too_long() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "//\n".repeat(lines - 2));
        assert!(measured(function(70)).is_empty());
        assert_eq!(measured(function(71)), [("function-size", Some(71))]);
        assert!(measured(format!("#[test]\n{}", function(90))).is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_finding() {
        assert_eq!(measured("fn f( {".into()), [("parse", None)]);
    }
}
