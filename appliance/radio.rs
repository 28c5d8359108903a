//! The Wi-Fi's needs, met by the rest of the node; and the page's, met by the Wi-Fi.

use crate::aboard::ask;
use control::{Author, Change, Control, SnapshotReceiver};
use init::Client;
use init::channel::Request;
use model::status::{WifiSeen, WifiVerdict};
use model::{Cidr, Country, Edit, WifiNetwork};
use network::wifi::{self, Answer, SetupPoint};
use std::net::Ipv4Addr;
use store::Local;

/// What the Wi-Fi needs.
pub(crate) struct Needs {
    pub(crate) client: Client,
    pub(crate) local: Local,
    pub(crate) network: network::Handle,
    pub(crate) snapshots: SnapshotReceiver,
    pub(crate) setup: Option<SetupPoint>,
    /// This board's address on its setup access point.
    pub(crate) address: Cidr,
}

impl wifi::Ports for Needs {
    fn supplicant(&self, run: bool) -> Answer<'_, ()> {
        Box::pin(ask(&self.client, Request::Supplicant { run }))
    }

    fn claimed(&self) -> bool {
        self.local.password_hash().is_ok_and(|hash| hash.is_some())
    }

    fn wired(&self) -> bool {
        let links = self.network.links();
        links.iter().any(|l| !l.name.starts_with("wl") && l.running && !l.addresses.is_empty())
    }

    fn role(&self) -> bool {
        let snapshot = self.snapshots.borrow();
        snapshot.effective.vrrp.iter().any(|v| !v.instance.interface.as_str().starts_with("wl"))
    }

    fn address(&self, interface: &str) -> Option<Ipv4Addr> {
        self.network.address(interface)
    }

    fn setup_net(&self, interface: &str, up: bool) {
        if up {
            let url = self.setup.as_ref().map_or("", |setup| setup.url.as_str());
            self.network.open_setup(interface, self.address, url);
        } else {
            self.network.close_setup(interface);
        }
    }
}

/// The page's radio.
pub(crate) struct PageRadio {
    pub(crate) wifi: wifi::Handle,
    pub(crate) control: Control,
}

impl webui::Radio for PageRadio {
    fn scan(&self) -> webui::Answer<'_, Vec<WifiSeen>> {
        Box::pin(self.wifi.scan())
    }

    fn join(&self, network: WifiNetwork, country: Option<Country>) -> webui::Answer<'_, ()> {
        Box::pin(async move {
            let verdict = self.wifi.join(network.clone(), country.clone()).await?;
            if !matches!(verdict, WifiVerdict::Connected { .. }) {
                return Ok(());
            }
            let mut section = self.control.snapshot().settings.wifi.clone();
            section.networks.retain(|known| known.ssid != network.ssid);
            section.networks.insert(0, network);
            section.country = country.or(section.country);
            let author = Author::Operator("the Wi-Fi page".to_owned());
            let change = Change { base: None, author, edits: vec![Edit::PutWifi(section)] };
            let kept = self.control.submit(change).await;
            kept.map(drop).map_err(|error| {
                format!("This board is on the network, but it could not be kept in the settings: {error}. Add it on the Wi-Fi page.")
            })
        })
    }
}
