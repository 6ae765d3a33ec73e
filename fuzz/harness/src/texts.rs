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
    // A value may be a secret: it is never repeated.
    let value = lines[line - 1].splitn(2, |&byte| byte == b'=').nth(1);
    let value = value.and_then(|value| core::str::from_utf8(value).ok());
    let is_secret = |value: &&str| value.len() >= 32;
    if let Some(value) = value.filter(is_secret)
        && what.contains(value)
    {
        assert!(is_said_of_another(&lines, line, &what), "{what}");
    }
}

/// Whether the same is said if the line has another value: then it is in our own words, or in those
/// of the name before the value, and only looks like that.
fn is_said_of_another(lines: &[&[u8]], line: usize, what: &str) -> bool {
    let mut other = lines[line - 1].to_vec();
    let value = other.splitn_mut(2, |&byte| byte == b'=').nth(1);
    // No text of ours has this letter.
    value.expect("it has a value").fill(b'~');
    let mut lines = lines.to_vec();
    lines[line - 1] = &other;
    readers::request(&lines.join(&b'\n')) == Some((line, what.to_owned()))
}

/// What is shown to a person cannot steer his terminal (RUSTSEC-2025-0055).
pub(crate) fn assert_is_harmless(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
