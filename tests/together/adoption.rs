//! Four boards that were never told anything: one is claimed, the others are found by it and
//! become nodes of its cluster, with nothing but the page of the one.

use lab::http::{self, Request};
use lab::{Api, Lab, Options, admin, wait, wired};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const PASSWORD: &str = "another password";
const PATIENCE: Duration = Duration::from_secs(30);
const NODES: [&str; 4] = ["web01", "web02", "lbmaster", "lbslave"];
const FORM: &str = "application/x-www-form-urlencoded";

/// A browser with a session on one node.
struct Browser<'a> {
    lab: &'a Lab,
    node: &'a str,
    cookie: String,
}

impl<'a> Browser<'a> {
    /// Claims a node.
    fn claim(lab: &'a Lab, node: &'a str) -> Result<Self, String> {
        let new = Self { lab, node, cookie: String::new() };
        let form = format!("username=admin&password={PASSWORD}&again={PASSWORD}");
        let answer = new.submit("/claim", "/claim", &form.replace(' ', "+"))?;
        let cookie = answer.header("set-cookie").and_then(|c| c.split(';').next());
        let cookie = cookie.ok_or_else(|| format!("{} {}", answer.status, answer.text()))?;
        Ok(Self { cookie: cookie.to_owned(), ..new })
    }

    /// Signs in on a node that has a password.
    fn sign_in(lab: &'a Lab, node: &'a str) -> Result<Self, String> {
        let new = Self { lab, node, cookie: String::new() };
        let form = format!("username=admin&password={}", PASSWORD.replace(' ', "+"));
        let answer = new.submit("/login", "/login", &form)?;
        let cookie = answer.header("set-cookie").and_then(|c| c.split(';').next());
        let cookie = cookie.ok_or_else(|| format!("{} {}", answer.status, answer.text()))?;
        Ok(Self { cookie: cookie.to_owned(), ..new })
    }

    fn ask(&self, request: Request) -> Result<http::Response, String> {
        let request =
            if self.cookie.is_empty() { request } else { request.header("Cookie", &self.cookie) };
        http::request(&self.lab.client(), admin(self.node), &request).map_err(|e| e.to_string())
    }

    fn page(&self, path: &str) -> Result<String, String> {
        let page = self.ask(Request::get(path))?;
        if page.status == 200 { Ok(page.text()) } else { Err(format!("{path}: {}", page.status)) }
    }

    /// Sends a form that stands on a page.
    fn submit(&self, page: &str, to: &str, form: &str) -> Result<http::Response, String> {
        let text = self.page(page)?;
        let token =
            text.split_once("name=\"csrf\" value=\"").and_then(|(_, r)| r.split('"').next());
        let token = token.ok_or("a page without a form")?;
        let origin = format!("http://{}", admin(self.node));
        let post = Request::new("POST", to).header("Origin", &origin);
        self.ask(post.body(FORM, format!("csrf={token}&{form}")))
    }
}

/// Everything between `before` and the next `after`.
fn all_between(text: &str, before: &str, after: &str) -> BTreeSet<String> {
    let pieces = text.split(before).skip(1);
    pieces.filter_map(|piece| Some(piece.split_once(after)?.0.to_owned())).collect()
}

/// Four boards with addresses and nothing else.
fn boards() -> Lab {
    let lab = Lab::start(&Options::new(env!("CARGO_BIN_EXE_bramble"))).unwrap();
    for node in NODES {
        new_card(&lab, node);
    }
    lab
}

/// A blank card for a board, whose address somebody else gives it.
fn new_card(lab: &Lab, node: &str) {
    let _ = lab.node(node).stop();
    let dir = lab.node(node).dir();
    fs::remove_dir_all(&dir).unwrap();
    fs::create_dir_all(&dir).unwrap();
    let address = format!("{}/24", wired(node));
    // What the node set itself, it would take away again.
    lab.exec(node, "ip", &["addr", "flush", "dev", "eth0"]).unwrap();
    lab.exec(node, "ip", &["addr", "add", &address, "dev", "eth0"]).unwrap();
    lab.node(node).start().unwrap();
}

