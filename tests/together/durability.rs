//! Power can go at any moment: a change of settings is there or it is not, and a damaged database
//! is not the end.

use lab::{Api, Lab, Options, admin, http, wait};
use serde_json::json;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(30);
const KILLS: u64 = 30;

fn start() -> Lab {
    let options = Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD);
    Lab::start(&options.start(&["lbmaster"])).unwrap()
}

/// Weight of `web01-eth` and the revision, as the node has them.
fn settings(api: &Api) -> (u64, u64) {
    wait::until(PATIENCE, "the settings", || {
        let (document, tag) = api.settings().map_err(|e| e.to_string())?;
        let revision = tag.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        let servers = document["backends"][0]["servers"].as_array().cloned().unwrap_or_default();
        let weight = servers.iter().find(|s| s["name"] == "web01-eth").map(|s| &s["weight"]);
        Ok::<_, String>((weight.and_then(serde_json::Value::as_u64).unwrap_or(1), revision))
    })
    .unwrap()
}

/// What the writer knows: the last change that was acknowledged and the one it asked for after.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    acknowledged: Option<u64>,
    asked: Option<u64>,
}

#[test]
fn a_change_survives_sigkill_or_never_was() {
    let lab = start();
    let api = Api::new(&lab, "lbmaster", PASSWORD);
    let node = lab.node("lbmaster");
    let (mut weight, mut revision) = settings(&api);
    let (mut acknowledged, mut newer) = (0_u64, 0_u64);
    for round in 0..KILLS {
        let known = Mutex::new(Known { acknowledged: Some(weight), asked: None });
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut next = weight;
                while !stop.load(Ordering::Relaxed) {
                    next = next % 250 + 1;
                    known.lock().unwrap().asked = Some(next);
                    match api.server("webservers", "web01-eth", &json!({ "weight": next })) {
                        Ok(()) => {
                            *known.lock().unwrap() =
                                Known { acknowledged: Some(next), asked: None };
                        }
                        // Killed in the middle: it may have been done or not.
                        Err(_) => return,
                    }
                }
            });
            // Not before something is changing, and then at a different moment each time, within
            // the few milliseconds a change takes.
            let first = weight;
            wait::until_true(PATIENCE, "a first change", || {
                known.lock().unwrap().acknowledged != Some(first)
            })
            .unwrap();
            let moment = Instant::now() + Duration::from_micros(round * 7919 % 20_000);
            while Instant::now() < moment {
                std::hint::spin_loop();
            }
            node.kill().unwrap();
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap();
        });
        node.start().unwrap();
        let known = *known.lock().unwrap();
        let (now, at) = settings(&api);
        let old = known.acknowledged.unwrap();
        assert!(
            now == old || Some(now) == known.asked,
            "round {round}: weight {now} after a kill, {known:?}"
        );
        assert!(at >= revision, "round {round}: revision {at} after {revision}");
        if now == old {
            acknowledged += 1;
        } else {
            newer += 1;
        }
        (weight, revision) = (now, at);
    }
    let text = format!(
        "\n{KILLS} kills while settings change: {acknowledged} times the last acknowledged \
         revision, {newer} times the one after it; revision {revision}\n"
    );
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    // Each round got at least one change through.
    assert!(revision >= KILLS, "only {revision} revisions");
}

fn database(dir: &Path) -> PathBuf {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .filter(|p| fs::read(p).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0")))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn overwrite(file: &Path, from: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    file.write_all(bytes).unwrap();
}

/// What is damaged, and how.
type Damage = (&'static str, fn(&Path));

#[test]
fn a_damaged_database_is_set_aside_and_the_page_says_so() {
    let damages: [Damage; 4] = [
        ("its head", |file| overwrite(file, 0, &[0x5a; 100])),
        ("its middle", |file| {
            let length = fs::metadata(file).unwrap().len();
            let garbage = vec![0xa5; usize::try_from(length).unwrap() - 4096];
            overwrite(file, 4096, &garbage);
        }),
        ("its end cut off", |file| {
            let length = fs::metadata(file).unwrap().len();
            File::options().write(true).open(file).unwrap().set_len(length / 2).unwrap();
        }),
        ("something else altogether", |file| fs::write(file, "not a database\n").unwrap()),
    ];
    for (what, damage) in damages {
        let lab = start();
        let node = lab.node("lbmaster");
        let api = Api::new(&lab, "lbmaster", PASSWORD);
        api_is_up(&api);
        node.stop().unwrap();
        let file = database(&node.dir());
        // Whatever SQLite keeps beside it would heal it.
        for beside in ["-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(format!("{}{beside}", file.display()));
        }
        damage(&file);
        let damaged = fs::read(&file).unwrap();
        node.start().unwrap();
        let at = admin("lbmaster");
        // With its settings the node has forgotten its address; a router would give it one.
        let address = format!("{}/24", at.ip());
        node.space().ip(&["addr", "replace", &address, "dev", "eth0"]).unwrap();
        let page = wait::until(PATIENCE, &format!("a page after damage to {what}"), || {
            assert!(node.pid().is_some(), "{what}: the node ended\n{}", node.log_end());
            claimed(&lab, at)
        })
        .unwrap();
        assert!(page.contains("set aside"), "{what}: the page does not say so:\n{page}");
        // Everything of the old file is still there.
        let kept = fs::read_dir(node.dir())
            .unwrap()
            .flatten()
            .any(|e| e.path() != file && fs::read(e.path()).is_ok_and(|bytes| bytes == damaged));
        assert!(kept, "{what}: the damaged file is gone");
        // The old password opens nothing any more.
        let answer = api.send(&http::Request::get("/api/v1/settings")).unwrap();
        assert_eq!(answer.status, 401, "{what}");
    }
}

fn api_is_up(api: &Api) {
    wait::until(PATIENCE, "the API", || api.settings()).unwrap();
}

/// Claims a node as a browser does and returns its Overview page; an error if that is not
/// possible (yet).
fn claimed(lab: &Lab, at: SocketAddr) -> Result<String, String> {
    let ask = |request: http::Request| {
        http::request(&lab.client(), at, &request).map_err(|e| e.to_string())
    };
    let page = ask(http::Request::get("/claim"))?;
    if page.status != 200 {
        return Err(format!("/claim: {} {}", page.status, page.text()));
    }
    let text = page.text();
    let csrf =
        text.split_once("name=\"csrf\" value=\"").and_then(|(_, rest)| rest.split('"').next());
    let csrf = csrf.ok_or("a form without a token")?;
    let form =
        format!("csrf={csrf}&username=admin&password=another+password&again=another+password");
    let post = http::Request::new("POST", "/claim").header("Origin", &format!("http://{at}"));
    let answer = ask(post.body("application/x-www-form-urlencoded", form))?;
    let cookie = answer.header("set-cookie").and_then(|c| c.split(';').next());
    let cookie =
        cookie.ok_or_else(|| format!("not claimed: {} {}", answer.status, answer.text()))?;
    let page = ask(http::Request::get("/").header("Cookie", cookie))?;
    if page.status == 200 { Ok(page.text()) } else { Err(format!("/: {}", page.status)) }
}
