//! The cipher that tests use.

use std::{env, sync::OnceLock};

use super::Backend;

/// What this variable says, or the fastest that works here: so that all tests can be run with each.
const VARIABLE: &str = "WEAPON_TEST_CIPHER";

/// The backend to test with.
pub(crate) fn cipher() -> &'static Backend {
    static CIPHER: OnceLock<Backend> = OnceLock::new();
    CIPHER.get_or_init(|| match env::var(VARIABLE) {
        Ok(name) if name == "library" => Backend::library(),
        Ok(name) => panic!("{VARIABLE} is `library` or not there, not `{name}`"),
        Err(_) => Backend::detect().backend,
    })
}
