//! Claiming, signing in and out, passwords, sessions.

use crate::browser::{Browser, PASSWORD, basic, signed_in};
use crate::support::{self, Node};
use axum::body::Body;
use http::Request;
use std::sync::atomic::Ordering;

fn unclaimed() -> (Node, Browser) {
    let node = support::node("lbmaster", support::demo::settings());
    let browser = Browser::new(&node);
    (node, browser)
}

#[tokio::test]
async fn an_unclaimed_node_leads_to_the_claim_page_only() {
    let (_node, mut browser) = unclaimed();
    for path in ["/", "/nodes", "/stats", "/login", "/nowhere"] {
        let answer = browser.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/claim"), "{path}");
    }
    for path in ["/api/v1/settings", "/metrics", "/stats;csv"] {
        let request = Request::get(path).header("authorization", basic(""));
        let answer = browser.send(request, Body::empty()).await;
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.text(), "this node has no password yet; open the page");
    }
    assert_eq!(browser.get("/claim").await.status, 200);
}

#[tokio::test]
async fn weak_passwords_do_not_claim() {
    let (node, mut browser) = unclaimed();
    let long = "x1".repeat(65);
    for (password, again) in [
        ("", ""),
        ("short", "short"),
        ("correct horse", "correct house"),
        ("aaaaaaaaaaaaaa", "aaaaaaaaaaaaaa"),
        (long.as_str(), long.as_str()),
    ] {
        let answer =
            browser.post("/claim", "/claim", &[("password", password), ("again", again)]).await;
        assert_eq!(answer.status, 422, "{password}");
        assert!(answer.text().contains("role=\"alert\""));
    }
    assert_eq!(webui::Credentials::password_hash(&*node.password).unwrap(), None);
    assert!(node.rows.rows.lock().unwrap().is_empty(), "no session for visitors");
    let forged = browser.post_raw("/claim", &[("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!(forged.status, 403, "without a token");
}

#[tokio::test]
async fn a_node_is_claimed_once() {
    let (node, mut first) = unclaimed();
    let mut second = Browser::new(&node);
    let token = second.get("/claim").await.field("csrf");
    first.claim().await;
    assert_eq!(first.get("/").await.status, 200, "signed in at once");
    let pairs =
        [("csrf", token.as_str()), ("password", "another password"), ("again", "another password")];
    let late = second.post_raw("/claim", &pairs).await;
    assert_eq!(late.status, 409);
    assert!(late.text().contains("Somebody was faster"));
    assert_eq!(second.get("/claim").await.header("location"), "/login");
    assert_eq!(second.login("another password").await.status, 401);
    assert_eq!(second.login(PASSWORD).await.status, 303);
}

#[tokio::test]
async fn a_node_is_claimed_soon_after_its_start_and_from_nearby() {
    let (node, mut near) = unclaimed();
    let mut far = Browser::at(&node, "203.0.113.7");
    let shown = far.get("/claim").await;
    assert_eq!(shown.status, 403);
    assert!(shown.text().contains("not from the internet") && !shown.text().contains("<form"));
    let token = near.get("/claim").await.field("csrf");
    let pairs = [("csrf", token.as_str()), ("password", PASSWORD), ("again", PASSWORD)];
    node.up.store(30 * 60_000, Ordering::Relaxed);
    let late = near.post_raw("/claim", &pairs).await;
    assert_eq!(late.status, 403, "a form that was loaded in time is too late as well");
    assert!(late.text().contains("Unplug it, plug it in again"), "{}", late.text());
    assert_eq!(webui::Credentials::password_hash(&*node.password).unwrap(), None);
    node.up.store(30 * 60_000 - 1, Ordering::Relaxed);
    assert_eq!(near.post_raw("/claim", &pairs).await.status, 303);
}

#[tokio::test]
async fn a_card_with_a_code_is_claimed_by_who_knows_it() {
    let (node, mut browser) = unclaimed();
    *node.password.code.lock().unwrap() = Some("kQ8-the-code");
    let chosen = [("password", PASSWORD), ("again", PASSWORD)];
    assert!(browser.get("/claim").await.text().contains("join_token"));
    for code in ["", "kQ8", "kq8-the-code"] {
        let pairs = [("code", code), chosen[0], chosen[1]];
        let refused = browser.post("/claim", "/claim", &pairs).await;
        assert_eq!(refused.status, 422, "{code}");
        assert!(refused.text().contains("not the code"));
    }
    assert_eq!(webui::Credentials::password_hash(&*node.password).unwrap(), None);
    let pairs = [("code", " kQ8-the-code\n"), chosen[0], chosen[1]];
    assert_eq!(browser.post("/claim", "/claim", &pairs).await.status, 303);
}

#[tokio::test]
async fn what_cannot_be_taken_back_asks_for_the_password_once_more() {
    let (node, mut browser) = signed_in().await;
    assert_eq!(browser.get("/board/reset").await.status, 200, "signed in a moment ago");
    let token = browser.get("/more").await.field("csrf");
    support::age(&node, 301);
    for path in ["/board/reset", "/nodes/web01/remove"] {
        let asked = format!("/again?next={path}");
        let got = browser.get(path).await;
        assert_eq!((got.status.as_u16(), got.header("location")), (303, asked.as_str()), "{path}");
        let pairs = [("csrf", token.as_str()), ("revision", "0")];
        let posted = browser.post_raw(path, &pairs).await;
        assert_eq!((posted.status.as_u16(), posted.header("location")), (303, asked.as_str()));
    }
    let api = Request::post("/api/v1/factory-reset").header("x-csrf-token", &token);
    assert_eq!(browser.send(api, Body::empty()).await.status, 403);
    assert!(node.system.orders.lock().unwrap().is_empty(), "nothing was done");
    assert_eq!(node.control.snapshot().revision.0, 0);
    assert_eq!(browser.get("/board/reboot").await.status, 200, "this can be taken back");

    let next = "/nodes/web01/remove";
    let asked = format!("/again?next={next}");
    let wrong = [("next", next), ("password", "not the password")];
    assert_eq!(browser.post(&asked, "/again", &wrong).await.status, 401);
    assert_eq!(browser.get(next).await.status, 303);
    let right = [("next", next), ("password", PASSWORD)];
    let on = browser.post(&asked, "/again", &right).await;
    assert_eq!((on.status.as_u16(), on.header("location")), (303, next));
    assert_eq!(browser.get(next).await.status, 200);
    let away = [("next", "//evil.example"), ("password", PASSWORD)];
    assert_eq!(browser.post(&asked, "/again", &away).await.header("location"), "/");
}

#[tokio::test]
async fn cookies_are_strict_and_rotate() {
    let (node, mut browser) = unclaimed();
    browser.cookies.insert("bramble_sid".into(), "AAAAAAAAAAAAAAAAAAAAAA".into());
    let planted = browser.cookies["bramble_sid"].clone();
    let page = browser.get("/claim").await;
    assert!(
        page.headers.get("set-cookie").is_none_or(|c| c.to_str().unwrap().contains("Max-Age=0"))
    );
    let token = page.field("csrf");
    let pairs = [("csrf", token.as_str()), ("password", PASSWORD), ("again", PASSWORD)];
    let done = browser.post_raw("/claim", &pairs).await;
    let cookie = done.header("set-cookie").to_owned();
    for part in ["bramble_sid=", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=1800"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    let first = browser.cookies["bramble_sid"].clone();
    assert_ne!(first, planted);
    assert!(first.len() >= 22, "128 bits");
    browser.post("/more", "/logout", &[]).await;
    browser.login(PASSWORD).await;
    assert_ne!(browser.cookies["bramble_sid"], first);
    assert_eq!(node.rows.rows.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn logging_out_ends_the_session() {
    let (node, mut browser) = signed_in().await;
    let stolen = browser.cookies.clone();
    let out = browser.post("/more", "/logout", &[]).await;
    assert_eq!(out.header("location"), "/login?out=1");
    assert!(node.rows.rows.lock().unwrap().is_empty());
    browser.cookies = stolen;
    assert_eq!(browser.get("/nodes").await.header("location"), "/login?next=/nodes");
}

#[tokio::test]
async fn login_leads_back_where_it_came_from_and_nowhere_else() {
    let (node, _) = signed_in().await;
    for (next, to) in [
        ("/failover", "/failover"),
        ("//evil.example", "/"),
        ("http://evil.example", "/"),
        ("", "/"),
    ] {
        let mut browser = Browser::new(&node);
        let pairs = [("username", "admin"), ("password", PASSWORD), ("next", next)];
        let answer = browser.post("/login", "/login", &pairs).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, to), "{next}");
    }
}

#[tokio::test]
async fn wrong_passwords_are_slowed_down_and_never_locked_out() {
    let (node, _) = signed_in().await;
    let mut browser = Browser::new(&node);
    let mut seen = Vec::new();
    for _ in 0..8 {
        let answer = browser.login("wrong password").await;
        seen.push(answer.status.as_u16());
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u64>().unwrap() <= 61);
        }
    }
    assert_eq!(seen, [401, 401, 401, 401, 401, 429, 429, 429]);
    let basic_too = Request::get("/metrics").header("authorization", basic("wrong password"));
    assert_eq!(browser.send(basic_too, Body::empty()).await.status, 429);
    let other_user =
        browser.post("/login", "/login", &[("username", "root"), ("password", PASSWORD)]).await;
    assert_eq!(other_user.status, 429);
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let (node, mut mine) = signed_in().await;
    let mut other = Browser::new(&node);
    other.router = mine.router.clone();
    other.login(PASSWORD).await;
    assert_eq!(other.get("/").await.status, 200);
    let old_id = mine.cookies["bramble_sid"].clone();
    let new = "quite another";
    let wrong = [("old", "not this one"), ("password", new), ("again", new)];
    assert_eq!(mine.post("/password", "/password", &wrong).await.status, 422);
    assert_eq!(other.get("/").await.status, 200);
    let right = [("old", PASSWORD), ("password", new), ("again", new)];
    let done = mine.post("/password", "/password", &right).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "/more?password=1"));
    assert_eq!(mine.get("/").await.status, 200);
    assert_ne!(mine.cookies["bramble_sid"], old_id);
    assert_eq!(other.get("/").await.status, 303);
    let request = |p: &str| Request::get("/metrics").header("authorization", basic(p));
    assert_eq!(other.send(request(PASSWORD), Body::empty()).await.status, 401);
    assert_eq!(other.send(request(new), Body::empty()).await.status, 200);
}

