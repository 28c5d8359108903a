//! From a node's name to a stream, and from a connection to a node's name.
//!
//! Who a node is rests on two things: it knows the cluster's key ([`crate::noise`]), and it says
//! inside the encrypted hello which node it is, which must be one of the settings. Every holder
//! of the key can claim every name; an identity of its own for each node would go here.

use crate::counters::{Counting, one_more};
use crate::error::HandshakeError;
use crate::members::{Members, Membership, Place};
use crate::noise;
use crate::stream::Framed;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::NodeId;
use serde::{Deserialize, Serialize};
use socket2::{SockRef, Socket, TcpKeepalive};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
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
    /// What one node asks another to do: reboot, blink, failover, logs.
    Action,
    /// Taking in a board that is no member yet; no stream between members.
    Adoption,
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
            | Self::Action
            | Self::Adoption => Duration::from_secs(10),
        }
    }
}

/// What the caller says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    from: NodeId,
    to: NodeId,
    /// A [`Service`]; a text here, because a newer node may know more of them.
    service: String,
}

/// What the called node says.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    from: NodeId,
    /// Why not.
    refused: Option<String>,
}

/// An encrypted stream to another node. Flush it after each message: what does not fit into the
/// socket's buffer waits inside. Shut it down to end it: the other side takes a stream that is
/// only dropped for one that was cut.
pub struct SecureStream {
    framed: Framed<TcpStream>,
    peer: NodeId,
    _place: Place,
}

impl SecureStream {
    /// The node at the other end.
    pub fn peer(&self) -> &NodeId {
        &self.peer
    }
}

impl fmt::Debug for SecureStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureStream").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl AsyncRead for SecureStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.framed).poll_read(cx, buffer)
    }
}

impl AsyncWrite for SecureStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.framed).poll_write(cx, buffer)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.framed).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.framed).poll_shutdown(cx)
    }
}

/// What is done with an incoming stream.
pub type Handler =
    Arc<dyn Fn(NodeId, SecureStream) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What calls and answers have in common.
#[derive(Default)]
pub(crate) struct Channel {
    pub(crate) membership: Membership,
    pub(crate) counting: Arc<Counting>,
    handlers: Mutex<BTreeMap<Service, Handler>>,
}

impl Channel {
    pub(crate) fn on(&self, service: Service, handler: Handler) {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner).insert(service, handler);
    }

    fn handler(&self, service: &str) -> Option<(Service, Handler)> {
        let service = serde_json::from_value(service.into()).ok()?;
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        Some((service, handlers.get(&service)?.clone()))
    }

    /// Opens a stream. The addresses are tried in order, the next one joining in when those
    /// before have not answered for a while; the first that completes the handshake wins.
    pub(crate) async fn open(
        &self,
        node: &NodeId,
        service: Service,
    ) -> Result<SecureStream, HandshakeError> {
        let members = self.membership.now();
        let no = |kind, text: String| HandshakeError::Io(io::Error::new(kind, text));
        if members.key.is_none() {
            return Err(no(io::ErrorKind::NotConnected, "no cluster key is set".to_owned()));
        }
        let mut waiting = match members.peers.get(node) {
            Some(addresses) if !addresses.is_empty() => addresses.iter().copied(),
            Some(_) => {
                let text = format!("node {node} has no address in the settings");
                return Err(no(io::ErrorKind::NotFound, text));
            }
            None => {
                let text = format!("node {node} is not in the settings");
                return Err(no(io::ErrorKind::NotFound, text));
            }
        };
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
        at: SocketAddr,
    ) -> Result<SecureStream, HandshakeError> {
        let connected = timeout(CONNECT, TcpStream::connect(at)).await;
        let mut tcp = connected.map_err(|_| HandshakeError::TimedOut)??;
        tune(&tcp, service)?;
        let Some(key) = &members.key else {
            return Err(HandshakeError::OtherKey);
        };
        let hello = Hello {
            from: members.own.clone(),
            to: node.clone(),
            service: serde_json::to_value(service)
                .ok()
                .and_then(|v| v.as_str().map(str::to_owned))
                .unwrap_or_default(),
        };
        let accepts = |answer: &Answer| match &answer.refused {
            Some(reason) => Err(HandshakeError::Refused(shown(reason))),
            None if answer.from != *node => Err(HandshakeError::OtherNode(answer.from.clone())),
            None => Ok(()),
        };
        let noise = timeout(HANDSHAKE, noise::call(&mut tcp, key, &hello, accepts))
            .await
            .map_err(|_| HandshakeError::TimedOut)??;
        one_more(&self.counting.outgoing);
        Ok(self.stream(members, node.clone(), tcp, noise)?)
    }

    /// Finds out who calls and what for.
    pub(crate) async fn admit(
        &self,
        mut tcp: TcpStream,
    ) -> Result<(Handler, SecureStream), HandshakeError> {
        let members = self.membership.now();
        let Some(key) = &members.key else {
            return Err(HandshakeError::Refused("this node has no cluster key".to_owned()));
        };
        let handshake = async {
            let (called, hello) = noise::listen::<_, Hello>(&mut tcp, key).await?;
            let handler = self.handler(&hello.service);
            let refused = if hello.to != members.own {
                Some(format!("this is node {}", members.own))
            } else if hello.from == members.own {
                Some("this is that node itself".to_owned())
            } else if !members.peers.contains_key(&hello.from) {
                Some(format!("node {} is not in its settings", hello.from))
            } else if handler.is_none() {
                Some("it does not offer that yet".to_owned())
            } else {
                None
            };
            let answer = Answer { from: members.own.clone(), refused };
            let noise = called.answer(&mut tcp, &answer).await;
            match (answer.refused, handler) {
                // Who is refused hangs up instead of confirming.
                (Some(reason), _) => Err(HandshakeError::Refused(reason)),
                (None, None) => Err(HandshakeError::Garbage),
                (None, Some(handler)) => Ok((handler, hello.from, noise?)),
            }
        };
        let ((service, handler), peer, noise) =
            timeout(HANDSHAKE, handshake).await.map_err(|_| HandshakeError::TimedOut)??;
        tune(&tcp, service)?;
        Ok((handler, self.stream(&members, peer, tcp, noise)?))
    }

    fn stream(
        &self,
        members: &Members,
        peer: NodeId,
        tcp: TcpStream,
        noise: snow::TransportState,
    ) -> io::Result<SecureStream> {
        let second: Socket = SockRef::from(&tcp).try_clone()?;
        let place = self.membership.enter(members, &peer, second)?;
        let framed = Framed::new(tcp, noise, self.counting.clone());
        Ok(SecureStream { framed, peer, _place: place })
    }
}

/// Another node's words, cut to what fits on a page.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
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
