//! One node's page, wherever it is open, and what is done with that node from there.

use crate::browser::signed_in;
use crate::support::{self, Node};
use model::action::{Action, Reply};
use model::status::{LinkStatus, NetworkTrial, TrialState};
use model::{NodeId, ServerState};

fn id(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn asked(node: &Node) -> Vec<(String, Action)> {
    let asked = std::mem::take(&mut *node.others.asked.lock().unwrap());
    asked.into_iter().map(|(node, _, action)| (node.to_string(), action)).collect()
}

#[tokio::test]
async fn every_node_has_a_page_with_its_values_and_buttons() {
    let (_node, mut browser) = signed_in().await;
    let page = browser.get("/nodes/web01").await;
    let text = page.text();
    for words in ["Web01", "192.168.1.10", "48.3", "Take no new visitors", "webservers/web01-eth"] {
        assert!(text.contains(words), "{words}");
    }
    assert!(text.contains("In sync 4/4"), "on every page");
    let page = browser.get("/nodes/lbslave").await;
    assert!(page.text().contains("It holds no floating IP"), "a button that is off says why");
    let page = browser.get("/nodes/lbmaster").await;
    assert!(page.text().contains("Hand 192.168.1.15 to LbSlave"));
    assert!(page.text().contains("Open this page on another node to remove this one"));
    assert_eq!(browser.get("/nodes/nobody").await.status, 404);
}

#[tokio::test]
async fn a_node_out_of_reach_keeps_its_last_values() {
    let (node, mut browser) = signed_in().await;
    let lost = async {
        while node.board.nodes().iter().any(|n| n.reachable && n.status.id == id("web02")) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), lost).await.unwrap();
    let page = browser.get("/nodes/web02").await;
    let text = page.text();
    assert!(text.contains("Last seen") && text.contains("class=\"aged\""), "{text}");
    assert!(text.contains("48.3"), "the values it had");
    assert!(text.contains("Web02 cannot be reached at this moment"));
    assert!(text.contains("away</span>"), "and the badge says so");
    let part = browser.get("/nodes/web02/state").await;
    assert!(part.text().contains("Last seen") && !part.text().contains("<html"));
}

#[tokio::test]
async fn a_web_server_is_drained_and_readied_as_one_change() {
    let (node, mut browser) = signed_in().await;
    let states = || -> Vec<ServerState> {
        let snapshot = node.control.snapshot();
        let servers = snapshot.effective.backends[0].servers.iter();
        servers.filter(|s| s.node == Some(id("web01"))).map(|s| s.state).collect()
    };
    let done = browser.post("/nodes/web01", "/nodes/web01/drain", &[]).await;
    assert_eq!(done.header("location"), "/nodes/web01?saved=1");
    assert_eq!(states(), [ServerState::Drain, ServerState::Drain]);
    assert!(browser.get("/nodes/web01").await.text().contains("Take visitors again"));
    let done = browser.post("/nodes/web01", "/nodes/web01/ready", &[]).await;
    assert_eq!(done.header("location"), "/nodes/web01?saved=2");
    assert_eq!(states(), [ServerState::Ready, ServerState::Ready]);
    let none = browser.post("/nodes/lbslave", "/nodes/lbslave/drain", &[]).await;
    assert_eq!(none.status, 409);
}

#[tokio::test]
async fn what_stops_a_board_is_meant() {
    let (node, mut browser) = signed_in().await;
    let path = "/nodes/web02/do/reboot";
    let ask = browser.get(path).await;
    assert!(ask.text().contains("Restart Web02?") && ask.text().contains("Type Web02 to confirm"));
    let short = browser.post(path, path, &[]).await;
    assert_eq!(short.status, 422, "a tap alone does nothing");
    let wrong = browser.post(path, path, &[("confirm", "Web01")]).await;
    assert_eq!(wrong.status, 422);
    assert_eq!(asked(&node), []);
    let done = browser.post(path, path, &[("confirm", " web02 ")]).await;
    assert_eq!(done.header("location"), "/nodes/web02?done=reboot");
    assert_eq!(asked(&node), [("web02".to_owned(), Action::Reboot)]);
    let off = "/nodes/web02/do/poweroff";
    let done = browser.post(off, off, &[("held", "yes")]).await;
    assert_eq!(done.status, 303);
    assert_eq!(asked(&node), [("web02".to_owned(), Action::PowerOff)]);
    assert_eq!(node.system.orders.lock().unwrap().len(), 0, "not this board");
    *node.others.answer.lock().unwrap() = Err("Web02 is installing a firmware".to_owned());
    let refused = browser.post(path, path, &[("held", "yes")]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("Web02 is installing a firmware."));
    assert_eq!(browser.get("/nodes/web02/do/dance").await.status, 404);
    let own = "/nodes/lbmaster/do/reboot";
    let done = browser.post(own, own, &[("held", "yes")]).await;
    assert_eq!(done.status, 202, "the page waits for its own board");
    assert_eq!(*node.system.orders.lock().unwrap(), ["reboot"]);
}

