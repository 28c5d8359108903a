//! A node on a board of its own, started by process 1: what it asks of process 1, what it shows of
//! the board, and what only a board has.

use crate::boot_file;
use crate::pulse::{self, Tick};
use crate::radio::{Needs, PageRadio};
use crate::{door, trial};
use anyhow::Context;
use board::Sensors;
use control::{Control, Shutdown, Snapshot, StatusBoard};
use init::channel::{Request, Setup as SetupOnScreen, TestFailure};
use init::facts::{Facts, UPLOADS};
use init::{Client, read_facts};
use journal::Journal;
use model::status::{FirmwareProgress, SystemStatus};
use model::{ADMIN_PORT, Cidr, Hostname, NodeId, SETUP_ADDRESS, SETUP_PREFIX, Ssid};
use network::wifi::{self, SetupPoint};
use network::{Clock, SetHostName};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::Local;

/// Facts change seldom and are read often.
const FACTS_AGE: Duration = Duration::from_secs(1);
/// The screen shows what was so long ago at worst.
const SCREEN: Duration = Duration::from_secs(2);

/// The board under this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Aboard {
    client: Client,
    sensors: Arc<Sensors>,
    journal: Journal,
    facts: Arc<Mutex<(Instant, Facts)>>,
    progress: Arc<Mutex<Option<FirmwareProgress>>>,
}

impl Aboard {
    /// None where this node was not started by process 1.
    pub(crate) fn find(journal: &Journal, data: &Path) -> Option<Self> {
        let client = Client::from_environment()?;
        let facts = read_facts().unwrap_or_default();
        let sensors = Arc::new(Sensors::new("/", Some(data.to_owned())));
        let aboard = Self {
            client,
            sensors: sensors.clone(),
            journal: journal.clone(),
            facts: Arc::new(Mutex::new((Instant::now(), facts))),
            progress: Arc::default(),
        };
        let told = move |line: &journal::KernelLine| {
            if line.from_kernel {
                sensors.kernel_line(&line.text);
            }
        };
        if let Err(error) = journal.follow_kernel(Path::new("/dev/kmsg"), told) {
            tracing::warn!("the kernel's log cannot be read: {error}");
        }
        aboard.clock_is_set(aboard.with_facts(|facts| facts.clock_set));
        Some(aboard)
    }

    /// How the network crate is to work here.
    pub(crate) fn network(&self) -> network::Options {
        network::Options {
            resolv_conf: "/run/bramble/resolv.conf".into(),
            host_name: Some(Arc::new(self.clone())),
            dhcp: true,
            mdns: true,
            clock: Some(Arc::new(self.clone())),
            ..network::Options::default()
        }
    }

    /// The name of a board that was not given one: what its setup access point is called.
    pub(crate) fn name(&self) -> Option<Hostname> {
        self.ssid().ok()?.to_string().to_lowercase().parse().ok()
    }

    fn ssid(&self) -> Result<Ssid, board::Error> {
        board::setup_ssid(&self.sensors.identity().mac.unwrap_or_default())
    }

