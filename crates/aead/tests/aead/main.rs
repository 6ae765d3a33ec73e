//! Tests of weapon-aead through its public interface, with aws-lc and RustCrypto as second and
//! third implementation.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod arena;
mod batch;
mod random;

mod differential;
mod forgery;
mod guard_pages;
mod vectors;

use weapon_aead::Backend;

/// What is tested: our own code in every form that runs here. Says so if one does not.
fn subjects() -> Vec<Backend> {
    let mut subjects = vec![Backend::plain()];
    subjects.extend(vectors());
    subjects
}

/// Our own code in AVX-512.
fn vectors() -> Option<Backend> {
    let detected = Backend::detect();
    if let Some(reason) = detected.reason {
        println!("NOT TESTED: AVX-512: {reason}");
        return None;
    }
    Some(detected.backend.vectors_only())
}
