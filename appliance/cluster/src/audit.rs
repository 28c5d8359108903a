//! The audit logs, copied to every other node: when two nodes meet, each sends what the other
//! lacks of any log; then each sends what it writes itself, at once.

use crate::exchange::{Talking, blocking, keep, receive, send};
use crate::{Handle, Service};
use control::{Shutdown, SnapshotReceiver};
use model::NodeId;
use model::audit::{Entry, Head};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::sync::watch;
use tokio::time::sleep;

/// Longest message, in bytes.
const LONGEST: usize = 512 * 1024;
/// Entries sent at once, in bytes of their text.
const BATCH: usize = 128 * 1024;
/// What came from third nodes is told so often: whoever lacks something sees it then.
const RELAY: Duration = Duration::from_secs(30);

/// Where the logs are kept. Calls may block briefly.
pub trait AuditCopies: Send + Sync + 'static {
    /// The node that writes here.
    fn node(&self) -> NodeId;
    /// How far each log is known.
    fn heads(&self) -> Vec<Head>;
    /// Entries of a log after this number, oldest first, about `most` bytes of them.
    ///
    /// # Errors
    /// When they cannot be read.
    fn after(&self, head: &Head, most: usize) -> Result<Vec<Entry>, String>;
    /// Takes over entries of one log, in order.
    ///
    /// # Errors
    /// When they are not stored.
    fn merge(&self, entries: &[Entry]) -> Result<(), String>;
    /// Looks whether what another node knows goes with what is known here.
    ///
    /// # Errors
    /// When the logs cannot be read.
    fn compare(&self, theirs: &[Head]) -> Result<(), String>;
    /// Wakes up when there are new entries.
    fn changes(&self) -> watch::Receiver<u64>;
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Message {
    /// What the sender knows.
    Have(Vec<Head>),
    /// What the other one lacked by its own word.
    Entries(Vec<Entry>),
}

/// Keeps copies of the others' logs here, and of this node's there; needs a tokio runtime.
pub fn share_audit(
    handle: &Handle,
    snapshots: SnapshotReceiver,
    shutdown: Shutdown,
    copies: Arc<dyn AuditCopies>,
) {
    let talk = move |_, stream| {
        let copies = copies.clone();
        let talking: Talking = Box::pin(talk(stream, copies));
        talking
    };
    keep(handle, snapshots, shutdown, Service::Audit, Arc::new(talk));
}

/// By node and log, the number of the last entry.
type Known = BTreeMap<(NodeId, String), u64>;

fn known(heads: &[Head]) -> Known {
    heads.iter().map(|h| ((h.node.clone(), h.log.clone()), h.seq)).collect()
}

async fn talk(stream: impl AsyncRead + AsyncWrite, copies: Arc<dyn AuditCopies>) -> io::Result<()> {
    let (mut reader, mut writer) = split(stream);
    let (heard, mut theirs) = watch::channel(None::<Known>);
    let tell = async {
        let mut changes = copies.changes();
        let own = copies.node();
        let mut told = copies.heads();
        send(&mut writer, &Message::Have(told.clone()), LONGEST).await?;
        theirs.wait_for(Option::is_some).await.map_err(io::Error::other)?;
        let mut sent = Known::new();
        // Logs of third nodes are looked at when the other side says what it has.
        let mut everything = true;
        loop {
            changes.mark_unchanged();
            let now = copies.heads();
            for head in &now {
                if everything || head.node == own {
                    let lacks = theirs.borrow().clone().unwrap_or_default();
                    send_missing(&mut writer, &copies, head, &lacks, &mut sent).await?;
                }
            }
            everything = false;
            tokio::select! {
                changed = changes.changed() => changed.map_err(io::Error::other)?,
                changed = theirs.changed() => {
                    changed.map_err(io::Error::other)?;
                    everything = true;
                }
                () = sleep(RELAY) => {
                    let now = copies.heads();
                    if now != told {
                        send(&mut writer, &Message::Have(now.clone()), LONGEST).await?;
                        told = now;
                    }
                }
            }
        }
    };
    let hear = async {
        loop {
            let to = copies.clone();
            match receive(&mut reader, LONGEST).await? {
                Message::Have(heads) => {
                    let now = known(&heads);
                    blocking(move || to.compare(&heads)).await?.map_err(io::Error::other)?;
                    heard.send_replace(Some(now));
                }
                Message::Entries(entries) => {
                    blocking(move || to.merge(&entries)).await?.map_err(io::Error::other)?;
                }
            }
        }
    };
    tokio::select! {
        ended = tell => ended,
        ended = hear => ended,
    }
}

async fn send_missing(
    writer: &mut (impl AsyncWrite + Unpin),
    copies: &Arc<dyn AuditCopies>,
    head: &Head,
    lacks: &Known,
    sent: &mut Known,
) -> io::Result<()> {
    let key = (head.node.clone(), head.log.clone());
    loop {
        let has = lacks.get(&key).copied().unwrap_or(0).max(sent.get(&key).copied().unwrap_or(0));
        if has >= head.seq {
            return Ok(());
        }
        let (from, at) = (copies.clone(), Head { seq: has, ..head.clone() });
        let batch = blocking(move || from.after(&at, BATCH)).await?.map_err(io::Error::other)?;
        let Some(last) = batch.last().map(|e| e.seq) else { return Ok(()) };
        send(writer, &Message::Entries(batch), LONGEST).await?;
        sent.insert(key.clone(), last);
    }
}
