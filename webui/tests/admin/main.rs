//! The whole admin port, asked as browsers and programs ask it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests state expectations with them")]

#[path = "../support/mod.rs"]
mod support;

mod account;
mod browser;
mod connections;

// They wait or compute, and measure nothing that others could disturb: `make test` runs them
// beside each other.
#[path = "."]
mod together {
    mod across;
    mod admin_of_all;
    mod api;
    mod audit;
    mod backup;
    mod board;
    mod certificates;
    mod conflicts;
    mod diagnostics;
    mod firmware;
    mod first_run;
    mod forms;
    mod found;
    mod live;
    mod pages;
    mod prometheus;
    mod roles;
    mod routes;
    mod statistics;
    mod steer;
    mod wifi;
}
