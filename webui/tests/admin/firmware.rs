//! Firmware: uploads that arrive, those that do not, and what is said of each.

use crate::browser::{Answer, Browser, HOST, PASSWORD, basic, signed_in};
use crate::support::{self, Node};
use axum::body::{Body, Bytes};
use http::Request;
use model::status::FirmwareProgress;
use serde_json::json;
use std::time::Duration;

const PATH: &str = "/api/v1/firmware";

async fn put(node: &Node, body: impl Into<Body>) -> Answer {
    let request = Request::put(PATH).header("authorization", basic(PASSWORD));
    Browser::new(node).send(request, body).await
}

fn form(token: Option<&str>, file: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut part = |head: &str, content: &[u8]| {
        body.extend_from_slice(
            format!("--XyZ\r\ncontent-disposition: form-data; {head}\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    if let Some(token) = token {
        part("name=\"csrf\"", token.as_bytes());
    }
    if let Some(file) = file {
        part(
            "name=\"file\"; filename=\"x.bramble\"\r\ncontent-type: application/octet-stream",
            file,
        );
    }
    body.extend_from_slice(b"--XyZ--\r\n");
    body
}

async fn send_form(browser: &mut Browser, body: impl Into<Body>) -> Answer {
    let request = Request::post("/firmware")
        .header("accept", "text/html")
        .header("origin", format!("http://{HOST}"))
        .header("content-type", "multipart/form-data; boundary=XyZ");
    browser.send(request, body).await
}

async fn installed(node: &Node) -> Vec<u8> {
    let done = async {
        loop {
            if let Some(found) = node.system.installed.lock().unwrap().clone() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), done).await.unwrap()
}

fn nothing_is_left(node: &Node) -> bool {
    use webui::System;
    !node.system.upload().exists()
}

/// A body in pieces, of which the last may be an error.
fn pieces(count: usize, size: usize, cut_off: bool) -> Body {
    let good = (0..count).map(move |_| Ok(Bytes::from(vec![7; size])));
    let end = cut_off.then(|| Err(std::io::Error::other("gone")));
    Body::from_stream(futures_util::stream::iter(good.chain(end)))
}

#[tokio::test]
async fn a_browser_without_scripts_installs() {
    let (node, mut browser) = signed_in().await;
    let page = browser.get("/firmware").await;
    assert!(page.text().contains("0.0.9") && page.text().contains("was installed and kept"));
    let token = page.field("csrf");
    let bundle: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let sent = send_form(&mut browser, form(Some(&token), Some(&bundle))).await;
    assert_eq!((sent.status.as_u16(), sent.header("location")), (303, "/firmware"));
    assert!(installed(&node).await == bundle, "every byte of it");
}

#[tokio::test]
async fn the_pages_script_and_programs_send_the_file_alone() {
    let (node, mut browser) = signed_in().await;
    let done = put(&node, pieces(50, 10_000, false)).await;
    assert_eq!(
        (done.status.as_u16(), done.json()),
        (202, json!({"accepted": "firmware", "size": 500_000}))
    );
    assert_eq!(installed(&node).await.len(), 500_000);
    *node.system.installed.lock().unwrap() = None;
    let token = browser.get("/firmware").await.field("csrf");
    let request = Request::put(PATH).header("x-csrf-token", &token);
    let request = request.header("content-type", "application/octet-stream");
    assert_eq!(browser.send(request, pieces(2, 9, false)).await.status, 202);
    assert_eq!(installed(&node).await.len(), 18);
    let without = browser.send(Request::put(PATH), pieces(2, 9, false)).await;
    assert_eq!(without.status, 403);
    let status = browser.get(PATH).await.json();
    assert_eq!((&status["slot"], &status["on_trial"]), (&json!("a"), &json!(false)));
}

#[tokio::test]
async fn a_refused_bundle_is_explained() {
    let (node, mut browser) = signed_in().await;
    *node.system.answer.lock().unwrap() = Err("its signature is not ours".into());
    let mut program = Browser::new(&node);
    program.router = browser.router.clone();
    let request = || Request::put(PATH).header("authorization", basic(PASSWORD));
    let refused = program.send(request(), "rubbish").await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()),
        (422, json!({"problem": "Its signature is not ours."}))
    );
    assert!(nothing_is_left(&node));
    assert!(browser.get("/firmware").await.text().contains("Its signature is not ours."));
    *node.system.answer.lock().unwrap() = Ok(());
    let next = program.send(request(), "good").await;
    assert_eq!(next.status, 202, "and the next one has its turn");
}

#[tokio::test]
async fn what_does_not_arrive_whole_leaves_nothing() {
    let (node, mut browser) = signed_in().await;
    let token = browser.get("/firmware").await.field("csrf");
    let cut = put(&node, pieces(3, 1000, true)).await;
    assert_eq!(cut.status, 400);
    assert!(cut.json()["problem"].as_str().unwrap().contains("cut off"));
    assert!(nothing_is_left(&node));
    let whole = form(Some(&token), Some(&[7; 5000]));
    let half = send_form(&mut browser, whole[..whole.len() - 2000].to_vec()).await;
    assert_eq!(half.status, 400);
    assert!(half.text().contains("cut off") && nothing_is_left(&node));
    assert_eq!(put(&node, Body::empty()).await.status, 422, "nothing at all");
    let empty = send_form(&mut browser, form(Some(&token), Some(b""))).await;
    assert!(empty.status == 422 && empty.text().contains("There was no file"));
    assert_eq!(send_form(&mut browser, form(Some(&token), None)).await.status, 422);
    assert!(nothing_is_left(&node));
    assert!(node.system.orders.lock().unwrap().is_empty(), "nothing was installed");
}