fn status(lab: &Lab, node: &str) -> Result<Value, String> {
    Api::aboard(lab, node, PASSWORD).status().map_err(|e| e.to_string())
}

/// How many nodes of the cluster a node hears.
fn hears(lab: &Lab, node: &str) -> Result<usize, String> {
    let status = status(lab, node)?;
    let nodes = status["nodes"].as_array().ok_or_else(|| status.to_string())?;
    Ok(nodes.iter().filter(|n| n["reachable"] == true).count())
}

#[test]
fn four_boards_become_one_cluster_from_the_page_of_one() {
    let lab = boards();
    let browser =
        wait::until(PATIENCE, "web01 is claimed", || Browser::claim(&lab, "web01")).unwrap();
    let begun = Instant::now();
    let devices = wait::until(PATIENCE, "three boards are found", || {
        let devices = all_between(&browser.page("/found")?, "name=\"device\" value=\"", "\"");
        if devices.len() == 3 { Ok(devices) } else { Err(format!("{devices:?}")) }
    })
    .unwrap();
    println!("three boards are found after {:?}", begun.elapsed());

    let begun = Instant::now();
    let ticked: Vec<String> = devices.iter().map(|device| format!("device={device}")).collect();
    browser.submit("/found", "/found/adopt", &ticked.join("&")).unwrap();
    let page = browser.page("/found").unwrap();
    // Each shows, unasked, the code that the page shows for it.
    for node in ["web02", "lbmaster", "lbslave"] {
        let other = Browser { lab: &lab, node, cookie: String::new() };
        let claim = other.page("/claim").unwrap();
        let shown = codes(&claim);
        assert!(shown.len() == 1 && shown.is_subset(&codes(&page)), "{node}: {shown:?}");
    }
    for device in &devices {
        browser.submit("/found", "/found/confirm", &format!("this={device}")).unwrap();
    }
    wait::until(PATIENCE, "all four hear each other", || {
        for node in NODES {
            let heard = hears(&lab, node)?;
            if heard < 4 {
                return Err(format!("{node} hears {heard}"));
            }
        }
        Ok(())
    })
    .unwrap();
    println!("from the tap to a cluster of four: {:?}", begun.elapsed());

    // The same password, the same document, every key pinned; also after all of them restarted.
    for node in NODES {
        lab.node(node).stop().unwrap();
        lab.node(node).start().unwrap();
    }
    for node in NODES {
        wait::until(PATIENCE, &format!("{node} hears all after a restart"), || {
            let heard = hears(&lab, node)?;
            if heard == 4 { Ok(()) } else { Err(heard.to_string()) }
        })
        .unwrap();
        let (settings, _) = Api::aboard(&lab, node, PASSWORD).settings().unwrap();
        let nodes = settings["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 4);
        assert!(nodes.iter().all(|n| n["device"].is_string()), "{nodes:?}");
        assert_eq!(settings["cluster"]["key"].as_str().unwrap_or_default(), "");
    }
    roles_from_the_page(&lab);
    another_card_for_a_node(&lab);
    lab.shut_down().unwrap();
}

/// Everything a form on a page would send as it is.
fn as_it_is(page: &str) -> BTreeMap<String, String> {
    let value = |tag: &str, name: &str| {
        let start = format!("{name}=\"");
        tag.split_once(&start).and_then(|(_, rest)| rest.split_once('"')).map(|(v, _)| v.to_owned())
    };
    let mut fields = BTreeMap::new();
    for tag in page.split("<input").skip(1).filter_map(|rest| rest.split('>').next()) {
        let radio = tag.contains("type=\"radio\"");
        if let Some(name) = value(tag, " name").filter(|_| !radio || tag.contains("checked")) {
            fields.insert(name, value(tag, " value").unwrap_or_default());
        }
    }
    fields.remove("csrf");
    fields
}

fn form(fields: &BTreeMap<String, String>) -> String {
    let plain = |text: &String| text.replace('/', "%2F").replace(' ', "+");
    let pairs = fields.iter().map(|(name, value)| format!("{name}={}", plain(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// The operator says what each board is, and the reference cluster serves.
fn roles_from_the_page(lab: &Lab) {
    let site = lab.node("web01").site();
    fs::create_dir_all(&site).unwrap();
    fs::write(site.join("index.html"), "from the page of one").unwrap();
    let browser = Browser::sign_in(lab, "web01").unwrap();
    let mut fields = as_it_is(&browser.page("/roles").unwrap());
    let wanted =
        [("web01", "web"), ("web02", "web"), ("lbmaster", "balancer"), ("lbslave", "balancer")];
    for (node, role) in wanted {
        let id = status(lab, node).unwrap()["node"].as_str().unwrap().to_owned();
        for (field, value) in [
            ("role", role.to_owned()),
            ("name", node.to_owned()),
            ("address", format!("{}/24", wired(node))),
        ] {
            assert!(fields.insert(format!("{field}.{id}"), value).is_some(), "{field} of {node}");
        }
    }
    fields.insert("floating_ip".to_owned(), "192.168.1.15/24".to_owned());
    fields.insert("gateway".to_owned(), "192.168.1.1".to_owned());
    let review = format!("{}&step=review", form(&fields));
    let review = browser.submit("/roles", "/roles", &review).unwrap();
    assert_eq!(review.status, 200, "{}", review.text());
    let agreed = as_it_is(&review.text());
    let begun = Instant::now();
    let applied =
        browser.submit("/roles", "/roles", &format!("{}&step=apply", form(&agreed))).unwrap();
    assert_eq!(applied.status, 303, "{}", applied.text());
    wait::until(PATIENCE, "the site through the floating IP", || {
        let floating = SocketAddr::from(([192, 168, 1, 15], 80));
        let answer = http::request(&lab.client(), floating, &Request::get("/"));
        let answer = answer.map_err(|e| e.to_string())?;
        match answer.text().as_str() {
            "from the page of one" => Ok(()),
            other => Err(format!("{}: {other}", answer.status)),
        }
    })
    .unwrap();
    println!("from \"Apply\" to the site on the floating IP: {:?}", begun.elapsed());
    wait::until(PATIENCE, "the site on web02", || {
        let file = lab.node("web02").site().join("index.html");
        fs::read_to_string(file).map(drop).map_err(|e| e.to_string())
    })
    .unwrap();
    let master = Api::aboard(lab, "lbmaster", PASSWORD);
    master.wait_servers(2, PATIENCE).unwrap();
}

/// The card of lbslave is lost; a new one takes its place, under its id.
fn another_card_for_a_node(lab: &Lab) {
    let own = |lab: &Lab| -> Result<Value, String> {
        let status = status(lab, "lbslave")?;
        Ok(status["nodes"][0]["status"].clone())
    };
    let before = own(lab).unwrap()["id"].as_str().unwrap().to_owned();
    new_card(lab, "lbslave");
    let browser = Browser::sign_in(lab, "web02").unwrap();
    let list = format!("/found?as={before}");
    let device = wait::until(PATIENCE, "the new card is found", || {
        let devices = all_between(&browser.page(&list)?, "name=\"device\" value=\"", "\"");
        devices.into_iter().next().ok_or_else(|| "nobody".to_owned())
    })
    .unwrap();
    browser.submit(&list, "/found/adopt", &format!("device={device}&as={before}")).unwrap();
    browser.submit(&list, "/found/confirm", &format!("this={device}&as={before}")).unwrap();
    wait::until(PATIENCE, "it is that node", || {
        let id = own(lab)?["id"].as_str().unwrap_or_default().to_owned();
        let heard = hears(lab, "lbslave")?;
        if id == before && heard == 4 { Ok(()) } else { Err(format!("{id} hears {heard}")) }
    })
    .unwrap();
}

/// The codes on a page.
fn codes(page: &str) -> BTreeSet<String> {
    let shown = all_between(page, "<p class=\"code\">", "<");
    shown.into_iter().map(|code| code.chars().filter(char::is_ascii_digit).collect()).collect()
}
