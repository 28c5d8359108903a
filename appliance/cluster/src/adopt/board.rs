//! The side of the board that is adopted.

use super::code::{Meeting, Nonce};
use super::rules::{Attempts, WINDOW};
use super::wire::{self, Ask, No, Tell};
use super::{Gift, Household, Verified};
use crate::discover::{Hint, shown};
use crate::error::HandshakeError;
use crate::proof::{Role, Token};
use control::StatusBoard;
use model::status::Asked;
use model::{Node, NodeId};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// A step of the program at the other end takes no longer.
const STEP: Duration = Duration::from_secs(10);
/// The operator has five minutes; the node there ends it first.
const COMPARING: Duration = Duration::from_secs(5 * 60 + 10);
/// The bytes of a gift take no longer.
const GIVING: Duration = Duration::from_secs(60);

/// The notice that somebody wants this board.
const NOTICE: &str = "asked";

/// Who wants this board.
#[derive(Default)]
struct Slot {
    taken: bool,
    asked: Option<Asked>,
    attempts: Attempts,
}

/// What this board keeps of those who want it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    slot: Arc<Mutex<Slot>>,
    board: StatusBoard,
}

/// One adoption; leaving the scope, the door is free for another.
struct Visit(Door);

impl Door {
    pub(crate) fn new(board: StatusBoard) -> Self {
        Self { slot: Arc::default(), board }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who wants this board now.
    pub(crate) fn asked(&self) -> Option<Asked> {
        self.slot().asked.clone()
    }

    fn enter(&self) -> Result<Visit, No> {
        let mut slot = self.slot();
        if slot.taken {
            return Err(No::Busy);
        }
        if !slot.attempts.begin(Instant::now()) {
            return Err(No::Often);
        }
        slot.taken = true;
        Ok(Visit(self.clone()))
    }
}

impl Visit {
    fn show(&self, asked: Asked) {
        let text = sentence(&asked);
        self.0.slot().asked = Some(asked);
        self.0.board.notice(NOTICE, text);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut slot = self.0.slot();
        slot.taken = false;
        let shown = slot.asked.take().is_some();
        drop(slot);
        if shown {
            self.0.board.clear_notice(NOTICE);
        }
    }
}

/// For the board's own screen and page.
fn sentence(asked: &Asked) -> String {
    let Asked { cluster, node, code, .. } = asked;
    let of = if cluster.is_empty() { String::new() } else { format!(" of cluster {cluster}") };
    match code.split_at_checked(3) {
        Some((first, second)) if !second.is_empty() => format!(
            "Node {node}{of} wants to take this board in. Go on there if it shows the same code: \
             {first} {second}"
        ),
        _ => format!("Node {node}{of} takes this board in: the cards of both were made together."),
    }
}

/// What this board is.
pub(crate) struct About<'a> {
    pub(crate) hint: Hint,
    pub(crate) node: NodeId,
    pub(crate) entry: Option<Node>,
    pub(crate) household: &'a dyn Household,
    pub(crate) gift: &'a dyn Gift,
    pub(crate) door: &'a Door,
}

/// Attends to one caller, to the end.
///
/// # Errors
/// When the connection broke or nonsense came.
pub(crate) async fn attend<S>(
    io: &mut S,
    about: &About<'_>,
    meeting: &Meeting<'_>,
) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match hear(io, STEP).await? {
            Ask::Who => wire::send(io, &Tell::Me { hint: about.hint.clone() }).await?,
            Ask::Blink if about.household.claimed() => return claimed(io, about).await,
            Ask::Blink => blink(io, about, None).await?,
            Ask::Begin { cluster, node } => {
                if about.household.claimed() {
                    return claimed(io, about).await;
                }
                if about.household.powered_for() >= WINDOW {
                    return no(io, No::Window, "it got its power more than 30 minutes ago").await;
                }
                let asked = Asked {
                    cluster: shown(&cluster),
                    node: shown(&node),
                    code: String::new(),
                    blinks: 0,
                };
                return match about.door.enter() {
                    Ok(visit) => adopted(io, about, meeting, &visit, asked).await,
                    Err(why) => no(io, why, "not now").await,
                };
            }
            _ => return no(io, No::Nonsense, "that was not to be said yet").await,
        }
    }
}

