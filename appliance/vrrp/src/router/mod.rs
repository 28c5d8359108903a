//! The virtual router's state machine (RFC 9568 6.4, RFC 3768 6.4), without I/O and clock.
//!
//! [`Router::handle`] takes one [`Input`] and the time, and appends what is to be done, in the
//! order in which it is to be done. [`Router::next_timeout`] says when to call again with
//! [`Input::Timer`]. Whoever drives it hands over all datagrams that have arrived before a timer:
//! that is how a router that was held up learns what happened meanwhile before it acts.

mod config;
mod elect;
mod handover;
mod note;

pub use config::{Config, Link};
pub use note::Note;

use crate::error::FailoverError;
use crate::packet::{Datagram, FAREWELL, Outgoing};
use crate::time::{Moment, down_interval};
use handover::Goal;
use model::status::{FailoverReport, VrrpCounters, VrrpState, VrrpStatus};
use model::{Cidr, Priority, VrrpVersion};
use note::Throttle;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The old holder keeps the floating IPs for this long after it heard its successor: keepalived
/// announces itself first and moves the addresses 1 to 4 ms later.
pub(crate) const LINGER: Duration = Duration::from_millis(10);
/// When gratuitous ARP is repeated, counted from the first: the last one of a rival must not be
/// the last word. 5 s is keepalived's `garp_master_delay`.
const REPEATS: [Duration; 5] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
];
/// After those, this often: a machine that missed them all (Wi-Fi loses broadcasts) finds the
/// floating IP again. keepalived calls it `garp_master_refresh`.
const REFRESH: Duration = Duration::from_secs(30);
/// A flood of adverts is answered no more often than this, and an address that keeps being
/// taken away is set again no more often than this.
const CALM: Duration = Duration::from_millis(10);

/// What happens to a router.
#[derive(Debug)]
pub enum Input<'a> {
    /// A VRRP packet arrived on its interface.
    Datagram(Datagram<'a>),
    /// The time it asked for has come.
    Timer,
    /// How its interface is, and the addresses on it. Anything, at any time; the first one
    /// starts the router.
    Interface(Link, &'a [Cidr]),
    /// Whether this node's load balancer works.
    Tracked(bool),
    /// New settings.
    Configure(Config),
    /// The operator wants the floating IPs on another node, or, on a backup, on this one.
    Failover,
    /// Leave for good. With `handover` the floating IPs are kept until the successor speaks.
    Stop {
        /// Wait for the successor.
        handover: bool,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send an advert of this priority; [`Router::encode`] has its bytes.
    Advert {
        /// 0 for a farewell.
        priority: u8,
    },
    /// Set a floating IP, as a single address.
    Add(Ipv4Addr),
    /// Take a floating IP off.
    Remove(Ipv4Addr),
    /// Announce by gratuitous ARP that this machine has the address.
    Announce(Ipv4Addr),
    /// The state changed.
    Entered(VrrpState),
    /// For the log.
    Note(Note),
    /// The answer to [`Input::Failover`].
    Failover(Result<FailoverReport, FailoverError>),
}

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Init,
    Fault(String),
    Backup {
        /// Active_Down_Timer.
        down_at: Moment,
        /// The end of `preempt_delay`, once a lower master was heard.
        preempt_at: Option<Moment>,
        /// The timer fired late once already, and the master was given another interval.
        excused: bool,
    },
    Master {
        /// Adver_Timer.
        advert_at: Moment,
    },
    /// Has said farewell and serves on until somebody takes over.
    Yielding {
        goal: Goal,
        until: Moment,
    },
}

/// The master as last heard.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Heard {
    address: Ipv4Addr,
    priority: u8,
    at: Moment,
}

/// One virtual router.
#[derive(Clone, Debug)]
pub struct Router {
    config: Config,
    phase: Phase,
    since: Moment,
    source: Option<Ipv4Addr>,
    link_fault: Option<String>,
    /// False until the first [`Input::Interface`].
    link_known: bool,
    tracked: bool,
    stopped: bool,
    /// Addresses found on the interface, for what a killed process left there.
    present: Vec<Cidr>,
    /// Floating IPs this router has set.
    installed: Vec<Ipv4Addr>,
    /// When to take them off, after another took over.
    release_at: Option<Moment>,
    /// When to set them again, after somebody took them away.
    restore_at: Option<Moment>,
    restored: Option<Moment>,
    heard: Option<Heard>,
    /// Active_Adver_Interval: the master's, where it says it (version 3).
    active_interval: Duration,
    raised: Option<u8>,
    held_back: bool,
    /// The first announcement of a series, and the number of the next repeat.
    announcing: Option<(Moment, usize)>,
    reasserted: Option<Moment>,
    counters: VrrpCounters,
    throttle: Throttle,
}

