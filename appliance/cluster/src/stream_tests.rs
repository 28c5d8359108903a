use super::*;
use crate::noise::{self, Key};
use model::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

async fn pair(buffer: usize) -> (Framed<DuplexStream>, Framed<DuplexStream>) {
    let key = Key::derive(&Secret::new("k".repeat(32))).unwrap();
    let (mut a, mut b) = duplex(buffer);
    let called = async {
        let (called, _) = noise::listen::<_, String>(&mut b, &key).await.unwrap();
        called.answer(&mut b, &"").await.unwrap()
    };
    let (caller, called) =
        tokio::join!(noise::call(&mut a, &key, &"", |_: &String| Ok(())), called);
    let counting = Arc::<Counting>::default();
    (Framed::new(a, caller.unwrap(), counting.clone()), Framed::new(b, called, counting))
}

#[tokio::test]
async fn everything_arrives_in_order_through_any_bottleneck() {
    for buffer in [1, 7, 1000, 1 << 20] {
        let (mut a, mut b) = pair(buffer).await;
        let text: Vec<u8> = (0..20_000_u32).flat_map(|n| n.to_be_bytes()).collect();
        let sent = text.clone();
        let writer = tokio::spawn(async move {
            a.write_all(&sent).await.unwrap();
            a.shutdown().await.unwrap();
            a
        });
        let mut heard = Vec::new();
        b.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, text, "through {buffer}");
        // And the other way, after one half is closed.
        let mut a = writer.await.unwrap();
        let mut heard = Vec::new();
        let reply = async {
            b.write_all(b"thanks").await.unwrap();
            b.shutdown().await.unwrap();
        };
        tokio::join!(reply, async { a.read_to_end(&mut heard).await.unwrap() });
        assert_eq!(heard, b"thanks");
        assert!(a.write_all(b"more").await.is_err(), "closed is closed");
    }
}

#[tokio::test]
async fn keys_change_on_both_ends_at_once() {
    let (mut a, mut b) = pair(1 << 16).await;
    let writer = tokio::spawn(async move {
        for n in 0..REKEY + 10 {
            a.write_all(&n.to_be_bytes()).await.unwrap();
        }
        a.shutdown().await.unwrap();
    });
    for n in 0..REKEY + 10 {
        assert_eq!(b.read_u64().await.unwrap(), n);
    }
    assert_eq!(b.read(&mut [0]).await.unwrap(), 0);
    writer.await.unwrap();
}

#[tokio::test]
async fn a_cut_or_altered_connection_is_an_error_and_no_end() {
    let (mut a, mut b) = pair(4096).await;
    a.write_all(b"half").await.unwrap();
    a.flush().await.unwrap();
    a.io.shutdown().await.unwrap(); // the transport's end, not the conversation's
    let mut heard = [0; 4];
    b.read_exact(&mut heard).await.unwrap();
    assert_eq!(b.read(&mut heard).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);

    for frame in [
        &[0, 3, 1, 2, 3][..],
        &[0, 0],
        &[0, 17, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17],
    ] {
        let (mut a, mut b) = pair(4096).await;
        a.io.write_all(frame).await.unwrap();
        assert_eq!(b.read(&mut heard).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
    // A frame that was heard before.
    let (mut a, mut b) = pair(4096).await;
    a.write_all(b"pay").await.unwrap();
    let recorded = a.output.clone();
    a.io.write_all(&recorded).await.unwrap();
    b.read_exact(&mut heard[..3]).await.unwrap();
    assert_eq!(b.read(&mut heard).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_quiet_stream_is_small_and_none_is_boundless() {
    let (mut a, mut b) = pair(1 << 20).await;
    a.write_all(&[7; 100]).await.unwrap();
    b.read_exact(&mut [0; 100]).await.unwrap();
    assert!(a.input.capacity() + a.output.capacity() + b.plain.capacity() < 4096);
    let writer = tokio::spawn(async move {
        a.write_all(&vec![7; 3 << 20]).await.unwrap();
        a.shutdown().await.unwrap();
        a
    });
    tokio::io::copy(&mut b, &mut tokio::io::sink()).await.unwrap();
    let a = writer.await.unwrap();
    assert!(a.output.capacity() < 2 * PIECE && b.plain.capacity() < 2 * LONGEST_FRAME);
    assert!(b.input.capacity() < 2 * LONGEST_FRAME, "{}", b.input.capacity());
}
