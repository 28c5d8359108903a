//! Every route, and everything that must not get through it.

use crate::browser::{Browser, HOST, signed_in};
use crate::support;
use axum::body::Body;
use http::Request;

/// Every route with its methods: pages first, then what programs may ask for.
const PAGES: &[(&str, &[&str])] = &[
    ("/", &["GET"]),
    ("/events?page=overview", &["GET"]),
    ("/password", &["GET", "POST"]),
    ("/again", &["GET", "POST"]),
    ("/audit", &["GET"]),
    ("/backup", &["GET"]),
    ("/diagnostics", &["GET"]),
    ("/admin", &["GET", "POST"]),
    ("/sessions", &["GET"]),
    ("/sessions/end", &["POST"]),
    ("/sessions/end-all", &["POST"]),
    ("/tokens", &["GET", "POST"]),
    ("/tokens/x/remove", &["POST"]),
    ("/more", &["GET"]),
    ("/found", &["GET"]),
    ("/found/look", &["POST"]),
    ("/found/adopt", &["POST"]),
    ("/found/confirm", &["POST"]),
    ("/found/cancel", &["POST"]),
    ("/found/blink", &["POST"]),
    ("/roles", &["GET", "POST"]),
    ("/roles/applied", &["GET"]),
    ("/nodes", &["GET", "POST"]),
    ("/nodes/new", &["GET"]),
    ("/nodes/web01", &["GET", "POST"]),
    ("/nodes/web01/edit", &["GET"]),
    ("/nodes/web01/drain", &["POST"]),
    ("/nodes/web01/ready", &["POST"]),
    ("/nodes/web01/blink", &["POST"]),
    ("/nodes/web01/log", &["GET"]),
    ("/nodes/web01/remove", &["GET", "POST"]),
    ("/nodes/web01/do/reboot", &["GET", "POST"]),
    ("/nodes/web01/failover/VI_1", &["GET", "POST"]),
    ("/conflicts", &["GET"]),
    ("/conflicts/resolve", &["POST"]),
    ("/conflicts/decide", &["POST"]),
    ("/network", &["GET"]),
    ("/network/keep", &["POST"]),
    ("/cluster", &["GET", "POST"]),
    ("/balancing", &["GET"]),
    ("/balancing/servers/webservers/web01-eth", &["POST"]),
    ("/balancing/frontends/new", &["GET", "POST"]),
    ("/balancing/frontends/http-in", &["GET", "POST"]),
    ("/balancing/frontends/http-in/remove", &["GET", "POST"]),
    ("/balancing/certificates", &["GET"]),
    ("/balancing/certificates/new", &["GET", "POST"]),
    ("/balancing/certificates/main", &["GET", "POST"]),
    ("/balancing/certificates/main/remove", &["GET", "POST"]),
    ("/balancing/backends/new", &["GET", "POST"]),
    ("/balancing/backends/webservers", &["GET", "POST"]),
    ("/balancing/backends/webservers/remove", &["GET", "POST"]),
    ("/balancing/backends/webservers/servers/new", &["GET", "POST"]),
    ("/balancing/backends/webservers/servers/web01-eth", &["GET", "POST"]),
    ("/balancing/backends/webservers/servers/web01-eth/remove", &["POST"]),
    ("/failover", &["GET"]),
    ("/failover/new", &["GET", "POST"]),
    ("/failover/VI_1", &["POST"]),
    ("/failover/VI_1/edit", &["GET", "POST"]),
    ("/failover/VI_1/remove", &["GET", "POST"]),
    ("/sites", &["GET"]),
    ("/sites/new", &["GET", "POST"]),
    ("/sites/default", &["GET", "POST"]),
    ("/sites/default/remove", &["GET", "POST"]),
    ("/sites/default/approve", &["GET", "POST"]),
    ("/history", &["GET"]),
    ("/history/1/revert", &["POST"]),
    ("/board", &["GET"]),
    ("/board/blink", &["POST"]),
    ("/board/reboot", &["GET", "POST"]),
    ("/board/poweroff", &["GET", "POST"]),
    ("/board/reset", &["GET", "POST"]),
    ("/firmware", &["GET", "POST"]),
    ("/log?q=vrrp", &["GET"]),
    ("/wifi", &["GET", "POST"]),
    ("/wifi/networks", &["GET"]),
    ("/wifi/join?ssid=home", &["GET", "POST"]),
    ("/wifi/new", &["GET"]),
    ("/wifi/edit?ssid=home", &["GET", "POST"]),
    ("/wifi/move?ssid=home", &["POST"]),
    ("/wifi/remove?ssid=home", &["GET", "POST"]),
    // Last, because it ends the session.
    ("/logout", &["POST"]),
];
const PROGRAMS: &[(&str, &[&str])] = &[
    ("/stats", &["GET", "POST"]),
    ("/stats;csv", &["GET"]),
    ("/stats;json;norefresh", &["GET"]),
    ("/metrics", &["GET"]),
    ("/api/v1/network/keep", &["POST"]),
    ("/api/v1/settings", &["GET", "PUT"]),
    ("/api/v1/status", &["GET"]),
    ("/api/v1/charts", &["GET"]),
    ("/api/v1/paths", &["GET"]),
    ("/api/v1/backends/webservers/servers/web01-eth", &["PATCH"]),
    ("/api/v1/vrrp/VI_1/failover", &["POST"]),
    ("/api/v1/sites/default/approve", &["POST"]),
    ("/api/v1/firmware", &["GET", "PUT"]),
    ("/api/v1/log", &["GET"]),
    ("/api/v1/audit", &["GET"]),
    ("/api/v1/nodes/web01/log", &["GET"]),
    ("/api/v1/nodes/web01/blink", &["POST"]),
    ("/api/v1/nodes/web01/reboot", &["POST"]),
    ("/api/v1/nodes/web01/poweroff", &["POST"]),
    ("/api/v1/reboot", &["POST"]),
    ("/api/v1/poweroff", &["POST"]),
    ("/api/v1/factory-reset", &["POST"]),
    // Parts of pages and a file, which are no pages.
    ("/log/lines", &["GET"]),
    ("/log.txt", &["GET"]),
    ("/wifi/state?part=wifi-state", &["GET"]),
];

