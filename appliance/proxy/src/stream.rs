//! A visitor's connection, whatever is around its bytes.
//!
//! An enum, so that who speaks plain HTTP pays for nothing but a comparison.

use crate::http2::Bridge;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A visitor's connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Nothing around them.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<TlsStream<Early>>),
    /// One stream of an HTTP/2 connection.
    H2(Box<Bridge>),
    /// None any more, or none yet.
    Closed,
}

/// A socket of which something has been read already.
#[derive(Debug)]
pub(crate) struct Early {
    io: TcpStream,
    read: Vec<u8>,
    at: usize,
}

impl Early {
    pub(crate) fn new(io: TcpStream, read: Vec<u8>) -> Self {
        Self { io, read, at: 0 }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }
}

/// An end of a tunnel.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Unpin {
    /// The socket, where the bytes on it are the bytes to be passed on.
    fn socket(&self) -> Option<&TcpStream>;
}

impl Wire for TcpStream {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Wire for Stream {
    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(io) => Some(io),
            _ => None,
        }
    }
}

impl Stream {
    /// Where the visitor connected to.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(io) => io.local_addr(),
            Self::Tls(io) => io.get_ref().0.local_addr(),
            Self::H2(io) => io.local_addr(),
            Self::Closed => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Does its end mean no more than the end of a request?
    pub(crate) fn is_one_request(&self) -> bool {
        matches!(self, Self::H2(_))
    }

    /// Ready when the visitor has said that it wants no answer any more. HTTP/1.1 cannot say so:
    /// who has ended its side may still be waiting.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::H2(io) => io.poll_gone(cx),
            _ => Poll::Pending,
        }
    }

    /// How much the visitor should be brought at once; waits where it has room for nothing. Who
    /// has a connection to itself is waited for when the socket is full.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::H2(io) => io.poll_room(cx),
            _ => Poll::Ready(Ok(usize::MAX)),
        }
    }

    /// Ends it so that what was sent does not look whole, where that can be told.
    pub(crate) fn cut(&mut self) {
        if let Self::H2(io) = self {
            io.cut();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Tls(io) => match Pin::new(io).poll_read(cx, buffer) {
                // Many leave without the farewell TLS has for it. What is whole and what is not
                // is known from the messages themselves, as it is without TLS.
                Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(()))
                }
                other => other,
            },
            Self::H2(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, data),
            Self::Tls(io) => Pin::new(io).poll_write(cx, data),
            Self::H2(io) => Pin::new(io).poll_write(cx, data),
            Self::Closed => closed(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, slices),
            Self::H2(io) => write_each(io, cx, slices),
            Self::Closed => closed(),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was written may still be on its way into the socket, but for plain connections.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
            Self::H2(io) => Pin::new(io).poll_flush(cx),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
            Self::H2(io) => Pin::new(io).poll_shutdown(cx),
            Self::Closed => Poll::Ready(Ok(())),
        }
    }
}

/// Head and body go different ways.
fn write_each(
    io: &mut Bridge,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let mut written = 0;
    for slice in slices.iter().filter(|s| !s.is_empty()) {
        match Pin::new(&mut *io).poll_write(cx, slice) {
            Poll::Ready(Ok(n)) => {
                written += n;
                if n < slice.len() {
                    break;
                }
            }
            Poll::Pending if written > 0 => break,
            other => return other,
        }
    }
    Poll::Ready(Ok(written))
}

fn closed<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Early {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.at < this.read.len() {
            let rest = &this.read[this.at..];
            let n = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..n]);
            this.at += n;
            if this.at == this.read.len() {
                (this.read, this.at) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Early {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
