//! The marks of datagrams: code points of differentiated services, by name and by number.

use crate::config::{suggest, value::quoted};

/// The largest: six bits.
const MAX: u8 = 63;

/// Those that have a name (RFC 2474, 2597, 3246, 5865 and 8622).
const NAMES: [(&str, u8); 23] = [
    ("cs0", 0),
    ("le", 1),
    ("cs1", 8),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("cs2", 16),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("cs3", 24),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("cs4", 32),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("cs5", 40),
    ("va", 44),
    ("ef", 46),
    ("cs6", 48),
    ("cs7", 56),
];

/// The mark of this name or number.
///
/// # Errors
/// There is none.
pub fn parse(text: &str) -> Result<u8, String> {
    let small = text.to_ascii_lowercase();
    if let Some((_, dscp)) = NAMES.iter().find(|(name, _)| *name == small) {
        return Ok(*dscp);
    }
    let number = text.parse().ok().filter(|number| *number <= MAX);
    number.ok_or_else(|| {
        let names = NAMES.map(|(name, _)| name);
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match suggest::nearest(text, &names).filter(|_| !is_number) {
            Some(meant) => format!("{} is no DSCP; did you mean \"{meant}\"?", quoted(text)),
            None => format!(
                "{} is no DSCP; it is 0 to {MAX}, or a name such as \"ef\", \"af41\" or \"cs1\"",
                quoted(text)
            ),
        }
    })
}

/// Its name, or the number if it has none.
pub fn name(dscp: u8) -> String {
    let known = NAMES.iter().find(|(_, it)| *it == dscp);
    known.map_or_else(|| dscp.to_string(), |(name, _)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_name_and_is_found_by_it() {
        for (name, dscp) in NAMES {
            assert_eq!(parse(name), Ok(dscp));
            assert_eq!(parse(&name.to_ascii_uppercase()), Ok(dscp));
            assert_eq!(parse(&dscp.to_string()), Ok(dscp));
            assert_eq!(self::name(dscp), name);
        }
        assert_eq!(name(63), "63");
        // The classes and their drop precedences, as RFC 2597 counts them.
        for (class, drop) in [(1, 1), (1, 3), (4, 1), (4, 3)] {
            assert_eq!(parse(&format!("af{class}{drop}")), Ok(class * 8 + drop * 2));
        }
    }

    #[test]
    fn what_is_none_is_said() {
        for (text, expected) in [
            (
                "64",
                "`64` is no DSCP; it is 0 to 63, or a name such as \"ef\", \"af41\" or \"cs1\"",
            ),
            ("af4l", "`af4l` is no DSCP; did you mean \"af41\"?"),
            ("AF-41", "`AF-41` is no DSCP; did you mean \"af41\"?"),
            (
                "-1",
                "`-1` is no DSCP; it is 0 to 63, or a name such as \"ef\", \"af41\" or \"cs1\"",
            ),
        ] {
            assert_eq!(parse(text), Err(expected.to_owned()), "{text}");
        }
    }
}
