//! The adoptions that were begun on this node.

use super::code::Meeting;
use super::node::{self, Introduced, Suitor};
use super::{AdoptError, NewBoard, Verified};
use crate::channel::{Channel, Guest};
use crate::discover::{Finder, Hint};
use crate::members::Members;
use crate::proof::Token;
use control::StatusBoard;
use model::status::{FoundBoard, JoinStep, Joining, Offer};
use model::{DeviceId, NODE_PORT, Node, NodeId};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// So long the operator has to compare.
const COMPARING: Duration = Duration::from_secs(5 * 60);
/// A board that is busy is asked once more after this.
const BUSY: Duration = Duration::from_millis(500);
/// More adoptions are not listed.
const MOST: usize = 32;

enum Command {
    Confirm(Verified, oneshot::Sender<Result<NodeId, AdoptError>>),
    Blink(oneshot::Sender<Result<(), AdoptError>>),
}

struct Entry {
    number: u64,
    joining: Joining,
    commands: mpsc::Sender<Command>,
    task: Option<AbortHandle>,
}

impl Entry {
    fn is_over(&self) -> bool {
        matches!(self.joining.step, JoinStep::Member { .. } | JoinStep::Failed { .. })
    }
}

#[derive(Default)]
struct Entries {
    all: BTreeMap<DeviceId, Entry>,
    next: u64,
}

/// The adoptions that were begun on this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk {
    channel: Arc<Channel>,
    finder: Finder,
    board: StatusBoard,
    entries: Arc<Mutex<Entries>>,
}

/// One adoption, as its task sees it.
struct Case {
    desk: Desk,
    device: DeviceId,
    number: u64,
    replaces: Option<NodeId>,
    commands: mpsc::Receiver<Command>,
}

