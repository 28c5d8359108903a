//! One admin for all nodes: sessions, tokens, the audit log, and what other nodes are asked.

use crate::browser::{Answer, Browser, HOST, PASSWORD, signed_in};
use crate::support::Node;
use axum::body::Body;
use http::Request;
use model::action::{Action, Reply};
use model::status::{FailoverReport, VrrpState};
use serde_json::json;

/// What was written down, oldest first: who, what, about what, and why not.
fn written(node: &Node) -> Vec<String> {
    let entries = node.audit.entries.lock().unwrap();
    let line = |e: &model::audit::Entry| {
        let line = format!("{} {} {}", e.actor, e.deed, e.object).trim().to_owned();
        if e.failure.is_empty() { line } else { format!("{line} ({})", e.failure) }
    };
    entries.iter().map(line).collect()
}

async fn with_token(browser: &mut Browser, method: &str, path: &str, token: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header("authorization", format!("Bearer {token}"));
    browser.send(request, Body::empty()).await
}

/// The token that a page shows once.
fn shown(page: &Answer) -> String {
    let text = page.text();
    let at = text.find("bramble_").unwrap();
    text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[tokio::test]
async fn tokens_are_made_used_and_removed() {
    let (node, mut browser) = signed_in().await;
    let made =
        browser.post("/tokens", "/tokens", &[("name", "prometheus"), ("scope", "read")]).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let reads = shown(&made);
    assert_eq!(reads.len(), 72);
    assert!(!browser.get("/tokens").await.text().contains(&reads), "shown once");
    assert!(!format!("{:?}", node.tokens.0.lock().unwrap()).contains(&reads), "kept as a hash");
    let made = browser.post("/tokens", "/tokens", &[("name", "robot"), ("scope", "full")]).await;
    let does = shown(&made);

    let mut program = Browser::new(&node);
    program.router = browser.router.clone();
    for path in ["/metrics", "/stats;csv", "/api/v1/status", "/api/v1/settings", "/api/v1/audit"] {
        for token in [&reads, &does] {
            assert_eq!(with_token(&mut program, "GET", path, token).await.status, 200, "{path}");
        }
    }
    let path = "/api/v1/vrrp/VI_1/failover";
    let refused = with_token(&mut program, "POST", path, &reads).await;
    assert_eq!(refused.status, 403);
    assert!(refused.json()["error"].as_str().unwrap().contains("may only read"));
    for path in ["/api/v1/reboot", "/api/v1/sites/default/approve", "/api/v1/nodes/web01/reboot"] {
        assert_eq!(with_token(&mut program, "POST", path, &reads).await.status, 403, "{path}");
    }
    assert_eq!(with_token(&mut program, "PUT", "/api/v1/firmware", &reads).await.status, 403);
    assert!(node.system.orders.lock().unwrap().is_empty());
    assert_eq!(with_token(&mut program, "POST", path, &does).await.status, 200);
    assert_eq!(with_token(&mut program, "GET", "/nodes", &does).await.status, 401, "no page");
    assert!(program.cookies.is_empty());
    let list = browser.get("/tokens").await;
    assert!(list.text().contains("used 0 s ago on this node"), "{}", list.text());
    let log = written(&node);
    assert!(log.contains(&"session token-made robot (everything)".to_owned()), "{log:?}");
    assert!(log.contains(&"token failover VI_1".to_owned()), "{log:?}");

    browser.post("/tokens", "/tokens/robot/remove", &[]).await;
    assert_eq!(with_token(&mut program, "GET", "/metrics", &does).await.status, 401);
    assert_eq!(with_token(&mut program, "GET", "/metrics", &reads).await.status, 200);
    let gone = browser.post("/tokens", "/tokens/robot/remove", &[]).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn a_token_with_a_name_that_will_not_do_is_not_made() {
    let (node, mut browser) = signed_in().await;
    browser.post("/tokens", "/tokens", &[("name", "one"), ("scope", "read")]).await;
    for (name, scope, status) in
        [("", "read", 422), ("a b", "read", 422), ("two", "sudo", 422), ("one", "full", 409)]
    {
        let pairs = [("name", name), ("scope", scope)];
        let answer = browser.post("/tokens", "/tokens", &pairs).await;
        assert_eq!(answer.status, status, "{name} {scope}");
        assert!(answer.text().contains("class=\"error\""), "{name} {scope}");
        assert!(!answer.text().contains("bramble_"), "{name} {scope}");
    }
    assert_eq!(node.tokens.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn guessing_tokens_is_slowed_down() {
    let (node, mut browser) = signed_in().await;
    let made = browser.post("/tokens", "/tokens", &[("name", "one"), ("scope", "read")]).await;
    let token = shown(&made);
    let mut seen = Vec::new();
    let mut program = Browser::new(&node);
    for n in 0..8 {
        let wrong = format!("{}{n}", &token[..71]);
        let wrong = if wrong == token { format!("{}x", &token[..71]) } else { wrong };
        seen.push(with_token(&mut program, "GET", "/metrics", &wrong).await.status.as_u16());
    }
    assert_eq!(seen[..4], [401; 4]);
    assert!(seen.contains(&429), "{seen:?}");
    let good = with_token(&mut program, "GET", "/metrics", &token).await;
    assert_eq!(good.status, 200, "who has the right one does not wait for those who guess");
    assert_eq!(written(&node).iter().filter(|l| l.contains("sign-in-failed")).count(), 1);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let (node, mut mine) = signed_in().await;
    let mut other = Browser::new(&node);
    other.router = mine.router.clone();
    other.login(PASSWORD).await;
    let page = mine.get("/sessions").await;
    assert_eq!(page.text().matches("action=\"/sessions/end\"").count(), 2);
    assert_eq!(page.text().matches("this one").count(), 1);
    assert!(page.text().contains("on LbMaster"));
    for cookie in [&mine, &other].map(|b| b.cookies["bramble_sid"].clone()) {
        assert!(!page.text().contains(&cookie), "ids let people in and are not shown");
    }
    let theirs = model::session::short(&other.cookies["bramble_sid"]);
    let ended = mine.post("/sessions", "/sessions/end", &[("name", &theirs)]).await;
    assert_eq!(ended.header("location"), "/sessions?ended=1");
    assert_eq!(other.get("/nodes").await.status, 303);
    assert_eq!(mine.get("/nodes").await.status, 200);

    other.login(PASSWORD).await;
    let done = mine.post("/sessions", "/sessions/end-all", &[]).await;
    assert_eq!(done.header("location"), "/sessions?ended=1");
    assert_eq!(
        (mine.get("/").await.status.as_u16(), other.get("/").await.status.as_u16()),
        (200, 303)
    );
    other.login(PASSWORD).await;
    let all = [("everywhere", "yes")];
    let done = other.post("/sessions", "/sessions/end-all", &all).await;
    assert_eq!(done.header("location"), "/login?out=1");
    assert_eq!(
        (mine.get("/").await.status.as_u16(), other.get("/").await.status.as_u16()),
        (303, 303)
    );
    let log = written(&node);
    assert!(
        log.contains(&format!("session sessions-ended session {theirs} from 192.168.1.50")),
        "{log:?}"
    );
    assert!(log.contains(&"session sessions-ended all".to_owned()));
}

#[tokio::test]
async fn what_is_done_is_written_down() {
    let (node, mut browser) = signed_in().await;
    browser.post("/board", "/board/blink", &[]).await;
    browser.post("/board/reboot", "/board/reboot", &[]).await;
    *node.system.answer.lock().unwrap() = Err("the card is being written".to_owned());
    browser.post("/board/poweroff", "/board/poweroff", &[]).await;
    *node.failover.answer.lock().unwrap() = Err("no other balancer answers".to_owned());
    browser.post("/failover", "/failover/VI_1", &[]).await;
    let new = [("old", PASSWORD), ("password", "quite another"), ("again", "quite another")];
    browser.post("/password", "/password", &new).await;
    browser.post("/more", "/logout", &[]).await;
    for _ in 0..3 {
        browser.login("guessed").await;
    }
    assert_eq!(
        written(&node),
        [
            "visitor claimed",
            "session sign-in",
            "session blink",
            "session reboot",
            "session power-off",
            "session power-off (The card is being written.)",
            "session failover VI_1 (No other balancer answers.)",
            "session password",
            "session sign-in",
            "session sign-out",
            "visitor sign-in-failed",
        ]
    );
    let text = format!("{:?}", node.audit.entries.lock().unwrap());
    for secret in [PASSWORD, "quite another", "guessed"] {
        assert!(!text.contains(secret));
    }
}

#[tokio::test]
async fn the_audit_log_is_read_page_by_page() {
    let (node, mut browser) = signed_in().await;
    for _ in 0..4 {
        browser.post("/board", "/board/blink", &[]).await;
    }
    let first = browser.get("/api/v1/audit?limit=4").await.json();
    assert_eq!(first["entries"].as_array().unwrap().len(), 4);
    assert_eq!(first["entries"][0]["deed"], "blink");
    let next = first["next"].as_str().unwrap();
    let rest = browser.get(&format!("/api/v1/audit?limit=4&after={next}")).await.json();
    assert_eq!(rest["entries"].as_array().unwrap().len(), 2);
    assert_eq!(rest["entries"][1]["deed"], "claimed");
    assert!(rest["next"].is_null());
    let only = browser.get("/api/v1/audit?deed=sign-in&node=lbmaster").await.json();
    assert_eq!(only["entries"].as_array().unwrap().len(), 1);
    assert_eq!(browser.get("/api/v1/audit?node=UPPER").await.status, 400);
    assert_eq!(browser.get("/api/v1/audit?limit=x").await.status, 400);
    drop(node);
}

#[tokio::test]
async fn a_failover_is_asked_of_the_node_that_holds_the_address() {
    let (node, mut browser) = signed_in().await;
    let slave = node.board.nodes().into_iter().find(|r| r.status.id.as_str() == "lbslave").unwrap();
    let mut status = slave.status;
    status.vrrp[0].state = VrrpState::Master;
    let name = status.vrrp[0].name.clone();
    node.board.heard(status);
    node.board.provide(|own| own.vrrp[0].state = VrrpState::Backup);
    let holder = "192.168.1.14".parse().unwrap();
    let report = FailoverReport { name: name.clone(), holder, gap_ms: 0.5 };
    *node.others.answer.lock().unwrap() = Ok(Reply::Failover(report));
    let token = browser.get("/more").await.field("csrf");
    let path = "/api/v1/vrrp/VI_1/failover";
    let ask = Request::post(path).header("x-csrf-token", &token);
    let answer = browser.send(ask.header("origin", format!("http://{HOST}")), Body::empty()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["holder_name"], "LbMaster");
    let asked = node.others.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].0.as_str(), "lbslave");
    assert_eq!(asked[0].2, Action::Failover { instance: name });

    *node.others.answer.lock().unwrap() =
        Err("node lbslave cannot be reached: no route".to_owned());
    let ask = Request::post(path).header("x-csrf-token", &token);
    let answer = browser.send(ask, Body::empty()).await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json(), json!({"error": "Node lbslave cannot be reached: no route."}));
}

#[tokio::test]
async fn any_node_is_asked_through_this_one() {
    let (node, mut browser) = signed_in().await;
    *node.others.answer.lock().unwrap() = Ok(Reply::Lines(vec!["a line".into()]));
    let log = browser.get("/api/v1/nodes/web02/log").await;
    assert_eq!(log.json(), json!({"lines": ["a line"]}));
    let token = browser.get("/more").await.field("csrf");
    let ask = |path: &str| Request::post(path).header("x-csrf-token", token.as_str());
    *node.others.answer.lock().unwrap() = Ok(Reply::Done);
    let answer = browser.send(ask("/api/v1/nodes/web02/reboot"), Body::empty()).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (202, json!({"node": "web02"})));
    *node.others.answer.lock().unwrap() = Err("no light there".to_owned());
    let answer = browser.send(ask("/api/v1/nodes/web02/blink"), Body::empty()).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (409, json!({"error": "No light there."})));
    let answer = browser.send(ask("/api/v1/nodes/web09/blink"), Body::empty()).await;
    assert_eq!(answer.status, 404);
    let log = written(&node);
    assert_eq!(log[2..], ["session reboot web02", "session blink web02 (no light there)"]);
}
