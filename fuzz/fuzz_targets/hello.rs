//! The first messages of a call, inside TLS.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster::fuzzing::hello(bytes));
