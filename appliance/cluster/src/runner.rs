//! The edge: listens, lets in, calls the others, follows the settings.

use crate::adopt::{About, AdoptError, Desk, Door, Gift, Household, Meeting, Verified, attend};
use crate::alarms::Alarms;
use crate::channel::{Admitted, Channel, Guest, Handler, Parts, Pins, Service};
use crate::counters::{Counters, one_more};
use crate::discover::{self, Finder, Hint, Place, own_hint};
use crate::error::HandshakeError;
use crate::hello::{Refusal, Versions, Why};
use crate::identity::{Identity, IdentityError, hex};
use crate::members::Members;
use crate::status::{self, Post, Refusals};
use crate::stream::SecureStream;
use crate::tls::{Session, Tls};
use control::{Reporter, Shutdown, Snapshot, SnapshotReceiver, StatusBoard, supervise};
use model::status::{Asked, FoundBoard, Joining, Offer};
use model::{DeviceId, NODE_PORT, NodeId, Revision};
use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// Incoming connections at once, all in all.
const MOST: usize = 64;
/// Of these, those from unknown addresses whose handshake is not over.
const MOST_STRANGERS: usize = 8;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;
/// Pause before the port, or a connection when descriptors ran out, is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What no event announces is looked after so often: notices that no longer hold, keys that are
/// not pinned yet.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What the channel needs of this board.
#[derive(Clone)]
pub struct Options {
    /// Where to listen; different in tests.
    pub listen: SocketAddrV4,
    /// Whom to call when boards are looked for; None: everybody on every interface.
    pub targets: Option<Vec<SocketAddrV4>>,
    /// The versions of the protocol; different in tests.
    pub versions: Versions,
    /// The board's key.
    pub identity: Identity,
    /// Has the keys of boards pinned that were met for the first time, and this board's own.
    pub pins: Pins,
    /// What this board is, for those who look for boards.
    pub household: Arc<dyn Household>,
    /// What makes a board a member.
    pub gift: Arc<dyn Gift>,
    /// Boards may be adopted although nobody compared anything. Not unless the operator insists.
    pub may_skip: bool,
}

impl Options {
    /// For a board of a cluster.
    pub fn new(
        identity: Identity,
        pins: Pins,
        household: Arc<dyn Household>,
        gift: Arc<dyn Gift>,
    ) -> Self {
        Self {
            listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, NODE_PORT),
            targets: None,
            versions: Versions::OURS,
            identity,
            pins,
            household,
            gift,
            may_skip: false,
        }
    }
}

/// The channel as the rest of the appliance uses it. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    channel: Arc<Channel>,
    finder: Finder,
    desk: Desk,
    door: Door,
}

impl Handle {
    /// Opens a stream to a node.
    ///
    /// # Errors
    /// `NotFound` for a node without an address, `NotConnected` for one whose board is not known
    /// yet, `PermissionDenied` when one of the two refused, otherwise what the network said.
    pub async fn open(&self, node: &NodeId, service: Service) -> io::Result<SecureStream> {
        self.channel.open(node, service).await.map_err(io::Error::from)
    }

    /// Has incoming streams of this service handled, in place of what handled them before. The
    /// future owns the stream and ends when it likes; it counts as a connection until then.
    pub fn on(&self, service: Service, handler: Handler) {
        self.channel.on(service, handler);
    }

    /// Boards heard of lately, this one left out. While somebody asks for them, they are looked for.
    pub fn found(&self) -> Vec<FoundBoard> {
        self.finder.found(&self.channel)
    }

    /// Keeps what other means of discovery heard of a board at some addresses.
    pub fn hint(&self, hint: Hint, at: &[Ipv4Addr]) {
        self.finder.heard(&self.channel, hint, at);
    }

    /// Looks at an address that no board was heard of from.
    ///
    /// # Errors
    /// When no board of this kind answers there.
    pub async fn look_at(&self, address: Ipv4Addr) -> Result<FoundBoard, AdoptError> {
        self.desk.look_at(address).await
    }

