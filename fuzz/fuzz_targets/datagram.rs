//! What boards call out on UDP 1937.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster::fuzzing::datagram(bytes));
