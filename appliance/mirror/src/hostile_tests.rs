//! Peers that are authenticated and wish no good.

use super::*;
use crate::Opening;
use crate::guard::Source;
use crate::tree::{Entry, Kind, RelPath, Stamp};
use crate::wire::{MAX_NEEDS, Message};
use bytes::Bytes;
use control::{ShutdownTrigger, StatusBoard};
use model::status::Subsystem;
use model::{Millis, MirrorPolicy, Node, Revision, Role, Settings, Site};
use std::fs;
use std::path::Path;
use std::time::Instant;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, DuplexStream};

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn settings(exclude: &str) -> Settings {
    let web = |name: &str| Node {
        id: id(name),
        name: name.parse().unwrap(),
        roles: [Role::Web].into(),
        ..Node::default()
    };
    let mirror = MirrorPolicy {
        exclude: vec![exclude.parse().unwrap()],
        full_compare: Millis::seconds(300),
        ..MirrorPolicy::default()
    };
    Settings {
        nodes: vec![web("web01"), web("web02")],
        sites: vec![Site { name: "default".parse().unwrap(), mirror, ..Site::default() }],
        ..Settings::default()
    }
}

/// Hands every stream to the test.
struct Listener(mpsc::UnboundedSender<DuplexStream>);

impl Transport for Listener {
    fn open<'a>(&'a self, _to: &'a NodeId) -> Opening<'a> {
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(256 * 1024);
            self.0.send(far).map_err(|_| std::io::ErrorKind::ConnectionRefused)?;
            let stream: Box<dyn Stream> = Box::new(near);
            Ok(stream)
        })
    }
}

struct Host {
    handle: Handle,
    streams: mpsc::UnboundedReceiver<DuplexStream>,
    _snapshots: watch::Sender<Arc<Snapshot>>,
    _stop: ShutdownTrigger,
}

fn host(name: &str, data: &Path) -> Host {
    let board = StatusBoard::new(id(name), "test");
    let (snapshots, receiver) = Snapshot::new(Revision(1), settings("secret"), &id(name)).channel();
    let (stop, shutdown) = Shutdown::new();
    let (sender, streams) = mpsc::unbounded_channel();
    let options = Options { data_dir: data.to_owned() };
    let transport = Arc::new(Listener(sender));
    let reporter = board.reporter(Subsystem::Mirror);
    let handle = start(receiver, reporter, shutdown, transport, options);
    Host { handle, streams, _snapshots: snapshots, _stop: stop }
}

fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(test);
}

fn path(text: &str) -> RelPath {
    RelPath::parse(text.as_bytes()).unwrap()
}

fn entry(kind: Kind) -> Entry {
    let mtime = Stamp { secs: 5, nanos: 5 };
    Entry { kind, mode: 0o755, uid: 0, gid: 0, mtime, ctime: mtime }
}

async fn until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(10), "never");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Speaks to an origin; returns what it answers until it hangs up or has nothing more to say.
async fn speak(handle: &Handle, peer: &str, said: Vec<u8>) -> Vec<Message> {
    let (mut near, far) = tokio::io::duplex(1024 * 1024);
    let handle = handle.clone();
    let peer = id(peer);
    let serving = tokio::spawn(async move { handle.serve(peer, Box::new(far)).await });
    let _ = near.write_all(&said).await;
    let mut incoming = Incoming::new(near);
    let mut heard = Vec::new();
    let patience = Duration::from_millis(500);
    while let Ok(Ok(message)) = tokio::time::timeout(patience, incoming.next()).await {
        heard.push(message);
    }
    drop(incoming);
    tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
    heard
}

fn hello(site: &str) -> Vec<u8> {
    Message::Hello { version: VERSION, site: site.parse().unwrap() }.to_frame()
}

