//! One admin for four nodes: one sign-in, one password, tokens, what one node asks of another, and
//! one audit log.

use lab::{Api, Lab, Options, admin, http, wait};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(30);
const NODES: [&str; 4] = ["web01", "web02", "lbmaster", "lbslave"];

/// A phone: one cookie, and the token of the pages it has seen.
#[derive(Clone)]
struct Browser<'a> {
    lab: &'a Lab,
    cookie: String,
    token: String,
}

impl<'a> Browser<'a> {
    fn new(lab: &'a Lab) -> Self {
        Self { lab, cookie: String::new(), token: String::new() }
    }

    fn send(&self, at: SocketAddr, request: http::Request) -> lab::Result<http::Response> {
        let mut request = request.header("Accept", "text/html").timeout(Duration::from_secs(20));
        if !self.cookie.is_empty() {
            request = request.header("Cookie", &self.cookie);
        }
        http::request(&self.lab.client(), at, &request)
    }

    /// The status a page answers with: 200 signed in, 303 to the sign-in page.
    fn status(&self, at: SocketAddr) -> u16 {
        self.send(at, http::Request::get("/more")).map_or(0, |r| r.status)
    }

    fn post(&mut self, at: SocketAddr, path: &str, form: &str) -> http::Response {
        let body = format!("csrf={}&{form}", self.token);
        let post = http::Request::new("POST", path);
        let post = post.body("application/x-www-form-urlencoded", body);
        let answer = self.send(at, post).unwrap();
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        answer
    }

    fn look(&mut self, at: SocketAddr, path: &str) -> String {
        let page = self.send(at, http::Request::get(path)).unwrap().text();
        if let Some((_, rest)) = page.split_once("name=\"csrf\" value=\"") {
            self.token = rest.split('"').next().unwrap().to_owned();
        }
        page
    }

    fn sign_in(&mut self, node: &str, password: &str) {
        self.cookie.clear();
        self.look(admin(node), "/login");
        let form = format!("username=admin&password={}", password.replace(' ', "+"));
        let answer = self.post(admin(node), "/login", &form);
        assert_eq!(answer.status, 303, "{}", answer.text());
        self.look(admin(node), "/more");
    }

    /// Until every one of these answers so; how long that took.
    fn wait(&self, nodes: &[&str], status: u16) -> Duration {
        let began = Instant::now();
        for node in nodes {
            wait::until(PATIENCE, &format!("{status} from {node}"), || {
                let now = self.status(admin(node));
                if now == status { Ok(()) } else { Err(now) }
            })
            .unwrap();
        }
        began.elapsed()
    }
}

/// Four nodes that were each given the password, and have agreed on one hash of it.
fn start() -> Lab {
    let options = Options::new(env!("CARGO_BIN_EXE_bramble")).password(PASSWORD);
    let lab = Lab::start(&options).unwrap();
    lab.wait_ready(PATIENCE).unwrap();
    wait::until(PATIENCE, "one password", || {
        let mut browser = Browser::new(&lab);
        browser.sign_in("web01", PASSWORD);
        std::thread::sleep(Duration::from_secs(2));
        let seen = NODES.map(|node| browser.status(admin(node)));
        if seen == [200; 4] { Ok(()) } else { Err(seen) }
    })
    .unwrap();
    lab
}

fn basic(lab: &Lab, node: &str, password: &str) -> u16 {
    Api::new(lab, node, password).send(&http::Request::get("/metrics")).map_or(0, |r| r.status)
}

