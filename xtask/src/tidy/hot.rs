//! The hot path: a module marked `//! HOT` neither allocates, locks, logs above TRACE nor reads
//! a clock.
//!
//! Functions that are off the path are free: `new`, `default`, and what is marked `#[cold]`.
//! `Arc::clone(&x)` passes; `x.clone()` does not, because it may be a buffer.

use super::{Finding, Tree, tree::File};

/// What allocates.
const ALLOCATES: [&str; 26] = [
    "vec !",
    "format !",
    "Vec :: new",
    "Vec :: <",
    "Vec :: with_capacity",
    "Vec :: from",
    "VecDeque :: new",
    "VecDeque :: with_capacity",
    "Box :: new",
    "Box :: from",
    "Rc :: new",
    "Arc :: new",
    "Arc :: from",
    "String :: new",
    "String :: from",
    "String :: with_capacity",
    "BTreeMap :: new",
    ". to_vec (",
    ". to_owned (",
    ". to_string (",
    ". into_owned (",
    ". into_boxed_slice (",
    ". collect (",
    ". collect ::",
    ". clone (",
    ". cloned (",
];

/// What waits for somebody else.
const LOCKS: [&str; 6] = [
    ". lock (",
    ". read ( )",
    ". write ( )",
    ". blocking_lock (",
    ". recv ( )",
    ". join ( )",
];

/// What logs above TRACE, or prints.
const LOGS: [&str; 10] = [
    "info !",
    "warn !",
    "error !",
    "debug !",
    "println !",
    "eprintln !",
    "print !",
    "eprint !",
    "dbg !",
    "event !",
];

/// What reads a clock.
const CLOCKS: [&str; 5] = [
    "Instant :: now",
    "SystemTime :: now",
    "boottime_nanos (",
    "realtime (",
    "clock_gettime (",
];

const RULES: [(&str, &[&str], &str); 4] = [
    ("hot-allocation", &ALLOCATES, "allocates"),
    ("hot-lock", &LOCKS, "may wait"),
    ("hot-log", &LOGS, "logs above TRACE"),
    ("hot-clock", &CLOCKS, "reads a clock"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust_files()
        .filter(|file| is_hot(&file.text))
        .flat_map(check_file)
        .collect()
}

/// Whether the module doc at the head of the file carries the mark.
fn is_hot(text: &str) -> bool {
    text.lines()
        .skip_while(|line| line.trim().is_empty() || line.starts_with("#!["))
        .map_while(|line| line.strip_prefix("//!"))
        .any(|line| line.trim_start().starts_with("HOT"))
}

fn check_file(file: &File) -> Vec<Finding> {
    let Some(source) = file.live_source() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (rule, patterns, complaint) in RULES {
        for pattern in patterns {
            for (line, is_cold) in source.lines_with(pattern) {
                if !is_cold {
                    let call = pattern.replace(' ', "");
                    let text = format!("`{call}` {complaint}; off the path? then mark it #[cold]");
                    findings.push(Finding::new(rule, &file.path, line, text));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<&'static str> {
        let tree = Tree::of_texts(vec![("crates/core/src/outbound.rs".into(), text.into())]);
        check(&tree).iter().map(|finding| finding.rule).collect()
    }

    fn rules_in_body(body: &str) -> Vec<&'static str> {
        rules(&format!(
            "//! Outbound.\n//!\n//! HOT: x.\nfn f() {{ {body} }}\n"
        ))
    }

    #[test]
    fn what_allocates_is_found() {
        for body in [
            "let x = vec![0; 3];",
            "let x = Vec::<u8>::new();",
            "y.to_vec();",
            "let s: Vec<u8> = i.collect();",
            "let s = i.collect::<Vec<_>>();",
            "let s = buffer.clone();",
            "trace!(\"{}\", x.to_string());",
        ] {
            assert_eq!(rules_in_body(body), ["hot-allocation"], "{body}");
        }
    }

    #[test]
    fn locks_logs_and_clocks_are_found() {
        assert_eq!(rules_in_body("let x = m.lock();"), ["hot-lock"]);
        assert_eq!(rules_in_body("let x = m.read().y;"), ["hot-lock"]);
        assert_eq!(rules_in_body("tracing::debug!(x);"), ["hot-log"]);
        assert_eq!(rules_in_body("let x = Instant::now();"), ["hot-clock"]);
        assert_eq!(
            rules_in_body("let x = clock::boottime_nanos();"),
            ["hot-clock"]
        );
    }

    #[test]
    fn what_is_cheap_passes() {
        for body in [
            "trace!(x);",
            "device.read(buffer);",
            "let x = Arc::clone(&y);",
            "let s = slice.copied();",
        ] {
            assert!(rules_in_body(body).is_empty(), "{body}");
        }
    }

    #[test]
    fn other_modules_tests_constructors_and_cold_functions_are_free() {
        let body = "fn f() { let x = vec![1]; }\n";
        assert!(rules(&format!("//! Fib.\n{body}")).is_empty());
        assert!(rules(&format!("//! HOT\n#[cfg(test)]\nmod tests {{ {body} }}")).is_empty());
        assert!(rules(&format!("//! HOT\n#[cold]\n{body}")).is_empty());
        assert!(rules("//! HOT\nimpl X { fn new() -> X { X(vec![1]) } }").is_empty());
        assert_eq!(rules(&format!("//! HOT\n{body}")), ["hot-allocation"]);
    }
}
