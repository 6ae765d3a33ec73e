#![no_main]
//! See `weapon_fuzz_harness::audit_log::run`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| weapon_fuzz_harness::audit_log::run(data));
