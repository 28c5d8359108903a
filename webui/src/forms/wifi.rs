//! Wi-Fi: one network, and the country.

use super::{Field, Form, Head, Invalid};
use model::{Country, Edit, Secret, Settings, Wifi, WifiNetwork};

/// The form of one network. Its entry is the whole section: the order is part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct NetworkForm {
    pub(crate) head: Head,
    base: Option<Wifi>,
    /// The name it had; empty for a new one.
    pub(crate) was: String,
    pub(crate) ssid: Field,
    pub(crate) passphrase: Field,
    pub(crate) open: Field,
    pub(crate) hidden: Field,
    /// Only where a network is joined at once.
    pub(crate) country: Field,
}

impl NetworkForm {
    /// The form for a network the settings have; None when they do not.
    pub(crate) fn saved(wifi: &Wifi, ssid: &str, snapshot: &control::Snapshot) -> Option<Self> {
        wifi.networks.iter().find(|n| n.ssid.as_str() == ssid)?;
        let mut form = Self { was: ssid.to_owned(), ..Self::default() };
        form.fill(wifi);
        form.head.base = super::Base::of(snapshot);
        Some(form)
    }

    /// What was typed about one network, with the passphrase that is kept where none was typed.
    pub(crate) fn network(&mut self, old: Option<&WifiNetwork>) -> Option<WifiNetwork> {
        let ssid = self.ssid.read_as_typed();
        let kept = old.map(|n| n.passphrase.clone()).filter(|p| !p.is_empty());
        let passphrase = match (self.open.on(), self.passphrase.value.as_str(), kept) {
            (true, "", _) => Some(Secret::default()),
            (true, ..) => {
                self.open.refuse("there is a passphrase as well; take it out or untick this");
                None
            }
            (false, "", Some(kept)) => Some(kept),
            (false, "", None) => {
                self.passphrase.refuse("type the passphrase, or tick that there is none");
                None
            }
            (false, typed, _) => Some(Secret::new(typed)),
        };
        Some(WifiNetwork { ssid: ssid?, passphrase: passphrase?, hidden: self.hidden.on() })
    }

    /// What a join needs, if it would pass the check of the settings.
    pub(crate) fn wanted(&mut self, settings: &Settings) -> Option<(WifiNetwork, Option<Country>)> {
        let country = self.country.optional();
        let old = settings.wifi.networks.iter().find(|n| n.ssid.as_str() == self.ssid.value);
        let network = self.network(old)?;
        let country = country?;
        let wifi = Wifi { country: country.clone(), networks: vec![network.clone()] };
        let probe = Settings { wifi, ..Settings::default() };
        for problem in model::check(&probe) {
            if problem.path.starts_with("wifi") {
                self.blame(&problem.path, &problem.problem, &Settings::default());
            }
        }
        let good = self.fields().iter().all(|(_, f)| f.error.is_none());
        (good && self.head.top.is_empty()).then_some((network, country))
    }
}

impl Form for NetworkForm {
    type Part = Wifi;

    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        vec![
            ("ssid", &mut self.ssid),
            ("passphrase", &mut self.passphrase),
            ("open", &mut self.open),
            ("hidden", &mut self.hidden),
            ("country", &mut self.country),
        ]
    }

    fn fill(&mut self, wifi: &Wifi) {
        self.country.set_option(wifi.country.as_ref());
        if let Some(network) = wifi.networks.iter().find(|n| n.ssid.as_str() == self.was) {
            self.ssid.set(&network.ssid);
            self.open.set_on(network.passphrase.is_empty());
            self.hidden.set_on(network.hidden);
        }
    }

    fn part(&self, settings: &Settings) -> Option<Wifi> {
        Some(settings.wifi.clone())
    }

    fn place(&self, settings: &Settings) -> String {
        let networks = &settings.wifi.networks;
        let known = networks.iter().position(|n| n.ssid.as_str() == self.was);
        format!("wifi.networks[{}]", known.unwrap_or(networks.len()))
    }

    fn start_from(&mut self, part: Option<Wifi>) {
        self.base = part;
    }

    fn compare(&mut self, current: Option<&Wifi>) {
        let networks = current.map(|w| w.networks.as_slice()).unwrap_or_default();
        let was = &self.was;
        match networks.iter().find(|n| n.ssid.as_str() == was) {
            None if was.is_empty() => {}
            None => {
                let gone = "Somebody else removed this network meanwhile. Saving adds it again.";
                self.head.top.push(gone.to_owned());
            }
            Some(now) => {
                let hidden = if now.hidden { "on" } else { "" };
                if self.hidden.value != hidden {
                    let word = if now.hidden { "hidden" } else { "not hidden" };
                    self.hidden.now = Some(word.to_owned());
                }
            }
        }
    }
}

