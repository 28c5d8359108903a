//! Boards in reach, from the first visit to a claimed cluster of four.

use crate::browser::{Answer, Browser, PASSWORD, signed_in};
use crate::support::neighbours::{board, device};
use crate::support::{self, Node};
use model::status::{Asked, BoardTrust, JoinStep};
use std::time::Duration;

async fn first() -> (Node, Browser) {
    let node = support::node("pi-1", support::fresh("pi-1", "bramble-1"));
    support::neighbourhood(&node);
    let mut browser = Browser::new(&node);
    let typed = [("cluster", "Home"), ("password", PASSWORD), ("again", PASSWORD)];
    let done = browser.post("/claim", "/claim", &typed).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "/found?welcome=1"));
    (node, browser)
}

fn orders(node: &Node) -> Vec<String> {
    std::mem::take(&mut *node.neighbours.orders.lock().unwrap())
}

async fn press(browser: &mut Browser, path: &str, pairs: &[(&str, &str)]) -> Answer {
    browser.post("/found?welcome=1", path, pairs).await
}

#[tokio::test]
async fn claiming_makes_a_cluster() {
    let node = support::node("pi-1", support::fresh("pi-1", "bramble-1"));
    let mut browser = Browser::new(&node);
    let page = browser.get("/claim").await;
    assert_eq!(page.field("cluster"), "Bramble", "a name is there already");
    let typed = [("cluster", "not good"), ("password", PASSWORD), ("again", PASSWORD)];
    let again = browser.post("/claim", "/claim", &typed).await;
    assert_eq!(again.status, 422);
    assert!(again.text().contains("id=\"cluster-e\"") && again.field("cluster") == "not good");
    let typed = [("cluster", "Home"), ("password", "short"), ("again", "short")];
    let again = browser.post("/claim", "/claim", &typed).await;
    assert_eq!((again.status.as_u16(), again.field("cluster").as_str()), (422, "Home"));
    let typed = [("cluster", "Home"), ("password", PASSWORD), ("again", PASSWORD)];
    let done = browser.post("/claim", "/claim", &typed).await;
    assert_eq!(done.header("location"), "/found?welcome=1");
    let cluster = node.control.snapshot().settings.cluster.clone();
    assert_eq!(cluster.name.map(|n| n.to_string()).as_deref(), Some("Home"));
    assert_eq!(cluster.key.reveal().len(), 64, "a key for the nodes to come");
    let page = browser.get("/found?welcome=1").await;
    assert!(page.text().contains("No new boards in sight yet"), "says so, and what to do");
}

#[tokio::test]
async fn boards_of_the_batch_need_one_tap() {
    let (node, mut browser) = first().await;
    let page = browser.get("/found?welcome=1").await;
    let text = page.text();
    assert_eq!(text.matches("your card").count(), 2);
    assert_eq!(text.matches("type=\"checkbox\"").count(), 3);
    assert_eq!(text.matches(" checked").count(), 2, "those that need no code are ticked");
    assert!(text.contains("belongs to the cluster Garage") && text.contains("factory-reset"));
    assert!(text.contains("runs version 0.9.2"));
    let (one, two) = (device(1).to_string(), device(2).to_string());
    let pairs = [("welcome", "1"), ("device", one.as_str()), ("device", two.as_str())];
    let done = press(&mut browser, "/found/adopt", &pairs).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "/found?welcome=1"));
    let mut told = orders(&node);
    told.sort();
    assert_eq!(
        told,
        [
            "begin bramble-5eed01",
            "begin bramble-5eed02",
            "confirm bramble-5eed01",
            "confirm bramble-5eed02"
        ]
    );
    let page = browser.get("/found?welcome=1").await;
    assert_eq!(page.text().matches("is a node now").count(), 2);
    assert!(page.text().contains("href=\"/roles\""), "what comes next");
}

#[tokio::test]
async fn a_board_without_the_token_shows_a_code() {
    let (node, mut browser) = first().await;
    let three = device(3).to_string();
    press(&mut browser, "/found/adopt", &[("device", three.as_str())]).await;
    let page = browser.get("/found").await;
    let text = page.text();
    assert!(text.contains("412 908") && text.contains("flashes 4 times"), "{text}");
    assert!(text.contains("http://192.168.1.73:1936/"), "where the board shows it");
    assert_eq!(orders(&node), ["begin bramble-5eed03"], "nothing is confirmed by itself");
    press(&mut browser, "/found/blink", &[("this", three.as_str())]).await;
    press(&mut browser, "/found/confirm", &[("this", three.as_str())]).await;
    assert_eq!(orders(&node), ["blink bramble-5eed03", "confirm bramble-5eed03"]);
    assert!(browser.get("/found").await.text().contains("is a node now"));
}

#[tokio::test]
async fn another_code_ends_it() {
    let (node, mut browser) = first().await;
    let three = device(3).to_string();
    press(&mut browser, "/found/adopt", &[("device", three.as_str())]).await;
    press(&mut browser, "/found/cancel", &[("this", three.as_str())]).await;
    assert_eq!(orders(&node), ["begin bramble-5eed03", "cancel"]);
    let page = browser.get("/found").await;
    assert!(!page.text().contains("412 908") && page.text().contains("bramble-5eed03"));
}

