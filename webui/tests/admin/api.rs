//! The JSON API: every status code, and documents that must not get in.

use crate::browser::{Answer, Browser, PASSWORD, basic, signed_in};
use crate::support::Node;
use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

async fn ask(
    node: &Node,
    method: &str,
    path: &str,
    tag: Option<&str>,
    body: impl Into<Body>,
) -> Answer {
    let mut request =
        Request::builder().method(method).uri(path).header("authorization", basic(PASSWORD));
    if let Some(tag) = tag {
        request = request.header("if-match", tag);
    }
    Browser::new(node).send(request, body).await
}

const SETTINGS: &str = "/api/v1/settings";

async fn document(node: &Node) -> (Value, String) {
    let answer = ask(node, "GET", SETTINGS, None, Body::empty()).await;
    assert_eq!(answer.status, 200);
    (answer.json(), answer.header("etag").to_owned())
}

#[tokio::test]
async fn the_document_goes_out_masked_and_comes_back_whole() {
    let (node, _) = signed_in().await;
    let (mut doc, tag) = document(&node).await;
    assert_eq!(tag, "\"0\"");
    assert_eq!(doc["cluster"]["key"], model::MASK);
    doc["cluster"]["gateway"] = json!("192.168.1.254");
    let put = ask(&node, "PUT", SETTINGS, Some(&tag), doc.to_string()).await;
    assert_eq!((put.status.as_u16(), put.header("etag")), (200, "\"1\""), "{}", put.text());
    assert_eq!(put.json(), json!({"revision": 1, "changed": true}));
    let now = node.control.snapshot();
    assert_eq!(now.settings.cluster.gateway, "192.168.1.254".parse().ok());
    assert_eq!(now.settings.cluster.key.reveal(), "0123456789abcdef0123456789abcdef");
    let same = ask(&node, "PUT", SETTINGS, Some("\"1\""), doc.to_string()).await;
    assert_eq!(same.json(), json!({"revision": 1, "changed": false}));
    let any = ask(&node, "PUT", SETTINGS, Some("*"), doc.to_string()).await;
    assert_eq!(any.status, 200);
}

#[tokio::test]
async fn a_precondition_is_asked_for_and_kept() {
    let (node, _) = signed_in().await;
    let (mut doc, tag) = document(&node).await;
    doc["cluster"]["gateway"] = json!("192.168.1.254");
    let none = ask(&node, "PUT", SETTINGS, None, doc.to_string()).await;
    assert_eq!(none.status, 428);
    assert_eq!(ask(&node, "PUT", SETTINGS, Some(&tag), doc.to_string()).await.status, 200);
    doc["cluster"]["gateway"] = json!("192.168.1.253");
    for stale in [tag.as_str(), "W/\"1\"", "\"x\"", "1", "", "\"99\"", "\"18446744073709551616\""] {
        let answer = ask(&node, "PUT", SETTINGS, Some(stale), doc.to_string()).await;
        assert_eq!((answer.status.as_u16(), answer.header("etag")), (412, "\"1\""), "{stale}");
    }
    let listed = ask(&node, "PUT", SETTINGS, Some("\"0\", \"1\""), doc.to_string()).await;
    assert_eq!(listed.status, 200);
}

#[tokio::test]
async fn bad_documents_are_listed_and_change_nothing() {
    let (node, _) = signed_in().await;
    let (doc, tag) = document(&node).await;
    let broken = |change: fn(&mut Value)| {
        let mut doc = doc.clone();
        change(&mut doc);
        doc.to_string()
    };
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("unknown keys", broken(|d| d["cluster"]["gatway"] = json!("x")), &["cluster.gatway"]),
        (
            "wrong types",
            broken(|d| d["nodes"][0]["eth0"]["address"] = json!(7)),
            &["nodes[0].eth0.address"],
        ),
        (
            "two nodes with one address",
            broken(|d| d["nodes"][1]["eth0"]["address"] = json!("192.168.1.10/24")),
            &["nodes[1].eth0.address"],
        ),
        (
            "floating IP outside the subnet",
            broken(|d| d["cluster"]["floating_ip"] = json!("10.0.0.1/24")),
            &["cluster.floating_ip"],
        ),
        (
            "the admin port",
            broken(|d| {
                d["frontends"] =
                    json!([{"name": "f", "bind": ["*:1936"], "default_backend": "webservers"}])
            }),
            &["frontends[0].bind[0]"],
        ),
        (
            "several at once",
            broken(|d| {
                d["surprise"] = json!(1);
                d["cluster"]["dns"] = json!(["nonsense"]);
            }),
            &["surprise", "cluster.dns[0]"],
        ),
        ("not JSON", "{".to_owned(), &[""]),
        ("nothing", String::new(), &[""]),
        ("a list", "[]".to_owned(), &[""]),
        ("deep", "[".repeat(100_000), &[""]),
    ];
    for (what, body, paths) in cases {
        let answer = ask(&node, "PUT", SETTINGS, Some(&tag), body).await;
        assert_eq!(answer.status, 422, "{what}");
        let list = answer.json();
        let list = list.as_array().unwrap();
        for path in paths {
            let found = list.iter().find(|p| p["path"] == *path);
            let found = found.unwrap_or_else(|| panic!("{what}: {path} is not in {list:?}"));
            assert!(!found["problem"].as_str().unwrap().is_empty());
        }
        assert_eq!(node.control.snapshot().revision.0, 0, "{what}");
    }
}

