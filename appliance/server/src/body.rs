//! What is sent after the head: nothing, bytes in memory, or pieces of an open file.

use crate::beneath::Access;
use crate::card::{CHUNK, Card};
use crate::error::Fault;
use crate::stream::Busy;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// One piece of a body.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Out of memory, never empty.
    Bytes(Bytes),
    /// Out of the file.
    File { offset: u64, length: u64 },
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

/// A response's body.
pub(crate) struct Body {
    file: Option<Arc<File>>,
    pieces: VecDeque<Piece>,
    left: u64,
    reading: Option<Reading>,
    card: Option<Arc<Card>>,
    busy: Option<Busy>,
}

impl Body {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self { file: None, pieces: VecDeque::new(), left: 0, reading: None, card: None, busy: None }
    }

    /// A body out of memory.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes: Bytes = bytes.into();
        let mut body = Self::empty();
        if !bytes.is_empty() {
            body.left = length_of(&bytes);
            body.pieces.push_back(Piece::Bytes(bytes));
        }
        body
    }

    /// A body of pieces of `file`. The open file keeps its content when its name is given to
    /// another file meanwhile.
    pub(crate) fn pieces(file: File, pieces: Vec<Piece>, card: Arc<Card>) -> Self {
        let left = pieces.iter().fold(0, |sum, piece| {
            sum + match piece {
                Piece::Bytes(bytes) => length_of(bytes),
                Piece::File { length, .. } => *length,
            }
        });
        Self {
            file: Some(Arc::new(file)),
            pieces: pieces.into(),
            left,
            card: Some(card),
            ..Self::empty()
        }
    }

    /// Its length.
    pub(crate) fn length(&self) -> u64 {
        self.left
    }

    /// Keeps the connection marked as busy until the body has been sent.
    pub(crate) fn hold(&mut self, busy: Busy) {
        self.busy = Some(busy);
    }

    /// Takes `got` off the front piece.
    fn advance(&mut self, got: u64) {
        if let Some(Piece::File { offset, length }) = self.pieces.front_mut() {
            *offset += got;
            *length -= got.min(*length);
            if *length == 0 {
                self.pieces.pop_front();
            }
        }
    }
}

fn length_of(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The file has become shorter than the head has promised. The connection is closed: padding
/// would be a lie.
fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the file was truncated while it was sent")
}

fn broken(fault: Fault) -> io::Error {
    match fault {
        Fault::Broken(errno) => errno.into(),
        other => io::Error::other(format!("{other:?}")),
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let (offset, length) = match this.pieces.front_mut() {
            None => return Poll::Ready(None),
            Some(Piece::Bytes(bytes)) => {
                let bytes = std::mem::take(bytes);
                this.pieces.pop_front();
                this.left = this.left.saturating_sub(length_of(&bytes));
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Some(Piece::File { offset, length }) => (*offset, *length),
        };
        let (Some(file), Some(card)) = (&this.file, &this.card) else {
            return Poll::Ready(None);
        };
        let wanted = usize::try_from(length).map_or(CHUNK, |l| l.min(CHUNK));
        let got = match &mut this.reading {
            Some(reading) => {
                let got = ready!(reading.as_mut().poll(cx));
                this.reading = None;
                got
            }
            None => match card.read(file, offset, wanted, Access::Cached) {
                Ok(bytes) => Ok(bytes),
                Err(Fault::Again) => {
                    let (file, card) = (file.clone(), card.clone());
                    let reading = this.reading.insert(Box::pin(async move {
                        let permit = card.waiters.clone().acquire_owned().await;
                        tokio::task::spawn_blocking(move || {
                            let _permit = permit;
                            card.read(&file, offset, wanted, Access::Blocking)
                        })
                        .await
                        .map_err(io::Error::other)?
                        .map_err(broken)
                    }));
                    let got = ready!(reading.as_mut().poll(cx));
                    this.reading = None;
                    got
                }
                Err(fault) => Err(broken(fault)),
            },
        };
        let result = match got {
            Ok(bytes) if bytes.is_empty() => Err(truncated()),
            Ok(bytes) => {
                let got = length_of(&bytes);
                this.advance(got);
                this.left = this.left.saturating_sub(got);
                Ok(Frame::data(bytes))
            }
            Err(error) => Err(error),
        };
        Poll::Ready(Some(result))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