#[tokio::test]
async fn a_password_set_from_outside_ends_sessions_too() {
    let (node, mut browser) = signed_in().await;
    let hash = webui::hash_password("from the console").unwrap();
    webui::Credentials::set_password_hash(&*node.password, &hash).unwrap();
    // The stored hash is looked at once a second.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while browser.get("/").await.status == 200 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(browser.login("from the console").await.status, 303);
}

#[tokio::test]
async fn reading_pages_writes_no_sessions() {
    let (node, mut browser) = signed_in().await;
    let before = node.rows.saves.load(Ordering::Relaxed);
    for _ in 0..20 {
        assert_eq!(browser.get("/").await.status, 200);
    }
    assert_eq!(node.rows.saves.load(Ordering::Relaxed), before);
    let mut stranger = Browser::new(&node);
    for path in ["/", "/login", "/metrics", "/nowhere"] {
        stranger.get(path).await;
    }
    assert_eq!(node.rows.saves.load(Ordering::Relaxed), before, "and strangers get none");
}

#[tokio::test]
async fn damaged_sessions_are_over() {
    let (node, mut browser) = signed_in().await;
    for row in node.rows.rows.lock().unwrap().values_mut() {
        row.credential = "garbage".to_owned();
    }
    assert_eq!(browser.get("/").await.status, 303);
    for cookie in ["", "x", "%00", &"A".repeat(5000), "\"quoted\"", "-1"] {
        browser.cookies.insert("bramble_sid".into(), cookie.to_owned());
        assert_eq!(browser.get("/").await.status, 303, "{cookie}");
    }
}