    /// Calls a board, as a new node or in the place of one. No secret leaves.
    ///
    /// # Errors
    /// Why it cannot be adopted; that is its last step in [`Self::progress`], too.
    pub async fn begin(
        &self,
        device: &DeviceId,
        as_node: Option<&NodeId>,
    ) -> Result<Offer, AdoptError> {
        self.desk.begin(device, as_node).await
    }

    /// The operator's word that this is the board that is meant: it becomes a node.
    ///
    /// # Errors
    /// Why not; that is its last step in [`Self::progress`], too.
    pub async fn confirm(
        &self,
        device: &DeviceId,
        verified: Verified,
    ) -> Result<NodeId, AdoptError> {
        self.desk.confirm(device, verified).await
    }

    /// Lets a board flash, as often as its code says if it has been asked.
    ///
    /// # Errors
    /// When it cannot be reached, or does not.
    pub async fn blink(&self, device: &DeviceId) -> Result<(), AdoptError> {
        self.desk.blink(device).await
    }

    /// Ends an adoption, or forgets one that has ended. One that is being completed goes on.
    pub fn cancel(&self, device: &DeviceId) {
        self.desk.cancel(device);
    }

    /// Every adoption begun on this node.
    pub fn progress(&self) -> Vec<Joining> {
        self.desk.progress()
    }

    /// Who wants this board, as long as it is nobody's.
    pub fn asked(&self) -> Option<Asked> {
        self.door.asked()
    }

    /// This board's fingerprint.
    pub fn device(&self) -> &DeviceId {
        &self.channel.device
    }

    /// What happened since the start.
    pub fn counters(&self) -> Counters {
        self.channel.counting.read()
    }
}

/// Starts following the settings; needs a tokio runtime.
///
/// # Errors
/// When this board's key cannot be used, or the system has no random numbers.
pub fn start(
    snapshots: SnapshotReceiver,
    reporter: Reporter,
    shutdown: Shutdown,
    board: StatusBoard,
    options: Options,
) -> Result<Handle, IdentityError> {
    let mut boot = [0; 16];
    SystemRandom::new().fill(&mut boot).map_err(|_| IdentityError::NO_RANDOM)?;
    let channel = Arc::new(Channel::new(Parts {
        tls: Tls::new(&options.identity)?,
        identity: options.identity,
        boot: hex(&boot),
        versions: options.versions,
        pins: options.pins,
        alarms: Alarms::new(board.clone()),
        household: options.household,
        gift: options.gift,
        may_skip: options.may_skip,
    }));
    // Streams can be opened from now on, not only once the task has begun.
    channel.membership.set(Members::of(&snapshots.borrow()));
    let listen = options.listen;
    let (finder, door) = (Finder::default(), Door::new(board.clone()));
    let desk = Desk::new(channel.clone(), finder.clone(), board.clone());
    let handle =
        Handle { channel: channel.clone(), finder: finder.clone(), desk, door: door.clone() };
    let place = Place { listen, targets: options.targets };
    tokio::spawn(discover::run(channel.clone(), finder, place, shutdown.clone()));
    tokio::spawn(supervise(reporter.clone(), shutdown.clone(), move || {
        let runner =
            Runner::new(channel.clone(), door.clone(), reporter.clone(), board.clone(), listen);
        runner.run(snapshots.clone(), shutdown.clone())
    }));
    Ok(handle)
}

type Doorbells = Arc<Mutex<BTreeMap<NodeId, Arc<Notify>>>>;

struct Runner {
    channel: Arc<Channel>,
    door: Door,
    reporter: Reporter,
    board: StatusBoard,
    at: SocketAddrV4,
    revision: Revision,
    /// What is wrong with the settings.
    complaints: Vec<String>,
    /// What is wrong with the port.
    deaf: Option<String>,
    idle: bool,
    listener: Option<TcpListener>,
    refusals: Arc<Refusals>,
    places: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    doorbells: Doorbells,
    post: watch::Sender<Post>,
    /// One sender for each node, ended when dropped.
    senders: BTreeMap<NodeId, JoinSet<()>>,
    /// Everything else, ended when dropped.
    tasks: JoinSet<()>,
}

