//! HTTP/2 from visitors (RFC 9113): one connection, whose every stream becomes a client of its
//! own and goes the way of an HTTP/1.1 request. One that becomes a WebSocket (RFC 8441) goes the way
//! of an HTTP/1.1 upgrade.

mod bridge;
mod head;
mod lent;
mod life;

pub(crate) use bridge::Bridge;
use bridge::Shape;

use crate::client::Client;
use crate::stream::Stream;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::header::CONTENT_LENGTH;
use http::{Method, Request};
use lent::{Deposit, Lent, Tls};
use life::Life;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Streams of a visitor at once (HAProxy `tune.h2.max-concurrent-streams`).
const STREAMS: u32 = 100;
/// What a visitor may send ahead on one stream, and on all of them together: no more than this
/// of a connection waits in memory for servers to take it.
const STREAM_WINDOW: u32 = 64 * 1024 - 1;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// Longer lists of fields are answered with 431 by the protocol itself. HTTP/2 counts 32 bytes
/// more for each field; what is too much for HTTP/1.1 is found there.
const FIELDS: u32 = 32 * 1024;
/// Streams that a visitor reset and we have not looked at: beyond, the connection ends ("rapid
/// reset", CVE-2023-44487), as it does after so many resets for faults of its own.
const RESETS: usize = 20;
const FAULTS: usize = 200;
/// How long, and for how many streams, frames still on their way to a stream that we reset are
/// passed over.
const RESET_MEMORY: Duration = Duration::from_secs(5);
const RESET_STREAMS: usize = 50;
/// After the farewell a visitor without a stream gets so long to close.
const FAREWELL_MS: u64 = 2000;

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(bridge::WAITING)
        .max_header_list_size(FIELDS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(Some(FAULTS))
        .max_concurrent_reset_streams(RESET_STREAMS)
        .reset_stream_duration(RESET_MEMORY)
        .enable_connect_protocol();
    builder
}

/// Serves a connection whose visitor chose HTTP/2.
pub(crate) async fn run(client: Client, io: Tls) {
    let local = io.get_ref().0.local_addr().ok();
    let limit = u64::from(client.frontend.settings.timeout_http_request.0);
    client.timer.set(Some(client.worker.now().saturating_add(limit)));
    let (lent, io) = lent::lend(io, &client.worker);
    let mut handshake = pin!(builder().handshake::<_, Bytes>(lent));
    let connection = poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result.ok()),
        Poll::Pending => match io.poll_flush(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(None),
            _ => client.timer.poll(cx, client.worker.now()).map(|()| None),
        },
    });
    let Some(connection) = connection.await else {
        client.frontend.live.ereq.up();
        return;
    };
    let idle_since = client.worker.now();
    let life = Rc::new(Life::new(&client.worker));
    let mut whole =
        Whole { client, connection, io, local, life, idle_since, leaving: false, first: true };
    while let Some((request, respond)) = poll_fn(|cx| whole.poll_next(cx)).await {
        whole.open(request, respond);
    }
    let Whole { client: mut ended, connection, io, .. } = whole;
    drop(connection);
    // What is still on its way from the visitor must not reset the connection, and with it what
    // is still on its way to the visitor.
    if let Some(io) = io.back() {
        ended.io = Stream::Tls(io);
        ended.linger().await;
    }
}

/// A connection.
struct Whole {
    client: Client,
    connection: Connection<Lent, Bytes>,
    io: Deposit,
    local: Option<SocketAddr>,
    life: Rc<Life>,
    idle_since: u64,
    /// The visitor is told to ask elsewhere.
    leaving: bool,
    first: bool,
}

type Arrived = (Request<RecvStream>, SendResponse<Bytes>);

impl Whole {
    /// The next request; None at the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arrived>> {
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok(arrived))) => return Poll::Ready(Some(arrived)),
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!("HTTP/2 with {} ended: {error}", self.client.peer);
                    return Poll::Ready(None);
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {}
            }
            if let Poll::Ready(Err(error)) = self.io.poll_flush(cx) {
                tracing::debug!("HTTP/2 with {} broke off: {error}", self.client.peer);
                return Poll::Ready(None);
            }
            self.life.sent(self.io.written());
            self.life.watch(cx);
            self.client.refresh();
            if !self.leaving && !self.client.may_stay() {
                self.leave();
                continue;
            }
            let now = self.client.worker.now();
            if self.life.is_busy() {
                self.idle_since = now;
                self.client.timer.set(None);
            } else {
                // What was reset never goes out.
                self.life.sent(usize::MAX);
                let settings = &self.client.frontend.settings;
                let limit = match (self.leaving, self.first) {
                    (true, _) => FAREWELL_MS,
                    (false, true) => u64::from(settings.timeout_http_request.0),
                    (false, false) => u64::from(settings.timeout_http_keep_alive.0),
                };
                self.client.timer.set(Some(self.idle_since.saturating_add(limit)));
            }
            if self.client.timer.poll(cx, now).is_pending() {
                return Poll::Pending;
            }
            if self.leaving {
                return Poll::Ready(None);
            }
            self.leave();
        }
    }

    /// Says farewell; what is under way, or was on its way before the visitor heard it, is served.
    fn leave(&mut self) {
        self.leaving = true;
        self.idle_since = self.client.worker.now();
        self.connection.graceful_shutdown();
    }

    /// Has a request served.
    fn open(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        self.first = false;
        let (parts, body) = request.into_parts();
        let websocket = head::is_websocket(&parts);
        let has_body = !websocket && !body.is_end_stream();
        let worker = &self.client.worker;
        let (mut head, mut line) = (worker.buffer(), worker.buffer());
        let head = head::put_request(&parts, has_body, &mut head).map(|()| head);
        head::put_line(&parts, &mut line);
        let chunked = has_body && !parts.headers.contains_key(CONTENT_LENGTH);
        let shape = Shape { chunked, is_head: parts.method == Method::HEAD, websocket };
        let bridge = Bridge::new(body, respond, shape, self.local, self.life.enter());
        let stream = self.client.stream(Stream::H2(Box::new(bridge)));
        tokio::task::spawn_local(stream.serve_one(head, line));
    }
}
