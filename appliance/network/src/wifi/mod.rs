//! Wi-Fi: the networks of the settings, the setup access point, and trying a network from a phone
//! that is on that access point.
//!
//! Radios are asked what they can do over nl80211 ([`Radios`]); associating, keys and the access
//! point itself are wpa_supplicant's, spoken to over its control socket (`command`, `event`,
//! `reply` are the language, `client` the edge). `trial` and `policy` decide, purely: how a
//! network is tried, and when the access point is up. `runner` carries it out, level-triggered:
//! a wpa_supplicant or a radio that went away and came back is simply set up again.
//!
//! Addresses are not set here, nor are DHCP and DNS served: what is needed of them is in
//! [`Ports`]. There is no WPA Enterprise and no WPS.

mod attempt;
mod client;
mod command;
mod error;
mod event;
mod genl;
mod policy;
mod ports;
mod programming;
mod radio;
mod reply;
mod runner;
mod setup;
mod show;
mod station;
mod trial;

pub use ports::{Answer, Handle, Options, Ports, SetupPoint};
pub use radio::{Adapter, Channel, Nl80211, Radios};
pub use runner::start;
