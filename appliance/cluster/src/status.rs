//! Tells the other nodes how this one is, and hears how they are.

use crate::channel::{Channel, Handler, Service};
use crate::counters::one_more;
use crate::error::HandshakeError;
use crate::hello::Why;
use crate::report::{self, Message, Writer};
use crate::stream::SecureStream;
use control::StatusBoard;
use model::NodeId;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

/// A sign of life goes out so often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After a change, so long is waited for others that come with it.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Two reports after changes are at least so far apart, however much is going on.
const GAP: Duration = Duration::from_millis(100);
/// A sender that is silent for so long is gone, whatever TCP believes.
const SILENCE: Duration = Duration::from_secs(5);
/// The board takes a node for out of reach after 3 s; the pages are told right after.
const OUT_OF_REACH: Duration = Duration::from_millis(3050);
/// The pauses between attempts to reach a node.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The newest report and signs of life since, for every sender.
#[derive(Clone, Default)]
pub(crate) struct Post {
    /// A whole report.
    report: Arc<Vec<u8>>,
    /// How many reports there have been.
    number: u64,
    /// A frame that says the report still holds; empty right after one.
    still: Arc<Vec<u8>>,
}

/// Writes reports for the senders. Ends never.
pub(crate) async fn publish(board: StatusBoard, post: watch::Sender<Post>) {
    let mut changes = board.own_changes();
    let mut beat = interval(HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut writer = Writer::default();
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                sleep(DEBOUNCE).await;
                changes.mark_unchanged();
            }
        }
        if let Some(written) = writer.write(board.own()) {
            let frame = Arc::new(written.frame);
            post.send_modify(|post| {
                if written.news {
                    let number = post.number + 1;
                    *post = Post { report: frame, number, still: Arc::default() };
                } else {
                    post.still = frame;
                }
            });
            if written.news {
                sleep(GAP - DEBOUNCE).await;
            }
        } else {
            tracing::warn!("this node's report is too long to be sent to the others");
        }
    }
}

/// Why nodes do not let us in, for the operator.
#[derive(Default)]
pub(crate) struct Refusals {
    reasons: Mutex<BTreeMap<NodeId, String>>,
    pub(crate) news: Notify,
}

impl Refusals {
    fn set(&self, node: &NodeId, reason: Option<String>) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let old = match reason.clone() {
            Some(reason) => reasons.insert(node.clone(), reason),
            None => reasons.remove(node),
        };
        if old != reason {
            self.news.notify_one();
        }
    }

    pub(crate) fn retain(&self, known: impl Fn(&NodeId) -> bool) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.retain(|node, _| known(node));
    }

    /// All of them in one sentence; None when everybody lets us in or is merely away.
    pub(crate) fn sentence(&self) -> Option<String> {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<String> = reasons.values().cloned().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// Keeps one stream to a node and sends it every report. Ends never. `again` cuts a pause short.
pub(crate) async fn tell(
    channel: Arc<Channel>,
    node: NodeId,
    post: watch::Receiver<Post>,
    refusals: Arc<Refusals>,
    again: Arc<Notify>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        match channel.open(&node, Service::Status).await {
            Ok(stream) => {
                tracing::info!("connected to node {node}");
                refusals.set(&node, None);
                pause = FIRST_PAUSE;
                let error = send_reports(stream, post.clone()).await;
                tracing::info!("the connection to node {node} ended: {error}");
            }
            Err(error) => {
                let reason = match &error {
                    HandshakeError::OtherNode(other) => Some(format!(
                        "node {other} answers at the address of node {node}: correct the \
                         addresses in the settings"
                    )),
                    new @ HandshakeError::NewKey(_) => Some(new.to_string()),
                    // It has just started again, or its settings are about to change.
                    HandshakeError::Refused(r) | HandshakeError::Refusing(r)
                        if r.why == Why::Twice =>
                    {
                        None
                    }
                    no if no.is_refusal() => Some(format!("node {node} refused: {no}")),
                    _ => None,
                };
                tracing::debug!("node {node} cannot be reached: {error}");
                refusals.set(&node, reason);
            }
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = again.notified() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn send_reports(mut stream: SecureStream, mut post: watch::Receiver<Post>) -> io::Error {
    let mut sent = 0;
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    // The other side says nothing: what comes is its end.
    let mut nothing = [0];
    let ended = reader.read(&mut nothing);
    tokio::pin!(ended);
    loop {
        let now = post.borrow_and_update().clone();
        let frame = if now.number == sent { &now.still } else { &now.report };
        let send = async {
            writer.write_all(frame).await?;
            writer.flush().await
        };
        match timeout(SILENCE, send).await {
            Ok(Ok(())) => sent = now.number,
            Ok(Err(error)) => return error,
            Err(_) => return io::ErrorKind::TimedOut.into(),
        }
        tokio::select! {
            changed = post.changed() => if changed.is_err() {
                return io::ErrorKind::Interrupted.into();
            },
            ended = &mut ended => return match ended {
                Ok(_) => io::Error::other("the node ended it"),
                Err(error) => error,
            },
        }
    }
}

/// Hears reports and puts them on the board. `called` is told which node has just come.
pub(crate) fn hear(
    channel: &Arc<Channel>,
    board: &StatusBoard,
    called: impl Fn(&NodeId) + Send + Sync + 'static,
) -> Handler {
    // The channel keeps the handler; the handler must not keep the channel.
    let counting = channel.counting.clone();
    let board = board.clone();
    Arc::new(move |peer, mut stream| {
        called(&peer);
        let (board, counting) = (board.clone(), counting.clone());
        Box::pin(async move {
            let mut last = Instant::now();
            loop {
                match timeout(SILENCE, receive(&mut stream)).await {
                    Ok(Ok(message)) => {
                        if !take(&board, &peer, &message) {
                            one_more(&counting.bad_reports);
                            break;
                        }
                        last = Instant::now();
                    }
                    Ok(Err(error)) => {
                        if error.kind() == io::ErrorKind::InvalidData {
                            one_more(&counting.bad_reports);
                        }
                        break;
                    }
                    Err(_) => break,
                }
            }
            drop(stream);
            sleep_until(last + OUT_OF_REACH).await;
            board.look_again();
        })
    })
}

fn take(board: &StatusBoard, peer: &NodeId, message: &[u8]) -> bool {
    match report::read(peer, message) {
        Some(Message::Report(status)) => board.heard(*status),
        Some(Message::Still { uptime_ms }) => {
            board.still_there(peer, uptime_ms);
        }
        None => return false,
    }
    true
}

async fn receive(stream: &mut SecureStream) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = report::length(head).ok_or(io::ErrorKind::InvalidData)?;
    // Grows with what really comes, not with what was announced.
    let mut message = Vec::with_capacity(length.min(16 * 1024));
    let limit = u64::try_from(length).map_err(io::Error::other)?;
    let received = stream.take(limit).read_to_end(&mut message).await?;
    if received < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(message)
}
