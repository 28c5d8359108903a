//! How two ends of a connection prove to each other that they know the cluster's key.
//!
//! Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s (The Noise Protocol Framework, revision 34, 9.4):
//! nothing is sent in clear that a stranger could use, a recorded conversation stays closed when
//! the key is stolen later, and only who has the key can complete it. Nothing here knows which
//! node is who: that is [`crate::channel`]'s part, and the place of a better identity some day.
//!
//! ```text
//! caller                                        called
//! | length | version | psk, e  + hello  |  ->
//!                                         <-  | length | 0 | e, ee + answer |
//!                                         or  | length | alert |
//! | length | confirmation               |  ->
//! ```
//!
//! The first message can be a recording. Only the confirmation, which needs the called end's
//! fresh key, shows that the caller is there now; nothing is done for it before.

use crate::error::HandshakeError;
use model::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use snow::{Builder, HandshakeState, TransportState};
use std::fmt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Changes with anything that makes old and new misunderstand each other.
const VERSION: u8 = 1;
const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"bramble node channel 1";
const KEY_CONTEXT: &str = "bramble 2026 node channel pre-shared key";
/// The shortest key that is taken for one.
pub(crate) const SHORTEST_KEY: usize = 32;
/// The longest handshake message; hello and answer are small.
const LONGEST: usize = 1024;
/// Ephemeral key and tag: the shortest message of this pattern.
const SHORTEST: usize = 32 + 16;

const NOISE: u8 = 0;
const ALERT_KEY: u8 = 1;
const ALERT_VERSION: u8 = 2;
const CONFIRMATION: &[u8] = b"here";

/// What the cluster's key becomes for this channel alone.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    /// None if the secret is too short to be one.
    pub(crate) fn derive(secret: &Secret) -> Option<Self> {
        let text = secret.reveal();
        (text.len() >= SHORTEST_KEY).then(|| Self(blake3::derive_key(KEY_CONTEXT, text.as_bytes())))
    }

    fn builder(&self) -> Result<Builder<'_>, HandshakeError> {
        let parameters = PATTERN.parse().map_err(HandshakeError::Cipher)?;
        Builder::new(parameters)
            .psk(0, &self.0)
            .and_then(|b| b.prologue(PROLOGUE))
            .map_err(HandshakeError::Cipher)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// Calls: sends a hello and returns the answer, which `accepts` may refuse.
pub(crate) async fn call<S, A>(
    io: &mut S,
    key: &Key,
    hello: &impl Serialize,
    accepts: impl FnOnce(&A) -> Result<(), HandshakeError>,
) -> Result<TransportState, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: DeserializeOwned,
{
    let mut state = key.builder()?.build_initiator().map_err(HandshakeError::Cipher)?;
    send(io, VERSION, &next_message(&mut state, hello)?).await?;
    let (kind, message) = receive(io).await?;
    match kind {
        NOISE => {}
        ALERT_KEY => return Err(HandshakeError::OtherKey),
        ALERT_VERSION => return Err(HandshakeError::OtherVersion),
        _ => return Err(HandshakeError::Garbage),
    }
    let answer = open_message(&mut state, &message)?;
    let answer = serde_json::from_slice(&answer).map_err(|_| HandshakeError::Garbage)?;
    accepts(&answer)?;
    let mut transport = state.into_transport_mode().map_err(HandshakeError::Cipher)?;
    let mut confirmation = [0; 64];
    let length =
        transport.write_message(CONFIRMATION, &mut confirmation).map_err(HandshakeError::Cipher)?;
    send(io, NOISE, confirmation.get(..length).unwrap_or_default()).await?;
    Ok(transport)
}

/// A call that was made with the right key, not answered yet.
pub(crate) struct Called {
    state: HandshakeState,
}

/// Waits for a hello.
pub(crate) async fn listen<S, H>(io: &mut S, key: &Key) -> Result<(Called, H), HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: DeserializeOwned,
{
    let (version, message) = receive(io).await?;
    if message.len() < SHORTEST {
        return Err(HandshakeError::Garbage);
    }
    if version != VERSION {
        send(io, ALERT_VERSION, &[]).await?;
        return Err(HandshakeError::OtherVersion);
    }
    let mut state = key.builder()?.build_responder().map_err(HandshakeError::Cipher)?;
    let hello = match open_message(&mut state, &message) {
        Ok(hello) => hello,
        Err(error) => {
            send(io, ALERT_KEY, &[]).await?;
            return Err(error);
        }
    };
    let hello = serde_json::from_slice(&hello).map_err(|_| HandshakeError::Garbage)?;
    Ok((Called { state }, hello))
}

impl Called {
    /// Answers and waits until the caller has proved to be there.
    pub(crate) async fn answer<S>(
        mut self,
        io: &mut S,
        answer: &impl Serialize,
    ) -> Result<TransportState, HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        send(io, NOISE, &next_message(&mut self.state, answer)?).await?;
        let mut transport = self.state.into_transport_mode().map_err(HandshakeError::Cipher)?;
        let (kind, message) = receive(io).await?;
        let mut plain = [0; LONGEST];
        let length =
            transport.read_message(&message, &mut plain).map_err(|_| HandshakeError::Garbage)?;
        if kind != NOISE || plain.get(..length) != Some(CONFIRMATION) {
            return Err(HandshakeError::Garbage);
        }
        Ok(transport)
    }
}

