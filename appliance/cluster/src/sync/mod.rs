//! The settings' document, the same on every node.
//!
//! Between each two nodes there is one stream, opened by the one whose id comes first. Each side
//! says how far its document is; where they differ the merging engine's messages go back and forth
//! until they do not. What has changed since goes over at once.
//!
//! ```text
//! | length (4 bytes, network order) | kind | rest |
//! kind 1: how far this side is (JSON: heads, keys)
//! kind 2: a message of the merging engine
//! kind 3: the cluster's keys (JSON)
//! ```
//!
//! What is said when is decided in [`dialogue`], which is pure.

mod dialogue;

use crate::channel::Service;
use crate::runner::Handle;
use crate::stream::SecureStream;
use control::{Control, Exchange, ExchangeError, MAX_MESSAGE, Shutdown, Snapshot};
pub use dialogue::{Dialogue, Say, State};
use model::NodeId;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const STATE: u8 = 1;
const MESSAGE: u8 = 2;
const KEYS: u8 = 3;

/// The other side takes what is sent within this, or is gone.
const PATIENCE: Duration = Duration::from_secs(20);
/// The pauses between attempts to open a stream.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Where the card cannot be written, the exchange is not tried again at once.
const CARD_PAUSE: Duration = Duration::from_secs(5);
/// Frames that are read ahead.
const AHEAD: usize = 4;

/// Keeps this node's document the same as that of every other one, for as long as the node runs.
/// Needs a tokio runtime.
pub fn replicate(handle: &Handle, control: &Control, shutdown: &Shutdown) {
    let answering = control.clone();
    handle.on(
        Service::Settings,
        Arc::new(move |peer, stream| {
            let control = answering.clone();
            Box::pin(async move {
                let end = converse(&control, &peer, stream).await;
                tracing::debug!("the exchange of settings with node {peer} ended: {end}");
            })
        }),
    );
    tokio::spawn(follow(handle.clone(), control.clone(), shutdown.clone()));
}

/// Has one task call each node that this one calls.
async fn follow(handle: Handle, control: Control, shutdown: Shutdown) {
    let mut snapshots = control.watch();
    let mut callers: BTreeMap<NodeId, JoinSet<()>> = BTreeMap::new();
    loop {
        let called = called(&snapshots.borrow_and_update());
        callers.retain(|node, _| called.contains(node));
        for node in called {
            callers.entry(node.clone()).or_insert_with(|| {
                let mut task = JoinSet::new();
                task.spawn(call(handle.clone(), control.clone(), node));
                task
            });
        }
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            () = shutdown.requested() => return,
        }
    }
}

/// The other nodes whose id comes after this one's.
fn called(snapshot: &Snapshot) -> Vec<NodeId> {
    let known = snapshot.settings.node(snapshot.node()).is_some();
    let nodes = snapshot.settings.nodes.iter().filter(|_| known);
    nodes.map(|n| n.id.clone()).filter(|id| id > snapshot.node()).collect()
}

