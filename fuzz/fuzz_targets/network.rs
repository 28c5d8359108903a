//! Datagrams of DHCP, DNS, mDNS and time servers, and ARP.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| network::fuzzing::datagram(bytes));
