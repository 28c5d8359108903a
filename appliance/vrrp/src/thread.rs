//! The thread that drives the routers: epoll over the sockets, one timer, the kernel's news and
//! commands. Whatever it does after an input it does at once, and it never waits for anything
//! but the kernel.

use crate::error::FailoverError;
use crate::packet::{Datagram, FAREWELL};
use crate::ports::{Addresses, InterfaceState, LastWill, Testament};
use crate::router::{Config, Input, Link, Output, Router};
use crate::runner::{Command, Event, Published, Shared};
use crate::socket::{AdvertSocket, ArpSocket, farewell};
use crate::time::Moment;
use model::status::{FailoverReport, VrrpState};
use model::{Cidr, Revision};
use rustix::event::epoll;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, TryLockError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Where there is no news from the kernel, or a fault to be over, interfaces are looked at again.
const RECHECK: Duration = Duration::from_secs(1);
/// A page was reading the status just now.
const RETRY_PUBLISH: Duration = Duration::from_millis(5);
/// However long the skew of version 3 may be: the node wants to stop.
const LONGEST_STOP: Duration = Duration::from_secs(3);
/// A flood on one interface must not keep the timers waiting.
const DATAGRAMS_AT_ONCE: usize = 256;
/// Longest packet looked at: 255 addresses and both headers.
const LARGEST: usize = 2048;
/// The same instance's trouble is not logged more often.
const TROUBLE_PAUSE: Duration = Duration::from_secs(10);
const NEWS: u64 = 1;

type Answer = oneshot::Sender<Result<FailoverReport, FailoverError>>;

pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Moment(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0)))
}

/// What survives a panic of the thread: what it was given.
pub(crate) struct Parts {
    pub(crate) addresses: Box<dyn Addresses>,
    pub(crate) will: Box<dyn LastWill>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) shared: Arc<Shared>,
    /// The newest settings, and what was last said in the will.
    pub(crate) revision: Revision,
    pub(crate) configs: Vec<Config>,
    pub(crate) tracked: bool,
    pub(crate) testaments: Vec<Testament>,
}

impl Parts {
    fn say(&self, event: Event) {
        // A full queue means a flood of events nobody needs one by one.
        let _ = self.events.try_send(event);
    }

    /// After a panic: leave as a guardian would have us leave.
    pub(crate) fn bury(&mut self) {
        for testament in std::mem::take(&mut self.testaments) {
            let _ = farewell(&testament);
            for address in &testament.addresses {
                let _ = self.addresses.remove(&testament.interface, *address);
            }
        }
        self.will.write(&[]);
    }
}

struct Instance {
    router: Router,
    socket: Option<AdvertSocket>,
    state: InterfaceState,
    /// Who waits for a failover to come to its end.
    asker: Option<Answer>,
    /// No longer in the settings; stays until its successor speaks.
    leaving: bool,
    /// When the last trouble was logged.
    troubled: Option<Moment>,
}

