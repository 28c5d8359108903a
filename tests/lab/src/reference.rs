//! The settings document of the reference cluster.

use crate::error::{Doing, Error, Result};
use std::fs::File;
use std::io::Read;

/// As the file beside this crate's manifest has it, without a cluster key.
pub const REFERENCE: &str = include_str!("../reference.toml");

/// The page the demonstration site shows.
pub const DEMO_PAGE: &str = include_str!("../index.html");

/// The reference document with a key of its own.
///
/// # Errors
/// When the system gives no random bytes.
pub fn document() -> Result<String> {
    with_key(REFERENCE)
}

/// A document with a new random `cluster.key`, unless it has one.
///
/// # Errors
/// When it is no TOML, or the system gives no random bytes.
pub fn with_key(document: &str) -> Result<String> {
    let mut table: toml::Table =
        document.parse().map_err(|e| Error::other(format!("the settings document: {e}")))?;
    let cluster = table.entry("cluster").or_insert_with(|| toml::Table::new().into());
    let cluster =
        cluster.as_table_mut().ok_or_else(|| Error::other("`cluster` is no table of settings"))?;
    if !cluster.contains_key("key") {
        cluster.insert("key".to_owned(), random_key()?.into());
    }
    toml::to_string(&table).map_err(|e| Error::other(format!("the settings document: {e}")))
}

fn random_key() -> Result<String> {
    let mut bytes = [0_u8; 32];
    File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .doing(|| "reading /dev/urandom".to_owned())?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_document_is_accepted_and_derives_the_reference_cluster() {
        let settings = model::from_toml(&document().unwrap(), &model::Settings::default()).unwrap();
        let node = "lbmaster".parse().unwrap();
        let effective = model::derive(&settings, &node);
        let backend = effective.backends.first().unwrap();
        let servers: Vec<String> =
            backend.servers.iter().map(|s| format!("{} {}", s.name, s.address)).collect();
        assert_eq!(
            servers,
            [
                "web01-eth 192.168.1.10:80",
                "web01-wlan 192.168.1.20:80",
                "web02-eth 192.168.1.11:80",
                "web02-wlan 192.168.1.21:80",
            ]
        );
        let instance = effective.vrrp.first().unwrap();
        assert_eq!(instance.instance.virtual_router_id.get(), 77);
        assert_eq!(instance.priority.unwrap().get(), 101);
        let slave = model::derive(&settings, &"lbslave".parse().unwrap());
        assert_eq!(slave.vrrp.first().unwrap().priority.unwrap().get(), 100);
    }

    #[test]
    fn keys_are_long_and_differ() {
        let (a, b) = (random_key().unwrap(), random_key().unwrap());
        assert_eq!(a.len(), 64);
        assert_ne!(a, b);
    }
}
