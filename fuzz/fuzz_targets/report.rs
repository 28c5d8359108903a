//! Messages of a status stream.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster::fuzzing::report(bytes));
