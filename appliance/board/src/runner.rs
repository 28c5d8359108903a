//! The edge: the kernel's files, and the watch over them.

use crate::card;
use crate::kernel;
use crate::watch::Watch;
use control::{Shutdown, StatusBoard};
use model::status::{CardStatus, DataStatus, SystemStatus};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What was read less than this ago is good enough.
const FRESH: Duration = Duration::from_secs(2);
/// How often somebody has to look, so that nothing is missed while no page is open.
const LOOK: Duration = Duration::from_secs(5);
/// Devices that were not there may have come since.
const SEARCH: Duration = Duration::from_secs(30);
/// No file read here is longer.
const LONGEST: u64 = 16 * 1024;

/// More are not listed.
const MOST_MISSING: usize = 4;

/// What board this is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Such as `Raspberry Pi 3 Model B Plus Rev 1.3`.
    pub model: Option<String>,
    /// The serial number.
    pub serial: Option<String>,
    /// Hardware address of the wired interface, or the serial number, or the hardware address of
    /// the wireless one: what the board's own names end with.
    pub mac: Option<String>,
}

/// The board's own senses. Share it in an `Arc`.
#[derive(Debug)]
pub struct Sensors {
    root: PathBuf,
    data: Option<PathBuf>,
    /// Told by the kernel's log; see [`Self::kernel_line`].
    errors: AtomicU64,
    /// Firmware that drivers asked for in vain; told by the kernel's log as well.
    missing: Mutex<Vec<String>>,
    undervoltage_seen: AtomicBool,
    clock_set: AtomicBool,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    read: Option<Instant>,
    searched: Option<Instant>,
    found: Found,
    /// Errors of the file system before this start, which its superblock remembers.
    errors_before: Option<u64>,
    last: SystemStatus,
}

/// What does not change, and where the rest is.
#[derive(Clone, Debug, Default)]
struct Found {
    identity: Identity,
    voltage: Option<PathBuf>,
    temperature: Option<PathBuf>,
    card: Option<(String, CardStatus)>,
    file_system: Option<PathBuf>,
}

impl Sensors {
    /// `root` is `/` but in tests; `data` is the directory whose file system must not run full.
    pub fn new(root: impl Into<PathBuf>, data: Option<PathBuf>) -> Self {
        Self {
            root: root.into(),
            data,
            errors: AtomicU64::new(0),
            missing: Mutex::default(),
            undervoltage_seen: AtomicBool::new(false),
            clock_set: AtomicBool::new(false),
            memory: Mutex::default(),
        }
    }

    /// What board this is.
    pub fn identity(&self) -> Identity {
        let model = self.text("proc/device-tree/model").and_then(|t| kernel::device_tree(&t));
        let serial =
            self.text("proc/device-tree/serial-number").and_then(|t| kernel::device_tree(&t));
        let address = |name: &str| {
            let text = self.text(&format!("sys/class/net/{name}/address"))?;
            let text = text.trim();
            (!text.is_empty() && text != "00:00:00:00:00:00").then(|| text.to_owned())
        };
        // Wi-Fi comes late, and a name must be the same at every start. On boards where the wired
        // interface comes late as well, its address ends with the serial number's digits.
        let told = serial.clone().filter(|s| s.bytes().any(|b| b != b'0'));
        let mac = address("eth0").or(told).or_else(|| address("wlan0"));
        Identity { model, serial, mac }
    }

    /// Takes note of a line of the kernel's log, which is the only place where some troubles are
    /// told. Lines of other programs must not come here.
    pub fn kernel_line(&self, line: &str) {
        if kernel::says_card_error(line) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(file) = kernel::missing_firmware(line) {
            let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
            if missing.len() < MOST_MISSING && !missing.iter().any(|known| known == file) {
                missing.push(file.to_owned());
            }
        }
        if kernel::says_undervoltage(line) {
            self.undervoltage_seen.store(true, Ordering::Relaxed);
        }
    }

    /// The clock was set, or must not be believed any more.
    pub fn clock_is_set(&self, set: bool) {
        self.clock_set.store(set, Ordering::Relaxed);
    }