async fn adopted<S>(
    io: &mut S,
    about: &About<'_>,
    meeting: &Meeting<'_>,
    visit: &Visit,
    asked: Asked,
) -> Result<(), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(own) = Nonce::new() else {
        return no(io, No::Failed, "it has no random numbers").await;
    };
    let commit = Tell::Commit {
        commitment: own.commitment(),
        node: about.node.clone(),
        entry: serde_json::to_value(&about.entry).unwrap_or_default(),
        model: about.hint.model.clone(),
    };
    wire::send(io, &commit).await?;
    let Ask::Nonce { nonce, proof } = hear(io, STEP).await? else {
        return no(io, No::Nonsense, "its number was to be said").await;
    };
    let Some(theirs) = Nonce::read(&nonce) else {
        return no(io, No::Nonsense, "that was no number").await;
    };
    let token = about.household.join_token().and_then(|secret| Token::derive(&secret));
    let proved = |token: &Token| {
        proof.as_ref().is_some_and(|proof| token.holds(Role::Caller, &meeting.claim(), proof))
    };
    let token = token.filter(proved);
    let proof = token.as_ref().map(|token| token.prove(Role::Called, &meeting.claim()));
    let trusted = proof.is_some();
    // Shown before the number is given away: what the node shows is here already.
    let code = meeting.code(theirs, own);
    let digits = if trusted { String::new() } else { code.digits };
    visit.show(Asked { code: digits, blinks: code.blinks, ..asked });
    wire::send(io, &Tell::Open { nonce: own.text(), proof }).await?;
    let mut confirmed = false;
    let until = tokio::time::Instant::now() + COMPARING;
    loop {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        match hear(io, left).await? {
            Ask::Blink => blink(io, about, Some(code.blinks)).await?,
            Ask::Confirm { verified } if verified != Verified::Card || trusted => {
                if verified == Verified::Skipped {
                    tracing::warn!("this board is adopted without the code having been compared");
                }
                confirmed = true;
            }
            Ask::Gift { node, length } if confirmed => {
                let gift = timeout(GIVING, wire::receive_gift(io, length));
                let gift = gift.await.map_err(|_| HandshakeError::TimedOut)??;
                // Somebody may have claimed it on its own page meanwhile.
                if about.household.claimed() {
                    return claimed(io, about).await;
                }
                return match about.gift.accept(node, gift).await {
                    Ok(()) => wire::send(io, &Tell::Done).await,
                    Err(why) => no(io, No::Failed, &why).await,
                };
            }
            _ => return no(io, No::Nonsense, "that was not to be said yet").await,
        }
    }
}

async fn hear<S>(io: &mut S, limit: Duration) -> Result<Ask, HandshakeError>
where
    S: AsyncRead + Unpin,
{
    timeout(limit, wire::receive(io)).await.map_err(|_| HandshakeError::TimedOut)?
}

async fn blink<S>(io: &mut S, about: &About<'_>, flashes: Option<u8>) -> Result<(), HandshakeError>
where
    S: AsyncWrite + Unpin,
{
    match about.household.blink(flashes).await {
        Ok(()) => wire::send(io, &Tell::Done).await,
        Err(text) => wire::send(io, &Tell::No { why: No::Other, text: shown_line(&text) }).await,
    }
}

async fn claimed<S>(io: &mut S, about: &About<'_>) -> Result<(), HandshakeError>
where
    S: AsyncWrite + Unpin,
{
    no(io, No::Claimed, &about.hint.cluster).await
}

/// Says no; this caller has nothing more to say here.
async fn no<S>(io: &mut S, why: No, text: &str) -> Result<(), HandshakeError>
where
    S: AsyncWrite + Unpin,
{
    wire::send(io, &Tell::No { why, text: shown_line(text) }).await
}

fn shown_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}
