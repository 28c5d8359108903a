//! The edge: wakes up, looks at everything, and brings it where it should be. What is done about
//! the access point is in `setup`, about an attempt to join in `attempt`.

use super::attempt::Attempt;
use super::client::{Client, Monitor, connect};
use super::command::Ask;
use super::error::Error;
use super::event::Event;
use super::policy::{Facts, Policy};
use super::ports::{Handle, Join, Options, Request, Shown};
use super::programming::Station;
use super::radio::Adapter;
use super::reply::{self, Bss};
use super::setup::{Place, Point};
use super::station::{self, Entry};
use super::trial::Input;
use control::{Shutdown, Snapshot, SnapshotReceiver, StatusBoard};
use model::status::{WifiSeen, WifiTrial, WifiVerdict};
use model::{Country, WifiNetwork};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// While something is under way.
const BUSY: Duration = Duration::from_millis(250);
/// Between looks at radios and the connection in peace.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// Between attempts to reach wpa_supplicant.
const CONNECT: Duration = Duration::from_millis(500);
/// It is asked for again when it did not answer for so long.
const START_AGAIN: Duration = Duration::from_secs(10);
/// How long a request waits for wpa_supplicant and an adapter.
const READY: Duration = Duration::from_secs(15);
/// A scan takes two to five seconds, longer while connected.
const SCAN: Duration = Duration::from_secs(12);
/// wpa_supplicant is kept for so long after somebody has looked for networks.
const KEEP: Duration = Duration::from_secs(300);
/// Before a subsystem that failed is started again.
const RESTART: Duration = Duration::from_secs(1);

/// Starts the Wi-Fi; needs a tokio runtime. What is joined stays joined when it stops.
pub fn start(
    snapshots: SnapshotReceiver,
    board: Option<StatusBoard>,
    shutdown: Shutdown,
    options: Options,
) -> Handle {
    let (requests, received) = mpsc::channel(8);
    let shown = Arc::new(Mutex::new(Shown::default()));
    let handle = Handle { requests, shown: shown.clone() };
    let received = Arc::new(tokio::sync::Mutex::new(received));
    tokio::spawn(async move {
        while !shutdown.is_requested() {
            let runner =
                Runner::new(snapshots.clone(), board.clone(), options.clone(), shown.clone());
            let task = runner.run(received.clone(), shutdown.clone());
            match tokio::spawn(task).await {
                Ok(()) => return,
                Err(error) if error.is_panic() => {
                    tracing::error!("the Wi-Fi hit a fault of its own and is started again");
                }
                Err(_) => return, // the runtime is going down
            }
            tokio::select! {
                () = tokio::time::sleep(RESTART) => {}
                () = shutdown.requested() => return,
            }
        }
    });
    handle
}

/// Who waits for a list of networks, and until when.
type Scanner = (oneshot::Sender<Result<Vec<WifiSeen>, String>>, Instant);

/// Everything of one run.
pub(super) struct Runner {
    pub(super) options: Options,
    snapshots: SnapshotReceiver,
    pub(super) board: Option<StatusBoard>,
    pub(super) shown: Arc<Mutex<Shown>>,
    pub(super) adapters: Vec<Adapter>,
    radios: Vec<(u32, String)>,
    radios_due: Instant,
    /// What the port was last told, and when.
    supplicant: Option<(bool, Instant)>,
    pub(super) supplicant_problem: Option<String>,
    needed_until: Option<Instant>,
    pub(super) client: Option<Arc<Client>>,
    monitor: Option<Arc<Monitor>>,
    connect_due: Instant,
    pub(super) station: Option<Station>,
    /// The networks in wpa_supplicant may not be those of the settings.
    pub(super) dirty: bool,
    pub(super) poll_due: Instant,
    pub(super) setup: Option<Point>,
    pub(super) setup_due: Option<Instant>,
    pub(super) setup_problem: Option<String>,
    /// The driver said it could be both and then could not.
    pub(super) no_second_interface: bool,
    pub(super) policy: Policy,
    pub(super) attempt: Option<Attempt>,
    pub(super) verdict: Option<WifiTrial>,
    /// A network of the settings whose passphrase is wrong.
    pub(super) locked_out: Option<WifiTrial>,
    /// The last refusal is what a wrong passphrase looks like with this driver.
    pub(super) key_suspected: bool,
    /// Joined at an operator's wish, perhaps not in the settings yet.
    pub(super) tried: Option<WifiNetwork>,
    pub(super) tried_country: Option<Country>,
    pub(super) waiting: Option<(Join, Instant)>,
    scanners: Vec<Scanner>,
    /// A scan runs, until then at most.
    pub(super) scanning: Option<Instant>,
    pub(super) seen: Vec<Bss>,
    pub(super) seen_at: Option<Instant>,
    pub(super) retry_due: Option<Instant>,
    pub(super) retry_pause: Duration,
    pub(super) retry_scan: bool,
    pub(super) retry_next: usize,
    said: Option<String>,
}

