//! What a node and a board say to each other during an adoption.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster::fuzzing::adoption(bytes));