pub(crate) struct Engine<'p> {
    parts: &'p mut Parts,
    epoll: OwnedFd,
    timer: OwnedFd,
    armed: Option<Moment>,
    arp: ArpSocket,
    instances: Vec<Instance>,
    recheck_at: Option<Moment>,
    publish_at: Option<Moment>,
    stopping: Option<Moment>,
    waiting: Vec<oneshot::Sender<()>>,
    /// Something other than counters changed since the status was published.
    news: bool,
    said: Option<(Revision, Option<String>)>,
    // Reused, so that the steady state allocates nothing.
    out: Vec<Output>,
    pdu: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'p> Engine<'p> {
    pub(crate) fn new(parts: &'p mut Parts) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        let watch = |fd: std::os::fd::BorrowedFd<'_>, tag| {
            epoll::add(&epoll, fd, epoll::EventData::new_u64(tag), epoll::EventFlags::IN)
        };
        watch(timer.as_fd(), 0)?;
        watch(parts.shared.wake.as_fd(), 0)?;
        if let Some(news) = parts.addresses.events() {
            watch(news, NEWS)?;
        }
        let arp = ArpSocket::open()?;
        Ok(Self {
            parts,
            epoll,
            timer,
            armed: None,
            arp,
            instances: Vec::new(),
            recheck_at: None,
            publish_at: None,
            stopping: None,
            waiting: Vec::new(),
            news: true,
            said: None,
            out: Vec::with_capacity(64),
            pdu: Vec::with_capacity(LARGEST),
            buffer: vec![0; LARGEST],
        })
    }

    /// Runs until everything has stopped as commanded.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(16);
        // After a panic: what ran before runs again.
        self.settle(now());
        loop {
            self.arm()?;
            ready.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let has_news = ready.iter().any(|event| event.data.u64() == NEWS);
            self.drain_clocks();
            // Datagrams before everything else: a thread that was held up must learn what
            // happened meanwhile before its timers act on what they believe.
            self.receive();
            if self.obey() {
                return Ok(());
            }
            let moment = now();
            if has_news {
                self.parts.addresses.drain_events();
            }
            if has_news || self.recheck_at.is_some_and(|at| at <= moment) {
                self.look_at_interfaces(moment);
            }
            self.fire(now());
            if self.wind_up(now()) {
                return Ok(());
            }
            self.publish(now());
        }
    }

    fn drain_clocks(&self) {
        let mut count = [0_u8; 8];
        let _ = rustix::io::read(&self.timer, &mut count);
        let _ = rustix::io::read(&self.parts.shared.wake, &mut count);
    }

    fn arm(&mut self) -> io::Result<()> {
        let timeouts = self.instances.iter().filter_map(|i| i.router.next_timeout());
        let own = [self.recheck_at, self.publish_at, self.stopping];
        let next = timeouts.chain(own.into_iter().flatten()).min();
        if next != self.armed {
            // A time of zero would disarm it; one nanosecond after boot is past as well.
            let at = next.map_or(Duration::ZERO, |at| at.0.max(Duration::from_nanos(1)));
            let spec = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec {
                    tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: at.subsec_nanos().into(),
                },
            };
            timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
            self.armed = next;
        }
        Ok(())
    }

    fn receive(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for at in 0..self.instances.len() {
            for _ in 0..DATAGRAMS_AT_ONCE {
                let Some(socket) = self.instances.get(at).and_then(|i| i.socket.as_ref()) else {
                    break;
                };
                let Some(bytes) = socket.receive(&mut buffer) else { break };
                if let Some(datagram) = Datagram::parse(bytes) {
                    self.handle(at, Input::Datagram(datagram), now());
                }
            }
        }
        self.buffer = buffer;
    }

    fn fire(&mut self, moment: Moment) {
        // The timer that rang is spent, even if its time is asked for again.
        self.armed = self.armed.filter(|at| *at > moment);
        for at in 0..self.instances.len() {
            let due = self.instances.get(at).and_then(|i| i.router.next_timeout());
            if due.is_some_and(|due| due <= moment) {
                self.handle(at, Input::Timer, moment);
            }
        }
    }

    /// True when there is nobody left to take commands from.
    fn obey(&mut self) -> bool {
        loop {
            let command = match self.parts.commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => return false,
                // Nobody can ask for anything any more, not even to stop.
                Err(TryRecvError::Disconnected) => return self.instances.is_empty(),
            };
            let moment = now();
            match command {
                Command::Settings { revision, configs } => {
                    self.parts.revision = revision;
                    self.parts.configs = configs;
                    self.settle(moment);
                }
                Command::Tracked(works) => {
                    self.parts.tracked = works;
                    for at in 0..self.instances.len() {
                        self.handle(at, Input::Tracked(works), moment);
                    }
                    self.news = true;
                }
                Command::Failover(name, answer) => self.failover(name.as_str(), answer, moment),
                Command::Answer(answer) => {
                    let _ = answer.send(());
                }
                Command::Stop(done) => {
                    self.waiting.extend(done);
                    self.stopping.get_or_insert(moment + LONGEST_STOP);
                    for at in 0..self.instances.len() {
                        self.handle(at, Input::Stop { handover: true }, moment);
                    }
                }
            }
        }
    }

    fn failover(&mut self, name: &str, answer: Answer, moment: Moment) {
        let named = |i: &Instance| !i.leaving && i.router.config().name.as_str() == name;
        let Some(at) = self.instances.iter().position(named) else {
            let _ = answer.send(Err(FailoverError::Unknown(name.to_owned())));
            return;
        };
        // An answer to this very question comes at once; one that comes later is for whoever
        // waits then.
        let before = self.instances.get_mut(at).and_then(|i| i.asker.replace(answer));
        self.handle(at, Input::Failover, moment);
        if let (Some(before), Some(i)) = (before, self.instances.get_mut(at)) {
            i.asker.get_or_insert(before);
        }
    }

    /// Makes the instances those of the settings.
    fn settle(&mut self, moment: Moment) {
        if self.stopping.is_some() {
            return;
        }
        let mut wanted = self.parts.configs.clone();
        for at in 0..self.instances.len() {
            let Some(i) = self.instances.get(at) else { continue };
            let has = i.router.config();
            let by_name = wanted.iter().position(|w| w.name == has.name);
            let by_number = || {
                wanted.iter().position(|w| {
                    w.virtual_router == has.virtual_router && w.interface == has.interface
                })
            };
            let found = by_name.or_else(by_number).and_then(|n| wanted.get(n).map(|w| (n, w)));
            let input = match found {
                None => Input::Stop { handover: true },
                // It comes back while it was leaving, or on another wire: a new start.
                Some((_, w)) if i.leaving || w.interface != has.interface => {
                    Input::Stop { handover: false }
                }
                Some((n, _)) => Input::Configure(wanted.swap_remove(n)),
            };
            let stops = matches!(input, Input::Stop { .. });
            if let Some(i) = self.instances.get_mut(at) {
                i.leaving |= stops;
            }
            self.handle(at, input, moment);
        }
        self.instances.retain(|i| !i.router.is_stopped());
        for config in wanted {
            self.instances.push(Instance {
                router: Router::new(config, self.parts.tracked, moment),
                socket: None,
                state: InterfaceState::default(),
                asker: None,
                leaving: false,
                troubled: None,
            });
        }
        self.news = true;
        self.look_at_interfaces(moment);
    }

    fn look_at_interfaces(&mut self, moment: Moment) {
        let vips: Vec<Ipv4Addr> = self
            .instances
            .iter()
            .flat_map(|i| i.router.config().addresses.iter().map(|c| c.addr()))
            .collect();
        for at in 0..self.instances.len() {
            self.look_at(at, &vips, moment);
        }
        self.news = true;
        let blind = self.parts.addresses.events().is_none() && !self.instances.is_empty();
        let faulty = self.instances.iter().any(|i| i.router.state() == VrrpState::Fault);
        self.recheck_at = (blind || faulty).then(|| moment + RECHECK);
    }

    fn look_at(&mut self, at: usize, vips: &[Ipv4Addr], moment: Moment) {
        let Some(instance) = self.instances.get_mut(at) else { return };
        let name = instance.router.config().interface.as_str();
        let found = match self.parts.addresses.interface(name) {
            Ok(Some(state)) => state,
            Ok(None) => {
                instance.socket = None;
                let reason = format!("this node has no interface {name}");
                return self.handle(at, Input::Interface(Link::Down(reason), &[]), moment);
            }
            Err(error) => {
                let reason = format!("the kernel does not say how {name} is: {error}");
                return self.handle(at, Input::Interface(Link::Down(reason), &[]), moment);
            }
        };
        let mut link = judge(name, &found, vips);
        if instance.socket.as_ref().is_none_or(|s| s.index() != found.index) {
            match AdvertSocket::open(name, found.index).and_then(|socket| {
                let tag = epoll::EventData::new_u64(0);
                epoll::add(&self.epoll, &socket, tag, epoll::EventFlags::IN)?;
                Ok(socket)
            }) {
                Ok(socket) => instance.socket = Some(socket),
                Err(error) => {
                    instance.socket = None;
                    link = Link::Down(format!(
                        "no VRRP socket could be opened on {name} ({error}); this needs root"
                    ));
                }
            }
        }
        instance.state = found;
        let present = std::mem::take(&mut instance.state.addresses);
        self.handle(at, Input::Interface(link, &present), moment);
        if let Some(instance) = self.instances.get_mut(at) {
            instance.state.addresses = present;
        }
    }

    fn handle(&mut self, at: usize, input: Input<'_>, moment: Moment) {
        let Some(instance) = self.instances.get_mut(at) else { return };
        let routine = matches!(input, Input::Datagram(_) | Input::Timer);
        let mut out = std::mem::take(&mut self.out);
        instance.router.handle(input, moment, &mut out);
        let mut moved = !routine;
        for output in out.drain(..) {
            moved |= self.apply(at, output, moment);
        }
        self.out = out;
        if moved {
            self.news = true;
            self.write_will();
        }
    }

    /// True when a testament may read otherwise now.
    fn apply(&mut self, at: usize, output: Output, moment: Moment) -> bool {
        let Some(instance) = self.instances.get_mut(at) else { return false };
        let Instance { router, socket, state, asker, troubled, .. } = instance;
        let interface = router.config().interface.as_str();
        let parts = &mut *self.parts;
        let mut trouble = |parts: &Parts, what: String| {
            if troubled.is_none_or(|last| moment.since(last) >= TROUBLE_PAUSE) {
                *troubled = Some(moment);
                parts.say(Event::Trouble(router.config().name.clone(), what));
            }
        };
        match output {
            Output::Advert { priority } => {
                if let (Some(source), Some(socket)) =
                    (router.encode(priority, &mut self.pdu), socket)
                {
                    if let Err(error) = socket.send(source, &self.pdu) {
                        trouble(parts, format!("an advert could not be sent: {error}"));
                    }
                }
            }
            Output::Add(address) => {
                let added = single(address).map(|c| parts.addresses.add(interface, c));
                if let Some(Err(error)) = added {
                    let what = format!("{address} could not be set on {interface}: {error}");
                    trouble(parts, what);
                }
                return true;
            }
            Output::Remove(address) => {
                let removed = single(address).map(|c| parts.addresses.remove(interface, c));
                if let Some(Err(error)) = removed {
                    let what = format!("{address} is still on {interface}: {error}");
                    trouble(parts, what);
                }
                return true;
            }
            Output::Announce(address) => {
                // A full queue or a link that is going down: the repeats follow.
                let _ = self.arp.announce(state.index, state.mac, address);
            }
            Output::Entered(entered) => {
                let fault = router.fault().map(str::to_owned);
                parts.say(Event::Entered(router.config().name.clone(), entered, fault));
                return true;
            }
            Output::Note(note) => parts.say(Event::Note(router.config().name.clone(), note)),
            Output::Failover(answer) => {
                if let Some(asker) = asker.take() {
                    let _ = asker.send(answer);
                }
            }
        }
        false
    }

    fn write_will(&mut self) {
        let mut will = Vec::new();
        for i in &self.instances {
            let installed = i.router.installed();
            if installed.is_empty() {
                continue;
            }
            let Some(source) = i.router.encode(FAREWELL, &mut self.pdu) else { continue };
            will.push(Testament {
                name: i.router.config().name.to_string(),
                interface: i.router.config().interface.clone(),
                index: i.state.index,
                source,
                farewell: self.pdu.clone(),
                addresses: installed.iter().filter_map(|a| single(*a)).collect(),
            });
        }
        if will != self.parts.testaments {
            self.parts.will.write(&will);
            self.parts.testaments = will;
        }
    }

    /// Removes what has left; true when all was to stop and has.
    fn wind_up(&mut self, moment: Moment) -> bool {
        if self.stopping.is_some_and(|until| until <= moment) {
            for at in 0..self.instances.len() {
                self.handle(at, Input::Stop { handover: false }, moment);
            }
        }
        let before = self.instances.len();
        if self.stopping.is_none() {
            self.instances.retain(|i| !(i.leaving && i.router.is_stopped()));
            self.news |= self.instances.len() != before;
            return false;
        }
        if !self.instances.iter().all(|i| i.router.is_stopped()) {
            return false;
        }
        self.news = true;
        self.publish(moment);
        for done in self.waiting.drain(..) {
            let _ = done.send(());
        }
        true
    }

    fn publish(&mut self, moment: Moment) {
        self.publish_at = None;
        let mut list = match self.parts.shared.published.try_lock() {
            Ok(list) => list,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.publish_at = Some(moment + RETRY_PUBLISH);
                return;
            }
        };
        let shown = || self.instances.iter().filter(|i| !i.leaving);
        if !self.news {
            for (published, i) in list.iter_mut().zip(shown()) {
                i.router.refresh(&mut published.status);
            }
            return;
        }
        *list = shown()
            .map(|i| Published { status: i.router.status(moment), since: i.router.since() })
            .collect();
        drop(list);
        self.news = false;
        let faults: Vec<String> = self
            .instances
            .iter()
            .filter_map(|i| Some(format!("{}: {}", i.router.config().name, i.router.fault()?)))
            .collect();
        let problem = (!faults.is_empty()).then(|| faults.join("; "));
        let now_said = (self.parts.revision, problem);
        if self.said.as_ref() != Some(&now_said) {
            let (revision, problem) = now_said.clone();
            let idle = self.parts.configs.is_empty();
            self.parts.say(Event::Report { revision, idle, problem });
            self.said = Some(now_said);
        }
    }
}