#[tokio::test]
async fn programs_sign_in_with_basic_and_are_remembered() {
    let (node, _) = signed_in().await;
    let mut program = Browser::new(&node);
    let started = std::time::Instant::now();
    for _ in 0..50 {
        let request = Request::get("/metrics").header("authorization", basic(PASSWORD));
        assert_eq!(program.send(request, Body::empty()).await.status, 200);
    }
    let fifty = started.elapsed();
    let started = std::time::Instant::now();
    webui::hash_password(PASSWORD).unwrap();
    assert!(fifty < started.elapsed() * 25, "50 scrapes do not cost 50 hashes: {fifty:?}");
    for bad in ["Bearer abc", "Basic", "Basic !!!", "Basic YWRtaW4=", "basic", "Digest x"] {
        let request = Request::get("/metrics").header("authorization", bad);
        let answer = program.send(request, Body::empty()).await;
        assert_eq!(answer.status, 401, "{bad}");
        assert!(answer.header("www-authenticate").starts_with("Basic "));
    }
    let page = Request::get("/nodes").header("authorization", basic(PASSWORD));
    assert_eq!(program.send(page, Body::empty()).await.status, 401, "pages are for sessions");
    assert!(program.cookies.is_empty(), "programs get no session");
}

#[tokio::test]
async fn htmx_is_led_to_the_login_page() {
    let (node, _) = signed_in().await;
    let mut stranger = Browser::new(&node);
    let request = Request::post("/failover/VI_1").header("hx-request", "true");
    let answer = stranger.send(request.header("accept", "text/html"), Body::empty()).await;
    assert_eq!((answer.status.as_u16(), answer.header("hx-redirect")), (401, "/login"));
}

