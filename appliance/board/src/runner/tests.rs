use super::*;
use model::NodeId;

/// A tree of files as the kernel shows them.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(dir.path(), path, text);
    }
    dir
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A Raspberry Pi 3 B+ under a mainline kernel.
const PI3: &[(&str, &str)] = &[
    ("proc/device-tree/model", "Raspberry Pi 3 Model B Plus Rev 1.3\0"),
    ("proc/device-tree/serial-number", "00000000a94c7f3a\0"),
    ("proc/uptime", "93784.12 370012.33\n"),
    (
        "proc/meminfo",
        "MemTotal:         945364 kB\nMemFree:          581516 kB\nMemAvailable:     752596 kB\n",
    ),
    ("sys/class/net/eth0/address", "b8:27:eb:4c:7f:3a\n"),
    ("sys/class/net/wlan0/address", "b8:27:eb:19:2a:6f\n"),
    ("sys/class/thermal/cooling_device0/type", "cpufreq-cpu0\n"),
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "52616\n"),
    ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
    ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
    ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "1400000\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq", "1400000\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "1400000\n"),
    ("sys/block/loop0/size", "0\n"),
    ("sys/block/mmcblk0/size", "31116288\n"),
    (
        "sys/block/mmcblk0/stat",
        "    3170      942   176918    12345     1010     2020    30303    40404        0    50505    60606        0        0        0        0        5        6\n",
    ),
    ("sys/block/mmcblk0/device/type", "SD\n"),
    ("sys/block/mmcblk0/device/name", "SC16G\n"),
    ("sys/block/mmcblk0/device/date", "08/2021\n"),
    ("sys/fs/ext4/features/lazy_itable_init", "supported\n"),
    ("sys/fs/ext4/mmcblk0p4/errors_count", "3\n"),
];

/// QEMU's raspi2b: no sensor, a nameless card.
const EMULATED: &[(&str, &str)] = &[
    ("proc/device-tree/model", "Raspberry Pi 2 Model B\0"),
    ("proc/uptime", "3.10 2.00\n"),
    ("proc/meminfo", "MemTotal:         945364 kB\nMemAvailable:     752596 kB\n"),
    ("sys/class/net/eth0/address", "52:54:00:12:34:56\n"),
    ("sys/block/mmcblk0/size", "524288\n"),
    ("sys/block/mmcblk0/stat", "1 2 3 4 5 6 7 8 9 10 11\n"),
    ("sys/block/mmcblk0/device/type", "SD\n"),
    ("sys/block/mmcblk0/device/name", "QEMU!\n"),
    ("sys/block/mmcblk0/device/date", "02/2006\n"),
];

fn filled(sensors: &Sensors) -> SystemStatus {
    let mut status = SystemStatus::default();
    sensors.lock().read = None;
    sensors.fill(&mut status);
    status
}

#[test]
fn a_pi_tells_how_it_feels() {
    let dir = tree(PI3);
    let sensors = Sensors::new(dir.path(), None);
    let status = filled(&sensors);
    let card = CardStatus {
        name: "SC16G".into(),
        made: "08/2021".into(),
        size: 15_931_539_456,
        written: 30_303 * 512,
        errors: 0,
        wear_percent: None,
    };
    let wanted = SystemStatus {
        board: Some("Raspberry Pi 3 Model B Plus Rev 1.3".into()),
        serial: Some("00000000a94c7f3a".into()),
        uptime_ms: 93_784_120,
        temperature_millic: Some(52_616),
        undervoltage: Some(false),
        throttled: Some(false),
        memory_total: 945_364 * 1024,
        memory_available: 752_596 * 1024,
        card: Some(card),
        ..SystemStatus::default()
    };
    assert_eq!(status, wanted);
    assert_eq!(sensors.identity().mac.as_deref(), Some("b8:27:eb:4c:7f:3a"));
}

#[test]
fn the_boards_name_does_not_depend_on_what_comes_late() {
    let dir = tree(PI3);
    let sensors = Sensors::new(dir.path(), None);
    let name = || crate::setup_ssid(&sensors.identity().mac.unwrap()).unwrap().to_string();
    assert_eq!(name(), "Bramble-7F3A");
    std::fs::remove_dir_all(dir.path().join("sys/class/net/eth0")).unwrap();
    assert_eq!(name(), "Bramble-7F3A");
    std::fs::remove_dir_all(dir.path().join("sys/class/net/wlan0")).unwrap();
    assert_eq!(name(), "Bramble-7F3A");
    write(dir.path(), "proc/device-tree/serial-number", "0000000000000000\0");
    assert_eq!(sensors.identity().mac, None);
    write(dir.path(), "sys/class/net/wlan0/address", "b8:27:eb:19:2a:6f\n");
    assert_eq!(name(), "Bramble-2A6F");
}

