//! A connection to a server: one that is idle, or a new one.

use crate::client::{Client, Ticket};
use crate::config::{Backend, Server};
use crate::log::Termination;
use crate::pool::Upstream;
use crate::proxy_protocol;
use crate::request::Repeat;
use model::SendProxy;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// The pause before the same server is tried again (HAProxy's turn-around).
const TURN_AROUND_MS: u64 = 1000;
/// A request that must not be repeated goes only to a connection used this recently: the
/// server's farewell may already be on its way on an older one.
const FRESH_MS: u64 = 1000;

/// Why there is no connection to a server.
pub(crate) enum NotConnected {
    Refused,
    Slow,
}

impl NotConnected {
    /// How it is logged, if no other server is tried.
    pub(crate) fn termination(&self) -> Termination {
        match self {
            Self::Refused => Termination::NO_SERVER,
            Self::Slow => Termination::CONNECT_TIMEOUT,
        }
    }
}

/// The pause before a server is tried again for which there is no other.
pub(crate) async fn catch_breath(backend: &Backend) {
    let pause = u64::from(backend.settings.timeout_connect.0).min(TURN_AROUND_MS);
    tokio::time::sleep(Duration::from_millis(pause)).await;
}

/// A connection: an idle one, or a new one.
pub(super) async fn find(
    client: &Client,
    ticket: &Ticket,
    backend: &Backend,
    server: &Server,
    fresh_only: bool,
) -> Result<(Upstream, bool), NotConnected> {
    let worker = &client.worker;
    let since = match ticket.request.repeat {
        Repeat::Never => worker.now().saturating_sub(FRESH_MS),
        // Content cannot be sent twice unless the operator has it kept.
        _ if ticket.once || !ticket.request.body.is_done() => worker.now().saturating_sub(FRESH_MS),
        _ => 0,
    };
    // A connection that told who the visitor is belongs to this visitor alone.
    let shared = server.send_proxy == SendProxy::Off;
    if !fresh_only && shared {
        if let Some(upstream) = worker.pool.take(&server.live, since) {
            server.live.reuses.up();
            return Ok((upstream, true));
        }
    }
    server.live.connects.up();
    let limit = u64::from(backend.settings.timeout_connect.0);
    let io = connect(client, server, limit).await?;
    introduce(&io, server.send_proxy, || client.ends())?;
    let at = server.live.standing.address();
    Ok((Upstream { io, server: Arc::clone(&server.live), shared, at, used: worker.now() }, false))
}

/// Tells a server who the visitor is, on a connection that is only just open.
pub(crate) fn introduce(
    io: &TcpStream,
    version: SendProxy,
    ends: impl FnOnce() -> proxy_protocol::Ends,
) -> Result<(), NotConnected> {
    if version == SendProxy::Off {
        return Ok(());
    }
    let mut header = Vec::new();
    proxy_protocol::put(&mut header, version, Some(ends()));
    // A new connection takes some sixty bytes at once, or something is wrong with it.
    match io.try_write(&header) {
        Ok(n) if n == header.len() => Ok(()),
        _ => Err(NotConnected::Refused),
    }
}

pub(crate) async fn connect(
    client: &Client,
    server: &Server,
    limit: u64,
) -> Result<TcpStream, NotConnected> {
    let socket = TcpSocket::new_v4().map_err(|_| NotConnected::Refused)?;
    // Heads and bodies are written whole; Nagle's algorithm would only delay the last piece.
    let _ = socket.set_nodelay(true);
    let address = server.live.standing.address().ok_or(NotConnected::Refused)?;
    let mut connecting = pin!(socket.connect(address.into()));
    let was_up = server.live.is_up();
    client.timer.set(Some(client.worker.now().saturating_add(limit)));
    poll_fn(|cx| {
        if let Poll::Ready(result) = connecting.as_mut().poll(cx) {
            return Poll::Ready(result.map_err(|_| NotConnected::Refused));
        }
        if client.timer.poll(cx, client.worker.now()).is_ready() {
            return Poll::Ready(Err(NotConnected::Slow));
        }
        if was_up && !server.live.is_up() {
            // The checks were faster than our timeout.
            return Poll::Ready(Err(NotConnected::Refused));
        }
        Poll::Pending
    })
    .await
}
