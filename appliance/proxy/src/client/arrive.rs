//! What happens between a new connection and its first request: rules about connections, the PROXY
//! protocol, TLS.

use super::Client;
use crate::proxy_protocol::{self, Header};
use crate::stream::{Early, Stream};
use crate::track::Tracked;
use model::Mode;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_rustls::TlsAcceptor;

impl Client {
    /// What the rules say of the connection, before anything is read from it.
    pub(super) fn is_let_in(&mut self) -> bool {
        let rules = self.frontend.rules.clone().filter(|r| r.of_connections());
        let Some(rules) = rules else { return true };
        let (frontend, now) = (Arc::clone(&self.frontend), self.worker.now());
        let source = *self.peer.ip();
        let mut facts = self.facts(rules.counting());
        rules.connection(&mut facts, &mut |facts| {
            self.tracked = Tracked::begin(&frontend, source, now).map(Rc::new);
            facts.tracked |= self.tracked.is_some();
            if rules.counting() {
                facts.counts = self.counts();
            }
        })
    }

    /// Has TLS between us from here on; false when that does not come about in time.
    pub(super) async fn shake_hands(&mut self) -> bool {
        let settings = &self.frontend.settings;
        let limit = match settings.mode {
            Mode::Http => settings.timeout_http_request,
            _ => settings.timeout_client,
        };
        self.timer.set(Some(self.worker.now().saturating_add(u64::from(limit.0))));
        let io = std::mem::replace(&mut self.io, Stream::Closed);
        let (Some(config), Stream::Plain(io)) = (self.frontend.tls.clone(), io) else {
            return false;
        };
        let io = Early::new(io, std::mem::take(&mut self.pending));
        let mut accept = TlsAcceptor::from(config).accept(io);
        let accepted = poll_fn(|cx| match Pin::new(&mut accept).poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => self.timer.poll(cx, self.worker.now()).map(|()| None),
        });
        match accepted.await {
            Some(Ok(io)) => {
                self.io = Stream::Tls(Box::new(io));
                self.tls = true;
            }
            // Scanners and stale pages do this all day: nobody wants to read of each.
            Some(Err(error)) => tracing::debug!("no TLS with {}: {error}", self.peer),
            None => tracing::debug!("no TLS with {} in time", self.peer),
        }
        self.tls
    }

    /// Reads who the visitor is; false when nobody says so in time and as it should be.
    pub(super) async fn be_introduced(&mut self) -> bool {
        let limit = u64::from(self.frontend.settings.timeout_http_request.0);
        self.timer.set(Some(self.worker.now().saturating_add(limit)));
        let mut seen = std::mem::take(&mut self.pending);
        let worker = Rc::clone(&self.worker);
        let told = poll_fn(|cx| {
            loop {
                match proxy_protocol::parse(&seen) {
                    Header::Whole { ends, len } => {
                        seen.drain(..len);
                        return Poll::Ready(Some(ends));
                    }
                    Header::Bad => return Poll::Ready(None),
                    Header::Partial => {}
                }
                let mut scratch = worker.scratch.borrow_mut();
                let mut buffer = ReadBuf::new(&mut scratch);
                match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        seen.extend_from_slice(buffer.filled());
                    }
                    Poll::Ready(_) => return Poll::Ready(None),
                    Poll::Pending => return self.timer.poll(cx, worker.now()).map(|()| None),
                }
            }
        })
        .await;
        self.pending = seen;
        let Some(ends) = told else { return false };
        if let Some((from, to)) = ends {
            self.peer = from;
            self.told = Some(to);
        }
        true
    }
}
