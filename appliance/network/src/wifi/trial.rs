//! Trying to join a network while, if the radio can, the setup access point stays up. Pure: the
//! runner carries out the [`Step`]s and tells what came of them.
//!
//! ```text
//! look around -> judge -> [move the access point, or switch it off] -> join -> address -> done
//! ```
//!
//! A radio with one channel cannot join a network on another channel than its access point's
//! (the attempt ends in CONN_FAILED), so the access point moves first and takes its phones along.
//! Where it cannot move, it is switched off meanwhile.

use super::command::is_key;
use super::event::{Disabled, Event};
use super::reply::{Bss, security};
use model::WifiNetwork;
use model::status::{WifiSecurity, WifiVerdict};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_secs(15);
const LOOKS: u8 = 2;
/// Before the phone's connection suffers, so that the page it asked for gets there.
const PAUSE: Duration = Duration::from_secs(2);
/// Five beacons are half a second; then the driver has to move.
const MOVE: Duration = Duration::from_secs(3);
const JOIN: Duration = Duration::from_secs(25);
/// From the first attempt to the verdict, however often the network lets go again.
const JOIN_IN_ALL: Duration = Duration::from_secs(60);
const ADDRESS: Duration = Duration::from_secs(20);
/// Scans that find nothing, one every five seconds.
const NOT_FOUND: u8 = 3;

/// Where the setup access point is, seen from the radio that is to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Nowhere, or where it does not matter: on another radio, or on one with several channels.
    Free,
    /// On the same radio, which has one channel.
    Shared { frequency: u32 },
    /// It is this very interface.
    Same,
}

/// What the radio can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ability {
    pub(crate) five_ghz: bool,
    pub(crate) sae: bool,
    pub(crate) handshake_offload: bool,
    /// The access point can be moved.
    pub(crate) can_move: bool,
    /// Frequencies on which it may be.
    pub(crate) may_start: Vec<u32>,
}

/// What the runner tells.
#[derive(Clone, Debug)]
pub(crate) enum Input<'a> {
    /// A scan is over.
    Seen(&'a [Bss]),
    /// From the station's interface.
    Event(&'a Event),
    /// The access point is on another frequency now.
    Moved,
    /// The interface's address, asked for while [`Trial::wants_address`].
    Address(Option<Ipv4Addr>),
    /// Time has passed.
    Tick,
}

/// What the runner does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Scan,
    MoveSetup {
        frequency: u32,
    },
    SetupDown,
    /// Adds the network and selects it; on this frequency only, where one is given.
    Join {
        frequency: Option<u32>,
    },
    Done(WifiVerdict),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// Only for the access point on this very interface.
    BeforeLook {
        until: Instant,
    },
    Look {
        until: Instant,
        looks: u8,
    },
    BeforeMove {
        until: Instant,
        frequency: u32,
    },
    BeforeDown {
        until: Instant,
    },
    Move {
        until: Instant,
        frequency: u32,
    },
    Join {
        until: Instant,
    },
    Address {
        until: Instant,
    },
    Done,
}

/// One attempt.
#[derive(Debug)]
pub(crate) struct Trial {
    network: WifiNetwork,
    ability: Ability,
    setup: Setup,
    stage: Stage,
    /// The access point was switched off for this.
    offline: bool,
    /// When the first join has to be over.
    end: Option<Instant>,
    not_found: u8,
    refusals: u8,
    /// What the network said last.
    said: Option<String>,
    /// The last refusal is what a wrong passphrase looks like with this driver.
    key_suspected: bool,
}

impl Trial {
    pub(crate) fn new(
        network: WifiNetwork,
        ability: Ability,
        setup: Setup,
        now: Instant,
    ) -> (Self, Vec<Step>) {
        let (stage, steps) = if setup == Setup::Same {
            (Stage::BeforeLook { until: now + PAUSE }, Vec::new())
        } else {
            (Stage::Look { until: now + LOOK, looks: 1 }, vec![Step::Scan])
        };
        let trial = Self {
            network,
            ability,
            setup,
            stage,
            offline: false,
            end: None,
            not_found: 0,
            refusals: 0,
            said: None,
            key_suspected: false,
        };
        (trial, steps)
    }

    pub(crate) fn network(&self) -> &WifiNetwork {
        &self.network
    }

    /// The rules of a country may have changed it.
    pub(crate) fn set_ability(&mut self, ability: Ability) {
        self.ability = ability;
    }

    /// The access point is down because of this attempt.
    pub(crate) fn offline(&self) -> bool {
        self.offline
    }

