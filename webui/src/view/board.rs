//! The board under this node: what it is, how it feels, and what to do about that.

use super::Tone;
use crate::words::{bytes, count, moment, number, span};
use model::status::{
    CardStatus, DataStatus, DhcpStatus, LinkStatus, NodeStatus, SystemStatus, Watchdog,
};

/// Something about the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) label: String,
    pub(crate) value: String,
    pub(crate) tone: Tone,
    /// What it means, or what to do.
    pub(crate) note: String,
}

impl Fact {
    fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        let label = label.into();
        Self { label, value: value.into(), tone: Tone::Quiet, note: String::new() }
    }

    fn with(mut self, tone: Tone, note: impl Into<String>) -> Self {
        self.tone = tone;
        self.note = note.into();
        self
    }
}

/// Facts under one heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) facts: Vec<Fact>,
}

const WEAK_SUPPLY: &str = "The supply or its cable is too weak: below 4.63 V the board slows down \
     and may write rubbish to the card. Use the official supply, with a short thick cable, and take \
     hungry USB devices off.";

/// From here on the firmware slows the processor down (80 °C; 85 °C is the hard limit).
const HOT: i32 = 80_000;

/// Everything the kernel told, by subject.
pub(crate) fn groups(status: &NodeStatus) -> Vec<Group> {
    let system = &status.system;
    let mut groups = vec![
        Group { title: "Board", facts: board(system) },
        Group { title: "Network", facts: status.links.iter().filter_map(link).collect() },
        Group { title: "Power and heat", facts: power(system) },
    ];
    let mut storage = system.card.as_ref().map(card).unwrap_or_default();
    storage.extend(system.data.as_ref().map(data));
    if !storage.is_empty() {
        groups.push(Group { title: "Card and data", facts: storage });
    }
    // Where there are no slots there is no process 1 of ours that would count.
    if system.firmware.is_some() {
        groups.push(Group { title: "Watching over it", facts: watching(system) });
    }
    groups.retain(|g| !g.facts.is_empty());
    groups
}

fn board(s: &SystemStatus) -> Vec<Fact> {
    let mut facts = Vec::new();
    facts.extend(s.board.as_ref().map(|b| Fact::new("Model", b)));
    facts.extend(s.serial.as_ref().map(|n| Fact::new("Serial number", n)));
    if let Some(f) = &s.firmware {
        let slot = f.slot.to_ascii_uppercase();
        let fact = Fact::new("Firmware", format!("{}, slot {slot}", f.version));
        facts.push(if f.on_trial { fact.with(Tone::Info, "On trial.") } else { fact });
    }
    if s.uptime_ms > 0 {
        facts.push(Fact::new("Up", span(s.uptime_ms)));
        facts.push(match s.clock_unix_ms.and_then(|ms| i64::try_from(ms).ok()) {
            Some(ms) => Fact::new("Clock", moment(ms)),
            None => Fact::new("Clock", "not set").with(
                Tone::Warn,
                "This board has no clock chip and has not reached a time server yet. Times in \
                 the log and in History are wrong until it does; nothing else depends on it.",
            ),
        });
    }
    if s.memory_total > 0 {
        let value = format!("{} free of {}", bytes(s.memory_available), bytes(s.memory_total));
        let fact = Fact::new("Memory", value);
        let scarce = s.memory_available < s.memory_total / 20;
        facts.push(if scarce {
            fact.with(Tone::Warn, "Almost all of it is in use.")
        } else {
            fact
        });
    }
    facts
}

fn link(l: &LinkStatus) -> Option<Fact> {
    if l.name == "lo" {
        return None;
    }
    let addresses: Vec<String> = l.addresses.iter().map(ToString::to_string).collect();
    let value = match (addresses.is_empty(), l.running) {
        (false, _) => addresses.join(", "),
        (true, true) => "no address".to_owned(),
        (true, false) => "not connected".to_owned(),
    };
    let fact = Fact::new(&l.name, value);
    Some(match &l.dhcp {
        None | Some(DhcpStatus::NoCarrier) => fact.with(Tone::Quiet, &l.mac),
        Some(DhcpStatus::Asking) => {
            fact.with(Tone::Quiet, format!("{} · asks a DHCP server for an address", l.mac))
        }
        Some(DhcpStatus::LinkLocal) => fact.with(
            Tone::Warn,
            "No DHCP server answers, so it chose this address itself; it reaches only what is on \
             the same cable. Plug it into your router, or give it an address under Nodes.",
        ),
        Some(DhcpStatus::Leased { server, .. }) => {
            fact.with(Tone::Quiet, format!("{} · by DHCP from {server}", l.mac))
        }
    })
}