impl Runner {
    fn new(
        channel: Arc<Channel>,
        door: Door,
        reporter: Reporter,
        board: StatusBoard,
        at: SocketAddrV4,
    ) -> Self {
        let doorbells = Doorbells::default();
        let bells = doorbells.clone();
        // A node that calls can be called: no need to wait for the next attempt.
        let called = move |node: &NodeId| {
            let bells = bells.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(bell) = bells.get(node) {
                bell.notify_one();
            }
        };
        channel.on(Service::Status, status::hear(&channel, &board, called));
        Self {
            channel,
            door,
            reporter,
            board,
            at,
            revision: Revision::default(),
            complaints: Vec::new(),
            deaf: None,
            idle: true,
            listener: None,
            refusals: Arc::default(),
            places: Arc::new(Semaphore::new(MOST)),
            strangers: Arc::new(Semaphore::new(MOST_STRANGERS)),
            doorbells,
            post: watch::channel(Post::default()).0,
            senders: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    async fn run(mut self, mut snapshots: SnapshotReceiver, shutdown: Shutdown) {
        let mut look = tokio::time::interval(LOOK_AGAIN);
        let mut publisher = JoinSet::new();
        publisher.spawn(status::publish(self.board.clone(), self.post.clone()));
        let first = snapshots.borrow_and_update().clone();
        self.follow(&first);
        let refusals = self.refusals.clone();
        loop {
            tokio::select! {
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return shutdown.requested().await;
                    }
                    let snapshot = snapshots.borrow_and_update().clone();
                    self.follow(&snapshot);
                }
                accepted = accept(self.listener.as_ref()) => self.accepted(accepted),
                () = refusals.news.notified() => self.report(),
                () = tokio::time::sleep(RETRY), if self.deaf.is_some() => {
                    self.listen();
                    self.report();
                }
                Some(_) = self.tasks.join_next() => {}
                _ = look.tick() => self.look_again(),
                // A fault in a provider of the board: everything is started again.
                Some(_) = publisher.join_next() => return,
                () = shutdown.requested() => return,
            }
        }
    }

    /// Compares the settings with what runs.
    fn follow(&mut self, snapshot: &Snapshot) {
        self.revision = snapshot.revision;
        let members = Members::of(snapshot);
        let reached: Vec<NodeId> = members
            .peers
            .iter()
            .filter(|(_, peer)| members.reaches(peer))
            .map(|(id, _)| id.clone())
            .collect();
        self.idle = reached.is_empty();
        self.complaints = Members::complaint(snapshot).into_iter().collect();
        match &members.pinned {
            Some(Some(device)) if *device != self.channel.device => self.complaints.push(format!(
                "the cluster knows another key for {}: the card of this board was replaced or \
                 wiped; use Replace on its page on another node",
                members.name
            )),
            _ => {}
        }
        if !self.idle {
            let unmet = members.peers.values().filter(|peer| !members.reaches(peer));
            self.complaints.extend(unmet.map(|p| format!("{}: {}", p.name, HandshakeError::Unmet)));
        }
        self.board.retain(|id| members.peers.contains_key(id));
        let before = self.channel.membership.now();
        if *before != members {
            self.channel.membership.set(members.clone());
            self.channel.forget_strangers(&members);
            self.refusals.retain(|id| {
                before.key == members.key && before.peers.get(id) == members.peers.get(id)
            });
            self.board.look_again();
        }
        self.look_again();
        self.senders.retain(|id, _| reached.contains(id));
        let mut bells = self.doorbells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|id, _| reached.contains(id));
        for id in &reached {
            let bell = bells.entry(id.clone()).or_default();
            if *before != members {
                bell.notify_one();
            }
            self.senders.entry(id.clone()).or_insert_with(|| {
                let mut task = JoinSet::new();
                task.spawn(status::tell(
                    self.channel.clone(),
                    id.clone(),
                    self.post.subscribe(),
                    self.refusals.clone(),
                    bell.clone(),
                ));
                task
            });
        }
        drop(bells);
        if self.listener.is_none() {
            self.listen();
        }
        self.report();
    }

    /// What is not an answer to anything that happens.
    fn look_again(&self) {
        self.channel.alarms.expire(Instant::now());
        let members = self.channel.membership.now();
        if members.pinned == Some(None) {
            self.channel.pin(&members.own, &self.channel.device);
        }
        // The settings may have been busy when a board was met.
        for (node, device) in self.channel.membership.unpinned() {
            self.channel.pin(&node, &device);
        }
    }

    fn listen(&mut self) {
        match listener(self.at) {
            Ok(listener) => (self.listener, self.deaf) = (Some(listener), None),
            Err(error) => {
                let at = self.at;
                let reason =
                    format!("other nodes cannot call this one: {at} is not free ({error})");
                if self.deaf.as_ref() != Some(&reason) {
                    tracing::warn!("{reason}");
                }
                self.deaf = Some(reason);
            }
        }
    }

    fn report(&self) {
        let mut reasons = self.complaints.clone();
        reasons.extend(self.deaf.clone());
        reasons.extend(self.refusals.sentence());
        if !reasons.is_empty() {
            self.reporter.degraded(self.revision, reasons.join("; "));
        } else if self.idle {
            self.reporter.idle(self.revision);
        } else {
            self.reporter.applied(self.revision);
        }
    }

    fn accepted(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let counting = &self.channel.counting;
        let (tcp, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: the listener is opened again after a pause.
                self.listener = None;
                self.deaf = Some(format!("connections of other nodes are not taken ({error})"));
                return self.report();
            }
        };
        one_more(&counting.incoming);
        let member = self.channel.is_near(from.ip());
        let place = self.places.clone().try_acquire_owned();
        let stranger = if member { None } else { Some(self.strangers.clone().try_acquire_owned()) };
        match (place, stranger.transpose()) {
            (Ok(place), Ok(stranger)) => {
                let (channel, door) = (self.channel.clone(), self.door.clone());
                self.tasks.spawn(serve(channel, door, tcp, from, place, stranger));
            }
            _ => one_more(&counting.busy),
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => pending().await,
    }
}

