//! The side of the node that adopts.

use super::code::{Code, Meeting, Nonce};
use super::wire::{self, Ask, Tell};
use super::{AdoptError, Verified};
use crate::discover::Hint;
use crate::error::HandshakeError;
use crate::proof::{Role, Token};
use model::{Node, NodeId};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A step of the program at the other end takes no longer.
const STEP: Duration = Duration::from_secs(10);
/// To send the gift, and for the board to keep it.
const GIVING: Duration = Duration::from_secs(90);

/// What the board is told of who wants it.
pub(crate) struct Suitor {
    pub(crate) cluster: String,
    pub(crate) node: String,
    pub(crate) token: Option<Token>,
}

/// What came of the introduction.
#[derive(Debug)]
pub(crate) struct Introduced {
    /// What the board would be called.
    pub(crate) node: NodeId,
    /// Its entry, if this release can read it.
    pub(crate) entry: Option<Node>,
    pub(crate) model: String,
    /// It proved the join token.
    pub(crate) trusted: bool,
    pub(crate) code: Code,
}

/// Asks a board what it is.
pub(crate) async fn who<S>(io: &mut S) -> Result<Hint, AdoptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match ask(io, &Ask::Who).await? {
        Tell::Me { hint } => Ok(hint.shown()),
        _ => Err(AdoptError::Cheated),
    }
}

/// Lets it flash.
pub(crate) async fn blink<S>(io: &mut S) -> Result<(), AdoptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match ask(io, &Ask::Blink).await? {
        Tell::Done => Ok(()),
        _ => Err(AdoptError::Cheated),
    }
}

/// Agrees with a board on six digits, or proves the join token to each other.
pub(crate) async fn introduce<S>(
    io: &mut S,
    suitor: &Suitor,
    meeting: &Meeting<'_>,
) -> Result<Introduced, AdoptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let begin = Ask::Begin { cluster: suitor.cluster.clone(), node: suitor.node.clone() };
    let Tell::Commit { commitment, node, entry, model } = ask(io, &begin).await? else {
        return Err(AdoptError::Cheated);
    };
    let own = Nonce::new()
        .ok_or_else(|| AdoptError::NotInvited("this node has no random numbers".to_owned()))?;
    let claim = meeting.claim();
    let proof = suitor.token.as_ref().map(|token| token.prove(Role::Caller, &claim));
    let Tell::Open { nonce, proof } = ask(io, &Ask::Nonce { nonce: own.text(), proof }).await?
    else {
        return Err(AdoptError::Cheated);
    };
    let theirs = Nonce::read(&nonce).ok_or(AdoptError::Cheated)?;
    if theirs.commitment() != commitment {
        return Err(AdoptError::Cheated);
    }
    let trusted = match (&suitor.token, proof) {
        (Some(token), Some(proof)) if token.holds(Role::Called, &claim, &proof) => true,
        // It says it knows the token, and does not.
        (_, Some(_)) => return Err(AdoptError::Cheated),
        (_, None) => false,
    };
    Ok(Introduced {
        node,
        entry: serde_json::from_value(entry).ok(),
        model: crate::discover::shown(&model),
        trusted,
        code: meeting.code(own, theirs),
    })
}

/// Gives the board what makes it a member. Once this has begun, only the board knows how it ends
/// if the connection breaks.
pub(crate) async fn hand_over<S>(
    io: &mut S,
    verified: Verified,
    node: NodeId,
    gift: &[u8],
) -> Result<(), AdoptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let giving = async {
        wire::send(io, &Ask::Confirm { verified }).await?;
        wire::send(io, &Ask::Gift { node, length: gift.len() }).await?;
        io.write_all(gift).await?;
        io.flush().await?;
        wire::receive(io).await
    };
    match timeout(GIVING, giving).await {
        Ok(Ok(Tell::Done)) => Ok(()),
        Ok(Ok(Tell::No { why, text })) => Err(AdoptError::said(why, &text)),
        Ok(Ok(_)) => Err(AdoptError::Cheated),
        Ok(Err(_)) | Err(_) => Err(AdoptError::Halfway),
    }
}

async fn ask<S>(io: &mut S, ask: &Ask) -> Result<Tell, AdoptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let asking = async {
        wire::send(io, ask).await?;
        wire::receive(io).await
    };
    match timeout(STEP, asking).await.map_err(|_| HandshakeError::TimedOut)?? {
        Tell::No { why, text } => Err(AdoptError::said(why, &crate::discover::shown(&text))),
        answer => Ok(answer),
    }
}
