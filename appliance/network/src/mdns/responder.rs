//! Probing, answering and giving way (RFC 6762), as a state machine. Pure.

use crate::chance::Chance;
use crate::dns::{
    A, ANY, AUTHORITATIVE, IN, Message, Name, OPCODE, PTR, Question, RESPONSE, Record,
};
use crate::facts::LiveLink;
use crate::mdns::names::{About, FLUSH, Names, alias, host_record, nothing_else};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

pub(crate) const PORT: u16 = 5353;
pub(crate) const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

/// RFC 6762 8.1.
const PROBES: u32 = 3;
const PROBE_PAUSE: Duration = Duration::from_millis(250);
/// RFC 6762 8.2: after the other one won.
const LOST_PAUSE: Duration = Duration::from_secs(1);
/// RFC 6762 8.1: after this many conflicts it goes slowly.
const MANY_CONFLICTS: u32 = 15;
const SLOW: Duration = Duration::from_secs(5);
/// RFC 6762 8.3: announced twice.
const AGAIN: Duration = Duration::from_secs(1);
/// How long until a name that somebody else has is tried again.
const STANDBY: Duration = Duration::from_secs(60);
/// RFC 6762 6: answers that others may give too wait for this long at least and at most.
const WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(120));
/// RFC 6762 6: the same record is not repeated to all within this time; to whoever probes for a
/// name, within a quarter of it.
const QUIET: Duration = Duration::from_secs(1);
const QUIET_PROBE: Duration = Duration::from_millis(250);
/// Answers waiting to be sent, and those sent to single hosts in a second.
const MOST_WAITING: usize = 32;
const MOST_DIRECT: u32 = 50;
/// RFC 6762 6.7: the longest a resolver of the old kind keeps an answer.
const LEGACY_TTL: u32 = 10;

/// Something to send on one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// The link's interface number.
    pub(crate) link: u32,
    /// None: everybody.
    pub(crate) to: Option<SocketAddrV4>,
    pub(crate) message: Message,
}

/// How far one name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked for so often; the next question is due then.
    Probing { sent: u32, due: Duration },
    /// Ours. `again`: when it is announced for the second time.
    Held { again: Option<Duration> },
    /// Somebody else's; looked at again then.
    Standby { until: Duration },
}

impl State {
    const fn due(self) -> Option<Duration> {
        match self {
            Self::Probing { due, .. } => Some(due),
            Self::Held { again } => again,
            Self::Standby { until } => Some(until),
        }
    }

    const fn held(self) -> bool {
        matches!(self, Self::Held { .. })
    }
}

/// A name: the own one with everything under it, or the shared one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Own,
    Alias,
}

#[derive(Debug)]
pub(crate) struct Responder {
    host_name: String,
    number: u32,
    about: Option<About>,
    names: Names,
    own: State,
    /// None: the own name is the shared one.
    shared: Option<State>,
    conflicts: u32,
    links: Vec<LiveLink>,
    waiting: Vec<(Duration, u32, Vec<Record>)>,
    /// When a record was last sent to all: link, name and type.
    sent: BTreeMap<(u32, String, u16), Duration>,
    direct: (Duration, u32),
    chance: Chance,
}

impl Responder {
    pub(crate) fn new(chance: Chance) -> Self {
        Self {
            host_name: String::new(),
            number: 1,
            about: None,
            names: Names::new("", 1, None),
            own: State::Held { again: None },
            shared: None,
            conflicts: 0,
            links: Vec::new(),
            waiting: Vec::new(),
            sent: BTreeMap::new(),
            direct: (Duration::ZERO, 0),
            chance,
        }
    }

    /// The links to speak on: of those in one subnet the first.
    pub(crate) fn links(&self) -> &[LiveLink] {
        &self.links
    }

    /// Takes over name and links.
    pub(crate) fn follow(&mut self, name: &str, links: &[LiveLink], now: Duration) -> Vec<Output> {
        let mut chosen: Vec<LiveLink> = Vec::new();
        for link in links {
            let net = |l: &LiveLink| (l.address.network(), l.address.prefix());
            let twice = chosen.iter().any(|c| net(c) == net(link) && !net(c).0.is_link_local());
            if !twice {
                chosen.push(link.clone());
            }
        }
        let renamed = name != self.host_name;
        let news = chosen.iter().any(|link| !self.links.contains(link));
        let mut out = Vec::new();
        if renamed {
            out = self.goodbye();
            self.host_name = name.to_owned();
            self.number = 1;
            self.names = Names::new(name, 1, self.about.clone());
        }
        self.links = chosen;
        let links = &self.links;
        self.waiting.retain(|(_, link, _)| links.iter().any(|l| l.index == *link));
        self.sent.retain(|(link, ..), _| links.iter().any(|l| l.index == *link));
        if renamed || news {
            // RFC 6762 8: names are probed for anew on every new link.
            self.begin(Which::Own, now, PROBE_PAUSE);
            self.begin(Which::Alias, now, PROBE_PAUSE);
        }
        out
    }

