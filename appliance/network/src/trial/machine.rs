//! One interface's change, from the moment the settings have it until it holds or is taken back,
//! as a state machine. Pure.

use crate::neighbours::watch::Presence;
use crate::trial::record::Record;
use crate::trial::way::Way;
use model::Cidr;
use model::status::{NetworkTrial, TrialState};
use std::net::Ipv4Addr;
use std::time::Duration;

/// A carrier that was there so long ago counts: a radio may be roaming this moment.
const CARRIER: Duration = Duration::from_secs(60);
/// When the settings could not be taken back, it is tried again after this.
const AGAIN: Duration = Duration::from_secs(15);

/// How things are on the interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) carrier: bool,
    /// Interfaces without an address in the settings ask a DHCP server for one.
    pub(crate) dhcp: bool,
    /// Addresses the interface has.
    pub(crate) present: Vec<Cidr>,
    /// The router in use with an address that was lent.
    pub(crate) lent_router: Option<Ipv4Addr>,
    /// The address a DHCP server has lent.
    pub(crate) lease: Option<Cidr>,
    /// Who else has the static address that is tried.
    pub(crate) taken: Option<[u8; 6]>,
    /// The router before the change, and the one after it.
    pub(crate) old_router: Option<Presence>,
    pub(crate) new_router: Option<Presence>,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    /// Another look: what the settings say (None: they no longer have this node), and how things
    /// are.
    Look(Option<&'a Way>, &'a Facts),
    /// Another node has connected to the address that is tried.
    Reached(&'a str),
    /// The operator came through the address that is tried and says that it may stay.
    Keep,
    /// What the settings say is right because whoever wrote them says so, at the board itself.
    Vouched(&'a Way),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// [`Trial::record`] is to be stored before anything is applied.
    Remember,
    /// The settings are to be given what [`Trial::in_force`] says, because of this.
    TakeBack { why: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// The settings say what was confirmed.
    Calm,
    Trying {
        wanted: Way,
        until: Duration,
        reached: Option<String>,
        kept: bool,
        facts: Facts,
    },
    /// The settings still say it.
    Back {
        wanted: Way,
        why: String,
        again: Duration,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Trial {
    interface: String,
    within: Duration,
    confirmed: Way,
    state: State,
    /// The carrier was last seen then.
    carrier: Option<Duration>,
    /// What came of the last one.
    last: Option<NetworkTrial>,
}

impl Trial {
    /// `record` is what was remembered; None: nothing ever was, and what the settings say is
    /// taken for confirmed.
    pub(crate) fn new(
        interface: &str,
        within: Duration,
        record: Option<Record>,
        settings: &Way,
        now: Duration,
    ) -> (Self, Vec<Output>) {
        let confirmed = record.map_or(*settings, |record| record.confirmed);
        let mut trial = Self {
            interface: interface.to_owned(),
            within,
            confirmed,
            state: State::Calm,
            carrier: None,
            last: None,
        };
        let mut out = Vec::new();
        match record.and_then(|record| record.trying) {
            Some(tried) if tried.same(settings) && !tried.same(&confirmed) => {
                let why = "this board stopped before anybody had confirmed it".to_owned();
                out = trial.back(tried, why, now);
            }
            Some(_) => out.push(Output::Remember),
            None if record.is_none() => out.push(Output::Remember),
            None => {}
        }
        (trial, out)
    }

    /// What is to be stored.
    pub(crate) fn record(&self) -> Record {
        let trying = match &self.state {
            State::Calm => None,
            State::Trying { wanted, .. } | State::Back { wanted, .. } => Some(*wanted),
        };
        Record { confirmed: self.confirmed, trying }
    }

    /// What is used: what was confirmed last.
    pub(crate) const fn in_force(&self) -> &Way {
        &self.confirmed
    }

    /// What is applied beside it.
    pub(crate) fn beside(&self) -> Option<&Way> {
        match &self.state {
            State::Trying { wanted, .. } => Some(wanted),
            State::Calm | State::Back { .. } => None,
        }
    }

    /// The address that has to be reached, once there is one.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        let State::Trying { wanted, facts, .. } = &self.state else { return None };
        let address = match wanted.address {
            Some(address) => Some(address),
            None if facts.dhcp => facts.lease,
            // It is left as it is found: one that it has beside the one that goes.
            None => facts.present.iter().copied().find(|a| Some(*a) != self.confirmed.address),
        };
        address.filter(|a| facts.present.contains(a)).map(Cidr::addr)
    }

    /// Nobody has got through yet.
    pub(crate) fn wants_witness(&self) -> bool {
        matches!(&self.state, State::Trying { reached: None, kept: false, .. })
    }

    /// When to come back with a look.
    pub(crate) fn due(&self) -> Option<Duration> {
        match &self.state {
            State::Calm => None,
            State::Trying { until, .. } => Some(*until),
            State::Back { again, .. } => Some(*again),
        }
    }

    pub(crate) fn handle(&mut self, input: Input<'_>, now: Duration) -> Vec<Output> {
        let mut out = match input {
            Input::Look(settings, facts) => self.look(settings, facts, now),
            Input::Reached(by) => {
                if let State::Trying { reached, .. } = &mut self.state {
                    reached.get_or_insert_with(|| by.to_owned());
                }
                Vec::new()
            }
            Input::Keep => {
                if let State::Trying { kept, .. } = &mut self.state {
                    *kept = true;
                }
                Vec::new()
            }
            Input::Vouched(way) => return self.take(way),
        };
        out.extend(self.judge(now));
        out
    }

    fn look(&mut self, settings: Option<&Way>, facts: &Facts, now: Duration) -> Vec<Output> {
        if facts.carrier {
            self.carrier = Some(now);
        }
        // A node that was taken out of the settings on purpose has nothing left to be given back.
        let Some(settings) = settings else { return self.take(&Way::default()) };
        if settings.same(&self.confirmed) {
            return self.take(settings);
        }
        let harmless = self.harmless(settings, facts, now);
        match &mut self.state {
            State::Trying { wanted, facts: held, .. } if wanted.same(settings) => {
                *wanted = *settings;
                held.clone_from(facts);
                Vec::new()
            }
            State::Back { wanted, .. } if wanted.same(settings) => Vec::new(),
            _ if harmless => self.take(settings),
            _ => {
                self.state = State::Trying {
                    wanted: *settings,
                    until: now + self.within,
                    reached: None,
                    kept: false,
                    facts: facts.clone(),
                };
                vec![Output::Remember]
            }
        }
    }

    /// Nobody can be locked out by it.
    fn harmless(&self, settings: &Way, facts: &Facts, now: Duration) -> bool {
        // Nobody comes this way: no cable, no network, no such interface.
        let unused = self.carrier.is_none_or(|seen| now.saturating_sub(seen) >= CARRIER);
        // The interface was left as it was found, and what it had then stays.
        let foreign = self.confirmed.address.is_none() && !facts.dhcp;
        // The address that was lent is written down.
        let written = self.confirmed.address.is_none()
            && settings.address.is_some_and(|a| facts.present.contains(&a))
            && settings.router() == facts.lent_router;
        // No address was ever lent.
        let bare = self.confirmed.address.is_none() && facts.present.is_empty();
        unused || foreign || written || bare
    }

    /// It is confirmed.
    fn take(&mut self, settings: &Way) -> Vec<Output> {
        let before = self.record();
        self.confirmed = *settings;
        self.state = State::Calm;
        if self.record() == before { Vec::new() } else { vec![Output::Remember] }
    }

    fn back(&mut self, wanted: Way, why: String, now: Duration) -> Vec<Output> {
        self.last = Some(NetworkTrial {
            from: self.confirmed.to_string(),
            to: wanted.to_string(),
            address: None,
            state: TrialState::TakenBack { why: why.clone() },
        });
        self.state = State::Back { wanted, why: why.clone(), again: now + AGAIN };
        vec![Output::TakeBack { why }]
    }

    fn judge(&mut self, now: Duration) -> Vec<Output> {
        match self.state.clone() {
            State::Calm => Vec::new(),
            State::Back { wanted, why, again } => {
                if now < again {
                    return Vec::new();
                }
                self.state = State::Back { wanted, why: why.clone(), again: now + AGAIN };
                vec![Output::TakeBack { why }]
            }
            State::Trying { wanted, until, reached, kept, facts } => {
                if let (Some(mac), Some(address)) = (facts.taken, wanted.address) {
                    let why = format!(
                        "{} is the address of another device ({})",
                        address.addr(),
                        words(mac)
                    );
                    return self.back(wanted, why, now);
                }
                let by = if kept { Some("the operator".to_owned()) } else { reached };
                if let (Some(by), true) = (by, self.router_is_fine(&wanted, &facts)) {
                    self.last = Some(NetworkTrial {
                        from: self.confirmed.to_string(),
                        to: wanted.to_string(),
                        address: self.address(),
                        state: TrialState::Kept { by },
                    });
                    return self.take(&wanted);
                }
                if now < until {
                    return Vec::new();
                }
                let why = self.why_not(&wanted, &facts);
                self.back(wanted, why, now)
            }
        }
    }

    fn router_is_fine(&self, wanted: &Way, facts: &Facts) -> bool {
        let Some(router) = wanted.router() else { return true };
        self.confirmed.router() == Some(router)
            || facts.new_router == Some(Presence::There)
            // With the one before silent as well, silence says nothing. Without one before there
            // is no measure, and a router that is silent is none.
            || (facts.old_router == Some(Presence::Silent)
                && facts.new_router == Some(Presence::Silent))
    }

    fn why_not(&self, wanted: &Way, facts: &Facts) -> String {
        let (name, seconds) = (&self.interface, self.within.as_secs());
        if !self.router_is_fine(wanted, facts) {
            let router = wanted.router().map(|r| r.to_string()).unwrap_or_default();
            return format!("the router {router} did not answer within {seconds} s");
        }
        if !facts.carrier {
            return format!("{name} lost its link meanwhile");
        }
        match (wanted.address, self.address()) {
            (None, None) if facts.dhcp => {
                format!("no DHCP server gave {name} an address within {seconds} s")
            }
            (Some(_), None) => format!("the address could not be set on {name}"),
            (_, Some(address)) => format!(
                "no other board reached it at {address} within {seconds} s, and nobody opened the \
                 page there to keep it"
            ),
            (None, None) => format!("nobody reached it through {name} within {seconds} s"),
        }
    }

    /// For the page.
    pub(crate) fn status(&self, now: Duration) -> Option<NetworkTrial> {
        let State::Trying { wanted, until, reached, kept, facts } = &self.state else {
            return self.last.clone();
        };
        let seconds = until.saturating_sub(now).as_secs();
        let fine = self.router_is_fine(wanted, facts);
        let waits_for = match (wanted.router(), self.address()) {
            (Some(router), _) if !fine && (reached.is_some() || *kept) => {
                format!("the router {router} has not answered yet")
            }
            (_, None) if wanted.address.is_none() => "no DHCP server has answered yet".to_owned(),
            (_, None) => "it is found out whether another device has this address".to_owned(),
            (_, Some(address)) => format!(
                "another board has to reach {address}, or open the page there and keep the change"
            ),
        };
        let operator = kept.then(|| "the operator".to_owned());
        Some(NetworkTrial {
            from: self.confirmed.to_string(),
            to: wanted.to_string(),
            address: self.address(),
            state: TrialState::Trying {
                seconds_left: u32::try_from(seconds).unwrap_or(u32::MAX),
                reached_by: operator.or_else(|| reached.clone()),
                waits_for,
            },
        })
    }
}

/// A hardware address as it is printed on a device.
pub(crate) fn words(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