/// Served by the fallback, which no line of the router names.
const BESIDE: &[(&str, &[&str])] = &[("/stats;csv", &["GET"]), ("/stats;json;norefresh", &["GET"])];
/// Open to everybody on purpose; each of them asks for something else, or has nothing to hide.
const OPEN: &[&str] =
    &["/static/{hash}/{name}", "/favicon.ico", "/healthz", "/login", "/claim", "/claim/asked"];

/// Every route of the router, read from its source so that none can be forgotten here, with its
/// methods and with something in the place of each parameter. What is open is left out.
fn routes() -> Vec<(String, Vec<&'static str>)> {
    let source = include_str!("../../src/router.rs");
    let mut all = Vec::new();
    for call in source.split(".route(").skip(1) {
        let path = call.split('"').nth(1).unwrap();
        // Up to the end of the call; the next one begins with its own `.route(`.
        let handlers = call.split(".merge(").next().unwrap();
        let methods: Vec<&'static str> = ["GET", "POST", "PUT", "PATCH", "DELETE"]
            .into_iter()
            .filter(|m| {
                let name = m.to_ascii_lowercase();
                handlers.match_indices(&format!("{name}(")).any(|(at, _)| {
                    !handlers[..at]
                        .ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':')
                })
            })
            .collect();
        assert!(!methods.is_empty(), "no method of {path} is understood");
        if !OPEN.contains(&path) {
            all.push((filled(path), methods));
        }
    }
    assert!(all.len() > 60, "{} routes only: is this still how the router is written?", all.len());
    all.extend(BESIDE.iter().map(|(p, m)| ((*p).to_owned(), m.to_vec())));
    // Last, because it ends the session.
    all.sort_by_key(|(path, _)| path == "/logout");
    all
}

/// A path with something of the reference cluster in the place of each parameter.
fn filled(path: &str) -> String {
    let kind = |path: &str| match path {
        p if p.starts_with("/balancing/frontends") => "http-in",
        p if p.starts_with("/balancing/backends") => "webservers",
        p if p.starts_with("/balancing/certificates") => "main",
        p if p.contains("/vrrp/") || p.contains("/failover/") => "VI_1",
        p if p.contains("/sites/") => "default",
        _ => "x",
    };
    let mut parts = Vec::new();
    for part in path.split('/') {
        parts.push(match part {
            "{id}" | "{node}" => "web01",
            "{backend}" => "webservers",
            "{server}" => "web01-eth",
            "{revision}" => "1",
            "{order}" => "reboot",
            p if p.starts_with('{') => kind(path),
            p => p,
        });
    }
    parts.join("/")
}

