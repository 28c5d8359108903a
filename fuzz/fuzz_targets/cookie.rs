//! Cookies of visitors and servers; the first byte says what the settings are.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::fuzzing::cookie(bytes));
