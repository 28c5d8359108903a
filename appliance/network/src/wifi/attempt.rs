//! Carrying out an attempt to join: an operator's, or one of our own with a network of the
//! settings while the access point has the radio.

use super::command::{Ask, Field};
use super::error::Error;
use super::event::Event;
use super::programming::add;
use super::runner::Runner;
use super::setup::Place;
use super::station::Entry;
use super::trial::{Ability, Input, Step, Trial};
use model::Country;
use model::status::{WifiTrial, WifiVerdict};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// While the access point is up, the networks of the settings are looked for after half the
/// patience of the policy, and after twice as long for each failure, up to this.
const RETRY_LONGEST: Duration = Duration::from_secs(300);
/// And at most so often while a phone is on it: looking around costs it packets.
const RETRY_OCCUPIED: Duration = Duration::from_secs(120);

/// An attempt under way.
pub(super) struct Attempt {
    pub(super) trial: Trial,
    pub(super) country: Option<Country>,
    /// Its number in wpa_supplicant, once it is there.
    id: Option<u32>,
    /// None for one of our own.
    pub(super) reply: Option<oneshot::Sender<Result<WifiVerdict, String>>>,
    /// An operator's, shown on the page.
    shown: bool,
}

impl Runner {
    fn ability(&self) -> Ability {
        let Some(adapter) = self.adapter() else { return Ability::default() };
        let may_start = adapter.channels.iter().filter(|c| c.may_start);
        Ability {
            five_ghz: adapter.five_ghz,
            sae: adapter.sae,
            handshake_offload: adapter.handshake_offload,
            can_move: adapter.channel_switch || adapter.driver == "brcmfmac",
            may_start: may_start.map(|c| c.frequency).collect(),
        }
    }

    /// Begins what waits, and lets time pass for what runs.
    pub(super) async fn follow_attempt(&mut self, now: Instant) -> Result<(), Error> {
        if let Some((join, _)) = self.waiting.take() {
            self.cancel().await?;
            // The rules of the country first: they decide which channels may be used.
            let (trial, steps) = Trial::new(join.network, self.ability(), self.trial_setup(), now);
            self.attempt = Some(Attempt {
                trial,
                country: join.country,
                id: None,
                reply: Some(join.reply),
                shown: true,
            });
            self.set_country().await?;
            self.steps(steps, now).await?;
        }
        if self.attempt.is_none() {
            return self.retry(now).await;
        }
        self.trial_input(&Input::Tick, now).await?;
        if self.attempt.as_ref().is_some_and(|a| a.trial.wants_address()) {
            let interface = self.station.as_ref().map(|s| s.interface.clone());
            let address = interface.and_then(|i| self.options.ports.address(&i));
            self.trial_input(&Input::Address(address), now).await?;
        }
        Ok(())
    }

    /// One of our own makes room for an operator's.
    async fn cancel(&mut self) -> Result<(), Error> {
        if let Some(attempt) = self.attempt.take() {
            self.remove(attempt.id).await?;
        }
        Ok(())
    }

