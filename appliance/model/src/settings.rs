//! The settings document: everything the operator can say, in nine sections.

use crate::admin::Admin;
use crate::balancing::{Backend, Frontend};
use crate::certificate::Certificate;
use crate::cluster::Cluster;
use crate::node::{Node, Role};
use crate::site::Site;
use crate::text::{Name, NodeId};
use crate::virtual_router::VrrpInstance;
use crate::wifi::Wifi;
use serde::{Deserialize, Serialize};

/// The whole settings document. Lists keep the operator's order; the first web server is the
/// origin and the first balancer the primary unless a section says otherwise.
///
/// What is left out is derived (see [`crate::derive()`]); what is written wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What all nodes have in common.
    pub cluster: Cluster,
    /// The boards.
    pub nodes: Vec<Node>,
    /// Wi-Fi networks and country.
    pub wifi: Wifi,
    /// What the web servers serve, and how it is mirrored.
    pub sites: Vec<Site>,
    /// What frontends show visitors who speak TLS.
    pub certificates: Vec<Certificate>,
    /// Where visitors arrive.
    pub frontends: Vec<Frontend>,
    /// The groups of servers behind them.
    pub backends: Vec<Backend>,
    /// The virtual routers that hold the floating IPs.
    pub vrrp: Vec<VrrpInstance>,
    /// The admin page.
    pub admin: Admin,
}

impl Settings {
    /// The board with this identity.
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.iter().find(|n| &n.id == id)
    }

    /// The boards with this role, in the operator's order.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |n| n.roles.contains(&role))
    }

    /// The backend of this name, if the document has one of its own.
    pub fn backend(&self, name: &Name) -> Option<&Backend> {
        self.backends.iter().find(|b| &b.name == name)
    }

    /// The certificate of this name.
    pub fn certificate(&self, name: &Name) -> Option<&Certificate> {
        self.certificates.iter().find(|c| &c.name == name)
    }

    /// The same document with every secret replaced by [`crate::MASK`].
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut copy = self.clone();
        for secret in copy.secrets_mut() {
            *secret = secret.masked();
        }
        copy
    }

    /// Puts the secrets of `current` back where this document, which left the node masked and
    /// came back, still has the stand-in. A mask with no counterpart stays and fails the check.
    pub fn unmask(&mut self, current: &Self) {
        self.cluster.key.unmask(&current.cluster.key);
        for network in &mut self.wifi.networks {
            let old = current.wifi.networks.iter().find(|o| o.ssid == network.ssid);
            if let Some(old) = old {
                network.passphrase.unmask(&old.passphrase);
            }
        }
        for certificate in &mut self.certificates {
            let old = current.certificate(&certificate.name);
            if let Some(old) = old {
                certificate.key.unmask(&old.key);
            }
        }
        for instance in &mut self.vrrp {
            let old = current.vrrp.iter().find(|o| o.name == instance.name);
            if let Some(old) = old {
                instance.auth_pass.unmask(&old.auth_pass);
            }
        }
    }

    /// The same document with every secret that is set made into another one, for keeping it.
    #[must_use]
    pub fn map_secrets(&self, mut change: impl FnMut(&crate::Secret) -> crate::Secret) -> Self {
        let mut copy = self.clone();
        for secret in copy.secrets_mut().filter(|s| !s.is_empty()) {
            *secret = change(secret);
        }
        copy
    }

    /// Takes over the keys that `current` knows the boards by where this document names none: one
    /// that was written by hand, or before they were met, must not make strangers of them.
    pub fn keep_devices(&mut self, current: &Self) {
        for node in self.nodes.iter_mut().filter(|n| n.device.is_none()) {
            node.device = current.node(&node.id).and_then(|known| known.device.clone());
        }
    }

    fn secrets_mut(&mut self) -> impl Iterator<Item = &mut crate::Secret> {
        std::iter::once(&mut self.cluster.key)
            .chain(self.wifi.networks.iter_mut().map(|n| &mut n.passphrase))
            .chain(self.certificates.iter_mut().map(|c| &mut c.key))
            .chain(self.vrrp.iter_mut().map(|v| &mut v.auth_pass))
    }
}
