//! Shared by the tests in network namespaces.
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod balancer;
pub(crate) mod lab;
pub(crate) mod netlink;
