//! What is measured under load, and what is aimed at.

use crate::process::Done;

/// What kind of port is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Http,
    /// Relayed as bytes.
    Tcp,
    /// HTTP over TLS.
    Tls,
    /// HTTP/2 over TLS.
    Http2,
}

/// One kind of load on proxies with so many threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) threads: usize,
    pub(crate) way: Way,
    /// Bytes of an answer.
    pub(crate) size: u32,
    pub(crate) clients: u32,
    /// One connection per request.
    pub(crate) close: bool,
    /// Most processor time per request, as a part of HAProxy's.
    pub(crate) aim: f64,
    /// Measured at a steady rate, too.
    pub(crate) steady: bool,
}

/// The steady rate, as a part of what HAProxy does when it is asked as often as it can answer: at
/// that rate none of those who are compared is at its end. Proxies with two threads share all
/// processors with the load and the server behind, which need as much again.
pub(crate) const fn steady_part(threads: usize) -> f64 {
    if threads == 1 { 0.7 } else { 0.5 }
}
/// Who is asked at a steady rate besides Bramble: those people use.
pub(crate) const STEADY_PEERS: [&str; 3] = ["bramble", "haproxy", "nginx"];
/// What one request of a hundred may take at most, as a part of HAProxy's. It is compared at a
/// steady rate where that is measured.
pub(crate) const AIM_P99: f64 = 1.0;

const KIB: u32 = 1024;

const HTTP: Case = Case {
    name: "",
    threads: 1,
    way: Way::Http,
    size: KIB,
    clients: 64,
    close: false,
    aim: 1.0,
    steady: false,
};

const CASES: [Case; 17] = [
    Case { name: "1 KiB, keep-alive", steady: true, ..HTTP },
    Case { name: "1 KiB, one connection each", close: true, aim: 0.6, ..HTTP },
    Case { name: "64 KiB, keep-alive", size: 64 * KIB, aim: 0.7, steady: true, ..HTTP },
    Case { name: "1 MiB, keep-alive", size: 1024 * KIB, aim: 0.7, steady: true, ..HTTP },
    Case { name: "1 KiB, 1,000 clients", clients: 1000, ..HTTP },
    Case { name: "64 KiB, mode tcp", way: Way::Tcp, size: 64 * KIB, aim: 0.6, ..HTTP },
    Case {
        name: "1 MiB, mode tcp",
        way: Way::Tcp,
        size: 1024 * KIB,
        aim: 0.6,
        steady: true,
        ..HTTP
    },
    Case { name: "TLS, 1 KiB, keep-alive", way: Way::Tls, steady: true, ..HTTP },
    Case { name: "TLS, 1 KiB, one connection each", way: Way::Tls, close: true, ..HTTP },
    Case { name: "TLS, 64 KiB, keep-alive", way: Way::Tls, size: 64 * KIB, steady: true, ..HTTP },
    Case { name: "HTTP/2, 1 KiB, 10 at once each", way: Way::Http2, steady: true, ..HTTP },
    Case { name: "HTTP/2, 64 KiB, 10 at once each", way: Way::Http2, size: 64 * KIB, ..HTTP },
    Case { name: "1 KiB, keep-alive, 2 threads", threads: 2, steady: true, ..HTTP },
    Case {
        name: "1 KiB, one connection each, 2 threads",
        threads: 2,
        close: true,
        aim: 0.6,
        ..HTTP
    },
    Case {
        name: "64 KiB, keep-alive, 2 threads",
        threads: 2,
        size: 64 * KIB,
        aim: 0.7,
        steady: true,
        ..HTTP
    },
    Case { name: "1 KiB, 1,000 clients, 2 threads", threads: 2, clients: 1000, ..HTTP },
    Case {
        name: "1 MiB, mode tcp, 2 threads",
        threads: 2,
        way: Way::Tcp,
        size: 1024 * KIB,
        aim: 0.6,
        steady: true,
        ..HTTP
    },
];

/// What is measured on proxies with so many threads.
pub(crate) fn cases(threads: usize) -> impl Iterator<Item = Case> {
    CASES.into_iter().filter(move |c| c.threads == threads)
}

/// How long and how much, from the environment.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Seconds of one run (`BENCH_SECONDS`); at a steady rate one less, if it is more than one.
    pub(crate) seconds: u32,
    /// Runs of each (`BENCH_ROUNDS`); the median counts.
    pub(crate) rounds: u32,
    /// Parts of the names of what is measured, between semicolons (`BENCH_ONLY`); none: everything.
    only: Vec<String>,
}

impl Limits {
    pub(crate) fn from_environment() -> Done<Self> {
        let number = |name: &str, default: u32| match std::env::var(name) {
            Ok(text) => text
                .parse()
                .ok()
                .filter(|n| (1..=600).contains(n))
                .ok_or_else(|| format!("{name} is a number from 1 to 600, not '{text}'")),
            Err(_) => Ok(default),
        };
        let only = std::env::var("BENCH_ONLY").unwrap_or_default();
        let only = only.split(';').map(str::trim).filter(|o| !o.is_empty()).map(str::to_owned);
        Ok(Self {
            seconds: number("BENCH_SECONDS", 3)?,
            rounds: number("BENCH_ROUNDS", 3)?,
            only: only.collect(),
        })
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| name.contains(o.as_str()))
    }
}