impl TryFrom<&mut NetworkForm> for Edit {
    type Error = Invalid;

    fn try_from(form: &mut NetworkForm) -> Result<Self, Invalid> {
        let mut wifi = form.base.clone().unwrap_or_default();
        let at = wifi.networks.iter().position(|n| n.ssid.as_str() == form.was);
        let old = at.and_then(|at| wifi.networks.get(at)).cloned();
        let network = form.network(old.as_ref()).ok_or(Invalid)?;
        match at.and_then(|at| wifi.networks.get_mut(at)) {
            Some(entry) => *entry = network,
            None => wifi.networks.push(network),
        }
        Ok(Self::PutWifi(wifi))
    }
}

/// The form of the country.
#[derive(Clone, Debug, Default)]
pub(crate) struct CountryForm {
    pub(crate) head: Head,
    base: Option<Wifi>,
    pub(crate) country: Field,
}

impl Form for CountryForm {
    type Part = Wifi;

    fn head(&mut self) -> &mut Head {
        &mut self.head
    }

    fn fields(&mut self) -> Vec<(&'static str, &mut Field)> {
        vec![("country", &mut self.country)]
    }

    fn fill(&mut self, wifi: &Wifi) {
        self.country.set_option(wifi.country.as_ref());
    }

    fn part(&self, settings: &Settings) -> Option<Wifi> {
        Some(settings.wifi.clone())
    }

    fn place(&self, _: &Settings) -> String {
        "wifi".to_owned()
    }

    fn start_from(&mut self, part: Option<Wifi>) {
        self.base = part;
    }
}

impl TryFrom<&mut CountryForm> for Edit {
    type Error = Invalid;

    fn try_from(form: &mut CountryForm) -> Result<Self, Invalid> {
        let mut wifi = form.base.clone().unwrap_or_default();
        wifi.country = form.country.optional().ok_or(Invalid)?;
        Ok(Self::PutWifi(wifi))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(ssid: &str, passphrase: &str, open: bool) -> NetworkForm {
        let mut form = NetworkForm::default();
        form.ssid.set(ssid);
        form.passphrase.set(passphrase);
        form.open.set_on(open);
        form
    }

    #[test]
    fn an_empty_passphrase_keeps_the_old_one() {
        let old = WifiNetwork {
            ssid: "home".parse().unwrap(),
            passphrase: Secret::new("old passphrase"),
            hidden: false,
        };
        let network = typed("home", "", false).network(Some(&old)).unwrap();
        assert_eq!(network.passphrase.reveal(), "old passphrase");
        let network = typed("home", "", true).network(Some(&old)).unwrap();
        assert!(network.passphrase.is_empty(), "said to be open");
        let mut both = typed("home", "x", true);
        assert!(both.network(Some(&old)).is_none() && both.open.error.is_some());
        let mut none = typed("home", "", false);
        assert!(none.network(None).is_none() && none.passphrase.error.is_some());
    }

    #[test]
    fn a_join_is_checked_first() {
        let settings = Settings::default();
        let mut short = typed("home", "short", false);
        assert!(short.wanted(&settings).is_none());
        assert!(short.passphrase.error.unwrap().contains("8 to 63"));
        let mut odd = typed("home", "long enough", false);
        odd.country.set("at");
        assert!(odd.wanted(&settings).is_none() && odd.country.error.is_some());
        let mut good = typed(" a name ", "long enough", false);
        good.country.set("AT");
        let (network, country) = good.wanted(&settings).unwrap();
        assert_eq!((network.ssid.as_str(), country.unwrap().as_str()), (" a name ", "AT"));
    }
}
