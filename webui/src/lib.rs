//! The admin page on port 1936 of every node, and the API beside it.
//!
//! Every page is drawn whole by the server (askama) and works without scripts: plain forms, and
//! after each a redirect. htmx on top makes pages follow along. The page knows no subsystem: it
//! reads settings from a [`control::Snapshot`] and live data from the [`control::StatusBoard`],
//! changes settings through [`control::Control`], and reaches the rest through [`Ports`].
//!
//! A request passes, from the outside in: the headers every answer carries, the names the page may
//! be opened under, the session, the gate (who may ask for what, and whether a change was meant),
//! and its page. What is not listed in the gate is closed.
//!
//! It does no TLS and knows no tokens for programs yet: HTTP Basic only, in a network one trusts.

mod api;
mod app;
mod assets;
pub mod backup;
mod claim_window;
mod countries;
mod csrf;
#[cfg(test)]
mod demo;
mod error;
mod forms;
pub mod front_door;
mod gate;
mod guessable;
mod headers;
mod health;
mod host;
mod live;
mod metrics;
mod pages;
mod password;
mod ports;
mod router;
mod serve;
mod session;
mod stats_csv;
mod stats_json;
mod throttle;
mod tries;
mod update;
mod upload;
mod view;
mod words;

pub use password::hash_password;
pub use ports::{
    AccessLog, AddressProbe, Adoption, Answer, Credentials, Failover, FailoverFuture, Journal,
    MirrorApproval, Ports, Probes, Radio, SessionRows, System,
};
pub use serve::{router, serve};
