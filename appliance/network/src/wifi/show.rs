//! What the page sees of it.

use super::ports::Shown;
use super::runner::Runner;
use model::status::{SetupStatus, WifiAdapter, WifiConnection};
use std::sync::PoisonError;

impl Runner {
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
        shown.wifi.trial = self.verdict.clone();
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
