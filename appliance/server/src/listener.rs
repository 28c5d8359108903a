//! One address and port: its socket, its sites, and the connections that came in through it.

use crate::body::Body;
use crate::card::Card;
use crate::counters::Tally;
use crate::error::ListenError;
use crate::files::SiteRoot;
use crate::hosts::HostTable;
use crate::service;
use crate::stream::{Activity, Limits, Stream};
use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use std::convert::Infallible;
use std::net::{SocketAddr, SocketAddrV4};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Connections the kernel keeps for us before they are accepted.
const BACKLOG: i32 = 1024;
/// A listener that is taken away leaves its idle connections open so long: a visitor or a
/// balancer may be sending on one of them at this very moment.
const GRACE: Duration = Duration::from_secs(1);
/// The largest request head; the balancer's is half of it.
const HEAD: usize = 32 * 1024;
/// The most that is buffered of a response before it waits for the visitor.
const BUFFER: usize = 64 * 1024;

/// What all listeners share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) tally: Arc<Tally>,
    /// One permit for each connection.
    pub(crate) connections: Arc<Semaphore>,
    /// How many connections there may be.
    pub(crate) most: u32,
    pub(crate) card: Arc<Card>,
    /// Changes when connections should look whether they are still wanted.
    pub(crate) look: watch::Sender<u64>,
    /// True while visitors wait for a connection: idle ones make room.
    pub(crate) crowded: AtomicBool,
    pub(crate) limits: Limits,
}

impl Common {
    fn call(&self) {
        self.look.send_modify(|n| *n = n.wrapping_add(1));
    }
}

/// An open address.
#[derive(Debug)]
pub(crate) struct Listener {
    table: RwLock<Arc<HostTable<SiteRoot>>>,
    draining: AtomicBool,
    stop: Notify,
    common: Arc<Common>,
}

/// A socket as a listener uses it, bound but not yet listening.
///
/// `IP_FREEBIND`: the network may give this node the address only later. `SO_REUSEPORT`: going
/// from one address to all of them, or back, needs both sockets for a moment.
fn bind(address: SocketAddrV4, share: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.set_freebind_v4(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::V4(address).into())?;
    Ok(socket)
}

/// Could somebody who shares with nobody listen there?
pub(crate) fn is_free(address: SocketAddrV4) -> std::io::Result<()> {
    bind(address, false)?.listen(1)
}

impl Listener {
    /// Opens the address and starts to accept.
    pub(crate) fn open(
        address: SocketAddrV4,
        table: Arc<HostTable<SiteRoot>>,
        common: Arc<Common>,
    ) -> Result<Arc<Self>, ListenError> {
        let fail = |source| ListenError { address, source };
        let socket = bind(address, true).map_err(fail)?;
        socket.listen(BACKLOG).map_err(fail)?;
        let tcp = TcpListener::from_std(socket.into()).map_err(fail)?;
        let listener = Arc::new(Self {
            table: RwLock::new(table),
            draining: AtomicBool::new(false),
            stop: Notify::new(),
            common,
        });
        tokio::spawn(listener.clone().accept(tcp));
        Ok(listener)
    }