#[tokio::test]
async fn light_and_log_come_from_where_they_are() {
    let (node, mut browser) = signed_in().await;
    let done = browser.post("/nodes/web01", "/nodes/web01/blink", &[]).await;
    assert_eq!(done.header("location"), "/nodes/web01?done=blink");
    let lines = vec!["older <b>".to_owned(), "newer".to_owned()];
    *node.others.answer.lock().unwrap() = Ok(Reply::Lines(lines));
    let page = browser.get("/nodes/web01/log").await;
    let text = page.text();
    assert!(text.find("newer") < text.find("older") && !text.contains("older <b>"), "{text}");
    let asked: Vec<Action> = asked(&node).into_iter().map(|(_, action)| action).collect();
    assert_eq!(asked, [Action::Blink { seconds: 20 }, Action::Logs { lines: 300 }]);
    *node.others.answer.lock().unwrap() = Err("web01 does not answer".to_owned());
    assert!(browser.get("/nodes/web01/log").await.text().contains("Web01 does not answer"));
    browser.post("/nodes/lbmaster", "/nodes/lbmaster/blink", &[]).await;
    assert_eq!(*node.system.orders.lock().unwrap(), ["blink 20"], "this board itself");
}

#[tokio::test]
async fn the_floating_ip_is_handed_over_by_who_holds_it() {
    let (node, mut browser) = signed_in().await;
    let path = "/nodes/lbmaster/failover/VI_1";
    let ask = browser.get(path).await;
    assert!(ask.text().contains("handed over to LbSlave first"), "{}", ask.text());
    assert_eq!(browser.post(path, path, &[]).await.status, 422);
    let done = browser.post(path, path, &[("held", "yes")]).await;
    assert_eq!(done.header("location"), "/nodes/lbmaster?done=failover");
    *node.failover.answer.lock().unwrap() = Err("no standby is ready".to_owned());
    let refused = browser.post(path, path, &[("confirm", "LbMaster")]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("No standby is ready"));
}

#[tokio::test]
async fn a_node_is_replaced_from_another_ones_page() {
    let (_node, mut browser) = signed_in().await;
    let there = browser.get("/nodes/web02/replace").await;
    assert_eq!(there.header("location"), "/found?as=web02");
    assert_eq!(browser.get("/nodes/lbmaster/replace").await.status, 409, "not from its own");
}

#[tokio::test]
async fn a_new_address_is_kept_by_who_got_through() {
    let (node, mut browser) = signed_in().await;
    assert!(!browser.get("/").await.text().contains("is being tried"));
    node.board.provide(|status| {
        let trial = NetworkTrial {
            from: "192.168.1.14/24".to_owned(),
            to: "192.168.1.44/24".to_owned(),
            address: Some([192, 168, 1, 44].into()),
            state: TrialState::Trying {
                seconds_left: 63,
                reached_by: None,
                waits_for: "another node, or you".to_owned(),
            },
        };
        status.links[0] = LinkStatus { trial: Some(trial), ..status.links[0].clone() };
    });
    for path in ["/", "/network", "/nodes"] {
        let page = browser.get(path).await;
        assert!(page.text().contains("63 s left"), "{path}");
    }
    let page = browser.get("/network").await;
    assert!(page.text().contains("http://192.168.1.44:1936/") && page.text().contains("Keep it"));
    let done = browser.post("/network", "/network/keep", &[]).await;
    assert_eq!(done.header("location"), "/network?kept=1");
    assert_eq!(*node.neighbours.orders.lock().unwrap(), ["keep through 0.0.0.0"]);
    node.neighbours.taken.lock().unwrap().push(([1, 1, 1, 1].into(), String::new()));
    let refused = browser.post("/network", "/network/keep", &[]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("the address before the change"));
}

#[tokio::test]
async fn every_page_knows_where_to_go_on() {
    let (_node, mut browser) = signed_in().await;
    let page = browser.get("/failover").await;
    let text = page.text();
    assert!(text.contains("data-continue=\"http://192.168.1.10:1936\""), "{text}");
    assert!(text.contains("Continue on Web01") && !text.contains("Continue on LbMaster"));
    let alone = support::node("pi-1", support::fresh("pi-1", "bramble-1"));
    let mut browser = crate::browser::Browser::new(&alone);
    browser.claim().await;
    assert!(!browser.get("/more").await.text().contains("data-continue"));
}
