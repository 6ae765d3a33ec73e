//! Tests of the parts: the operations of each form, Poly1305 and ChaCha20 lane by lane, and the
//! whole on arrays, which an interpreter can watch.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod arrays;
mod forms;
mod interval;
mod operations;
mod poly1305;
mod vectors;

/// Says so where AVX-512 cannot be tested.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_avx512() -> bool {
    let has_it = crate::avx512::Avx512::detect().is_some();
    if !has_it {
        println!("NOT TESTED: AVX-512: the processor has no AVX-512 IFMA");
    }
    has_it
}