    pub(crate) fn wants_address(&self) -> bool {
        matches!(self.stage, Stage::Address { .. })
    }

    pub(crate) fn handle(&mut self, input: &Input<'_>, now: Instant) -> Vec<Step> {
        match (self.stage, input) {
            (Stage::Look { looks, .. }, Input::Seen(list)) => self.judge(list, looks, now),
            (Stage::Look { until, looks }, Input::Tick) if now >= until => {
                self.judge(&[], looks, now)
            }
            (Stage::BeforeLook { until }, Input::Tick) if now >= until => {
                self.offline = true;
                self.stage = Stage::Look { until: now + LOOK, looks: 1 };
                vec![Step::SetupDown, Step::Scan]
            }
            (Stage::BeforeMove { until, frequency }, Input::Tick) if now >= until => {
                self.stage = Stage::Move { until: now + MOVE, frequency };
                vec![Step::MoveSetup { frequency }]
            }
            (Stage::BeforeDown { until }, Input::Tick) if now >= until => {
                self.offline = true;
                let mut steps = vec![Step::SetupDown];
                steps.extend(self.join(None, now));
                steps
            }
            (Stage::Move { frequency, .. }, Input::Moved) => self.join(Some(frequency), now),
            // Some drivers move and never say so.
            (Stage::Move { until, frequency }, Input::Tick) if now >= until => {
                self.join(Some(frequency), now)
            }
            (Stage::Join { .. } | Stage::Address { .. }, Input::Event(event)) => {
                self.event(event, now)
            }
            (Stage::Join { until }, Input::Tick) if now >= until => {
                let verdict = self.not_joined();
                self.done(verdict)
            }
            (Stage::Address { .. }, Input::Address(Some(address))) => {
                self.done(WifiVerdict::Connected { address: *address })
            }
            (Stage::Address { until }, Input::Tick) if now >= until => {
                self.done(WifiVerdict::NoAddress)
            }
            _ => Vec::new(),
        }
    }

    fn done(&mut self, verdict: WifiVerdict) -> Vec<Step> {
        self.stage = Stage::Done;
        vec![Step::Done(verdict)]
    }

    /// What can be said before anything is tried.
    fn judge(&mut self, list: &[Bss], looks: u8, now: Instant) -> Vec<Step> {
        let name = self.network.ssid.as_str().as_bytes();
        let found: Vec<&Bss> = list.iter().filter(|b| b.ssid == name).collect();
        if found.is_empty() {
            if looks < LOOKS {
                self.stage = Stage::Look { until: now + LOOK, looks: looks + 1 };
                return vec![Step::Scan];
            }
            return self.done(WifiVerdict::NotFound);
        }
        let reachable = |b: &&Bss| b.frequency < 4900 || self.ability.five_ghz;
        let near: Vec<&Bss> = found.into_iter().filter(reachable).collect();
        if near.is_empty() {
            return self.done(WifiVerdict::OnlyFiveGhz);
        }
        let mut fitting: Vec<&Bss> =
            near.iter().copied().filter(|b| self.unfit(security(&b.flags)).is_none()).collect();
        fitting.sort_by_key(|b| std::cmp::Reverse(b.level));
        let Some(strongest) = fitting.first() else {
            let why = near.iter().find_map(|b| self.unfit(security(&b.flags)));
            return self.done(WifiVerdict::Refused { why: why.unwrap_or_default().to_owned() });
        };
        let Setup::Shared { frequency } = self.setup else { return self.join(None, now) };
        // The same channel, if it is good enough to be of use.
        if fitting.iter().any(|b| b.frequency == frequency && b.level >= strongest.level - 15) {
            return self.join(Some(frequency), now);
        }
        let target = fitting.iter().find(|b| self.ability.may_start.contains(&b.frequency));
        match target {
            Some(bss) if self.ability.can_move => {
                let frequency = bss.frequency;
                self.stage = Stage::BeforeMove { until: now + PAUSE, frequency };
            }
            _ => self.stage = Stage::BeforeDown { until: now + PAUSE },
        }
        Vec::new()
    }

