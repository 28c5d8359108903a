//! The client of one interface (RFC 2131 4.4), as a state machine. Pure: messages, the carrier
//! and the time go in, messages come out, and [`Client::lease`] says what may be used.

use crate::arp::Arp;
use crate::chance::Chance;
use crate::dhcp::lease::Lease;
use crate::dhcp::message::{Kind, Message, WANTED, is_host};
use std::net::Ipv4Addr;
use std::time::Duration;

/// The first pause before a question is repeated; doubled each time, up to [`LONGEST`]. RFC 2131
/// 4.1 proposes 4 s: the first question after a cable was plugged in is often lost, because the
/// switch is still learning, and somebody stands there and waits.
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(64);
/// Pauses vary by so much, so that boards that get power at once do not ask in step.
const JITTER: Duration = Duration::from_millis(500);
/// An offer is asked for so often before it is forgotten.
const REQUESTS: u32 = 4;
/// And an address from before so often.
const REBOOTS: u32 = 2;
/// Before an address is used: has anybody got it? RFC 5227 2.1.1 takes 4 to 7 s for this; a
/// server has usually looked already, and neighbours answer within milliseconds.
const PROBES: u32 = 3;
const PROBE_PAUSE: Duration = Duration::from_millis(200);
/// RFC 2131 3.1.5: after an address turned out to be taken.
const AFTER_DECLINE: Duration = Duration::from_secs(10);
/// RFC 2131 4.4.5: no more often than this while a lease runs out.
const RENEW_PAUSE: Duration = Duration::from_secs(60);
/// RFC 5227 2.4(b), DEFEND_INTERVAL.
const DEFEND: Duration = Duration::from_secs(10);

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// To everybody, from this address.
    Broadcast(Message),
    /// To this server, from the address of the lease.
    Unicast(Message, Ipv4Addr),
    /// An ARP packet to everybody.
    Arp(Arp),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// No carrier.
    Off,
    /// Looking for a server (SELECTING).
    Selecting,
    /// Asked for an offer (REQUESTING).
    Requesting {
        server: Ipv4Addr,
        address: Ipv4Addr,
    },
    /// Asked for an address from before (REBOOTING).
    Rebooting {
        address: Ipv4Addr,
    },
    /// Granted; is it free?
    Probing(Lease),
    /// After somebody else had the address.
    Waiting,
    Bound,
    Renewing,
    Rebinding,
}

/// One interface's client.
#[derive(Debug)]
pub(crate) struct Client {
    mac: [u8; 6],
    host_name: Option<String>,
    chance: Chance,
    state: State,
    /// In use.
    lease: Option<Lease>,
    /// The last address that was lent, asked for first.
    hint: Option<Ipv4Addr>,
    xid: u32,
    /// When this exchange began, and when its last question was sent.
    begun: Duration,
    asked: Duration,
    tries: u32,
    /// Refusals in a row.
    naks: u32,
    /// The router of the lease in use answered while the cable was being judged.
    router_there: bool,
    defended: Option<Duration>,
    due: Option<Duration>,
}

impl Client {
    /// `held` is in use already, `hint` was lent some time ago.
    pub(crate) const fn new(
        mac: [u8; 6],
        held: Option<Lease>,
        hint: Option<Ipv4Addr>,
        chance: Chance,
    ) -> Self {
        Self {
            mac,
            host_name: None,
            chance,
            state: State::Off,
            lease: held,
            hint,
            xid: 0,
            begun: Duration::ZERO,
            asked: Duration::ZERO,
            tries: 0,
            naks: 0,
            router_there: false,
            defended: None,
            due: None,
        }
    }

    /// What may be used at this moment.
    pub(crate) const fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// When [`Self::tick`] has something to do.
    pub(crate) fn due(&self) -> Option<Duration> {
        let over = self.lease.as_ref().and_then(|l| l.over);
        [self.due, over].into_iter().flatten().min()
    }

