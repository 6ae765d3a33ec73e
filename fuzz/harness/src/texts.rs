//! What people and programs write: both formats of the configuration, and the requests of
//! WireGuard's configuration protocol.

use weapon::readers;

/// A configuration, in the format that the first byte says.
pub fn configuration(data: &[u8]) {
    let Some((format, text)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    let (is_good, problems) = readers::configuration(&text, format & 1 == 0);
    let lines = text.lines().count() + 1;
    for problem in &problems {
        assert!(problem.line <= lines, "{problem}");
        assert_is_harmless(&problem.to_string());
    }
    let has_error = problems
        .iter()
        .any(|problem| problem.severity == readers::Severity::Error);
    assert!(!(is_good && has_error), "good, with errors");
}

/// A request.
pub fn request(data: &[u8]) {
    let Some((line, what)) = readers::request(data) else {
        return;
    };
    let lines: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    assert!((1..=lines.len()).contains(&line), "{line}");
    assert_is_harmless(&what);
    // A value may be a secret: it is never repeated. What has spaces is no key, but may be a part
    // of our own sentences; and the name before the value is repeated.
    let line = String::from_utf8_lossy(lines[line - 1]);
    let Some((name, value)) = line.split_once('=') else {
        return;
    };
    let is_secret = value.len() >= 32 && !value.contains(' ') && !name.contains(value);
    assert!(!is_secret || !what.contains(value), "{what}");
}

/// What is shown to a person cannot steer his terminal (RUSTSEC-2025-0055).
fn assert_is_harmless(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
