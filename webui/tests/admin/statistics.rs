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