    /// Asking since then without having an address.
    pub(crate) fn asking_since(&self) -> Option<Duration> {
        (self.lease.is_none() && self.state != State::Off).then_some(self.begun)
    }

    /// The name servers know this board by from the next question on.
    pub(crate) fn set_host_name(&mut self, name: Option<String>) {
        self.host_name = name;
    }

    /// Addresses whose ARP packets are of interest.
    pub(crate) fn watched(&self) -> Vec<Ipv4Addr> {
        let pending = match &self.state {
            State::Probing(lease) => Some(lease.address.addr()),
            _ => None,
        };
        let held = self.lease.as_ref();
        let neighbour = held.filter(|_| matches!(self.state, State::Rebooting { .. }));
        let neighbour = neighbour.map(|l| l.router.unwrap_or(l.server));
        pending.into_iter().chain(held.map(|l| l.address.addr())).chain(neighbour).collect()
    }

    /// The cable was plugged in or pulled, or the radio joined or left a network.
    pub(crate) fn carrier(&mut self, on: bool, now: Duration) -> Vec<Output> {
        match (on, self.state == State::Off) {
            (false, false) => {
                // The address stays: the routes through the interface are dead without a carrier,
                // and connections survive when it is back.
                self.state = State::Off;
                self.due = None;
                Vec::new()
            }
            (true, true) => {
                self.begin(now);
                let held = self.lease.as_ref().map(|l| l.address.addr());
                match held.or(self.hint) {
                    Some(address) => self.state = State::Rebooting { address },
                    None => self.state = State::Selecting,
                }
                // RFC 2131 4.4.1 waits for 1 to 10 s here; see FIRST.
                self.due = Some(now + self.chance.between(Duration::ZERO, JITTER / 2));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn begin(&mut self, now: Duration) {
        self.xid = self.chance.number();
        self.begun = now;
        self.tries = 0;
        self.router_there = false;
    }

    /// Looks for a server, from the start.
    fn search(&mut self, now: Duration, pause: Duration) {
        // The wait for an address counts from when it was lost, not from the last attempt.
        let begun = self.asking_since().unwrap_or(now);
        self.begin(now);
        self.begun = begun;
        self.state = State::Selecting;
        self.due = Some(now + pause);
    }

    fn lose(&mut self) {
        self.lease = None;
        self.hint = None;
        self.defended = None;
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Duration) -> Vec<Output> {
        let expired = self.lease.as_ref().and_then(|l| l.over).is_some_and(|over| over <= now);
        if expired {
            // RFC 2131 4.4.5: it must not be used any longer. The server may well give it again.
            let hint = self.lease.take().map(|l| l.address.addr());
            self.defended = None;
            self.hint = hint;
            if self.state != State::Off {
                self.begun = now;
                self.search(now, Duration::ZERO);
            }
        }
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let mut out = Vec::new();
        match self.state.clone() {
            State::Off => self.due = None,
            State::Selecting => {
                let discover =
                    Message { requested: self.hint, ..self.question(Kind::Discover, now) };
                out.push(Output::Broadcast(discover));
                self.again(now);
            }
            State::Requesting { server, address } => {
                if self.tries >= REQUESTS {
                    self.search(now, Duration::ZERO);
                    return self.tick(now);
                }
                let ask = self.question(Kind::Request, now);
                let ask = Message { server: Some(server), requested: Some(address), ..ask };
                out.push(Output::Broadcast(ask));
                self.again(now);
            }
            State::Rebooting { address } => {
                if self.tries >= REBOOTS {
                    return self.no_answer(now);
                }
                let ask = Message { requested: Some(address), ..self.question(Kind::Request, now) };
                out.push(Output::Broadcast(ask));
                if let Some(lease) = &self.lease {
                    let neighbour = lease.router.unwrap_or(lease.server);
                    let ask =
                        Arp { reply: false, mac: self.mac, sender: address, target: neighbour };
                    out.push(Output::Arp(ask));
                }
                self.again(now);
            }
            State::Probing(lease) => {
                if self.tries >= PROBES {
                    self.bind(lease);
                } else {
                    out.push(Output::Arp(Arp::probe(self.mac, lease.address.addr())));
                    self.tries += 1;
                    self.due = Some(now + PROBE_PAUSE);
                }
            }
            State::Waiting => {
                self.search(now, Duration::ZERO);
                return self.tick(now);
            }
            State::Bound | State::Renewing | State::Rebinding => self.extend(now, &mut out),
        }
        out
    }

    /// Nobody knows of the address from before. With the same router still there the lease is
    /// good for the rest of its time (RFC 2131 3.2.4, RFC 4436 4); otherwise this is another
    /// network, or none.
    fn no_answer(&mut self, now: Duration) -> Vec<Output> {
        if self.router_there && self.lease.is_some() {
            self.state = State::Bound;
            self.due = Some(now);
        } else {
            self.lease = None;
            self.search(now, Duration::ZERO);
        }
        self.tick(now)
    }

    /// Asks for more time as a lease runs out.
    fn extend(&mut self, now: Duration, out: &mut Vec<Output>) {
        let Some(lease) = self.lease.clone() else {
            return self.search(now, Duration::ZERO);
        };
        let (Some(renew), Some(rebind), Some(over)) = (lease.renew, lease.rebind, lease.over)
        else {
            self.state = State::Bound;
            self.due = None; // lent for ever
            return;
        };
        if now < renew {
            self.state = State::Bound;
            self.due = Some(renew);
            return;
        }
        if self.state == State::Bound {
            self.begin(now);
        }
        let ask = Message { ciaddr: lease.address.addr(), ..self.question(Kind::Request, now) };
        let until = if now < rebind {
            self.state = State::Renewing;
            out.push(Output::Unicast(ask, lease.server));
            rebind
        } else {
            self.state = State::Rebinding;
            out.push(Output::Broadcast(ask));
            over
        };
        // RFC 2131 4.4.5: half of the time that is left, at least 60 s; with a short lease that
        // would be never again.
        let left = until.saturating_sub(now);
        let granted = Duration::from_secs(lease.seconds.unwrap_or_default().into());
        let least = RENEW_PAUSE.min(granted / 16).max(Duration::from_secs(1));
        self.due = Some((now + (left / 2).max(least)).min(until));
    }

    fn question(&mut self, kind: Kind, now: Duration) -> Message {
        self.asked = now;
        let waited = now.saturating_sub(self.begun).as_secs();
        Message {
            secs: u16::try_from(waited).unwrap_or(u16::MAX),
            client_id: Some([&[1], &self.mac[..]].concat()),
            host_name: self.host_name.clone(),
            wanted: WANTED.to_vec(),
            maximum: Some(1500),
            ..Message::new(kind, self.xid, self.mac)
        }
    }

    /// Sets the pause after a question.
    fn again(&mut self, now: Duration) {
        let pause = FIRST.saturating_mul(1_u32.checked_shl(self.tries).unwrap_or(u32::MAX));
        let pause = pause.min(LONGEST);
        self.tries = (self.tries + 1).min(16);
        self.due = Some(now + self.chance.between(pause - JITTER, pause + JITTER));
    }

    /// A server's message. Those for others, and those that were not asked for, change nothing.
    pub(crate) fn message(&mut self, message: &Message, now: Duration) -> Vec<Output> {
        if message.xid != self.xid || message.mac != self.mac {
            return Vec::new();
        }
        match (message.kind, self.state.clone()) {
            (Kind::Offer, State::Selecting) => {
                // An offer without what an acknowledgement must have is of no use.
                let server = message.server.filter(|_| Lease::of(message, now).is_some());
                if let Some(server) = server {
                    self.state = State::Requesting { server, address: message.yiaddr };
                    self.tries = 0;
                    self.due = Some(now);
                }
            }
            (Kind::Ack, State::Requesting { server, .. }) if message.server == Some(server) => {
                self.granted(message, now);
            }
            (Kind::Ack, State::Rebooting { address }) if message.yiaddr == address => {
                self.granted(message, now);
            }
            (Kind::Ack, State::Renewing | State::Rebinding) => self.granted(message, now),
            (Kind::Nak, State::Requesting { server, .. }) if message.server == Some(server) => {
                self.refused(now);
            }
            (Kind::Nak, State::Rebooting { .. } | State::Rebinding) => self.refused(now),
            (Kind::Nak, State::Renewing)
                if message.server == self.lease.as_ref().map(|l| l.server) =>
            {
                self.refused(now);
            }
            _ => return Vec::new(),
        }
        self.tick(now)
    }

    fn granted(&mut self, ack: &Message, now: Duration) {
        let Some(mut lease) = Lease::of(ack, self.asked) else {
            return;
        };
        self.naks = 0;
        let before = self.lease.as_ref().filter(|l| l.address == lease.address);
        if before.is_some() && !matches!(self.state, State::Rebooting { .. }) {
            // RFC 2131 4.3.2 lets a renewal leave out what has not changed.
            if let Some(before) = before {
                if ack.dns.is_empty() {
                    lease.dns.clone_from(&before.dns);
                }
                if ack.routers.is_empty() {
                    lease.router = before.router;
                }
            }
            self.bind(lease);
        } else {
            self.state = State::Probing(lease);
            self.tries = 0;
            self.due = Some(now);
        }
    }

    fn bind(&mut self, lease: Lease) {
        self.due = lease.renew;
        self.hint = Some(lease.address.addr());
        self.lease = Some(lease);
        self.state = State::Bound;
    }

    /// RFC 2131 3.1.5, 3.2.4: the address must not be used. A server that refuses again and again
    /// is asked less and less often.
    fn refused(&mut self, now: Duration) {
        self.lose();
        self.naks = (self.naks + 1).min(7);
        let pause = Duration::from_millis(250).saturating_mul(1 << self.naks);
        self.search(now, if self.naks == 1 { Duration::ZERO } else { pause });
    }

    /// An ARP packet about one of the [`Self::watched`] addresses.
    pub(crate) fn arp(&mut self, arp: &Arp, now: Duration) -> Vec<Output> {
        if arp.mac == self.mac {
            return Vec::new(); // the own one, come back
        }
        let about = |address: Ipv4Addr| {
            // RFC 5227 2.1.1: its owner, or another who is about to use it.
            let probe = !arp.reply && arp.sender.is_unspecified() && arp.target == address;
            (arp.sender == address, probe)
        };
        if let State::Probing(lease) = &self.state {
            let (owner, rival) = about(lease.address.addr());
            if owner || rival {
                let lease = lease.clone();
                return self.decline(&lease, now);
            }
        }
        let Some(lease) = self.lease.clone() else {
            return Vec::new();
        };
        if arp.sender == lease.router.unwrap_or(lease.server) && is_host(arp.sender) {
            self.router_there = true;
        }
        let address = lease.address.addr();
        if !about(address).0 || self.state == State::Off {
            return Vec::new();
        }
        // RFC 5227 2.4(b): say once that it is ours; the second time within 10 s, give it up.
        match self.defended {
            Some(at) if now.saturating_sub(at) < DEFEND => self.decline(&lease, now),
            _ => {
                self.defended = Some(now);
                vec![Output::Arp(Arp::announcement(self.mac, address))]
            }
        }
    }

    fn decline(&mut self, lease: &Lease, now: Duration) -> Vec<Output> {
        let (address, server) = (lease.address.addr(), lease.server);
        self.lose();
        self.search(now, Duration::ZERO);
        let decline = self.question(Kind::Decline, now);
        self.state = State::Waiting;
        self.due = Some(now + AFTER_DECLINE);
        vec![Output::Broadcast(Message {
            requested: Some(address),
            server: Some(server),
            wanted: Vec::new(),
            maximum: None,
            host_name: None,
            ..decline
        })]
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