enum Woken {
    Event(io::Result<(Option<String>, Event)>),
    Request(Option<Request>),
    Changed(bool),
    Time,
    Stop,
}

impl Runner {
    fn new(
        snapshots: SnapshotReceiver,
        board: Option<StatusBoard>,
        options: Options,
        shown: Arc<Mutex<Shown>>,
    ) -> Self {
        let now = Instant::now();
        let patience = options.patience;
        Self {
            options,
            snapshots,
            board,
            shown,
            adapters: Vec::new(),
            radios: Vec::new(),
            radios_due: now,
            supplicant: None,
            supplicant_problem: None,
            needed_until: None,
            client: None,
            monitor: None,
            connect_due: now,
            station: None,
            dirty: true,
            poll_due: now,
            setup: None,
            setup_due: None,
            setup_problem: None,
            no_second_interface: false,
            policy: Policy::new(patience),
            attempt: None,
            verdict: None,
            locked_out: None,
            key_suspected: false,
            tried: None,
            tried_country: None,
            waiting: None,
            scanners: Vec::new(),
            scanning: None,
            seen: Vec::new(),
            seen_at: None,
            retry_due: None,
            retry_pause: patience / 2,
            retry_scan: false,
            retry_next: 0,
            said: None,
        }
    }

    async fn run(
        mut self,
        requests: Arc<tokio::sync::Mutex<mpsc::Receiver<Request>>>,
        shutdown: Shutdown,
    ) {
        let mut requests = requests.lock().await;
        loop {
            let now = Instant::now();
            if let Err(error) = self.follow(now).await {
                self.failed(&error);
            }
            self.publish();
            let pause = self.pause(Instant::now());
            let monitor = self.monitor.clone();
            let event = async {
                match &monitor {
                    Some(monitor) => monitor.next().await,
                    None => std::future::pending().await,
                }
            };
            let woken = tokio::select! {
                event = event => Woken::Event(event),
                request = requests.recv() => Woken::Request(request),
                changed = self.snapshots.changed() => Woken::Changed(changed.is_ok()),
                () = tokio::time::sleep(pause) => Woken::Time,
                () = shutdown.requested() => Woken::Stop,
            };
            let now = Instant::now();
            match woken {
                Woken::Event(Ok((interface, event))) => {
                    if let Err(error) = self.event(interface.as_deref(), &event, now).await {
                        self.failed(&error);
                    }
                }
                Woken::Event(Err(error)) => self.failed(&Error::Gone(error)),
                Woken::Request(Some(request)) => self.request(request, now),
                Woken::Changed(true) => {
                    self.dirty = true;
                    self.let_in();
                    self.retry_pause = self.options.patience / 2;
                }
                Woken::Time => {}
                Woken::Changed(false) | Woken::Request(None) | Woken::Stop => return,
            }
        }
    }

    fn pause(&self, now: Instant) -> Duration {
        let opening = self.setup.as_ref().is_some_and(|p| !p.up);
        if self.attempt.is_some() || self.scanning.is_some() || opening {
            BUSY
        } else if self.client.is_none() && self.needed(now) {
            CONNECT
        } else if self.waiting.is_some() || !self.scanners.is_empty() {
            BUSY
        } else if self.policy.open() {
            Duration::from_secs(1)
        } else {
            LOOK
        }
    }

