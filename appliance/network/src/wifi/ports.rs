//! What the Wi-Fi needs of the rest of the appliance, and what the rest may ask of it.

use super::policy::PATIENCE;
use super::radio::{Nl80211, Radios};
use model::status::{SetupStatus, WifiSeen, WifiStatus, WifiVerdict};
use model::{Country, Secret, Ssid, WifiNetwork};
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A future whose error is a sentence for the operator.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// The rest of the appliance. Besides [`Ports::supplicant`] the calls are made often, on the
/// runtime's thread, and must not block.
pub trait Ports: Send + Sync {
    /// Starts wpa_supplicant or stops it. Asked again when it does not answer; that it runs
    /// already is fine.
    fn supplicant(&self, run: bool) -> Answer<'_, ()>;
    /// Somebody has set a password on this node.
    fn claimed(&self) -> bool;
    /// An interface that is no radio has carrier and an address over which the page can be
    /// reached.
    fn wired(&self) -> bool;
    /// This node takes part in holding a floating IP on an interface other than the station's.
    fn role(&self) -> bool;
    /// The address of the station's interface: from DHCP, or from the settings.
    fn address(&self, interface: &str) -> Option<Ipv4Addr>;
    /// The setup access point is up on this interface, or is gone from it: its address, DHCP and
    /// DNS are somebody else's. Called once for each change.
    fn setup_net(&self, interface: &str, up: bool);
}

/// The setup access point.
#[derive(Clone, Debug)]
pub struct SetupPoint {
    /// Its name, such as `Bramble-1A2B`.
    pub ssid: Ssid,
    /// Its passphrase.
    pub passphrase: Secret,
    /// The page's address for those who joined it.
    pub url: String,
}

/// Where things are and who is asked; different in tests.
#[derive(Clone)]
pub struct Options {
    /// wpa_supplicant's global control socket.
    pub control: PathBuf,
    /// wpa_supplicant's driver.
    pub driver: &'static str,
    /// The station's interface; where there is none of this name, the first there is.
    pub station: String,
    /// The name of the access point's interface beside the station's.
    pub setup_interface: String,
    /// The setup access point; None: never.
    pub setup: Option<SetupPoint>,
    /// So long without a way in before the access point comes up, and so long with one before
    /// it goes.
    pub patience: Duration,
    /// The radios.
    pub radios: Arc<dyn Radios>,
    /// The rest of the appliance.
    pub ports: Arc<dyn Ports>,
}

impl Options {
    /// As on a board.
    pub fn new(setup: Option<SetupPoint>, ports: Arc<dyn Ports>) -> Self {
        Self {
            control: "/run/wpa/global".into(),
            driver: "nl80211",
            station: "wlan0".to_owned(),
            setup_interface: "ap0".to_owned(),
            setup,
            patience: PATIENCE,
            radios: Arc::new(Nl80211::default()),
            ports,
        }
    }
}

/// What is asked of the runner.
pub(crate) enum Request {
    Scan(oneshot::Sender<Result<Vec<WifiSeen>, String>>),
    Join(Join),
}

/// A network to try.
pub(crate) struct Join {
    pub(crate) network: WifiNetwork,
    pub(crate) country: Option<Country>,
    pub(crate) reply: oneshot::Sender<Result<WifiVerdict, String>>,
}

/// What the runner shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) wifi: WifiStatus,
    pub(crate) setup: Option<SetupStatus>,
}

/// What others may ask. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) shown: Arc<Mutex<Shown>>,
}

impl Handle {
    /// Radios and networks, and the setup access point; None where there is no radio.
    pub fn status(&self) -> (WifiStatus, Option<SetupStatus>) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        (shown.wifi.clone(), shown.setup.clone())
    }

    /// Networks in reach, strongest first, one entry a name. Takes a few seconds.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn scan(&self) -> Result<Vec<WifiSeen>, String> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Scan(reply), answer).await
    }

    /// Tries to join and answers with the final verdict, after at most two minutes; meanwhile
    /// the status shows `Trying`. After [`WifiVerdict::Connected`] the network stays joined, and
    /// the caller puts it into the settings; after any other all is as it was before.
    ///
    /// # Errors
    /// A sentence for the operator, when nothing was tried.
    pub async fn join(
        &self,
        network: WifiNetwork,
        country: Option<Country>,
    ) -> Result<WifiVerdict, String> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Join(Join { network, country, reply }), answer).await
    }

    async fn ask<T>(
        &self,
        request: Request,
        answer: oneshot::Receiver<Result<T, String>>,
    ) -> Result<T, String> {
        const GONE: &str = "the Wi-Fi was started again meanwhile; try once more";
        self.requests.send(request).await.map_err(|_| GONE.to_owned())?;
        answer.await.map_err(|_| GONE.to_owned())?
    }
}