impl Router {
    /// A router in INIT. It starts with the first [`Input::Interface`].
    pub fn new(config: Config, tracked: bool, now: Moment) -> Self {
        Self {
            active_interval: config.interval(),
            config,
            phase: Phase::Init,
            since: now,
            source: None,
            link_fault: None,
            link_known: false,
            tracked,
            stopped: false,
            present: Vec::new(),
            installed: Vec::new(),
            release_at: None,
            restore_at: None,
            restored: None,
            heard: None,
            raised: None,
            held_back: false,
            announcing: None,
            reasserted: None,
            counters: VrrpCounters::default(),
            throttle: Throttle::default(),
        }
    }

    /// Takes note of `input`; what is to be done is appended to `out`.
    pub fn handle(&mut self, input: Input<'_>, now: Moment, out: &mut Vec<Output>) {
        let before = out.len();
        match input {
            Input::Datagram(datagram) => self.receive(&datagram, now, out),
            Input::Timer => self.tick(now, out),
            Input::Interface(link, present) => self.interface(link, present, now, out),
            Input::Tracked(works) => {
                self.tracked = works;
                self.reconsider(now, out);
            }
            Input::Configure(config) => self.configure(config, now, out),
            Input::Failover => self.failover(now, out),
            Input::Stop { handover } => self.stop(handover, now, out),
        }
        self.counters.sent += adverts(out.get(before..).unwrap_or_default());
        debug_assert!(self.is_sound(), "{self:?}");
    }

    /// When to call with [`Input::Timer`]; None: nothing to wait for.
    pub fn next_timeout(&self) -> Option<Moment> {
        let phase = match self.phase {
            Phase::Init | Phase::Fault(_) => None,
            Phase::Backup { down_at, .. } => Some(down_at),
            Phase::Master { advert_at } => Some(advert_at),
            Phase::Yielding { until, .. } => Some(until),
        };
        let repeat = self.announcing.map(|(first, n)| first + repeat_after(n));
        [phase, self.release_at, self.restore_at, repeat].into_iter().flatten().min()
    }

    /// Writes the bytes of an advert of `priority` to `pdu` and says from where to send it.
    pub fn encode(&self, priority: u8, pdu: &mut Vec<u8>) -> Option<Ipv4Addr> {
        let source = self.source?;
        Outgoing {
            version: self.config.version,
            virtual_router: self.config.virtual_router.get(),
            priority,
            interval: self.config.advert_interval,
            addresses: &self.config.addresses,
            auth: self.config.auth.as_ref(),
        }
        .encode(source, pdu);
        Some(source)
    }

    /// What it runs with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The floating IPs on the interface by its doing.
    pub fn installed(&self) -> &[Ipv4Addr] {
        &self.installed
    }

    /// It was told to stop and has let go of everything.
    pub fn is_stopped(&self) -> bool {
        self.stopped && self.phase == Phase::Init && self.installed.is_empty()
    }

    /// Its state.
    pub fn state(&self) -> VrrpState {
        match self.phase {
            Phase::Init => VrrpState::Init,
            Phase::Fault(_) => VrrpState::Fault,
            Phase::Backup { .. } => VrrpState::Backup,
            Phase::Master { .. } | Phase::Yielding { .. } => VrrpState::Master,
        }
    }

    /// Why it is in FAULT.
    pub fn fault(&self) -> Option<&str> {
        match &self.phase {
            Phase::Fault(reason) => Some(reason),
            _ => None,
        }
    }

    /// The moment its state was entered.
    pub fn since(&self) -> Moment {
        self.since
    }