#[test]
fn one_sign_in_is_good_on_every_node_and_ends_on_every_node() {
    let lab = start();
    let mut phone = Browser::new(&lab);
    let mut times = Vec::new();
    for node in NODES {
        phone.sign_in(node, PASSWORD);
        times.push(phone.wait(&NODES, 200));
    }
    println!("from signing in on one node to signed in on four: {times:?}");

    // Through the floating IP while the balancer that answers there is killed.
    let floating = SocketAddr::from(([192, 168, 1, 15], 1936));
    assert_eq!(phone.status(floating), 200);
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
    lab.node("lbmaster").kill().unwrap();
    let began = Instant::now();
    wait::until(PATIENCE, "the page on the floating IP", || {
        let status = phone.status(floating);
        assert!([0, 200].contains(&status), "signed out by a failover: {status}");
        if status == 200 { Ok(()) } else { Err(status) }
    })
    .unwrap();
    println!("the page is back on the floating IP after {:?}", began.elapsed());
    assert_eq!(lab.holders("192.168.1.15"), ["lbslave"]);
    lab.node("lbmaster").start().unwrap();
    phone.wait(&["lbmaster"], 200);

    // A form that was opened on one node is sent to another.
    let mut laptop = Browser::new(&lab);
    laptop.sign_in("web02", PASSWORD);
    laptop.wait(&NODES, 200);
    phone.look(admin("web01"), "/sessions");
    let page = phone.look(admin("lbslave"), "/sessions");
    assert!(page.matches("action=\"/sessions/end\"").count() >= 2, "{page}");
    let answer = phone.post(admin("web02"), "/sessions/end-all", "");
    assert_eq!(answer.status, 303, "{}", answer.text());
    let took = laptop.wait(&NODES, 303);
    println!("from ending a session on one node to ended on four: {took:?}");
    phone.wait(&NODES, 200);

    // A node that was away does not bring back what ended meanwhile.
    laptop.sign_in("lbslave", PASSWORD);
    laptop.wait(&NODES, 200);
    lab.node("web02").power(false).unwrap();
    let out = laptop.post(admin("lbmaster"), "/logout", "");
    assert_eq!(out.header("location"), Some("/login?out=1"));
    laptop.wait(&["web01", "lbmaster", "lbslave"], 303);
    lab.node("web02").power(true).unwrap();
    laptop.wait(&NODES, 303);
    phone.wait(&["web02"], 200);
    for _ in 0..5 {
        assert_eq!(NODES.map(|node| laptop.status(admin(node))), [303; 4]);
        std::thread::sleep(Duration::from_millis(200));
    }

    // Neither does one that had sessions of its own when everybody was signed out.
    lab.node("web01").power(false).unwrap();
    let out = phone.post(admin("lbmaster"), "/sessions/end-all", "everywhere=yes");
    assert_eq!(out.header("location"), Some("/login?out=1"), "{}", out.text());
    lab.node("web01").power(true).unwrap();
    phone.wait(&NODES, 303);
}

