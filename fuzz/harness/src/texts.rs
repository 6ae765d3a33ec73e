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
    // of our own sentences.
    let value = lines[line - 1].splitn(2, |&byte| byte == b'=').nth(1);
    let value = value.and_then(|value| core::str::from_utf8(value).ok());
    let is_secret = |value: &&str| value.len() >= 32 && !value.contains(' ');
    assert!(
        value
            .filter(is_secret)
            .is_none_or(|value| !what.contains(value))
    );
}

/// What is shown to a person cannot steer his terminal (RUSTSEC-2025-0055).
fn assert_is_harmless(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
