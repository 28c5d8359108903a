//! The network of the reference cluster: one switch, which is also the router, and two links to
//! every node.
//!
//! ```text
//!   router (192.168.1.1)          bridge `lan`, ports NODE-eth0, NODE-wlan0 and `client`
//!     ├─ eth0, wlan0 of web01, web02, lbmaster, lbslave   (addresses: the appliance's business)
//!     └─ eth0 of client (192.168.1.50)
//! ```
//!
//! A partition is a second bridge, `far`, that the second group's ports are moved to: who is in
//! neither group stays with the first one, as with a switch that lost its uplink.

use crate::error::{Error, Result};
use crate::netns::Namespace;
use serde::{Deserialize, Serialize};

/// The nodes of the reference cluster.
pub const NODES: [&str; 4] = ["web01", "web02", "lbmaster", "lbslave"];
/// The links of each node.
pub const LINKS: [&str; 2] = ["eth0", "wlan0"];
/// The client's address.
pub const CLIENT_ADDRESS: &str = "192.168.1.50";
/// The floating IP.
pub const FLOATING_IP: &str = "192.168.1.15";

const LAN: &str = "lan";
const FAR: &str = "far";

/// The namespaces and the links between them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Network {
    prefix: String,
}

impl Network {
    /// Names a network; nothing is made yet.
    pub fn named(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The namespace of a node, of `client` or of `router`.
    pub fn space(&self, name: &str) -> Namespace {
        Namespace::named(format!("{}-{name}", self.prefix))
    }

    /// Makes router and client.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn build(&self) -> Result<()> {
        let router = Namespace::create(self.space("router").name())?;
        for (bridge, mac) in [(LAN, "02:00:c0:a8:01:01"), (FAR, "02:00:c0:a8:01:02")] {
            // A bridge takes over the lowest address of its ports unless it was given one; the
            // router's must not change when a node is unplugged.
            router.ip(&["link", "add", bridge, "address", mac, "type", "bridge"])?;
            let calm = ["stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"];
            let mut args = vec!["link", "set", bridge, "up", "type", "bridge"];
            args.extend(calm);
            router.ip(&args)?;
        }
        router.ip(&["addr", "add", "192.168.1.1/24", "dev", LAN])?;
        let client = Namespace::create(self.space("client").name())?;
        self.plug("client", "eth0", "client")?;
        client.ip(&["addr", "add", &format!("{CLIENT_ADDRESS}/24"), "dev", "eth0"])?;
        client.ip(&["route", "add", "default", "via", "192.168.1.1"])?;
        Ok(())
    }

    /// Makes a node's namespace with both links plugged in and up.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn add_node(&self, node: &str) -> Result<()> {
        Namespace::create(self.space(node).name())?;
        for link in LINKS {
            self.plug(node, link, &port(node, link))?;
        }
        Ok(())
    }

    fn plug(&self, space: &str, link: &str, port: &str) -> Result<()> {
        let (router, inside) = (self.space("router"), self.space(space));
        let mac = mac(space, link);
        let veth = ["link", "add", port, "type", "veth", "peer", "name", link, "address", &mac];
        let mut args = veth.to_vec();
        args.extend(["netns", inside.name()]);
        router.ip(&args)?;
        router.ip(&["link", "set", port, "master", LAN, "up"])?;
        inside.ip(&["link", "set", link, "up"]).map(drop)
    }

    /// Cuts a node's power: both cables first, then everything that lives in it, then all that
    /// its kernel knew.
    ///
    /// # Errors
    /// When `ip` refuses or a process cannot be killed.
    pub fn remove_node(&self, node: &str) -> Result<()> {
        for link in LINKS {
            self.set_link(node, link, false)?;
        }
        let space = self.space(node);
        space.kill_all()?;
        for link in LINKS {
            self.space("router").ip(&["link", "del", &port(node, link)])?;
        }
        space.remove()
    }

    /// Pulls or plugs a cable: at the switch's side, so that the node loses its carrier.
    ///
    /// # Errors
    /// When there is no such link.
    pub fn set_link(&self, node: &str, link: &str, up: bool) -> Result<()> {
        if !LINKS.contains(&link) {
            return Err(Error::other(format!("a node has eth0 and wlan0, not {link}")));
        }
        let state = if up { "up" } else { "down" };
        self.space("router").ip(&["link", "set", &port(node, link), state]).map(drop)
    }

    /// Moves the ports of `far` to a switch of their own.
    ///
    /// # Errors
    /// When a node is in both groups or unknown.
    pub fn partition(&self, near: &[String], far: &[String]) -> Result<()> {
        if let Some(both) = near.iter().find(|n| far.contains(n)) {
            return Err(Error::other(format!("{both} cannot be on both sides")));
        }
        for (names, bridge) in [(near, LAN), (far, FAR)] {
            for port in names.iter().flat_map(|name| ports(name)) {
                self.space("router").ip(&["link", "set", &port, "master", bridge])?;
            }
        }
        Ok(())
    }

    /// Brings all ports back to one switch.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn heal(&self) -> Result<()> {
        let router = self.space("router");
        let all = router.ip(&["-o", "link", "show", "master", FAR])?;
        for line in all.lines() {
            // `7: web02-eth0@if2: <…`
            let name = line.split(": ").nth(1).and_then(|n| n.split('@').next());
            if let Some(name) = name {
                router.ip(&["link", "set", name, "master", LAN])?;
            }
        }
        Ok(())
    }

    /// Removes every namespace, with what lives in it. What is gone already is fine.
    ///
    /// # Errors
    /// With the first thing that could not be removed, after all the others were.
    pub fn remove(&self) -> Result<()> {
        let mut result = Ok(());
        for name in NODES.into_iter().chain(["client", "router"]) {
            let removed = self.space(name).remove();
            if result.is_ok() {
                result = removed;
            }
        }
        result
    }
}

/// A board keeps its hardware addresses when its power comes back; the neighbours count on it.
fn mac(space: &str, link: &str) -> String {
    let number = NODES.iter().position(|n| *n == space).map_or(0, |n| n + 1);
    let link = LINKS.iter().position(|l| *l == link).unwrap_or(0);
    format!("02:00:c0:a8:{number:02x}:{:02x}", link + 0x10)
}

fn port(node: &str, link: &str) -> String {
    format!("{node}-{link}")
}

fn ports(name: &str) -> Vec<String> {
    match name {
        "client" => vec!["client".to_owned()],
        node => LINKS.iter().map(|link| port(node, link)).collect(),
    }
}
