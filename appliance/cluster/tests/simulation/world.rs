//! A cluster in one thread: the real books and the real dialogue, on cards and cables that fail.

use crate::chance::Chance;
use cluster::{Dialogue, Say, State};
use control::{
    Author, Book, Commit, MemoryStorage, RevisionInfo, Storage, StorageError, StoredRevision,
};
use model::{DeviceId, NodeId, Revision, Settings};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

/// Simulated milliseconds between two looks at everything.
pub(crate) const STEP: u64 = 50;

/// A card. It outlives the process, and can be copied, wiped and put back. The clock of the board
/// it is in is wrong.
#[derive(Clone)]
pub(crate) struct Card(Arc<Mutex<(MemoryStorage, i64)>>);

impl Card {
    pub(crate) fn new(clock: i64) -> Self {
        Self(Arc::new(Mutex::new((MemoryStorage::default(), clock))))
    }

    /// A copy as a card reader makes it.
    pub(crate) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }

    fn with<T>(&self, work: impl FnOnce(&mut MemoryStorage) -> T) -> T {
        work(&mut self.0.lock().unwrap().0)
    }
}

impl Storage for Card {
    fn newest(&mut self) -> Result<Option<StoredRevision>, StorageError> {
        self.with(Storage::newest)
    }
    fn revision(&mut self, revision: Revision) -> Result<Option<StoredRevision>, StorageError> {
        self.with(|s| s.revision(revision))
    }
    fn commit(&mut self, commit: &Commit<'_>) -> Result<(), StorageError> {
        self.with(|s| s.commit(commit))
    }
    fn history(&mut self, limit: usize) -> Result<Vec<RevisionInfo>, StorageError> {
        let clock = self.0.lock().unwrap().1;
        let mut list = self.with(|s| s.history(limit))?;
        list.iter_mut().for_each(|info| info.at_ms = clock * 1000);
        Ok(list)
    }
    fn document(&mut self) -> Result<Vec<Vec<u8>>, StorageError> {
        self.with(Storage::document)
    }
    fn keys(&mut self) -> Result<Option<Vec<u8>>, StorageError> {
        self.with(Storage::keys)
    }
    fn set_keys(&mut self, keys: &[u8]) -> Result<(), StorageError> {
        self.with(|s| s.set_keys(keys))
    }
}

/// One end of a cable.
struct End {
    session: u64,
    dialogue: Dialogue,
    incoming: VecDeque<(u64, Frame)>,
    /// How far this side was when it last spoke; None once it has heard something.
    spoke: Option<State>,
}

enum Frame {
    State(State),
    Message(Vec<u8>),
    Keys(String),
}

/// Two boards that talk.
struct Connection {
    ends: [End; 2],
}

/// A place for a board.
pub(crate) struct Place {
    pub(crate) id: NodeId,
    pub(crate) card: Card,
    /// None: switched off.
    pub(crate) book: Option<Book<Card>>,
    /// Which half of the network it is plugged into.
    pub(crate) side: u8,
    /// A second board with this one's card: it talks and is never edited.
    pub(crate) is_copy: bool,
}

pub(crate) struct World {
    pub(crate) places: Vec<Place>,
    pub(crate) now: u64,
    pub(crate) chance: Chance,
    connections: BTreeMap<(usize, usize), Connection>,
    /// When two boards that could talk try it next.
    again: BTreeMap<(usize, usize), u64>,
    random: Arc<Mutex<Chance>>,
    pub(crate) messages: u64,
}

pub(crate) fn device(number: usize) -> DeviceId {
    format!("{number:064x}").parse().unwrap()
}

impl World {
    /// The first node of a cluster, which has settings for all of them, and the others, which join.
    pub(crate) fn new(seed: u64, settings: &Settings, clocks: &[i64]) -> Self {
        let mut world = Self {
            places: Vec::new(),
            now: 0,
            chance: Chance::new(seed),
            connections: BTreeMap::new(),
            again: BTreeMap::new(),
            random: Arc::new(Mutex::new(Chance::new(seed ^ 0xac70))),
            messages: 0,
        };
        for (at, node) in settings.nodes.iter().enumerate() {
            let card = Card::new(clocks.get(at % clocks.len()).copied().unwrap_or_default());
            let place = Place { id: node.id.clone(), card, book: None, side: 0, is_copy: false };
            world.places.push(place);
            world.switch_on(at);
            if at == 0 {
                let book = world.places[0].book.as_mut().unwrap();
                book.write_settings(settings.clone(), &Author::Local, "began").unwrap();
            } else {
                world.adopt(at, 0);
            }
        }
        world
    }

    /// Power, and the process on top of it.
    pub(crate) fn switch_on(&mut self, at: usize) {
        let random = self.random.clone();
        let random = Box::new(move |bytes: &mut [u8]| {
            let mut chance = random.lock().unwrap();
            bytes.fill_with(|| u8::try_from(chance.below(256)).unwrap());
            Ok(())
        });
        let place = &mut self.places[at];
        let mut book =
            Book::open_with(place.card.clone(), &place.id, Settings::default(), random).unwrap();
        book.begin().unwrap();
        place.book = Some(book);
    }

    /// The plug is pulled, or the process killed: what was stored is there, nothing else.
    pub(crate) fn switch_off(&mut self, at: usize) {
        self.places[at].book = None;
        self.cut(|a, b| a == at || b == at);
    }

    /// A board without settings becomes the node of this place again.
    pub(crate) fn adopt(&mut self, at: usize, by: usize) {
        let gift = self.places[by].book.as_ref().unwrap().gift();
        let book = self.places[at].book.as_mut().unwrap();
        book.join(gift, &Author::Local, "joined").unwrap();
    }