fn all() -> Vec<(String, &'static str)> {
    let with = |(path, methods): (String, Vec<&'static str>)| {
        methods.into_iter().map(move |m| (path.clone(), m)).collect::<Vec<_>>()
    };
    routes().into_iter().flat_map(with).collect()
}

#[test]
fn the_pages_that_are_looked_at_are_those_there_are() {
    let known = routes();
    for (path, methods) in PAGES.iter().chain(PROGRAMS) {
        let path = path.split('?').next().unwrap();
        let route = known.iter().find(|(p, _)| p == path);
        let (_, found) = route.unwrap_or_else(|| panic!("{path} is not in the router"));
        assert_eq!(found, methods, "{path}");
    }
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("accept", "text/html")
}

#[tokio::test]
async fn nothing_is_open_without_a_session() {
    let (node, _) = signed_in().await;
    let mut stranger = Browser::new(&node);
    for (path, method) in &all() {
        let html = stranger.send(request(method, path), Body::empty()).await;
        let plain =
            stranger.send(Request::builder().method(*method).uri(path), Body::empty()).await;
        assert_eq!(plain.status, 401, "{method} {path}");
        assert_eq!(plain.text(), "", "{method} {path}: nothing else is said");
        if path.starts_with("/api/") {
            assert_eq!(html.status, 401, "{method} {path}");
        } else {
            assert_eq!(html.status, 303, "{method} {path}");
            assert!(html.header("location").starts_with("/login"), "{method} {path}");
        }
    }
    assert_eq!(node.control.snapshot().revision.0, 0, "nothing was changed");
}

#[tokio::test]
async fn a_session_that_is_over_opens_nothing() {
    let (node, mut browser) = signed_in().await;
    let idle = u64::from(node.control.snapshot().settings.admin.session_idle.0 / 1000);
    let token = browser.get("/more").await.field("csrf");
    let cookies = browser.cookies.clone();
    support::end(&node, idle + 1);
    let rows = node.rows.rows.lock().unwrap().clone();
    for (path, method) in &all() {
        // A session that is found to be over is removed; each route is to find it so.
        node.rows.rows.lock().unwrap().clone_from(&rows);
        browser.cookies = cookies.clone();
        let over = request(method, path).header("x-csrf-token", &token);
        let answer = browser.send(over, Body::empty()).await;
        if path.starts_with("/api/") {
            assert_eq!(answer.status, 401, "{method} {path}");
        } else {
            assert_eq!(answer.status, 303, "{method} {path}");
            assert!(answer.header("location").starts_with("/login"), "{method} {path}");
        }
    }
    assert_eq!(node.control.snapshot().revision.0, 0, "nothing was changed");
    assert!(node.system.orders.lock().unwrap().is_empty(), "and nothing ordered");
}

/// A token that may only look, on every route there is.
#[tokio::test]
async fn a_token_that_may_only_look_changes_nothing() {
    let (node, mut browser) = signed_in().await;
    let made = [("name", "monitor"), ("scope", "read")];
    let page = browser.post("/tokens", "/tokens", &made).await;
    let text = page.text();
    let at = text.find("bramble_").unwrap_or_else(|| panic!("no token in {text}"));
    let token: String =
        text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
    let mut program = Browser::new(&node);
    let with = |method: &str, path: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
    };
    assert_eq!(program.send(with("GET", "/api/v1/status"), Body::empty()).await.status, 200);
    let orders = node.system.orders.lock().unwrap().len();
    for (path, method) in &all() {
        let answer = program.send(with(method, path), Body::empty()).await;
        let api = path.starts_with("/api/") || path.starts_with("/stats") || path == "/metrics";
        match (*method, api) {
            ("GET", true) => assert!(answer.status != 401 && answer.status != 403, "{path}"),
            (_, true) => assert_eq!(answer.status, 403, "{method} {path}"),
            (_, false) => assert_eq!(answer.status, 401, "{method} {path}: pages are for sessions"),
        }
    }
    assert_eq!(node.control.snapshot().revision.0, 0, "nothing was changed");
    assert_eq!(node.system.orders.lock().unwrap().len(), orders, "and nothing ordered");
}

