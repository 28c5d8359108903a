//! From a node's name to a stream, and from a connection to a node's name.
//!
//! TLS ([`crate::tls`]) says which board is at the other end, the settings ([`crate::members`])
//! say which node that board is, and the hello ([`crate::hello`]) what the stream is for. A board
//! that is no node yet has to prove that it knows the cluster's key ([`crate::proof`]).

use crate::adopt::{Gift, Household};
use crate::alarms::{Alarm, Alarms};
use crate::counters::{Counting, one_more};
use crate::error::{HandshakeError, versions};
use crate::hello::{self, Answer, Hello, Refusal, Versions, Why};
use crate::identity::Identity;
use crate::members::{Entrant, Members, Membership, Peer, Standing};
use crate::places::Places;
use crate::proof::{Claim, Key, Role};
use crate::stream::{Counted, SecureStream};
use crate::tls::{Session, Tls};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::{DeviceId, NODE_PORT, NodeId};
use serde::{Deserialize, Serialize};
use socket2::{SockRef, Socket, TcpKeepalive};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// A handshake takes no longer, on either side.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// A connection that is not there by then is given up.
const CONNECT: Duration = Duration::from_secs(3);
/// The next address is tried as well when the one before has not answered by then (the idea of
/// RFC 8305 5): the wired one has the first word, the wireless one saves the day.
const HEAD_START: Duration = Duration::from_millis(300);

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Reports of nodes about themselves.
    Status,
    /// Files of the sites.
    Mirror,
    /// The settings, as every node replicates them.
    Settings,
    /// Sessions of the admin page.
    Sessions,
    /// The audit log.
    Audit,
    /// Stick tables of the load balancers.
    Visits,
    /// What one node asks another to do: reboot, blink, failover, logs.
    Action,
    /// Taking in a board that is no member yet; no stream between members.
    Adoption,
    /// Whether a node is reached at an address it tries.
    Witness,
}

impl Service {
    /// How long what was sent may stay unacknowledged before the connection counts as dead.
    fn patience(self) -> Duration {
        match self {
            // A report goes out every second and a node that has been silent for 3 s counts as
            // gone: by then the other address must have been tried.
            Self::Status => Duration::from_millis(1500),
            Self::Mirror
            | Self::Settings
            | Self::Sessions
            | Self::Audit
            | Self::Visits
            | Self::Action
            | Self::Adoption
            | Self::Witness => Duration::from_secs(10),
        }
    }