/// Floating IPs are set as single addresses whatever the settings say: removing the first
/// address of a network would take the others of that network with it.
fn single(address: Ipv4Addr) -> Option<Cidr> {
    Cidr::new(address, 32).ok()
}

fn judge(name: &str, state: &InterfaceState, vips: &[Ipv4Addr]) -> Link {
    if !state.running {
        return Link::Down(format!("{name} has no link; check its cable or its Wi-Fi network"));
    }
    // One's own floating IP can be the interface's own address too (priority 255), but only
    // with its network's prefix.
    let own = |c: &&Cidr| c.prefix() < 32 || !vips.contains(&c.addr());
    match state.addresses.iter().find(own) {
        Some(cidr) => Link::Up(cidr.addr()),
        None => Link::Down(format!("{name} has no address of its own to send adverts from")),
    }
}

/// Asks for a real-time priority and for the program to stay in memory; does without where that
/// is refused.
pub(crate) fn become_real_time() {
    // Below the kernel's own threads (50 is their usual), above everything ordinary.
    // SAFETY: all fields are integers; zero is a value of each. (musl has more than one.)
    let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    parameters.sched_priority = 40;
    // SAFETY: the parameters are valid for reads; pthread_self is this very thread. (musl's
    // sched_setscheduler always fails, this does not.)
    let refused = unsafe {
        libc::pthread_setschedparam(libc::pthread_self(), libc::SCHED_RR, &raw const parameters)
    };
    if refused != 0 {
        let error = io::Error::from_raw_os_error(refused);
        tracing::debug!("no real-time priority for VRRP: {error}");
    }
    // What is in use now stays; nothing is read in for it (MCL_ONFAULT), and what other parts
    // map later is none of our business.
    // SAFETY: takes no pointers.
    if unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_ONFAULT) } != 0 {
        tracing::debug!("the program may be paged out: {}", io::Error::last_os_error());
    }
}
