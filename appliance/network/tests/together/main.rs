//! Against peers in network namespaces. These tests wait most of the time and measure nothing that
//! others could disturb: `make test` runs them beside each other. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests are tests")]

#[path = "../bench/mod.rs"]
mod bench;
#[path = "../dhcpd/mod.rs"]
mod dhcpd;
#[path = "../supplicant/mod.rs"]
mod supplicant;

#[path = "."]
mod together {
    mod dhcp;
    mod neighbours;
    mod services;
    mod setup;
    mod wifi;
}
