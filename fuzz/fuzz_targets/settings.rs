//! What another member says in an exchange of the settings' document.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| replica::fuzzing::message(bytes));