    /// Takes over what this board says of itself. RFC 6762 8.4: what changed is announced anew.
    pub(crate) fn describe(&mut self, about: Option<About>, now: Duration) {
        if about == self.about {
            return;
        }
        self.about = about;
        self.names = Names::new(&self.host_name, self.number, self.about.clone());
        if self.own.held() {
            self.own = State::Held { again: Some(now) };
        }
    }

    fn begin(&mut self, which: Which, now: Duration, wait: Duration) {
        let wait = if self.conflicts >= MANY_CONFLICTS { wait.max(SLOW) } else { wait };
        // RFC 6762 8.1: a random wait first, so that boards that start together do not collide.
        let due = now + self.chance.between(wait / 4, wait);
        let state = State::Probing { sent: 0, due };
        match which {
            Which::Own => self.own = state,
            Which::Alias => self.shared = (!self.names.is_alias()).then_some(state),
        }
    }

    fn state(&self, which: Which) -> Option<State> {
        match which {
            Which::Own => Some(self.own),
            Which::Alias => self.shared,
        }
    }

    fn set(&mut self, which: Which, state: State) {
        match which {
            Which::Own => self.own = state,
            Which::Alias => self.shared = Some(state),
        }
    }

    /// Records of a name that nobody else may have.
    fn unique(&self, which: Which, address: Ipv4Addr) -> Vec<Record> {
        match which {
            Which::Own => self.names.unique(address),
            Which::Alias => vec![host_record(alias(), address)],
        }
    }

    /// Everything that is ours on a link.
    fn held(&self, address: Ipv4Addr) -> Vec<Record> {
        let mut records = Vec::new();
        for which in [Which::Own, Which::Alias] {
            if self.state(which).is_some_and(State::held) {
                records.extend(self.unique(which, address));
                if which == Which::Own {
                    records.extend(self.names.shared());
                }
            }
        }
        records
    }

    pub(crate) fn due(&self) -> Option<Duration> {
        if self.links.is_empty() {
            return None;
        }
        let states = [Some(self.own), self.shared].into_iter().flatten().filter_map(State::due);
        states.chain(self.waiting.iter().map(|(at, ..)| *at)).min()
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Duration) -> Vec<Output> {
        if self.links.is_empty() {
            return Vec::new();
        }
        let mut out = Vec::new();
        for which in [Which::Own, Which::Alias] {
            let Some(state) = self.state(which) else { continue };
            if state.due().is_none_or(|due| now < due) {
                continue;
            }
            match state {
                State::Probing { sent, .. } if sent < PROBES => {
                    out.extend(self.links.iter().map(|link| self.probe(which, link)));
                    self.set(which, State::Probing { sent: sent + 1, due: now + PROBE_PAUSE });
                }
                State::Probing { .. } => {
                    self.set(which, State::Held { again: Some(now + AGAIN) });
                    if which == Which::Own {
                        self.conflicts = 0;
                    }
                    out.extend(self.announce(which));
                }
                State::Held { .. } => {
                    self.set(which, State::Held { again: None });
                    out.extend(self.announce(which));
                }
                State::Standby { .. } => self.begin(which, now, PROBE_PAUSE),
            }
        }
        let (ready, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|(at, ..)| *at <= now);
        self.waiting = waiting;
        for (_, link, records) in ready {
            out.extend(self.tell_all(link, records, now, QUIET));
        }
        out
    }

    /// RFC 6762 8.1, 8.2: "does anybody have these?", and what we would say of them.
    fn probe(&self, which: Which, link: &LiveLink) -> Output {
        let mut records = self.unique(which, link.address.addr());
        let mut names: Vec<Name> = Vec::new();
        for record in &mut records {
            record.class = IN;
            if !names.contains(&record.name) {
                names.push(record.name.clone());
            }
        }
        let ask = |name| Question { name, kind: ANY, class: IN | FLUSH };
        let message = Message {
            questions: names.into_iter().map(ask).collect(),
            authorities: records,
            ..Message::default()
        };
        Output { link: link.index, to: None, message }
    }

    fn announce(&self, which: Which) -> Vec<Output> {
        let say = |link: &LiveLink| {
            let mut answers = self.unique(which, link.address.addr());
            if which == Which::Own {
                answers.extend(self.names.shared());
            }
            Output { link: link.index, to: None, message: response(answers) }
        };
        self.links.iter().map(say).collect()
    }

