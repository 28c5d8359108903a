//! The setup access point: where it can be, bringing it up and taking it down.

use super::command::{Ask, Command, Field};
use super::error::Error;
use super::event::Event;
use super::radio::Adapter;
use super::runner::Runner;
use super::station::{self, Entry};
use super::trial::{Input, Setup};
use std::time::{Duration, Instant};

/// Channel 6: allowed everywhere, and seen by every phone.
const CHANNEL_6: u32 = 2437;
/// From the command to the first beacon.
const OPENING: Duration = Duration::from_secs(15);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(30);
/// An interface that is to be the access point looks around before, since it cannot later.
const FRESH: Duration = Duration::from_secs(60);

/// Where the access point can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// An interface of its own beside the station's, on so many channels.
    Beside { channels: u32 },
    /// Another radio.
    Other,
    /// The station's interface: either or.
    Same,
}

impl Place {
    /// What the station does does not matter to it.
    pub(super) fn free(self) -> bool {
        match self {
            Self::Beside { channels } => channels > 1,
            Self::Other => true,
            Self::Same => false,
        }
    }
}

/// The access point in wpa_supplicant's hands.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) interface: String,
    pub(super) place: Place,
    pub(super) frequency: u32,
    /// Its number as a network.
    pub(super) id: u32,
    /// It sends beacons.
    pub(super) up: bool,
    pub(super) stations: u32,
    /// It is stopped and started to move to another channel.
    restarting: bool,
    until: Instant,
}

impl Runner {
    /// Where the access point can be; None with adapters that cannot be one.
    pub(super) fn place(&self) -> Option<(Place, &Adapter)> {
        let own = self.adapter()?;
        if let (true, Some(channels), false) =
            (own.access_point, own.both, self.no_second_interface)
        {
            return Some((Place::Beside { channels }, own));
        }
        let other = self.adapters.iter().find(|a| a.access_point && a.phy != own.phy);
        if let Some(other) = other {
            return Some((Place::Other, other));
        }
        own.access_point.then_some((Place::Same, own))
    }

    /// As an attempt to join sees it.
    pub(super) fn trial_setup(&self) -> Setup {
        match &self.setup {
            Some(Point { place: Place::Beside { channels: 1 }, frequency, .. }) => {
                Setup::Shared { frequency: *frequency }
            }
            Some(Point { place: Place::Same, .. }) => Setup::Same,
            _ => Setup::Free,
        }
    }

    /// Opens or closes it.
    pub(super) async fn follow_setup(&mut self, now: Instant) -> Result<(), Error> {
        // An attempt has the radio.
        if self.attempt.as_ref().is_some_and(|a| a.trial.offline()) {
            return Ok(());
        }
        if self.setup.is_some() && !self.policy.open() {
            self.close_setup().await?;
            return self.resume().await;
        }
        if let Some(point) = &self.setup {
            if (!point.up || point.restarting) && now >= point.until {
                self.setup_failed("it did not come up", now).await?;
            }
            return Ok(());
        }
        let due = self.setup_due.is_none_or(|due| now >= due);
        if !self.policy.open() || !due || self.scanning.is_some() {
            return Ok(());
        }
        match self.open_setup(now).await {
            Err(error @ (Error::Gone(_) | Error::NoInterface)) => Err(error),
            Err(error) => self.setup_failed(&error.to_string(), now).await,
            Ok(()) => Ok(()),
        }
    }

    async fn open_setup(&mut self, now: Instant) -> Result<(), Error> {
        let (Some(wanted), Some((place, adapter))) = (self.options.setup.clone(), self.place())
        else {
            return Ok(());
        };
        let adapter = adapter.clone();
        if place == Place::Same && self.seen_at.is_none_or(|at| now >= at + FRESH) {
            return self.scan(Vec::new(), now).await;
        }
        let client = self.client()?;
        let joined = self
            .station
            .as_ref()
            .filter(|s| s.association.completed)
            .map(|s| s.association.frequency);
        // Beside a station that is on a network only its channel will do. A station that is not
        // must not look for one: on another channel it could not join, and looking costs beacons.
        let shares = !place.free();
        let follow = joined.filter(|f| shares && place != Place::Same && adapter.may_start_on(*f));
        let frequency = follow.or_else(|| default_frequency(&adapter)).ok_or(Error::Refused(
            "an access point: the rules of the radio leave no channel for one",
        ))?;
        if shares && follow.is_none() {
            if let Some(station) = &mut self.station {
                station.paused = true;
                client.to(&station.interface, Ask::DisableAll).await?;
            }
        }
        let interface = match place {
            Place::Beside { .. } => {
                let name = self.options.setup_interface.clone();
                if !self.create_interface(&adapter, &name).await {
                    return Ok(()); // another place, at the next look
                }
                name
            }
            Place::Other | Place::Same => adapter.interface.clone(),
        };
        if place != Place::Same {
            let driver = self.options.driver;
            match client.to(&interface, Ask::Ping).await {
                Err(Error::NoInterface) => {
                    let add = Command::InterfaceAdd { interface: interface.clone(), driver };
                    client.ask(&add).await?;
                }
                other => drop(other?),
            }
            client.to(&interface, Ask::RemoveAll).await?;
        }
        let entry = Entry::new(&model::WifiNetwork {
            ssid: wanted.ssid,
            passphrase: wanted.passphrase,
            hidden: false,
        });
        let id = client.add_network(&interface).await?;
        self.setup = Some(Point {
            interface: interface.clone(),
            place,
            frequency,
            id,
            up: false,
            stations: 0,
            restarting: false,
            until: now + OPENING,
        });
        for field in station::access_point(&entry, frequency) {
            client.to(&interface, Ask::Set(id, field)).await?;
        }
        client.to(&interface, Ask::ApScan(2)).await?;
        client.to(&interface, Ask::Select(id)).await?;
        Ok(())
    }

