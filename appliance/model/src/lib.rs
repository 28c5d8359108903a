//! What the appliance knows: the settings document, what is wrong with one, what follows from
//! one, and what nodes report.
//!
//! Pure: no I/O, no clock, no threads. Everything else depends on this crate and it depends on
//! nothing of ours. A document enters through [`decode`] (which finds every problem at once),
//! is judged by [`check()`], and is turned into what the subsystems run by [`derive()`]: the
//! operator states intent ("this board is a web server"), the derivation fills in the rest
//! (servers, priorities, mirror source and targets), and what the document says itself wins.

pub mod action;
mod admin;
pub mod audit;
mod balance;
mod balancing;
mod certificate;
pub mod charts;
mod check;
mod cluster;
mod comments;
mod config_line;
mod decode;
mod derive;
mod difference;
mod dns;
mod edit;
mod error;
mod health_check;
mod keyword;
mod net;
mod node;
mod persistence;
mod problem;
pub mod provision;
pub mod rules;
mod secret;
mod server;
pub mod session;
mod settings;
mod site;
mod slot;
pub mod statistics;
pub mod status;
mod text;
pub mod token;
mod tracking;
mod units;
mod virtual_router;
mod visit;
mod wifi;

pub use admin::{
    ADMIN_CHALLENGE, ADMIN_PORT, ADMIN_USER, Admin, NODE_PORT, SESSION_COOKIE, SETUP_ADDRESS,
    SETUP_PREFIX,
};
pub use balance::{Balance, HashFunction, HashMethod, HashType, UriPart};
pub use balancing::{Backend, DEFAULT_BACKEND, DEFAULT_FRONTEND, Frontend, Mode, RetryOn};
pub use certificate::{Certificate, CertificateFacts, Order, Pem, TlsVersion, not_pem, other_pem};
pub use check::check;
pub use cluster::Cluster;
pub use decode::{MAX_DOCUMENT, decode, from_json, from_toml, to_json, to_toml, understood};
pub use derive::{
    DerivedBackend, DerivedFrontend, DerivedInstance, DerivedServer, DerivedSite, Effective,
    MirrorDuty, derive,
};
pub use difference::difference;
pub use dns::{DnsCode, DnsCodes, DnsName, DnsType};
pub use edit::{Edit, EditError, TakeBack};
pub use error::BadValue;
pub use health_check::{Check, CheckMethod, OnError, Statuses};
pub use net::{Bind, BindAddress, Cidr, Endpoint};
pub use node::{Link, Node, Role};
pub use persistence::{CookieMode, CookieValue, PersistCookie, StickOn, StickTable, StickType};
pub use problem::Problem;
pub use rules::Rule;
pub use secret::{MASK, Secret};
pub use server::{SendProxy, Server, ServerAgent, ServerHealth, ServerState};
pub use settings::Settings;
pub use site::{DEFAULT_SITE, MirrorPolicy, Site};
pub use slot::Slot;
pub use text::{
    CheckHost, CheckPath, CheckText, Country, DeviceId, Hostname, InterfaceName, Name, NodeId,
    Pattern, ServerHost, SiteHost, Ssid, StatsUri, TimeServer,
};
pub use tracking::{Counted, TrackTable};
pub use units::{Centiseconds, Millis, Port, Priority, Revision, Vrid, Weight};
pub use virtual_router::{DEFAULT_INSTANCE, VrrpInstance, VrrpVersion};
pub use visit::Visit;
pub use wifi::{Wifi, WifiNetwork};

#[cfg(test)]
mod tests;
