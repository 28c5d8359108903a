//! Packets of IP protocol 112.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vrrp::fuzzing::packet(bytes));