    /// False when the driver cannot after all.
    async fn create_interface(&mut self, adapter: &Adapter, name: &str) -> bool {
        let (radios, name) = (self.options.radios.clone(), name.to_owned());
        let adapter = adapter.clone();
        let created = tokio::task::spawn_blocking(move || {
            radios.remove(&name)?;
            radios.create_ap(&adapter, &name)
        });
        match created.await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!("no second interface beside the station's: {error}");
                self.no_second_interface = true;
                false
            }
            Err(_) => false, // the runtime is going down
        }
    }

    async fn setup_failed(&mut self, why: &str, now: Instant) -> Result<(), Error> {
        self.close_setup().await?;
        self.setup_due = Some(now + AGAIN);
        tracing::warn!("the setup access point: {why}");
        self.setup_problem = Some(format!("{why}; it is tried again in half a minute"));
        self.resume().await
    }

    /// Takes it down. The station stays as it is.
    pub(super) async fn close_setup(&mut self) -> Result<(), Error> {
        let Some(point) = self.setup.take() else { return Ok(()) };
        if point.up {
            self.options.ports.setup_net(&point.interface, false);
        }
        let client = self.client()?;
        match point.place {
            Place::Same => {
                client.to(&point.interface, Ask::Remove(point.id)).await?;
                client.to(&point.interface, Ask::ApScan(1)).await?;
            }
            Place::Other | Place::Beside { .. } => {
                let interface = point.interface.clone();
                match client.ask(&Command::InterfaceRemove { interface }).await {
                    Ok(_) | Err(Error::Refused(_) | Error::NoInterface) => {}
                    Err(error) => return Err(error),
                }
                if point.place != Place::Other {
                    self.remove_interface(point.interface).await;
                }
            }
        }
        Ok(())
    }

    /// What a run before this one may have left.
    pub(super) async fn clear_setup(&mut self) -> Result<(), Error> {
        let interface = self.options.setup_interface.clone();
        let client = self.client()?;
        match client.ask(&Command::InterfaceRemove { interface: interface.clone() }).await {
            Ok(_) | Err(Error::Refused(_) | Error::NoInterface) => {}
            Err(error) => return Err(error),
        }
        self.remove_interface(interface).await;
        Ok(())
    }

    async fn remove_interface(&self, name: String) {
        let radios = self.options.radios.clone();
        let removed = tokio::task::spawn_blocking(move || radios.remove(&name)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!("the access point's interface could not be removed: {error}");
        }
    }

    pub(super) async fn setup_event(&mut self, event: &Event, now: Instant) -> Result<(), Error> {
        let Some(point) = &mut self.setup else { return Ok(()) };
        match event {
            Event::ApEnabled if !point.up => {
                point.up = true;
                self.setup_problem = None;
                self.options.ports.setup_net(&point.interface, true);
                tracing::info!("the setup access point is up on {} MHz", point.frequency);
                self.plan_retry(now);
                Ok(())
            }
            Event::ApEnabled => {
                point.restarting = false;
                self.trial_input(&Input::Moved, now).await
            }
            Event::ApDisabled if point.up && !point.restarting => {
                self.setup_failed("it stopped", now).await
            }
            Event::ChannelSwitched { frequency } => {
                point.frequency = *frequency;
                self.trial_input(&Input::Moved, now).await
            }
            Event::StationConnected | Event::StationDisconnected => {
                let client = self.client()?;
                let Some(point) = &mut self.setup else { return Ok(()) };
                point.stations = client.stations(&point.interface).await?;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes the phones along to another channel.
    pub(super) async fn move_setup(&mut self, frequency: u32, now: Instant) -> Result<(), Error> {
        let client = self.client()?;
        // brcmfmac has no such command: its firmware moves the access point when the station
        // joins.
        let by_itself = self.adapter().is_some_and(|a| !a.channel_switch);
        let Some(point) = &mut self.setup else { return Ok(()) };
        if by_itself {
            point.frequency = frequency;
            return Box::pin(self.trial_input(&Input::Moved, now)).await;
        }
        match client.to(&point.interface, Ask::ChannelSwitch { frequency }).await {
            Ok(_) => {
                point.frequency = frequency;
                Ok(())
            }
            Err(Error::Refused(_)) => {
                // Stopped and started: phones come back by themselves.
                let (interface, id) = (point.interface.clone(), point.id);
                point.frequency = frequency;
                point.restarting = true;
                point.until = now + OPENING;
                client.to(&interface, Ask::Disable(id)).await?;
                client.to(&interface, Ask::Set(id, Field::Frequency(frequency))).await?;
                client.to(&interface, Ask::Select(id)).await?;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Channel 6, or the first of 2.4 GHz on which an access point may be.
fn default_frequency(adapter: &Adapter) -> Option<u32> {
    if adapter.may_start_on(CHANNEL_6) {
        return Some(CHANNEL_6);
    }
    let mut usable = adapter.channels.iter().filter(|c| c.may_start).map(|c| c.frequency);
    usable.find(|f| *f < 2500)
}
