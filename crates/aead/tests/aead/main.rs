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
    // What a caller gets: our own code and the library, as the batch is.
    let mut subjects = vec![Backend::plain(), Backend::detect().backend];
    subjects.extend(vectors());
    subjects
}

/// Our own code in AVX-512.
fn vectors() -> Option<Backend> {
    let vectors = Backend::vectors();
    if vectors.is_none() {
        println!("NOT TESTED: the processor has no AVX-512 with IFMA and VBMI2");
    }
    vectors
}
