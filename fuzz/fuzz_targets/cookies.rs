#![no_main]
//! See `weapon_fuzz_harness::cookies`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weapon_fuzz_harness::cookies::run(data));
