//! One check by a DNS query, by datagram or, in mode tcp, by connection (RFC 7766).

use super::{Found, dns};
use crate::udp::socket;
use model::{Check, DnsName};
use std::io::ErrorKind;
use std::net::SocketAddrV4;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// The largest answer by datagram that is read.
const LARGEST: usize = 4096;

/// A query with a number that nobody can guess; an answer must repeat it.
fn query(name: &DnsName, check: &Check) -> Result<Vec<u8>, Found> {
    let mut number = [0; 2];
    match getrandom::fill(&mut number) {
        Ok(()) => Ok(dns::query(u16::from_ne_bytes(number), name, check.dns_type)),
        Err(e) => Err(Found::new("SOCKERR", format!("Socket error: {e}"))),
    }
}

fn unreachable(error: &std::io::Error) -> Found {
    Found::new("L4CON", format!("Layer4 connection problem: {error}"))
}

/// Asks by datagram. The socket is a new one each time, so the kernel draws its port.
pub(super) async fn by_datagram(
    address: SocketAddrV4,
    name: &DnsName,
    check: &Check,
    end: Instant,
) -> Found {
    let query = match query(name, check) {
        Ok(query) => query,
        Err(found) => return found,
    };
    let socket = match socket::to_server(address) {
        Ok(socket) => socket,
        Err(e) => return unreachable(&e),
    };
    if let Err(e) = socket::ask(&socket, &query) {
        return unreachable(&e);
    }
    let mut message = [0_u8; LARGEST];
    loop {
        if timeout_at(end, socket::answered(&socket)).await.is_err() {
            return Found::new("L7TOUT", "Layer7 timeout");
        }
        match socket::answer(&socket, &mut message) {
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return unreachable(&e),
            Ok(n) => {
                if let Some(found) = dns::judge(&query, &message[..n], check) {
                    return found;
                }
            }
        }
    }
}

/// Asks on a connection.
pub(super) async fn by_connection(
    stream: &mut TcpStream,
    name: &DnsName,
    check: &Check,
    end: Instant,
) -> Found {
    let query = match query(name, check) {
        Ok(query) => query,
        Err(found) => return found,
    };
    let talk = async {
        let length = u16::try_from(query.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&length.to_be_bytes(), query.as_slice()].concat()).await?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).await?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message).await?;
        std::io::Result::Ok(message)
    };
    match timeout_at(end, talk).await {
        Err(_) => Found::new("L7TOUT", "Layer7 timeout"),
        Ok(Err(e)) => Found::new("L7RSP", format!("Layer7 invalid response: {e}")),
        Ok(Ok(message)) => dns::judge(&query, &message, check).unwrap_or_else(|| {
            Found::new("L7RSP", "Layer7 invalid response: it answers another question")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::net::UdpSocket;

    fn check() -> Check {
        Check { dns_name: "a.example".parse().ok(), ..Check::default() }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(300)
    }

    /// Its own query as an answer without content.
    fn echoed(query: &[u8]) -> Vec<u8> {
        let mut out = query.to_vec();
        out[2] |= 0x80;
        out
    }

    async fn local() -> (UdpSocket, SocketAddrV4) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!() };
        (socket, address)
    }

    #[tokio::test]
    async fn only_the_right_answer_counts() {
        let (server, address) = local().await;
        let name = "a.example".parse().unwrap();
        let answers = tokio::spawn(async move {
            let mut part = [0; 512];
            let mut seen = Vec::new();
            for _ in 0..2 {
                let (n, from) = server.recv_from(&mut part).await.unwrap();
                let right = echoed(&part[..n]);
                let mut wrong = right.clone();
                wrong[0] ^= 0x55;
                server.send_to(&wrong, from).await.unwrap();
                server.send_to(b"x", from).await.unwrap();
                server.send_to(&right, from).await.unwrap();
                seen.push((from, part[..2].to_vec()));
            }
            (seen, server)
        });
        let end = Instant::now() + Duration::from_secs(5);
        for _ in 0..2 {
            assert_eq!(by_datagram(address, &name, &check(), end).await.word, "L7OK");
        }
        let (seen, server) = answers.await.unwrap();
        assert_ne!(seen[0], seen[1], "port and number are drawn anew");
        // It is silent, then gone.
        assert_eq!(by_datagram(address, &name, &check(), soon()).await.word, "L7TOUT");
        drop(server);
        assert_eq!(by_datagram(address, &name, &check(), soon()).await.word, "L4CON");
    }

    #[tokio::test]
    async fn by_connection_the_length_comes_first() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let name: DnsName = "a.example".parse().unwrap();
        tokio::spawn(async move {
            for good in [true, false] {
                let (mut io, _) = listener.accept().await.unwrap();
                let mut length = [0; 2];
                io.read_exact(&mut length).await.unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                io.read_exact(&mut query).await.unwrap();
                if good {
                    io.write_all(&[&length[..], &echoed(&query)].concat()).await.unwrap();
                }
            }
        });
        for word in ["L7OK", "L7RSP"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert_eq!(by_connection(&mut stream, &name, &check(), soon()).await.word, word);
        }
    }
}
