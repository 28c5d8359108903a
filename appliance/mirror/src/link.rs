//! Messages over a stream, and a mirror's connection to its origin.

use crate::error::Error;
use crate::wire::{MAX_FRAME, Message, VERSION};
use crate::{Stream, Transport};
use bytes::{Bytes, BytesMut};
use model::{Name, NodeId};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Each side says something at least this often.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(1);
/// An origin that says nothing for so long is taken for dead.
const SILENCE: Duration = Duration::from_millis(2500);
/// Opening a connection takes no longer.
const OPENING: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Reads messages.
pub(crate) struct Incoming<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// Reads from here.
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::with_capacity(16 * 1024) }
    }

    /// The next message. What was read is kept when it is not waited for to the end.
    pub(crate) async fn next(&mut self) -> Result<Message, Error> {
        loop {
            if let Some(frame) = self.frame()? {
                return Ok(Message::decode(frame)?);
            }
            self.buffer.reserve(16 * 1024);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    fn frame(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(length) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > MAX_FRAME {
            return Err(Error::Rule("a message is too long"));
        }
        if self.buffer.len() < 4 + length {
            self.buffer.reserve(4 + length - self.buffer.len());
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(4 + length).freeze();
        Ok(Some(frame.split_off(4)))
    }
}

/// Writes what comes through a channel, several messages at a time, and pings when nothing does.
/// Ends without error when the channel is closed.
pub(crate) async fn write_all<W: AsyncWrite + Unpin>(
    stream: &mut W,
    messages: &mut mpsc::Receiver<Message>,
) -> Result<(), Error> {
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match tokio::time::timeout(PING_EVERY, messages.recv()).await {
            Ok(Some(message)) => message.encode(&mut buffer),
            Ok(None) => return Ok(()),
            Err(_) => Message::Ping.encode(&mut buffer),
        }
        while buffer.len() < 64 * 1024 {
            let Ok(message) = messages.try_recv() else { break };
            message.encode(&mut buffer);
        }
        stream.write_all(&buffer).await?;
        stream.flush().await?;
    }
}

/// What the connection tells the mirror.
#[derive(Debug)]
pub(crate) enum Event {
    /// Connected; requests go here.
    Up(mpsc::Sender<Message>),
    /// The origin says this.
    Said(Message),
    /// No longer connected, or still not.
    Down {
        /// Why.
        reason: String,
        /// The origin itself said so.
        refused: bool,
        /// When it was last heard of, if it was this time.
        heard: Option<Instant>,
    },
    /// The operator lets what is held pass.
    Approve,
}

/// Keeps a mirror connected to its origin for as long as somebody listens.
pub(crate) async fn keep_connected(
    transport: Arc<dyn Transport>,
    origin: NodeId,
    site: Name,
    events: mpsc::Sender<Event>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut heard = None;
        let stream = tokio::time::timeout(OPENING, transport.open(&origin)).await;
        let ended = match stream {
            Err(_) => Err(Error::Silent),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(stream)) => converse(stream, &site, &events, &mut heard).await,
        };
        let error = match ended {
            Ok(()) | Err(Error::Stopping) => return,
            Err(error) => error,
        };
        tracing::debug!(%site, %origin, "the mirror's connection ended: {error}");
        let refused = matches!(error, Error::Refused(_) | Error::Protocol(_) | Error::Rule(_));
        let down = Event::Down { reason: error.to_string(), refused, heard };
        if events.send(down).await.is_err() {
            return;
        }
        if heard.is_some() && !refused {
            pause = FIRST_PAUSE;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn converse(
    stream: Box<dyn Stream>,
    site: &Name,
    events: &mpsc::Sender<Event>,
    heard: &mut Option<Instant>,
) -> Result<(), Error> {
    let (read, mut write) = tokio::io::split(stream);
    let (sender, mut outgoing) = mpsc::channel(1024);
    let hello = Message::Hello { version: VERSION, site: site.clone() };
    write.write_all(&hello.to_frame()).await?;
    write.flush().await?;
    let reading = async {
        let mut incoming = Incoming::new(read);
        let mut sender = Some(sender);
        loop {
            // Only silence counts, not the time this node takes to digest.
            let next = tokio::time::timeout(SILENCE, incoming.next());
            let message = next.await.map_err(|_| Error::Silent)??;
            *heard = Some(Instant::now());
            let event = match message {
                Message::Refused { reason } => return Err(Error::Refused(reason)),
                Message::Ping => continue,
                message => Event::Said(message),
            };
            if let Some(sender) = sender.take() {
                events.send(Event::Up(sender)).await.map_err(|_| Error::Stopping)?;
            }
            events.send(event).await.map_err(|_| Error::Stopping)?;
        }
    };
    tokio::select! {
        ended = reading => ended,
        ended = write_all(&mut write, &mut outgoing) => ended.and(Err(Error::Rule("it was given up"))),
    }
}