/// Thousandths of a degree as degrees with one digit.
pub(crate) fn degrees(millic: i32) -> String {
    let sign = if millic < 0 { "-" } else { "" };
    let tenths = millic.unsigned_abs() / 100;
    format!("{sign}{}.{}\u{a0}°C", tenths / 10, tenths % 10)
}

fn power(s: &SystemStatus) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(millic) = s.temperature_millic {
        let fact = Fact::new("Temperature", degrees(millic));
        facts.push(if millic >= HOT {
            fact.with(
                Tone::Warn,
                "Too hot: the board slows itself down. Give it air or a heat sink.",
            )
        } else {
            fact.with(Tone::Good, "")
        });
    }
    facts.extend(s.undervoltage.map(|now| {
        if now {
            Fact::new("Supply", "too weak at this moment").with(Tone::Bad, WEAK_SUPPLY)
        } else if s.undervoltage_seen {
            Fact::new("Supply", "was too weak since the start").with(Tone::Warn, WEAK_SUPPLY)
        } else {
            Fact::new("Supply", "strong enough").with(Tone::Good, "")
        }
    }));
    facts.extend(s.throttled.map(|now| {
        if now {
            Fact::new("Speed", "slowed down")
                .with(Tone::Warn, "For heat or for lack of power: see above.")
        } else {
            Fact::new("Speed", "full").with(Tone::Good, "")
        }
    }));
    facts
}

fn card(c: &CardStatus) -> Vec<Fact> {
    let mut facts = Vec::new();
    if !c.name.is_empty() {
        let made = if c.made.is_empty() { String::new() } else { format!("Made in {}.", c.made) };
        facts.push(Fact::new("Card", &c.name).with(Tone::Quiet, made));
    }
    if c.size > 0 {
        facts.push(Fact::new("Size", bytes(c.size)));
    }
    facts.push(Fact::new("Written since the start", bytes(c.written)));
    facts.push(if c.errors > 0 {
        Fact::new("Errors", number(c.errors)).with(
            Tone::Bad,
            "The card is failing or sits badly. Make a backup (under More) and keep a copy of \
             the sites, then replace it with a new one of a good make.",
        )
    } else {
        Fact::new("Errors", "none").with(Tone::Good, "")
    });
    facts.extend(c.wear_percent.map(|percent| {
        let fact = Fact::new("Wear", format!("{percent} %"));
        if percent >= 90 {
            fact.with(Tone::Warn, "Its life is nearly used up. Replace it soon.")
        } else {
            fact.with(Tone::Good, "")
        }
    }));
    facts
}

fn data(d: &DataStatus) -> Fact {
    match d {
        DataStatus::Kept { size, free, mended } => {
            let value = format!("{} free of {}", bytes(*free), bytes(*size));
            let fact = Fact::new("Data partition", value);
            match mended {
                Some(text) => fact.with(Tone::Warn, crate::words::sentence(text)),
                None if *free < size / 20 => {
                    fact.with(Tone::Warn, "It is almost full. Remove files from the sites.")
                }
                None => fact.with(Tone::Good, ""),
            }
        }
        DataStatus::Memory { reason } => Fact::new("Data partition", "not in use")
            .with(Tone::Bad, crate::words::sentence(reason)),
    }
}

