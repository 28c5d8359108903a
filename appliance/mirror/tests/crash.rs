//! The mirror is killed at random moments. Every file is then the old or the new one, and what
//! was staged is gone after the next start.
#![allow(
    missing_docs,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{Wire, list, node, settings, write};
use model::Millis;
use model::status::MirrorPhase;
use noise::Noise;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

const ROLE: &str = "BRAMBLE_MIRROR_TEST_SOCKET";

/// Connects through a socket file to the process with the origin.
struct Socket(std::path::PathBuf);

impl mirror::Transport for Socket {
    fn open<'a>(&'a self, _to: &'a model::NodeId) -> mirror::Opening<'a> {
        Box::pin(async move {
            let stream = UnixStream::connect(&self.0).await?;
            Ok(Box::new(stream) as Box<dyn mirror::Stream>)
        })
    }
}

/// Not a test by itself: the process that is killed.
#[test]
fn child() {
    let Ok(place) = env::var(ROLE) else { return };
    let place = Path::new(&place);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let id = node("web02");
        let board = control::StatusBoard::new(id.clone(), "test");
        let all = settings("web01", &[], Millis::seconds(300));
        let snapshot = control::Snapshot::new(model::Revision(1), all, &id);
        let (_snapshots, receiver) = snapshot.channel();
        let (_stop, shutdown) = control::Shutdown::new();
        let _handle = mirror::start(
            receiver,
            board.reporter(model::status::Subsystem::Mirror),
            shutdown,
            Arc::new(Socket(place.join("socket"))),
            mirror::Options { data_dir: place.join("mirror-data") },
        );
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
}

fn spawn(place: &Path) -> io::Result<std::process::Child> {
    Command::new(env::current_exe()?)
        .args(["--exact", "child", "--nocapture"])
        .env(ROLE, place)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

#[test]
fn m27_killed_at_any_moment() {
    let rounds = env::var("ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(40);
    let place = TempDir::new().unwrap();
    let site = place.path().join("mirror-data/site");
    let staging = place.path().join("mirror-data/mirror/staging/default");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let wire = Arc::new(Wire::default());
        let data = TempDir::new().unwrap();
        fs::create_dir(data.path().join("site")).unwrap();
        let origin = wire.host_in("web01", settings("web01", &[], Millis::seconds(300)), data);
        let listener = UnixListener::bind(place.path().join("socket")).unwrap();
        let handle = origin.handle.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let handle = handle.clone();
                tokio::spawn(async move { handle.serve(node("web02"), Box::new(stream)).await });
            }
        });
        let mut random = Noise::new(99);
        let mut content = |generation: usize, file: usize| {
            let size = if file < 3 { 1_000_000 } else { 1 + (file * 977) % 30_000 };
            let mut bytes = vec![b'a' + (generation % 26) as u8; size];
            bytes[0] = file as u8;
            bytes
        };
        let files = 60;
        let write_all = |content: &mut dyn FnMut(usize, usize) -> Vec<u8>, generation| {
            for file in 0..files {
                // Beside and renamed, so that the origin never shows half a file either.
                let path = origin.site().join(format!("d{}/f{file}", file % 5));
                let aside = origin.data.path().join("aside");
                write(&aside, content(generation, file));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::rename(&aside, &path).unwrap();
            }
        };
        let (mut killed, mut staged, mut mixed) = (0, 0, 0);
        for generation in 0..rounds {
            write_all(&mut content, generation);
            let mut child = spawn(place.path()).unwrap();
            tokio::time::sleep(Duration::from_millis(20 + random.below(500) as u64)).await;
            // And once more while it runs.
            write_all(&mut content, generation + 1);
            tokio::time::sleep(Duration::from_millis(random.below(300) as u64)).await;
            child.kill().unwrap();
            killed += usize::from(child.wait().unwrap().signal() == Some(9));
            staged += fs::read_dir(&staging).map_or(0, Iterator::count);
            let mut generations = std::collections::BTreeSet::new();
            for (path, _) in list(&site) {
                let full = site.join(&path);
                if !full.is_file() {
                    continue;
                }
                let name = path.to_str().unwrap();
                let file: usize = name.rsplit_once("/f").expect(name).1.parse().expect(name);
                let found = fs::read(&full).unwrap();
                // Written at one moment, all of it.
                let letter = found[found.len() - 1];
                generations.insert(letter);
                let good = (0..=generation + 1).any(|g| content(g, file) == found)
                    || (found.len() == 1 && found[0] == file as u8);
                assert!(good, "{name} is neither old nor new, it ends with {letter}");
            }
            mixed += usize::from(generations.len() > 1);
        }
        assert_eq!(killed, rounds);
        eprintln!("{killed} kills, {mixed} in the middle of a batch, {staged} staged files left");
        // Undisturbed, it becomes equal and clean.
        let mut child = spawn(place.path()).unwrap();
        let begun = Instant::now();
        while list(&site) != list(&origin.site()) || fs::read_dir(&staging).unwrap().count() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(origin.status().phase, MirrorPhase::Origin);
    });
}