    /// The log's end of the run before, if that was a crash.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.with_facts(|facts| facts.last_words.clone())
    }

    /// A file on the boot partition ordered that the admin password be chosen anew.
    pub(crate) fn wants_new_password(&self) -> bool {
        self.with_facts(|facts| facts.new_password)
    }

    /// Everything that only a board has. Inside the data runtime.
    pub(crate) async fn start(&self, with: With<'_>) -> anyhow::Result<Started> {
        self.show(with.board);
        let facts = self.facts();
        let file = facts.boot_file.as_deref().unwrap_or_default();
        let said = boot_file::apply(
            file,
            with.id,
            with.control,
            with.local,
            with.board,
            &self.client,
            with.network,
        )
        .await;
        let setup = match self.setup_point(with.local, said) {
            Ok(setup) => Some(setup),
            Err(error) => {
                tracing::warn!("there is no setup access point: {error:#}");
                None
            }
        };
        let needs = Needs {
            client: self.client.clone(),
            local: with.local.clone(),
            network: with.network.clone(),
            snapshots: with.control.watch(),
            setup: setup.clone(),
            address: Cidr::new(SETUP_ADDRESS, SETUP_PREFIX)?,
        };
        let wifi = wifi::start(
            with.control.watch(),
            Some(with.board.clone()),
            with.shutdown.clone(),
            wifi::Options::new(setup.clone(), Arc::new(needs)),
        );
        let shown = wifi.clone();
        with.board.provide(move |status| {
            let (radios, setup) = shown.status();
            status.system.wifi = Some(radios);
            status.system.setup = setup;
        });
        let ticks = Tick::default();
        let client = self.client.clone();
        tokio::spawn(pulse::run(ticks.clone(), with.vrrp.clone(), move || client.heartbeat()));
        tokio::spawn(board::run(self.sensors.clone(), with.board.clone(), with.shutdown.clone()));
        tokio::spawn(door::keep(with.control.watch(), with.shutdown.clone()));
        if facts.firmware.as_ref().is_some_and(|f| f.on_trial) {
            tokio::spawn(trial::judge(
                with.control.clone(),
                with.board.clone(),
                self.client.clone(),
                ADMIN_PORT,
            ));
        }
        tokio::spawn(self.clone().draw(with.control.clone(), with.board.clone(), setup));
        let radio = PageRadio { wifi, control: with.control.clone() };
        Ok(Started { ticks, radio: Arc::new(radio) })
    }

    fn setup_point(&self, local: &Local, said: boot_file::Setup) -> anyhow::Result<SetupPoint> {
        let ssid = match said.ssid {
            Some(ssid) => ssid,
            None => self.ssid()?,
        };
        let passphrase = match (said.passphrase, local.setup_passphrase()?) {
            (Some(given), _) => given,
            (None, Some(kept)) => model::Secret::new(kept),
            (None, None) => {
                let made = board::setup_passphrase()?;
                local.set_setup_passphrase(made.reveal()).context("the setup passphrase")?;
                made
            }
        };
        Ok(SetupPoint { ssid, passphrase, url: format!("http://{SETUP_ADDRESS}:{ADMIN_PORT}/") })
    }

    /// The board on the status board, and what went wrong at its start.
    fn show(&self, board: &StatusBoard) {
        let facts = self.facts();
        for (at, problem) in facts.problems.iter().enumerate() {
            board.notice(&format!("start-{at}"), problem.clone());
        }
        if let Some(why) = facts.last_exit.as_ref().filter(|_| facts.restarts > 0) {
            board.notice(
                "restarted",
                format!("This node's program ended and was started again. {why}"),
            );
        }
        let this = self.clone();
        board.provide(move |status| this.fill(&mut status.system));
    }

    fn fill(&self, system: &mut SystemStatus) {
        self.with_facts(|facts| {
            system.data.clone_from(&facts.data);
            system.firmware.clone_from(&facts.firmware);
            system.watchdog = facts.watchdog;
            system.restarts = facts.restarts;
        });
        if let Some(firmware) = &mut system.firmware {
            firmware.progress = self.progress().clone();
        }
        self.sensors.fill(system);
    }

    fn facts(&self) -> Facts {
        self.with_facts(Facts::clone)
    }

    /// The settings file and the last words in them are long, and status is read often.
    fn with_facts<T>(&self, look: impl FnOnce(&Facts) -> T) -> T {
        let mut held = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0.elapsed() >= FACTS_AGE {
            if let Some(read) = read_facts() {
                held.1 = read;
            }
            held.0 = Instant::now();
        }
        look(&held.1)
    }

    fn progress(&self) -> std::sync::MutexGuard<'_, Option<FirmwareProgress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock_is_set(&self, set: bool) {
        self.sensors.clock_is_set(set);
        self.journal.clock_is_set(set);
    }

    /// Keeps the screen true.
    async fn draw(self, control: Control, board: StatusBoard, setup: Option<SetupPoint>) {
        let mut before = None;
        loop {
            let own = board.own();
            let mut lines = vec![format!("Or by name: http://{}.local:{ADMIN_PORT}/", own.name)];
            lines.push(doing(&control.snapshot()));
            lines.extend(own.notices.iter().map(|notice| notice.text.clone()));
            let up = own.system.setup.as_ref().is_some_and(|s| s.up);
            let code = setup.as_ref().filter(|_| up).map(|point| SetupOnScreen {
                ssid: point.ssid.to_string(),
                passphrase: point.passphrase.reveal().to_owned(),
                url: point.url.clone(),
            });
            let now = (lines, code);
            if before.as_ref() != Some(&now) {
                self.client.screen(now.0.clone(), now.1.clone());
                before = Some(now);
            }
            tokio::time::sleep(SCREEN).await;
        }
    }

    /// Lets the green LED flash so many times in a row; None: for half a minute without a pause.
    pub(crate) async fn flash(&self, flashes: Option<u8>) -> Result<(), String> {
        let request = match flashes {
            Some(flashes) => Request::Flash { flashes },
            None => Request::Blink { seconds: 30 },
        };
        ask(&self.client, request).await
    }

    /// Has the link to process 1 outlast a start of this program by itself.
    pub(crate) fn outlast_exec(&self) -> anyhow::Result<()> {
        Ok(self.client.outlast_exec()?)
    }

    fn ask(&self, request: Request) -> webui::Answer<'_, ()> {
        Box::pin(ask(&self.client, request))
    }
}

