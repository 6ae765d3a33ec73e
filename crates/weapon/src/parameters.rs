//! Parameters of a URL: what follows its question mark.

use std::fmt::Write as _;

/// Each parameter by name, and its value, that was percent-encoded.
///
/// # Errors
/// Whose value is not encoded well.
pub fn read(query: &str) -> Result<Vec<(&str, String)>, String> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let read = parts.map(|part| {
        let (key, written) = part.split_once('=').unwrap_or((part, ""));
        let value = decoded(written).ok_or_else(|| format!("{key}: bad percent-encoding"))?;
        Ok((key, value))
    });
    read.collect()
}

/// Those that have a value, as a query.
pub fn written<'a>(all: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    let mut query = String::new();
    for (key, text) in all {
        let Some(text) = text else { continue };
        let lead = if query.is_empty() { "" } else { "&" };
        let _ = write!(query, "{lead}{key}=");
        for byte in text.bytes() {
            let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let _ = if is_plain {
                write!(query, "{}", char::from(byte))
            } else {
                write!(query, "%{byte:02X}")
            };
        }
    }
    query
}

/// The text that was percent-encoded.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).ok()
}
