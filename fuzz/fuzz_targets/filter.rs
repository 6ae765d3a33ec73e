#![no_main]
//! See `weapon_fuzz_harness::filter`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weapon_fuzz_harness::filter::run(data));
