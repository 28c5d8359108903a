//! The board, its log, and the door for programs to both.

use crate::browser::{Browser, HOST, PASSWORD, basic, signed_in};
use crate::support::{self, Node};
use axum::body::Body;
use http::Request;
use model::status::{SystemStatus, VrrpState};
use serde_json::json;

async fn program(node: &Node, method: &str, path: &str) -> crate::browser::Answer {
    let request =
        Request::builder().method(method).uri(path).header("authorization", basic(PASSWORD));
    Browser::new(node).send(request, Body::empty()).await
}

#[tokio::test]
async fn the_board_tells_how_it_feels() {
    let (node, mut browser) = signed_in().await;
    let page = browser.get("/board").await;
    for part in ["Raspberry Pi 2 Model B", "48.3", "SC32G", "08/2021", "192.168.1.14/24", "slot A"]
    {
        assert!(page.text().contains(part), "{part}");
    }
    assert!(!page.text().contains("Nothing is kept"));
    node.board.provide(|status| support::demo::trouble(&mut status.system));
    for path in ["/", "/board", "/log", "/nodes/web01", "/wifi", "/more"] {
        assert!(browser.get(path).await.text().contains("Nothing is kept: settings"), "{path}");
    }
    let page = browser.get("/board").await;
    for part in ["not set", "82.6", "too weak at this moment", "93 %", "not in use"] {
        assert!(page.text().contains(part), "{part}");
    }
    assert!(browser.get("/").await.text().contains("LbMaster: The power supply is too weak"));
    let metrics = program(&node, "GET", "/metrics").await;
    for line in [
        "bramble_temperature_celsius 82.650",
        "bramble_undervoltage 1",
        "bramble_card_written_bytes_total 4194304",
        "bramble_card_errors_total 17",
        "bramble_data_kept 0",
        "bramble_firmware_info{version=\"0.1.0 (2026-11-20)\",slot=\"a\"} 1",
    ] {
        assert!(metrics.text().lines().any(|l| l == line), "{line}");
    }
    node.board.provide(|status| status.system = SystemStatus::default());
    let metrics = program(&node, "GET", "/metrics").await;
    assert!(!metrics.text().contains("bramble_temperature"), "what is not known is not zero");
}

#[tokio::test]
async fn orders_are_asked_about_and_then_given() {
    let (node, mut browser) = signed_in().await;
    let ask = browser.get("/board/reboot").await;
    assert!(ask.text().contains("192.168.1.15") && ask.text().contains("handed over to LbSlave"));
    assert!(browser.get("/board/reset").await.text().contains("no way back"));
    assert!(node.system.orders.lock().unwrap().is_empty(), "asking does nothing");
    for (path, order, title) in [
        ("/board/reboot", "reboot", "Restarting"),
        ("/board/poweroff", "power off", "Switching off"),
        ("/board/reset", "factory reset", "Forgetting everything"),
    ] {
        let done = browser.post(path, path, &[]).await;
        assert_eq!(done.status, 202, "{path}");
        assert!(done.text().contains(title), "{path}");
        assert_eq!(node.system.orders.lock().unwrap().pop().as_deref(), Some(order));
    }
    let blink = browser.post("/board", "/board/blink", &[]).await;
    assert_eq!(blink.header("location"), "/board?blinks=1");
    assert_eq!(node.system.orders.lock().unwrap().pop().as_deref(), Some("blink 20"));
    *node.system.answer.lock().unwrap() = Err("an update is being written; wait for it".into());
    let refused = browser.post("/board/reboot", "/board/reboot", &[]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("An update is being written; wait for it."));
}

#[tokio::test]
async fn a_waiting_page_tells_one_run_from_the_next() {
    let (node, mut browser) = signed_in().await;
    let run = browser.get("/healthz").await.header("x-bramble-run").to_owned();
    assert_eq!(run.len(), 12);
    let page = browser.post("/board/reboot", "/board/reboot", &[]).await;
    assert!(page.text().contains(&format!("data-await=\"{run}\" data-then=\"/board\"")));
    let mut next = Browser::new(&node);
    assert_ne!(next.get("/healthz").await.header("x-bramble-run"), run);
}

#[tokio::test]
async fn the_last_balancer_says_what_its_absence_costs() {
    let (node, mut browser) = signed_in().await;
    node.board.provide(|status| {
        for v in &mut status.vrrp {
            v.state = VrrpState::Master;
        }
    });
    let edits = vec![model::Edit::RemoveNode("lbslave".parse().unwrap())];
    let author = control::Author::Local;
    node.control.submit(control::Change { base: None, author, edits }).await.unwrap();
    node.board.retain(|id| id.as_str() != "lbslave");
    let page = browser.get("/board/poweroff").await;
    assert!(page.text().contains("visitors reach nothing until it is back"), "{}", page.text());
}