    async fn remove(&mut self, id: Option<u32>) -> Result<(), Error> {
        let client = self.client()?;
        if let (Some(id), Some(station)) = (id, &self.station) {
            match client.to(&station.interface, Ask::Remove(id)).await {
                Ok(_) | Err(Error::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) async fn trial_input(
        &mut self,
        input: &Input<'_>,
        now: Instant,
    ) -> Result<(), Error> {
        let ability = self.ability();
        let Some(attempt) = &mut self.attempt else { return Ok(()) };
        // About another network.
        if let Input::Event(Event::TempDisabled { id, .. }) = input {
            if attempt.id != Some(*id) {
                return Ok(());
            }
        }
        attempt.trial.set_ability(ability);
        let steps = attempt.trial.handle(input, now);
        self.steps(steps, now).await
    }

    async fn steps(&mut self, steps: Vec<Step>, now: Instant) -> Result<(), Error> {
        for step in steps {
            match step {
                Step::Scan => {
                    let network = self.attempt.as_ref().map(|a| a.trial.network());
                    let hidden = network.filter(|n| n.hidden);
                    let hidden = hidden.map(|n| n.ssid.as_str().as_bytes().to_vec());
                    self.scan(hidden.into_iter().collect(), now).await?;
                }
                Step::MoveSetup { frequency } => self.move_setup(frequency, now).await?,
                Step::SetupDown => self.close_setup().await?,
                Step::Join { frequency } => self.join(frequency).await?,
                Step::Done(verdict) => self.finish(verdict, now).await?,
            }
        }
        Ok(())
    }

    async fn join(&mut self, frequency: Option<u32>) -> Result<(), Error> {
        let client = self.client()?;
        let (Some(attempt), Some(station)) = (&mut self.attempt, &mut self.station) else {
            return Ok(());
        };
        let entry = Entry::new(attempt.trial.network());
        let id = add(&client, &station.interface, &entry).await?;
        attempt.id = Some(id);
        // Of a network with several access points wpa_supplicant takes the one it likes best,
        // which may be where the access point is not.
        if let Some(frequency) = frequency {
            let only = Field::OnlyOn(Some(frequency));
            client.to(&station.interface, Ask::Set(id, only)).await?;
        }
        station.paused = true;
        client.to(&station.interface, Ask::Select(id)).await?;
        let _ = client.to(&station.interface, Ask::Reconnect).await; // refused when on its way
        Ok(())
    }

    async fn finish(&mut self, verdict: WifiVerdict, now: Instant) -> Result<(), Error> {
        let Some(attempt) = self.attempt.take() else { return Ok(()) };
        let joined = matches!(verdict, WifiVerdict::Connected { .. });
        self.poll_due_now();
        let mut done = Ok(());
        if joined {
            self.retry_pause = self.options.patience / 2;
            let network = attempt.trial.network().clone();
            done = self.keep(&attempt, &network).await;
            if attempt.shown {
                self.tried = Some(network);
                self.tried_country = attempt.country.clone();
            }
            if attempt.trial.offline() {
                // Both do not fit onto this radio.
                self.policy.close();
            }
            self.dirty = true;
        } else {
            self.retry_pause = (self.retry_pause * 2).min(RETRY_LONGEST);
            done = done.and(self.remove(attempt.id).await);
        }
        let free = self.setup.is_none() && (joined || !self.policy.open());
        let beside = !joined && self.setup.as_ref().is_some_and(|p| p.place.free());
        if done.is_ok() && (free || beside) {
            done = self.resume().await;
        }
        self.plan_retry(now);
        self.ended(attempt, verdict);
        done
    }

    /// The network that was joined takes the place of one of the same name.
    async fn keep(&mut self, attempt: &Attempt, network: &model::WifiNetwork) -> Result<(), Error> {
        let Some(id) = attempt.id else { return Ok(()) };
        let Some(station) = &mut self.station else { return Ok(()) };
        let old: Vec<u32> = station
            .networks
            .iter()
            .filter(|(_, e)| e.network.ssid == network.ssid)
            .map(|(id, _)| *id)
            .collect();
        station.networks.retain(|(_, e)| e.network.ssid != network.ssid);
        station.networks.push((id, Entry::new(network)));
        for id in old {
            self.remove(Some(id)).await?;
        }
        Ok(())
    }

    /// Shows and answers the verdict.
    pub(super) fn ended(&mut self, attempt: Attempt, verdict: WifiVerdict) {
        let ssid = attempt.trial.network().ssid.to_string();
        tracing::info!("joining {ssid:?}: {verdict:?}");
        if attempt.shown {
            self.verdict = Some(WifiTrial { ssid, verdict: verdict.clone() });
        } else if verdict == WifiVerdict::WrongPassphrase {
            self.lock_out(ssid);
        } else {
            self.let_in();
        }
        if let Some(reply) = attempt.reply {
            let _ = reply.send(Ok(verdict)); // the asker may be gone
        }
    }

    pub(super) fn plan_retry(&mut self, now: Instant) {
        self.retry_due = Some(now + self.retry_pause);
    }

    /// While the access point has the radio, wpa_supplicant cannot look for the networks of the
    /// settings, so this does.
    async fn retry(&mut self, now: Instant) -> Result<(), Error> {
        let Some(point) = self.setup.as_ref().filter(|p| p.up && !p.place.free()) else {
            return Ok(());
        };
        let due = self.retry_due.is_none_or(|due| now >= due);
        let joined = self
            .station
            .as_ref()
            .is_some_and(|s| s.association.completed && !s.association.access_point);
        let wanted = self.wanted();
        if !due || joined || wanted.is_empty() || self.scanning.is_some() {
            return Ok(());
        }
        let occupied = point.stations > 0;
        if point.place == Place::Same {
            self.plan_retry(now);
            // It would have to go down for it.
            if occupied {
                return Ok(());
            }
            let entry = wanted.get(self.retry_next % wanted.len()).cloned();
            self.retry_next = self.retry_next.wrapping_add(1);
            if let Some(entry) = entry {
                let steps = self.own_attempt(entry, now);
                self.steps(steps, now).await?;
            }
            return Ok(());
        }
        let pause = if occupied { RETRY_OCCUPIED } else { self.retry_pause };
        self.retry_due = Some(now + pause.max(self.retry_pause));
        self.retry_scan = true;
        let hidden = wanted.iter().filter(|e| e.network.hidden).take(4);
        let hidden = hidden.map(|e| e.network.ssid.as_str().as_bytes().to_vec()).collect();
        self.scan(hidden, now).await
    }

    fn own_attempt(&mut self, entry: Entry, now: Instant) -> Vec<Step> {
        let (trial, steps) = Trial::new(entry.network, self.ability(), self.trial_setup(), now);
        self.attempt = Some(Attempt { trial, country: None, id: None, reply: None, shown: false });
        steps
    }

    /// Those who wait for a scan, besides the page.
    pub(super) async fn after_scan(&mut self, now: Instant) -> Result<(), Error> {
        let seen = self.seen.clone();
        if self.attempt.is_some() {
            self.retry_scan = false;
            if self.ask_radios_after_country() {
                self.ask_radios().await;
            }
            return self.trial_input(&Input::Seen(&seen), now).await;
        }
        if std::mem::take(&mut self.retry_scan) {
            let near = |e: &Entry| {
                let name = e.network.ssid.as_str().as_bytes();
                seen.iter().any(|b| b.ssid == name)
            };
            if let Some(entry) = self.wanted().into_iter().find(near) {
                // The scan it would begin with has just been made.
                let _ = self.own_attempt(entry, now);
                return self.trial_input(&Input::Seen(&seen), now).await;
            }
        }
        Ok(())
    }

    fn ask_radios_after_country(&self) -> bool {
        self.attempt.as_ref().is_some_and(|a| a.country.is_some())
    }
}