    /// Fills in what the board knows of itself; the rest of the status is left alone.
    pub fn fill(&self, status: &mut SystemStatus) {
        let mut memory = self.lock();
        if memory.read.is_none_or(|read| read.elapsed() >= FRESH) {
            self.read(&mut memory);
        }
        let last = &memory.last;
        status.board.clone_from(&last.board);
        status.serial.clone_from(&last.serial);
        status.temperature_millic = last.temperature_millic;
        status.undervoltage = last.undervoltage;
        status.undervoltage_seen |= last.undervoltage_seen;
        status.throttled = last.throttled;
        status.memory_total = last.memory_total;
        status.memory_available = last.memory_available;
        status.process_memory = last.process_memory;
        status.init_memory = last.init_memory;
        status.card.clone_from(&last.card);
        if let (
            Some(DataStatus::Kept { size, free, .. }),
            Some(DataStatus::Kept { size: size_now, free: free_now, .. }),
        ) = (&mut status.data, &last.data)
        {
            (*size, *free) = (*size_now, *free_now);
        }
        drop(memory);
        status.uptime_ms =
            self.text("proc/uptime").and_then(|t| kernel::uptime(&t)).unwrap_or_default();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let set = self.clock_set.load(Ordering::Relaxed);
        status.clock_unix_ms =
            now.ok().filter(|_| set).and_then(|t| u64::try_from(t.as_millis()).ok());
    }

    /// USB devices nothing drives, and firmware that drivers asked for in vain.
    fn troubles(&self) -> (Vec<String>, Vec<String>) {
        let strangers = crate::usb::strangers(&self.root.join("sys/bus/usb/devices"));
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (strangers, missing)
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        // Whatever a panic left half done is read anew.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, memory: &mut Memory) {
        let now = Instant::now();
        if memory.searched.is_none_or(|searched| now.duration_since(searched) >= SEARCH) {
            memory.found = self.search();
            memory.searched = Some(now);
        }
        memory.read = Some(now);
        let found = memory.found.clone();
        let last = &mut memory.last;
        last.board = found.identity.model;
        last.serial = found.identity.serial;
        if let Some(meminfo) = self.text("proc/meminfo") {
            last.memory_total = kernel::memory(&meminfo, "MemTotal").unwrap_or_default();
            last.memory_available = kernel::memory(&meminfo, "MemAvailable").unwrap_or_default();
        }
        let resident = |process: &str| {
            let text = self.text(&format!("proc/{process}/status"))?;
            kernel::memory(&text, "VmRSS")
        };
        last.process_memory = resident("self");
        last.init_memory = resident("1");
        last.temperature_millic =
            found.temperature.as_deref().and_then(text).and_then(|t| t.trim().parse().ok());
        self.power(found.voltage.as_deref(), last);
        let before = &mut memory.errors_before;
        last.card = found
            .card
            .and_then(|(name, card)| self.card(&name, card, found.file_system.as_deref(), before));
        last.data = self.data.as_deref().and_then(space);
    }

    fn power(&self, voltage: Option<&Path>, status: &mut SystemStatus) {
        // The driver asks the firmware every two seconds and shows whether it happened since.
        let alarm = voltage.and_then(text).map(|t| t.trim() == "1");
        let firmware = self
            .text("sys/devices/platform/soc/soc:firmware/get_throttled")
            .and_then(|t| kernel::throttled(&t));
        let now = firmware.map(|f| f.undervoltage);
        status.undervoltage = match (alarm, now) {
            (None, now) => now,
            (Some(alarm), now) => Some(alarm || now == Some(true)),
        };
        let seen = status.undervoltage == Some(true)
            || firmware.is_some_and(|f| f.undervoltage_seen)
            || self.undervoltage_seen.load(Ordering::Relaxed);
        status.undervoltage_seen |= seen;
        status.throttled = firmware.map(|f| f.throttled).or_else(|| self.slowed());
    }

    fn slowed(&self) -> Option<bool> {
        let file = |name: &str| self.text(&format!("sys/devices/system/cpu/cpu0/cpufreq/{name}"));
        let number = |name: &str| file(name)?.trim().parse::<u64>().ok();
        let governor = file("scaling_governor")?;
        let ceiling = number("scaling_max_freq")?;
        kernel::slowed(&governor, number("scaling_cur_freq")?, ceiling, number("cpuinfo_max_freq")?)
    }

