//! What two boards say to each other first, inside TLS. Pure but for the reading and writing.
//!
//! ```text
//! caller                                called
//! | length (2 bytes) | hello, JSON |  ->
//!                                     <-  | length (2 bytes) | answer, JSON |
//! ```
//!
//! This form is the one thing that never changes: a release that says more adds fields, and what
//! a reader does not know it passes over. `min` and `max` name the versions of everything that
//! comes after it.

use crate::error::HandshakeError;
use model::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest hello or answer, in bytes; they have a few hundred.
pub(crate) const LONGEST: usize = 4096;

/// The versions of the protocol that a release speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl Versions {
    /// Those of this release.
    pub const OURS: Self = Self { min: 1, max: 1 };

    /// The newest version that both speak.
    pub(crate) fn common(self, other: Self) -> Option<u16> {
        let newest = self.max.min(other.max);
        (self.min <= self.max && other.min <= other.max && newest >= self.min.max(other.min))
            .then_some(newest)
    }
}

/// What the caller says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    #[serde(flatten)]
    pub(crate) versions: Versions,
    /// Another one each time a node starts.
    pub(crate) boot: String,
    pub(crate) from: NodeId,
    /// Who is called; None when that is what the caller wants to know.
    #[serde(default)]
    pub(crate) to: Option<NodeId>,
    /// A [`crate::Service`]; a text here, because a newer node may know more of them.
    pub(crate) service: String,
    /// That the caller knows the cluster's key, if there is one.
    #[serde(default)]
    pub(crate) proof: Option<String>,
}

/// What the called node says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    #[serde(flatten)]
    pub(crate) versions: Versions,
    pub(crate) boot: String,
    pub(crate) from: NodeId,
    /// That it knows the cluster's key, if there is one.
    #[serde(default)]
    pub(crate) proof: Option<String>,
    #[serde(default)]
    pub(crate) refused: Option<Refusal>,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) why: Why,
    /// For the operator.
    pub(crate) text: String,
}

/// The kind of a refusal, for the program at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Why {
    /// No version in common.
    Version,
    /// Another cluster key.
    OtherKey,
    /// The settings know another key of that node.
    NewKey,
    /// Two boards have that key.
    Copied,
    /// Another board with that key was there a moment ago.
    Twice,
    /// Removed from the cluster.
    Removed,
    /// No member.
    Stranger,
    /// Another node than the one that was called.
    OtherNode,
    /// Nobody handles such streams.
    Service,
    /// Something a newer release says.
    #[serde(other)]
    Other,
}

impl Refusal {
    pub(crate) fn new(why: Why, text: impl Into<String>) -> Self {
        Self { why, text: text.into() }
    }

    /// Another node's words, cut to what fits on a page.
    pub(crate) fn shown(mut self) -> Self {
        self.text = self.text.chars().filter(|c| !c.is_control()).take(200).collect();
        self
    }
}

/// Writes one message.
pub(crate) async fn send<S>(io: &mut S, message: &impl Serialize) -> Result<(), HandshakeError>
where
    S: AsyncWrite + Unpin,
{
    let json = serde_json::to_vec(message).map_err(|e| HandshakeError::Io(e.into()))?;
    let length = u16::try_from(json.len()).map_err(|_| HandshakeError::Garbage)?;
    let mut frame = Vec::with_capacity(json.len() + 2);
    frame.extend(length.to_be_bytes());
    frame.extend(json);
    io.write_all(&frame).await?;
    io.flush().await?;
    Ok(())
}

/// Reads one message.
pub(crate) async fn receive<S, M>(io: &mut S) -> Result<M, HandshakeError>
where
    S: AsyncRead + Unpin,
    M: DeserializeOwned,
{
    let length = usize::from(io.read_u16().await?);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_both_speak() {
        let versions = |min, max| Versions { min, max };
        assert_eq!(versions(1, 1).common(versions(1, 1)), Some(1));
        assert_eq!(versions(1, 2).common(versions(2, 3)), Some(2));
        assert_eq!(versions(3, 9).common(versions(1, 4)), Some(4));
        assert_eq!(versions(1, 1).common(versions(2, 3)), None);
        assert_eq!(versions(2, 3).common(versions(1, 1)), None);
        assert_eq!(versions(2, 1).common(versions(1, 3)), None, "nonsense");
    }

    #[test]
    fn what_a_newer_release_says_is_passed_over() {
        let hello = r#"{"min":1,"max":7,"boot":"b","from":"web01","mood":"fine",
                        "service":"teleport","to":"web02"}"#;
        let hello: Hello = read(hello.as_bytes()).unwrap();
        assert_eq!((hello.versions.max, hello.service.as_str()), (7, "teleport"));
        let answer = r#"{"min":1,"max":2,"boot":"b","from":"web02",
                         "refused":{"why":"full-moon","text":"not tonight","until":3}}"#;
        let answer: Answer = read(answer.as_bytes()).unwrap();
        assert_eq!(answer.refused, Some(Refusal::new(Why::Other, "not tonight")));
    }

    #[tokio::test]
    async fn messages_have_a_limit() {
        let mut wire = Vec::new();
        let long = Refusal::new(Why::Other, "x".repeat(LONGEST));
        send(&mut wire, &long).await.unwrap();
        let read = receive::<_, Refusal>(&mut wire.as_slice()).await;
        assert!(matches!(read, Err(HandshakeError::Garbage)));
        assert_eq!(long.shown().text.len(), 200);
    }
}