async fn call(handle: Handle, control: Control, node: NodeId) {
    let mut pause = FIRST_PAUSE;
    loop {
        if let Ok(stream) = handle.open(&node, Service::Settings).await {
            pause = FIRST_PAUSE;
            let end = converse(&control, &node, stream).await;
            tracing::debug!("the exchange of settings with node {node} ended: {end}");
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why an exchange is over.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Exchange(#[from] ExchangeError),
    #[error("the node sent something that makes no sense")]
    Garbage,
    #[error("this node is shutting down")]
    Stopping,
}

async fn converse(control: &Control, peer: &NodeId, stream: SecureStream) -> End {
    let (reader, writer) = tokio::io::split(stream);
    let (frames, incoming) = mpsc::channel(AHEAD);
    // Reading is a task of its own: a frame must not be lost when something else happens first.
    let mut task = JoinSet::new();
    task.spawn(read_all(reader, frames));
    let end = match control.open_exchange().await {
        Ok(exchange) => {
            let dialogue = Dialogue::default();
            let talk = Talk { control, peer, exchange, writer, dialogue };
            talk.run(incoming).await
        }
        Err(_) => End::Stopping,
    };
    if let End::Exchange(ExchangeError::Storage(reason)) = &end {
        tracing::warn!("what node {peer} changed could not be stored: {reason}");
        sleep(CARD_PAUSE).await;
    }
    end
}

struct Talk<'a, W> {
    control: &'a Control,
    peer: &'a NodeId,
    exchange: Exchange,
    writer: W,
    dialogue: Dialogue,
}

impl<W: AsyncWrite + Unpin> Talk<'_, W> {
    async fn run(mut self, mut incoming: mpsc::Receiver<io::Result<(u8, Vec<u8>)>>) -> End {
        let mut replication = self.control.replication();
        loop {
            let now = {
                let now = replication.borrow_and_update();
                State { heads: now.heads.clone(), keys: now.keys.clone() }
            };
            if let Err(end) = self.say(&now).await {
                return end;
            }
            tokio::select! {
                changed = replication.changed() => if changed.is_err() { return End::Stopping },
                frame = incoming.recv() => {
                    let heard = match frame {
                        Some(Ok((kind, rest))) => self.hear(kind, rest).await,
                        Some(Err(error)) => Err(error.into()),
                        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    };
                    if let Err(end) = heard {
                        return end;
                    }
                }
            }
        }
    }

    /// Says everything there is to say.
    async fn say(&mut self, now: &State) -> Result<(), End> {
        for say in self.dialogue.due(now) {
            match say {
                Say::State(state) => {
                    self.send(STATE, &serde_json::to_vec(&state).unwrap_or_default()).await?;
                }
                Say::Messages => {
                    while let Some(message) = self.exchange.next().await? {
                        self.send(MESSAGE, &message).await?;
                    }
                }
                Say::Keys => {
                    let keys = self.control.keys().await.map_err(|_| End::Stopping)?;
                    self.send(KEYS, keys.as_bytes()).await?;
                }
            }
        }
        Ok(())
    }

    async fn hear(&mut self, kind: u8, rest: Vec<u8>) -> Result<(), End> {
        match kind {
            STATE => {
                let theirs = serde_json::from_slice(&rest).map_err(|_| End::Garbage)?;
                self.dialogue.heard_state(theirs);
            }
            MESSAGE => {
                self.dialogue.heard_message();
                self.exchange.take(self.peer, rest).await?;
            }
            KEYS => {
                let taken = self.control.add_keys(rest, self.peer.clone()).await;
                taken.map_err(|_| End::Garbage)?;
                self.dialogue.heard_keys();
            }
            // Of a newer release.
            _ => {}
        }
        Ok(())
    }

    async fn send(&mut self, kind: u8, rest: &[u8]) -> io::Result<()> {
        let length = u32::try_from(rest.len() + 1).map_err(io::Error::other)?;
        let mut head = [0; 5];
        let (size, tag) = head.split_at_mut(4);
        size.copy_from_slice(&length.to_be_bytes());
        tag.fill(kind);
        let write = async {
            self.writer.write_all(&head).await?;
            self.writer.write_all(rest).await?;
            self.writer.flush().await
        };
        timeout(PATIENCE, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn read_all(
    mut reader: impl AsyncRead + Unpin,
    frames: mpsc::Sender<io::Result<(u8, Vec<u8>)>>,
) {
    loop {
        let frame = read(&mut reader).await;
        let over = frame.is_err();
        if frames.send(frame).await.is_err() || over {
            return;
        }
    }
}

async fn read(reader: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let length = usize::try_from(reader.read_u32().await?).unwrap_or(usize::MAX);
    if !(1..=MAX_MESSAGE + 1).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let kind = reader.read_u8().await?;
    // Grows with what really comes, not with what was announced.
    let mut rest = Vec::with_capacity(length.min(16 * 1024));
    let wanted = length - 1;
    let limit = u64::try_from(wanted).map_err(io::Error::other)?;
    if reader.take(limit).read_to_end(&mut rest).await? < wanted {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((kind, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_bounded_and_whole() {
        let read = |bytes: &'static [u8]| async move { read(&mut &bytes[..]).await };
        assert_eq!(read(&[0, 0, 0, 3, 2, 7, 8]).await.unwrap(), (2, vec![7, 8]));
        assert_eq!(read(&[0, 0, 0, 1, 9]).await.unwrap(), (9, vec![]));
        for bad in [&[0, 0, 0, 0, 1][..], &[255, 255, 255, 255, 1], &[0, 0, 0, 3, 2, 7], &[0, 0]] {
            assert!(read(bad).await.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn of_two_nodes_one_calls() {
        let nodes = ["a", "b", "c"]
            .map(|id| model::Node { id: id.parse().unwrap(), ..model::Node::default() });
        let settings = model::Settings { nodes: nodes.into(), ..model::Settings::default() };
        let of = |own: &str| {
            let snapshot =
                Snapshot::new(model::Revision(1), settings.clone(), &own.parse().unwrap());
            called(&snapshot).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!((of("a").len(), of("b"), of("c").len()), (2, vec!["c".to_owned()], 0));
        assert!(of("stranger").is_empty(), "who is not in the settings calls nobody");
    }
}