#[tokio::test]
async fn a_node_that_lost_its_settings_says_so_before_it_is_claimed() {
    let node = support::node("lbmaster", support::demo::settings());
    node.board.notice("database-damaged", "The database was damaged and <set> aside.");
    let page = Browser::new(&node).get("/claim").await;
    assert!(page.text().contains("The database was damaged and &#60;set&#62; aside."));
}

#[tokio::test]
async fn a_notice_of_the_cluster_stands_on_every_page_until_somebody_has_seen_it() {
    let (node, mut browser) = signed_in().await;
    let key = format!("{}web01", webui::NOTICE);
    let text = "On Web01 a file <let> somebody in.".to_owned();
    node.control.share(&key, Some(text), control::Author::Local, "a file").await.unwrap();
    for path in ["/", "/nodes", "/more"] {
        let page = browser.get(path).await;
        assert!(page.text().contains("On Web01 a file &#60;let&#62; somebody in."), "{path}");
    }
    let seen = browser.post("/more", "/notices/web01/dismiss", &[]).await;
    assert_eq!(seen.status, 303);
    assert!(!browser.get("/").await.text().contains("somebody in"));
    assert_eq!(node.control.shared(&key), None, "on every node");
    assert_eq!(browser.post("/more", "/notices/web01/dismiss", &[]).await.status, 404);
    // No other shared value is taken away by this.
    node.control
        .share("admin.password", Some("x".into()), control::Author::Local, "p")
        .await
        .unwrap();
    assert_eq!(
        browser.post("/more", "/notices/..%2Fadmin.password/dismiss", &[]).await.status,
        404
    );
    assert_eq!(node.control.shared("admin.password").as_deref(), Some("x"));
}
