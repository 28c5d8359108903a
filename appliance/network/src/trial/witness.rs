//! Whether this node is reached at an address: another node connects to it there and writes a
//! word that only this node could have told it.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const WORD: usize = 16;
const CALL: usize = 4 + 2 + WORD;
/// A host name has at most 63 bytes.
const NAME: u64 = 63;
/// One attempt, on the side that is to be reached.
const PATIENCE: Duration = Duration::from_secs(6);
/// And on the side that connects.
const CONNECT: Duration = Duration::from_secs(3);
/// Whoever connects and says nothing.
const SILENCE: Duration = Duration::from_secs(1);
/// Ports below belong to services: nobody is sent there.
const FIRST_PORT: u16 = 1024;

/// Where to connect to, and what to write there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    at: SocketAddrV4,
    word: [u8; WORD],
}

impl Call {
    fn bytes(&self) -> [u8; CALL] {
        let mut bytes = [0; CALL];
        let parts = self.at.ip().octets().into_iter().chain(self.at.port().to_be_bytes());
        for (byte, value) in bytes.iter_mut().zip(parts.chain(self.word)) {
            *byte = value;
        }
        bytes
    }

    /// None for a place where no node is to be found.
    fn parse(bytes: [u8; CALL]) -> Option<Self> {
        let (address, rest) = bytes.split_first_chunk::<4>()?;
        let (port, word) = rest.split_first_chunk::<2>()?;
        let (address, port) = (Ipv4Addr::from(*address), u16::from_be_bytes(*port));
        let nowhere = address.is_loopback()
            || address.is_unspecified()
            || address.is_multicast()
            || address.is_broadcast();
        let call = Self { at: SocketAddrV4::new(address, port), word: word.try_into().ok()? };
        (!nowhere && port >= FIRST_PORT).then_some(call)
    }
}

/// Has other nodes connect to this one.
pub trait Witness: Send + Sync {
    /// Gives the call to every node that is in reach ([`ask`]), and ends when each has tried or
    /// has not answered for a few seconds.
    fn call<'a>(&'a self, call: Call) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// Asks the node at the other end of a stream to follow the call, and waits until it has tried.
///
/// # Errors
/// When the stream breaks.
pub async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, call: Call) -> io::Result<()> {
    stream.write_all(&call.bytes()).await?;
    stream.flush().await?;
    let _ = timeout(PATIENCE, stream.read_u8()).await; // whatever it says: the word counts
    stream.shutdown().await
}

/// Follows the call of the node at the other end of a stream. `name` is what this node is called.
///
/// # Errors
/// When the stream breaks, or asks for what no node asks for.
pub async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, name: &str) -> io::Result<()> {
    let mut bytes = [0; CALL];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await??;
    let call = Call::parse(bytes).ok_or(io::ErrorKind::InvalidData)?;
    let connected = timeout(CONNECT, reach(call, name)).await;
    let reached = matches!(connected, Ok(Ok(())));
    stream.write_u8(u8::from(reached)).await?;
    stream.flush().await?;
    stream.shutdown().await
}

async fn reach(call: Call, name: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(SocketAddr::V4(call.at)).await?;
    stream.write_all(&call.word).await?;
    stream.write_all(name.as_bytes()).await?;
    stream.shutdown().await?;
    // Until the other side has read it all.
    let _ = stream.read_u8().await;
    Ok(())
}

/// The name of a node that connects to this address of ours when it is asked to.
pub(crate) async fn reached(witness: Arc<dyn Witness>, address: Ipv4Addr) -> Option<String> {
    let attempt = async {
        let listener = TcpListener::bind((address, 0)).await?;
        let SocketAddr::V4(at) = listener.local_addr()? else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let word = word()?;
        let mut called = JoinSet::new(); // ended when dropped
        called.spawn(async move {
            witness.call(Call { at, word }).await;
            // Who got through may still be in the queue.
            tokio::time::sleep(SILENCE).await;
        });
        loop {
            tokio::select! {
                biased;
                accepted = listener.accept() => {
                    if let Some(name) = hear(accepted?.0, word).await {
                        return Ok(Some(name));
                    }
                }
                _ = called.join_next() => return Ok(None),
            }
        }
    };
    match timeout(PATIENCE, attempt).await {
        Ok(Ok(name)) => name,
        Ok(Err(error)) => {
            let error: io::Error = error;
            tracing::debug!("nobody can be asked to connect to {address}: {error}");
            None
        }
        Err(_) => None,
    }
}

/// The name of whoever knows the word.
async fn hear(stream: TcpStream, word: [u8; WORD]) -> Option<String> {
    let mut said = Vec::new();
    let most = u64::try_from(WORD).unwrap_or_default() + NAME;
    let mut stream = stream.take(most);
    timeout(SILENCE, stream.read_to_end(&mut said)).await.ok()?.ok()?;
    let name = said.strip_prefix(&word)?;
    let name = std::str::from_utf8(name).ok().and_then(|n| n.parse::<model::Hostname>().ok());
    Some(name.map_or_else(|| "another board".to_owned(), |name| name.to_string()))
}

/// Known to nobody before it is told.
fn word() -> io::Result<[u8; WORD]> {
    let mut word = [0; WORD];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut word)?;
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows calls with something wrong, or without.
    struct Peer {
        wrong: bool,
    }

    impl Witness for Peer {
        fn call<'a>(&'a self, call: Call) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
            Box::pin(async move {
                let mut call = call;
                if self.wrong {
                    call.word = [7; WORD];
                }
                let _ = reach(call, "web01").await; // may be hung up on
            })
        }
    }

    #[tokio::test]
    async fn the_word_gets_through_and_no_other() {
        let name = reached(Arc::new(Peer { wrong: false }), Ipv4Addr::LOCALHOST).await;
        assert_eq!(name.as_deref(), Some("web01"));
        assert_eq!(reached(Arc::new(Peer { wrong: true }), Ipv4Addr::LOCALHOST).await, None);
        let nowhere = Ipv4Addr::new(192, 0, 2, 77); // RFC 5737: nobody's
        assert_eq!(reached(Arc::new(Peer { wrong: false }), nowhere).await, None);
    }

    #[tokio::test]
    async fn a_call_travels_and_bad_ones_are_refused() {
        let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
        let SocketAddr::V4(at) = listener.local_addr().unwrap() else { panic!() };
        let good = Call { at: SocketAddrV4::new(Ipv4Addr::new(10, 1, 2, 3), 4711), word: [9; 16] };
        assert_eq!(Call::parse(good.bytes()), Some(good));
        // Nobody is sent to his own services, or to another's.
        let low = Call { at: SocketAddrV4::new(Ipv4Addr::new(10, 1, 2, 3), 80), word: [9; 16] };
        let own = Call { at, word: [9; 16] };
        for bad in [low, own] {
            assert_eq!(Call::parse(bad.bytes()), None);
            let (near, far) = tokio::io::duplex(64);
            let asked = tokio::spawn(async move { ask(near, bad).await });
            assert!(answer(far, "web02").await.is_err());
            let _ = asked.await.unwrap();
        }
        let (near, far) = tokio::io::duplex(64);
        drop(near);
        assert!(answer(far, "web02").await.is_err());
    }
}