#[test]
fn trouble_is_seen_and_remembered() {
    let dir = tree(PI3);
    let sensors = Sensors::new(dir.path(), None);
    assert!(!filled(&sensors).undervoltage_seen);
    write(dir.path(), "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
    write(dir.path(), "sys/fs/ext4/mmcblk0p4/errors_count", "5\n");
    write(dir.path(), "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "600000\n");
    let status = filled(&sensors);
    assert_eq!(status.undervoltage, Some(true));
    assert_eq!(status.throttled, Some(true));
    // Three of the five are older than this start.
    assert_eq!(status.card.unwrap().errors, 2);
    write(dir.path(), "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n");
    let status = filled(&sensors);
    assert_eq!((status.undervoltage, status.undervoltage_seen), (Some(false), true));
}

#[test]
fn the_kernels_log_counts() {
    let dir = tree(EMULATED);
    let sensors = Sensors::new(dir.path(), None);
    sensors.kernel_line("I/O error, dev mmcblk0, sector 8 op 0x1:(WRITE) flags 0x800");
    sensors.kernel_line("hwmon hwmon1: Undervoltage detected!");
    sensors.kernel_line("usb 1-1: new high-speed USB device");
    let status = filled(&sensors);
    assert_eq!(status.card.unwrap().errors, 1);
    assert!(status.undervoltage_seen);
    assert_eq!(status.undervoltage, None);
}

#[test]
fn what_is_not_told_is_unknown() {
    let dir = tree(EMULATED);
    let status = filled(&Sensors::new(dir.path(), None));
    assert_eq!((status.temperature_millic, status.throttled, status.serial), (None, None, None));
    assert_eq!(status.card.unwrap().size, 256 * 1024 * 1024);
    let nothing = tempfile::tempdir().unwrap();
    let sensors = Sensors::new(nothing.path(), None);
    assert_eq!(filled(&sensors), SystemStatus::default());
    assert_eq!(sensors.identity(), Identity::default());
}

#[test]
fn raspberry_pis_own_kernel_tells_throttling() {
    let dir = tree(PI3);
    write(dir.path(), "sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
    let status = filled(&Sensors::new(dir.path(), None));
    assert_eq!((status.undervoltage, status.throttled), (Some(true), Some(true)));
    assert!(status.undervoltage_seen);
}

#[test]
fn a_pulled_card_is_gone() {
    let dir = tree(PI3);
    let sensors = Sensors::new(dir.path(), None);
    assert!(filled(&sensors).card.is_some());
    std::fs::remove_dir_all(dir.path().join("sys/block/mmcblk0")).unwrap();
    assert_eq!(filled(&sensors).card, None);
}

#[test]
fn it_is_read_every_other_second_however_often_it_is_asked() {
    let dir = tree(PI3);
    let sensors = Sensors::new(dir.path(), None);
    let mut status = SystemStatus::default();
    sensors.fill(&mut status);
    write(dir.path(), "sys/class/thermal/thermal_zone0/temp", "99000\n");
    sensors.fill(&mut status);
    assert_eq!(status.temperature_millic, Some(52_616));
    assert_eq!(filled(&sensors).temperature_millic, Some(99_000));
}

#[test]
fn the_clock_is_shown_once_it_is_set() {
    let dir = tree(PI3);
    let sensors = Sensors::new(dir.path(), None);
    assert_eq!(filled(&sensors).clock_unix_ms, None);
    sensors.clock_is_set(true);
    assert!(filled(&sensors).clock_unix_ms.unwrap() > 1_600_000_000_000);
}

#[test]
fn space_on_the_card_is_asked_for_where_the_card_keeps_data() {
    let dir = tree(PI3);
    let sensors = Sensors::new(dir.path(), Some(dir.path().to_owned()));
    let mended = Some("a journal".to_owned());
    let mut status = SystemStatus {
        data: Some(DataStatus::Kept { size: 0, free: 0, mended: mended.clone() }),
        ..SystemStatus::default()
    };
    sensors.fill(&mut status);
    let Some(DataStatus::Kept { size, free, mended: kept }) = status.data else { panic!() };
    assert!(size > 0 && free <= size);
    assert_eq!(kept, mended);
    let memory = Some(DataStatus::Memory { reason: "no card".into() });
    let mut status = SystemStatus { data: memory.clone(), ..SystemStatus::default() };
    sensors.fill(&mut status);
    assert_eq!(status.data, memory);
}

#[tokio::test]
async fn the_operator_is_told() {
    let dir = tree(PI3);
    write(dir.path(), "sys/class/thermal/thermal_zone0/temp", "84000\n");
    let sensors = std::sync::Arc::new(Sensors::new(dir.path(), None));
    let board = StatusBoard::new("n-1".parse::<NodeId>().unwrap(), "test");
    let mut changes = board.changes();
    let (trigger, shutdown) = Shutdown::new();
    let task = tokio::spawn(run(sensors, board.clone(), shutdown));
    tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.unwrap().unwrap();
    let notices = board.own().notices;
    assert_eq!(notices.len(), 1);
    assert!(notices[0].text.contains("84 °C"), "{notices:?}");
    trigger.trigger();
    tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
}
