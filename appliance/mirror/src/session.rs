//! The origin's side of one mirror's connection.

use crate::Stream;
use crate::error::Error;
use crate::link::{Incoming, write_all};
use crate::live::Live;
use crate::origin::{Published, State};
use crate::serve::{Request, serve};
use crate::tree::{Entry, Kind, RelPath, Tree};
use crate::wire::{MAX_NEEDS, Message};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;

/// A mirror that says nothing for so long is taken for dead.
const SILENCE: Duration = Duration::from_secs(10);
/// Listings are sent in pieces of about this size.
const PIECE: usize = 48 * 1024;

/// Serves a mirror that has said hello until it goes away.
pub(crate) async fn run(
    incoming: Incoming<ReadHalf<Box<dyn Stream>>>,
    mut write: WriteHalf<Box<dyn Stream>>,
    published: Arc<Published>,
    live: Arc<Live>,
) -> Result<(), Error> {
    let (outgoing, mut messages) = mpsc::channel(8);
    // The mirror keeps below MAX_NEEDS open requests; twice that allows for those on the way.
    let (requests, waiting) = mpsc::channel(2 * MAX_NEEDS);
    let stopped = Arc::new(AtomicBool::new(false));
    let worker = {
        let (published, outgoing) = (Arc::clone(&published), outgoing.clone());
        let stopped = Arc::clone(&stopped);
        tokio::task::spawn_blocking(move || serve(waiting, &outgoing, &published, &live, &stopped))
    };
    let (told, sender) = (Arc::clone(&published), outgoing.clone());
    drop(outgoing);
    let ended: Result<(), Error> = tokio::select! {
        ended = listen(incoming, requests) => ended,
        ended = tell(told, sender) => ended,
        ended = write_all(&mut write, &mut messages) => ended,
    };
    stopped.store(true, Ordering::Relaxed);
    drop(messages);
    // It ends at its next look at the flag or the channel.
    let _ = worker.await;
    ended
}

/// Passes requests on.
async fn listen(
    mut incoming: Incoming<ReadHalf<Box<dyn Stream>>>,
    requests: mpsc::Sender<Request>,
) -> Result<(), Error> {
    loop {
        let next = tokio::time::timeout(SILENCE, incoming.next());
        match next.await.map_err(|_| Error::Silent)?? {
            Message::Ping => {}
            Message::Need { id, path, have } => {
                let queued = requests.try_send(Request { id, path, have });
                queued.map_err(|_| Error::Rule("it asks for too much at once"))?;
            }
            _ => return Err(Error::Rule("a mirror sent what only an origin sends")),
        }
    }
}

/// Sends the listing, and what changes after it, for ever.
async fn tell(published: Arc<Published>, outgoing: mpsc::Sender<Message>) -> Result<(), Error> {
    let mut changes = published.changes();
    let mut sent = None;
    loop {
        changes.borrow_and_update();
        let news = news(&published.state(), &mut sent);
        match news {
            News::Listing { begin, tree, end } => {
                send(&outgoing, begin).await?;
                let mut sent = None;
                loop {
                    let entries = entries_after(&tree, sent.as_ref());
                    let Some((last, _)) = entries.last() else { break };
                    sent = Some(last.clone());
                    send(&outgoing, Message::Entries(entries)).await?;
                }
                send(&outgoing, end).await?;
            }
            News::Changes(all) => {
                let mut left = all.into_iter();
                while left.len() > 0 {
                    let changes = piece(&mut left, |(p, e)| weight(p, e.as_ref()));
                    let more = left.len() > 0;
                    send(&outgoing, Message::Changes { more, changes }).await?;
                }
            }
        }
        changes.changed().await.map_err(|_| Error::Stopping)?;
    }
}

type Change = (RelPath, Option<Entry>);

enum News {
    Listing { begin: Message, tree: Arc<Tree>, end: Message },
    Changes(Vec<Change>),
}

/// What a mirror that was sent everything up to `sent` (epoch, generation) does not know yet.
fn news(state: &State, sent: &mut Option<(u64, u64)>) -> News {
    if state.epoch == 0 {
        return News::Changes(Vec::new());
    }
    let known = sent.filter(|(epoch, _)| *epoch == state.epoch);
    let paths = known.and_then(|(_, generation)| state.since(generation));
    *sent = Some((state.epoch, state.generation));
    match paths {
        Some(paths) => News::Changes(
            paths.into_iter().map(|p| (p.clone(), state.tree.get(&p).cloned())).collect(),
        ),
        None => News::Listing {
            begin: Message::Begin {
                patterns: state.patterns.clone(),
                source: state.source.clone(),
            },
            tree: Arc::clone(&state.tree),
            end: Message::End { problems: state.problems.clone() },
        },
    }
}

fn entries_after(tree: &Tree, last: Option<&RelPath>) -> Vec<(RelPath, Entry)> {
    let from = last.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest =
        tree.range::<RelPath, _>((from, Bound::Unbounded)).map(|(p, e)| (p.clone(), e.clone()));
    piece(&mut rest, |(p, e)| weight(p, Some(e)))
}

/// As much of a list as fits a message.
fn piece<T>(all: &mut impl Iterator<Item = T>, weight: impl Fn(&T) -> usize) -> Vec<T> {
    let mut piece = Vec::new();
    let mut size = 0;
    while size < PIECE {
        let Some(one) = all.next() else { break };
        size += weight(&one);
        piece.push(one);
    }
    piece
}

/// About the bytes a path takes in a message.
fn weight(path: &RelPath, entry: Option<&Entry>) -> usize {
    let target = match entry.map(|e| &e.kind) {
        Some(Kind::Symlink { target }) => target.len(),
        _ => 0,
    };
    path.as_bytes().len() + target + 64
}

async fn send(outgoing: &mpsc::Sender<Message>, message: Message) -> Result<(), Error> {
    outgoing.send(message).await.map_err(|_| Error::Stopping)
}
