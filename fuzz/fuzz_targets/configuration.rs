#![no_main]
//! See `weapon_fuzz_harness::texts::configuration`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weapon_fuzz_harness::texts::configuration(data));
