//! Joining a Wi-Fi network from the page: what was asked for, and what is known of it.

use crate::app::{App, lock};
use crate::ports::Radio;
use model::status::{WifiStatus, WifiTrial, WifiVerdict};
use model::{Country, WifiNetwork};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A network that let the board in is news for so long.
const NEWS: Duration = Duration::from_secs(15 * 60);

/// The network that was last tried from this page.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    ssid: String,
    at: Instant,
    /// The trial the status showed before this one began.
    before: Option<WifiTrial>,
    /// What the radio answered, once it did.
    answer: Option<Result<(), String>>,
}

/// Where the last attempt stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// As the status says.
    Verdict(WifiTrial),
    /// It could not even be tried.
    Failed { ssid: String, why: String },
}

impl Stand {
    /// The network in question.
    pub(crate) fn ssid(&self) -> &str {
        match self {
            Self::Verdict(trial) => &trial.ssid,
            Self::Failed { ssid, .. } => ssid,
        }
    }
}

/// Tries to join; the status shows how far it is.
pub(crate) fn start(
    app: &App,
    radio: Arc<dyn Radio>,
    network: WifiNetwork,
    country: Option<Country>,
) {
    let before = app.ports.board.own().system.wifi.and_then(|w| w.trial);
    let ssid = network.ssid.to_string();
    *lock(&app.tried) =
        Some(Tried { ssid: ssid.clone(), at: Instant::now(), before, answer: None });
    app.ports.board.touch();
    let app = app.clone();
    tokio::spawn(async move {
        let answer = radio.join(network, country).await;
        if let Some(tried) = lock(&app.tried).as_mut().filter(|t| t.ssid == ssid) {
            tried.answer = Some(answer);
        }
        app.ports.board.touch();
    });
}

/// Where the last attempt stands; None when there was none.
pub(crate) fn stand(tried: Option<&Tried>, wifi: Option<&WifiStatus>) -> Option<Stand> {
    let news = tried.is_some_and(|t| t.at.elapsed() < NEWS);
    let old = |stand: &Stand| match stand {
        Stand::Verdict(trial) => matches!(trial.verdict, WifiVerdict::Connected { .. }) && !news,
        Stand::Failed { .. } => false,
    };
    latest(tried, wifi).filter(|stand| !old(stand))
}

fn latest(tried: Option<&Tried>, wifi: Option<&WifiStatus>) -> Option<Stand> {
    let shown = wifi.and_then(|w| w.trial.clone());
    let Some(tried) = tried else { return shown.map(Stand::Verdict) };
    let news = shown.clone().filter(|t| t.ssid == tried.ssid && shown != tried.before);
    match (&tried.answer, news) {
        (_, Some(trial)) if trial.verdict != WifiVerdict::Trying => Some(Stand::Verdict(trial)),
        (Some(Err(why)), _) => {
            Some(Stand::Failed { ssid: tried.ssid.clone(), why: crate::words::sentence(why) })
        }
        (None, _) => {
            let verdict = WifiVerdict::Trying;
            Some(Stand::Verdict(WifiTrial { ssid: tried.ssid.clone(), verdict }))
        }
        (Some(Ok(())), news) => news.or(shown).map(Stand::Verdict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(ssid: &str, verdict: WifiVerdict) -> WifiTrial {
        WifiTrial { ssid: ssid.to_owned(), verdict }
    }

    fn status(trial: Option<WifiTrial>) -> WifiStatus {
        WifiStatus { trial, ..WifiStatus::default() }
    }

    #[test]
    fn an_old_verdict_is_not_taken_for_the_new_one() {
        let old = trial("home", WifiVerdict::WrongPassphrase);
        let mut tried = Tried {
            ssid: "home".into(),
            at: Instant::now(),
            before: Some(old.clone()),
            answer: None,
        };
        let now = status(Some(old.clone()));
        let trying = Stand::Verdict(trial("home", WifiVerdict::Trying));
        assert_eq!(stand(Some(&tried), Some(&now)), Some(trying.clone()));
        let started = status(Some(trial("home", WifiVerdict::Trying)));
        assert_eq!(stand(Some(&tried), Some(&started)), Some(trying));
        // The same verdict once more: the answer says that it is a new one.
        tried.answer = Some(Ok(()));
        assert_eq!(stand(Some(&tried), Some(&now)), Some(Stand::Verdict(old)));
        let found = trial("home", WifiVerdict::NotFound);
        let now = status(Some(found.clone()));
        assert_eq!(stand(Some(&tried), Some(&now)), Some(Stand::Verdict(found)));
    }

    #[test]
    fn what_could_not_be_tried_is_said() {
        let at = Instant::now();
        let tried =
            Tried { ssid: "home".into(), at, before: None, answer: Some(Err("busy".into())) };
        let failed = Stand::Failed { ssid: "home".into(), why: "Busy.".into() };
        assert_eq!(stand(Some(&tried), None), Some(failed));
        let known = trial("home", WifiVerdict::NoAddress);
        let now = status(Some(known.clone()));
        assert_eq!(stand(Some(&tried), Some(&now)), Some(Stand::Verdict(known.clone())));
        assert_eq!(stand(None, Some(&now)), Some(Stand::Verdict(known)));
        assert_eq!(stand(None, None), None);
        let address = "192.168.1.77".parse().unwrap();
        let joined = status(Some(trial("home", WifiVerdict::Connected { address })));
        assert_eq!(stand(None, Some(&joined)), None, "long known");
        assert!(stand(Some(&tried), Some(&joined)).is_some());
    }
}