/// One incoming connection, from the handshake to the end.
async fn serve(
    channel: Arc<Channel>,
    door: Door,
    tcp: TcpStream,
    from: SocketAddr,
    _place: OwnedSemaphorePermit,
    stranger: Option<OwnedSemaphorePermit>,
) {
    let counting = &channel.counting;
    match channel.admit(tcp).await {
        Ok(Admitted::Guest(guest)) => {
            one_more(&counting.guests);
            if let Err(error) = receive(&channel, &door, guest).await {
                tracing::debug!("talking about adoption with {from}: {error}");
                if matches!(error, HandshakeError::Garbage) {
                    one_more(&counting.garbage);
                }
            }
        }
        Ok(Admitted::Member(handler, stream)) => {
            one_more(&counting.admitted);
            drop(stranger);
            let peer = stream.peer().clone();
            handler(peer, stream).await;
        }
        Err(error) => {
            tracing::debug!("a connection from {from} was not let in: {error}");
            one_more(match error {
                HandshakeError::Refusing(Refusal { why: Why::OtherKey, .. }) => &counting.wrong_key,
                HandshakeError::Garbage => &counting.garbage,
                HandshakeError::Io(_) | HandshakeError::TimedOut => &counting.unfinished,
                _ => &counting.refused,
            });
        }
    }
}

/// Talks with a board about adoption.
async fn receive(channel: &Channel, door: &Door, mut guest: Guest) -> Result<(), HandshakeError> {
    let members = channel.membership.now();
    let about = About {
        hint: own_hint(channel, false),
        node: members.own.clone(),
        entry: members.entry.clone(),
        household: channel.household(),
        gift: channel.gift(),
        door,
    };
    let Session { stream, device, binding } = &mut guest.met;
    let meeting = Meeting { binding, node: device, board: &channel.device };
    attend(stream, &about, &meeting).await?;
    // Where the node is that this board may have just become a neighbour of.
    channel.met(device, guest.at);
    // The answer has to arrive before the end.
    Ok(stream.shutdown().await?)
}

fn listener(at: SocketAddrV4) -> io::Result<TcpListener> {
    let socket =
        Socket::new(Domain::IPV4, Type::STREAM.cloexec().nonblocking(), Some(Protocol::TCP))?;
    // A restart must not wait for the last process's connections to time out.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::V4(at).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
