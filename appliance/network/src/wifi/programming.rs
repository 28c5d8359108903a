//! What wpa_supplicant is told of the station: its interface, the country, its networks.

use super::client::Client;
use super::command::{Ask, Command, Field};
use super::error::Error;
use super::reply::{self, Association};
use super::runner::{LOOK, Runner};
use super::setup::Place;
use super::station::{self, Entry};
use std::time::Instant;

/// The station's interface in wpa_supplicant's hands.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) interface: String,
    /// Another number is another radio, or the same one plugged in again.
    phy: u32,
    pub(super) country: Option<String>,
    /// Its networks, best first.
    pub(super) networks: Vec<(u32, Entry)>,
    /// They are switched off while the access point has the radio, or one of them is tried.
    pub(super) paused: bool,
    pub(super) association: Association,
    pub(super) signal: Option<i32>,
}

impl Runner {
    /// Has wpa_supplicant take the station's interface; false when there is none.
    pub(super) async fn take_station(&mut self) -> Result<bool, Error> {
        let client = self.client()?;
        let Some((interface, phy)) = self.adapter().map(|a| (a.interface.clone(), a.phy)) else {
            return Ok(false);
        };
        let replaced = |s: &mut Station| s.interface != interface || s.phy != phy;
        if let Some(station) = self.station.take_if(replaced) {
            self.close_setup().await?;
            let remove = Command::InterfaceRemove { interface: station.interface };
            let _ = client.ask(&remove).await; // may be gone already
            self.scanning = None;
        }
        if self.station.is_none() {
            match client.to(&interface, Ask::Ping).await {
                Err(Error::NoInterface) => {
                    let driver = self.options.driver;
                    let add = Command::InterfaceAdd { interface: interface.clone(), driver };
                    client.ask(&add).await?;
                }
                other => drop(other?),
            }
            let _ = client.to(&interface, Ask::SaeBothWays).await; // older ones cannot
            self.station = Some(Station {
                interface,
                phy,
                country: None,
                networks: Vec::new(),
                paused: false,
                association: Association::default(),
                signal: None,
            });
            self.dirty = true;
            self.poll_due = Instant::now();
        }
        Ok(true)
    }

    pub(super) async fn set_country(&mut self) -> Result<(), Error> {
        let wanted = self.country();
        let client = self.client()?;
        let Some(station) = &mut self.station else { return Ok(()) };
        if station.country != wanted {
            // 00 is the world: what is allowed everywhere.
            let code = wanted.clone().unwrap_or_else(|| "00".to_owned());
            let set = client.to(&station.interface, Ask::Country(code)).await;
            station.country = wanted;
            if let Err(error @ Error::Gone(_)) = set {
                return Err(error);
            }
            self.ask_radios().await;
        }
        Ok(())
    }

    /// The networks of the settings.
    pub(super) async fn program(&mut self) -> Result<(), Error> {
        let wanted = self.wanted();
        // What the settings have now needs no remembering.
        let snapshot = self.snapshot();
        if let Some(tried) = &self.tried {
            let networks = &snapshot.settings.wifi.networks;
            if networks.iter().any(|n| n.ssid == tried.ssid) {
                self.tried = None;
                self.tried_country = None;
            }
        }
        let client = self.client()?;
        let own = self.setup.as_ref().filter(|p| p.place == Place::Same).map(|p| p.id);
        let Some(station) = &mut self.station else { return Ok(()) };
        let interface = station.interface.clone();
        let mut existing = Vec::new();
        for id in reply::networks(&client.to(&interface, Ask::Networks).await?) {
            let mark = match client.to(&interface, Ask::MarkOf(id)).await {
                Ok(mark) => mark.trim_end().trim_matches('"').to_owned(),
                Err(Error::Refused(_)) => String::new(), // it has none
                Err(error) => return Err(error),
            };
            if Some(id) != own {
                existing.push((id, mark));
            }
        }
        let difference = station::difference(&wanted, &existing);
        for id in difference.remove {
            client.to(&interface, Ask::Remove(id)).await?;
        }
        station.networks.clear();
        let count = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        for ((entry, id), rank) in wanted.into_iter().zip(difference.ids).zip(0..count) {
            let priority = count - rank;
            let id = match id {
                Some(id) => id,
                None => match add(&client, &interface, &entry).await {
                    Ok(id) => id,
                    Err(error @ (Error::Gone(_) | Error::NoInterface)) => return Err(error),
                    Err(error) => {
                        tracing::warn!("the network {} is left out: {error}", entry.network.ssid);
                        continue;
                    }
                },
            };
            let priority = Field::Priority(priority);
            client.to(&interface, Ask::Set(id, priority)).await?;
            station.networks.push((id, entry));
        }
        self.dirty = false;
        let paused = station.paused;
        if !paused {
            self.resume().await?;
        }
        Ok(())
    }

    /// Lets the station join what it likes best.
    pub(super) async fn resume(&mut self) -> Result<(), Error> {
        let client = self.client()?;
        let Some(station) = &mut self.station else { return Ok(()) };
        station.paused = false;
        let interface = station.interface.clone();
        for (id, _) in &station.networks {
            let anywhere = Field::OnlyOn(None);
            client.to(&interface, Ask::Set(*id, anywhere)).await?;
            client.to(&interface, Ask::Enable(*id)).await?;
        }
        Ok(())
    }

    pub(super) fn poll_due_now(&mut self) {
        self.poll_due = Instant::now();
    }

    /// How the station is doing.
    pub(super) async fn poll(&mut self, now: Instant) -> Result<(), Error> {
        if now < self.poll_due {
            return Ok(());
        }
        self.poll_due = now + LOOK;
        let client = self.client()?;
        if let Some(station) = &mut self.station {
            let text = client.to(&station.interface, Ask::Status).await?;
            station.association = reply::association(&text);
            station.signal = None;
            if station.association.completed && !station.association.access_point {
                match client.to(&station.interface, Ask::Signal).await {
                    Ok(text) => station.signal = reply::signal(&text),
                    Err(Error::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        if let Some(point) = self.setup.as_mut().filter(|p| p.up) {
            point.stations = client.stations(&point.interface).await?;
        }
        Ok(())
    }
}

/// Adds a network, not enabled yet.
pub(super) async fn add(client: &Client, interface: &str, entry: &Entry) -> Result<u32, Error> {
    let id = client.add_network(interface).await?;
    for field in station::fields(entry) {
        if let Err(error) = client.to(interface, Ask::Set(id, field)).await {
            let _ = client.to(interface, Ask::Remove(id)).await; // half a network is none
            return Err(error);
        }
    }
    Ok(id)
}