fn next_message(
    state: &mut HandshakeState,
    payload: &impl Serialize,
) -> Result<Vec<u8>, HandshakeError> {
    let payload = serde_json::to_vec(payload).map_err(|e| HandshakeError::Io(e.into()))?;
    let mut message = vec![0; LONGEST];
    let length = state.write_message(&payload, &mut message).map_err(HandshakeError::Cipher)?;
    message.truncate(length);
    Ok(message)
}

fn open_message(state: &mut HandshakeState, message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
    let mut payload = vec![0; LONGEST];
    let length = state.read_message(message, &mut payload).map_err(|_| HandshakeError::OtherKey)?;
    payload.truncate(length);
    Ok(payload)
}

async fn send<S>(io: &mut S, kind: u8, message: &[u8]) -> Result<(), HandshakeError>
where
    S: AsyncWrite + Unpin,
{
    let length = u16::try_from(message.len() + 1).map_err(|_| HandshakeError::Garbage)?;
    let mut frame = Vec::with_capacity(message.len() + 3);
    frame.extend(length.to_be_bytes());
    frame.push(kind);
    frame.extend(message);
    io.write_all(&frame).await?;
    io.flush().await?;
    Ok(())
}

async fn receive<S>(io: &mut S) -> Result<(u8, Vec<u8>), HandshakeError>
where
    S: AsyncRead + Unpin,
{
    let length = usize::from(io.read_u16().await?);
    if !(1..=LONGEST + 1).contains(&length) {
        return Err(HandshakeError::Garbage);
    }
    let kind = io.read_u8().await?;
    let mut message = vec![0; length - 1];
    io.read_exact(&mut message).await?;
    Ok((kind, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    fn key(text: &str) -> Key {
        Key::derive(&Secret::new(text.repeat(32))).unwrap()
    }

    type Outcome = (Result<(), HandshakeError>, Result<String, HandshakeError>);

    async fn meet(caller: Key, called: Key) -> Outcome {
        let (mut a, mut b) = duplex(64);
        let call = async move {
            call(&mut a, &caller, &"hello", |answer: &String| {
                assert_eq!(answer, "welcome");
                Ok(())
            })
            .await
            .map(|_| ())
        };
        let listen = async move {
            let (called, hello) = listen(&mut b, &called).await?;
            called.answer(&mut b, &"welcome").await?;
            Ok(hello)
        };
        tokio::join!(call, listen)
    }

    #[tokio::test]
    async fn who_knows_the_key_gets_in_and_nobody_else() {
        let (caller, called) = meet(key("a"), key("a")).await;
        caller.unwrap();
        assert_eq!(called.unwrap(), "hello");

        let (caller, called) = meet(key("a"), key("b")).await;
        assert!(matches!(caller, Err(HandshakeError::OtherKey)), "{caller:?}");
        assert!(matches!(called, Err(HandshakeError::OtherKey)), "{called:?}");
        assert!(Key::derive(&Secret::new("x".repeat(31))).is_none());
        assert_eq!(format!("{:?}", key("a")), "Key(***)");
    }

    #[tokio::test]
    async fn a_recorded_call_gets_no_further_than_the_answer() {
        let (mut a, mut b) = duplex(4096);
        let key = key("a");
        let mut state = key.builder().unwrap().build_initiator().unwrap();
        send(&mut a, VERSION, &next_message(&mut state, &"hello").unwrap()).await.unwrap();
        let (called, _) = listen::<_, String>(&mut b, &key).await.unwrap();
        // The recording has no state to open the answer with: it can only send something else.
        send(&mut a, NOISE, &[7; 20]).await.unwrap();
        let outcome = called.answer(&mut b, &"welcome").await;
        assert!(matches!(outcome, Err(HandshakeError::Garbage)));
    }

    #[tokio::test]
    async fn garbage_and_other_versions_are_told_apart() {
        let feed = |bytes: Vec<u8>| async move {
            let (mut a, mut b) = duplex(4096);
            a.write_all(&bytes).await.unwrap();
            a.shutdown().await.unwrap();
            let outcome = listen::<_, String>(&mut b, &key("a")).await.err().unwrap();
            drop(b);
            let mut reply = Vec::new();
            a.read_to_end(&mut reply).await.unwrap();
            (outcome, reply)
        };
        for bytes in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            vec![0, 0, 1],
            vec![0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20],
        ] {
            let (outcome, reply) = feed(bytes.clone()).await;
            assert!(matches!(outcome, HandshakeError::Garbage), "{outcome:?} for {bytes:?}");
            assert!(reply.is_empty(), "strangers learn nothing");
        }
        let mut other = vec![0, 101, 9];
        other.resize(103, 7);
        let (outcome, reply) = feed(other.clone()).await;
        assert!(matches!(outcome, HandshakeError::OtherVersion));
        assert_eq!(reply, [0, 1, ALERT_VERSION]);
        other[2] = VERSION;
        let (outcome, reply) = feed(other).await;
        assert!(matches!(outcome, HandshakeError::OtherKey));
        assert_eq!(reply, [0, 1, ALERT_KEY]);
    }
}