#[tokio::test]
async fn large_documents_are_refused_early() {
    let (node, mut browser) = signed_in().await;
    let huge = vec![b'x'; 10_000_000];
    let answer = ask(&node, "PUT", SETTINGS, Some("\"0\""), huge.clone()).await;
    assert_eq!(answer.status, 413);
    let endless = ask(&node, "PUT", SETTINGS, Some("\"0\""), vec![b'x'; 40_000_000]).await;
    assert_eq!(endless.status, 413);
    // A form is smaller still.
    let token = browser.get("/more").await.field("csrf");
    let request = Request::post("/nodes").header("x-csrf-token", token);
    assert_eq!(browser.send(request, vec![b'x'; 100_000]).await.status, 413);
    assert_eq!(node.control.snapshot().revision.0, 0);
}

#[tokio::test]
async fn servers_are_patched() {
    let (node, _) = signed_in().await;
    let path = "/api/v1/backends/webservers/servers/web01-eth";
    let answer = ask(&node, "PATCH", path, None, r#"{"state": "drain", "weight": 7}"#).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (200, json!({"revision": 1, "changed": true}))
    );
    let server = node.control.snapshot().effective.backends[0].servers[0].clone();
    assert_eq!((server.state, server.weight.get()), (model::ServerState::Drain, 7));
    for (body, path_of_problem) in [
        (r#"{"state": "drained"}"#, "state"),
        (r#"{"state": 1}"#, "state"),
        (r#"{"weight": 257}"#, "weight"),
        (r#"{"weight": -1}"#, "weight"),
        (r#"{"weight": 1.5}"#, "weight"),
        (r#"{"weight": "1"}"#, "weight"),
        (r#"{"weight": 1, "wieght": 2}"#, "wieght"),
        ("{}", ""),
        ("[]", ""),
        ("", ""),
        ("null", ""),
    ] {
        let answer = ask(&node, "PATCH", path, None, body).await;
        assert_eq!(answer.status, 422, "{body}");
        assert_eq!(answer.json()[0]["path"], path_of_problem, "{body}");
    }
    for missing in [
        "/api/v1/backends/webservers/servers/web09",
        "/api/v1/backends/x/servers/web01-eth",
        "/api/v1/backends/%20/servers/%00",
    ] {
        assert_eq!(
            ask(&node, "PATCH", missing, None, r#"{"weight": 1}"#).await.status,
            404,
            "{missing}"
        );
    }
    assert_eq!(node.control.snapshot().revision.0, 1);
}

#[tokio::test]
async fn failover_answers_with_the_gap_or_the_reason() {
    let (node, _) = signed_in().await;
    let path = "/api/v1/vrrp/VI_1/failover";
    let answer = ask(&node, "POST", path, None, Body::empty()).await;
    assert_eq!(
        answer.json(),
        json!({"name": "VI_1", "holder": "192.168.1.12", "holder_name": "LbSlave", "gap_ms": 1.4})
    );
    *node.failover.answer.lock().unwrap() = Err("no other balancer answers".into());
    let answer = ask(&node, "POST", path, None, Body::empty()).await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json(), json!({"error": "No other balancer answers."}));
    assert_eq!(
        ask(&node, "POST", "/api/v1/vrrp/VI_9/failover", None, Body::empty()).await.status,
        404
    );
}

#[tokio::test]
async fn status_has_what_the_pages_show() {
    let (node, _) = signed_in().await;
    let status = ask(&node, "GET", "/api/v1/status", None, Body::empty()).await.json();
    assert_eq!(status["node"], "lbmaster");
    assert_eq!(status["healthy"], true);
    assert_eq!(status["vrrp"][0]["holder"]["name"], "LbMaster");
    assert_eq!(status["vrrp"][0]["addresses"], json!(["192.168.1.15/24"]));
    assert_eq!(status["nodes"].as_array().unwrap().len(), 4);
    let own = &status["nodes"][0]["status"];
    assert_eq!(own["proxy"]["backends"][0]["servers"].as_array().unwrap().len(), 4);
    assert_eq!(own["subsystems"]["proxy"]["state"]["is"], "applied");
    let mirror =
        status["nodes"].as_array().unwrap().iter().find(|n| n["status"]["id"] == "web02").unwrap();
    assert_eq!(mirror["status"]["mirror"][0]["phase"]["is"], "following");
}

#[tokio::test]
async fn sessions_use_the_api_with_their_token() {
    let (node, mut browser) = signed_in().await;
    assert_eq!(browser.get(SETTINGS).await.status, 200);
    let path = "/api/v1/backends/webservers/servers/web01-eth";
    let without = browser.send(Request::patch(path), r#"{"weight": 3}"#).await;
    assert_eq!(without.status, 403);
    let token = browser.get("/more").await.field("csrf");
    let with =
        browser.send(Request::patch(path).header("x-csrf-token", token), r#"{"weight": 3}"#).await;
    assert_eq!((with.status.as_u16(), node.control.snapshot().revision.0), (200, 1));
}