    /// Serves other sites from the next request on.
    pub(crate) fn serve(&self, table: Arc<HostTable<SiteRoot>>) {
        // A single assignment: what is behind a poisoned lock is whole.
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    fn table(&self) -> Arc<HostTable<SiteRoot>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Accepts what has already connected, closes the socket, and lets connections end with
    /// their next response.
    pub(crate) fn retire(&self) {
        self.draining.store(true, Ordering::Release);
        self.stop.notify_one();
        self.common.call();
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    async fn accept(self: Arc<Self>, tcp: TcpListener) {
        loop {
            let permit = tokio::select! {
                biased;
                () = self.stop.notified() => break,
                permit = self.permit() => permit,
            };
            let accepted = tokio::select! {
                biased;
                () = self.stop.notified() => break,
                accepted = tcp.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream, permit),
                // The visitor has gone again, or descriptors have run out: neither is a reason
                // to stop, and the second passes only with time.
                Err(error) if is_visitors(&error) => {}
                Err(error) => {
                    tracing::warn!("no connection could be accepted: {error}");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        self.accept_rest(tcp).await;
    }

    /// Takes in what connected before the socket closes; those visitors were promised an answer.
    async fn accept_rest(self: Arc<Self>, tcp: TcpListener) {
        let Ok(tcp) = tcp.into_std() else { return };
        while let Ok((stream, _)) = tcp.accept() {
            let Ok(()) = stream.set_nonblocking(true) else { continue };
            let Ok(stream) = TcpStream::from_std(stream) else { continue };
            self.admit(stream, self.permit().await);
        }
    }

    /// The right to one more connection. While there is none, idle ones are asked to end.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let all = &self.common.connections;
        if let Ok(permit) = all.clone().try_acquire_owned() {
            return Some(permit);
        }
        self.common.tally.full();
        self.common.crowded.store(true, Ordering::Relaxed);
        self.common.call();
        let permit = all.clone().acquire_owned().await.ok();
        self.common.crowded.store(false, Ordering::Relaxed);
        permit
    }

    fn admit(self: &Arc<Self>, tcp: TcpStream, permit: Option<OwnedSemaphorePermit>) {
        // Responses are written whole; waiting to fill a segment would only delay their end.
        let _ = tcp.set_nodelay(true);
        let listener = self.clone();
        listener.common.tally.opened();
        tokio::spawn(async move {
            let open = Open { listener, _permit: permit };
            open.listener.clone().converse(tcp).await;
        });
    }

    async fn converse(self: Arc<Self>, tcp: TcpStream) {
        let common = &self.common;
        let activity = Activity::new();
        let stream = Stream::new(tcp, activity.clone(), common.tally.clone(), common.limits);
        let service = service_fn(|request: Request<Incoming>| self.respond(request, &activity));
        let mut conversation = pin!(
            http1::Builder::new()
                // Patience is the stream's; a visitor may close its half after asking. No
                // pipeline_flush: it forgets the last response of a connection that closes
                // while more requests wait.
                .header_read_timeout(None)
                .half_close(true)
                .max_buf_size(BUFFER)
                .max_header_size(HEAD)
                .serve_connection(TokioIo::new(stream), service)
        );
        let mut look = common.look.subscribe();
        let mut leaving = self.is_draining().then(|| Instant::now() + GRACE);
        let mut told = false;
        let ended = loop {
            tokio::select! {
                biased;
                ended = conversation.as_mut() => break ended,
                Ok(()) = look.changed(), if !told => {
                    if self.is_draining() {
                        leaving.get_or_insert_with(|| Instant::now() + GRACE);
                    } else if common.crowded.load(Ordering::Relaxed) && activity.is_idle() {
                        conversation.as_mut().graceful_shutdown();
                        told = true;
                    }
                }
                () = sleep_until(leaving.unwrap_or_else(Instant::now)), if !told && leaving.is_some() => {
                    conversation.as_mut().graceful_shutdown();
                    told = true;
                }
            }
        };
        if ended.is_err_and(|error| error.is_parse()) {
            common.tally.malformed();
        }
    }

    async fn respond(
        &self,
        request: Request<Incoming>,
        activity: &Arc<Activity>,
    ) -> Result<Response<Body>, Infallible> {
        let busy = activity.begin();
        if !request.body().is_end_stream() {
            activity.leave_body();
        }
        let (parts, _body) = request.into_parts();
        let table = self.table();
        let (mut response, close) =
            service::answer(parts, &table, activity.length_seen(), &self.common.card).await;
        if close || self.is_draining() {
            service::last(&mut response);
        }
        self.common.tally.answered(response.status());
        response.body_mut().hold(busy);
        Ok(response)
    }
}

/// A connection while it is open; counts it out however it ends.
struct Open {
    listener: Arc<Listener>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.listener.common.tally.closed();
        if std::thread::panicking() {
            self.listener.common.tally.fault();
        }
    }
}

fn is_visitors(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
