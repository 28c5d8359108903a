//! Two nodes in one process, joined by a connection that can be cut.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "every test file uses another part of this"
)]
#![allow(
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

use control::{Reporter, Shutdown, ShutdownTrigger, Snapshot, StatusBoard};
use mirror::{Handle, Options, Stream, Transport, start};
use model::status::{MirrorPhase, MirrorStatus, Subsystem};
use model::{Millis, MirrorPolicy, Name, Node, NodeId, Revision, Role, Settings, Site};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, io};
use tempfile::TempDir;
use tokio::sync::watch;

pub fn node(id: &str) -> NodeId {
    id.parse().unwrap()
}

pub fn site() -> Name {
    "default".parse().unwrap()
}

pub fn settings(origin: &str, exclude: &[&str], full_compare: Millis) -> Settings {
    let web = |id: &str| Node {
        id: node(id),
        name: id.parse().unwrap(),
        roles: [Role::Web].into(),
        ..Node::default()
    };
    Settings {
        nodes: vec![web("web01"), web("web02")],
        sites: vec![Site {
            name: site(),
            mirror: MirrorPolicy {
                enabled: true,
                origin: Some(node(origin)),
                exclude: exclude.iter().map(|p| p.parse().unwrap()).collect(),
                full_compare,
            },
            ..Site::default()
        }],
        ..Settings::default()
    }
}

/// One node.
pub struct Host {
    pub id: NodeId,
    pub data: TempDir,
    pub handle: Handle,
    pub board: StatusBoard,
    pub snapshots: watch::Sender<Arc<Snapshot>>,
    pub stop: ShutdownTrigger,
}

impl Host {
    pub fn site(&self) -> PathBuf {
        self.data.path().join("site")
    }

    pub fn status(&self) -> MirrorStatus {
        self.handle.status().into_iter().next().unwrap_or_default()
    }

    pub fn apply(&self, settings: Settings) {
        let revision = Revision(self.snapshots.borrow().revision.0 + 1);
        self.snapshots.send_replace(Arc::new(Snapshot::new(revision, settings, &self.id)));
    }
}

/// Leads to any [`Host`] that was started with it.
#[derive(Default)]
pub struct Wire {
    hosts: Mutex<BTreeMap<NodeId, Handle>>,
    /// No connection can be opened and open ones stall.
    pub down: Arc<AtomicBool>,
    pub cut: Mutex<Vec<tokio::task::AbortHandle>>,
    /// Bytes in both directions.
    pub bytes: Arc<AtomicU64>,
    pub opened: AtomicU64,
}

struct From {
    id: NodeId,
    wire: Arc<Wire>,
}

impl Transport for From {
    fn open<'a>(
        &'a self,
        to: &'a NodeId,
    ) -> Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>> {
        Box::pin(async move {
            if self.wire.down.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let host = self.wire.hosts.lock().unwrap().get(to).cloned();
            let host = host.ok_or(io::ErrorKind::ConnectionRefused)?;
            self.wire.opened.fetch_add(1, Ordering::SeqCst);
            let (near, a) = tokio::io::duplex(64 * 1024);
            let (b, far) = tokio::io::duplex(64 * 1024);
            let bytes = Arc::clone(&self.wire.bytes);
            let between = tokio::spawn(async move {
                let (mut a_read, mut a_write) = tokio::io::split(a);
                let (mut b_read, mut b_write) = tokio::io::split(b);
                let there = pump(&mut a_read, &mut b_write, &bytes);
                let back = pump(&mut b_read, &mut a_write, &bytes);
                tokio::select! { () = there => {}, () = back => {} }
            });
            self.wire.cut.lock().unwrap().push(between.abort_handle());
            let peer = self.id.clone();
            tokio::spawn(async move { host.serve(peer, Box::new(far)).await });
            Ok(Box::new(near) as Box<dyn Stream>)
        })
    }
}

async fn pump(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    bytes: &AtomicU64,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 || to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
        bytes.fetch_add(n as u64, Ordering::Relaxed);
    }
}

impl Wire {
    pub fn host(self: &Arc<Self>, id: &str, settings: Settings) -> Host {
        let data = TempDir::new().unwrap();
        self.host_in(id, settings, data)
    }

    pub fn host_in(self: &Arc<Self>, id: &str, settings: Settings, data: TempDir) -> Host {
        let id = node(id);
        let board = StatusBoard::new(id.clone(), "test");
        let reporter: Reporter = board.reporter(Subsystem::Mirror);
        let (snapshots, receiver) = Snapshot::new(Revision(1), settings, &id).channel();
        let (stop, shutdown) = Shutdown::new();
        let transport = Arc::new(From { id: id.clone(), wire: Arc::clone(self) });
        let options = Options { data_dir: data.path().to_owned() };
        let handle = start(receiver, reporter, shutdown, transport, options);
        self.hosts.lock().unwrap().insert(id.clone(), handle.clone());
        Host { id, data, handle, board, snapshots, stop }
    }