impl Desk {
    pub(crate) fn new(channel: Arc<Channel>, finder: Finder, board: StatusBoard) -> Self {
        Self { channel, finder, board, entries: Arc::default() }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the board at an address what it is.
    pub(crate) async fn look_at(&self, at: Ipv4Addr) -> Result<FoundBoard, AdoptError> {
        let mut guest = self.call(at).await?;
        let hint = self.hint_of(&mut guest).await?;
        let device = hint.device.clone();
        self.finder.looked_at(hint, at);
        let found = self.finder.found(&self.channel);
        found.into_iter().find(|board| board.device == device).ok_or(AdoptError::TooMany)
    }

    /// Calls a board and agrees on how it is made sure that it is the one. No secret leaves.
    pub(crate) async fn begin(
        &self,
        device: &DeviceId,
        as_node: Option<&NodeId>,
    ) -> Result<Offer, AdoptError> {
        let offered = self.open(device, as_node)?;
        self.board.touch();
        offered.await.unwrap_or(Err(AdoptError::Cancelled))
    }

    /// Puts an adoption on the list and starts it.
    fn open(
        &self,
        device: &DeviceId,
        as_node: Option<&NodeId>,
    ) -> Result<oneshot::Receiver<Result<Offer, AdoptError>>, AdoptError> {
        let (name, addresses) = self.finder.addresses(device).ok_or(AdoptError::NotFound)?;
        let (commands, heard) = mpsc::channel(4);
        let (offer, offered) = oneshot::channel();
        let mut entries = self.entries();
        match entries.all.get(device) {
            Some(entry) if entry.joining.step == JoinStep::Joining => {
                return Err(AdoptError::UnderWay);
            }
            // The board has room for one: the earlier attempt ends first.
            Some(entry) => entry.task.iter().for_each(AbortHandle::abort),
            None if entries.all.len() >= MOST => {
                entries.all.retain(|_, entry| !entry.is_over());
                if entries.all.len() >= MOST {
                    return Err(AdoptError::TooMany);
                }
            }
            None => {}
        }
        entries.next += 1;
        let number = entries.next;
        let replaces = as_node.cloned();
        let case = Case {
            desk: self.clone(),
            device: device.clone(),
            number,
            replaces: replaces.clone(),
            commands: heard,
        };
        // It looks for its entry only later: the list is locked until it is there.
        let task = Some(tokio::spawn(case.run(addresses, offer)).abort_handle());
        let joining =
            Joining { device: device.clone(), name, replaces, step: JoinStep::Connecting };
        entries.all.insert(device.clone(), Entry { number, joining, commands, task });
        Ok(offered)
    }

    /// The operator's word.
    pub(crate) async fn confirm(
        &self,
        device: &DeviceId,
        verified: Verified,
    ) -> Result<NodeId, AdoptError> {
        let (reply, answer) = oneshot::channel();
        self.command(device, Command::Confirm(verified, reply)).await?;
        answer.await.unwrap_or(Err(AdoptError::Cancelled))
    }

    /// Lets a board flash.
    pub(crate) async fn blink(&self, device: &DeviceId) -> Result<(), AdoptError> {
        let (reply, answer) = oneshot::channel();
        if self.command(device, Command::Blink(reply)).await.is_ok() {
            if let Ok(answer) = answer.await {
                return answer;
            }
        }
        let (_, addresses) = self.finder.addresses(device).ok_or(AdoptError::NotFound)?;
        let mut guest = self.reach(device, &addresses).await?;
        node::blink(&mut guest.met.stream).await
    }

    /// Ends an adoption, or forgets one that has ended. One that is being completed goes on.
    pub(crate) fn cancel(&self, device: &DeviceId) {
        let entry = self.entries().all.remove(device);
        if let Some(Entry { task: Some(task), joining, .. }) = entry {
            if joining.step != JoinStep::Joining {
                task.abort();
            }
        }
        self.board.touch();
    }

    pub(crate) fn progress(&self) -> Vec<Joining> {
        self.entries().all.values().map(|entry| entry.joining.clone()).collect()
    }

    async fn command(&self, device: &DeviceId, command: Command) -> Result<(), AdoptError> {
        let commands = self.entries().all.get(device).map(|entry| entry.commands.clone());
        let commands = commands.ok_or(AdoptError::NotBegun)?;
        commands.send(command).await.map_err(|_| AdoptError::NotBegun)
    }

    async fn call(&self, at: Ipv4Addr) -> Result<Guest, AdoptError> {
        let called = self.channel.call_guest(SocketAddr::from((at, NODE_PORT))).await;
        let guest = called.map_err(|error| match AdoptError::from(error) {
            AdoptError::Broken => AdoptError::Unreachable("nobody there".to_owned()),
            other => other,
        })?;
        if guest.met.device != self.channel.device {
            Ok(guest)
        } else if guest.boot == self.channel.boot() {
            Err(AdoptError::OwnBoard)
        } else {
            Err(AdoptError::Copied)
        }
    }

    /// The board at one of its addresses.
    async fn reach(&self, device: &DeviceId, at: &[Ipv4Addr]) -> Result<Guest, AdoptError> {
        let mut failure = AdoptError::NotFound;
        for address in at {
            match self.call(*address).await {
                Ok(guest) if guest.met.device == *device => return Ok(guest),
                Ok(_) => failure = AdoptError::OtherBoard,
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn hint_of(&self, guest: &mut Guest) -> Result<Hint, AdoptError> {
        let hint = node::who(&mut guest.met.stream).await?;
        // What it proved, whatever it says.
        Ok(Hint { device: guest.met.device.clone(), ..hint })
    }
}

impl Case {
    /// Puts the step on the list, unless the adoption was begun again meanwhile.
    fn step(&self, step: JoinStep) {
        let mut entries = self.desk.entries();
        match entries.all.get_mut(&self.device) {
            Some(entry) if entry.number == self.number => entry.joining.step = step,
            _ => return,
        }
        drop(entries);
        self.desk.board.touch();
    }

    fn failed(&self, error: &AdoptError) {
        tracing::warn!("board {} was not adopted: {error}", self.device);
        self.step(JoinStep::Failed { reason: error.to_string() });
    }

    async fn run(
        mut self,
        addresses: Vec<Ipv4Addr>,
        offer: oneshot::Sender<Result<Offer, AdoptError>>,
    ) {
        let mut met = self.meet(&addresses).await;
        if matches!(met, Err(AdoptError::Busy)) {
            // With an earlier attempt of ours, perhaps, whose end it has not noticed yet.
            sleep(BUSY).await;
            met = self.meet(&addresses).await;
        }
        let (mut guest, introduced) = match met {
            Ok(met) => met,
            Err(error) => {
                self.failed(&error);
                let _ = offer.send(Err(error)); // nobody waits for it any more
                return;
            }
        };
        let (code, blinks) = (introduced.code.digits.clone(), introduced.code.blinks);
        let _ = offer.send(Ok(if introduced.trusted {
            Offer::Trusted
        } else {
            self.step(JoinStep::Compare { code: code.clone(), blinks });
            Offer::Compare { code, blinks }
        }));
        let until = Instant::now() + COMPARING;
        loop {
            let command = tokio::select! {
                command = self.commands.recv() => command,
                () = sleep_until(until) => return self.failed(&AdoptError::Expired),
                // A board that has nothing to answer says nothing: this is its end.
                _ = guest.ended() => return self.failed(&AdoptError::Broken),
            };
            match command {
                None => return,
                Some(Command::Blink(reply)) => {
                    let _ = reply.send(node::blink(&mut guest.met.stream).await);
                }
                Some(Command::Confirm(verified, reply)) => {
                    if verified == Verified::Skipped && !self.desk.channel.may_skip() {
                        let _ = reply.send(Err(AdoptError::NotCompared));
                        continue;
                    }
                    let verified = if introduced.trusted { Verified::Card } else { verified };
                    let joined = self.join(&mut guest, &introduced, verified).await;
                    match &joined {
                        Ok(node) => self.step(JoinStep::Member { node: node.clone() }),
                        Err(error) => self.failed(error),
                    }
                    let _ = reply.send(joined);
                    return;
                }
            }
        }
    }

    /// Calls the board and finds out whether it may be adopted, and what it takes.
    async fn meet(&mut self, at: &[Ipv4Addr]) -> Result<(Guest, Introduced), AdoptError> {
        let channel = self.desk.channel.clone();
        let household = channel.household();
        if !household.claimed() {
            return Err(AdoptError::Unclaimed);
        }
        let members = channel.membership.now();
        if let Some(node) = self.replaces.as_ref().filter(|node| !members.peers.contains_key(*node))
        {
            return Err(AdoptError::NoSuchNode(node.to_string()));
        }
        let mut guest = self.desk.reach(&self.device, at).await?;
        let hint = self.desk.hint_of(&mut guest).await?;
        let holder = members.holder(&self.device).cloned();
        match &holder {
            Some(node) if hint.claimed => {
                return Err(AdoptError::Member(members.name(node).to_owned()));
            }
            // It was reset since: it comes back as what it was.
            Some(node) if self.replaces.is_none() => self.replaces = Some(node.clone()),
            Some(node) if self.replaces.as_ref() != Some(node) => {
                return Err(AdoptError::Member(members.name(node).to_owned()));
            }
            None if hint.claimed && !hint.cluster.is_empty() && hint.cluster == members.cluster => {
                return Err(AdoptError::Removed);
            }
            None if hint.claimed => return Err(AdoptError::Claimed(hint.cluster)),
            _ => {}
        }
        let suitor = Suitor {
            cluster: members.cluster.clone(),
            node: members.name.clone(),
            token: household.join_token().and_then(|secret| Token::derive(&secret)),
        };
        let Guest { met, .. } = &mut guest;
        let meeting = Meeting { binding: &met.binding, node: &channel.device, board: &met.device };
        let introduced = node::introduce(&mut met.stream, &suitor, &meeting).await?;
        Ok((guest, introduced))
    }

    async fn join(
        &self,
        guest: &mut Guest,
        introduced: &Introduced,
        verified: Verified,
    ) -> Result<NodeId, AdoptError> {
        self.step(JoinStep::Joining);
        let channel = &self.desk.channel;
        let gift = channel.gift();
        let members = channel.membership.now();
        let board = self.new_board(&members, introduced, verified);
        let node = board.node.clone();
        channel.met(&board.device, guest.at);
        let bytes = gift.invite(board.clone()).await.map_err(AdoptError::NotInvited)?;
        let given = node::hand_over(&mut guest.met.stream, verified, node.clone(), &bytes).await;
        match given {
            Ok(()) => {
                // What it was before is not shown any more.
                self.desk.finder.forget(&self.device);
                tracing::info!("board {} is node {node}", self.device);
                Ok(node)
            }
            // The board may have taken it: then it is a node, and otherwise adopted again.
            Err(AdoptError::Halfway) => Err(AdoptError::Halfway),
            Err(error) => {
                if let Err(why) = gift.withdraw(board).await {
                    tracing::warn!("node {node} stays in the settings without its board: {why}");
                }
                Err(error)
            }
        }
    }

    fn new_board(
        &self,
        members: &Members,
        introduced: &Introduced,
        verified: Verified,
    ) -> NewBoard {
        let taken = |id: &NodeId| *id == members.own || members.peers.contains_key(id);
        let node = match &self.replaces {
            Some(node) => node.clone(),
            None if !taken(&introduced.node) => introduced.node.clone(),
            None => fresh(&self.device, taken),
        };
        let entry = introduced.entry.clone().unwrap_or_default();
        NewBoard {
            device: self.device.clone(),
            node: node.clone(),
            replaces: self.replaces.is_some(),
            entry: Node { id: node, device: Some(self.device.clone()), ..entry },
            model: introduced.model.clone(),
            verified,
        }
    }
}

/// A node id from the fingerprint that nobody has.
fn fresh(device: &DeviceId, taken: impl Fn(&NodeId) -> bool) -> NodeId {
    (8..=32)
        .filter_map(|length| format!("pi-{}", device.as_str().get(..length)?).parse().ok())
        .find(|id| !taken(id))
        .unwrap_or_default()
}