#[tokio::test]
async fn unknown_paths_are_closed_too() {
    let (node, mut browser) = signed_in().await;
    let mut stranger = Browser::new(&node);
    for path in ["/nowhere", "/static", "/api/v2/settings", "/stats/x", "/nodes/", "//", "/login/x"]
    {
        assert_ne!(stranger.get(path).await.status, 200, "{path}");
        assert_eq!(stranger.send(Request::get(path), Body::empty()).await.status, 401, "{path}");
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_refused() {
    let (node, mut browser) = signed_in().await;
    let token = browser.get("/more").await.field("csrf");
    for (path, methods) in &routes() {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if !methods.contains(&method) {
                let request = request(method, path).header("x-csrf-token", &token);
                let answer = browser.send(request, Body::empty()).await;
                assert_eq!(answer.status, 405, "{method} {path}");
            }
        }
    }
    assert_eq!(node.control.snapshot().revision.0, 0);
}

#[tokio::test]
async fn changes_need_the_token_and_the_right_origin() {
    let (node, mut browser) = signed_in().await;
    let token = browser.get("/more").await.field("csrf");
    for (path, method) in &all() {
        if *method == "GET" {
            continue;
        }
        let no_token = browser.send(request(method, path), Body::empty()).await;
        assert_eq!(no_token.status, 403, "{method} {path} without a token");
        let other = request(method, path).header("x-csrf-token", "0".repeat(32));
        assert_eq!(
            browser.send(other, Body::empty()).await.status,
            403,
            "{method} {path} with another token"
        );
        for (name, value) in [
            ("origin", "http://evil.example"),
            ("origin", "http://192.168.1.14"),
            ("origin", "null"),
            ("referer", "http://192.168.1.14:8080/page"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let foreign = request(method, path).header("x-csrf-token", &token).header(name, value);
            let answer = browser.send(foreign, Body::empty()).await;
            assert_eq!(answer.status, 403, "{method} {path} with {name}: {value}");
        }
    }
    assert_eq!(node.control.snapshot().revision.0, 0, "nothing was changed");
    let (pages, programs) = (browser.get("/more").await, node.rows.rows.lock().unwrap().len());
    assert_eq!((pages.status.as_u16(), programs), (200, 1), "and the session is still there");
}

#[tokio::test]
async fn a_programs_request_from_a_foreign_page_is_refused() {
    let (node, _) = signed_in().await;
    let mut program = Browser::new(&node);
    let request = Request::post("/api/v1/vrrp/VI_1/failover")
        .header("authorization", crate::browser::basic(crate::browser::PASSWORD));
    let foreign =
        program.send(request.header("origin", "http://evil.example"), Body::empty()).await;
    assert_eq!(foreign.status, 403);
}

#[tokio::test]
async fn strange_names_are_refused_everywhere() {
    let (node, mut browser) = signed_in().await;
    for (path, method) in &all() {
        let rebound = request(method, path).header("host", "evil.example:1936");
        let answer = browser.send(rebound, Body::empty()).await;
        assert_eq!(answer.status, 421, "{method} {path}");
        assert!(answer.text().contains("Admin page"), "says what to do");
    }
    for (host, status) in [
        ("LbMaster.local:1936", 200),
        ("lbslave", 200),
        ("localhost:1936", 200),
        ("[::1]:1936", 200),
        ("10.1.2.3", 200),
        ("lbmaster.evil", 421),
        ("<script>alert(1)</script>", 421),
    ] {
        let answer = browser.send(Request::get("/more").header("host", host), Body::empty()).await;
        assert_eq!(answer.status, status, "{host}");
        assert!(!answer.text().contains("<script>alert"));
    }
    let twice = Request::get("/more").header("host", HOST).header("host", HOST);
    assert_eq!(browser.send(twice, Body::empty()).await.status, 400);
    let mut settings = node.control.snapshot().settings.admin.clone();
    settings.hosts.push("evil.example".into());
    let change = control::Change {
        base: None,
        author: control::Author::Local,
        edits: vec![model::Edit::PutAdmin(settings)],
    };
    node.control.submit(change).await.unwrap();
    let named = Request::get("/more").header("host", "evil.example:1936");
    assert_eq!(browser.send(named, Body::empty()).await.status, 200, "the page's advice helps");
}

#[tokio::test]
async fn every_answer_carries_the_headers() {
    let (node, mut browser) = signed_in().await;
    let mut stranger = Browser::new(&node);
    let css = browser
        .get("/more")
        .await
        .text()
        .split("rel=\"stylesheet\" href=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    for path in
        ["/", "/stats;csv", "/api/v1/status", "/nowhere", "/healthz", "/login", css.as_str()]
    {
        for who in [&mut browser, &mut stranger] {
            let a = who.get(path).await;
            let csp = a.header("content-security-policy");
            assert!(
                csp.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
                "{path}"
            );
            assert!(csp.contains("frame-ancestors 'none'") && !csp.contains("unsafe"), "{path}");
            assert_eq!(a.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(a.header("cross-origin-resource-policy"), "same-origin", "{path}");
            assert_eq!(a.header("referrer-policy"), "same-origin", "{path}");
            assert!(!a.header("cache-control").is_empty(), "{path}");
        }
    }
    let style = stranger.get(&css).await;
    assert_eq!(
        (style.status.as_u16(), style.header("content-type")),
        (200, "text/css; charset=utf-8")
    );
    assert!(style.header("cache-control").contains("immutable"));
    let again = Request::get(&css).header("if-none-match", style.header("etag").to_owned());
    let again = stranger.send(again, Body::empty()).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    let old = stranger.get("/static/0000000000000000/bramble.css").await;
    assert_eq!(old.header("cache-control"), "no-cache");
    assert_eq!(stranger.get("/static/x/..%2f..%2fCargo.toml").await.status, 404);
}

#[tokio::test]
async fn pages_have_no_inline_code_or_style() {
    let (_node, mut browser) = signed_in().await;
    for (path, _) in PAGES.iter().filter(|(p, m)| m.contains(&"GET") && !p.starts_with("/events")) {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        let text = page.text();
        for bad in
            ["<style", " style=", " onclick=", " onload=", "javascript:", "hx-on", "<script>"]
        {
            assert!(!text.contains(bad), "{path} has {bad}");
        }
        assert!(text.contains("<title>") && text.contains("lang=\"en\""), "{path}");
    }
}

#[tokio::test]
async fn healthz_is_open_and_honest() {
    let node = support::node("lbmaster", support::demo::settings());
    let mut anyone = Browser::new(&node);
    let good =
        anyone.send(Request::get("/healthz").header("host", "check.example"), Body::empty()).await;
    assert_eq!((good.status.as_u16(), good.text()), (200, "ok\n"));
    let head = anyone.send(Request::head("/healthz"), Body::empty()).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    node.board.provide(|status| {
        use model::status::{Subsystem, SubsystemState, SubsystemStatus};
        let state = SubsystemState::Degraded { reason: "port 80 is taken".into() };
        let revision = status.revision;
        status.subsystems.insert(Subsystem::Proxy, SubsystemStatus { revision, state });
    });
    let bad = anyone.get("/healthz").await;
    assert_eq!(bad.status, 503);
    assert_eq!(bad.text(), "load balancer: degraded: port 80 is taken\n");
    assert_eq!(anyone.send(Request::head("/healthz"), Body::empty()).await.status, 503);
}

/// The statistics' own address cannot hide a page, and a page added later is found here.
#[test]
fn every_page_is_reserved() {
    let source = include_str!("../../src/router.rs");
    for call in source.split(".route(").skip(1) {
        let path = call.split('"').nth(1).unwrap();
        let first = path.trim_start_matches('/').split('/').next().unwrap();
        let mut settings = support::demo::settings();
        let Ok(uri) = format!("/{first}/x").replace("//", "/").parse() else { continue };
        settings.admin.stats_uri = Some(uri);
        let taken =
            first.is_empty() || model::check(&settings).iter().any(|p| p.path == "admin.stats_uri");
        assert!(taken, "/{first} is a page; it must be in appliance/model/src/check/admin.rs");
    }
}
