#![no_main]
//! See `weapon_fuzz_harness::gateway`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weapon_fuzz_harness::gateway::run(data));
