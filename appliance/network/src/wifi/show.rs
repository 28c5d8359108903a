//! What the page sees of it.

use super::event::{Disabled, Event};
use super::ports::Shown;
use super::runner::Runner;
use model::status::{SetupStatus, WifiAdapter, WifiConnection, WifiTrial, WifiVerdict};
use std::sync::PoisonError;

const NOTICE: &str = "wifi-passphrase";

impl Runner {
    /// What wpa_supplicant says while it joins a network of the settings by itself.
    pub(super) fn about_settings(&mut self, event: &Event) {
        match event {
            Event::Connected => self.let_in(),
            // brcmfmac reports a failed handshake as status 16.
            Event::AssocReject { status: 16, timed_out: false } => {
                self.key_suspected = self.adapter().is_some_and(|a| a.handshake_offload);
            }
            Event::AssocReject { .. } => self.key_suspected = false,
            Event::TempDisabled { id, why } if *why == Disabled::WrongKey || self.key_suspected => {
                let mut networks = self.station.iter().flat_map(|s| &s.networks);
                let network = networks.find(|(number, _)| number == id);
                if let Some(ssid) = network.map(|(_, e)| e.network.ssid.to_string()) {
                    self.lock_out(ssid);
                }
            }
            _ => {}
        }
    }

    /// A network of the settings has a wrong passphrase there.
    pub(super) fn lock_out(&mut self, ssid: String) {
        let now = Some(WifiTrial { ssid, verdict: WifiVerdict::WrongPassphrase });
        if now == self.locked_out {
            return;
        }
        self.locked_out = now;
        if let Some(trial) = &self.locked_out {
            let text = format!(
                "The passphrase for the Wi-Fi network {:?} is wrong. Change it on the Wi-Fi page, \
                 or in bramble.toml on the card.",
                trial.ssid
            );
            tracing::warn!("{text}");
            if let Some(board) = &self.board {
                board.notice(NOTICE, text);
            }
        }
    }

    /// No more of that: another try, other settings, or it did work.
    pub(super) fn let_in(&mut self) {
        self.key_suspected = false;
        if self.locked_out.take().is_some() {
            if let Some(board) = &self.board {
                board.clear_notice(NOTICE);
            }
        }
    }

    pub(super) fn publish(&self) {
        let mut shown = Shown::default();
        shown.wifi.adapters = self
            .adapters
            .iter()
            .map(|a| WifiAdapter {
                interface: a.interface.clone(),
                driver: a.driver.clone(),
                five_ghz: a.five_ghz,
                access_point: a.access_point,
                both: a.both.is_some() && !self.no_second_interface,
            })
            .collect();
        let joined = self
            .station
            .as_ref()
            .filter(|s| s.association.completed && !s.association.access_point);
        shown.wifi.connected = joined.map(|s| WifiConnection {
            interface: s.interface.clone(),
            ssid: String::from_utf8_lossy(&s.association.ssid).into_owned(),
            frequency: s.association.frequency,
            signal_dbm: s.signal.unwrap_or_default(),
        });
        shown.wifi.trial = self.locked_out.clone().or_else(|| self.verdict.clone());
        if let (Some(point), false) = (&self.options.setup, self.adapters.is_empty()) {
            let up = self.setup.as_ref().filter(|p| p.up);
            let reason = if up.is_some() { None } else { Some(self.setup_reason()) };
            shown.setup = Some(SetupStatus {
                up: up.is_some(),
                ssid: point.ssid.to_string(),
                url: point.url.clone(),
                stations: up.map_or(0, |p| p.stations),
                reason,
            });
        }
        let mut held = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if *held != shown {
            *held = shown;
            drop(held);
            if let Some(board) = &self.board {
                board.touch();
            }
        }
    }

    fn setup_reason(&self) -> String {
        if self.attempt.as_ref().is_some_and(|a| a.trial.offline()) {
            return "switched off while this board tries to join a network; back within a minute \
                    if that fails"
                .to_owned();
        }
        if self.place().is_none() {
            let driver = self.adapter().map_or("", |a| a.driver.as_str());
            return format!(
                "this Wi-Fi adapter ({driver}) cannot be an access point; use the cable, or write \
                 the network into bramble.toml on the card"
            );
        }
        let policy = self.policy.reason(self.facts()).map(str::to_owned);
        let problem = self.setup_problem.clone().or_else(|| self.supplicant_problem.clone());
        policy.or(problem).unwrap_or_else(|| "it is about to come up".to_owned())
    }
}
