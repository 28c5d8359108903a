//! What a visitor is told by us, and how a connection ends.

use super::Client;
use crate::answer;
use crate::exchange::After;
use crate::log::{self, Line, TcpLine, Termination, Way};
use crate::shared::Shared;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// After a refusal the rest of what the client sends is read and dropped, for so long and up to
/// so much: closing at once would reset the connection and the answer with it.
const LINGER_MS: u64 = 2000;
const LINGER_BYTES: usize = 4 << 20;

impl Client {
    /// Answers a request that never became one.
    pub(super) async fn refuse(
        &mut self,
        status: u16,
        termination: Termination,
        line: &[u8],
    ) -> After {
        let logged = self.frontend.settings.httplog;
        self.refuse_and_log(status, termination, line, logged).await
    }

    /// Ends a connection on which nothing was ever asked for. As in HAProxy that is an error of the
    /// visitor, unless `option http-ignore-probes` says otherwise.
    pub(super) async fn refuse_nothing(&mut self, gone: bool) -> After {
        let settings = &self.frontend.settings;
        if settings.http_ignore_probes {
            return After::Close;
        }
        let logged = settings.httplog && !settings.dontlognull;
        let (status, termination) =
            if gone { (400, Termination::CLIENT_REQUEST) } else { (408, Termination::CLIENT_SLOW) };
        self.refuse_and_log(status, termination, b"", logged).await
    }

    async fn refuse_and_log(
        &mut self,
        status: u16,
        termination: Termination,
        line: &[u8],
        logged: bool,
    ) -> After {
        let now = self.worker.now();
        let live = &self.frontend.live;
        live.requests.up();
        live.ereq.up();
        live.traffic.status(status);
        if let Some(tracked) = &self.tracked {
            tracked.request(now);
            // Slow is not wrong (HAProxy counts no `http_err_cnt` for it).
            if status != 408 {
                tracked.error(now);
            }
        }
        let bytes = self.answer(status, true, false).await;
        if logged {
            let began = self.began.unwrap_or(now);
            let name = self.frontend.settings.name.as_str();
            self.log(&Line {
                client: self.peer,
                accepted_ms: Shared::wall_ms().saturating_sub(now - began),
                frontend: name,
                tls: self.tls,
                backend: name,
                server: "<NOSRV>",
                request: None,
                response: None,
                total: now - began,
                status: Some(status),
                bytes,
                termination,
                cookies: *b"--",
                counts: [
                    self.worker.shared.connections.now(),
                    self.frontend.live.traffic.current.now(),
                    0,
                    0,
                ],
                way: Way::default(),
                line,
            });
        }
        After::Linger
    }

    /// Writes a line to the access log.
    pub(crate) fn log(&self, line: &Line<'_>) {
        let mut text = self.worker.buffer();
        log::write(&mut text, line);
        self.worker.shared.access.push(&text);
        self.worker.recycle(text);
    }

    /// Writes a line of mode tcp to the access log.
    pub(crate) fn log_tcp(&self, line: &TcpLine<'_>) {
        let mut text = self.worker.buffer();
        log::write_tcp(&mut text, line);
        self.worker.shared.access.push(&text);
        self.worker.recycle(text);
    }

    /// Sends one of our own answers and returns how many bytes of it went out.
    pub(crate) async fn answer(&mut self, status: u16, close: bool, is_head: bool) -> u64 {
        let mut out = self.worker.buffer();
        answer::put(&mut out, status, close, is_head);
        self.send(out).await
    }

    /// Sends an answer of our own and returns how many bytes of it went out.
    pub(crate) async fn send(&mut self, out: Vec<u8>) -> u64 {
        let mut sent = 0;
        let limit = u64::from(self.frontend.settings.timeout_client.0);
        self.timer.set(Some(self.worker.now().saturating_add(limit)));
        poll_fn(|cx| {
            while sent < out.len() {
                match Pin::new(&mut self.io).poll_write(cx, &out[sent..]) {
                    Poll::Ready(Ok(n)) if n > 0 => sent += n,
                    Poll::Ready(_) => break,
                    Poll::Pending => return self.timer.poll(cx, self.worker.now()),
                }
            }
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => self.timer.poll(cx, self.worker.now()),
            }
        })
        .await;
        self.worker.recycle(out);
        let sent = u64::try_from(sent).unwrap_or(0);
        self.frontend.live.traffic.bytes_out.add(sent);
        sent
    }

    /// Ends a connection on which everything has been said; TLS has words for that.
    pub(super) async fn bid_farewell(mut self) {
        if !self.tls {
            return;
        }
        self.timer.set(Some(self.worker.now() + LINGER_MS));
        poll_fn(|cx| match Pin::new(&mut self.io).poll_shutdown(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.timer.poll(cx, self.worker.now()),
        })
        .await;
    }

    /// Ends the connection in a way that lets the client read what was sent (RFC 9112 9.6).
    pub(crate) async fn linger(mut self) {
        self.timer.set(Some(self.worker.now() + LINGER_MS));
        let mut shut = false;
        let mut read = 0;
        let worker = Rc::clone(&self.worker);
        poll_fn(|cx| {
            if !shut {
                match Pin::new(&mut self.io).poll_shutdown(cx) {
                    Poll::Pending => return self.timer.poll(cx, worker.now()),
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(())) => shut = true,
                }
            }
            loop {
                let mut scratch = worker.scratch.borrow_mut();
                let mut buffer = ReadBuf::new(&mut scratch);
                match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        read += buffer.filled().len();
                        if read > LINGER_BYTES {
                            return Poll::Ready(());
                        }
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            self.timer.poll(cx, worker.now())
        })
        .await;
    }
}
