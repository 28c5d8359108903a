//! A server's response head; the first byte says what was asked.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::fuzzing::response_head(bytes));
