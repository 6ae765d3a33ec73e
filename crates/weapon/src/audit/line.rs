//! A record as a line of the log, and back.
//!
//! ```text
//! {"seq":7,"time":"2027-01-15T08:00:00.000000000Z","boot_us":81,"kind":"roam",…,"hash":"…"}
//! └───────────────────────────────── body ─────────────────────────────────────┘
//! ```
//!
//! The hash is SHA-256 over the hash of the record before, 32 bytes, and the body's bytes. A line
//! is ASCII without control characters, whatever is in the record: all else is escaped.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Map, Value};

use super::{
    entry::{Kind, RESERVED},
    moment::{Moment, is_time},
};

/// Bytes of a line at most, its end included. What would be longer is cut when it is written.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// Bytes of a line behind its body: `,"hash":"`, 64 digits, `"}`.
const TAIL_BYTES: usize = 9 + 64 + 2;

/// What a chain of records begins with.
pub const GENESIS: Hash = Hash([0; 32]);

/// The hash of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of a record with this body, that comes after the one with this hash.
    pub fn after(self, body: &str) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        context.update(body.as_bytes());
        Self(bytes(context.finish().as_ref()))
    }

    /// Of 64 digits, small ones: each hash has one spelling.
    pub fn parse(digits: &str) -> Option<Self> {
        from_hex(digits).map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.collect()
}

/// The bytes of 64 digits.
pub fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

/// Of a digest, which has as many.
pub fn bytes(digest: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes
        .iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = *from);
    bytes
}

/// The body of a record: the line without its hash. One that would be too long loses its fields,
/// and says so.
pub fn body(seq: u64, at: Moment, kind: Kind, fields: &Map<String, Value>) -> String {
    let whole = written(seq, at, kind, fields);
    if whole.len() + TAIL_BYTES < LINE_BYTES_MAX {
        return whole;
    }
    let cut = Map::from_iter([("cut_bytes".to_owned(), whole.len().into())]);
    written(seq, at, kind, &cut)
}

fn written(seq: u64, at: Moment, kind: Kind, fields: &Map<String, Value>) -> String {
    let Moment { boot_us, .. } = at;
    let (time, kind) = (at.text(), kind.label());
    let mut text =
        format!("{{\"seq\":{seq},\"time\":\"{time}\",\"boot_us\":{boot_us},\"kind\":\"{kind}\"");
    for (name, value) in fields {
        if RESERVED.contains(&name.as_str()) {
            continue;
        }
        let name = Value::from(name.as_str());
        push_ascii(&mut text, &format!(",{name}:{value}"));
    }
    text
}

/// JSON with all escaped that is not plain ASCII: what may be in it stands inside its texts.
fn push_ascii(text: &mut String, json: &str) {
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            text.push(character);
            continue;
        }
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
}

/// The whole line, with its end.
pub fn line(body: &str, hash: Hash) -> String {
    format!("{body},\"hash\":\"{hash}\"}}\n")
}

/// A record that was read.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// When, as it is written.
    pub time: String,
    /// What; newer ones may be unknown.
    pub kind: String,
    /// All that is in the record.
    pub fields: Map<String, Value>,
    /// All but the hash.
    pub body: String,
    /// The hash.
    pub hash: Hash,
}

impl Record {
    /// Reads a line, without its end.
    ///
    /// # Errors
    /// Why it is no record, without a word of what is in it.
    pub fn parse(line: &[u8]) -> Result<Self, &'static str> {
        if line.len() >= LINE_BYTES_MAX {
            return Err("the line is longer than any record");
        }
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
        let text = std::str::from_utf8(line).ok();
        let text = text.filter(|_| line.iter().all(is_plain));
        let text = text.ok_or("the line has bytes that no record has")?;
        let (body, tail) = text
            .len()
            .checked_sub(TAIL_BYTES)
            .and_then(|at| text.split_at_checked(at))
            .ok_or("the line is too short to be a record")?;
        let digits = tail
            .strip_prefix(",\"hash\":\"")
            .and_then(|tail| tail.strip_suffix("\"}"));
        let hash = digits.and_then(Hash::parse);
        let hash = hash.ok_or("the line does not end with a hash")?;
        let fields: Map<String, Value> =
            serde_json::from_str(text).map_err(|_| "the line is not JSON")?;
        let word = |name: &str| fields.get(name).and_then(Value::as_str);
        let seq = fields.get("seq").and_then(Value::as_u64);
        let kind = word("kind").filter(|kind| is_word(kind));
        let (Some(seq), Some(time), Some(kind)) = (seq, word("time"), kind) else {
            return Err("seq, time or kind is not there");
        };
        if !is_time(time) {
            return Err("the time is none");
        }
        Ok(Self {
            seq,
            time: time.to_owned(),
            kind: kind.to_owned(),
            body: body.to_owned(),
            hash,
            fields,
        })
    }

    /// Whether it is of this kind.
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind.label()
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.fields.get(name)?.as_u64()
    }

    /// A field that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }
}

fn is_word(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    (1..=40).contains(&text.len()) && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::entry::Entry;

    #[test]
    fn a_record_is_a_line_of_plain_ascii() {
        let entry = Entry::at(Moment::default(), Kind::Roam)
            .with("peer", "a\u{1b}[31m\n\u{7f}\u{9b}\u{202e}ü😀\"\\")
            .with("count", 3);
        let body = body(7, entry.at, entry.kind, &entry.fields);
        let hash = GENESIS.after(&body);
        let line = line(&body, hash);
        assert_eq!(
            body,
            r#"{"seq":7,"time":"1970-01-01T00:00:00.000000000Z","boot_us":0,"kind":"roam","count":3,"peer":"a\u001b[31m\n\u007f\u009b\u202e\u00fc\ud83d\ude00\"\\""#
        );
        let record = Record::parse(line.trim_end().as_bytes()).unwrap();
        assert_eq!(record.text("peer"), entry.fields["peer"].as_str());
        assert_eq!((record.seq, record.hash), (7, hash));
        assert!(record.is(Kind::Roam));
    }

    #[test]
    fn what_is_too_long_is_cut_and_says_so() {
        let long = "x".repeat(LINE_BYTES_MAX);
        let entry = Entry::at(Moment::default(), Kind::Config).with("change", long);
        let body = body(1, entry.at, entry.kind, &entry.fields);
        assert!(body.contains("\"cut_bytes\":65"), "{body}");
    }

    #[test]
    fn hashes_have_one_spelling() {
        let hash = GENESIS.after("a");
        assert_eq!(Hash::parse(&hash.to_string()), Some(hash));
        assert_eq!(Hash::parse(&hash.to_string().to_uppercase()), None);
        assert_eq!(Hash::parse(""), None);
    }

    proptest! {
        #[test]
        fn any_text_comes_back(name in "[a-z]{1,10}", value in any::<String>()) {
            prop_assume!(!RESERVED.contains(&name.as_str()));
            let entry = Entry::at(Moment::default(), Kind::Start).with(&name, value.clone());
            let body = body(1, entry.at, entry.kind, &entry.fields);
            let line = line(&body, GENESIS.after(&body));
            prop_assert!(line.trim_end().bytes().all(|it| (b' '..=b'~').contains(&it)));
            let record = Record::parse(line.trim_end().as_bytes()).unwrap();
            prop_assert_eq!(record.text(&name), Some(value.as_str()));
        }
    }
}
