//! Messages about sessions and audit logs, requests of other nodes and answers to them.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster::fuzzing::services(bytes));