    fn request(&mut self, request: Request, now: Instant) {
        self.needed_until = Some(now + KEEP);
        match request {
            Request::Scan(reply) => self.scanners.push((reply, now + READY + SCAN)),
            Request::Join(join) => {
                let busy = self.waiting.is_some()
                    || self.attempt.as_ref().is_some_and(|a| a.reply.is_some());
                if busy {
                    let text = "another attempt to join a network is under way; wait for it to end";
                    let _ = join.reply.send(Err(text.to_owned())); // the asker may be gone
                } else {
                    self.let_in();
                    self.verdict = Some(WifiTrial {
                        ssid: join.network.ssid.to_string(),
                        verdict: WifiVerdict::Trying,
                    });
                    self.waiting = Some((join, now + READY));
                }
            }
        }
    }

    /// An error somewhere in between. Nobody there: all is set up again once somebody is.
    fn failed(&mut self, error: &Error) {
        self.say(&error.to_string());
        match error {
            Error::Gone(_) => self.lost(),
            Error::NoInterface => {
                self.station = None;
                self.dirty = true;
            }
            _ => {}
        }
    }

    /// Logs what is new.
    fn say(&mut self, text: &str) {
        if self.said.as_deref() != Some(text) {
            tracing::warn!("Wi-Fi: {text}");
            self.said = Some(text.to_owned());
        }
    }

    /// The connection to wpa_supplicant is gone, and what it held may be too.
    fn lost(&mut self) {
        self.client = None;
        self.monitor = None;
        self.station = None;
        self.scanning = None;
        self.retry_scan = false;
        self.dirty = true;
        self.connect_due = Instant::now() + CONNECT;
        if let Some(point) = self.setup.take() {
            if point.up {
                self.options.ports.setup_net(&point.interface, false);
            }
        }
        if let Some(attempt) = self.attempt.take() {
            let why = "wpa_supplicant stopped meanwhile; try again".to_owned();
            self.ended(attempt, WifiVerdict::NoAdapter { why });
        }
    }