#[tokio::test]
async fn more_than_any_firmware_is_not_taken() {
    let (node, mut browser) = signed_in().await;
    let huge = put(&node, pieces(90, 1024 * 1024, false)).await;
    assert_eq!(huge.status, 413);
    assert!(nothing_is_left(&node));
    let token = browser.get("/firmware").await.field("csrf");
    let mut body = form(Some(&token), Some(&[1]));
    body.truncate(body.len() - 11);
    let head = std::iter::once(Ok::<_, std::io::Error>(Bytes::from(body)));
    let rest = (0..90).map(|_| Ok(Bytes::from(vec![7; 1024 * 1024])));
    let stream = Body::from_stream(futures_util::stream::iter(head.chain(rest)));
    assert_eq!(send_form(&mut browser, stream).await.status, 413);
    assert!(nothing_is_left(&node));
    assert!(node.system.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_byte_is_written_before_the_token_was_seen() {
    let (node, mut browser) = signed_in().await;
    for token in [None, Some(""), Some("0123456789abcdef"), Some("x".repeat(5000).as_str())] {
        let answer = send_form(&mut browser, form(token, Some(b"firmware"))).await;
        assert!(answer.status == 403 || answer.status == 413, "{token:?}: {}", answer.status);
    }
    let token = browser.get("/firmware").await.field("csrf");
    // The token after the file is too late.
    let mut late = form(None, Some(b"firmware"));
    late.truncate(late.len() - b"--XyZ--\r\n".len());
    late.extend(form(Some(&token), None));
    assert_eq!(send_form(&mut browser, late).await.status, 403);
    let mut stranger = Browser::new(&node);
    assert_eq!(send_form(&mut stranger, form(Some(&token), Some(b"x"))).await.status, 303);
    let bare = stranger.send(Request::put(PATH), "x").await;
    assert_eq!((bare.status.as_u16(), bare.text()), (401, ""));
    assert!(nothing_is_left(&node) && node.system.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn forms_of_random_bytes_do_no_harm() {
    let (node, mut browser) = signed_in().await;
    let token = browser.get("/firmware").await.field("csrf");
    let good = form(Some(&token), Some(b"some firmware"));
    let mut noise = noise::Noise::new(1);
    for _ in 0..300 {
        let mut body = good.clone();
        for _ in 0..4 {
            let at = noise.below(body.len());
            body[at] = noise.byte();
        }
        let answer = send_form(&mut browser, body).await;
        assert!(!answer.status.is_server_error(), "{}", answer.status);
    }
    assert_eq!(put(&node, "good").await.status, 202, "and the next one is taken");
}

#[tokio::test]
async fn one_update_at_a_time() {
    let (node, mut browser) = signed_in().await;
    let held = node.system.hold.lock().await;
    let token = browser.get("/firmware").await.field("csrf");
    let first = send_form(&mut browser, form(Some(&token), Some(b"first"))).await;
    assert_eq!(first.status, 303);
    let token = browser.get("/firmware").await.field("csrf");
    let busy = send_form(&mut browser, form(Some(&token), Some(b"second"))).await;
    assert_eq!(busy.status, 409);
    assert!(busy.text().contains("Another update is under way"));
    drop(held);
    assert_eq!(installed(&node).await, b"first");
}

#[tokio::test]
async fn progress_is_shown_and_a_restart_waited_for() {
    let (node, mut browser) = signed_in().await;
    let show = |progress: FirmwareProgress| {
        node.board.provide(move |status| {
            for firmware in status.system.firmware.iter_mut() {
                firmware.progress = Some(progress.clone());
            }
        });
    };
    show(FirmwareProgress::Writing { done: 1_000_000, total: 4_000_000 });
    let page = browser.get("/firmware").await.text().to_owned();
    assert!(page.contains("1.0 MB of 4.0 MB") && page.contains("value=\"25\""));
    assert!(page.contains("http-equiv=\"refresh\""), "a browser without scripts follows");
    show(FirmwareProgress::Restarting);
    let run = browser.get("/healthz").await.header("x-bramble-run").to_owned();
    let page = browser.get("/firmware").await.text().to_owned();
    assert!(page.contains(&format!("data-await=\"{run}\"")));
    show(FirmwareProgress::Failed { reason: "the slot could not be read back".into() });
    let page = browser.get("/firmware").await.text().to_owned();
    assert!(
        page.contains("The slot could not be read back.")
            && !page.contains("http-equiv=\"refresh\"")
    );
}

#[tokio::test]
async fn by_hand_there_is_no_firmware() {
    let mut node = support::node("lbmaster", support::demo::settings());
    node.ports.system = None;
    node.board.provide(|status| status.system.firmware = None);
    let mut browser = Browser::new(&node);
    browser.claim().await;
    assert!(!browser.get("/firmware").await.text().contains("type=\"file\""));
    assert_eq!(put(&node, "x").await.status, 409);
    assert_eq!(browser.get(PATH).await.status, 404);
}
