//! Wi-Fi: the list, looking around, and joining.

use crate::browser::{Browser, signed_in};
use crate::support::{self, Node};
use axum::body::Body;
use http::Request;
use model::status::WifiVerdict;
use std::time::Duration;

fn saved(node: &Node) -> Vec<String> {
    let snapshot = node.control.snapshot();
    snapshot.settings.wifi.networks.iter().map(|n| n.ssid.to_string()).collect()
}

fn passphrase(node: &Node, ssid: &str) -> String {
    let snapshot = node.control.snapshot();
    let network = snapshot.settings.wifi.networks.iter().find(|n| n.ssid.as_str() == ssid);
    network.unwrap().passphrase.reveal().to_owned()
}

#[tokio::test]
async fn networks_are_added_changed_moved_and_forgotten() {
    let (node, mut browser) = signed_in().await;
    let page = browser.get("/wifi").await;
    assert!(page.text().contains("Café") && page.text().contains("on it now"));
    assert!(!page.text().contains("a good passphrase"));
    let revision = browser.get("/wifi/new").await.field("revision");
    let pairs = [
        ("revision", revision.as_str()),
        ("was", ""),
        ("ssid", " odd/name?&"),
        ("passphrase", "long enough"),
        ("hidden", "on"),
    ];
    let added = browser.post("/wifi/new", "/wifi/edit", &pairs).await;
    assert_eq!(added.header("location"), "/wifi?saved=1", "{}", added.text());
    assert_eq!(saved(&node), ["home", "Café & bar", " odd/name?&"]);
    let address = "/wifi/edit?ssid=%20odd%2Fname%3F%26";
    let page = browser.get(address).await;
    assert!(page.status == 200 && !page.text().contains("long enough"));
    // Another name, and the passphrase as it was.
    let pairs = [("revision", "1"), ("was", " odd/name?&"), ("ssid", "plain"), ("passphrase", "")];
    let changed = browser.post(address, "/wifi/edit", &pairs).await;
    assert_eq!(changed.header("location"), "/wifi?saved=2", "{}", changed.text());
    assert_eq!(passphrase(&node, "plain"), "long enough");
    for (to, order) in [
        ("up", ["home", "plain", "Café & bar"]),
        ("up", ["plain", "home", "Café & bar"]),
        ("up", ["plain", "home", "Café & bar"]),
        ("down", ["home", "plain", "Café & bar"]),
    ] {
        let revision = node.control.snapshot().revision.to_string();
        let pairs = [("revision", revision.as_str()), ("to", to)];
        let moved = browser.post("/wifi", "/wifi/move?ssid=plain", &pairs).await;
        assert_eq!(moved.status, 303);
        assert_eq!(saved(&node), order);
    }
    let ask = browser.get("/wifi/remove?ssid=home").await;
    assert!(ask.text().contains("This board is on it at this moment"));
    let revision = ask.field("revision");
    let pairs = [("revision", revision.as_str())];
    browser.post("/wifi/remove?ssid=home", "/wifi/remove?ssid=home", &pairs).await;
    assert_eq!(saved(&node), ["plain", "Café & bar"]);
    for path in ["/wifi/edit?ssid=home", "/wifi/remove?ssid=home", "/wifi/edit"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
    let stale =
        browser.post("/wifi", "/wifi/move?ssid=plain", &[("revision", "1"), ("to", "down")]);
    assert_eq!(stale.await.status, 409);
}

#[tokio::test]
async fn mistakes_are_shown_where_they_are_and_nothing_typed_is_lost() {
    let (node, mut browser) = signed_in().await;
    for (pairs, error, kept) in [
        ([("ssid", "x"), ("passphrase", ""), ("open", "")], "type the passphrase", "value=\"x\""),
        ([("ssid", "x"), ("passphrase", "short"), ("open", "")], "8 to 63", "value=\"short\""),
        ([("ssid", ""), ("passphrase", "long enough"), ("open", "")], "is needed", "long enough"),
        ([("ssid", "x"), ("passphrase", "long enough"), ("open", "on")], "untick", "long enough"),
        ([("ssid", "home"), ("passphrase", "long enough"), ("open", "")], "twice", "long enough"),
    ] {
        let mut all = vec![("revision", "0"), ("was", "")];
        all.extend(pairs);
        let answer = browser.post("/wifi/new", "/wifi/edit", &all).await;
        assert_eq!(answer.status, 422, "{pairs:?}");
        let text = answer.text().to_lowercase();
        assert!(text.contains(error), "{error}: {text}");
        assert!(text.contains(kept), "{kept}");
    }
    assert_eq!(node.control.snapshot().revision.0, 0);
}

#[tokio::test]
async fn the_country_is_chosen_by_name() {
    let (node, mut browser) = signed_in().await;
    let page = browser.get("/wifi").await;
    assert!(page.text().contains("<option value=\"AT\" selected>Austria"));
    let pairs = [("revision", "0"), ("country", "NZ")];
    assert_eq!(browser.post("/wifi", "/wifi", &pairs).await.status, 303);
    let country = |node: &Node| node.control.snapshot().settings.wifi.country.clone();
    assert_eq!(country(&node).unwrap().as_str(), "NZ");
    assert_eq!(saved(&node).len(), 2, "the networks stay");
    let bad = browser.post("/wifi", "/wifi", &[("revision", "1"), ("country", "nowhere")]).await;
    assert_eq!(bad.status, 422);
    assert_eq!(
        browser.post("/wifi", "/wifi", &[("revision", "1"), ("country", "")]).await.status,
        303
    );
    assert_eq!(country(&node), None);
}

#[tokio::test]
async fn networks_in_reach_are_explained() {
    let (node, mut browser) = signed_in().await;
    let page = browser.get("/wifi/networks").await.text().to_owned();
    for part in [
        "/wifi/join?ssid=home\"",
        "very strong (-48 dBm)",
        "Neighbours &#38; friends",
        "5 GHz only",
        "asks for a user name",
        "broken long ago",
        "(hidden name)",
        "open: no passphrase",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("ssid=University") && !page.contains("ssid=Fast"));
    *node.air.seen.lock().unwrap() = Err("the adapter is gone; plug it in again".into());
    let page = browser.get("/wifi/networks").await;
    assert!(page.status == 200 && page.text().contains("The adapter is gone; plug it in again."));
}

#[tokio::test]
async fn a_join_ends_with_a_verdict_and_the_way_on() {
    let (node, mut browser) = signed_in().await;
    let path = "/wifi/join?ssid=Neighbours%20%26%20friends";
    let form = browser.get(path).await;
    assert!(form.text().contains("value=\"Neighbours &#38; friends\""));
    let pairs =
        [("ssid", "Neighbours & friends"), ("passphrase", "their secret"), ("country", "AT")];
    let short = [("ssid", "x"), ("passphrase", "short"), ("country", "AT")];
    let refused = browser.post(path, "/wifi/join", &short).await;
    assert!(refused.status == 422 && refused.text().contains("8 to 63"));
    assert!(node.air.joined.lock().unwrap().is_empty());
    let sent = browser.post(path, "/wifi/join", &pairs).await;
    assert_eq!((sent.status.as_u16(), sent.header("location")), (303, path));
    let state = verdict(&mut browser, "On Neighbours").await;
    assert!(state.contains("http://192.168.1.77:1936/"));
    assert!(state.contains("http://lbmaster.local:1936/"));
    assert!(state.contains("http://bramble.local:1936/"));
    let (network, country) = node.air.joined.lock().unwrap()[0].clone();
    assert_eq!(network.passphrase.reveal(), "their secret");
    assert_eq!(country.unwrap().as_str(), "AT");
    // The next one fails; with a script the form stays as it was typed.
    *node.air.verdict.lock().unwrap() = WifiVerdict::WrongPassphrase;
    let token = form.field("csrf");
    let request = Request::post("/wifi/join")
        .header("hx-request", "true")
        .header("x-csrf-token", token)
        .header("content-type", "application/x-www-form-urlencoded");
    let kept = browser.send(request, "ssid=Cafe&passphrase=their+secret&country=AT").await;
    assert_eq!(kept.status, 202);
    assert!(kept.text().contains("value=\"their secret\"") && kept.text().contains("wifi-trial"));
    let state = verdict(&mut browser, "is wrong").await;
    assert!(state.contains("The passphrase of Cafe is wrong.") && !state.contains("their secret"));
    let other = browser.get("/wifi/join?ssid=home").await;
    assert!(!other.text().contains("is wrong"), "that is another network's verdict");
    assert!(browser.get("/wifi").await.text().contains("The passphrase of Cafe is wrong."));
}

async fn verdict(browser: &mut Browser, text: &str) -> String {
    let found = async {
        loop {
            let state = browser.get("/wifi/state?part=wifi-trial").await.text().to_owned();
            if state.contains(text) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), found).await.unwrap()
}

#[tokio::test]
async fn joining_a_known_network_needs_no_passphrase_again() {
    let (node, mut browser) = signed_in().await;
    let page = browser.get("/wifi/join?ssid=home").await;
    assert!(page.text().contains("the saved one is used"));
    let pairs = [("ssid", "home"), ("passphrase", ""), ("country", "AT")];
    assert_eq!(browser.post("/wifi", "/wifi/join", &pairs).await.status, 303);
    verdict(&mut browser, "On home").await;
    let joined = node.air.joined.lock().unwrap()[0].0.clone();
    assert_eq!(joined.passphrase.reveal(), "a good passphrase");
}

#[tokio::test]
async fn a_board_without_a_cable_is_led_to_wifi_once_claimed() {
    let claimed = |cable: bool, joined: bool| async move {
        let node = support::node("lbmaster", support::demo::settings());
        node.board.provide(move |status| {
            status.links.iter_mut().for_each(|l| l.running = cable);
            if !joined {
                status.system.wifi.iter_mut().for_each(|w| w.connected = None);
            }
            for setup in status.system.setup.iter_mut() {
                (setup.up, setup.stations) = (true, 2);
            }
        });
        let mut browser = Browser::new(&node);
        let token = browser.get("/claim").await.field("csrf");
        let word = "a good password";
        let pairs = [("csrf", token.as_str()), ("password", word), ("again", word)];
        let to = browser.post_raw("/claim", &pairs).await.header("location").to_owned();
        (to, browser)
    };
    let (to, mut browser) = claimed(false, false).await;
    assert_eq!(to, "/wifi?welcome=1");
    assert!(browser.get(&to).await.text().contains("choose the network it joins"));
    let overview = browser.get("/").await;
    assert!(overview.text().contains("The setup network Bramble-5EED is up"));
    assert!(overview.text().contains("2 phones"));
    assert_eq!(claimed(true, false).await.0, "/");
    assert_eq!(claimed(false, true).await.0, "/");
}

#[tokio::test]
async fn without_radios_networks_are_only_noted() {
    let mut node = support::node("lbmaster", support::demo::settings());
    node.ports.radio = None;
    let mut browser = Browser::new(&node);
    browser.claim().await;
    let page = browser.get("/wifi").await;
    assert!(page.text().contains("its system looks after it"));
    assert!(!page.text().contains("Find networks"));
    assert_eq!(browser.get("/wifi/networks").await.status, 409);
    assert_eq!(browser.get("/wifi/join?ssid=home").await.status, 409);
    let pairs = [("ssid", "home"), ("passphrase", "long enough"), ("country", "AT")];
    assert_eq!(browser.post("/wifi", "/wifi/join", &pairs).await.status, 409);
    assert_eq!(browser.get("/wifi/edit?ssid=home").await.status, 200);
    let no_part = browser.send(Request::get("/wifi/state?part=x"), Body::empty()).await;
    assert_eq!(no_part.status, 404);
}
