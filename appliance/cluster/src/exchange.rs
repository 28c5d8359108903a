//! Streams on which two nodes tell each other what they know, for as long as both run: one for
//! each pair of nodes and purpose, opened by the node with the lower id; by the other one too when
//! it has heard nothing for a while.

use crate::{Handle, Handler, SecureStream, Service};
use control::{Shutdown, SnapshotReceiver};
use model::NodeId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// The pauses between attempts to reach a node.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The node with the higher id waits so long to be called before it calls itself.
const PATIENCE: Duration = Duration::from_secs(4);

/// Sends one message, JSON with its length before it.
pub(crate) async fn send<S, T>(stream: &mut S, message: &T, most: usize) -> io::Result<()>
where
    S: AsyncWrite + Unpin,
    T: Serialize + ?Sized,
{
    let json = serde_json::to_vec(message)?;
    if json.len() > most {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
    }
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&json).await?;
    stream.flush().await
}

/// Receives one message of at most `most` bytes.
pub(crate) async fn receive<S, T>(stream: &mut S, most: usize) -> io::Result<T>
where
    S: AsyncRead + Unpin,
    T: DeserializeOwned,
{
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "what came is too long"));
    }
    // Grows with what really comes, not with what was announced.
    let mut json = Vec::with_capacity(length.min(16 * 1024));
    let limit = u64::try_from(length).map_err(io::Error::other)?;
    let received = stream.take(limit).read_to_end(&mut json).await?;
    if received < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&json).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// Runs something that may wait for the disk where waiting is harmless.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// What is done on a stream; ends with it.
pub(crate) type Talking = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;
/// See [`Talking`].
pub(crate) type Talk = Arc<dyn Fn(NodeId, SecureStream) -> Talking + Send + Sync>;

/// How many streams there are with each node.
#[derive(Clone, Default)]
struct Active(Arc<Mutex<BTreeMap<NodeId, usize>>>);

struct Place {
    active: Active,
    node: NodeId,
}

impl Active {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, node: &NodeId) -> Place {
        *self.lock().entry(node.clone()).or_default() += 1;
        Place { active: self.clone(), node: node.clone() }
    }

    fn any(&self, node: &NodeId) -> bool {
        self.lock().get(node).is_some_and(|count| *count > 0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut active = self.active.lock();
        if let Some(count) = active.get_mut(&self.node) {
            *count -= 1;
            if *count == 0 {
                active.remove(&self.node);
            }
        }
    }
}

/// Keeps one stream with every other node of the settings and talks on it; needs a tokio runtime.
pub(crate) fn keep(
    handle: &Handle,
    mut snapshots: SnapshotReceiver,
    shutdown: Shutdown,
    service: Service,
    talk: Talk,
) {
    let active = Active::default();
    handle.on(service, answering(active.clone(), talk.clone()));
    let handle = handle.clone();
    tokio::spawn(async move {
        let mut callers: BTreeMap<NodeId, JoinSet<()>> = BTreeMap::new();
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            let peers = &snapshot.effective.peers;
            callers.retain(|id, _| peers.iter().any(|(peer, _)| peer == id));
            for (id, _) in peers {
                callers.entry(id.clone()).or_insert_with(|| {
                    let mut task = JoinSet::new();
                    task.spawn(call(Caller {
                        handle: handle.clone(),
                        own: snapshot.node().clone(),
                        node: id.clone(),
                        service,
                        active: active.clone(),
                        talk: talk.clone(),
                    }));
                    task
                });
            }
            drop(snapshot);
            tokio::select! {
                changed = snapshots.changed() => if changed.is_err() { return },
                () = shutdown.requested() => return,
            }
        }
    });
}

fn answering(active: Active, talk: Talk) -> Handler {
    Arc::new(move |peer, stream| {
        let place = active.take(&peer);
        let talking = talk(peer, stream);
        Box::pin(async move {
            let _place = place;
            // Why it ended is said by the node that called.
            let _ = talking.await;
        })
    })
}

struct Caller {
    handle: Handle,
    own: NodeId,
    node: NodeId,
    service: Service,
    active: Active,
    talk: Talk,
}

async fn call(caller: Caller) {
    let Caller { handle, own, node, service, active, talk } = caller;
    let waits = own > node;
    let mut pause = FIRST_PAUSE;
    loop {
        if waits {
            sleep(PATIENCE).await;
            if active.any(&node) {
                continue;
            }
        }
        match handle.open(&node, service).await {
            Ok(stream) => {
                pause = FIRST_PAUSE;
                let place = active.take(&node);
                if let Err(error) = talk(node.clone(), stream).await {
                    tracing::debug!("the {service:?} stream with node {node} ended: {error}");
                }
                drop(place);
            }
            Err(error) => {
                tracing::debug!("no {service:?} stream with node {node}: {error}");
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_have_a_longest_size() {
        let (mut a, mut b) = tokio::io::duplex(1 << 16);
        send(&mut a, &vec!["one", "two"], 100).await.unwrap();
        let read: Vec<String> = receive(&mut b, 100).await.unwrap();
        assert_eq!(read, ["one", "two"]);
        assert!(send(&mut a, &"x".repeat(200), 100).await.is_err());
        a.write_all(&200_u32.to_be_bytes()).await.unwrap();
        assert!(receive::<_, String>(&mut b, 100).await.is_err());
        let (mut a, mut b) = tokio::io::duplex(1 << 16);
        a.write_all(&[0, 0, 0, 9, b'{']).await.unwrap();
        drop(a);
        let error = receive::<_, String>(&mut b, 100).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