#[test]
fn one_password_and_tokens_that_are_valid_everywhere() {
    let lab = start();
    let (mut phone, mut laptop) = (Browser::new(&lab), Browser::new(&lab));
    phone.sign_in("web01", PASSWORD);
    laptop.sign_in("lbslave", PASSWORD);
    laptop.wait(&NODES, 200);
    phone.wait(&NODES, 200);

    let page = phone.look(admin("lbmaster"), "/tokens");
    assert!(page.contains("No token yet"), "{page}");
    let token = |browser: &mut Browser<'_>, name: &str, scope: &str| {
        let form = format!("name={name}&scope={scope}");
        let page = browser.post(admin("lbmaster"), "/tokens", &form).text();
        let at = page.find("bramble_").unwrap_or_else(|| panic!("no token in {page}"));
        let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        page[at..].chars().take_while(plain).collect::<String>()
    };
    let (reads, does) = (token(&mut phone, "reads", "read"), token(&mut phone, "does", "full"));
    let ask = |node: &str, method: &str, path: &str, token: &str| {
        let request = http::Request::new(method, path);
        let request = request.header("Authorization", &format!("Bearer {token}"));
        http::request(&lab.client(), admin(node), &request).map_or(0, |r| r.status)
    };
    let wait_for = |token: &str, status: u16| {
        for node in NODES {
            wait::until(PATIENCE, &format!("{status} from {node}"), || {
                let now = ask(node, "GET", "/api/v1/status", token);
                if now == status {
                    return Ok(());
                }
                // Tokens that are not known are taken for guesses, and five of them are enough.
                std::thread::sleep(Duration::from_secs(1));
                Err(now)
            })
            .unwrap();
        }
    };
    wait_for(&reads, 200);
    wait_for(&does, 200);
    for node in NODES {
        assert_eq!(ask(node, "POST", "/api/v1/vrrp/VI_1/failover", &reads), 403, "{node}");
    }
    let removed = phone.post(admin("web02"), "/tokens/does/remove", "");
    assert_eq!(removed.status, 303, "{}", removed.text());
    wait_for(&does, 401);
    wait_for(&reads, 200);

    // Another password, everywhere, and every other session ends.
    for node in NODES {
        assert_eq!(basic(&lab, node, PASSWORD), 200, "{node}");
    }
    phone.look(admin("web02"), "/password");
    let form = "old=correct+horse+battery&password=quite+another+one&again=quite+another+one";
    let changed = phone.post(admin("web02"), "/password", form);
    assert_eq!(changed.header("location"), Some("/more?password=1"), "{}", changed.text());
    let took = laptop.wait(&NODES, 303);
    println!("from a new password on one node to old sessions ended on four: {took:?}");
    phone.wait(&NODES, 200);
    for node in NODES {
        assert_eq!(basic(&lab, node, "quite another one"), 200, "{node}");
        assert_eq!(basic(&lab, node, PASSWORD), 401, "{node}");
    }
    wait_for(&reads, 200);

    // One that is set on a board that does not run is everybody's once it runs.
    lab.node("lbslave").stop().unwrap();
    let mut set = Command::new(env!("CARGO_BIN_EXE_bramble"))
        .args(["password", "--data"])
        .arg(lab.node("lbslave").dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    set.stdin.take().unwrap().write_all(b"from the console\n").unwrap();
    assert!(set.wait().unwrap().success());
    lab.node("lbslave").start().unwrap();
    for node in NODES {
        wait::until(PATIENCE, &format!("the console's password on {node}"), || {
            let now = basic(&lab, node, "from the console");
            if now == 200 { Ok(()) } else { Err(now) }
        })
        .unwrap();
    }
    phone.wait(&NODES, 303);
}

fn audit(lab: &Lab, node: &str, query: &str) -> Result<Vec<Value>, String> {
    let api = Api::aboard(lab, node, PASSWORD);
    let listed =
        api.get(&format!("/api/v1/audit?limit=1000&{query}")).map_err(|e| e.to_string())?;
    if listed["complaints"] != json!([]) {
        return Err(listed["complaints"].to_string());
    }
    Ok(listed["entries"].as_array().unwrap().clone())
}

fn wait_entry(lab: &Lab, on: &str, query: &str, fits: impl Fn(&Value) -> bool) {
    wait::until(PATIENCE, &format!("{query} on {on}"), || {
        let entries = audit(lab, on, query)?;
        if entries.iter().any(&fits) { Ok(()) } else { Err(format!("{entries:?}")) }
    })
    .unwrap();
}

#[test]
fn visitors_with_the_password_see_statistics_where_the_site_is() {
    let lab = start();
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
    let master = Api::new(&lab, "lbmaster", PASSWORD);
    master
        .change(|d| {
            d["frontends"] = json!([{
                "name": "http-in", "bind": ["floating:80"], "default_backend": "webservers",
                "stats_uri": "/haproxy?stats",
            }]);
        })
        .unwrap();
    let at_site = Api::at(&lab, lab::site(), PASSWORD);
    let csv = http::Request::get("/haproxy?stats;csv");
    let text = wait::until(PATIENCE, "the statistics at the site", || {
        let answer = at_site.send(&csv).map_err(|e| e.to_string())?;
        if answer.status == 200 { Ok(answer.text()) } else { Err(answer.text()) }
    })
    .unwrap();
    assert!(text.starts_with("# pxname,svname,") && text.contains("\nhttp-in,FRONTEND,"), "{text}");
    let page = at_site.send(&http::Request::get("/haproxy?stats")).unwrap();
    assert!(page.status == 200 && page.text().contains("webservers"), "{}", page.text());
    let stranger = Api::at(&lab, lab::site(), "another password");
    assert_eq!(stranger.send(&csv).unwrap().status, 401);
    let nobody = http::request(&lab.client(), lab::site(), &csv).unwrap();
    assert_eq!((nobody.status, nobody.text().as_str()), (401, ""));
    assert!(nobody.header("www-authenticate").is_some_and(|c| c.starts_with("Basic realm=")));
    assert_eq!(
        http::request(&lab.client(), lab::site(), &http::Request::get("/")).unwrap().status,
        200
    );
}