    pub(super) fn client(&self) -> Result<Arc<Client>, Error> {
        self.client.clone().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected).into())
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    pub(super) fn wanted(&self) -> Vec<Entry> {
        station::wanted(&self.snapshot().settings.wifi.networks, self.tried.as_ref())
    }

    pub(super) fn country(&self) -> Option<String> {
        let attempt = self.attempt.as_ref().and_then(|a| a.country.as_ref());
        let snapshot = self.snapshot();
        let country = attempt.or(self.tried_country.as_ref());
        let country = country.or(snapshot.settings.wifi.country.as_ref());
        country.filter(|c| !c.is_empty()).map(ToString::to_string)
    }

    /// Whether wpa_supplicant has anything to do.
    fn needed(&self, now: Instant) -> bool {
        let asked = self.needed_until.is_some_and(|until| now < until);
        let point = self.policy.open() && self.place().is_some();
        let busy = self.attempt.is_some() || self.waiting.is_some() || !self.scanners.is_empty();
        !self.adapters.is_empty() && (asked || point || busy || !self.wanted().is_empty())
    }

    /// The station's radio.
    pub(super) fn adapter(&self) -> Option<&Adapter> {
        let named = self.adapters.iter().find(|a| a.interface == self.options.station);
        named.or_else(|| self.adapters.first())
    }

    pub(super) fn facts(&self) -> Facts {
        let ports = &self.options.ports;
        Facts {
            claimed: ports.claimed(),
            wired: ports.wired(),
            wireless: self.address().is_some(),
            networks: !self.wanted().is_empty(),
            role: ports.role(),
            trial: self.attempt.is_some() || self.waiting.is_some(),
        }
    }

    /// The station's address on a network.
    pub(super) fn address(&self) -> Option<std::net::Ipv4Addr> {
        let station = self.station.as_ref()?;
        let on = station.association.completed && !station.association.access_point;
        if on { self.options.ports.address(&station.interface) } else { None }
    }

    /// Brings everything one step nearer to where it should be.
    async fn follow(&mut self, now: Instant) -> Result<(), Error> {
        self.look_at_radios(now).await;
        if self.adapters.is_empty() || self.options.setup.is_none() {
            self.policy.close();
        } else {
            let facts = self.facts();
            let was = self.policy.open();
            if self.policy.judge(facts, now) != was {
                tracing::info!("setup access point: {}", if was { "closing" } else { "opening" });
            }
        }
        self.keep_waiting(now);
        if !self.needed(now) {
            return self.rest().await;
        }
        if self.client.is_none() && !self.reach(now).await? {
            return Ok(());
        }
        if !self.take_station().await? {
            return Ok(());
        }
        self.set_country().await?;
        if self.dirty && self.attempt.is_none() {
            self.program().await?;
        }
        self.poll(now).await?;
        self.follow_setup(now).await?;
        if self.scanning.is_some_and(|until| now >= until) {
            self.scanned(now).await?;
        }
        self.follow_attempt(now).await?;
        if !self.scanners.is_empty() {
            self.answer_scanners(now).await?;
        }
        Ok(())
    }

    /// Requests that nobody can serve in time are answered.
    fn keep_waiting(&mut self, now: Instant) {
        let why = if self.adapters.is_empty() {
            "there is no Wi-Fi adapter that this firmware knows; plug one in, or use the cable"
                .to_owned()
        } else {
            let problem = self.supplicant_problem.clone();
            problem.unwrap_or_else(|| "the Wi-Fi does not start; restart the board".to_owned())
        };
        if self.station.is_none() {
            let late = |until: Instant| now >= until || self.adapters.is_empty();
            if let Some((join, _)) = self.waiting.take_if(|(_, until)| late(*until)) {
                let verdict = WifiVerdict::NoAdapter { why: why.clone() };
                self.verdict = Some(WifiTrial {
                    ssid: join.network.ssid.to_string(),
                    verdict: verdict.clone(),
                });
                let _ = join.reply.send(Ok(verdict)); // the asker may be gone
            }
        }
        let lost = self.station.is_none() && self.adapters.is_empty();
        let (late, in_time) = std::mem::take(&mut self.scanners)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, until)| now >= *until || lost);
        self.scanners = in_time;
        for (reply, _) in late {
            let _ = reply.send(Err(why.clone()));
        }
    }

    /// Nothing to do: no access point, no wpa_supplicant.
    async fn rest(&mut self) -> Result<(), Error> {
        if self.client.is_some() {
            let closed = self.close_setup().await;
            self.lost();
            closed?;
        }
        if self.supplicant.is_some_and(|(run, _)| run) {
            self.supplicant = Some((false, Instant::now()));
            if let Err(problem) = self.options.ports.supplicant(false).await {
                self.say(&problem);
            }
        }
        Ok(())
    }

    /// Gets hold of wpa_supplicant; false while it is not there.
    async fn reach(&mut self, now: Instant) -> Result<bool, Error> {
        if now < self.connect_due {
            return Ok(false);
        }
        self.connect_due = now + CONNECT;
        let told = self.supplicant.filter(|(run, at)| *run && now < *at + START_AGAIN);
        if told.is_none() {
            self.supplicant = Some((true, now));
            let started = self.options.ports.supplicant(true).await;
            if let Err(problem) = &started {
                self.say(problem);
            }
            self.supplicant_problem = started.err();
        }
        let Ok((client, monitor)) = connect(&self.options.control).await else {
            return Ok(false); // not yet
        };
        self.client = Some(Arc::new(client));
        self.monitor = Some(Arc::new(monitor));
        self.supplicant_problem = None;
        self.said = None;
        self.poll_due = now;
        // What a run before this one left.
        self.clear_setup().await?;
        Ok(true)
    }

    async fn look_at_radios(&mut self, now: Instant) {
        if now < self.radios_due {
            return;
        }
        self.radios_due = now + LOOK;
        let own = &self.options.setup_interface;
        let found = self.options.radios.fingerprint().map(|mut found| {
            found.retain(|(_, name)| name != own);
            found
        });
        match found {
            Ok(found) if found == self.radios && !self.adapters.is_empty() => {}
            Ok(found) => {
                if found != self.radios {
                    self.no_second_interface = false;
                }
                self.radios = found;
                self.ask_radios().await;
            }
            Err(error) => self.say(&format!("the radios cannot be asked: {error}")),
        }
    }

    /// What the radios can do; the rules of a country change it.
    pub(super) async fn ask_radios(&mut self) {
        let radios = self.options.radios.clone();
        let setup = self.options.setup_interface.clone();
        match tokio::task::spawn_blocking(move || radios.adapters()).await {
            Ok(Ok(mut adapters)) => {
                adapters.retain(|a| a.interface != setup);
                let names = |list: &[Adapter]| -> Vec<(u32, String)> {
                    list.iter().map(|a| (a.phy, a.interface.clone())).collect()
                };
                if names(&adapters) != names(&self.adapters) {
                    tracing::info!("Wi-Fi adapters: {:?}", names(&adapters));
                    self.setup_problem = None;
                }
                self.adapters = adapters;
            }
            Ok(Err(error)) => self.say(&format!("the radios cannot be asked: {error}")),
            Err(_) => {} // the runtime is going down
        }
    }

    async fn event(
        &mut self,
        interface: Option<&str>,
        event: &Event,
        now: Instant,
    ) -> Result<(), Error> {
        let Some(interface) = interface else { return Ok(()) };
        if self.setup.as_ref().is_some_and(|p| p.interface == interface) {
            self.setup_event(event, now).await?;
        }
        if self.station.as_ref().is_none_or(|s| s.interface != interface) {
            return Ok(());
        }
        match event {
            Event::ScanResults if self.scanning.is_some() => self.scanned(now).await?,
            Event::ScanFailed if self.scanning.is_some() => {
                // Tried again by wpa_supplicant itself, or else over when its time is.
            }
            // Said of each interface, also of one that was given back.
            Event::Terminating => {
                self.failed(&Error::Gone(io::ErrorKind::ConnectionReset.into()));
                return Ok(());
            }
            Event::Connected | Event::Disconnected { .. } => self.poll_due = now,
            _ => {}
        }
        if self.attempt.is_none() {
            self.about_settings(event);
        }
        self.trial_input(&Input::Event(event), now).await
    }

    /// Looks around, for these hidden names too.
    pub(super) async fn scan(&mut self, hidden: Vec<Vec<u8>>, now: Instant) -> Result<(), Error> {
        let client = self.client()?;
        let Some(station) = &self.station else { return Ok(()) };
        match client.to(&station.interface, Ask::Scan(hidden)).await {
            // Refused: one is running already, and it will do.
            Ok(_) | Err(Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        self.scanning = Some(now + SCAN);
        Ok(())
    }

    /// A scan is over.
    async fn scanned(&mut self, now: Instant) -> Result<(), Error> {
        self.scanning = None;
        let client = self.client()?;
        let Some(station) = &self.station else { return Ok(()) };
        self.seen = client.seen(&station.interface).await?;
        self.seen_at = Some(now);
        self.after_scan(now).await
    }

    /// Those who wait for a list of networks.
    async fn answer_scanners(&mut self, now: Instant) -> Result<(), Error> {
        // An interface that is an access point cannot look around; the list from before must do.
        let blind = self.setup.as_ref().is_some_and(|p| p.place == Place::Same);
        let asked = self.scanners.iter().map(|(_, until)| *until - (READY + SCAN)).max();
        let fresh = self.seen_at.zip(asked).is_some_and(|(seen, asked)| seen >= asked);
        if fresh || blind {
            let own = self.options.setup.as_ref().map_or("", |p| p.ssid.as_str());
            let list = reply::summary(&self.seen, own);
            for (reply, _) in self.scanners.drain(..) {
                let _ = reply.send(Ok(list.clone())); // the asker may be gone
            }
        } else if self.scanning.is_none() {
            self.scan(Vec::new(), now).await?;
        }
        Ok(())
    }
}
