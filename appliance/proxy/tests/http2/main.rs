//! HTTP/2 from visitors: everything is as it is with HTTP/1.1, and what only HTTP/2 has is right.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

#[path = "../common/mod.rs"]
mod common;

mod conformance;
mod ends;
mod floods;
mod raw;
mod serving;
mod visit;
mod websocket;
