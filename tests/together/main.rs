//! On the lab. These tests wait most of the time and measure nothing that others could disturb:
//! `make test` runs them beside each other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test states what it expects")]

#[path = "../trial/mod.rs"]
mod trial;

#[path = "."]
mod together {
    mod adoption;
    mod durability;
    mod one_admin;
    mod replication;
    mod trials;
}