    /// RFC 6762 10.1: nothing of this holds any longer.
    pub(crate) fn goodbye(&self) -> Vec<Output> {
        let say = |link: &LiveLink| {
            let gone = |record| Record { ttl: 0, ..record };
            let answers: Vec<Record> =
                self.held(link.address.addr()).into_iter().map(gone).collect();
            (!answers.is_empty()).then(|| Output {
                link: link.index,
                to: None,
                message: response(answers),
            })
        };
        self.links.iter().filter_map(say).collect()
    }

    /// A message that arrived on a link.
    pub(crate) fn message(
        &mut self,
        link: u32,
        from: SocketAddrV4,
        message: &Message,
        now: Duration,
    ) -> Vec<Output> {
        let own = |address: &Ipv4Addr| self.links.iter().any(|l| l.address.addr() == *address);
        let Some(link) = self.links.iter().find(|l| l.index == link).cloned() else {
            return Vec::new();
        };
        // RFC 6762 11: only neighbours.
        let near = link.address.contains(*from.ip()) || from.ip().is_link_local();
        if !near || own(from.ip()) || message.flags & OPCODE != 0 {
            return Vec::new();
        }
        if message.is_response() {
            if from.port() == PORT {
                self.response(&link, message, now);
            }
            Vec::new()
        } else {
            self.contest(&link, message, now);
            self.query(&link, from, message, now)
        }
    }

    /// Somebody says that a name is theirs.
    fn response(&mut self, link: &LiveLink, message: &Message, now: Duration) {
        for which in [Which::Own, Which::Alias] {
            let Some(state) = self.state(which) else { continue };
            let mine = self.unique(which, link.address.addr());
            let about: Vec<&Record> = message
                .answers
                .iter()
                .chain(&message.additionals)
                .filter(|r| r.class & !FLUSH == IN && mine.iter().any(|m| m.name == r.name))
                .collect();
            let goodbye = about.iter().any(|r| r.ttl == 0 && r.kind == A);
            // RFC 6762 9: the same name and type, and something else in it.
            let conflict = about.iter().any(|r| {
                let same = |m: &&Record| m.name == r.name && m.kind == r.kind;
                let differs = mine.iter().find(same).is_some_and(|m| m.data != r.data);
                r.ttl > 0 && differs && !self.is_echo(r)
            });
            match state {
                State::Standby { .. } if goodbye => self.begin(which, now, LOST_PAUSE),
                State::Probing { .. } if conflict => self.give_way(which, now),
                State::Held { .. } if conflict => {
                    self.conflicts = self.conflicts.saturating_add(1);
                    self.begin(which, now, PROBE_PAUSE);
                }
                _ => {}
            }
        }
    }

    /// What this node said on another link, repeated here by a router that joins the two.
    fn is_echo(&self, record: &Record) -> bool {
        record.kind == A && self.links.iter().any(|l| l.address.addr().octets()[..] == record.data)
    }

    fn give_way(&mut self, which: Which, now: Duration) {
        match which {
            Which::Own => {
                self.conflicts = self.conflicts.saturating_add(1);
                self.number = self.number.saturating_add(1);
                self.names = Names::new(&self.host_name, self.number, self.about.clone());
                self.begin(Which::Own, now, PROBE_PAUSE);
                if self.shared.is_none() {
                    self.begin(Which::Alias, now, STANDBY);
                }
            }
            Which::Alias => {
                let until = now + self.chance.between(STANDBY, STANDBY + STANDBY / 4);
                self.shared = Some(State::Standby { until });
            }
        }
    }

    /// RFC 6762 8.2: somebody probes for the same name at the same time. Whose records come later
    /// in order wins; the other one waits and then finds the name taken.
    fn contest(&mut self, link: &LiveLink, message: &Message, now: Duration) {
        for which in [Which::Own, Which::Alias] {
            if !matches!(self.state(which), Some(State::Probing { .. })) {
                continue;
            }
            let order = |records: &[Record], name: &Name| {
                let of_name = records.iter().filter(|r| r.name == *name);
                let mut keys: Vec<_> =
                    of_name.map(|r| (r.class & !FLUSH, r.kind, r.data.clone())).collect();
                keys.sort();
                keys
            };
            let mine = self.unique(which, link.address.addr());
            let lost = mine.iter().any(|m| {
                let theirs = order(&message.authorities, &m.name);
                let echo = message.authorities.iter().any(|r| r.name == m.name && self.is_echo(r));
                !theirs.is_empty() && !echo && theirs > order(&mine, &m.name)
            });
            if lost {
                self.begin(which, now, LOST_PAUSE);
                if let Some(State::Probing { sent, due }) = self.state(which) {
                    self.set(which, State::Probing { sent, due: due.max(now + LOST_PAUSE) });
                }
            }
        }
    }