    /// Its word in a hello.
    fn word(self) -> String {
        let word = serde_json::to_value(self).ok();
        word.and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// What is done with an incoming stream.
pub type Handler =
    Arc<dyn Fn(NodeId, SecureStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Has the key of a board pinned to a node in the settings. It may take its time, and fail: it is
/// asked again.
pub type Pins = Arc<dyn Fn(NodeId, DeviceId) + Send + Sync>;

/// What calls and answers have in common.
pub(crate) struct Channel {
    pub(crate) device: DeviceId,
    pub(crate) membership: Membership,
    pub(crate) counting: Arc<Counting>,
    pub(crate) alarms: Alarms,
    places: Mutex<Places>,
    tls: Tls,
    boot: String,
    versions: Versions,
    pins: Pins,
    household: Arc<dyn Household>,
    gift: Arc<dyn Gift>,
    may_skip: bool,
    handlers: Mutex<BTreeMap<Service, Handler>>,
}

/// What a channel is made of.
pub(crate) struct Parts {
    pub(crate) identity: Identity,
    pub(crate) tls: Tls,
    pub(crate) boot: String,
    pub(crate) versions: Versions,
    pub(crate) pins: Pins,
    pub(crate) alarms: Alarms,
    pub(crate) household: Arc<dyn Household>,
    pub(crate) gift: Arc<dyn Gift>,
    pub(crate) may_skip: bool,
}

/// A connection over which both boards have shown their keys.
pub(crate) type Met = Session<Counted<TcpStream>>;

/// A connection with a board that need be no member, for adoption.
pub(crate) struct Guest {
    pub(crate) met: Met,
    pub(crate) boot: String,
    /// Where it is.
    pub(crate) at: IpAddr,
}

impl Guest {
    /// Waits for the end of the connection, or for something that should not come.
    pub(crate) async fn ended(&mut self) {
        let _ = self.met.stream.read(&mut [0]).await;
    }
}

/// Who was let in.
pub(crate) enum Admitted {
    /// A node, and what is done with its stream.
    Member(Handler, SecureStream),
    /// Any board at all.
    Guest(Guest),
}

impl Channel {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            device: parts.identity.device().clone(),
            membership: Membership::default(),
            counting: Arc::default(),
            alarms: parts.alarms,
            places: Mutex::default(),
            tls: parts.tls,
            boot: parts.boot,
            versions: parts.versions,
            pins: parts.pins,
            household: parts.household,
            gift: parts.gift,
            may_skip: parts.may_skip,
            handlers: Mutex::default(),
        }
    }

    pub(crate) fn household(&self) -> &dyn Household {
        self.household.as_ref()
    }

    pub(crate) fn gift(&self) -> &dyn Gift {
        self.gift.as_ref()
    }

    pub(crate) fn versions(&self) -> Versions {
        self.versions
    }

    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// May boards be adopted without the operator comparing anything?
    pub(crate) fn may_skip(&self) -> bool {
        self.may_skip
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A board has shown its key there.
    pub(crate) fn met(&self, device: &DeviceId, at: IpAddr) {
        match at.to_canonical() {
            // No other board's, whatever way it came.
            IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(_) => {}
            IpAddr::V4(at) => self.places().met(device, at),
        }
    }

    /// Somebody says that a board is there.
    pub(crate) fn heard(&self, device: &DeviceId, at: Ipv4Addr) {
        self.places().heard(device, at);
    }

    /// Forgets where boards are that are no members.
    pub(crate) fn forget_strangers(&self, members: &Members) {
        self.places().retain(|device| members.holder(device).is_some());
    }

    /// Is this the address of a member?
    pub(crate) fn is_near(&self, address: IpAddr) -> bool {
        let learnt = match address.to_canonical() {
            IpAddr::V4(v4) => self.places().has(v4),
            IpAddr::V6(_) => false,
        };
        learnt || self.membership.now().has_address(address)
    }

    /// Where a node may be: at the addresses of the settings, then wherever its board was met.
    fn addresses(&self, peer: &Peer) -> Vec<(SocketAddr, Option<Ipv4Addr>)> {
        let mut all: Vec<_> = peer.addresses.iter().map(|at| (*at, None)).collect();
        if let Some(device) = &peer.device {
            for at in self.places().of(device) {
                let known = all.iter().any(|(socket, _)| socket.ip() == IpAddr::V4(at));
                if !known {
                    all.push((SocketAddr::from((at, NODE_PORT)), Some(at)));
                }
            }
        }
        all
    }

    pub(crate) fn on(&self, service: Service, handler: Handler) {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner).insert(service, handler);
    }

    fn handler(&self, service: &str) -> Option<(Service, Handler)> {
        let service = serde_json::from_value(service.into()).ok()?;
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        Some((service, handlers.get(&service)?.clone()))
    }

    /// Has a key pinned that is in no settings yet.
    pub(crate) fn pin(&self, node: &NodeId, device: &DeviceId) {
        if self.membership.may_ask(node) {
            (self.pins)(node.clone(), device.clone());
        }
    }

    /// Opens a stream. The addresses are tried in order, the next one joining in when those
    /// before have not answered for a while; the first that completes the handshake wins.
    pub(crate) async fn open(
        &self,
        node: &NodeId,
        service: Service,
    ) -> Result<SecureStream, HandshakeError> {
        let members = self.membership.now();
        let no = |text: String| HandshakeError::Io(io::Error::new(io::ErrorKind::NotFound, text));
        let addresses = match members.peers.get(node) {
            Some(peer) if members.reaches(peer) => self.addresses(peer),
            Some(_) => return Err(HandshakeError::Unmet),
            None => return Err(no(format!("node {node} is not in the settings"))),
        };
        if addresses.is_empty() {
            return Err(no(format!("no address of node {node} is known")));
        }
        let mut waiting = addresses.into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut failure = HandshakeError::TimedOut;
        attempts.extend(waiting.next().map(|at| self.attempt(&members, node, service, at)));
        loop {
            let more = waiting.len() > 0;
            let next = tokio::select! {
                outcome = attempts.next() => match outcome {
                    Some(Ok(stream)) => return Ok(stream),
                    Some(Err(error)) => {
                        if error.is_refusal() || !failure.is_refusal() {
                            failure = error;
                        }
                        true
                    }
                    None if more => true,
                    None => return Err(failure),
                },
                () = sleep(HEAD_START), if more => true,
            };
            if next {
                attempts.extend(waiting.next().map(|at| self.attempt(&members, node, service, at)));
            }
        }
    }

    async fn attempt(
        &self,
        members: &Members,
        node: &NodeId,
        service: Service,
        (at, learnt): (SocketAddr, Option<Ipv4Addr>),
    ) -> Result<SecureStream, HandshakeError> {
        let outcome = self.attempt_at(members, node, service, at).await;
        match (outcome, learnt) {
            // Somebody else has that address now: that is nobody's mistake.
            (
                Err(
                    HandshakeError::OtherNode(_)
                    | HandshakeError::NewKey(_)
                    | HandshakeError::Unmet
                    | HandshakeError::Garbage,
                ),
                Some(at),
            ) => {
                if let Some(device) = members.peers.get(node).and_then(|p| p.device.as_ref()) {
                    self.places().unlearn(device, at);
                }
                let text = format!("node {node} is no longer at {at}");
                Err(HandshakeError::Io(io::Error::new(io::ErrorKind::NotFound, text)))
            }
            (outcome, _) => outcome,
        }
    }

    async fn attempt_at(
        &self,
        members: &Members,
        node: &NodeId,
        service: Service,
        at: SocketAddr,
    ) -> Result<SecureStream, HandshakeError> {
        let connected = timeout(CONNECT, TcpStream::connect(at)).await;
        let tcp = connected.map_err(|_| HandshakeError::TimedOut)??;
        tune(&tcp, service)?;
        let second: Socket = SockRef::from(&tcp).try_clone()?;
        let handshake = async {
            let met = self.tls.call(Counted::new(tcp, self.counting.clone())).await?;
            self.introduce(members, node, service, met).await
        };
        let (met, entrant) =
            timeout(HANDSHAKE, handshake).await.map_err(|_| HandshakeError::TimedOut)??;
        let place = self.enter(entrant, second).map_err(HandshakeError::Refusing)?;
        self.met(&met.device, at.ip());
        one_more(&self.counting.outgoing);
        Ok(SecureStream::new(met.stream, node.clone(), place))
    }

    /// Says who calls, and finds out whether it is the right board that answers.
    async fn introduce(
        &self,
        members: &Members,
        node: &NodeId,
        service: Service,
        mut met: Met,
    ) -> Result<(Met, Entrant), HandshakeError> {
        let key = match members.standing(node, &met.device) {
            Standing::Pinned => None,
            Standing::IfItKnows(key) => Some(key),
            Standing::Unmet | Standing::Unknown => return Err(HandshakeError::Unmet),
            Standing::Other(other) => return Err(HandshakeError::OtherNode(other)),
            Standing::NewKey(name) => return Err(HandshakeError::NewKey(name)),
        };
        let claim = Claim {
            binding: &met.binding,
            caller: (&members.own, &self.device),
            called: (node, &met.device),
        };
        // The called node may not know us yet, whether we know it or not.
        let proof = members.key.as_ref().map(|key| key.prove(Role::Caller, &claim));
        let hello = Hello {
            versions: self.versions,
            boot: self.boot.clone(),
            from: members.own.clone(),
            to: Some(node.clone()),
            service: service.word(),
            proof,
        };
        hello::send(&mut met.stream, &hello).await?;
        let answer: Answer = hello::receive(&mut met.stream).await?;
        match answer.refused {
            Some(Refusal { why: Why::Version, .. }) => {
                let (ours, theirs) = (self.versions, answer.versions);
                return Err(HandshakeError::Versions { ours, theirs });
            }
            Some(Refusal { why: Why::OtherKey, .. }) => return Err(HandshakeError::OtherKey),
            Some(refusal) => return Err(HandshakeError::Refused(refusal.shown())),
            None if answer.from != *node => return Err(HandshakeError::OtherNode(answer.from)),
            None => {}
        }
        let proof = answer.proof.unwrap_or_default();
        match &key {
            Some(key) if !key.holds(Role::Called, &claim, &proof) => {
                return Err(HandshakeError::OtherKey);
            }
            Some(_) => self.pin(node, &met.device),
            None => {}
        }
        self.alarms.settle(node);
        let entrant = Entrant {
            node: node.clone(),
            device: met.device.clone(),
            boot: answer.boot,
            proved: key,
        };
        Ok((met, entrant))
    }

    /// Calls whatever board is at an address, for adoption.
    pub(crate) async fn call_guest(&self, at: SocketAddr) -> Result<Guest, HandshakeError> {
        let connected = timeout(CONNECT, TcpStream::connect(at)).await;
        let tcp = connected.map_err(|_| HandshakeError::TimedOut)??;
        tune(&tcp, Service::Adoption)?;
        let handshake = async {
            let mut met = self.tls.call(Counted::new(tcp, self.counting.clone())).await?;
            let hello = Hello {
                versions: self.versions,
                boot: self.boot.clone(),
                from: self.membership.now().own.clone(),
                to: None,
                service: Service::Adoption.word(),
                proof: None,
            };
            hello::send(&mut met.stream, &hello).await?;
            let answer: Answer = hello::receive(&mut met.stream).await?;
            match answer.refused {
                Some(Refusal { why: Why::Version, .. }) => {
                    let (ours, theirs) = (self.versions, answer.versions);
                    Err(HandshakeError::Versions { ours, theirs })
                }
                Some(refusal) => Err(HandshakeError::Refused(refusal.shown())),
                None => Ok(Guest { met, boot: answer.boot, at: at.ip() }),
            }
        };
        timeout(HANDSHAKE, handshake).await.map_err(|_| HandshakeError::TimedOut)?
    }

    /// Finds out who calls and what for.
    pub(crate) async fn admit(&self, tcp: TcpStream) -> Result<Admitted, HandshakeError> {
        timeout(HANDSHAKE, self.welcome(tcp)).await.map_err(|_| HandshakeError::TimedOut)?
    }

    async fn welcome(&self, tcp: TcpStream) -> Result<Admitted, HandshakeError> {
        tcp.set_nodelay(true)?;
        let second: Socket = SockRef::from(&tcp).try_clone()?;
        let from = tcp.peer_addr()?.ip();
        let mut met = self.tls.answer(Counted::new(tcp, self.counting.clone())).await?;
        let hello: Hello = hello::receive(&mut met.stream).await?;
        let members = self.membership.now();
        let mut answer = Answer {
            versions: self.versions,
            boot: self.boot.clone(),
            from: members.own.clone(),
            proof: None,
            refused: None,
        };
        if hello.service == Service::Adoption.word() {
            return self.receive_guest(met, hello, answer, from).await;
        }
        let claim = Claim {
            binding: &met.binding,
            caller: (&hello.from, &met.device),
            called: (&members.own, &self.device),
        };
        let judged = self.judge(&members, &hello, &claim).and_then(|(welcome, proved)| {
            let entrant = Entrant {
                node: hello.from.clone(),
                device: met.device.clone(),
                boot: hello.boot.clone(),
                proved: proved.clone(),
            };
            Ok((welcome, proved, self.enter(entrant, second)?))
        });
        let ((service, handler), proved, place) = match judged {
            Ok(judged) => judged,
            Err(refusal) => {
                answer.refused = Some(refusal.clone());
                hello::send(&mut met.stream, &answer).await?;
                return Err(HandshakeError::Refusing(refusal));
            }
        };
        answer.proof = members.key.as_ref().map(|key| key.prove(Role::Called, &claim));
        hello::send(&mut met.stream, &answer).await?;
        tune(met.stream.get_ref().0.get_ref(), service)?;
        if proved.is_some() {
            self.pin(&hello.from, &met.device);
        }
        self.met(&met.device, from);
        self.alarms.settle(&hello.from);
        Ok(Admitted::Member(handler, SecureStream::new(met.stream, hello.from, place)))
    }

    /// Anybody may talk about adoption who speaks the same protocol.
    async fn receive_guest(
        &self,
        mut met: Met,
        hello: Hello,
        mut answer: Answer,
        from: IpAddr,
    ) -> Result<Admitted, HandshakeError> {
        answer.refused = self.other_version(&hello);
        hello::send(&mut met.stream, &answer).await?;
        match answer.refused {
            Some(refusal) => Err(HandshakeError::Refusing(refusal)),
            None => {
                tune(met.stream.get_ref().0.get_ref(), Service::Adoption)?;
                Ok(Admitted::Guest(Guest { met, boot: hello.boot, at: from }))
            }
        }
    }

    fn other_version(&self, hello: &Hello) -> Option<Refusal> {
        let text = || versions(hello.versions, self.versions);
        let none = self.versions.common(hello.versions).is_none();
        none.then(|| Refusal::new(Why::Version, text()))
    }

    /// Lets a caller in, with the key it proved to know if it needed one, or says why not.
    fn judge(
        &self,
        members: &Members,
        hello: &Hello,
        claim: &Claim<'_>,
    ) -> Result<((Service, Handler), Option<Key>), Refusal> {
        let no = |why, text: String| Err(Refusal::new(why, text));
        let (node, device) = claim.caller;
        if let Some(refusal) = self.other_version(hello) {
            return Err(refusal);
        }
        if *device == self.device {
            if hello.boot == self.boot {
                return no(Why::OtherNode, "this is that node itself".to_owned());
            }
            let text = format!(
                "the card of {} was copied: two boards have the same key; reset one of them and \
                 adopt it again",
                members.name
            );
            self.alarms.raise(Alarm::Copied, &members.own, text.clone());
            return no(Why::Copied, text);
        }
        if hello.to.as_ref() != Some(&members.own) {
            return no(Why::OtherNode, format!("this is node {}", members.own));
        }
        let proved = match members.standing(node, device) {
            Standing::Pinned => None,
            Standing::IfItKnows(key) => {
                if !key.holds(Role::Caller, claim, hello.proof.as_deref().unwrap_or_default()) {
                    return no(Why::OtherKey, "it has another cluster key".to_owned());
                }
                Some(key)
            }
            Standing::Unmet => return no(Why::Stranger, HandshakeError::Unmet.to_string()),
            Standing::Other(other) => {
                return no(Why::OtherNode, format!("it knows that board as node {other}"));
            }
            Standing::NewKey(name) => {
                let text = HandshakeError::NewKey(name).to_string();
                self.alarms.raise(Alarm::NewKey, node, text.clone());
                return no(Why::NewKey, text);
            }
            Standing::Unknown
                if self.membership.was_removed(device) || self.household.was_removed(device) =>
            {
                return no(Why::Removed, "this board was removed from the cluster".to_owned());
            }
            Standing::Unknown => {
                return no(Why::Stranger, format!("node {node} is not in its settings"));
            }
        };
        match self.handler(&hello.service) {
            Some(handler) => Ok((handler, proved)),
            None => no(Why::Service, "it does not offer that yet".to_owned()),
        }
    }

    fn enter(&self, entrant: Entrant, socket: Socket) -> Result<crate::members::Place, Refusal> {
        let node = entrant.node.clone();
        self.membership.enter(entrant, socket).inspect_err(|refusal| {
            if refusal.why == Why::Copied {
                self.alarms.raise(Alarm::Copied, &node, refusal.text.clone());
            }
        })
    }
}

fn tune(tcp: &TcpStream, service: Service) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let alive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(3))
        .with_retries(3);
    socket.set_tcp_keepalive(&alive)?;
    socket.set_tcp_user_timeout(Some(service.patience()))
}
