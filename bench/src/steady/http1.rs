//! A visitor that speaks HTTP/1.1.

use super::visitor::{Io, Target};
use super::{Order, Record};
use crate::process::Done;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;

/// What is read at once.
const BUFFER: usize = 64 * 1024;

pub(super) struct Visitor {
    target: Rc<Target>,
    io: Option<Box<dyn Io>>,
    buffer: Vec<u8>,
}

impl Visitor {
    /// One that is connected, unless it connects for each request.
    pub(super) async fn new(target: Rc<Target>) -> Done<Self> {
        let io = if target.close { None } else { Some(target.connect().await?) };
        Ok(Self { target, io, buffer: vec![0; BUFFER] })
    }

    /// One request after the other.
    pub(super) async fn serve(mut self, mut orders: UnboundedReceiver<Order>, record: Rc<Record>) {
        while let Some(order) = orders.recv().await {
            let result = self.ask().await;
            record.end(order, result);
        }
    }

    async fn ask(&mut self) -> Done<()> {
        let mut io = match self.io.take() {
            Some(io) => io,
            None => self.target.connect().await?,
        };
        io.write_all(&self.target.request).await?;
        io.flush().await?;
        answer(&mut io, &mut self.buffer, self.target.size).await?;
        if !self.target.close {
            self.io = Some(io);
        }
        Ok(())
    }
}

/// Reads an answer whose content has this size.
async fn answer(io: &mut dyn Io, buffer: &mut [u8], size: usize) -> Done<()> {
    let mut filled = 0;
    let mut left = loop {
        let n = io.read(&mut buffer[filled..]).await?;
        if n == 0 {
            return Err("it closed before it had answered".into());
        }
        filled += n;
        if let Some(at) = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") {
            break size.checked_sub(filled - at - 4);
        }
    };
    if !buffer.starts_with(b"HTTP/1.1 200") {
        let line = buffer.split(|b| *b == b'\r').next().unwrap_or_default();
        return Err(String::from_utf8_lossy(line).into());
    }
    while left.is_some_and(|left| left > 0) {
        let n = io.read(buffer).await?;
        if n == 0 {
            return Err("it closed in the middle of an answer".into());
        }
        left = left.and_then(|left| left.checked_sub(n));
    }
    left.map(drop).ok_or_else(|| "it answered more than was asked for".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8], size: usize) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut ours, mut theirs) = tokio::io::duplex(7);
        let answered = async {
            let result = answer(&mut ours, &mut [0; 64], size).await.map_err(|e| e.to_string());
            drop(ours);
            result
        };
        let said = async {
            let _ = theirs.write_all(input).await;
            drop(theirs);
        };
        runtime.block_on(async { tokio::join!(answered, said).0 })
    }

    #[test]
    fn an_answer_is_read_to_its_end_and_no_further() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(read(good, 5), Ok(()));
        assert_eq!(read(&good[..41], 5), Err("it closed in the middle of an answer".to_owned()));
        assert_eq!(read(&good[..20], 5), Err("it closed before it had answered".to_owned()));
        assert_eq!(read(good, 2), Err("it answered more than was asked for".to_owned()));
        let bad = read(b"HTTP/1.1 503 No\r\n\r\n", 5);
        assert_eq!(bad, Err("HTTP/1.1 503 No".to_owned()));
    }
}