    fn query(
        &mut self,
        link: &LiveLink,
        from: SocketAddrV4,
        message: &Message,
        now: Duration,
    ) -> Vec<Output> {
        let held = self.held(link.address.addr());
        let legacy = from.port() != PORT;
        let mut answers: Vec<Record> = Vec::new();
        let mut add = |record: Record| {
            // RFC 6762 7.1: the questioner knows it, and for long enough.
            let known = message.answers.iter().any(|k| {
                k.name == record.name
                    && k.kind == record.kind
                    && k.data == record.data
                    && k.ttl >= record.ttl / 2
            });
            if !known && !answers.contains(&record) {
                answers.push(record);
            }
        };
        for question in &message.questions {
            if !matches!(question.class & !FLUSH, IN | ANY) {
                continue;
            }
            let of_name: Vec<&Record> = held.iter().filter(|r| r.name == question.name).collect();
            let mut found = false;
            for record in &of_name {
                if question.kind == ANY || record.kind == question.kind {
                    found = true;
                    add((*record).clone());
                }
            }
            // Only names with an address are known to have nothing else.
            if !found && of_name.iter().any(|r| r.kind == A) {
                add(nothing_else(question.name.clone()));
            }
        }
        if answers.is_empty() {
            return Vec::new();
        }
        let direct = message.questions.iter().all(|q| q.class & FLUSH != 0);
        if legacy || direct {
            return self.tell_one(link, from, message, answers, &held, legacy, now);
        }
        if !message.authorities.is_empty() {
            return self.tell_all(link.index, answers, now, QUIET_PROBE).into_iter().collect();
        }
        if answers.iter().any(|r| r.kind == PTR) {
            if self.waiting.len() < MOST_WAITING {
                let at = now + self.chance.between(WAIT.0, WAIT.1);
                self.waiting.push((at, link.index, answers));
            }
            return Vec::new();
        }
        self.tell_all(link.index, answers, now, QUIET).into_iter().collect()
    }

    #[expect(clippy::too_many_arguments, reason = "a question, its answer and who asked")]
    fn tell_one(
        &mut self,
        link: &LiveLink,
        to: SocketAddrV4,
        question: &Message,
        mut answers: Vec<Record>,
        held: &[Record],
        legacy: bool,
        now: Duration,
    ) -> Vec<Output> {
        if now.saturating_sub(self.direct.0) >= Duration::from_secs(1) {
            self.direct = (now, 0);
        }
        self.direct.1 += 1;
        if self.direct.1 > MOST_DIRECT {
            return Vec::new();
        }
        let mut additionals = more(&answers, held);
        let mut message = response(Vec::new());
        if legacy {
            message.id = question.id;
            message.questions.clone_from(&question.questions);
            for record in answers.iter_mut().chain(&mut additionals) {
                record.class &= !FLUSH;
                record.ttl = record.ttl.min(LEGACY_TTL);
            }
        }
        message.answers = answers;
        message.additionals = additionals;
        vec![Output { link: link.index, to: Some(to), message }]
    }

    /// Without what was said a moment ago.
    fn tell_all(
        &mut self,
        link: u32,
        answers: Vec<Record>,
        now: Duration,
        quiet: Duration,
    ) -> Option<Output> {
        let address = self.links.iter().find(|l| l.index == link)?.address.addr();
        let key = |r: &Record| (link, r.name.to_string().to_ascii_lowercase(), r.kind);
        let recent =
            |r: &Record| self.sent.get(&key(r)).is_some_and(|at| now.saturating_sub(*at) < quiet);
        let answers: Vec<Record> = answers.into_iter().filter(|r| !recent(r)).collect();
        if answers.is_empty() {
            return None;
        }
        // Only names of ours come here: there is a handful of them.
        self.sent.extend(answers.iter().map(|r| (key(r), now)));
        let additionals = more(&answers, &self.held(address));
        Some(Output { link, to: None, message: Message { additionals, ..response(answers) } })
    }
}

/// RFC 6763 12: with a service come its place, its text and the address.
fn more(answers: &[Record], held: &[Record]) -> Vec<Record> {
    let service = |r: &Record| r.kind == PTR || r.kind == crate::dns::SRV;
    if !answers.iter().any(service) {
        return Vec::new();
    }
    let pointed = |r: &Record| {
        answers.iter().any(|a| a.kind == PTR && a.data.eq_ignore_ascii_case(&r.name.bytes()))
    };
    let extra = |r: &&Record| (pointed(r) && r.kind != PTR) || r.kind == A;
    held.iter().filter(extra).filter(|r| !answers.contains(r)).cloned().collect()
}

fn response(answers: Vec<Record>) -> Message {
    Message { flags: RESPONSE | AUTHORITATIVE, answers, ..Message::default() }
}

#[cfg(test)]
#[path = "responder_tests.rs"]
mod tests;