    /// Ends every connection and, if `down`, refuses new ones.
    pub fn cut(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
        self.cut.lock().unwrap().drain(..).for_each(|c| c.abort());
    }
}

/// Web01 is the origin, Web02 the mirror.
pub struct Pair {
    pub wire: Arc<Wire>,
    pub origin: Host,
    pub mirror: Host,
}

pub const THREE: [&str; 3] = ["**/stats", "**/error", "**/files/pictures"];

impl Pair {
    /// Both directories exist and are filled before anything runs.
    pub async fn new(exclude: &[&str], fill: impl FnOnce(&Path, &Path)) -> Self {
        Self::comparing(exclude, Millis::seconds(300), fill).await
    }

    pub async fn comparing(
        exclude: &[&str],
        every: Millis,
        fill: impl FnOnce(&Path, &Path),
    ) -> Self {
        let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        fs::create_dir(a.path().join("site")).unwrap();
        fs::create_dir(b.path().join("site")).unwrap();
        fill(&a.path().join("site"), &b.path().join("site"));
        let wire = Arc::new(Wire::default());
        let all = settings("web01", exclude, every);
        let origin = wire.host_in("web01", all.clone(), a);
        let mirror = wire.host_in("web02", all, b);
        Self { wire, origin, mirror }
    }

    pub fn apply(&self, settings: &Settings) {
        self.origin.apply(settings.clone());
        self.mirror.apply(settings.clone());
    }

    pub fn from(&self, path: &str) -> PathBuf {
        self.origin.site().join(path)
    }

    pub fn to(&self, path: &str) -> PathBuf {
        self.mirror.site().join(path)
    }

    /// Waits until the mirror says it is equal, and checks that it is.
    pub async fn settle(&self) {
        let (from, to) = (self.origin.site(), self.mirror.site());
        self.until("both are equal", || {
            self.mirror.status().phase == MirrorPhase::Following && list(&from) == list(&to)
        })
        .await;
    }

    pub async fn until(&self, what: &str, condition: impl FnMut() -> bool) {
        self.within(Duration::from_secs(15), what, condition).await;
    }

    pub async fn within(&self, limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            if begun.elapsed() > limit {
                let (from, to) = (list(&self.origin.site()), list(&self.mirror.site()));
                let differing: Vec<_> = from
                    .keys()
                    .chain(to.keys())
                    .filter(|p| from.get(*p) != to.get(*p))
                    .take(20)
                    .map(|p| format!("{p:?}: {:?} / {:?}", from.get(p), to.get(p)))
                    .collect();
                panic!(
                    "never: {what}\nmirror: {:?}\norigin: {:?}\n{differing:#?}",
                    self.mirror.status(),
                    self.origin.status()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn held(&self) -> String {
        let mut reason = String::new();
        self.until("held", || match self.mirror.status().phase {
            MirrorPhase::Held { reason: why, .. } => {
                reason = why;
                true
            }
            _ => false,
        })
        .await;
        reason
    }

    /// What the staging directory holds.
    pub fn staged(&self) -> usize {
        let staging = self.mirror.data.path().join("mirror/staging/default");
        fs::read_dir(staging).map_or(0, Iterator::count)
    }
}

/// Everything that must be equal, by path. Links are not followed.
pub fn list(root: &Path) -> BTreeMap<OsString, String> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let full = root.join(&path);
        let Ok(meta) = fs::symlink_metadata(&full) else { continue };
        let kind = meta.file_type();
        let content = if kind.is_file() {
            let content = fs::read(&full).unwrap_or_default();
            format!("file {}", &blake3::hash(&content).to_hex()[..16])
        } else if kind.is_symlink() {
            format!("link {:?}", fs::read_link(&full).unwrap_or_default())
        } else if kind.is_dir() {
            "dir".to_owned()
        } else {
            "special".to_owned()
        };
        let mode = if kind.is_symlink() { 0 } else { meta.permissions().mode() & 0o7777 };
        let size = if kind.is_file() { meta.size() } else { 0 };
        let shown = format!(
            "{content} {size} {mode:o} {}:{} {}.{:09}",
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec()
        );
        all.insert(path.clone().into_os_string(), shown);
        if kind.is_dir() {
            for entry in fs::read_dir(&full).into_iter().flatten().flatten() {
                waiting.push(path.join(entry.file_name()));
            }
        }
    }
    all
}

pub fn name(bytes: &[u8]) -> OsString {
    OsStr::from_bytes(bytes).to_owned()
}

pub fn bytes(name: &OsStr) -> Vec<u8> {
    OsString::into_vec(name.to_owned())
}

pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).unwrap();
    }
    fs::write(path, content).unwrap();
}

pub fn set_mtime(path: impl AsRef<Path>, secs: i64, nanos: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
    let time = Timespec { tv_sec: secs, tv_nsec: nanos as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path.as_ref(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