#[test]
fn m39_hostile_mirrors() {
    run(async {
        let data = TempDir::new().unwrap();
        fs::create_dir_all(data.path().join("site/secret")).unwrap();
        fs::write(data.path().join("site/secret/key"), "hidden").unwrap();
        fs::write(data.path().join("site/page"), "public").unwrap();
        std::os::unix::fs::symlink("/etc", data.path().join("site/etc")).unwrap();
        let host = host("web01", data.path());
        until(|| host.handle.status().first().is_some_and(|s| s.phase == MirrorPhase::Origin))
            .await;

        let refused = |heard: &[Message], what: &str| match heard {
            [Message::Refused { reason }] => assert!(reason.contains(what), "{reason}"),
            other => panic!("{other:?}"),
        };
        refused(&speak(&host.handle, "web02", hello("other")).await, "no site");
        refused(&speak(&host.handle, "web03", hello("default")).await, "no mirror");
        let old = Message::Hello { version: 0, site: "default".parse().unwrap() };
        refused(&speak(&host.handle, "web02", old.to_frame()).await, "version");

        for garbage in [
            vec![0xff; 100_000],
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            vec![0; 100_000],
            [hello("default"), vec![0xff; 100]].concat(),
            [hello("default"), hello("default")].concat(),
            [hello("default"), Message::Finish { id: 1, hash: [0; 32] }.to_frame()].concat(),
        ] {
            let heard = speak(&host.handle, "web02", garbage).await;
            assert!(heard.iter().all(|m| !matches!(m, Message::File { .. })), "{heard:?}");
        }

        // Only what is listed is read.
        let mut said = hello("default");
        let wanted = ["secret/key", "etc/passwd", "secret", "", "nothing", "page"];
        for (id, wanted) in (0..).zip(wanted) {
            Message::Need { id, path: path(wanted), have: None }.encode(&mut said);
        }
        let heard = speak(&host.handle, "web02", said).await;
        let failed = heard.iter().filter(|m| matches!(m, Message::Failed { .. })).count();
        let sent: Vec<_> = heard.iter().filter(|m| matches!(m, Message::File { .. })).collect();
        assert_eq!((failed, sent.len()), (5, 1), "{heard:?}");
        assert!(matches!(sent[0], Message::File { id: 5, content, .. } if content == "public"));

        // More requests than are allowed end the connection, and nothing piles up.
        let mut said = hello("default");
        for id in (0..).take(20 * MAX_NEEDS) {
            Message::Need { id, path: path("page"), have: None }.encode(&mut said);
        }
        speak(&host.handle, "web02", said).await;
        until(|| host.handle.status()[0].followers == 0).await;
        let heard = speak(&host.handle, "web02", hello("default")).await;
        assert!(heard.iter().any(|m| matches!(m, Message::End { .. })));
    });
}

async fn next_need(incoming: &mut Incoming<tokio::io::ReadHalf<DuplexStream>>) -> (u64, RelPath) {
    loop {
        if let Message::Need { id, path, .. } = incoming.next().await.unwrap() {
            return (id, path);
        }
    }
}

