//! `/stats` and `/metrics`, as programs read them.

use crate::browser::{Browser, PASSWORD, basic};
use crate::support;
use axum::body::Body;
use http::Request;
use model::statistics::{Answer, Asked};

async fn get(browser: &mut Browser, path: &str) -> crate::browser::Answer {
    let request = Request::get(path).header("authorization", basic(PASSWORD));
    browser.send(request, Body::empty()).await
}

async fn node(id: &str) -> (support::Node, Browser) {
    let node = support::node(id, support::demo::settings());
    let mut browser = Browser::new(&node);
    browser.claim().await;
    browser.cookies.clear();
    (node, browser)
}

#[tokio::test]
async fn suffixes_as_haproxy_takes_them() {
    let (_node, mut program) = node("lbmaster").await;
    for path in [
        "/stats;csv",
        "/stats?;csv",
        "/stats;csv;norefresh",
        "/stats;norefresh;csv",
        "/stats?stats;csv",
        "/stats;csv?x",
    ] {
        let answer = get(&mut program, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-type").starts_with("text/plain"), "{path}");
        assert!(answer.text().starts_with("# pxname,svname,qcur,qmax,scur,"), "{path}");
        assert_eq!(answer.text().lines().count(), 7, "{path}");
    }
    let json = get(&mut program, "/stats;json").await;
    assert_eq!(json.header("content-type"), "application/json");
    assert_eq!(json.json()[0][0]["field"]["name"], "pxname");
    let html = get(&mut program, "/stats").await;
    assert!(html.text().contains("web01-eth") && html.text().contains("LbTot"));
    let scoped = get(&mut program, "/stats;csv;scope=http").await;
    assert_eq!(scoped.text().lines().count(), 2);
    assert_eq!(get(&mut program, "/statsx").await.status, 401, "not a page of programs");
}

#[tokio::test]
async fn servers_that_are_down_can_be_left_out() {
    let (node, mut program) = node("lbmaster").await;
    node.board.provide(|status| {
        for b in status.proxy.iter_mut().flat_map(|p| &mut p.backends) {
            b.servers[0].health = model::status::Health::Down;
            b.servers[1].state = model::ServerState::Maint;
        }
    });
    assert_eq!(get(&mut program, "/stats;csv").await.text().lines().count(), 7);
    assert_eq!(get(&mut program, "/stats;csv;no-maint").await.text().lines().count(), 6);
    assert_eq!(get(&mut program, "/stats;up;csv").await.text().lines().count(), 5);
}

#[tokio::test]
async fn a_web_node_has_empty_tables_and_says_so() {
    let (_node, mut program) = node("web01").await;
    assert_eq!(get(&mut program, "/stats;csv").await.text().lines().count(), 1);
    assert_eq!(get(&mut program, "/stats;json").await.text(), "[]");
    let page = get(&mut program, "/stats").await;
    assert!(page.text().contains("no load balancer") && page.text().contains("LbMaster, LbSlave"));
    let metrics = get(&mut program, "/metrics").await;
    assert!(
        metrics.text().contains("bramble_mirror_state")
            && !metrics.text().contains("haproxy_server_")
    );
}

#[tokio::test]
async fn the_admin_form_does_what_haproxys_does() {
    let (node, mut browser) = crate::browser::signed_in().await;
    let settings = || node.control.snapshot().effective.backends[0].servers.clone();
    let both = [("b", "webservers"), ("s", "web01-eth"), ("s", "web02-eth")];
    for (action, state, health) in [
        ("drain", model::ServerState::Drain, model::ServerHealth::Checked),
        ("maint", model::ServerState::Maint, model::ServerHealth::Checked),
        ("ready", model::ServerState::Ready, model::ServerHealth::Checked),
        ("hdown", model::ServerState::Ready, model::ServerHealth::Down),
        ("hnolb", model::ServerState::Ready, model::ServerHealth::Stopping),
        ("ehlth", model::ServerState::Ready, model::ServerHealth::Checked),
        ("dhlth", model::ServerState::Ready, model::ServerHealth::Up),
    ] {
        let mut pairs = both.to_vec();
        pairs.push(("action", action));
        let answer = browser.post("/stats", "/stats", &pairs).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/stats;st=DONE"));
        for s in settings() {
            let meant = ["web01-eth", "web02-eth"].contains(&s.name.as_str());
            assert!(!meant || (s.state, s.health) == (state, health), "{action} {s:?}");
        }
    }
    let page = browser.get("/stats;st=DONE").await;
    assert!(page.text().contains("Action processed successfully."));
    assert!(!browser.get("/stats;st=%3Cscript%3E").await.text().contains("<script>"));
    for (pairs, code) in [
        (&[("b", "#2"), ("s", "web01-eth"), ("action", "ready")][..], "NONE"),
        (&[("b", "#2"), ("s", "web01-eth"), ("s", "no"), ("action", "drain")], "PART"),
        (&[("b", "webservers"), ("action", "drain")], "ERRP"),
        (&[("b", "webservers"), ("s", "web01-eth")], "ERRP"),
        (&[("b", "webservers"), ("s", "web01-eth"), ("action", "explode")], "UNKN"),
        (&[("b", "nobody"), ("s", "web01-eth"), ("action", "drain")], "UNKN"),
        (&[("b", "webservers"), ("s", "nobody"), ("action", "drain")], "UNKN"),
        (&[("b", "webservers"), ("s", "web01-eth"), ("action", "shutdown")], "DONE"),
        (&[("b", "webservers"), ("s", "web02-eth"), ("action", "shutdown")], "NONE"),
    ] {
        let answer = browser.post("/stats", "/stats", pairs).await;
        assert_eq!(answer.header("location"), format!("/stats;st={code}"), "{pairs:?}");
    }
    // Without the page's token nothing happens, whatever else is right.
    let before = settings();
    let pairs = [("b", "webservers"), ("s", "web01-eth"), ("action", "maint"), ("csrf", "x")];
    assert_eq!(browser.post_raw("/stats", &pairs).await.status, 403);
    assert_eq!(settings(), before);
}

#[tokio::test]
async fn queues_limits_and_agents_are_in_their_columns() {
    let (node, mut program) = node("lbmaster").await;
    node.board.provide(|status| {
        for b in status.proxy.iter_mut().flat_map(|p| &mut p.backends) {
            b.queue.qcur = 3;
            let s = &mut b.servers[0];
            (s.maxconn, s.maxqueue, s.effective_weight) = (20, 10, 0);
            (s.queue.qcur, s.queue.qmax) = (2, 9);
            let mut agent = model::status::AgentStatus::default();
            agent.check.check_status = "L7OK".to_owned();
            s.agent = Some(agent);
        }
    });
    let text = get(&mut program, "/stats;csv").await.text().to_owned();
    let names: Vec<&str> = text.lines().next().unwrap()[2..].split(',').collect();
    let line = |name: &str| -> Vec<String> {
        let found = text.lines().find(|l| l.starts_with(&format!("webservers,{name},")));
        found.unwrap().split(',').map(str::to_owned).collect()
    };
    let at =
        |row: &[String], field: &str| row[names.iter().position(|n| *n == field).unwrap()].clone();
    let server = line("web01-eth");
    for (field, want) in [
        ("qcur", "2"),
        ("qmax", "9"),
        ("slim", "20"),
        ("qlimit", "10"),
        ("weight", "0"),
        ("uweight", "1"),
        ("agent_status", "L7OK"),
        ("agent_desc", "Layer7 check passed"),
        ("mode", "http"),
    ] {
        assert_eq!(at(&server, field), want, "{field}");
    }
    assert_eq!(at(&line("BACKEND"), "qcur"), "5");
    let metrics = get(&mut program, "/metrics").await.text().to_owned();
    assert!(
        metrics
            .contains("haproxy_server_current_queue{proxy=\"webservers\",server=\"web01-eth\"} 2")
    );
}

#[tokio::test]
async fn typed_values_and_a_schema() {
    let (_node, mut program) = node("lbmaster").await;
    let typed = get(&mut program, "/stats;typed;norefresh").await;
    assert!(typed.header("content-type").starts_with("text/plain"));
    let first = typed.text().lines().next().unwrap();
    assert_eq!(first, "F.1.0.0.pxname.1:KNS:str:http-in");
    for line in typed.text().lines().filter(|l| !l.is_empty()) {
        let [key, tags, kind, _value] = line.splitn(4, ':').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        assert_eq!((key.split('.').count(), tags.len()), (6, 3), "{line}");
        assert!(["str", "u32", "u64", "s32"].contains(&kind), "{line}");
    }
    // Everything in JSON is what the schema says it may be.
    let schema = get(&mut program, "/stats;json-schema").await.json();
    let names = schema["definitions"]["field"]["properties"]["name"]["enum"].clone();
    assert_eq!(names.as_array().unwrap().len(), 103);
    let json = get(&mut program, "/stats;json;up").await.json();
    for item in json.as_array().unwrap().iter().flat_map(|l| l.as_array().unwrap()) {
        let properties = &schema["items"]["items"]["properties"];
        for key in item.as_object().unwrap().keys() {
            assert!(!properties[key].is_null(), "{key}");
        }
        assert!(names.as_array().unwrap().contains(&item["field"]["name"]));
        for tag in ["origin", "nature", "scope"] {
            let known = &schema["definitions"]["tags"]["properties"][tag]["enum"];
            assert!(known.as_array().unwrap().contains(&item["tags"][tag]), "{item}");
            assert_ne!(item["tags"][tag], "Unknown", "{item}");
        }
        let kind = item["value"]["type"].as_str().unwrap();
        assert_eq!(kind == "str", item["value"]["value"].is_string(), "{item}");
    }
}

#[tokio::test]
async fn the_page_loads_itself_without_keeping_the_session_alive() {
    let (node, mut browser) = crate::browser::signed_in().await;
    assert_eq!(browser.get("/stats").await.header("refresh"), "");
    change_admin(&node, |admin| admin.stats_refresh = Some(model::Millis(7_000))).await;
    let page = browser.get("/stats;up").await;
    assert_eq!(page.header("refresh"), "7; url=/stats;up;auto");
    assert!(page.text().contains("Disable refresh"));
    let still = browser.get("/stats;up;norefresh").await;
    assert_eq!(still.header("refresh"), "");
    assert!(still.text().contains("Enable refresh"));
    assert_eq!(browser.get("/stats;csv").await.header("refresh"), "");
    // A session that was last used a while ago: a load of the page by itself changes nothing of
    // it, and the operator's does.
    for row in node.rows.rows.lock().unwrap().values_mut() {
        row.unused_ms = 600_000;
    }
    let saves = || node.rows.saves.load(std::sync::atomic::Ordering::Relaxed);
    let old = saves();
    assert_eq!(browser.get("/stats;up;auto").await.status, 200);
    assert_eq!(saves(), old);
    assert_eq!(browser.get("/stats;up").await.status, 200);
    assert!(saves() > old);
}

async fn change_admin(node: &support::Node, edit: impl FnOnce(&mut model::Admin)) {
    let mut admin = node.control.snapshot().settings.admin.clone();
    edit(&mut admin);
    let author = control::Author::Operator("test".to_owned());
    let change = control::Change { base: None, author, edits: vec![model::Edit::PutAdmin(admin)] };
    node.control.submit(change).await.unwrap();
}

#[tokio::test]
async fn the_page_may_have_an_address_of_its_own() {
    let (node, mut program) = node("lbmaster").await;
    assert_eq!(get(&mut program, "/haproxy?stats;csv").await.status, 401, "no page of programs");
    change_admin(&node, |admin| admin.stats_uri = "/haproxy?stats".parse().ok()).await;
    for path in ["/haproxy?stats;csv", "/haproxy?stats;csv;norefresh", "/stats;csv"] {
        let answer = get(&mut program, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text().starts_with("# pxname,"), "{path}");
    }
    let page = get(&mut program, "/haproxy?stats;up").await;
    assert!(page.text().contains("/haproxy?stats;csv;norefresh"));
    assert!(page.text().contains("action=\"/haproxy?stats;up\""));
    assert_eq!(get(&mut program, "/haproxy").await.status, 401);
    assert_eq!(get(&mut program, "/haproxy?statsx").await.status, 401);
    // Nobody gets in there without a credential, or does anything without the token.
    let answer = program.get("/haproxy?stats;csv").await;
    assert_eq!(answer.status, 303);
    assert!(answer.header("location").starts_with("/login"));
    let mut browser = Browser::new(&node);
    browser.login(PASSWORD).await;
    let pairs = [("b", "webservers"), ("s", "web01-eth"), ("action", "drain")];
    assert_eq!(browser.post_raw("/haproxy?stats", &pairs).await.status, 403);
    let done = browser.post("/haproxy?stats", "/haproxy?stats;up", &pairs).await;
    assert_eq!(done.header("location"), "/haproxy?stats;up;st=DONE");
}

#[tokio::test]
async fn the_agents_actions_are_a_setting_of_the_server() {
    let (node, mut browser) = crate::browser::signed_in().await;
    for (action, agent) in [
        ("dagent", model::ServerAgent::Off),
        ("arunn", model::ServerAgent::Up),
        ("adown", model::ServerAgent::Down),
        ("eagent", model::ServerAgent::Asked),
    ] {
        let pairs = [("b", "webservers"), ("s", "web01-eth"), ("action", action)];
        let answer = browser.post("/stats", "/stats", &pairs).await;
        assert_eq!(answer.header("location"), "/stats;st=DONE");
        let snapshot = node.control.snapshot();
        let server = &snapshot.effective.backends[0].servers[0];
        assert_eq!((server.name.as_str(), server.agent), ("web01-eth", agent));
    }
}

#[tokio::test]
async fn tips_throttle_and_colours() {
    let (node, mut program) = node("lbmaster").await;
    node.board.provide(|status| {
        for b in status.proxy.iter_mut().flat_map(|p| &mut p.backends) {
            b.servers[0].throttle = Some(12);
            b.servers[1].backup = true;
            b.servers[1].check.check_health = 2;
            let mut agent = model::status::AgentStatus::default();
            agent.check.check_status = "L7STS".to_owned();
            agent.check.last_chk = "Layer7 wrong status: via agent : down (<b>)".to_owned();
            b.servers[2].health = model::status::Health::Down;
            b.servers[2].agent = Some(agent);
        }
    });
    let page = get(&mut program, "/stats").await;
    for part in [
        "<td>12%</td>",
        "<tr class=\"s-backup-going-down\">",
        "DOWN (agent)",
        "It says: Layer7 wrong status: via agent : down (&#60;b&#62;)",
        "Connect time: 12 / 1 ms",
        "2xx responses: 4,560 (95%)",
        "Reused connections: ",
    ] {
        assert!(page.text().contains(part), "{part}");
    }
}

#[tokio::test]
async fn charts_and_paths_for_programs_and_pages() {
    let (_node, mut browser) = crate::browser::signed_in().await;
    let all = browser.get("/api/v1/charts").await.json();
    assert_eq!(all["series"].as_array().unwrap().len(), 3);
    assert_eq!(all["series"][0]["seconds"].as_array().unwrap().len(), 300);
    let one = browser.get("/api/v1/charts?proxy=webservers&server=web01-eth").await.json();
    assert_eq!(one["series"].as_array().unwrap().len(), 1);
    let paths = browser.get("/api/v1/paths").await.json();
    assert_eq!(paths["frontends"][0]["top"][0]["path"], "/");
    let page = browser.get("/balancing").await;
    for part in [
        "<svg class=\"chart\"",
        "id=\"cf-http-in\"",
        "id=\"cb-webservers\"",
        "id=\"c-webservers-web01-eth\"",
        "Last 5 minutes: ",
        "Asked for most",
        "/wp-login.php",
    ] {
        assert!(page.text().contains(part), "{part}");
    }
}

/// The page of a frontend as the balancer asks for it.
fn asked(rest: &str, authorization: &str) -> Asked {
    Asked {
        frontend: "http-in".parse().unwrap(),
        home: "/haproxy?stats".to_owned(),
        rest: rest.to_owned(),
        form: false,
        authorization: authorization.to_owned(),
        from: [192, 0, 2, 7].into(),
        refresh: None,
    }
}

fn field<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

#[tokio::test]
async fn a_frontends_page_shows_everything_and_changes_nothing() {
    let (node, _) = node("lbmaster").await;
    let (_trigger, shutdown) = control::Shutdown::new();
    let page = webui::AdminPage::new(node.ports.clone(), shutdown).statistics();
    let good = basic(PASSWORD);
    let csv = page.answer(asked(";csv;norefresh", &good)).await;
    assert_eq!(csv.status, 200);
    assert!(text(&csv).starts_with("# pxname,svname,") && text(&csv).lines().count() == 7);
    assert_eq!(text(&page.answer(asked(";csv;scope=http", &good)).await).lines().count(), 2);
    let json = page.answer(asked(";json", &good)).await;
    assert_eq!(field(&json, "content-type"), Some("application/json"));
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&json.body).unwrap()[0][0]["field"]["name"],
        "pxname"
    );

    let html =
        page.answer(Asked { refresh: Some(model::Millis(7_000)), ..asked(";up", &good) }).await;
    assert_eq!(html.status, 200);
    assert_eq!(field(&html, "refresh"), Some("7; url=/haproxy?stats;up"));
    assert!(field(&html, "content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    assert_eq!(field(&html, "content-length"), None, "the balancer's affair");
    assert_eq!(field(&html, "set-cookie"), None, "there is no session");
    let shown = text(&html);
    for part in
        ["web01-eth", "LbTot", "/haproxy?stats;csv;norefresh", "/haproxy?stats;up;norefresh"]
    {
        assert!(shown.contains(part), "{part}");
    }
    // Nothing leads to the admin page's own addresses, and there is nothing to submit.
    for part in ["<form", "<input", "csrf", "href=\"/stats", "/static/", "<script"] {
        assert!(!shown.contains(part), "{part}");
    }
    let still =
        page.answer(Asked { refresh: Some(model::Millis(7_000)), ..asked(";norefresh", &good) });
    assert_eq!(field(&still.await, "refresh"), None);
    let style =
        shown.split("href=\"/haproxy?stats;style=").nth(1).unwrap().split('"').next().unwrap();
    let style = page.answer(asked(&format!(";style={style}"), &good)).await;
    assert_eq!(field(&style, "content-type"), Some("text/css; charset=utf-8"));
    assert!(text(&style).contains(".s-going-up"));

    let form = page.answer(Asked { form: true, ..asked(";up", &good) }).await;
    assert_eq!((form.status, field(&form, "location")), (303, Some("/haproxy?stats;up;st=DENY")));
    let told = text(&page.answer(asked(";st=DENY", &good)).await);
    assert!(told.contains("Nothing is changed here."));
}

#[tokio::test]
async fn a_frontends_page_is_closed_without_the_password() {
    let node = support::node("lbmaster", support::demo::settings());
    let (_trigger, shutdown) = control::Shutdown::new();
    let page = || webui::AdminPage::new(node.ports.clone(), shutdown.clone()).statistics();
    let nobody = page().answer(asked(";csv", &basic(PASSWORD))).await;
    assert_eq!(nobody.status, 401, "nobody has claimed this node");
    assert!(text(&nobody).contains("no password yet"));
    Browser::new(&node).claim().await;
    // The one that was asked before still remembers, for a second, that there was no password.
    let page = page();

    let closed = |answer: &Answer| {
        assert_eq!(answer.status, 401);
        assert!(field(answer, "www-authenticate").unwrap().starts_with("Basic realm="));
        assert!(!text(answer).contains("pxname"));
    };
    let mut guesser = asked(";csv", &basic("wrong password"));
    for given in [
        String::new(),
        "Basic !!!".to_owned(),
        "Digest x".to_owned(),
        "Bearer nothing".to_owned(),
        "a\nb".to_owned(),
    ] {
        closed(&page.answer(Asked { from: [192, 0, 2, 8].into(), ..asked(";csv", &given) }).await);
    }
    // Guesses are slowed down as they are on the admin page.
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(page.answer(guesser.clone()).await);
    }
    closed(&answers[0]);
    let slowed = answers.last().unwrap();
    assert_eq!(slowed.status, 429);
    assert!(field(slowed, "retry-after").is_some());
    guesser.authorization = basic(PASSWORD);
    assert_eq!(page.answer(guesser.clone()).await.status, 429, "the right one waits, too");
    guesser.from = [192, 0, 2, 9].into();
    assert_eq!(page.answer(guesser).await.status, 200);
}
