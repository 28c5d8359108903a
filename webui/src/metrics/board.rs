//! The board under this node.

use super::Page;
use model::status::{DataStatus, SystemStatus};

/// Thousandths as a decimal.
fn thousandths(value: i32) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    format!("{sign}{}.{:03}", value / 1000, value % 1000)
}

/// Only what the kernel told: a value that is not there is not zero.
pub(super) fn board(page: &mut Page, s: &SystemStatus) {
    let mut one = |name: &str, kind: &str, help: &str, value: Option<String>| {
        if let Some(value) = value {
            page.metric(name, kind, help);
            page.sample(name, &[], value);
        }
    };
    let flag = |on: bool| u8::from(on).to_string();
    one(
        "bramble_temperature_celsius",
        "gauge",
        "Temperature of the processor",
        s.temperature_millic.map(thousandths),
    );
    one(
        "bramble_undervoltage",
        "gauge",
        "Whether the supply is below 4.63 V at this moment",
        s.undervoltage.map(flag),
    );
    one(
        "bramble_undervoltage_seen",
        "gauge",
        "Whether it has been since the start",
        s.undervoltage.map(|_| flag(s.undervoltage_seen)),
    );
    one(
        "bramble_throttled",
        "gauge",
        "Whether the processor is slowed down",
        s.throttled.map(flag),
    );
    one(
        "process_resident_memory_bytes",
        "gauge",
        "Main memory of the appliance process",
        s.process_memory.map(|bytes| bytes.to_string()),
    );
    one(
        "bramble_init_resident_memory_bytes",
        "gauge",
        "Main memory of process 1",
        s.init_memory.map(|bytes| bytes.to_string()),
    );
    let memory = s.memory_total > 0;
    one(
        "bramble_memory_total_bytes",
        "gauge",
        "Main memory",
        memory.then(|| s.memory_total.to_string()),
    );
    one(
        "bramble_memory_available_bytes",
        "gauge",
        "Main memory that is free or can be freed",
        memory.then(|| s.memory_available.to_string()),
    );
    if let Some(card) = &s.card {
        one(
            "bramble_card_written_bytes_total",
            "counter",
            "Bytes written to the SD card since the board started",
            Some(card.written.to_string()),
        );
        one(
            "bramble_card_errors_total",
            "counter",
            "Input and output errors of the SD card since the board started",
            Some(card.errors.to_string()),
        );
        one(
            "bramble_card_wear_percent",
            "gauge",
            "How much of the card's life is used up, where it tells",
            card.wear_percent.map(|w| w.to_string()),
        );
    }
    if let Some(data) = &s.data {
        let kept = matches!(data, DataStatus::Kept { .. });
        one(
            "bramble_data_kept",
            "gauge",
            "Whether settings outlive a loss of power",
            Some(flag(kept)),
        );
        if let DataStatus::Kept { size, free, .. } = data {
            one("bramble_data_size_bytes", "gauge", "Data partition", Some(size.to_string()));
            one("bramble_data_free_bytes", "gauge", "Free of it", Some(free.to_string()));
        }
    }
    let wifi = s.wifi.as_ref().and_then(|w| w.connected.as_ref());
    one(
        "bramble_wifi_signal_dbm",
        "gauge",
        "Signal strength of the Wi-Fi network this board is on",
        wifi.map(|c| c.signal_dbm.to_string()),
    );
    if let Some(firmware) = &s.firmware {
        one(
            "bramble_process_restarts_total",
            "counter",
            "Times the appliance process was started again since the board started",
            Some(s.restarts.to_string()),
        );
        one(
            "bramble_firmware_on_trial",
            "gauge",
            "Whether the firmware that runs still has to prove itself",
            Some(flag(firmware.on_trial)),
        );
        let name = "bramble_firmware_info";
        page.metric(name, "gauge", "The firmware that runs");
        page.sample(name, &[("version", &firmware.version), ("slot", &firmware.slot)], 1);
    }
}
