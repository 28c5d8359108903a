//! Mode udp: datagrams of one source stay together, and nothing a server refuses is lost.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod changes;
#[path = "../common/mod.rs"]
mod common;
mod dns;
mod limits;
mod peers;
mod servers;
mod sources;