    pub(crate) fn on(&self) -> Vec<usize> {
        (0..self.places.len()).filter(|at| self.places[*at].book.is_some()).collect()
    }

    pub(crate) fn book(&self, at: usize) -> &Book<Card> {
        self.places[at].book.as_ref().unwrap()
    }

    pub(crate) fn heads(&self, at: usize) -> String {
        self.book(at).replication().heads.clone()
    }

    /// Is everything this board knows on another one as well, one that nobody is about to wipe?
    pub(crate) fn is_safe(&self, at: usize) -> bool {
        let heads = self.heads(at);
        self.on().into_iter().any(|o| o != at && !self.places[o].is_copy && self.heads(o) == heads)
    }

    pub(crate) fn plug(&mut self, at: usize, side: u8) {
        self.places[at].side = side;
        let sides: Vec<u8> = self.places.iter().map(|p| p.side).collect();
        self.cut(|a, b| sides[a] != sides[b]);
    }

    fn cut(&mut self, hit: impl Fn(usize, usize) -> bool) {
        self.connections.retain(|(a, b), _| !hit(*a, *b));
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        while self.now < end {
            self.now += STEP;
            self.connect();
            self.deliver();
            self.talk();
        }
    }

    /// Until all boards have the same document and the same keys, or this is over.
    pub(crate) fn run_until_agreed(&mut self, limit: u64) {
        let end = self.now + limit;
        let state = |place: &Place| {
            let now = place.book.as_ref()?.replication();
            Some((now.heads.clone(), now.keys.clone()))
        };
        let agreed = |places: &[Place]| {
            let mut states: Vec<_> = places.iter().map(state).collect();
            states.dedup();
            states.len() == 1
        };
        while self.now < end && !agreed(&self.places) {
            self.run(STEP);
        }
    }

    fn connect(&mut self) {
        let on = self.on();
        for a in &on {
            for b in on.iter().filter(|b| *b > a) {
                let pair = (*a, *b);
                let near = self.places[*a].side == self.places[*b].side;
                let known =
                    |x: usize, y: usize| self.book(x).settings().node(&self.places[y].id).is_some();
                // Two boards with one card know each other for what they are.
                let same = self.places[*a].id == self.places[*b].id;
                if !near || same || !known(*a, *b) || !known(*b, *a) {
                    self.connections.remove(&pair);
                    continue;
                }
                if self.connections.contains_key(&pair) {
                    continue;
                }
                let again = self.again.get(&pair).copied().unwrap_or(0);
                if again > self.now {
                    continue;
                }
                // As the callers do: a pause of a quarter of a second to two.
                self.again.insert(pair, self.now + 250 + self.chance.below(1750));
                if self.chance.below(4) == 0 {
                    continue;
                }
                let mut end = |at: usize| End {
                    session: self.places[at].book.as_mut().unwrap().open_session(),
                    dialogue: Dialogue::default(),
                    incoming: VecDeque::new(),
                    spoke: None,
                };
                let ends = [end(*a), end(*b)];
                self.connections.insert(pair, Connection { ends });
            }
        }
    }

    fn deliver(&mut self) {
        let mut broken = BTreeSet::new();
        for ((a, b), connection) in &mut self.connections {
            for (at, from, end) in [(*a, *b, 0), (*b, *a, 1)] {
                let peer = self.places[from].id.clone();
                let end = &mut connection.ends[end];
                while end.incoming.front().is_some_and(|(when, _)| *when <= self.now) {
                    let Some((_, frame)) = end.incoming.pop_front() else { break };
                    end.spoke = None;
                    let book = self.places[at].book.as_mut().unwrap();
                    match frame {
                        Frame::State(state) => end.dialogue.heard_state(state),
                        Frame::Keys(keys) => {
                            book.add_keys(keys.as_bytes(), &peer).unwrap();
                            end.dialogue.heard_keys();
                        }
                        Frame::Message(message) => {
                            end.dialogue.heard_message();
                            self.messages += 1;
                            book.receive(end.session, &peer, &message).unwrap().unwrap();
                        }
                    }
                }
            }
            // A cable that is pulled and put back at once.
            if self.chance.below(2000) == 0 {
                broken.insert((*a, *b));
            }
        }
        self.connections.retain(|pair, _| !broken.contains(pair));
    }

    fn talk(&mut self) {
        let state = |place: &Place| {
            let now = place.book.as_ref()?.replication();
            Some(State { heads: now.heads.clone(), keys: now.keys.clone() })
        };
        let states: Vec<Option<State>> = self.places.iter().map(state).collect();
        for ((a, b), connection) in &mut self.connections {
            for (at, near, far) in [(*a, 0, 1), (*b, 1, 0)] {
                let book = self.places[at].book.as_mut().unwrap();
                let state = states[at].clone().unwrap();
                let session = connection.ends[near].session;
                if connection.ends[near].spoke.as_ref() == Some(&state) {
                    continue;
                }
                connection.ends[near].spoke = Some(state.clone());
                for say in connection.ends[near].dialogue.due(&state) {
                    let mut frames = Vec::new();
                    match say {
                        Say::State(state) => frames.push(Frame::State(state)),
                        Say::Keys => frames.push(Frame::Keys(book.keys())),
                        Say::Messages => {
                            while let Some(message) = book.next_message(session) {
                                frames.push(Frame::Message(message));
                            }
                        }
                    }
                    for frame in frames {
                        let queue = &mut connection.ends[far].incoming;
                        // TCP: in order, whatever each takes.
                        let after = queue.back().map_or(0, |(when, _)| *when);
                        let when = after.max(self.now + 1 + self.chance.below(200));
                        queue.push_back((when, frame));
                    }
                }
            }
        }
    }
}
