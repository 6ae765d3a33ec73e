//! The cipher that tests use.

use weapon_noise::Backend;

#[path = "../../../noise/tests/cipher/mod.rs"]
mod chosen;
pub(crate) use chosen::cipher;