#[tokio::test]
async fn a_failure_says_why_and_can_be_tried_again() {
    let (node, mut browser) = first().await;
    let why = "it holds no key: its card was copied from another board. Write the card anew";
    node.neighbours.fate.lock().unwrap().push(("bramble-5eed01".to_owned(), Err(why.to_owned())));
    let one = device(1).to_string();
    press(&mut browser, "/found/adopt", &[("device", one.as_str())]).await;
    let page = browser.get("/found").await;
    assert!(page.text().contains("its card was copied") && page.text().contains("Try again"));
    node.neighbours.fate.lock().unwrap().clear();
    press(&mut browser, "/found/adopt", &[("device", one.as_str())]).await;
    assert!(browser.get("/found").await.text().contains("is a node now"));
    let told = orders(&node);
    assert_eq!(
        told,
        ["begin bramble-5eed01", "cancel", "begin bramble-5eed01", "confirm bramble-5eed01"]
    );
}

#[tokio::test]
async fn nothing_ticked_changes_nothing() {
    let (node, mut browser) = first().await;
    let page = press(&mut browser, "/found/adopt", &[]).await;
    assert_eq!(page.status, 422);
    assert!(page.text().contains("tick the boards"));
    for strange in ["", "zz", "../../etc"] {
        let page = press(&mut browser, "/found/confirm", &[("this", strange)]).await;
        assert_eq!(page.status, 404, "{strange:?}");
    }
    assert_eq!(orders(&node), Vec::<String>::new());
}

#[tokio::test]
async fn an_address_can_be_looked_at() {
    let (node, mut browser) = first().await;
    let page = press(&mut browser, "/found/look", &[("address", "bramble.local")]).await;
    assert_eq!(page.status, 422);
    assert!(page.text().contains("id=\"address-e\"") && page.field("address") == "bramble.local");
    let page = press(&mut browser, "/found/look", &[("address", "192.168.1.99")]).await;
    assert!(page.status == 422 && page.text().contains("Nobody answers at 192.168.1.99"));
    let done = press(&mut browser, "/found/look", &[("address", " 192.168.1.80 ")]).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "/found"));
    assert!(browser.get("/found").await.text().contains("looked-at"));
    assert_eq!(orders(&node), ["look at 192.168.1.99", "look at 192.168.1.80"]);
}

#[tokio::test]
async fn a_board_takes_a_nodes_place() {
    let (node, mut browser) = signed_in().await;
    let new = board(1, "spare", BoardTrust::Card);
    node.neighbours.found.lock().unwrap().push(new.clone());
    let page = browser.get("/found?as=web02").await;
    assert!(page.text().contains("A new board for Web02") && page.field("as") == "web02");
    let (one, two) = (device(1).to_string(), device(2).to_string());
    let pairs = [("as", "web02"), ("device", one.as_str()), ("device", two.as_str())];
    assert_eq!(browser.post("/found?as=web02", "/found/adopt", &pairs).await.status, 422);
    let done = browser.post("/found?as=web02", "/found/adopt", &pairs[..2]).await;
    assert_eq!(done.header("location"), "/found?as=web02");
    assert_eq!(orders(&node), ["begin spare as web02", "confirm spare"]);
}

#[tokio::test]
async fn an_unclaimed_board_shows_who_wants_it() {
    let node = support::node("pi-1", support::fresh("pi-1", "bramble-1"));
    let mut stranger = Browser::new(&node);
    assert!(!stranger.get("/claim").await.text().contains("wants this board"));
    let mut asked = Asked {
        cluster: "<b>Home</b>".to_owned(),
        node: "LbMaster".to_owned(),
        code: "412908".to_owned(),
        blinks: 4,
    };
    *node.neighbours.asked.lock().unwrap() = Some(asked.clone());
    for path in ["/claim", "/claim/asked"] {
        let page = stranger.get(path).await;
        assert!(page.text().contains("412 908") && page.text().contains("LbMaster"), "{path}");
        assert!(!page.text().contains("<b>Home</b>"), "{path}: said by a stranger");
    }
    asked.code.clear();
    *node.neighbours.asked.lock().unwrap() = Some(asked);
    assert!(stranger.get("/claim").await.text().contains("joins by itself"));
    // A claimed one tells nobody.
    let mut owner = Browser { router: stranger.router.clone(), cookies: Default::default() };
    owner.claim().await;
    let after = stranger.get("/claim/asked").await;
    assert_eq!((after.status.as_u16(), after.header("location")), (303, "/login"));
    assert!(after.text().is_empty());
}

#[tokio::test]
async fn the_overview_points_at_boards_that_wait() {
    let (node, mut browser) = first().await;
    assert!(browser.get("/").await.text().contains("3 boards found that nobody has claimed"));
    let three = device(3).to_string();
    press(&mut browser, "/found/adopt", &[("device", three.as_str())]).await;
    press(&mut browser, "/found/confirm", &[("this", three.as_str())]).await;
    let joined = async {
        while node.control.snapshot().settings.nodes.len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), joined).await.unwrap();
    assert!(!browser.get("/").await.text().contains("nobody has claimed"), "once, not for ever");
    let joining = node.neighbours.joining.lock().unwrap();
    assert!(matches!(joining[0].step, JoinStep::Member { .. }));
}
