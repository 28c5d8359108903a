//! The Wi-Fi's needs, met by the rest of the node; and the page's, met by the Wi-Fi.

use control::{Author, Change, Control, SnapshotReceiver};
use init::Client;
use init::channel::Request;
use model::status::{WifiSeen, WifiVerdict};
use model::{Cidr, Country, Edit, WifiNetwork};
use network::Kernel;
use network::wifi::{self, Answer, SetupPoint};
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};
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
    /// DHCP and DNS on the setup access point, while it is up.
    pub(crate) serving: Mutex<Option<network::setup::Setup>>,
}

impl Needs {
    fn open(&self, interface: &str, url: &str) -> std::io::Result<network::setup::Setup> {
        // Else the address plan would take for its own what is set here.
        self.network.reserve(interface);
        Kernel::open()?.add_with_network(interface, self.address)?;
        network::setup::serve(interface, self.address, url)
    }
}

impl wifi::Ports for Needs {
    fn supplicant(&self, run: bool) -> Answer<'_, ()> {
        let client = self.client.clone();
        Box::pin(async move {
            tokio::task::spawn_blocking(move || client.ask(&Request::Supplicant { run }))
                .await
                .map_err(|error| error.to_string())?
        })
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
        let links = self.network.links();
        let link = links.iter().find(|l| l.name == interface)?;
        link.addresses.iter().map(|a| a.addr()).find(|a| !a.is_link_local())
    }

    fn setup_net(&self, interface: &str, up: bool) {
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        *serving = None;
        if !up {
            if let Ok(kernel) = Kernel::open() {
                // It may be gone with its interface.
                let _ = kernel.remove(interface, self.address);
            }
            self.network.give_back(interface);
            return;
        }
        let url = self.setup.as_ref().map_or("", |setup| setup.url.as_str());
        match self.open(interface, url) {
            Ok(open) => *serving = Some(open),
            Err(error) => {
                tracing::warn!("the setup access point gives no addresses: {error}");
            }
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