#[tokio::test]
async fn programs_order_too() {
    let (node, _) = signed_in().await;
    for (path, order) in [
        ("/api/v1/reboot", "reboot"),
        ("/api/v1/poweroff", "power off"),
        ("/api/v1/factory-reset", "factory reset"),
    ] {
        assert_eq!(program(&node, "POST", path).await.status, 202, "{path}");
        assert_eq!(node.system.orders.lock().unwrap().pop().as_deref(), Some(order));
    }
    *node.system.answer.lock().unwrap() = Err("not now".into());
    let refused = program(&node, "POST", "/api/v1/reboot").await;
    assert_eq!((refused.status.as_u16(), refused.json()), (409, json!({"error": "Not now."})));
}

#[tokio::test]
async fn by_hand_there_is_no_board() {
    let mut node = support::node("lbmaster", support::demo::settings());
    (node.ports.system, node.ports.radio) = (None, None);
    let mut browser = Browser::new(&node);
    browser.claim().await;
    let page = browser.get("/board").await;
    assert!(
        page.text().contains("somebody else's Linux")
            || page.text().contains("somebody else&#39;s Linux")
    );
    for button in ["/board/reboot", "/board/reset", "/board/blink"] {
        assert!(!page.text().contains(button), "{button}");
    }
    for path in ["/board/reboot", "/board/poweroff", "/board/reset"] {
        assert_eq!(browser.get(path).await.status, 409, "{path}");
        assert_eq!(browser.post("/more", path, &[]).await.status, 409, "{path}");
        assert_eq!(program(&node, "POST", "/api/v1/reboot").await.status, 409);
    }
    let text = browser.get("/nodes/web01/edit").await.text().to_owned();
    assert!(text.contains("left as it is found") && !text.contains("by DHCP"));
    let (_node, mut browser) = signed_in().await;
    assert!(browser.get("/nodes/web01/edit").await.text().contains("Empty: by DHCP."));
    assert!(node.system.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_log_is_filtered_and_downloaded() {
    let (node, mut browser) = signed_in().await;
    assert!(browser.get("/log").await.text().contains("Nothing was logged yet."));
    let lines = ["1 INFO vrrp: one", "2 WARN vrrp: <b>two</b>", "3 INFO proxy: three"];
    *node.journal.lines.lock().unwrap() = lines.map(str::to_owned).to_vec();
    let all = browser.get("/log").await.text().to_owned();
    assert!(all.find("proxy: three") < all.find("vrrp: one"), "newest first");
    assert!(!all.contains("<b>two") && !all.contains("The end of the run before"));
    let some = browser.get("/log?q=VRRP%20warn").await.text().to_owned();
    assert!(some.contains("two") && !some.contains("vrrp: one") && some.contains("1 line of 3."));
    // An open page asks for what is new, and hears nothing while there is none.
    let more = some.split("hx-get=\"").nth(1).unwrap().split('"').next().unwrap();
    let more = more.replace("&#38;", "&").replace("&amp;", "&");
    assert_eq!(browser.get(&more).await.status, 204, "{more}");
    node.journal.lines.lock().unwrap().push("4 WARN vrrp: four".into());
    let news = browser.get(&more).await;
    assert!(news.status == 200 && news.text().contains("four") && !news.text().contains("<html"));
    *node.journal.last_words.lock().unwrap() = Some("panicked at <x>".into());
    let page = browser.get("/log").await.text().to_owned();
    assert!(page.contains("The end of the run before") && !page.contains("at <x>"));
    let file = browser.get("/log.txt").await;
    assert_eq!(file.header("content-type"), "text/plain; charset=utf-8");
    assert!(file.header("content-disposition").contains("bramble-LbMaster.log.txt"));
    assert!(file.text().contains("panicked at <x>") && file.text().ends_with("vrrp: four\n"));
    let api = program(&node, "GET", "/api/v1/log").await.json();
    assert_eq!(api["lines"].as_array().unwrap().len(), 4);
    assert_eq!(api["last_words"], "panicked at <x>");
    let bramble = Request::get("/more").header("host", "bramble.local:1936");
    assert_ne!(HOST, "bramble.local:1936");
    assert_eq!(browser.send(bramble, Body::empty()).await.status, 200);
}
