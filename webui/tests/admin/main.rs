//! The whole admin port, asked as browsers and programs ask it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests state expectations with them")]

#[path = "../support/mod.rs"]
mod support;

mod account;
mod across;
mod admin_of_all;
mod api;
mod audit;
mod backup;
mod board;
mod browser;
mod certificates;
mod conflicts;
mod connections;
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
