//! The page that says what is wrong.

use crate::browser::signed_in;
use model::status::Try;

#[tokio::test]
async fn what_is_wrong_stands_on_top_with_what_to_do() {
    let (node, mut browser) = signed_in().await;
    let page = browser.get("/diagnostics").await;
    assert_eq!(page.status, 200);
    for part in ["LbMaster: ", "Names (DNS)", "192.168.1.1 answers in 2 ms", "Failover (VRRP)"] {
        assert!(page.text().contains(part), "{part}");
    }
    node.trials.found.lock().unwrap().as_mut().unwrap().name_servers[0].answer = Try::Silent;
    let soon = browser.get("/diagnostics").await;
    assert!(!soon.text().contains("Nothing that goes by name works"), "tried a moment ago");
    let other = browser.get("/diagnostics?node=web02").await;
    let text = other.text();
    assert!(text.contains("Web02: 1 thing to mend"), "{text}");
    let (top, rest) = text.split_once("Everything that was looked at").unwrap();
    assert!(top.contains("Nothing that goes by name works") && rest.contains("Nothing that goes"));
    assert!(top.contains("aria-current=\"true\">Web02"));
    let asked: Vec<String> =
        node.trials.asked.lock().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["lbmaster", "web02"]);
}

#[tokio::test]
async fn a_node_that_cannot_be_asked_is_told_so() {
    let (node, mut browser) = signed_in().await;
    *node.trials.found.lock().unwrap() = Err("it does not answer".into());
    let page = browser.get("/diagnostics?node=web01").await;
    assert!(page.text().contains("could not be tried out. It does not answer."));
    assert!(page.text().contains("Cable and radio"), "what it reports is shown all the same");
    for nobody in ["/diagnostics?node=web09", "/diagnostics?node=../x", "/diagnostics?node=%00"] {
        assert_eq!(browser.get(nobody).await.status, 404, "{nobody}");
    }
}
