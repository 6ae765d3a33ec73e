//! The readers of what people and programs write, for the fuzzer: nothing else outside uses them.

use crate::{
    audit,
    config::{self, Format},
    uapi::Request,
};

pub use crate::config::{Problem, Severity};

/// Reads `text` as a configuration, and says whether it is good and what is to be said of it. Files
/// that it names are not opened: a text that names one is only parsed.
pub fn configuration(text: &str, is_toml: bool) -> (bool, Vec<Problem>) {
    let format = if is_toml {
        Format::Toml
    } else {
        Format::WgQuick
    };
    // An escape may be part of the key's name.
    let may_name_a_file = text.contains("_file") || text.contains('\\');
    config::judge(text, format, !may_name_a_file)
}

/// Verifies one file of an audit log, which goes to the record `through` at least; whether it is
/// as it was written, and all that is said of it.
pub fn audit_log(file: &[u8], name: &str, key: &str, through: u64) -> (bool, Vec<String>) {
    audit::verify_file(file, name, key, through)
}

/// Reads a request of the configuration protocol: nothing, or the line that is wrong and why.
pub fn request(text: &[u8]) -> Option<(usize, String)> {
    let bad = Request::parse(text).err()?;
    Some((bad.line, bad.what))
}
