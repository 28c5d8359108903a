//! A DNS server's answer to a check.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| proxy::fuzzing::dns(bytes));
