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
//! It does no TLS: it is meant for a network one trusts. Programs come with a token of their own
//! (`Authorization: Bearer`) or with the password (HTTP Basic).

mod api;
mod app;
mod assets;
mod audit;
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
mod stats_json;
mod throttle;
mod tokens;
mod tries;
mod update;
mod upload;
mod view;
mod words;

pub use pages::notices::PREFIX as NOTICE;
pub use pages::stats::frontend::Statistics;
pub use password::hash_password;
pub use ports::{
    AccessLog, AddressProbe, Adoption, Answer, Audit, Credentials, Failover, FailoverFuture,
    Journal, MirrorApproval, NetworkTrials, Ports, Probes, Radio, Remote, SessionRows, System,
    Tokens,
};
pub use serve::{AdminPage, router, serve};