#[test]
fn any_node_is_steered_from_any_and_all_have_one_audit_log() {
    let lab = start();
    let web = Api::new(&lab, "web01", PASSWORD);
    lab.wait_holder("lbmaster", PATIENCE).unwrap();
    let post = |path: &str| web.send(&http::Request::new("POST", path)).unwrap();

    // The failover button of a node that has no part in it.
    web.wait_status(PATIENCE, "a master", |s| s["vrrp"][0]["holder"]["id"].as_str().map(|_| ()))
        .unwrap();
    let done = post("/api/v1/vrrp/VI_1/failover");
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(done.json().unwrap()["holder_name"], "LbSlave");
    lab.wait_holder("lbslave", PATIENCE).unwrap();
    wait_entry(&lab, "lbmaster", "deed=failover&node=lbmaster", |e| {
        e["actor"] == "through" && e["name"] == "web01" && e["object"] == "VI_1"
    });
    wait_entry(&lab, "web02", "deed=failover&node=web01", |e| e["actor"] == "password");

    let log = web.get("/api/v1/nodes/lbslave/log").unwrap();
    let lines = log["lines"].as_array().unwrap();
    assert!(lines.iter().any(|l| l.as_str().unwrap().contains("node lbslave runs")), "{lines:?}");
    let refused = post("/api/v1/nodes/lbslave/reboot");
    assert_eq!(refused.status, 409, "somebody else's Linux: {}", refused.text());
    lab.node("web02").kill().unwrap();
    let away = post("/api/v1/nodes/web02/blink");
    assert_eq!(away.status, 409);
    assert!(away.text().contains("cannot be reached"), "{}", away.text());
    lab.node("web02").start().unwrap();

    // Both halves of a split cluster write; afterwards everybody has everything.
    let half = |nodes: [&str; 2]| nodes.map(str::to_owned);
    let network = lab.network();
    network.partition(&half(["web01", "lbmaster"]), &half(["web02", "lbslave"])).unwrap();
    for (node, name) in [("lbmaster", "left"), ("web02", "right")] {
        let api = Api::aboard(&lab, node, PASSWORD);
        wait::until(PATIENCE, "the page", || api.status().map(|_| ()).map_err(|e| e.to_string()))
            .unwrap();
        api.change(|d| d["cluster"]["name"] = json!(name)).unwrap();
        let wrong = Api::aboard(&lab, node, "not the password");
        assert_eq!(wrong.send(&http::Request::get("/metrics")).unwrap().status, 401);
    }
    network.heal().unwrap();
    let began = Instant::now();
    for on in NODES {
        for of in ["lbmaster", "web02"] {
            wait_entry(&lab, on, &format!("deed=settings&node={of}"), |e| {
                let name = |value: &Value| value.as_str().unwrap().starts_with("cluster.name = ");
                name(&e["before"]) && name(&e["after"])
            });
            wait_entry(&lab, on, &format!("deed=sign-in-failed&node={of}"), |_| true);
        }
    }
    println!("one audit log again {:?} after the split ended", began.elapsed());
    wait::until(PATIENCE, "the same log everywhere", || {
        let mut all = BTreeSet::new();
        for node in NODES {
            let of = |e: &Value| format!("{} {} {} {}", e["node"], e["log"], e["seq"], e["chain"]);
            all.insert(audit(&lab, node, "")?.iter().map(of).collect::<BTreeSet<_>>());
        }
        if all.len() == 1 { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .unwrap();
}