    /// Why an access point of this kind cannot be joined with what was typed.
    fn unfit(&self, security: WifiSecurity) -> Option<&'static str> {
        let passphrase = self.network.passphrase.reveal();
        match security {
            WifiSecurity::Enterprise => Some(
                "it asks for a user name (WPA Enterprise), which Bramble cannot do; use a network \
                 with a passphrase, or the cable",
            ),
            WifiSecurity::Outdated => Some(
                "it uses WEP or the first WPA, which are broken; set the network to WPA2 in its \
                 router",
            ),
            WifiSecurity::Open if !passphrase.is_empty() => Some(
                "it asks for no passphrase; leave the passphrase empty to join it all the same",
            ),
            WifiSecurity::Open => None,
            _ if passphrase.is_empty() => Some("it asks for a passphrase, and none was given"),
            WifiSecurity::Wpa3 if !self.ability.sae => Some(
                "it takes WPA3 only, which this adapter cannot do; set the network to WPA2/WPA3 in \
                 its router",
            ),
            WifiSecurity::Wpa3 if is_key(passphrase) => {
                Some("it takes WPA3 only, which needs the passphrase itself and not the key")
            }
            _ => None,
        }
    }

    fn join(&mut self, frequency: Option<u32>, now: Instant) -> Vec<Step> {
        self.end = Some(now + JOIN_IN_ALL);
        self.stage = Stage::Join { until: now + JOIN };
        vec![Step::Join { frequency }]
    }

    fn event(&mut self, event: &Event, now: Instant) -> Vec<Step> {
        match event {
            // Said again after roaming to another of the network's access points.
            Event::Connected if self.wants_address() => {}
            Event::Connected => {
                self.not_found = 0;
                self.stage = Stage::Address { until: now + ADDRESS };
            }
            Event::TempDisabled { why: Disabled::WrongKey, .. } => {
                return self.done(WifiVerdict::WrongPassphrase);
            }
            Event::TempDisabled { .. } => {
                let verdict = self.not_joined();
                return self.done(verdict);
            }
            // SAE's confirm did not fit (IEEE 802.11 12.4.8.6.5). 9.4.1.9: status 15, challenge
            // failure; hostapd says 1 where it has several passphrases and tries the next.
            Event::AuthReject { kind: 3, step: 2, status: 1 | 15 } => {
                return self.done(WifiVerdict::WrongPassphrase);
            }
            Event::AuthReject { status, .. } => self.refusal(*status, false),
            Event::AssocReject { status, timed_out } => {
                // brcmfmac reports each failed connection as status 16, also a failed handshake.
                let key = self.ability.handshake_offload && *status == 16 && !timed_out;
                self.refusal(*status, key);
                if key && self.refusals >= 2 {
                    return self.done(WifiVerdict::WrongPassphrase);
                }
            }
            Event::NetworkNotFound => {
                self.not_found = self.not_found.saturating_add(1);
                if self.not_found >= NOT_FOUND {
                    return self.done(WifiVerdict::NotFound);
                }
            }
            Event::Disconnected { reason, local } => {
                if !local {
                    self.said =
                        Some(format!("it ended the connection ({})", reason_words(*reason)));
                    // 9.4.1.7: 15, four-way handshake timeout.
                    self.key_suspected = *reason == 15;
                }
                if let Stage::Address { .. } = self.stage {
                    let until = (now + JOIN).min(self.end.unwrap_or(now));
                    self.stage = Stage::Join { until };
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn refusal(&mut self, status: u16, key_suspected: bool) {
        self.refusals = self.refusals.saturating_add(1);
        self.key_suspected = key_suspected;
        self.said = Some(status_words(status));
    }

    /// The time is up, or wpa_supplicant has given up.
    fn not_joined(&mut self) -> WifiVerdict {
        if self.key_suspected && !self.network.passphrase.is_empty() {
            return WifiVerdict::WrongPassphrase;
        }
        let why = self.said.take().unwrap_or_else(|| {
            "it did not answer within 25 seconds; its signal may be too weak here".to_owned()
        });
        WifiVerdict::Refused { why }
    }
}

/// IEEE 802.11 9.4.1.9.
fn status_words(status: u16) -> String {
    let words = match status {
        17 => "it has as many devices as it takes; try again later, or switch one of them off",
        16 => "it did not answer in time; its signal may be too weak here",
        30 => "it asked to come back later",
        31 => "it insists on protected management frames, which this adapter cannot do",
        37 | 1 => {
            "it refused this device; a list of allowed devices (MAC filter) may be switched on"
        }
        _ => return format!("it refused (status {status} of IEEE 802.11)"),
    };
    words.to_owned()
}

/// IEEE 802.11 9.4.1.7.
fn reason_words(reason: u16) -> String {
    match reason {
        2 | 3 | 6 | 7 | 8 => "it let go of this device".to_owned(),
        4 => "no traffic".to_owned(),
        5 => "it has as many devices as it takes".to_owned(),
        15 => "the key exchange was not finished".to_owned(),
        other => format!("reason {other} of IEEE 802.11"),
    }
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
