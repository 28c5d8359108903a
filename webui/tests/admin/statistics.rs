//! `/stats` and `/metrics`, as programs read them.

use crate::browser::{Browser, PASSWORD, basic};
use crate::support;
use axum::body::Body;
use http::Request;

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