fn watching(s: &SystemStatus) -> Vec<Fact> {
    let watchdog = match s.watchdog {
        Watchdog::Hardware => Fact::new("Watchdog", "the board's own").with(Tone::Good, ""),
        Watchdog::Software => Fact::new("Watchdog", "the kernel's").with(Tone::Good, ""),
        Watchdog::None => Fact::new("Watchdog", "none")
            .with(Tone::Warn, "If the whole board hangs, somebody has to pull its plug."),
    };
    let restarts = match s.restarts {
        0 => Fact::new("Crashes of Bramble", "none").with(Tone::Good, ""),
        n => Fact::new("Crashes of Bramble", number(n.into()))
            .with(Tone::Warn, "Since the board started. Its last words are on the page Log."),
    };
    vec![watchdog, restarts]
}

/// What somebody should do something about, for the overview.
pub(crate) fn troubles(s: &SystemStatus) -> Vec<(Tone, String)> {
    let mut found = Vec::new();
    if in_memory(s).is_some() {
        found.push((Tone::Bad, "It keeps nothing: its data partition is not in use.".to_owned()));
    }
    if s.undervoltage == Some(true) {
        found.push((Tone::Warn, "The power supply is too weak at this moment.".to_owned()));
    }
    if s.temperature_millic.is_some_and(|t| t >= HOT) {
        let degrees = degrees(s.temperature_millic.unwrap_or_default());
        found.push((Tone::Warn, format!("The board is too hot: {degrees}.")));
    } else if s.throttled == Some(true) && s.undervoltage != Some(true) {
        found.push((Tone::Warn, "The processor is slowed down.".to_owned()));
    }
    if let Some(card) = s.card.as_ref() {
        if card.errors > 0 {
            let errors = usize::try_from(card.errors).unwrap_or(usize::MAX);
            found.push((Tone::Warn, format!("The SD card had {}.", count(errors, "error"))));
        }
        if card.wear_percent.is_some_and(|w| w >= 90) {
            found.push((Tone::Warn, "The SD card is nearly worn out.".to_owned()));
        }
    }
    found
}

/// The loudest warning there is: what is changed now is gone with the power.
pub(crate) fn in_memory(s: &SystemStatus) -> Option<String> {
    match &s.data {
        Some(DataStatus::Memory { reason }) => Some(format!(
            "Nothing is kept: settings, password and sites of this board live in memory only and \
             are lost when its power goes. {}",
            crate::words::sentence(reason)
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_are_rounded_down_to_a_tenth() {
        assert_eq!(
            [48_312, 900, 0, -2_500].map(degrees),
            ["48.3\u{a0}°C", "0.9\u{a0}°C", "0.0\u{a0}°C", "-2.5\u{a0}°C"]
        );
    }

    #[test]
    fn nothing_told_is_nothing_shown() {
        assert_eq!(groups(&NodeStatus::default()), []);
        assert_eq!(troubles(&SystemStatus::default()), []);
    }

    #[test]
    fn trouble_is_said_with_what_to_do() {
        let system = SystemStatus {
            uptime_ms: 5_000,
            temperature_millic: Some(84_000),
            undervoltage: Some(true),
            throttled: Some(true),
            card: Some(CardStatus { errors: 3, wear_percent: Some(95), ..CardStatus::default() }),
            data: Some(DataStatus::Memory { reason: "the card has no data partition".into() }),
            restarts: 2,
            ..SystemStatus::default()
        };
        let firmware = Some(model::status::FirmwareStatus::default());
        let status = NodeStatus {
            system: SystemStatus { firmware, ..system.clone() },
            links: vec![LinkStatus {
                name: "eth0".into(),
                dhcp: Some(DhcpStatus::LinkLocal),
                ..LinkStatus::default()
            }],
            ..NodeStatus::default()
        };
        let facts: Vec<Fact> = groups(&status).into_iter().flat_map(|g| g.facts).collect();
        for label in
            ["eth0", "Clock", "Temperature", "Supply", "Speed", "Errors", "Wear", "Watchdog"]
        {
            let fact = facts.iter().find(|f| f.label == label).unwrap();
            assert!(fact.tone >= Tone::Warn && !fact.note.is_empty(), "{label}");
        }
        let found = troubles(&system);
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(
            found[0].0 == Tone::Bad
                && in_memory(&system).unwrap().contains("The card has no data partition.")
        );
    }
}
