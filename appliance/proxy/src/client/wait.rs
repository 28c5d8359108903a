//! What is waited for between a request's head and its answer.

use super::Client;
use model::Millis;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use tokio::io::{AsyncRead, ReadBuf};

/// So much of what comes meanwhile is looked at, or kept (HAProxy `tune.bufsize`).
const CONTENT: usize = 16 * 1024;

impl Client {
    /// Waits for the start of a body, or of all there is in mode tcp: until it is enough, or as much
    /// as HAProxy would look at. Whoever does not send it in time is balanced without.
    pub(crate) async fn await_content(&mut self, limit: Millis, enough: impl Fn(&[u8]) -> bool) {
        self.timer.set(Some(self.worker.now().saturating_add(u64::from(limit.0))));
        let worker = Rc::clone(&self.worker);
        poll_fn(|cx| {
            while self.pending.len() < CONTENT && !enough(&self.pending) {
                let mut scratch = worker.scratch.borrow_mut();
                let room = scratch.len().min(CONTENT);
                let mut buffer = ReadBuf::new(&mut scratch[..room]);
                match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        self.pending.extend_from_slice(buffer.filled());
                    }
                    // What it means that the client is gone, the relay knows.
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return self.timer.poll(cx, worker.now()),
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Waits, and false as soon as the visitor has left. What he says meanwhile is kept for later, or
    /// else this is the last request of the connection.
    pub(crate) async fn hold(&mut self, time: Millis) -> bool {
        self.timer.set(Some(self.worker.now().saturating_add(u64::from(time.0))));
        let worker = Rc::clone(&self.worker);
        let mut all_said = false;
        poll_fn(|cx| {
            if self.io.poll_gone(cx).is_ready() {
                return Poll::Ready(false);
            }
            while !all_said {
                let mut scratch = worker.scratch.borrow_mut();
                let mut buffer = ReadBuf::new(&mut scratch);
                match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                        let data = buffer.filled();
                        if self.pending.len() + data.len() > CONTENT {
                            self.closing = true;
                        }
                        if self.closing {
                            self.pending = Vec::new();
                        } else {
                            self.pending.extend_from_slice(data);
                        }
                    }
                    Poll::Ready(Ok(())) if self.io.is_one_request() => all_said = true,
                    // Whoever is made to wait and ends his side wants no answer.
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending => break,
                }
            }
            self.timer.poll(cx, worker.now()).map(|()| true)
        })
        .await
    }
}
