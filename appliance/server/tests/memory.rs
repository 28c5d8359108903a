//! Alone in its process, for it measures it.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions,
    reason = "a test"
)]

mod common;

use common::{Visitor, Web};

#[test]
fn slow_readers_of_large_files_cost_little_memory() {
    let web = Web::start();
    web.file("big.bin", vec![b'x'; 10_000_000]);
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = resident();
    let slow: Vec<Visitor> = (0..64)
        .map(|_| {
            let mut visitor = web.connect();
            visitor.send(b"GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n");
            visitor.head().unwrap();
            visitor
        })
        .collect();
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 * 256, "{grown} kB for 64 visitors");
    assert_eq!(web.get("/", &[]).status, 404);
    for mut visitor in slow.into_iter().take(3) {
        assert_eq!(visitor.rest_of(10_000_000), 10_000_000);
    }
}