/// Asks process 1; the waiting is done off the runtime.
pub(crate) async fn ask(client: &Client, request: Request) -> Result<(), String> {
    let client = client.clone();
    let asked = tokio::task::spawn_blocking(move || client.ask(&request));
    asked.await.map_err(|error| error.to_string())?
}

/// One line about what this board does.
fn doing(snapshot: &Snapshot) -> String {
    let roles = &snapshot.effective.roles;
    if roles.is_empty() {
        return "This board has no role yet: give it one on the page.".to_owned();
    }
    let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
    format!("This board is a {}.", roles.join(" and a "))
}

/// What a board is joined to.
pub(crate) struct With<'a> {
    pub(crate) id: &'a NodeId,
    pub(crate) control: &'a Control,
    pub(crate) board: &'a StatusBoard,
    pub(crate) local: &'a Local,
    pub(crate) network: &'a network::Handle,
    pub(crate) vrrp: &'a vrrp::Handle,
    pub(crate) shutdown: &'a Shutdown,
}

/// What the admin page has of a board.
pub(crate) struct Started {
    /// To be run on the admin page's runtime.
    pub(crate) ticks: Tick,
    pub(crate) radio: Arc<dyn webui::Radio>,
}

impl SetHostName for Aboard {
    fn set(&self, name: &str) -> Result<(), String> {
        self.client.ask(&Request::HostName { name: name.to_owned() })
    }
}

impl Clock for Aboard {
    fn set(&self, unix_ms: u64) -> Result<(), String> {
        self.client.ask(&Request::Clock { unix_ms })?;
        self.clock_is_set(true);
        Ok(())
    }
}

impl webui::System for Aboard {
    fn reboot(&self) -> webui::Answer<'_, ()> {
        self.ask(Request::Reboot)
    }
    fn power_off(&self) -> webui::Answer<'_, ()> {
        self.ask(Request::PowerOff)
    }
    fn factory_reset(&self) -> webui::Answer<'_, ()> {
        self.ask(Request::FactoryReset)
    }
    fn blink(&self, seconds: u16) -> webui::Answer<'_, ()> {
        self.ask(Request::Blink { seconds })
    }
    fn upload(&self) -> PathBuf {
        Path::new(UPLOADS).join("update.bramble")
    }
    fn install(&self) -> webui::Answer<'_, ()> {
        let this = self.clone();
        Box::pin(async move {
            let installing = tokio::task::spawn_blocking(move || {
                let done = this.client.install(webui::System::upload(&this), &mut |step| {
                    *this.progress() = Some(step);
                });
                *this.progress() = Some(match &done {
                    Ok(()) => FirmwareProgress::Restarting,
                    Err(reason) => FirmwareProgress::Failed { reason: reason.clone() },
                });
                done?;
                this.client.ask(&Request::Reboot)
            });
            installing.await.map_err(|error| error.to_string())?
        })
    }
    fn fail(&self, how: &str) -> webui::Answer<'_, ()> {
        let how = match how {
            "panic" => TestFailure::Panic,
            "hang" => TestFailure::Hang,
            _ => TestFailure::Kill,
        };
        self.ask(Request::Fail { how })
    }
}