#[test]
fn m39_a_hostile_origin() {
    run(async {
        let data = TempDir::new().unwrap();
        let outside = TempDir::new().unwrap();
        fs::write(outside.path().join("f"), "precious").unwrap();
        let mut host = host("web02", data.path());
        let site = data.path().join("site");
        let stream = host.streams.recv().await.unwrap();
        let (read, mut write) = tokio::io::split(stream);
        let mut incoming = Incoming::new(read);
        assert!(matches!(incoming.next().await.unwrap(), Message::Hello { .. }));
        let target = outside.path().as_os_str().as_encoded_bytes().into();
        let file = |size| entry(Kind::File { size });
        let mut said = Vec::new();
        Message::Begin { patterns: vec![], source: Source::Listed }.encode(&mut said);
        let entries = vec![
            (RelPath::root(), entry(Kind::Dir)),
            // A link, and a file behind it.
            (path("d"), entry(Kind::Symlink { target })),
            (path("d/f"), file(4)),
            (path("bad"), file(4)),
            (path("short"), file(400)),
            (path("good"), file(4)),
            // What the mirror's own settings exclude is not for an origin to write.
            (path("secret"), entry(Kind::Dir)),
            (path("secret/x"), file(4)),
        ];
        Message::Entries(entries).encode(&mut said);
        Message::End { problems: vec![] }.encode(&mut said);
        write.write_all(&said).await.unwrap();
        let mut answered = 0;
        while answered < 4 {
            let (id, path) = next_need(&mut incoming).await;
            assert!(!path.to_string().starts_with("secret"));
            let content = Bytes::from_static(b"evil");
            let hash = *blake3::hash(&content).as_bytes();
            let mut said = Vec::new();
            // Never asked for, and parts of nothing.
            Message::Data { id: 1 << 40, content: content.clone() }.encode(&mut said);
            Message::Finish { id: 1 << 40, hash }.encode(&mut said);
            match path.as_bytes() {
                b"bad" => Message::File { id, entry: file(4), hash: [0; 32], content },
                b"short" => {
                    Message::Start { id, entry: file(400) }.encode(&mut said);
                    Message::Data { id, content }.encode(&mut said);
                    Message::Finish { id, hash }
                }
                _ => Message::File { id, entry: file(4), hash, content },
            }
            .encode(&mut said);
            write.write_all(&said).await.unwrap();
            answered += 1;
        }
        until(|| site.join("good").exists()).await;
        // They are asked for again, and nothing of them is there.
        let (_, again) = next_need(&mut incoming).await;
        assert!(["bad", "short", "d/f"].contains(&again.to_string().as_str()), "{again}");
        assert!(!site.join("bad").exists() && !site.join("short").exists());
        assert!(!site.join("secret").exists());
        assert_eq!(fs::read(outside.path().join("f")).unwrap(), b"precious");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);

        // Nonsense ends the connection; the mirror says so and comes again.
        write.write_all(&[0xff; 64]).await.unwrap();
        until(|| matches!(host.handle.status()[0].phase, MirrorPhase::Failed { .. })).await;
        let mut stream = host.streams.recv().await.unwrap();
        stream
            .write_all(&Message::Refused { reason: "not here".to_owned() }.to_frame())
            .await
            .unwrap();
        until(|| {
            matches!(&host.handle.status()[0].phase,
                MirrorPhase::Failed { reason } if reason == "not here")
        })
        .await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert_eq!(fs::read(site.join("good")).unwrap(), b"evil");
    });
}

#[test]
fn m29_a_silent_origin_is_noticed_within_three_seconds() {
    run(async {
        let data = TempDir::new().unwrap();
        let mut host = host("web02", data.path());
        let mut stream = host.streams.recv().await.unwrap();
        let mut said = Vec::new();
        Message::Begin { patterns: vec![], source: Source::Listed }.encode(&mut said);
        Message::Entries(vec![(RelPath::root(), entry(Kind::Dir))]).encode(&mut said);
        Message::End { problems: vec![] }.encode(&mut said);
        stream.write_all(&said).await.unwrap();
        until(|| host.handle.status()[0].phase == MirrorPhase::Following).await;
        // It stays open and says nothing more. A machine that stands still notices nothing.
        let (begun, mut stall) = (Instant::now(), Duration::ZERO);
        while host.handle.status()[0].phase != MirrorPhase::Connecting {
            let asleep = Instant::now();
            tokio::time::sleep(Duration::from_millis(5)).await;
            stall += asleep.elapsed().saturating_sub(Duration::from_millis(50));
            assert!(begun.elapsed() < Duration::from_secs(20), "never");
        }
        let took = begun.elapsed().saturating_sub(stall);
        assert!(took < Duration::from_secs(3), "{took:?} besides {stall:?}");
        assert!(host.handle.status()[0].lag_ms.unwrap() >= 2000);
    });
}
