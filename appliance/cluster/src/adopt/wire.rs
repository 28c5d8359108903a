//! What a node and a board say to each other while one adopts the other. Pure but for the
//! reading and writing.
//!
//! ```text
//! node                                        board
//! who                                     ->
//!                                         <-  me
//! or
//! begin                                   ->
//!                                         <-  commit (to its number)
//! nonce (its number, proof of the token)  ->
//!                                         <-  open (its number, proof of the token)
//! confirm, once the operator has compared ->
//! gift, and so many bytes                 ->
//!                                         <-  done, once it is kept
//! ```
//!
//! Instead of any answer the board may say no. Each message is JSON behind its length (4 bytes,
//! network order); what a reader does not know in it it passes over.

use super::Verified;
use crate::discover::Hint;
use crate::error::HandshakeError;
use model::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest message, in bytes; they have a few hundred.
pub(crate) const LONGEST: usize = 16 * 1024;
/// The longest gift, in bytes: settings of sixteen nodes with a long history.
pub(crate) const LONGEST_GIFT: usize = 8 << 20;

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "say")]
pub(crate) enum Ask {
    /// Tell me about yourself.
    Who,
    /// This cluster, through this node, wants you.
    Begin { cluster: String, node: String },
    /// The node's number; that it knows the join token.
    Nonce {
        nonce: String,
        #[serde(default)]
        proof: Option<String>,
    },
    /// Flash.
    Blink,
    /// You are the board that is meant.
    Confirm { verified: Verified },
    /// You are this node; so many bytes follow.
    Gift { node: NodeId, length: usize },
}

/// What a board says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "say")]
pub(crate) enum Tell {
    /// What it is.
    Me { hint: Hint },
    /// What it would be as a node, and that it has made up its number.
    Commit {
        commitment: String,
        node: NodeId,
        /// Its entry in its own settings. Another release may know other keys.
        #[serde(default)]
        entry: serde_json::Value,
        #[serde(default)]
        model: String,
    },
    /// Its number; that it knows the join token, if the node does.
    Open {
        nonce: String,
        #[serde(default)]
        proof: Option<String>,
    },
    /// It has done so.
    Done,
    /// It does not.
    No { why: No, text: String },
}

/// The kind of a no, for the program at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum No {
    /// Somebody's already.
    Claimed,
    /// It got its power too long ago.
    Window,
    /// Another node is adopting it.
    Busy,
    /// Too many attempts.
    Often,
    /// What the node said makes no sense here.
    Nonsense,
    /// It could not.
    Failed,
    /// Something a newer release says.
    #[serde(other)]
    Other,
}

/// Writes one message.
pub(crate) async fn send<S>(io: &mut S, message: &impl Serialize) -> Result<(), HandshakeError>
where
    S: AsyncWrite + Unpin,
{
    let json = serde_json::to_vec(message).map_err(|e| HandshakeError::Io(e.into()))?;
    if json.len() > LONGEST {
        return Err(HandshakeError::Garbage);
    }
    let length = u32::try_from(json.len()).map_err(|_| HandshakeError::Garbage)?;
    io.write_all(&[length.to_be_bytes().as_slice(), &json].concat()).await?;
    io.flush().await?;
    Ok(())
}

/// Reads one message.
pub(crate) async fn receive<S, M>(io: &mut S) -> Result<M, HandshakeError>
where
    S: AsyncRead + Unpin,
    M: DeserializeOwned,
{
    let length = io.read_u32().await?;
    let length = usize::try_from(length).map_err(|_| HandshakeError::Garbage)?;
    if !(1..=LONGEST).contains(&length) {
        return Err(HandshakeError::Garbage);
    }
    let mut message = vec![0; length];
    io.read_exact(&mut message).await?;
    read(&message).ok_or(HandshakeError::Garbage)
}

/// Understands one message.
pub(crate) fn read<M: DeserializeOwned>(message: &[u8]) -> Option<M> {
    serde_json::from_slice(message).ok()
}

/// Reads the bytes that follow [`Ask::Gift`].
pub(crate) async fn receive_gift<S>(io: &mut S, length: usize) -> Result<Vec<u8>, HandshakeError>
where
    S: AsyncRead + Unpin,
{
    if length > LONGEST_GIFT {
        return Err(HandshakeError::Garbage);
    }
    // Grows with what really comes, not with what was announced.
    let mut gift = Vec::with_capacity(length.min(64 * 1024));
    let limit = u64::try_from(length).map_err(|_| HandshakeError::Garbage)?;
    let received = io.take(limit).read_to_end(&mut gift).await?;
    if received < length {
        return Err(HandshakeError::Io(std::io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(gift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_have_a_limit_and_gifts_have_one() {
        let mut wire = Vec::new();
        let ask = Ask::Begin { cluster: "home".into(), node: "web01".into() };
        send(&mut wire, &ask).await.unwrap();
        assert_eq!(receive::<_, Ask>(&mut wire.as_slice()).await.unwrap(), ask);
        let long = Ask::Begin { cluster: "x".repeat(LONGEST), node: String::new() };
        assert!(send(&mut wire, &long).await.is_err());
        for frame in [&[0_u8; 4][..], &[0xff; 8], &[0, 0, 0, 2, b'{', b'}'], &[0, 0, 0, 9, 1]] {
            assert!(receive::<_, Ask>(&mut &frame[..]).await.is_err(), "{frame:?}");
        }
        assert_eq!(receive_gift(&mut &b"0123456789"[..], 4).await.unwrap(), b"0123");
        assert!(receive_gift(&mut &b"0123456789"[..], 11).await.is_err(), "cut");
        assert!(receive_gift(&mut &b""[..], LONGEST_GIFT + 1).await.is_err());
    }

    #[test]
    fn a_newer_release_is_understood() {
        let no: Tell = read(br#"{"say":"no","why":"eclipse","text":"dark","for":9}"#).unwrap();
        assert_eq!(no, Tell::No { why: No::Other, text: "dark".into() });
        assert_eq!(read::<Ask>(br#"{"say":"sing"}"#), None);
    }
}
