//! Two halves of a cluster that changed the same things, and the way out.

use crate::browser::{Answer, Browser, signed_in};
use crate::support::{change, meet, other_half, split};
use model::{Edit, Settings};

fn hidden(text: &str, name: &str) -> String {
    let rest = text.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

async fn resolve(browser: &mut Browser, page: &Answer, choice: &str) -> Answer {
    let (key, change) = (hidden(page.text(), "key"), hidden(page.text(), "change"));
    let pairs = [("key", key.as_str()), ("change", change.as_str()), ("choice", choice)];
    browser.post("/more", "/conflicts/resolve", &pairs).await
}

fn gateway(settings: &Settings) -> String {
    settings.cluster.gateway.unwrap().to_string()
}

#[tokio::test]
async fn both_values_are_shown_and_either_can_be_chosen() {
    for (choice, same) in [("keep", true), ("theirs", false)] {
        let (node, mut browser) = signed_in().await;
        assert!(browser.get("/conflicts").await.text().contains("No conflicts"));
        assert!(!browser.get("/").await.text().contains("/conflicts"));
        let other = split(&node, true, false).await;
        assert!(browser.get("/").await.text().contains("1 setting was set differently"));
        let page = browser.get("/conflicts").await;
        let text = page.text();
        assert!(text.contains("192.168.1.2") && text.contains("192.168.1.3"), "{text}");
        assert!(text.contains("cluster gateway") && text.contains("on Web02"), "{text}");
        assert!(text.contains("192.168.1.51"), "who did it");
        let before = gateway(&node.control.snapshot().settings);
        let done = resolve(&mut browser, &page, choice).await;
        assert_eq!(done.status, 303, "{}", done.text());
        assert_eq!(done.header("location").split('?').next(), Some("/"), "nothing is left");
        let after = gateway(&node.control.snapshot().settings);
        assert_eq!(before == after, same);
        meet(&node.control, &other).await;
        assert_eq!(gateway(&other.snapshot().settings), after, "there as well");
        let again = resolve(&mut browser, &page, choice).await;
        assert_eq!(again.status, 409);
        assert!(again.text().contains("settled already"));
    }
}

#[tokio::test]
async fn changes_that_do_not_fit_together_ask_for_a_decision() {
    let (node, mut browser) = signed_in().await;
    split(&node, false, true).await;
    let address = |id: &str| {
        let settings = &node.control.snapshot().settings;
        settings.node(&id.parse().unwrap()).unwrap().eth0.address.unwrap().to_string()
    };
    assert_eq!((&*address("web01"), &*address("web02")), ("192.168.1.30/24", "192.168.1.11/24"));
    assert!(browser.get("/").await.text().contains("Two changes do not fit together"));
    let page = browser.get("/conflicts").await;
    let text = page.text();
    assert!(text.contains("192.168.1.30 is already the address of"), "{text}");
    assert!(text.contains("Web02, eth0 address") && text.contains("192.168.1.11/24"), "{text}");
    let key = hidden(text, "key");
    let done = browser.post("/more", "/conflicts/decide", &[("key", key.as_str())]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert_eq!(&*address("web02"), "192.168.1.11/24");
    assert!(browser.get("/conflicts").await.text().contains("No conflicts"));
    let again = browser.post("/more", "/conflicts/decide", &[]).await;
    assert_eq!(again.status, 409);
}

#[tokio::test]
async fn what_runs_can_be_kept_as_a_whole() {
    let (node, mut browser) = signed_in().await;
    let other = split(&node, false, true).await;
    let running = node.control.snapshot().settings.clone();
    let done = browser.post("/more", "/conflicts/decide", &[]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert_eq!(node.control.snapshot().settings, running);
    meet(&node.control, &other).await;
    assert_eq!(other.snapshot().settings.nodes, running.nodes, "and runs there, too");
}

#[tokio::test]
async fn what_another_node_calls_it_is_only_text() {
    let (node, mut browser) = signed_in().await;
    let other = other_half(&node).await;
    let author = control::Author::Operator("<script>alert(1)</script>".to_owned());
    for (control, name) in [(&node.control, "One"), (&other, "Two")] {
        let mut cluster = control.snapshot().settings.cluster.clone();
        cluster.name = name.parse().ok();
        let edits = vec![Edit::PutCluster(cluster)];
        let change = control::Change { base: None, author: author.clone(), edits };
        control.submit(change).await.unwrap();
    }
    meet(&node.control, &other).await;
    let page = browser.get("/conflicts").await;
    assert!(page.text().contains("alert(1)") && !page.text().contains("<script>alert"));
}

#[tokio::test]
async fn one_change_is_undone_and_no_other() {
    let (node, mut browser) = signed_in().await;
    let mut cluster = node.control.snapshot().settings.cluster.clone();
    cluster.gateway = "192.168.1.77".parse().ok();
    change(&node.control, Edit::PutCluster(cluster.clone())).await;
    let mut board = node.control.snapshot().settings.nodes[0].clone();
    board.name = "Renamed".parse().unwrap();
    change(&node.control, Edit::PutNode(board)).await;
    let page = browser.get("/history").await;
    assert!(page.text().contains("/history/1/undo") && page.text().contains("/history/2/undo"));
    cluster.gateway = "192.168.1.78".parse().ok();
    change(&node.control, Edit::PutCluster(cluster)).await;
    let refused = browser.post("/history", "/history/1/undo", &[]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("Nothing was taken back"), "{}", refused.text());
    let done = browser.post("/history", "/history/2/undo", &[]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let settings = node.control.snapshot().settings.clone();
    assert_eq!(settings.nodes[0].name.as_str(), "Web01");
    assert_eq!(gateway(&settings), "192.168.1.78", "the other change stays");
    assert_eq!(node.control.snapshot().revision.0, 4, "as a revision of its own");
}
