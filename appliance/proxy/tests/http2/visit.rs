//! One balancer that speaks HTTP/2, and visitors who do.

pub use crate::common::h2::{ask, body, get, open, try_open};

use crate::common::tls::{certificate, secure};
use crate::common::{PATIENCE, Proxy, Scripted, free_port, server};
use model::Settings;
use std::future::Future;

pub fn over(servers: &[&Scripted]) -> Settings {
    let certificates = vec![certificate("main", &["a.example"])];
    let servers = servers.iter().enumerate();
    let servers = servers.map(|(i, s)| server(&format!("s{}", i + 1), s.address)).collect();
    secure(free_port(), servers, certificates)
}

pub fn one(web: &Scripted) -> Proxy {
    Proxy::start(over(&[web]))
}

pub fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, work).await.unwrap() })
}