    /// All that the pages show.
    pub fn status(&self, now: Moment) -> VrrpStatus {
        let mut status = VrrpStatus {
            name: self.config.name.clone(),
            virtual_router_id: self.config.virtual_router,
            interface: self.config.interface.clone(),
            state: self.state(),
            fault: self.fault().map(str::to_owned),
            since_ms: u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX),
            priority: self.config.priority,
            effective_priority: self.config.priority,
            held_back: self.held_back,
            addresses: self.config.addresses.clone(),
            master: None,
            master_priority: None,
            counters: self.counters,
        };
        self.refresh(&mut status);
        status
    }

    /// Brings the parts of `status` up to date that change without a change of state or
    /// settings. Allocates nothing.
    pub(crate) fn refresh(&self, status: &mut VrrpStatus) {
        status.counters = self.counters;
        status.held_back = self.held_back;
        status.effective_priority =
            Priority::new(u64::from(self.effective_priority())).unwrap_or(self.config.priority);
        (status.master, status.master_priority) = match self.phase {
            Phase::Master { .. } | Phase::Yielding { .. } => {
                (self.source, Some(self.effective_priority()))
            }
            _ => (self.heard.map(|h| h.address), self.heard.map(|h| h.priority)),
        };
    }

    fn effective_priority(&self) -> u8 {
        self.config.priority.get().max(self.raised.unwrap_or(0))
    }

    /// Active_Down_Interval.
    fn down_interval(&self) -> Duration {
        down_interval(self.config.version, self.config.priority.get(), self.active_interval)
    }

    fn note(&mut self, note: Note, now: Moment, out: &mut Vec<Output>) {
        if self.throttle.passes(note, now) {
            out.push(Output::Note(note));
        }
    }

    fn enter(&mut self, phase: Phase, now: Moment, out: &mut Vec<Output>) {
        let before = self.state();
        self.phase = phase;
        if self.state() != before {
            self.since = now;
            out.push(Output::Entered(self.state()));
        }
    }

    fn enter_backup(&mut self, down_at: Moment, now: Moment, out: &mut Vec<Output>) {
        self.raised = None;
        self.announcing = None;
        self.restore_at = None;
        self.enter(Phase::Backup { down_at, preempt_at: None, excused: false }, now, out);
    }

    /// RFC 9568 6.4.2 (380): Active_Down_Timer fired. The RFC sends the advert first; setting
    /// and announcing the addresses first looks the same on the wire and loses less.
    fn become_master(&mut self, now: Moment, out: &mut Vec<Output>) {
        self.release_at = None;
        self.held_back = false;
        self.install(out);
        self.announce(now, out);
        self.active_interval = self.config.interval();
        self.counters.became_master += 1;
        let advert_at = self.advertise(now, out);
        self.enter(Phase::Master { advert_at }, now, out);
    }

    /// Sends an advert and says when the next is due.
    fn advertise(&mut self, now: Moment, out: &mut Vec<Output>) -> Moment {
        out.push(Output::Advert { priority: self.effective_priority() });
        now + self.config.interval()
    }

    fn install(&mut self, out: &mut Vec<Output>) {
        for address in self.config.addresses.iter().map(|c| c.addr()) {
            if !self.installed.contains(&address) {
                self.installed.push(address);
                out.push(Output::Add(address));
            }
        }
    }

    /// Announces all floating IPs now, again at the [`REPEATS`], and then every [`REFRESH`].
    fn announce(&mut self, now: Moment, out: &mut Vec<Output>) {
        out.extend(self.installed.iter().copied().map(Output::Announce));
        self.announcing = Some((now, 0));
    }

    fn release(&mut self, out: &mut Vec<Output>) {
        self.release_at = None;
        self.restore_at = None;
        self.announcing = None;
        out.extend(self.installed.drain(..).map(Output::Remove));
    }

    fn tick(&mut self, now: Moment, out: &mut Vec<Output>) {
        if self.release_at.is_some_and(|at| at <= now) {
            self.release(out);
        }
        match self.phase {
            Phase::Backup { down_at, preempt_at, excused } if down_at <= now => {
                // Fired late: this node, not the master, may be the one that was away. The
                // master gets one more interval to speak.
                if !excused && now.since(down_at) > self.active_interval {
                    self.note(Note::Stalled(now.since(down_at)), now, out);
                    let down_at = now + self.active_interval;
                    self.phase = Phase::Backup { down_at, preempt_at, excused: true };
                } else {
                    self.become_master(now, out);
                }
            }
            Phase::Master { advert_at } if advert_at <= now => self.advert_due(advert_at, now, out),
            Phase::Yielding { until, .. } if until <= now => self.nobody_answered(now, out),
            _ => {}
        }
        if self.restore_at.is_some_and(|at| at <= now) {
            self.restore(now, out);
        }
        self.repeat_announcements(now, out);
    }

    /// RFC 9568 6.4.3: Adver_Timer fired.
    fn advert_due(&mut self, due: Moment, now: Moment, out: &mut Vec<Output>) {
        if self.is_stalled(now) {
            // Whoever took over meanwhile has not been heard yet, but may have announced itself.
            self.note(Note::Stalled(now.since(due)), now, out);
            self.announce(now, out);
        }
        out.push(Output::Advert { priority: self.effective_priority() });
        // From the moment it was due, not from now: adverts do not drift.
        let next = due + self.config.interval();
        let advert_at = if next > now { next } else { now + self.config.interval() };
        self.phase = Phase::Master { advert_at };
    }

    /// This master has been silent so long that a backup must have taken over.
    fn is_stalled(&self, now: Moment) -> bool {
        match self.phase {
            Phase::Master { advert_at } => now.since(advert_at) > self.down_interval(),
            _ => false,
        }
    }

    fn repeat_announcements(&mut self, now: Moment, out: &mut Vec<Output>) {
        let Some((first, mut next)) = self.announcing else { return };
        let mut due = false;
        while first + repeat_after(next) <= now {
            next += 1;
            due = true;
        }
        if due {
            out.extend(self.installed.iter().copied().map(Output::Announce));
            self.announcing = Some((first, next));
        }
    }

    fn interface(&mut self, link: Link, present: &[Cidr], now: Moment, out: &mut Vec<Output>) {
        self.link_known = true;
        let held = matches!(self.phase, Phase::Master { .. } | Phase::Yielding { .. });
        self.present.clear();
        self.present.extend_from_slice(present);
        let before = self.source;
        match link {
            Link::Up(source) => {
                self.source = Some(source);
                self.link_fault = None;
            }
            // The last known address is kept: the farewell is sent from it.
            Link::Down(reason) => self.link_fault = Some(reason),
        }
        self.reconsider(now, out);
        if let Phase::Master { .. } = self.phase {
            if self.source != before && before.is_some() {
                let advert_at = self.advertise(now, out);
                self.phase = Phase::Master { advert_at };
            }
        }
        // What is set just now cannot be in the list yet.
        let holds = matches!(self.phase, Phase::Master { .. } | Phase::Yielding { .. }) && held;
        let missing = |vip: &Ipv4Addr| !self.present.iter().any(|p| p.addr() == *vip);
        if holds && self.installed.iter().any(missing) {
            let earliest = self.restored.map_or(now, |at| at + CALM);
            if earliest <= now {
                self.restore(now, out);
            } else {
                self.restore_at = Some(earliest);
            }
        }
    }

    /// Sets all floating IPs again; setting one that is there changes nothing.
    fn restore(&mut self, now: Moment, out: &mut Vec<Output>) {
        self.restore_at = None;
        self.restored = Some(now);
        out.extend(self.installed.iter().copied().map(Output::Add));
        self.announce(now, out);
        self.note(Note::Restored, now, out);
    }

    /// Goes to or leaves FAULT, as the link, the tracked load balancer and the settings say.
    fn reconsider(&mut self, now: Moment, out: &mut Vec<Output>) {
        if self.stopped || !self.link_known {
            if self.link_fault.is_some() {
                self.abandon(Phase::Init, now, out);
            }
            return;
        }
        let broken = self.config.track_proxy && !self.tracked;
        let fault = match &self.link_fault {
            Some(reason) => Some(reason.clone()),
            None => broken.then(|| "the load balancer of this node does not work".to_owned()),
        };
        match (fault, &self.phase) {
            (Some(reason), _) => self.abandon(Phase::Fault(reason), now, out),
            (None, Phase::Init | Phase::Fault(_)) => self.startup(now, out),
            (None, _) => {}
        }
    }

    /// RFC 9568 6.4.1 (Initialize): also on the way out of FAULT.
    fn startup(&mut self, now: Moment, out: &mut Vec<Output>) {
        self.heard = None;
        self.held_back = false;
        self.active_interval = self.config.interval();
        if self.config.priority.get() == u8::MAX {
            return self.become_master(now, out);
        }
        // A floating IP that a killed process left would answer beside the master's.
        let vips = self.config.addresses.iter().map(|c| c.addr());
        out.extend(vips.filter(|vip| self.is_left_over(*vip)).map(Output::Remove));
        let down_at = now + self.down_interval();
        self.enter_backup(down_at, now, out);
    }

    /// Floating IPs are set as /32; an address with a network's prefix is the node's own.
    fn is_left_over(&self, vip: Ipv4Addr) -> bool {
        let is_it = |p: &Cidr| p.addr() == vip && p.prefix() == 32;
        self.present.iter().any(is_it) && !self.installed.contains(&vip)
    }

    /// Drops everything at once: INIT or FAULT.
    fn abandon(&mut self, to: Phase, now: Moment, out: &mut Vec<Output>) {
        if let Phase::Yielding { goal: Goal::Failover, .. } = self.phase {
            let error = match &to {
                Phase::Fault(reason) => FailoverError::Fault(reason.clone()),
                _ => FailoverError::Stopping,
            };
            out.push(Output::Failover(Err(error)));
        }
        if let Phase::Master { .. } = self.phase {
            out.push(Output::Advert { priority: FAREWELL });
        }
        self.release(out);
        self.raised = None;
        self.held_back = false;
        self.heard = None;
        self.enter(to, now, out);
    }

    fn configure(&mut self, config: Config, now: Moment, out: &mut Vec<Output>) {
        let old = std::mem::replace(&mut self.config, config);
        let same_list = old.addresses == self.config.addresses;
        let kept = &self.config.addresses;
        let holds = matches!(self.phase, Phase::Master { .. } | Phase::Yielding { .. });
        self.installed.retain(|vip| {
            let stays = kept.iter().any(|c| c.addr() == *vip);
            if !stays {
                out.push(Output::Remove(*vip));
            }
            stays
        });
        if holds && !same_list {
            let first_new = self.installed.len();
            self.install(out);
            out.extend(self.installed.iter().skip(first_new).copied().map(Output::Announce));
            self.announcing = Some((now, 0));
        }
        let same_wire = old.same_on_the_wire(&self.config);
        let own = self.config.interval();
        // Version 2 has one interval for all; version 3 goes by the master's.
        if self.config.version == VrrpVersion::V2 || old.version != self.config.version || holds {
            self.active_interval = own;
        }
        match self.phase {
            Phase::Master { .. }
                if !same_wire || !same_list || old.priority != self.config.priority =>
            {
                let advert_at = self.advertise(now, out);
                self.phase = Phase::Master { advert_at };
            }
            Phase::Backup { preempt_at, .. } if !same_wire => {
                // Until the master has the new settings too, its adverts may not be accepted.
                let down_at = now + self.down_interval();
                self.phase = Phase::Backup { down_at, preempt_at, excused: false };
            }
            _ => {}
        }
        self.reconsider(now, out);
    }

    fn is_sound(&self) -> bool {
        let holds = matches!(self.phase, Phase::Master { .. } | Phase::Yielding { .. });
        let all = self.config.addresses.iter().all(|a| self.installed.contains(&a.addr()));
        let raised_only_as_master = self.raised.is_none() || holds;
        // Addresses are on the interface of a holder, or of one that has just handed over.
        let accounted = self.installed.is_empty() || holds || self.release_at.is_some();
        let announced_by_holders = self.announcing.is_none() || holds;
        (!holds || all) && raised_only_as_master && accounted && announced_by_holders
    }
}

/// The time from the first announcement to the repeat of this number.
fn repeat_after(number: usize) -> Duration {
    REPEATS.get(number).copied().unwrap_or_else(|| {
        let last = REPEATS.last().copied().unwrap_or_default();
        let more = u32::try_from(number + 1 - REPEATS.len()).unwrap_or(u32::MAX);
        last.saturating_add(REFRESH.saturating_mul(more))
    })
}

fn adverts(out: &[Output]) -> u64 {
    let sent = out.iter().filter(|o| matches!(o, Output::Advert { .. })).count();
    u64::try_from(sent).unwrap_or(0)
}
