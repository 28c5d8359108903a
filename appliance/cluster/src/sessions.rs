//! Sessions of the admin page, told to every other node: all of them when two nodes meet, then
//! each change at once.

use crate::exchange::{Talking, blocking, keep, receive, send};
use crate::{Handle, Service};
use control::{Shutdown, SnapshotReceiver};
use model::session::News;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::sync::watch;

/// Longest message, in bytes: every session there may be and every one that was ended.
const LONGEST: usize = 512 * 1024;

/// Where sessions are kept. Calls may block briefly.
pub trait SharedSessions: Send + Sync + 'static {
    /// What changed after `version` (0: everything there is), and the version this is.
    fn news_since(&self, version: u64) -> (News, u64);
    /// Takes over what another node tells.
    ///
    /// # Errors
    /// When it is not stored.
    fn merge(&self, news: &News) -> Result<(), String>;
    /// Wakes up when there is something to tell.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Keeps this node's sessions and those of the others the same; needs a tokio runtime.
pub fn share_sessions(
    handle: &Handle,
    snapshots: SnapshotReceiver,
    shutdown: Shutdown,
    sessions: Arc<dyn SharedSessions>,
) {
    let talk = move |_, stream| {
        let sessions = sessions.clone();
        let talking: Talking = Box::pin(talk(stream, sessions));
        talking
    };
    keep(handle, snapshots, shutdown, Service::Sessions, Arc::new(talk));
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite,
    sessions: Arc<dyn SharedSessions>,
) -> io::Result<()> {
    let (mut reader, mut writer) = split(stream);
    let tell = async {
        let mut changes = sessions.changes();
        let (mut told, mut generation) = (0, 0);
        loop {
            changes.mark_unchanged();
            let from = sessions.clone();
            let (news, version) = blocking(move || from.news_since(told)).await?;
            let empty = news.sessions.is_empty() && news.ended.is_empty();
            if told == 0 || news.generation != generation || !empty {
                send(&mut writer, &news, LONGEST).await?;
            }
            (told, generation) = (version, news.generation);
            changes.changed().await.map_err(io::Error::other)?;
        }
    };
    let hear = async {
        loop {
            let news: News = receive(&mut reader, LONGEST).await?;
            let to = sessions.clone();
            blocking(move || to.merge(&news)).await?.map_err(io::Error::other)?;
        }
    };
    tokio::select! {
        ended = tell => ended,
        ended = hear => ended,
    }
}
