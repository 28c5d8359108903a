//! The whole of the Wi-Fi against a double of wpa_supplicant and made-up radios.

use crate::supplicant::{Bss, Supplicant, World, lock};
use control::{Shutdown, ShutdownTrigger, Snapshot};
use model::status::{WifiSecurity, WifiVerdict};
use model::{NodeId, Revision, Secret, Settings, WifiNetwork};
use network::wifi::{Adapter, Answer, Channel, Handle, Options, Ports, Radios, SetupPoint, start};
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Instead of a minute.
const PATIENCE: Duration = Duration::from_secs(4);
const WPA2: &str = "[WPA2-PSK-CCMP][ESS]";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 36);

fn home(frequency: u32) -> Bss {
    Bss { ssid: "home", frequency, level: -50, flags: WPA2, passphrase: "right passphrase" }
}

fn network(ssid: &str, passphrase: &str) -> WifiNetwork {
    WifiNetwork { ssid: ssid.parse().unwrap(), passphrase: Secret::new(passphrase), hidden: false }
}

/// One that can be both, on one channel.
fn able() -> Adapter {
    Adapter {
        phy: 0,
        interface: "wlan0".into(),
        driver: "mac80211_hwsim".into(),
        channels: [2412, 2437, 2462].map(|frequency| Channel { frequency, may_start: true }).into(),
        access_point: true,
        both: Some(1),
        channel_switch: true,
        sae: true,
        ..Adapter::default()
    }
}

struct FakeRadios {
    world: Arc<Mutex<World>>,
    adapters: Mutex<Vec<Adapter>>,
}

impl Radios for FakeRadios {
    fn adapters(&self) -> io::Result<Vec<Adapter>> {
        Ok(self.adapters.lock().unwrap().clone())
    }
    fn fingerprint(&self) -> io::Result<Vec<(u32, String)>> {
        let adapters = self.adapters.lock().unwrap();
        Ok(adapters.iter().map(|a| (a.phy, a.interface.clone())).collect())
    }
    fn create_ap(&self, _: &Adapter, name: &str) -> io::Result<()> {
        lock(&self.world).devices.push(name.to_owned());
        Ok(())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        lock(&self.world).devices.retain(|d| d != name);
        Ok(())
    }
}

#[derive(Default)]
struct House {
    claimed: AtomicBool,
    wired: AtomicBool,
    role: AtomicBool,
    no_address: AtomicBool,
    running: AtomicBool,
    starts: AtomicU32,
    nets: Mutex<Vec<(String, bool)>>,
}

impl Ports for House {
    fn supplicant(&self, run: bool) -> Answer<'_, ()> {
        self.running.store(run, Ordering::Relaxed);
        self.starts.fetch_add(u32::from(run), Ordering::Relaxed);
        Box::pin(async { Ok(()) })
    }
    fn claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed)
    }
    fn wired(&self) -> bool {
        self.wired.load(Ordering::Relaxed)
    }
    fn role(&self) -> bool {
        self.role.load(Ordering::Relaxed)
    }
    fn address(&self, interface: &str) -> Option<Ipv4Addr> {
        assert_eq!(interface, "wlan0");
        (!self.no_address.load(Ordering::Relaxed)).then_some(ADDRESS)
    }
    fn setup_net(&self, interface: &str, up: bool) {
        self.nets.lock().unwrap().push((interface.to_owned(), up));
    }
}

struct Bench {
    world: Arc<Mutex<World>>,
    house: Arc<House>,
    radios: Arc<FakeRadios>,
    supplicant: Option<Supplicant>,
    settings: watch::Sender<Arc<Snapshot>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    handle: Handle,
    trigger: ShutdownTrigger,
    directory: tempfile::TempDir,
}

fn settings(networks: &[WifiNetwork]) -> Snapshot {
    let mut settings = Settings::default();
    settings.wifi.networks = networks.to_vec();
    Snapshot::new(Revision::default(), settings, &NodeId::default())
}

impl Bench {
    fn new(air: Vec<Bss>, adapters: Vec<Adapter>, networks: &[WifiNetwork], house: House) -> Self {
        let world = World::shared(air, &["wlan0"]);
        let directory = tempfile::tempdir().unwrap();
        let supplicant = Supplicant::start(&directory.path().join("global"), &world);
        let radios = Arc::new(FakeRadios { world: world.clone(), adapters: Mutex::new(adapters) });
        let house = Arc::new(house);
        let (sender, snapshots) = settings(networks).channel();
        let (trigger, shutdown) = Shutdown::new();
        let options = options(directory.path().join("global"), &radios, &house);
        let handle = start(snapshots.clone(), None, shutdown, options);
        Self {
            world,
            house,
            radios,
            supplicant: Some(supplicant),
            settings: sender,
            snapshots,
            handle,
            trigger,
            directory,
        }
    }

