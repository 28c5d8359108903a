//! A form made by one node and sent to another, as when the floating IP moved in between.

use crate::browser::{Browser, signed_in};
use crate::support::{self, Node};
use control::{Author, Change};
use model::{Cluster, Edit, Settings};

async fn cluster(node: &Node, gateway: &str) {
    let mut cluster: Cluster = node.control.snapshot().settings.cluster.clone();
    cluster.gateway = gateway.parse().ok();
    let edits = vec![Edit::PutCluster(cluster)];
    node.control.submit(Change { base: None, author: Author::Local, edits }).await.unwrap();
}

/// Another node of the same cluster, with settings of its own and as many revisions.
async fn other(settings: Settings) -> (Node, Browser) {
    let node = support::node("lbslave", settings);
    let mut browser = Browser::new(&node);
    browser.claim().await;
    (node, browser)
}

fn typed(base: &str) -> [(&'static str, &str); 5] {
    [
        ("revision", base),
        ("floating_ip", "192.168.1.15/24"),
        ("gateway", "192.168.1.1"),
        ("dns", "192.168.1.9"),
        ("key", "(kept)"),
    ]
}

#[tokio::test]
async fn the_same_number_for_another_document_is_stale() {
    let (here, mut browser) = signed_in().await;
    cluster(&here, "192.168.1.98").await;
    let base = browser.get("/cluster").await.field("revision");
    let (there, mut next) = other(support::demo::settings()).await;
    cluster(&there, "192.168.1.99").await;
    assert!(base.starts_with("1-") && there.control.snapshot().revision.0 == 1, "{base}");
    let page = next.post("/cluster", "/cluster", &typed(&base)).await;
    assert_eq!(page.status, 409);
    assert!(page.text().contains("<b>192.168.1.99</b>"), "both values are shown");
    assert_eq!(there.control.snapshot().revision.0, 1);
    let again = page.field("revision");
    assert_eq!(next.post("/cluster", "/cluster", &typed(&again)).await.status, 303);
}

#[tokio::test]
async fn another_number_for_the_same_document_is_not() {
    let (here, mut browser) = signed_in().await;
    cluster(&here, "192.168.1.98").await;
    let base = browser.get("/cluster").await.field("revision");
    let (there, mut next) = other(support::demo::settings()).await;
    for gateway in ["192.168.1.2", "192.168.1.3", "192.168.1.98"] {
        cluster(&there, gateway).await;
    }
    let done = next.post("/cluster", "/cluster", &typed(&base)).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert_eq!(there.control.snapshot().revision.0, 4);
}

#[tokio::test]
async fn a_question_of_another_document_is_not_answered() {
    let (here, mut browser) = signed_in().await;
    cluster(&here, "192.168.1.98").await;
    let base = browser.get("/sites/default/remove").await.field("revision");
    let (there, mut next) = other(support::demo::settings()).await;
    cluster(&there, "192.168.1.99").await;
    let path = "/sites/default/remove";
    assert_eq!(next.post(path, path, &[("revision", base.as_str())]).await.status, 409);
    assert_eq!(there.control.snapshot().settings.sites.len(), 1);
}