    /// None once the card does not answer any more.
    fn card(
        &self,
        name: &str,
        card: CardStatus,
        file_system: Option<&Path>,
        before: &mut Option<u64>,
    ) -> Option<CardStatus> {
        let stat = self.text(&format!("sys/block/{name}/stat"))?;
        let life = self.text(&format!("sys/block/{name}/device/life_time"));
        let ever = file_system.and_then(text).and_then(|t| t.trim().parse::<u64>().ok());
        let since = ever.map_or(0, |ever| ever.saturating_sub(*before.get_or_insert(ever)));
        Some(CardStatus {
            written: card::written(&stat).unwrap_or_default(),
            // A failed request is often told by both; they are not added up.
            errors: self.errors.load(Ordering::Relaxed).max(since),
            wear_percent: life.as_deref().and_then(card::wear),
            ..card
        })
    }

    fn search(&self) -> Found {
        let voltage = self.devices("sys/class/hwmon").into_iter().find_map(|dir| {
            let ours = text(&dir.join("name")).is_some_and(|n| n.trim() == "rpi_volt");
            Some(dir.join("in0_lcrit_alarm")).filter(|f| ours && f.exists())
        });
        let zones = self.devices("sys/class/thermal");
        let zone = |wanted: fn(&str) -> bool| {
            zones.iter().find(|dir| text(&dir.join("type")).is_some_and(|t| wanted(t.trim())))
        };
        // "cpu-thermal" in mainline's device trees, "cpu_thermal" as some kernels print it.
        let zone = zone(|t| t.replace('_', "-") == "cpu-thermal")
            .or_else(|| zone(|t| t.contains("cpu") || t.contains("soc")));
        let card = self.devices("sys/block").into_iter().find_map(|dir| {
            let name = dir.file_name()?.to_str()?.to_owned();
            let device = |file: &str| text(&dir.join("device").join(file));
            let kind = device("type").filter(|_| card::is_card(&name))?;
            ["SD", "MMC"].contains(&kind.trim()).then_some(())?;
            let told = |file: &str| device(file).map(|t| t.trim().to_owned()).unwrap_or_default();
            let size = text(&dir.join("size")).as_deref().and_then(card::size);
            let card = CardStatus {
                name: told("name"),
                made: told("date"),
                size: size.unwrap_or_default(),
                ..CardStatus::default()
            };
            Some((name, card))
        });
        let file_system = card.as_ref().and_then(|(name, _)| {
            let mut all = self.devices("sys/fs/ext4").into_iter();
            let ours = all.find(|dir| {
                dir.file_name()
                    .and_then(|n| n.to_str())
                    .is_some_and(|n| n.starts_with(name.as_str()))
            })?;
            Some(ours.join("errors_count"))
        });
        Found {
            identity: self.identity(),
            voltage,
            temperature: zone.map(|dir| dir.join("temp")),
            card,
            file_system,
        }
    }

    fn devices(&self, dir: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.root.join(dir)).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        paths.sort();
        paths
    }

    fn text(&self, path: &str) -> Option<String> {
        text(&self.root.join(path))
    }
}

fn text(path: &Path) -> Option<String> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(LONGEST).read_to_end(&mut text).ok()?;
    // A card's name may hold any byte.
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn space(dir: &Path) -> Option<DataStatus> {
    let told = rustix::fs::statvfs(dir).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
    Some(DataStatus::Kept { size: bytes(told.f_blocks), free: bytes(told.f_bavail), mended: None })
}

/// Watches over the board and tells the operator, until it is time to stop.
pub async fn run(sensors: std::sync::Arc<Sensors>, board: StatusBoard, shutdown: Shutdown) {
    let mut watch = Watch::default();
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.requested() => return,
        }
        let mut status = SystemStatus {
            data: sensors.data.is_some().then_some(DataStatus::Kept {
                size: 0,
                free: 0,
                mended: None,
            }),
            ..SystemStatus::default()
        };
        sensors.fill(&mut status);
        let (strangers, missing) = sensors.troubles();
        let mut changes = watch.look(begun.elapsed(), &status);
        changes.extend(watch.devices(strangers, missing));
        for change in changes {
            change.show(&board);
        }
    }
}

#[cfg(test)]
mod tests;