    fn up(&self) -> bool {
        self.handle.status().1.is_some_and(|s| s.up)
    }

    fn connected(&self) -> Option<String> {
        self.handle.status().0.connected.map(|c| c.ssid)
    }

    fn heard(&self, part: &str) -> usize {
        lock(&self.world).heard.iter().filter(|h| h.contains(part)).count()
    }

    fn nets(&self) -> Vec<(String, bool)> {
        self.house.nets.lock().unwrap().clone()
    }
}

fn options(control: PathBuf, radios: &Arc<FakeRadios>, house: &Arc<House>) -> Options {
    let setup = SetupPoint {
        ssid: "Bramble-0001".parse().unwrap(),
        passphrase: Secret::new("setup passphrase"),
        url: "http://192.168.19.36:1936/".into(),
    };
    Options {
        control,
        radios: radios.clone(),
        patience: PATIENCE,
        ..Options::new(Some(setup), house.clone())
    }
}

async fn eventually(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(40), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn connected() -> Result<WifiVerdict, String> {
    Ok(WifiVerdict::Connected { address: ADDRESS })
}

#[tokio::test]
async fn a_wrong_passphrase_in_the_settings_is_said_until_it_is_right() {
    let house = House { claimed: true.into(), wired: true.into(), ..House::default() };
    let wrong = [network("home", "wrong passphrase")];
    let bench = Bench::new(vec![home(2462)], vec![able()], &wrong, house);
    let trial = || bench.handle.status().0.trial;
    eventually("the verdict", || trial().is_some()).await;
    let said = trial().unwrap();
    assert_eq!((&*said.ssid, said.verdict), ("home", WifiVerdict::WrongPassphrase));
    bench.settings.send(Arc::new(settings(&[network("home", "right passphrase")]))).unwrap();
    eventually("joined", || bench.connected().is_some()).await;
    assert_eq!(trial(), None);
}

#[tokio::test]
async fn a_phone_brings_a_new_board_onto_its_network() {
    let air = vec![
        home(2462),
        Bss { ssid: "cafe", frequency: 2412, level: -80, flags: "[ESS]", passphrase: "" },
        Bss { ssid: "Bramble-0001", frequency: 2437, level: -10, flags: WPA2, passphrase: "" },
    ];
    let bench = Bench::new(air, vec![able()], &[], House::default());
    eventually("the access point", || bench.up()).await;
    assert_eq!(bench.nets(), [("ap0".to_owned(), true)]);
    {
        let world = lock(&bench.world);
        let (id, frequency) = world.interfaces["ap0"].on.unwrap();
        assert_eq!(frequency, 2437);
        let fields = &world.interfaces["ap0"].networks[&id].fields;
        assert_eq!(fields["psk"], "\"setup passphrase\"");
        assert_eq!((&*fields["proto"], &*fields["pairwise"]), ("RSN", "CCMP"));
    }
    eventually("the phone is counted", || bench.handle.status().1.is_some_and(|s| s.stations == 1))
        .await;

    let seen = bench.handle.scan().await.unwrap();
    let names: Vec<&str> = seen.iter().map(|s| s.ssid.as_str()).collect();
    assert_eq!(names, ["home", "cafe"]);
    assert_eq!(seen[1].security, WifiSecurity::Open);

    let wrong = bench.handle.join(network("home", "wrong passphrase"), None).await;
    assert_eq!(wrong, Ok(WifiVerdict::WrongPassphrase));
    eventually("the verdict is shown", || {
        let trial = bench.handle.status().0.trial.unwrap();
        (&*trial.ssid, trial.verdict) == ("home", WifiVerdict::WrongPassphrase)
    })
    .await;
    assert!(lock(&bench.world).interfaces["wlan0"].networks.is_empty(), "nothing is left of it");

    let country = Some("DE".parse().unwrap());
    assert_eq!(bench.handle.join(network("home", "right passphrase"), country).await, connected());
    {
        let world = lock(&bench.world);
        assert_eq!(world.interfaces["ap0"].on.unwrap().1, 2462, "it went along");
        assert_eq!(world.interfaces["ap0"].losses, 0, "the phone never lost it");
        assert_eq!(world.interfaces["wlan0"].country.as_deref(), Some("DE"));
    }
    assert_eq!(bench.heard("CHAN_SWITCH 5 2462 ht"), 1);
    assert!(bench.up());
    eventually("the page shows it", || bench.connected().as_deref() == Some("home")).await;

    // Kept in the settings: the connection is not touched.
    bench.settings.send_replace(Arc::new(settings(&[network("home", "right passphrase")])));
    bench.house.claimed.store(true, Ordering::Relaxed);
    let lists = bench.heard("LIST_NETWORKS");
    eventually("the settings are compared", || bench.heard("LIST_NETWORKS") > lists).await;
    eventually("the access point closes", || !bench.up()).await;
    let world = lock(&bench.world);
    assert!(!world.interfaces.contains_key("ap0") && !world.devices.contains(&"ap0".to_owned()));
    assert_eq!(world.interfaces["wlan0"].losses, 0);
    assert_eq!(world.interfaces["wlan0"].ssids(), ["home"]);
    drop(world);
    assert_eq!(bench.nets(), [("ap0".to_owned(), true), ("ap0".to_owned(), false)]);
}

#[tokio::test]
async fn an_adapter_that_is_either_or_tries_offline() {
    let either = Adapter { both: None, ..able() };
    let bench = Bench::new(vec![home(2462)], vec![either], &[], House::default());
    eventually("the access point", || bench.up()).await;
    assert_eq!(bench.nets(), [("wlan0".to_owned(), true)]);
    let seen = bench.handle.scan().await.unwrap();
    assert_eq!(seen.len(), 1, "from before it was the access point");
    let wrong = bench.handle.join(network("home", "wrong passphrase"), None).await;
    assert_eq!(wrong, Ok(WifiVerdict::WrongPassphrase));
    eventually("the access point is back", || bench.up()).await;
    let verdict = bench.handle.status().0.trial.unwrap().verdict;
    assert_eq!(verdict, WifiVerdict::WrongPassphrase, "for the page, when the phone is back");
    assert_eq!(bench.handle.join(network("home", "right passphrase"), None).await, connected());
    assert!(!bench.up(), "one radio, one of the two");
    let nets: Vec<bool> = bench.nets().iter().map(|(_, up)| *up).collect();
    assert_eq!(nets, [true, false, true, false]);
    assert_eq!(bench.connected().as_deref(), Some("home"));
}

#[tokio::test]
async fn a_channel_that_cannot_be_moved_to_by_command_restarts_the_access_point() {
    let bench = Bench::new(vec![home(2412)], vec![able()], &[], House::default());
    lock(&bench.world).stubborn = true;
    eventually("the access point", || bench.up()).await;
    assert_eq!(bench.handle.join(network("home", "right passphrase"), None).await, connected());
    eventually("it is up there", || bench.up()).await;
    assert_eq!(lock(&bench.world).interfaces["ap0"].on.unwrap().1, 2412);
}

#[tokio::test]
async fn networks_of_the_settings_survive_everything() {
    let networks = [network("office", "passphrase 1"), network("home", "right passphrase")];
    let house = House { claimed: true.into(), ..House::default() };
    let mut bench = Bench::new(vec![home(2462)], vec![able()], &networks, house);
    eventually("it is on the second", || bench.connected().as_deref() == Some("home")).await;
    assert_eq!(lock(&bench.world).interfaces["wlan0"].ssids(), ["office", "home"]);
    assert!(!bench.up() && bench.nets().is_empty());

    // A new run finds all in order and touches nothing.
    bench.trigger.trigger();
    let (trigger, shutdown) = Shutdown::new();
    let options = options(bench.directory.path().join("global"), &bench.radios, &bench.house);
    let lists = bench.heard("LIST_NETWORKS");
    bench.handle = start(bench.snapshots.clone(), None, shutdown, options);
    bench.trigger = trigger;
    eventually("the new run looks", || bench.heard("LIST_NETWORKS") > lists).await;
    eventually("it shows", || bench.connected().as_deref() == Some("home")).await;
    assert_eq!(lock(&bench.world).interfaces["wlan0"].losses, 0);
    assert_eq!(bench.heard("ADD_NETWORK"), 2);

    // wpa_supplicant is killed, and comes back knowing nothing.
    bench.supplicant = None;
    eventually("it is missed", || bench.connected().is_none()).await;
    bench.supplicant =
        Some(Supplicant::start(&bench.directory.path().join("global"), &bench.world));
    eventually("all is set up again", || bench.connected().as_deref() == Some("home")).await;
    assert_eq!(lock(&bench.world).interfaces["wlan0"].ssids(), ["office", "home"]);

    // One is taken out, the one it is on stays untouched.
    let losses = lock(&bench.world).interfaces["wlan0"].losses;
    bench.settings.send_replace(Arc::new(settings(&networks[1..])));
    eventually("it is gone", || lock(&bench.world).interfaces["wlan0"].ssids() == ["home"]).await;
    assert_eq!(lock(&bench.world).interfaces["wlan0"].losses, losses);
}

#[tokio::test]
async fn a_failed_attempt_leaves_the_network_it_was_on() {
    let air = vec![home(2462), Bss { ssid: "other", ..home(2412) }];
    let house = House { claimed: true.into(), ..House::default() };
    let bench = Bench::new(air, vec![able()], &[network("home", "right passphrase")], house);
    eventually("it is on its network", || bench.connected().as_deref() == Some("home")).await;
    let wrong = bench.handle.join(network("other", "wrong passphrase"), None).await;
    assert_eq!(wrong, Ok(WifiVerdict::WrongPassphrase));
    eventually("it is back", || bench.connected().as_deref() == Some("home")).await;
    assert_eq!(lock(&bench.world).interfaces["wlan0"].ssids(), ["home"]);
    // Joined, but nobody gives an address.
    bench.house.no_address.store(true, Ordering::Relaxed);
    let verdict = bench.handle.join(network("other", "right passphrase"), None).await;
    assert_eq!(verdict, Ok(WifiVerdict::NoAddress));
    eventually("it is back again", || bench.connected().as_deref() == Some("home")).await;
}

#[tokio::test]
async fn adapters_that_cannot_or_are_not_there() {
    let poor = Adapter { driver: "mt7601u".into(), access_point: false, both: None, ..able() };
    let bench = Bench::new(vec![home(2412)], vec![poor], &[], House::default());
    eventually("it says why", || {
        let reason = bench.handle.status().1.and_then(|s| s.reason);
        reason.is_some_and(|r| r.contains("mt7601u") && r.contains("bramble.toml"))
    })
    .await;
    assert!(!bench.house.running.load(Ordering::Relaxed), "nothing to do for wpa_supplicant");
    // It still joins when asked over the cable.
    assert_eq!(bench.handle.join(network("home", "right passphrase"), None).await, connected());
    // Unplugged.
    bench.radios.adapters.lock().unwrap().clear();
    eventually("it is missed", || bench.handle.status().0.adapters.is_empty()).await;
    assert_eq!(bench.handle.status().1, None);
    assert!(bench.handle.scan().await.unwrap_err().contains("no Wi-Fi adapter"));
    let verdict = bench.handle.join(network("home", "right passphrase"), None).await.unwrap();
    assert!(matches!(verdict, WifiVerdict::NoAdapter { .. }), "{verdict:?}");
}

#[tokio::test]
async fn no_access_point_beside_a_floating_ip() {
    let house = House { role: true.into(), ..House::default() };
    let bench = Bench::new(vec![home(2412)], vec![able()], &[], house);
    eventually("it says why", || {
        let reason = bench.handle.status().1.and_then(|s| s.reason);
        reason.is_some_and(|r| r.contains("floating IP"))
    })
    .await;
    bench.house.role.store(false, Ordering::Relaxed);
    eventually("the access point", || bench.up()).await;
    bench.house.role.store(true, Ordering::Relaxed);
    eventually("it goes at once", || !bench.up()).await;
    assert_eq!(bench.nets(), [("ap0".to_owned(), true), ("ap0".to_owned(), false)]);
}

#[tokio::test]
async fn a_network_that_comes_back_is_joined_from_behind_the_access_point() {
    let bench = Bench::new(Vec::new(), vec![able()], &[], House::default());
    eventually("the access point", || bench.up()).await;
    bench.settings.send_replace(Arc::new(settings(&[network("home", "right passphrase")])));
    bench.house.claimed.store(true, Ordering::Relaxed);
    lock(&bench.world).air.push(home(2462));
    eventually("it is found", || bench.connected().as_deref() == Some("home")).await;
    assert_eq!(lock(&bench.world).interfaces["ap0"].losses, 0);
    assert_eq!(bench.handle.status().0.trial, None, "nobody asked for it");
}

#[tokio::test]
async fn two_attempts_at_once_are_one_too_many() {
    let bench = Bench::new(vec![home(2437)], vec![able()], &[], House::default());
    eventually("the access point", || bench.up()).await;
    let (first, second) = tokio::join!(
        bench.handle.join(network("home", "right passphrase"), None),
        bench.handle.join(network("home", "other passphrase"), None),
    );
    assert_eq!(first, connected());
    assert!(second.unwrap_err().contains("under way"));
}
