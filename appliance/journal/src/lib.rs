//! The log: a ring in memory whose last lines outlive a crash.
//!
//! Nothing is written to the card. [`Journal`] holds about a mebibyte of lines; its
//! [`layer`](Journal::layer) collects what this process says by `tracing`,
//! [`follow_kernel`](Journal::follow_kernel) what the kernel says,
//! [`keep`](Journal::keep) copies lines to `/dev/pmsg0`, memory that a restart leaves alone, and
//! [`export`](Journal::export) sends them to a syslog server. A page reads [`Journal::recent`] or
//! follows along with [`Journal::since`] and [`Journal::watch`].
//!
//! Secrets do not come here: the types that hold them do not print them.

mod bucket;
mod error;
mod kmsg;
mod layer;
mod line;
mod ring;
mod runner;
mod syslog;

pub use error::Error;
pub use kmsg::KernelLine;
pub use layer::JournalLayer;
pub use line::Severity;
pub use ring::Lines;
pub use runner::{Counters, Export, Journal};

#[cfg(test)]
mod tests;
